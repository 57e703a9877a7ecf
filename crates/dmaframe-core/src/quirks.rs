//! What drivers do against expectation, as one table.
//!
//! [`negotiate::plan`](crate::negotiate::plan()) consults it, and whoever makes memory for a device asks
//! [`needs`]; nothing else in the workspace knows drivers by name. A row says whom it is about, what follows, and where
//! it was seen. Rows with [`Effect::Last`] are doubts: what they are about is tried after everything else that copies
//! nothing, and an import that works is used.

use std::fmt;

use arrayvec::ArrayVec;

use crate::LayoutError;
use crate::format::{Fourcc, Modifier};
use crate::layout::{Layout, MAX_PLANES, Plane, Size};
use crate::negotiate::{MemoryKind, Pair, Route, Usage};

/// Drivers that rows are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Driver {
    /// NVIDIA's own, open or closed kernel modules (`nvidia-drm`); not nouveau.
    Nvidia,
    /// `amdgpu` and `radeon`.
    Amd,
    /// The Raspberry Pi's GPU, `v3d` (4 and 5).
    V3d,
    /// The Raspberry Pi's display, `vc4`.
    Vc4,
    /// ARM's own Mali driver; not panfrost or panthor.
    Mali,
    /// Any other.
    Other,
}

impl Driver {
    /// By the kernel driver's name (`DRM_IOCTL_VERSION`).
    #[must_use]
    pub fn of_kernel(name: &str) -> Self {
        match name {
            "nvidia-drm" | "nvidia" => Self::Nvidia,
            "amdgpu" | "radeon" => Self::Amd,
            "v3d" => Self::V3d,
            "vc4" => Self::Vc4,
            "mali" | "mali_kbase" => Self::Mali,
            _ => Self::Other,
        }
    }
}

/// Which layouts a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tiling {
    /// Every layout.
    Any,
    /// `LINEAR`.
    Linear,
    /// `INVALID`.
    Implicit,
    /// Modifiers of this vendor.
    Vendor(u8),
}

impl Tiling {
    fn holds(self, modifier: Modifier) -> bool {
        match self {
            Self::Any => true,
            Self::Linear => modifier.is_linear(),
            Self::Implicit => modifier.is_implicit(),
            Self::Vendor(vendor) => !modifier.is_implicit() && modifier.vendor() == vendor,
        }
    }
}

/// What follows from a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Never offered.
    Never,
    /// Offered after everything else that copies nothing.
    Last,
    /// Offered only where producer and consumer are known to be one device.
    SameDevice,
    /// Rows begin at multiples of so many bytes.
    Pitch(u32),
    /// Planes begin at multiples of so many bytes.
    Offset(u64),
    /// Objects hold as many rows as the height rounded up to a multiple of this.
    Rows(u32),
    /// Every plane is in an object of its own.
    ObjectPerPlane,
}

/// One row.
#[derive(Debug)]
#[non_exhaustive]
pub struct Quirk {
    /// Its name in reports.
    pub name: &'static str,
    /// The consumer's driver; `None` for any.
    pub driver: Option<Driver>,
    /// Only for cards of their own.
    pub discrete: bool,
    /// Layouts.
    pub tiling: Tiling,
    /// Only for formats of more than one plane.
    pub planar: bool,
    /// Uses; empty for all.
    pub usages: &'static [Usage],
    /// Routes; empty for all.
    pub routes: &'static [Route],
    /// Memory; empty for all.
    pub memory: &'static [MemoryKind],
    /// What follows.
    pub effect: Effect,
    /// What happens otherwise.
    pub why: &'static str,
    /// Where it was seen.
    pub source: &'static str,
}

/// A row that says nothing, for the others to differ from.
const ANY: Quirk = Quirk {
    name: "",
    driver: None,
    discrete: false,
    tiling: Tiling::Any,
    planar: false,
    usages: &[],
    routes: &[],
    memory: &[],
    effect: Effect::Last,
    why: "",
    source: "",
};

