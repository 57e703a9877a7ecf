//! Which of a camera's formats will do.

use dmaframe_alloc::Picture;
use dmaframe_core::negotiate::{FormatSet, MemoryKind, Takes, Usage};
use dmaframe_v4l2::{Capabilities, Device, FormatRequest, Intervals, OfferedFormat, PixelFormat};

use super::super::backend::not_built;
use super::super::{Error, Memory, Wish, motion};

/// What was chosen before anything is set.
pub(super) enum Choice {
    /// Frames, of these formats, by the driver's spelling of each.
    Frames(Vec<PixelFormat>),
    /// Decoded here.
    Motion,
}

/// Frames or Motion JPEG: frames wherever the camera can give them at the size and rate asked for.
pub(super) fn choose(device: &Device, wish: &Wish) -> Result<Choice, Error> {
    let offered = device.formats()?;
    let camera = || device.capabilities().card.clone();
    let has_motion = offered.iter().any(|o| o.pixel_format == PixelFormat::MJPEG);
    if let Some(asked) = wish.format {
        let known = offered.iter().any(|offer| offer.pixel_format == asked);
        return match (asked.frame(), known) {
            (Some(_), true) => Ok(Choice::Frames(vec![asked])),
            (None, true) if asked == PixelFormat::MJPEG && motion::DECODED => Ok(Choice::Motion),
            (None, true) if asked == PixelFormat::MJPEG => Err(not_built("Motion JPEG", "jpeg")),
            _ => Err(Error::Format {
                camera: camera(),
                format: format!("{asked} that is a frame or is decoded"),
                offered: names(&offered),
            }),
        };
    }
    let mut frames: Vec<PixelFormat> = Vec::new();
    for offer in &offered {
        let Some(frame) = offer.pixel_format.frame() else {
            continue;
        };
        // The driver's first spelling of each, contiguous before split.
        let spelling = PixelFormat::spellings(frame.fourcc)
            .find(|code| offered.iter().any(|o| o.pixel_format == *code))
            .unwrap_or(offer.pixel_format);
        if !frames.contains(&spelling) {
            frames.push(spelling);
        }
    }
    let fast: Vec<_> = frames
        .iter()
        .copied()
        .filter(|format| can(device, *format, wish))
        .collect();
    if !fast.is_empty() {
        return Ok(Choice::Frames(fast));
    }
    if has_motion && motion::DECODED && can(device, PixelFormat::MJPEG, wish) {
        return Ok(Choice::Motion);
    }
    if !frames.is_empty() {
        return Ok(Choice::Frames(frames));
    }
    match has_motion {
        true if motion::DECODED => Ok(Choice::Motion),
        true => Err(not_built(
            &format!("{}, which sends Motion JPEG alone,", camera()),
            "jpeg",
        )),
        false => Err(Error::Format {
            camera: camera(),
            format: "frames".into(),
            offered: names(&offered),
        }),
    }
}

fn names(offered: &[OfferedFormat]) -> Vec<String> {
    offered.iter().map(|o| o.pixel_format.to_string()).collect()
}

/// Whether the camera says that it has the size at the rate. One that says nothing can.
fn can(device: &Device, format: PixelFormat, wish: &Wish) -> bool {
    let Ok(sizes) = device.sizes(format) else {
        return true;
    };
    if matches!(&sizes, dmaframe_v4l2::Sizes::Discrete(list) if list.is_empty()) {
        return true;
    }
    if !sizes.contains(wish.size) {
        return false;
    }
    let fastest = match device.intervals(format, wish.size) {
        Ok(Intervals::Discrete(list)) => list.iter().map(|i| i.as_fps()).reduce(f64::max),
        Ok(Intervals::Stepwise { min, .. }) => Some(min.as_fps()),
        Err(_) => None,
    };
    // 29.97 for 30.
    fastest.is_none_or(|fastest| fastest >= f64::from(wish.fps) * 0.99)
}

/// What the camera gives: formats, and the layout that its driver has for each.
pub(super) fn producer(
    device: &Device,
    formats: &[PixelFormat],
    wish: &Wish,
) -> Result<(FormatSet, Picture), Error> {
    let mut set = FormatSet::new(device.capabilities().card.as_str())
        .with_usage(Usage::Capture)
        .takes(Takes::Dmabufs);
    if matches!(wish.memory, Memory::Best | Memory::Own) {
        set = set.with_own_memory(kind(device.capabilities()));
    }
    let mut picture = Picture::new(wish.size);
    for format in formats {
        let Some(frame) = format.frame() else { continue };
        let request = FormatRequest::new(*format, wish.size);
        // A driver that cannot try: what it makes of the format shows when it is set.
        let layout = device
            .try_format(request)
            .ok()
            .and_then(|tried| Some((tried.layout(device).ok()?, tried)));
        if let Some((layout, tried)) = layout {
            let objects: Vec<u64> = tried
                .memory_planes()
                .iter()
                .map(|plane| u64::from(plane.size))
                .collect();
            picture = picture.fixed(layout, objects);
        }
        set.insert(frame.fourcc, frame.modifier);
    }
    Ok((set, picture))
}

/// What a driver's own buffers are made of, as far as its name tells without allocating one.
fn kind(capabilities: &Capabilities) -> MemoryKind {
    match capabilities.driver.as_str() {
        "uvcvideo" | "vivid" | "vimc" | "gspca_main" => MemoryKind::Vmalloc,
        _ => MemoryKind::Unknown,
    }
}

/// The spelling that was chosen for a format.
pub(super) fn spelled(formats: &[PixelFormat], fourcc: dmaframe_core::Fourcc) -> Option<PixelFormat> {
    let is = |format: &&PixelFormat| format.frame().is_some_and(|frame| frame.fourcc == fourcc);
    formats.iter().find(is).copied()
}
