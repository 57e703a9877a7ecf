//! What another GStreamer element says about a buffer (caps, video metadata, memory sizes), read by
//! `dmaframe_gstreamer::describe` without GStreamer: no panic; what is accepted lies inside the memories, in 128 bits, and
//! becomes a frame of memory of just that size, whose rows can be copied; texts that were read and written read the same.
#![no_main]

use std::time::Duration;

use dmaframe_core::{ColorInfo, Error, Frame, LayoutError, MAX_PLANES, Modifier, Rect, Size};
use dmaframe_fuzz::{Code, Length, Modified, Offset};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

// The source itself: the crate around it links GStreamer, which has no place in an instrumented build.
#[allow(dead_code, unused_imports, missing_docs, unreachable_pub)]
#[path = "../../crates/dmaframe-gstreamer/src/describe/mod.rs"]
mod describe;

use describe::{CapsFields, DescribeError, MemoryWindow, MetaFields, Picture};

#[derive(Arbitrary, Debug)]
enum Text {
    /// A name that both sides know.
    Known(u8),
    /// What stands for "see drm-format".
    DmaDrm,
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Drm {
    Pair(Code, Modified),
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum Colour {
    Named(u8),
    Numbers(u8, u8, u8, u8),
    Any(String),
}

#[derive(Arbitrary, Debug)]
struct Meta {
    size: (Length, Length),
    planes: Vec<(Offset, i32)>,
}

#[derive(Arbitrary, Debug)]
struct Input {
    media_type: Option<String>,
    feature: Option<bool>,
    other_feature: Option<String>,
    format: Option<Text>,
    drm: Option<Drm>,
    size: (Length, Length),
    interlace: Option<String>,
    colour: Option<Colour>,
    site: Option<String>,
    unnamed: Modified,
    meta: Option<Meta>,
    /// Begin with GStreamer's own layout, in one memory or in one for each plane, and change what `meta` says.
    fitting: Option<bool>,
    crop: Option<[Length; 4]>,
    memories: Vec<(Offset, Offset)>,
}

/// Bytes up to which pictures are really made.
const MADE: u64 = 1 << 20;

fuzz_target!(|input: Input| run(&input));

fn run(input: &Input) {
    let names: Vec<_> = describe::formats().collect();
    let format = input.format.as_ref().map(|text| match text {
        Text::Known(index) => names[usize::from(*index) % names.len()].0,
        Text::DmaDrm => "DMA_DRM",
        Text::Any(text) => text,
    });
    let drm = input.drm.as_ref().and_then(|drm| match drm {
        Drm::Pair(code, modifier) => describe::drm_format(code.get(), modifier.get()),
        Drm::Any(text) => Some(text.clone()),
    });
    if let Some(text) = &drm
        && let Ok((fourcc, modifier)) = describe::parse_drm_format(text)
    {
        assert!(!modifier.is_implicit());
        let written = describe::drm_format(fourcc, modifier).expect("what was read can be written");
        assert_eq!(describe::parse_drm_format(&written), Ok((fourcc, modifier)));
    }
    let colour = input.colour.as_ref().map(|colour| match colour {
        Colour::Named(index) => [
            "bt601",
            "bt709",
            "smpte240m",
            "sRGB",
            "bt2020",
            "bt2020-10",
            "bt2100-pq",
            "bt2100-hlg",
        ][usize::from(*index) % 8]
            .to_owned(),
        Colour::Numbers(a, b, c, d) => format!("{a}:{b}:{c}:{d}"),
        Colour::Any(text) => text.clone(),
    });
    if let Some(Ok(color)) = colour.as_deref().map(describe::parse_colorimetry) {
        let again = describe::colorimetry(&color).map(|text| describe::parse_colorimetry(&text));
        assert_eq!(again.unwrap_or(Ok(ColorInfo::UNSPECIFIED)), Ok(color));
    }

    let length = |length: Length| length.get() as i32;
    let mut caps = CapsFields::default();
    caps.media_type = input.media_type.as_deref().unwrap_or("video/x-raw");
    caps.feature = match input.feature {
        Some(true) => Some("memory:DMABuf"),
        Some(false) => input.other_feature.as_deref(),
        None => None,
    };
    caps.format = format;
    caps.drm_format = drm.as_deref();
    (caps.width, caps.height) = (length(input.size.0), length(input.size.1));
    caps.interlace_mode = input.interlace.as_deref();
    caps.colorimetry = colour.as_deref();
    caps.chroma_site = input.site.as_deref();
    match Picture::from_caps(&caps, input.unnamed.get()) {
        Ok(picture) => described(&picture, &caps, input),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn described(picture: &Picture, caps: &CapsFields<'_>, input: &Input) {
    assert_eq!(caps.media_type, "video/x-raw");
    assert_eq!(picture.size, Size::new(caps.width as u32, caps.height as u32));
    assert!(picture.size.width > 0 && picture.size.height > 0);
    assert!(picture.fourcc.info().is_some());
    assert!(
        picture.dmabuf || picture.modifier.is_linear(),
        "system memory is linear"
    );

    let (meta, windows) = proposal(picture, input);
    let crop = input.crop.map(|lengths| {
        let [x, y, width, height] = lengths.map(Length::get);
        Rect { x, y, width, height }
    });
    let placed = match picture.planes(meta.as_ref(), crop, &windows) {
        Ok(placed) => placed,
        Err(error) => {
            if let DescribeError::Offset { memories, .. } = &error {
                assert_eq!(*memories, windows.len());
            }
            return assert!(!error.to_string().is_empty());
        }
    };
    assert!(!placed.planes.is_empty() && placed.planes.len() <= MAX_PLANES);
    assert!(placed.memories.iter().all(|memory| *memory < windows.len()));
    assert!(placed.visible.is_none_or(|rect| rect.fits(placed.coded)));
    if picture.modifier == Modifier::LINEAR {
        let info = picture.fourcc.info().expect("looked up");
        for (plane, format) in placed.planes.iter().zip(info.planes()) {
            let window = windows[placed.memories[plane.object]];
            let rows = u128::from(format.rows(placed.coded.height));
            let row = u128::from(format.row_bytes(placed.coded.width));
            let end = u128::from(plane.offset) + u128::from(plane.stride) * (rows - 1) + row;
            assert!(plane.offset >= window.offset && row <= plane.stride.into());
            assert!(
                end <= u128::from(window.offset) + u128::from(window.size),
                "{plane:?} in {window:?}"
            );
        }
    }
    frame(picture, &placed, &windows);
}

/// With memory of exactly the sizes that were told, the parts are a frame.
fn frame(picture: &Picture, placed: &describe::Placed, windows: &[MemoryWindow]) {
    let ends: Option<Vec<u64>> = placed
        .memories
        .iter()
        .map(|memory| {
            windows[*memory]
                .offset
                .checked_add(windows[*memory].size)
                .filter(|end| *end <= MADE)
        })
        .collect();
    let Some(ends) = ends else { return };
    let mut parts = picture.parts(placed);
    for end in ends {
        let memory = dmaframe_testkit::memfd(end, true).expect("a memfd");
        parts.objects.push(memory.into());
    }
    let frame = match Frame::try_from(parts) {
        Ok(frame) => frame,
        // How much memory another layout takes is not known, so nothing bounds what is said of its size but this.
        Err(rejected) if !picture.modifier.is_linear() => {
            return assert!(
                matches!(rejected.error, Error::Layout(LayoutError::TooLarge { .. })),
                "{rejected:?}"
            );
        }
        Err(rejected) => panic!("what was described fits: {rejected:?}"),
    };
    assert_eq!(frame.layout().planes(), placed.planes.as_slice());
    assert_eq!(frame.meta().visible, placed.visible);
    if picture.modifier.is_linear() && frame.layout().tight_len() <= MADE {
        let view = frame.map_read(Duration::ZERO).expect("linear memory can be read");
        assert!(
            view.to_tight()
                .expect("every row is there")
                .iter()
                .all(|byte| *byte == 0)
        );
    }
}

fn proposal(picture: &Picture, input: &Input) -> (Option<MetaFields>, Vec<MemoryWindow>) {
    let mut windows: Vec<_> = input
        .memories
        .iter()
        .take(17)
        .map(|(offset, size)| MemoryWindow::new(offset.get(), size.get()))
        .collect();
    let mut fields = MetaFields::default();
    fields.size = picture.size;
    let default = input
        .fitting
        .zip(describe::default_planes(picture.fourcc, picture.size).ok());
    if let Some((split, default)) = default {
        let front = windows.first().map_or(0, |window| window.offset & 0xffff);
        fields.offsets = default.offsets.clone();
        fields.strides = default.strides.clone();
        windows = if split {
            let ends = default.offsets.iter().skip(1).copied().chain([default.size]);
            default
                .offsets
                .iter()
                .zip(ends)
                .map(|(start, end)| MemoryWindow::new(front, end - start))
                .collect()
        } else {
            vec![MemoryWindow::new(front, default.size)]
        };
        let Some(meta) = &input.meta else {
            return (None, windows);
        };
        for (index, (offset, stride)) in meta.planes.iter().enumerate().take(fields.offsets.len()) {
            if stride & 1 == 0 {
                fields.offsets[index] = fields.offsets[index].wrapping_add(offset.get());
            } else {
                fields.strides[index] = fields.strides[index].wrapping_add(*stride >> 1);
            }
        }
        return (Some(fields), windows);
    }
    let meta = input.meta.as_ref().map(|meta| {
        fields.size = Size::new(meta.size.0.get(), meta.size.1.get());
        for (offset, stride) in meta.planes.iter().take(MAX_PLANES) {
            fields.offsets.push(offset.get());
            fields.strides.push(*stride);
        }
        fields
    });
    (meta, windows)
}