/// The table.
pub const TABLE: &[Quirk] = &[
    Quirk {
        name: "nvidia-linear-sampling",
        driver: Some(Driver::Nvidia),
        tiling: Tiling::Linear,
        usages: &[Usage::Sample],
        routes: &[Route::Image],
        effect: Effect::Last,
        why: "LINEAR can be sampled as an external texture only",
        source: "obsproject/obs-studio#12498",
        ..ANY
    },
    Quirk {
        name: "nvidia-linear-rendering",
        driver: Some(Driver::Nvidia),
        tiling: Tiling::Linear,
        usages: &[Usage::Render],
        routes: &[Route::Image],
        effect: Effect::Never,
        why: "an external-only texture is no render target",
        source: "obsproject/obs-studio#12498; driver 580.159 on an H200 lists LINEAR for sampling only",
        ..ANY
    },
    Quirk {
        name: "nvidia-linear-chroma",
        driver: Some(Driver::Nvidia),
        tiling: Tiling::Linear,
        planar: true,
        routes: &[Route::Image],
        effect: Effect::Offset(65_536),
        why: "chroma at another offset is taken and then hangs the command processor",
        source: "bite-gp-wgpu 1.25, src/dmabuf.rs (seen on a 930M)",
        ..ANY
    },
    Quirk {
        name: "nvidia-tiled-chroma",
        driver: Some(Driver::Nvidia),
        tiling: Tiling::Vendor(0x03),
        planar: true,
        effect: Effect::ObjectPerPlane,
        why: "chroma at an offset inside a block-linear object is scrambled",
        source: "elFarto/nvidia-vaapi-driver#446",
        ..ANY
    },
    Quirk {
        name: "amd-linear-pitch",
        driver: Some(Driver::Amd),
        tiling: Tiling::Linear,
        routes: &[Route::Image, Route::Dmabuf],
        effect: Effect::Pitch(256),
        why: "linear rows at other distances are refused",
        source: "GStreamer 1.28, GstVideoDmabufPool",
        ..ANY
    },
    Quirk {
        name: "amd-padded-height",
        driver: Some(Driver::Amd),
        tiling: Tiling::Linear,
        routes: &[Route::Image],
        effect: Effect::Rows(16),
        why: "the driver computes the size with the height padded, and refuses a smaller object (EGL_BAD_ALLOC)",
        source: "MrOz59/Apollo-Linux#22; Mesa si_texture_from_winsys_buffer, ac_surface.c",
        ..ANY
    },
    Quirk {
        name: "v3d-linear-sampling",
        driver: Some(Driver::V3d),
        tiling: Tiling::Linear,
        usages: &[Usage::Sample],
        routes: &[Route::Image],
        effect: Effect::Never,
        why: "the texture unit of the Raspberry Pi 5 (V3D 7.1) does not sample LINEAR; the driver tolerates the image",
        source: "toyota-connected/ivi-homescreen#597",
        ..ANY
    },
    Quirk {
        name: "vc4-contiguous",
        driver: Some(Driver::Vc4),
        routes: &[Route::Dmabuf, Route::Image],
        memory: &[MemoryKind::Pages, MemoryKind::Vmalloc, MemoryKind::Device],
        effect: Effect::Never,
        why: "no IOMMU: drmPrimeFDToHandle fails with EINVAL, or the display shows nothing but green",
        source: "toyota-connected/ivi-homescreen#219, raspberrypi/linux#5727",
        ..ANY
    },
    Quirk {
        name: "mali-implicit",
        driver: Some(Driver::Mali),
        tiling: Tiling::Implicit,
        effect: Effect::SameDevice,
        why: "its gbm answers INVALID for every buffer, and only the driver itself knows the layout",
        source: "vkmark/vkmark#47",
        ..ANY
    },
    Quirk {
        name: "discrete-vmalloc",
        discrete: true,
        routes: &[Route::Buffer, Route::Image, Route::Dmabuf],
        memory: &[MemoryKind::Vmalloc],
        effect: Effect::Last,
        why: "a card of its own may refuse vmalloc memory (NVIDIA's imports nobody else's at all)",
        source: "NVIDIA/open-gpu-kernel-modules#175",
        ..ANY
    },
];

/// What is looked up: one way of passing frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The consumer's driver.
    pub driver: Option<Driver>,
    /// Whether the consumer is a card of its own.
    pub discrete: bool,
    /// What it does with the frames.
    pub usage: Usage,
    /// Format and layout.
    pub pair: Pair,
    /// The way.
    pub route: Route,
    /// The memory.
    pub memory: MemoryKind,
}

impl Quirk {
    /// Whether the row is about this case.
    #[must_use]
    pub fn holds(&self, case: &Case) -> bool {
        fn one_of<T: PartialEq>(list: &[T], value: &T) -> bool {
            list.is_empty() || list.contains(value)
        }
        let planes = case.pair.fourcc.info().map_or(1, |info| info.planes().len());
        (self.driver.is_none() || self.driver == case.driver)
            && (!self.discrete || case.discrete)
            && self.tiling.holds(case.pair.modifier)
            && (!self.planar || planes > 1)
            && one_of(self.usages, &case.usage)
            && one_of(self.routes, &case.route)
            && one_of(self.memory, &case.memory)
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.name, self.why, self.source)
    }
}

/// The rows that are about `case`. A copy and a CPU mapping never meet a device, so there are none for those.
pub fn of(case: &Case) -> impl Iterator<Item = &'static Quirk> + use<> {
    let case = *case;
    TABLE.iter().filter(move |quirk| {
        !matches!(case.route, Route::Copy | Route::Mapped | Route::HostPointer) && quirk.holds(&case)
    })
}

