//! What a device can do, as what producers and consumers negotiate with.

use ash::{ext, vk};
use dmaframe_core::negotiate::{FormatSet, Route, Usage};
use dmaframe_core::quirks::Driver;
use dmaframe_core::{Fourcc, Modifier};

use super::{Capabilities, FormatSupport};
use crate::formats;

impl Capabilities {
    /// Everything the device takes for reading, by every route it has: what
    /// [`negotiate::plan`](dmaframe_core::negotiate::plan()) wants of a consumer. It likes all formats alike.
    ///
    /// Images are what its driver says it imports for sampling; which formats shaders and copies read is the application's
    /// to narrow down.
    #[must_use]
    pub fn consumer(&self) -> FormatSet {
        let mut set = self.empty(Usage::Sample, self.name.clone()).likes_all();
        set.merge(&self.buffers());
        set.merge(&self.sampled());
        let cpu = [
            (Route::HostPointer, self.host_pointer_alignment.is_some()),
            (Route::Copy, true),
        ];
        for (route, _) in cpu.into_iter().filter(|(_, there)| *there) {
            set = set.by(route);
            for info in dmaframe_core::format::all_formats() {
                set.insert(info.fourcc, Modifier::LINEAR);
            }
        }
        set
    }

    /// What can be imported as images for sampling, one for each plane, with the device's node.
    #[must_use]
    pub fn sampled(&self) -> FormatSet {
        self.images(Usage::Sample, format!("{}:image", self.name))
    }

    /// What can be imported or exported as render targets.
    #[must_use]
    pub fn rendered(&self) -> FormatSet {
        self.images(Usage::Render, format!("{}:render", self.name))
    }

    /// What the buffer route takes: every linear format in the core's table, if buffers can be imported at all.
    #[must_use]
    pub fn buffers(&self) -> FormatSet {
        let mut set = self
            .empty(Usage::Sample, format!("{}:buffer", self.name))
            .by(Route::Buffer);
        if self.buffer_import {
            for info in dmaframe_core::format::all_formats() {
                set.insert(info.fourcc, Modifier::LINEAR);
            }
        }
        set
    }

    fn empty(&self, usage: Usage, name: String) -> FormatSet {
        let discrete = self.kind == vk::PhysicalDeviceType::DISCRETE_GPU;
        let set = FormatSet::new(name)
            .with_usage(usage)
            .with_driver(driver(self.driver), discrete);
        match self.render_node.or(self.primary_node) {
            Some(node) => set.with_device(node),
            None => set,
        }
    }

    fn images(&self, usage: Usage, name: String) -> FormatSet {
        let mut set = self.empty(usage, name).by(Route::Image);
        if !self.enabled.dmabuf() {
            return set;
        }
        for info in dmaframe_core::format::all_formats() {
            let planes = info.planes().len();
            // Of several planes each is an image of its own, and has memory of its own only.
            let rows: Option<Vec<_>> = (0..planes).map(|plane| self.row(info.fourcc, plane)).collect();
            let Some((first, others)) = rows.as_deref().and_then(<[_]>::split_first) else {
                continue;
            };
            for modifier in self.importable(first, usage, planes > 1) {
                let everywhere = |row: &&FormatSupport| {
                    let mut found = self.importable(row, usage, planes > 1);
                    found.any(|found| found == modifier)
                };
                if others.iter().all(everywhere) {
                    set.insert(info.fourcc, modifier);
                }
            }
        }
        set
    }

    /// The row of the format that a plane has on its own.
    fn row(&self, fourcc: Fourcc, plane: usize) -> Option<&FormatSupport> {
        let info = fourcc.info()?;
        if info.planes().len() == 1 {
            return self.formats.iter().find(|row| row.fourcc == fourcc);
        }
        let format = formats::plane_format(fourcc, plane)?;
        self.formats.iter().find(|row| row.format == format)
    }

    /// The modifiers that dma-bufs of a row's format are imported with. `alone`: without planes of metadata.
    fn importable<'a>(
        &'a self,
        row: &'a FormatSupport,
        usage: Usage,
        alone: bool,
    ) -> impl Iterator<Item = Modifier> + 'a {
        let (feature, renders) = match usage {
            Usage::Render => (vk::FormatFeatureFlags::COLOR_ATTACHMENT, true),
            _ => (vk::FormatFeatureFlags::SAMPLED_IMAGE, false),
        };
        let modifiers = self.enabled.has(ext::image_drm_format_modifier::NAME);
        let listed = row.modifiers.iter().filter(move |entry| {
            let taken = if renders {
                entry.renderable
            } else {
                entry.importable
            };
            modifiers && taken && entry.features.contains(feature) && !(alone && entry.planes != 1)
        });
        let taken = match renders {
            true => row.linear_renderable,
            false => row.linear_importable,
        };
        // Pixels that share samples have no pitch in pixels.
        let whole = row
            .fourcc
            .info()
            .is_some_and(|info| info.planes().iter().all(|plane| plane.block_width == 1));
        let plain = !modifiers && taken && whole && row.linear.contains(feature);
        listed
            .map(|entry| entry.modifier)
            .chain(plain.then_some(Modifier::LINEAR))
    }
}

