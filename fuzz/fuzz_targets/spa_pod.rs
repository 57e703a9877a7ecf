//! What a PipeWire peer sends, as bytes: format pods and the blocks of a buffer. No panic; our own pods read back as they
//! were written; and what comes out as planes passes the core's check only where every row lies inside the memory.
#![no_main]

use dmaframe_core::format::all_formats;
use dmaframe_core::{Frame, FrameParts, Modifier, Size};
use dmaframe_pipewire::pod::{
    Blocks, Chunk, DataBlock, DataKind, FormatOffer, Modifiers, VideoFormat, formats_of, fourcc_of_spa,
    spa_of_fourcc,
};
use dmaframe_testkit::memfd;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    /// Bytes as they come.
    raw: Vec<u8>,
    /// A pod of ours, to be damaged.
    offer: Offer,
    flips: Vec<(u8, u8)>,
    cut: Option<u8>,
    /// What a buffer of that format is said to be.
    blocks: Vec<Block>,
    chunks: Vec<(Edge, Edge, i16, u8)>,
    /// Pages of the memory that is really there.
    pages: u8,
}

#[derive(Arbitrary, Debug)]
struct Offer {
    format: u8,
    width: u16,
    height: u16,
    rate: (u16, u16),
    any: bool,
    modifiers: Option<Vec<u64>>,
    fixed: bool,
}

#[derive(Arbitrary, Debug)]
struct Block {
    kind: u8,
    map_offset: Edge,
    max_size: Edge,
}

/// Small numbers mostly, and those at the ends.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Edge {
    Small(u16),
    Any(u32),
}

impl Edge {
    fn get(self) -> u32 {
        match self {
            Self::Small(n) => n.into(),
            Self::Any(n) => n,
        }
    }
}

fuzz_target!(|input: Input| {
    // Anything at all.
    if let Ok(format) = VideoFormat::parse(&input.raw) {
        again(&format);
    }
    if let Ok(set) = formats_of("raw", [input.raw.as_slice()]) {
        assert!(set.fourccs().all(|fourcc| spa_of_fourcc(fourcc).is_some()));
    }

    // Ours: as it is, and damaged.
    let Some(offer) = offer(&input.offer) else { return };
    let pod = offer.to_pod();
    let whole = VideoFormat::parse(pod.as_bytes());
    match &input.offer.modifiers {
        // An enumeration of nothing has not even a preferred value.
        Some(list) if list.is_empty() && !input.offer.fixed => {}
        Some(list) if list.len() > 400 => {}
        _ => again(whole.as_ref().expect("our own pod")),
    }
    let mut broken = pod.as_bytes().to_vec();
    for (at, bits) in &input.flips {
        let at = usize::from(*at) % broken.len();
        broken[at] ^= bits;
    }
    if let Some(cut) = input.cut {
        broken.truncate(usize::from(cut));
    }
    if let Ok(format) = VideoFormat::parse(&broken) {
        again(&format);
    }
    let _ = formats_of("broken", [broken.as_slice(), &input.raw]);

    if let Ok(format) = whole {
        buffer(&format, &input);
    }
});

fn offer(input: &Offer) -> Option<FormatOffer> {
    let info = &all_formats()[usize::from(input.format) % all_formats().len()];
    spa_of_fourcc(info.fourcc)?;
    let size = Size::new(input.width.into(), input.height.into());
    let mut offer = FormatOffer::new(info.fourcc, size).framerate((input.rate.0.into(), input.rate.1.into()));
    if input.any {
        offer = offer.any_size().any_rate();
    }
    Some(match &input.modifiers {
        None => offer,
        Some(list) if input.fixed => offer.fixed(list.first().map_or(Modifier::INVALID, |m| Modifier(*m))),
        Some(list) => offer.modifiers(list.iter().copied().map(Modifier)),
    })
}

/// Whatever was read, written and read again, is the same.
fn again(format: &VideoFormat) {
    assert!(fourcc_of_spa(spa_of_fourcc(format.fourcc).expect("it came from a number")).is_some());
    let mut offer = FormatOffer::new(format.fourcc, format.size)
        .framerate(format.framerate)
        .color(format.color);
    match &format.modifiers {
        Modifiers::Absent => {}
        Modifiers::Open(list) if list.is_empty() => return,
        Modifiers::Open(list) => offer = offer.modifiers(list.iter().copied()),
        Modifiers::Fixed(modifier) => offer = offer.fixed(*modifier),
    }
    let again = VideoFormat::parse(offer.to_pod().as_bytes()).expect("written by us");
    assert_eq!(
        (
            again.fourcc,
            &again.modifiers,
            again.size,
            again.framerate,
            again.color
        ),
        (
            format.fourcc,
            &format.modifiers,
            format.size,
            format.framerate,
            format.color
        )
    );
}

/// A buffer of the format, on real memory.
fn buffer(format: &VideoFormat, input: &Input) {
    let blocks: Vec<_> = input.blocks.iter().map(block).collect();
    let Ok(sorted) = Blocks::sort(format.fourcc, &blocks) else {
        return;
    };
    assert!(sorted.memory().len() + if sorted.has_timelines() { 2 } else { 0 } == blocks.len());
    let chunks: Vec<_> = input.chunks.iter().map(chunk).collect();
    let Ok(planes) = sorted.planes(format.fourcc, format.size, &chunks) else {
        return;
    };
    assert!(planes.iter().all(|plane| plane.object < sorted.memory().len()));
    let bytes = u64::from(input.pages) * 4096;
    let mut parts = FrameParts::new(format.fourcc, format.size);
    parts.modifier = format.modifier().unwrap_or(Modifier::LINEAR);
    parts.planes = planes.to_vec();
    for _ in sorted.memory() {
        parts.objects.push(memfd(bytes, true).expect("a memfd").into());
    }
    let Ok(frame) = Frame::try_from(parts) else { return };
    for (index, plane) in frame.layout().planes().iter().enumerate() {
        if frame.modifier() == Modifier::LINEAR {
            let rows = u128::from(frame.layout().rows(index));
            let end = u128::from(plane.offset) + u128::from(plane.stride) * (rows - 1);
            assert!(
                end + frame.layout().row_bytes(index) as u128 <= u128::from(bytes),
                "{plane:?} of {bytes}"
            );
        }
    }
    if frame.modifier() == Modifier::LINEAR && bytes != 0 {
        let view = frame.map_read(std::time::Duration::ZERO).expect("a view");
        view.to_tight().expect("every row");
    }
}

fn block(block: &Block) -> DataBlock {
    DataBlock {
        kind: DataKind::from_raw(match block.kind % 8 {
            0..4 => 2,
            4 | 5 => 3,
            6 => 5,
            _ => block.kind.into(),
        }),
        map_offset: block.map_offset.get(),
        max_size: block.max_size.get(),
    }
}

fn chunk(&(offset, size, stride, flags): &(Edge, Edge, i16, u8)) -> Chunk {
    Chunk {
        offset: offset.get(),
        size: size.get(),
        stride: stride.into(),
        flags: flags.into(),
    }
}
