//! CPU conversion of frames with any layout, crop, turn and colour: no panic, nothing written past the end, the same
//! bytes every time, and a crop or a turn is a crop or a turn of the whole picture.
#![no_main]

use std::time::Duration;

use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::format::{Model, all_formats};
use dmaframe_core::{
    ChromaSiting, ColorInfo, Fourcc, Frame, FrameMeta, Layout, Modifier, Orientation, Plane, Range, Rect,
    Size,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    format: u8,
    width: u16,
    height: u8,
    /// Bytes between rows, and before a plane.
    padding: [u8; 3],
    gap: [u8; 3],
    /// All planes from the first byte on.
    overlapping: bool,
    color: [u8; 3],
    range: u8,
    siting: u8,
    assume: u8,
    visible: Option<[u8; 4]>,
    orientation: u8,
    extra_stride: u8,
    target: u8,
    /// The samples: all different from the start, or a crop or turn gone wrong could not be seen.
    seed: u8,
}

const GUARD: u8 = 0x5a;

fuzz_target!(|input: Input| {
    let Some((layout, bytes)) = source(&input) else {
        return;
    };
    let frame = |visible, orientation| {
        let mut meta = FrameMeta::default();
        meta.color = color(&input);
        meta.visible = visible;
        meta.orientation = orientation;
        Frame::from_bytes(bytes.clone(), &layout, meta).expect("a layout that was checked")
    };
    let visible = visible(&input, layout.size());
    let turn = Orientation::all()[usize::from(input.orientation) % 8];
    let turned = frame(visible, turn);

    let mut converter = Converter::new(assume(&input));
    let first = rgba(&mut converter, &turned, input.extra_stride.into());
    let Some((size, picture)) = first else {
        assert!(
            rgba(&mut converter, &turned, 0).is_none(),
            "a refusal does not depend on the destination"
        );
        return;
    };
    assert_eq!(size, Converter::size(&turned));

    // Whatever the scratch memory held before.
    let whole = frame(None, Orientation::IDENTITY);
    let (whole_size, all) = rgba(&mut converter, &whole, 0).expect("the same samples");
    let again = rgba(&mut converter, &turned, 7).expect("the same frame");
    assert!(again == (size, picture.clone()), "a second time the same");
    let fresh = rgba(&mut Converter::new(assume(&input)), &turned, 0).expect("the same frame");
    assert!(fresh.1 == picture, "a fresh converter says the same");

    // Demosaicing looks at neighbours, which a crop takes away.
    if layout.info().model != Model::Bayer || visible.is_none() {
        let rect = visible.unwrap_or(Rect::full(whole_size));
        let expected = upright(&all, whole_size, rect, turn);
        if let Some(at) = (0..expected.len()).find(|i| expected[*i] != picture[*i]) {
            let (x, y) = (at % size.width as usize, at / size.width as usize);
            panic!(
                "{} {}, {rect:?} {turn:?}: pixel {x}, {y} is {:?}, in the whole picture {:?}",
                layout.fourcc(),
                layout.size(),
                picture[at],
                expected[at]
            );
        }
    }
    to_frame(&input, &mut converter, &turned, size);
});

type Pixels = Vec<[u8; 4]>;

/// The picture without padding, having checked that what lies behind it was left alone.
fn rgba(converter: &mut Converter, frame: &Frame, extra: usize) -> Option<(Size, Pixels)> {
    let size = Converter::size(frame);
    let (row, rows) = (size.width as usize * 4, size.height as usize);
    let stride = row + extra;
    let needed = stride * (rows - 1) + row;
    let mut out = vec![GUARD; needed + 64];
    assert!(
        converter
            .to_rgba(frame, Duration::ZERO, &mut out[..needed - 1], stride)
            .is_err(),
        "one byte short"
    );
    assert!(
        converter
            .to_rgba(frame, Duration::ZERO, &mut out, row - 1)
            .is_err()
    );
    match converter.to_rgba(frame, Duration::ZERO, &mut out[..needed], stride) {
        Ok(done) => assert_eq!(done.size, size),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    }
    assert!(out[needed..].iter().all(|b| *b == GUARD));
    let rows = out[..needed].chunks(stride);
    let pixels = rows
        .flat_map(|r| r[..row].chunks_exact(4))
        .map(|p| [p[0], p[1], p[2], p[3]]);
    Some((size, pixels.collect()))
}

