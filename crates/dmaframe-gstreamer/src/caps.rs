//! Caps from formats and back.
//!
//! Three ways to write one picture in dma-bufs, and which of them an element understands differs:
//!
//! | caps | means | from |
//! | --- | --- | --- |
//! | `video/x-raw, format=NV12` | LINEAR, in whatever memory: buffers may be dma-bufs all the same | always |
//! | `video/x-raw(memory:DMABuf), format=NV12` | dma-bufs, layout not said | always |
//! | `video/x-raw(memory:DMABuf), format=DMA_DRM, drm-format=NV12:0x...` | dma-bufs of this modifier; LINEAR is the bare code | 1.24 |
//!
//! The third is written and read as text, so nothing here links against a newer GStreamer; whether the library in use
//! knows it is asked once ([`has_dma_drm`]).

use std::sync::OnceLock;

use dmaframe_core::negotiate::{FormatSet, Pair};
use dmaframe_core::{Fourcc, FrameMeta, Layout, Modifier, Size};

use crate::describe::{self, CapsFields, Picture};
use crate::error::Error;

const DMABUF: &str = "memory:DMABuf";

/// Whether the GStreamer library in use knows `format=DMA_DRM` (1.24 and later). GStreamer must be initialised.
#[must_use]
pub fn has_dma_drm() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| gst_video::VideoFormat::from_string("DMA_DRM") != gst_video::VideoFormat::Unknown)
}

/// Which memory caps promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// `video/x-raw(memory:DMABuf), format=DMA_DRM`.
    DmaDrm,
    /// `video/x-raw(memory:DMABuf)` with an ordinary format.
    Dmabuf,
    /// `video/x-raw`.
    Plain,
}

impl Style {
    /// All, most telling first.
    pub const ALL: [Self; 3] = [Self::DmaDrm, Self::Dmabuf, Self::Plain];

    fn features(self) -> Option<gst::CapsFeatures> {
        (self != Self::Plain).then(|| gst::CapsFeatures::new([DMABUF]))
    }

    /// The structure that names the pair, without a size. `None` where this style cannot.
    fn structure(self, pair: Pair) -> Option<gst::Structure> {
        let builder = gst::Structure::builder("video/x-raw");
        match self {
            Self::DmaDrm => {
                let text = describe::drm_format(pair.fourcc, pair.modifier).filter(|_| has_dma_drm())?;
                Some(
                    builder
                        .field("format", "DMA_DRM")
                        .field("drm-format", text)
                        .build(),
                )
            }
            // The layout is not said: right for the implicit one, and how LINEAR was written before 1.24.
            Self::Dmabuf if pair.modifier.is_linear() || pair.modifier.is_implicit() => {
                Some(builder.field("format", name(pair.fourcc)?).build())
            }
            Self::Plain if pair.modifier.is_linear() => {
                Some(builder.field("format", name(pair.fourcc)?).build())
            }
            _ => None,
        }
    }
}

/// The name of a format, if the library in use knows it: some came after 1.22.
fn name(fourcc: Fourcc) -> Option<&'static str> {
    let known = describe::by_fourcc(fourcc)?;
    let format = gst_video::VideoFormat::from_string(known.name);
    (format != gst_video::VideoFormat::Unknown).then_some(known.name)
}

/// Caps for a set of formats of any size: for a sink's caps, a filter, a query. Each pair in every way it can be written,
/// formats the set likes best first.
///
/// Pairs without a name in GStreamer are left out: tiled ones before 1.24, formats `GstVideoFormat` has not got.
#[must_use]
pub fn from_formats(formats: &FormatSet) -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    {
        let caps = caps.make_mut();
        for style in Style::ALL {
            for fourcc in formats.fourccs() {
                for modifier in formats.modifiers(fourcc) {
                    let Some(structure) = style.structure(Pair { fourcc, modifier }) else {
                        continue;
                    };
                    match style.features() {
                        Some(features) => caps.append_structure_full(structure, Some(features)),
                        None => caps.append_structure(structure),
                    }
                }
            }
        }
    }
    caps
}

