//! `Frame::try_from(FrameParts)` over real descriptors: whatever a peer sends, no panic, no descriptor or mapping left
//! behind, parts whole when refused; and what is accepted reads back as the bytes that are in the memory.
#![no_main]

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use dmaframe_core::{
    Error, Fence, Frame, FrameParts, Layout, Lease, Orientation, Plane, Rect, Size, SyncFile,
};
use dmaframe_fuzz::{Code, Descriptor, Length, Made, Modified, Offset, pattern};
use dmaframe_testkit::Leaks;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use rustix::fs::SealFlags;

#[derive(Arbitrary, Debug)]
struct Input {
    code: Code,
    modifier: Modified,
    size: (Length, Length),
    /// Start from planes that fit, rows aligned to this power of two, and change what `planes` says.
    fitting: Option<u8>,
    planes: Vec<(u8, Offset, Length)>,
    objects: Vec<Descriptor>,
    visible: Option<[Length; 4]>,
    generation: u64,
    /// Turns and crops afterwards.
    crop: [Length; 4],
    orientation: u8,
    /// Use the object's descriptor as a fence too.
    fence: bool,
}

/// Bytes up to which whole pictures are copied.
const COPIED: u64 = 1 << 20;

fuzz_target!(|input: Input| {
    // Reading two lists under /proc costs more than a run: now and then.
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let before = RUNS
        .fetch_add(1, Ordering::Relaxed)
        .is_multiple_of(64)
        .then(Leaks::now);
    run(input);
    if let Some(before) = before {
        before.check();
    }
});

fn run(input: Input) {
    let size = Size::new(input.size.0.get(), input.size.1.get());
    let (planes, wanted) = planes(&input, size);
    let mut made: Vec<Made> = Vec::new();
    for (index, descriptor) in input.objects.iter().take(6).enumerate() {
        let wanted = wanted.get(index).copied().unwrap_or_default();
        made.extend(descriptor.make(index as u8, wanted, made.last()));
    }

    let mut parts = FrameParts::new(input.code.get(), size);
    parts.modifier = input.modifier.get();
    parts.planes = planes;
    parts.generation = input.generation;
    parts.meta.visible = input.visible.map(rect);
    let fence = made.first().filter(|_| input.fence);
    if let Some(fd) = fence.and_then(|m| m.fd.try_clone().ok()) {
        assert!(SyncFile::new(fd).is_err(), "none of these descriptors is a fence");
    }
    let mut known = Vec::new();
    for made in made {
        known.push((made.fd.as_raw_fd(), made.size, made.seed, made.seals));
        parts.objects.push(made.fd);
    }
    let released = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&released);
    parts.lease = Lease::on_release(move |fence| {
        assert!(fence.is_trivial(), "nobody said to wait");
        count.fetch_add(1, Ordering::Relaxed);
    });
    let sent = (
        parts.planes.clone(),
        parts.meta.clone(),
        parts.fourcc,
        parts.modifier,
    );

    match Frame::try_from(parts) {
        Ok(frame) => {
            let sources: Vec<_> = known.iter().map(|k| Source::of(k.1, k.2, k.3)).collect();
            accepted(&frame, &sources);
            derived(frame, &input);
        }
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            let back = &refused.value;
            let fds: Vec<_> = back.objects.iter().map(AsRawFd::as_raw_fd).collect();
            assert!(
                fds.iter().eq(known.iter().map(|k| &k.0)),
                "the descriptors came back"
            );
            let kept = (back.planes.clone(), back.meta.clone(), back.fourcc, back.modifier);
            assert_eq!(sent, kept);
            assert_eq!((size, input.generation), (back.size, back.generation));
            assert_eq!(
                released.load(Ordering::Relaxed),
                0,
                "the lease is in the parts still"
            );
        }
    }
    assert_eq!(released.load(Ordering::Relaxed), 1, "the lease ran once");
}

/// What the memory of an accepted object holds.
struct Source {
    seed: Option<u8>,
}

impl Source {
    fn of(size: Option<u64>, seed: Option<u8>, seals: SealFlags) -> Self {
        assert!(
            seals.contains(SealFlags::SHRINK),
            "a memfd that can shrink was accepted"
        );
        assert!(size.is_some(), "only memfds are accepted here");
        Self { seed }
    }

    fn byte(&self, at: u64) -> u8 {
        self.seed.map_or(0, |seed| pattern(seed, at))
    }
}