/// The rect of a picture, mirrored and turned.
fn upright(all: &[[u8; 4]], whole: Size, rect: Rect, turn: Orientation) -> Pixels {
    let (width, height) = match turn.swaps_axes() {
        true => (rect.height, rect.width),
        false => (rect.width, rect.height),
    };
    let at = |x: u32, y: u32| {
        // From the upright picture back: against the clock, then mirrored.
        let (x, y) = match turn.rotation.degrees() {
            0 => (x, y),
            90 => (y, rect.height - 1 - x),
            180 => (rect.width - 1 - x, rect.height - 1 - y),
            _ => (rect.width - 1 - y, x),
        };
        let x = if turn.mirror { rect.width - 1 - x } else { x };
        all[(rect.y + y) as usize * whole.width as usize + (rect.x + x) as usize]
    };
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| at(x, y))
        .collect()
}

/// The other way out, into a frame that may be larger than the picture.
fn to_frame(input: &Input, converter: &mut Converter, frame: &Frame, size: Size) {
    let target =
        [Fourcc::ABGR8888, Fourcc::NV12, Fourcc::YUV420, Fourcc::P010][usize::from(input.target) % 4];
    let coded = Size::new(
        size.width + u32::from(input.target >> 6),
        size.height + u32::from(input.target >> 5 & 1),
    );
    let layout = Layout::tight(target, coded).expect("a small picture");
    let mut meta = FrameMeta::default();
    meta.visible = Some(Rect::full(size));
    let bytes = vec![0; usize::try_from(layout.object_len(0)).expect("small")];
    let mut out = Frame::from_bytes(bytes, &layout, meta).expect("it fits");
    let done = converter.to_frame(frame, &mut out, Duration::ZERO);
    match target {
        Fourcc::P010 => assert!(done.is_err(), "no such target"),
        Fourcc::ABGR8888 => assert_eq!(done.expect("rows of bytes were possible").size, size),
        _ => drop(done.map(|done| assert_eq!(done.size, size))),
    }
}

fn source(input: &Input) -> Option<(Layout, Vec<u8>)> {
    let table = all_formats();
    let info = &table[usize::from(input.format) % table.len()];
    // Wide enough for every vector loop and its rest, and most of the time small.
    let size = Size::new(u32::from(input.width % 300) + 1, u32::from(input.height % 40) + 1);
    let (mut planes, mut end) = (Vec::new(), 0);
    for (index, format) in info.planes().iter().enumerate() {
        let row = format.row_bytes(size.width);
        let stride = row + u64::from(input.padding[index]);
        let offset = u64::from(input.gap[index]) + if input.overlapping { 0 } else { end };
        planes.push(Plane {
            object: 0,
            offset,
            stride: u32::try_from(stride).ok()?,
        });
        end = end.max(offset + stride * u64::from(format.rows(size.height) - 1) + row);
    }
    // xorshift: every sample value turns up in a few rows.
    let mut state = u32::from(input.seed) << 8 | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    };
    let bytes = (0..end).map(|_| byte()).collect();
    let layout = Layout::check(info.fourcc, Modifier::LINEAR, size, &planes, &[end]);
    Some((layout.expect("planes made to fit"), bytes))
}

fn visible(input: &Input, size: Size) -> Option<Rect> {
    let [x, y, width, height] = input.visible?.map(u32::from);
    let (x, y) = (x % size.width, y % size.height);
    Some(Rect {
        x,
        y,
        width: width % (size.width - x) + 1,
        height: height % (size.height - y) + 1,
    })
}

fn color(input: &Input) -> ColorInfo {
    let [primaries, transfer, matrix] = input.color;
    ColorInfo {
        primaries,
        transfer,
        // Mostly one that there is.
        matrix: if matrix < 128 { matrix % 12 } else { matrix },
        range: [Range::Unspecified, Range::Limited, Range::Full][usize::from(input.range) % 3],
        siting: [
            ChromaSiting::Unspecified,
            ChromaSiting::Left,
            ChromaSiting::Center,
            ChromaSiting::TopLeft,
            ChromaSiting::Top,
            ChromaSiting::BottomLeft,
            ChromaSiting::Bottom,
        ][usize::from(input.siting) % 7],
    }
}

fn assume(input: &Input) -> Assume {
    match input.assume % 4 {
        0 => Assume::Refuse,
        1 => Assume::As(ColorInfo::JFIF),
        2 => Assume::As(ColorInfo::UNSPECIFIED),
        _ => Assume::Auto,
    }
}