/// What rows ask of a layout, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Rows begin at multiples of so many bytes.
    pub pitch: u32,
    /// Planes begin at multiples of so many bytes.
    pub offset: u64,
    /// Objects hold the height rounded up to a multiple of this.
    pub rows: u32,
    /// Every plane in an object of its own.
    pub object_per_plane: bool,
}

impl Default for Needs {
    fn default() -> Self {
        Self {
            pitch: 1,
            offset: 1,
            rows: 1,
            object_per_plane: false,
        }
    }
}

/// What the rows about `case` ask of a layout.
#[must_use]
pub fn needs(case: &Case) -> Needs {
    let mut needs = Needs::default();
    for quirk in of(case) {
        match quirk.effect {
            Effect::Pitch(bytes) => needs.pitch = needs.pitch.max(bytes),
            Effect::Offset(bytes) => needs.offset = needs.offset.max(bytes),
            Effect::Rows(rows) => needs.rows = needs.rows.max(rows),
            Effect::ObjectPerPlane => needs.object_per_plane = true,
            Effect::Never | Effect::Last | Effect::SameDevice => {}
        }
    }
    needs
}

impl Needs {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a layout that others have fixed, in objects of these sizes in bytes, has what is asked; the reason why
    /// not.
    ///
    /// # Errors
    /// A sentence with the plane, the number found and the number needed.
    pub fn check(&self, layout: &Layout, objects: &[u64]) -> Result<(), String> {
        for (index, plane) in layout.planes().iter().enumerate() {
            if plane.stride % self.pitch != 0 {
                return Err(format!(
                    "plane {index}: stride {} is not a multiple of {}",
                    plane.stride, self.pitch
                ));
            }
            if plane.offset % self.offset != 0 {
                return Err(format!(
                    "plane {index}: offset {} is not a multiple of {}",
                    plane.offset, self.offset
                ));
            }
            if self.object_per_plane
                && layout
                    .planes()
                    .iter()
                    .filter(|p| p.object == plane.object)
                    .count()
                    > 1
            {
                return Err(format!(
                    "plane {index} shares object {} with another plane",
                    plane.object
                ));
            }
            if self.rows > 1 {
                let rows = self.padded_rows(layout, index);
                let needed = u64::from(plane.stride)
                    .saturating_mul(rows)
                    .saturating_add(plane.offset);
                let found = objects.get(plane.object).copied().unwrap_or(0);
                if needed > found {
                    return Err(format!(
                        "plane {index} with {rows} rows needs {needed} bytes, the object has {found}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn padded_rows(&self, layout: &Layout, plane: usize) -> u64 {
        let height = padded(layout.size().height, self.rows);
        let format = layout.info().planes().get(plane);
        format.map_or(0, |format| u64::from(format.rows(height)))
    }

    /// A linear layout that has what is asked, its rows at multiples of `align` bytes at least. Where rows are padded
    /// its height is the padded one: what is asked for is then the visible part.
    ///
    /// # Errors
    /// As [`Layout::linear`].
    pub fn layout(&self, fourcc: Fourcc, size: Size, align: u32) -> Result<Layout, LayoutError> {
        let size = Size::new(size.width, padded(size.height, self.rows));
        let plain = Layout::linear(fourcc, size, align.max(self.pitch))?;
        if self.offset <= 1 && !self.object_per_plane {
            return Ok(plain);
        }
        let (mut planes, mut ends) = (
            ArrayVec::<Plane, MAX_PLANES>::new(),
            ArrayVec::<u64, MAX_PLANES>::new(),
        );
        for (index, plane) in plain.planes().iter().enumerate() {
            let object = if self.object_per_plane { index } else { 0 };
            let overflow = || LayoutError::Overflow { plane: index };
            let offset = match ends.get(object) {
                None => 0,
                Some(end) => end.checked_next_multiple_of(self.offset).ok_or_else(overflow)?,
            };
            let bytes = u64::from(plane.stride)
                .checked_mul(plain.rows(index).into())
                .ok_or_else(overflow)?;
            let end = offset.checked_add(bytes).ok_or_else(overflow)?;
            match ends.get_mut(object) {
                Some(kept) => *kept = end,
                None => ends.push(end),
            }
            planes.push(Plane {
                object,
                offset,
                ..*plane
            });
        }
        Layout::check(fourcc, Modifier::LINEAR, size, &planes, &ends)
    }
}

/// Rounded up; a height at the end of its range stays as it is.
fn padded(height: u32, rows: u32) -> u32 {
    height.checked_next_multiple_of(rows.max(1)).unwrap_or(height)
}

#[cfg(test)]
mod tests;