/// The row name of a Vulkan driver in the quirk table.
fn driver(id: vk::DriverId) -> Driver {
    match id {
        vk::DriverId::NVIDIA_PROPRIETARY => Driver::Nvidia,
        vk::DriverId::MESA_RADV | vk::DriverId::AMD_OPEN_SOURCE | vk::DriverId::AMD_PROPRIETARY => {
            Driver::Amd
        }
        vk::DriverId::MESA_V3DV => Driver::V3d,
        vk::DriverId::ARM_PROPRIETARY => Driver::Mali,
        _ => Driver::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extensions::Extensions;
    use crate::report::ModifierInfo;
    use dmaframe_core::negotiate::Pair;

    const TILED: Modifier = Modifier(0x0100_0000_0000_0001);
    const COMPRESSED: Modifier = Modifier(0x0100_0000_0000_0004);

    /// How many memory planes it has, and whether the driver imports it.
    type Listed = (Modifier, u32, bool);

    /// A device like a GPU's.
    fn device(rows: &[(Fourcc, &[Listed])]) -> Capabilities {
        let both = vk::FormatFeatureFlags::SAMPLED_IMAGE | vk::FormatFeatureFlags::COLOR_ATTACHMENT;
        let rows = rows.iter().map(|(fourcc, modifiers)| FormatSupport {
            fourcc: *fourcc,
            format: formats::vk_format(*fourcc).unwrap(),
            linear: both,
            linear_importable: false,
            linear_renderable: false,
            modifiers: modifiers
                .iter()
                .map(|(modifier, planes, importable)| ModifierInfo {
                    modifier: *modifier,
                    planes: *planes,
                    features: both,
                    importable: *importable,
                    renderable: false,
                })
                .collect(),
        });
        let extensions = Extensions::from_names(Extensions::known());
        Capabilities {
            name: "test".into(),
            driver: vk::DriverId::MESA_RADV,
            driver_text: String::new(),
            api_version: (1, 3, 0),
            kind: vk::PhysicalDeviceType::INTEGRATED_GPU,
            uuid: [0; 16],
            primary_node: None,
            render_node: None,
            supported: extensions,
            enabled: extensions,
            buffer_import: true,
            buffer_export: true,
            sync_fd_import: true,
            sync_fd_export: true,
            host_pointer_alignment: None,
            formats: rows.collect(),
        }
    }

    #[test]
    fn images_are_offered_only_as_imports_take_them() {
        let linear = (Modifier::LINEAR, 1, true);
        let report = device(&[
            // What the driver lists for the whole of it is not what a plane of its own can be.
            (Fourcc::NV12, &[(COMPRESSED, 2, true)]),
            (Fourcc::R8, &[linear, (TILED, 1, true), (COMPRESSED, 2, true)]),
            (Fourcc::GR88, &[linear, (TILED, 1, false)]),
            (
                Fourcc::XRGB8888,
                &[linear, (TILED, 1, false), (COMPRESSED, 2, true)],
            ),
        ]);
        let set = report.sampled();
        let has = |fourcc, modifier| set.contains(Pair { fourcc, modifier });
        for fourcc in [
            Fourcc::NV12,
            Fourcc::NV21,
            Fourcc::NV61,
            Fourcc::YVU420,
            Fourcc::YUV420,
        ] {
            assert!(has(fourcc, Modifier::LINEAR), "{fourcc}");
            assert!(
                !has(fourcc, COMPRESSED),
                "{fourcc}: metadata belongs to the whole"
            );
        }
        assert!(!has(Fourcc::NV12, TILED), "not of the second plane");
        assert!(has(Fourcc::YUV420, TILED), "of all three");
        assert!(has(Fourcc::XRGB8888, COMPRESSED) && !has(Fourcc::XRGB8888, TILED));
        assert!(!has(Fourcc::P010, Modifier::LINEAR), "nobody lists its planes");
        assert!(report.rendered().is_empty());
        let consumer = report.consumer();
        let routes = consumer.routes(Pair {
            fourcc: Fourcc::NV21,
            modifier: TILED,
        });
        assert_eq!(routes.count(), 0);
    }
}