/// The formats caps name, fixed or not: what a peer would take or give.
///
/// `video/x-raw` counts as LINEAR and old `memory:DMABuf` caps as both LINEAR and the implicit modifier, since they do
/// not say. A `DMA_DRM` structure without `drm-format` takes everything: it stands for every format of the table with the
/// modifiers of `any`.
#[must_use]
pub fn to_formats(name: &str, caps: &gst::CapsRef, any: &FormatSet) -> FormatSet {
    let mut set = FormatSet::new(name);
    if caps.is_any() {
        for (_, fourcc) in describe::formats() {
            set.insert(fourcc, Modifier::LINEAR);
        }
        any.iter().for_each(|pair| {
            set.insert(pair.fourcc, pair.modifier);
        });
        return set;
    }
    for (structure, features) in caps.iter_with_features() {
        if structure.name() != "video/x-raw" {
            continue;
        }
        let dmabuf = features.contains(DMABUF);
        if !dmabuf && !features.is_any() && !features.contains("memory:SystemMemory") {
            continue;
        }
        let mut unsaid = true;
        for format in strings(structure, "format") {
            unsaid = false;
            if format == "DMA_DRM" {
                let named = strings(structure, "drm-format");
                for (fourcc, modifier) in named
                    .iter()
                    .filter_map(|text| describe::parse_drm_format(text).ok())
                {
                    set.insert(fourcc, modifier);
                }
                if named.is_empty() {
                    any.iter().for_each(|pair| {
                        set.insert(pair.fourcc, pair.modifier);
                    });
                }
            } else if let Some(known) = describe::by_name(&format) {
                insert(&mut set, known.fourcc, dmabuf);
            }
        }
        if unsaid {
            for (_, fourcc) in describe::formats() {
                insert(&mut set, fourcc, dmabuf);
            }
        }
    }
    set
}

fn insert(set: &mut FormatSet, fourcc: Fourcc, dmabuf: bool) {
    set.insert(fourcc, Modifier::LINEAR);
    if dmabuf {
        set.insert(fourcc, Modifier::INVALID);
    }
}

/// A field that is a string or a list of strings.
fn strings(structure: &gst::StructureRef, field: &str) -> Vec<String> {
    let Ok(value) = structure.value(field) else {
        return Vec::new();
    };
    if let Ok(one) = value.get::<String>() {
        return vec![one];
    }
    let Ok(list) = value.get::<gst::List>() else {
        return Vec::new();
    };
    list.iter()
        .filter_map(|value| value.get::<String>().ok())
        .collect()
}

/// Fixed caps for frames of one layout, in one way of writing them. `framerate` is a fraction, 0/1 for "varies".
///
/// # Errors
/// [`Error::NoCaps`] where that style has no way to name the pair.
pub fn from_layout(
    layout: &Layout,
    meta: &FrameMeta,
    framerate: (i32, i32),
    style: Style,
) -> Result<gst::Caps, Error> {
    let pair = Pair {
        fourcc: layout.fourcc(),
        modifier: layout.modifier(),
    };
    let mut structure = style.structure(pair).ok_or_else(|| no_caps(pair))?;
    let size = shown(layout, meta);
    // The largest of GStreamer's own, too.
    let length = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    structure.set("width", length(size.width));
    structure.set("height", length(size.height));
    structure.set("framerate", gst::Fraction::new(framerate.0, framerate.1.max(1)));
    structure.set("interlace-mode", "progressive");
    structure.set("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    if let Some(text) = describe::colorimetry(&meta.color) {
        structure.set("colorimetry", text);
    }
    if let Some(text) = describe::chroma_site(meta.color.siting) {
        structure.set("chroma-site", text);
    }
    let mut caps = gst::Caps::new_empty();
    match style.features() {
        Some(features) => caps.make_mut().append_structure_full(structure, Some(features)),
        None => caps.make_mut().append_structure(structure),
    }
    Ok(caps)
}

pub(crate) fn no_caps(pair: Pair) -> Error {
    let (major, minor, _, _) = gst::version();
    let reason = if name(pair.fourcc).is_none() {
        "its GstVideoFormat has no such format"
    } else if pair.modifier.is_implicit() {
        "the implicit modifier cannot be written in this style"
    } else {
        "a modifier other than LINEAR needs DMA_DRM caps, which came with 1.24"
    };
    Error::NoCaps {
        fourcc: pair.fourcc,
        modifier: pair.modifier,
        reason,
        major,
        minor,
    }
}

/// The size caps give: of what is to be shown.
pub(crate) fn shown(layout: &Layout, meta: &FrameMeta) -> Size {
    match meta.visible.filter(|rect| rect.fits(layout.size())) {
        Some(rect) => Size::new(rect.width, rect.height),
        None => layout.size(),
    }
}

/// Reads fixed caps; see [`Picture::from_caps`] for `unnamed`.
///
/// # Errors
/// [`Error::Describe`].
pub fn picture(caps: &gst::CapsRef, unnamed: Modifier) -> Result<Picture, Error> {
    let structure = caps.structure(0).ok_or(Error::Incomplete {
        what: "caps structure",
    })?;
    let features = caps.features(0);
    let feature = features
        .and_then(|features| features.nth(0))
        .map(|feature| feature.as_str());
    let text = |field: &str| structure.get::<Option<&str>>(field).ok().flatten();
    let fields = CapsFields {
        media_type: structure.name(),
        feature,
        format: text("format"),
        drm_format: text("drm-format"),
        width: structure.get("width").unwrap_or(0),
        height: structure.get("height").unwrap_or(0),
        interlace_mode: text("interlace-mode"),
        colorimetry: text("colorimetry"),
        chroma_site: text("chroma-site"),
    };
    Ok(Picture::from_caps(&fields, unnamed)?)
}