fn accepted(frame: &Frame, sources: &[Source]) {
    let layout = frame.layout();
    assert!(frame.visible().fits(layout.size()));
    assert_eq!(
        frame.buffer().objects().len(),
        sources.len(),
        "every object is in use"
    );
    let _ = (format!("{frame:?}"), frame.buffer_id().to_string());

    let view = match frame.map_read(Duration::ZERO) {
        Ok(view) => view,
        Err(Error::NotLinear { modifier }) => return assert_eq!(modifier, layout.modifier()),
        // However large the memfd: only what the picture reaches over is mapped.
        Err(error) => panic!("{error}"),
    };
    assert!(!view.has_slices(), "whoever sent it may write");
    let mut tight = Vec::new();
    for (index, plane) in layout.planes().iter().enumerate() {
        assert!(view.row(index, 0).is_err() && view.plane(index).is_err());
        let (rows, len) = (layout.rows(index), layout.row_bytes(index));
        let whole = layout.tight_len() <= COPIED;
        let some = [0, rows / 3, rows / 2, rows - 1];
        let all = if whole { rows } else { some.len() as u32 };
        let mut row = vec![0; if len as u64 <= COPIED { len } else { 0 }];
        for at in 0..all {
            let at = if whole { at } else { some[at as usize] };
            if row.is_empty() {
                // Too long to keep: must say so.
                assert!(view.copy_row(index, at, &mut row).is_err());
                continue;
            }
            assert_eq!(view.copy_row(index, at, &mut row), Ok(len));
            let from = plane.offset + u64::from(plane.stride) * u64::from(at);
            let source = &sources[plane.object];
            let expected = (from..).take(len).map(|at| source.byte(at));
            assert!(row.iter().copied().eq(expected), "plane {index} row {at}");
            if whole {
                tight.extend_from_slice(&row);
            }
        }
        assert!(view.copy_row(index, rows, &mut row).is_err());
    }
    assert!(view.copy_row(layout.planes().len(), 0, &mut []).is_err());
    if layout.tight_len() <= COPIED {
        assert_eq!(view.to_tight().unwrap(), tight);
        drop(view);
        let copy = frame.detach(Duration::ZERO).expect("what was read can be copied");
        let view = copy.map_read(Duration::ZERO).expect("its bytes are our own");
        assert_eq!(view.to_tight().unwrap(), tight);
        assert_eq!(copy.content_id(), frame.content_id());
    }
}

fn derived(frame: Frame, input: &Input) {
    let size = frame.layout().size();
    let mut clone = frame.clone();
    assert!(
        clone.map_write(Duration::ZERO).is_err(),
        "not ours alone, and not private"
    );
    for (index, object) in frame.buffer().objects().iter().enumerate() {
        assert!(object.lend(index).is_ok());
    }
    frame.release_after(Fence::Signaled);
    drop(frame);

    let mut meta = clone.meta().clone();
    let crop = rect(input.crop);
    meta.visible = Some(crop);
    meta.orientation = Orientation::all()[usize::from(input.orientation) % 8];
    match clone.with_meta(meta) {
        Ok(turned) => {
            assert!(crop.fits(size));
            assert_eq!(turned.visible(), crop);
        }
        Err(refused) => {
            assert!(!crop.fits(size));
            assert!(refused.value.visible().fits(size));
        }
    }
}

fn rect(lengths: [Length; 4]) -> Rect {
    let [x, y, width, height] = lengths.map(Length::get);
    Rect { x, y, width, height }
}

/// The planes, and the bytes each object needs for them.
fn planes(input: &Input, size: Size) -> (Vec<Plane>, Vec<u64>) {
    let changes = input.planes.iter().take(6).map(|(object, offset, stride)| Plane {
        object: usize::from(*object),
        offset: offset.get(),
        stride: stride.get(),
    });
    let layout = input
        .fitting
        .and_then(|shift| Layout::linear(input.code.get(), size, 1 << (shift % 12)).ok());
    let Some(layout) = layout else {
        return (changes.collect(), Vec::new());
    };
    let mut planes = layout.planes().to_vec();
    let mut wanted = vec![layout.object_len(0)];
    // Each plane in an object of its own.
    if input.fitting.is_some_and(|shift| shift >= 128) {
        wanted = planes
            .iter()
            .zip(0..)
            .map(|(p, i)| u64::from(p.stride) * u64::from(layout.rows(i)))
            .collect();
        for (index, plane) in planes.iter_mut().enumerate() {
            (plane.object, plane.offset) = (index, 0);
        }
    }
    for change in changes {
        let Some(plane) = planes.get_mut(change.object & 3) else {
            planes.push(change);
            continue;
        };
        match change.object >> 5 {
            0 => plane.object = change.object >> 2 & 7,
            1 => plane.offset = change.offset,
            2 => plane.offset = plane.offset.wrapping_add(change.offset),
            3 => plane.offset = plane.offset.wrapping_sub(change.offset),
            4 => plane.stride = plane.stride.wrapping_add(change.stride),
            5 => plane.stride = plane.stride.wrapping_sub(change.stride),
            _ => {}
        }
    }
    (planes, wanted)
}