/// What caps without a named layout mean in the library in use: with DMA_DRM caps to be had, elements that write the old
/// ones mean LINEAR (V4L2 does); before that they meant whatever the driver made.
pub(crate) fn unnamed() -> Modifier {
    if has_dma_drm() {
        Modifier::LINEAR
    } else {
        Modifier::INVALID
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::{default_planes, formats};

    #[test]
    fn our_planes_are_gstreamers_own_for_every_format_and_size() {
        gst::init().unwrap();
        let mut compared = 0;
        for (name, fourcc) in formats() {
            let format = gst_video::VideoFormat::from_string(name);
            if format == gst_video::VideoFormat::Unknown {
                // The one that came after 1.22.
                assert_eq!(name, "NV16_10LE40");
                continue;
            }
            for (width, height) in [
                (1, 1),
                (2, 2),
                (3, 5),
                (17, 31),
                (639, 361),
                (641, 480),
                (1920, 1080),
                (4099, 7),
            ] {
                let Ok(info) = gst_video::VideoInfo::builder(format, width, height).build() else {
                    continue;
                };
                let ours = default_planes(fourcc, Size::new(width, height)).unwrap();
                let offsets: Vec<u64> = info.offset().iter().map(|offset| *offset as u64).collect();
                assert_eq!(ours.offsets.as_slice(), offsets, "{name} {width}x{height}");
                assert_eq!(ours.strides.as_slice(), info.stride(), "{name} {width}x{height}");
                assert_eq!(ours.size, info.size() as u64, "{name} {width}x{height}");
                compared += 1;
            }
        }
        assert!(compared > 250, "{compared} compared");
    }

    #[test]
    fn our_colours_are_gstreamers_own() {
        use gst_video::VideoColorimetry;
        use std::str::FromStr;
        gst::init().unwrap();
        for text in [
            "bt601",
            "bt709",
            "smpte240m",
            "sRGB",
            "bt2020",
            "bt2020-10",
            "bt2100-pq",
            "bt2100-hlg",
            "1:4:7:1",
            "2:3:16:4",
            "0:2:9:8",
            "2:5:3:12",
            "1:0:15:10",
        ] {
            let theirs = VideoColorimetry::from_str(text).unwrap();
            let ours = describe::parse_colorimetry(text).unwrap();
            assert_eq!(u32::from(ours.matrix), theirs.matrix().to_iso(), "{text} matrix");
            assert_eq!(
                u32::from(ours.primaries),
                theirs.primaries().to_iso(),
                "{text} primaries"
            );
            assert_eq!(
                u32::from(ours.transfer),
                theirs.transfer().to_iso(),
                "{text} transfer"
            );
        }
    }

    #[test]
    fn caps_of_a_layout_read_back_as_the_same_picture() {
        gst::init().unwrap();
        let layout = Layout::linear(Fourcc::NV12, Size::new(640, 480), 256).unwrap();
        let meta = FrameMeta::default();
        for style in Style::ALL {
            if style == Style::DmaDrm && !has_dma_drm() {
                assert!(matches!(
                    from_layout(&layout, &meta, (30, 1), style),
                    Err(Error::NoCaps { .. })
                ));
                continue;
            }
            let caps = from_layout(&layout, &meta, (30, 1), style).unwrap();
            assert!(caps.is_fixed(), "{caps}");
            let back = picture(&caps, Modifier::LINEAR).unwrap();
            assert_eq!(
                (back.fourcc, back.modifier, back.size),
                (layout.fourcc(), layout.modifier(), layout.size())
            );
            assert_eq!(back.dmabuf, style != Style::Plain);
        }
    }

    #[test]
    fn formats_come_back_from_caps() {
        gst::init().unwrap();
        let tiled = Modifier(0x0100_0000_0000_0002);
        let set = FormatSet::new("us")
            .with(Fourcc::NV12, tiled)
            .with(Fourcc::YUYV, Modifier::LINEAR);
        let caps = from_formats(&set);
        let back = to_formats("them", &caps, &FormatSet::new("any"));
        assert!(back.contains(Pair {
            fourcc: Fourcc::YUYV,
            modifier: Modifier::LINEAR
        }));
        let named = back.contains(Pair {
            fourcc: Fourcc::NV12,
            modifier: tiled,
        });
        assert_eq!(named, has_dma_drm(), "{caps}");
        assert!(!back.contains(Pair {
            fourcc: Fourcc::NV12,
            modifier: Modifier::LINEAR
        }));
    }
}
