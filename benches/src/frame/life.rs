//! A frame's life: out of a slot, through consumers, back.

use std::sync::Arc;

use dmaframe_core::{
    Buffer, Clock, Fence, Fourcc, Frame, FrameMeta, Layout, ReturnQueue, Size, SyncFile, Timestamp,
};
use dmaframe_testkit::{Device, SwSync};

use crate::memory::{Kind, SIZES, SLOTS};
use crate::step::{Step, Work, batch, each};

const GROUP: &str = "frame, step by step";
const WHOLE: &str = "frame, all of it";
/// Steps that need a frame are done for so many at a time, each from a queue of its own: with one queue only the first
/// return would have to wake the producer.
const BATCH: usize = 64;

pub(crate) fn steps() -> Vec<Step> {
    let mut steps = vec![
        Step::new(GROUP, "wrap a captured buffer (ReturnQueue::frame)", || {
            let sources = Arc::new(sources()?);
            let slots = Arc::clone(&sources);
            Ok(batch(
                BATCH,
                move |index| {
                    let _ = slots[index].queue.next();
                    index
                },
                move |index| sources[index].wrap(),
                |_, frame| drop(frame),
            ))
        }),
        Step::new(GROUP, "clone", || with_frames(|frame| frame.clone())),
        Step::new(GROUP, "drop of a clone", || {
            let sources = sources()?;
            Ok(batch(
                BATCH,
                move |index| {
                    let frame = sources[index].frame();
                    (frame.clone(), frame)
                },
                |(clone, frame)| {
                    drop(clone);
                    frame
                },
                |_, frame| drop(frame),
            ))
        }),
        Step::new(GROUP, "release_after, signalled fence", || {
            with_frames(|frame| frame.release_after(Fence::Signaled))
        }),
        Step::new(GROUP, "release_after, first pending sync_file", || pending(1)),
        Step::new(GROUP, "release_after, second pending sync_file (merge)", || {
            pending(2)
        }),
        Step::new(GROUP, "drop of the last clone (lease goes back)", || {
            let sources = sources()?;
            Ok(batch(
                BATCH,
                move |index| sources[index].frame(),
                drop,
                |_, ()| {},
            ))
        }),
        Step::new(GROUP, "the producer takes the slot (ReturnQueue::next)", || {
            let sources = sources()?;
            let queues: Vec<_> = sources.iter().map(|s| Arc::clone(&s.queue)).collect();
            Ok(batch(
                BATCH,
                move |index| {
                    drop(sources[index].frame());
                    index
                },
                move |index| queues[index].next(),
                |_, _| {},
            ))
        }),
    ];
    steps.push(Step::new(WHOLE, "wrap, clone, both drops, next", || {
        let source = Source::new()?;
        Ok(each(move || {
            let frame = source.frame();
            drop(frame.clone());
            drop(frame);
        }))
    }));
    for kind in Kind::ALL {
        let name = format!("FramePool: acquire, clone, both drops; {}", kind.name());
        steps.push(Step::new(WHOLE, name, move || {
            let pool = kind.pool(Fourcc::NV12, SIZES[0].1, SLOTS)?;
            Ok(each(move || pool.try_acquire().map(|frame| drop(frame.clone()))))
        }));
    }
    steps
}

/// A producer with one slot.
struct Source {
    queue: Arc<ReturnQueue>,
    buffer: Arc<Buffer>,
}

impl Source {
    fn new() -> Result<Self, String> {
        let layout = Layout::tight(Fourcc::NV12, Size::new(64, 64)).map_err(|e| e.to_string())?;
        let bytes = vec![0; usize::try_from(layout.object_len(0)).unwrap_or_default()];
        let buffer = Buffer::from_bytes(bytes.into(), &layout).map_err(|e| e.to_string())?;
        Ok(Self {
            queue: ReturnQueue::new(1).map_err(|e| e.to_string())?,
            buffer: Arc::new(buffer),
        })
    }

    /// The next capture: takes the slot that came back, if it has not been taken, and wraps it.
    fn frame(&self) -> Frame {
        let _ = self.queue.next();
        self.wrap()
    }

    fn wrap(&self) -> Frame {
        let mut meta = FrameMeta::default();
        meta.sequence = Some(1);
        meta.timestamp = Some(Timestamp {
            ns: 1,
            clock: Clock::Monotonic,
        });
        self.queue
            .frame(0, &self.buffer, meta, Fence::Signaled)
            .expect("the slot is free")
    }
}

fn sources() -> Result<Vec<Source>, String> {
    (0..BATCH).map(|_| Source::new()).collect()
}

/// A step on a frame that is there already.
fn with_frames<B: 'static>(mut f: impl FnMut(&Frame) -> B + 'static) -> Result<Work, String> {
    let sources = sources()?;
    Ok(batch(
        BATCH,
        move |index| sources[index].frame(),
        move |frame| (f(&frame), frame),
        |_, both| drop(both),
    ))
}

/// The `nth` pending fence on a frame.
fn pending(nth: usize) -> Result<Work, String> {
    let path = dmaframe_testkit::find(Device::SwSync).map_err(|why| format!("no device: {why}"))?;
    // Two timelines: fences of one would merge to the later one.
    let timelines = [0, 1].map(|_| SwSync::open(&path).map_err(|e| e.to_string()));
    let [first, second] = timelines;
    let (first, second) = (first?, second?);
    let fence = |timeline: &SwSync| SyncFile::new(timeline.fence(1).expect("a fence")).expect("a sync_file");
    let (one, two) = (fence(&first), fence(&second));
    let sources = sources()?;
    Ok(batch(
        BATCH,
        move |index| {
            let frame = sources[index].frame();
            let mut fence = one.try_clone().expect("room for a descriptor");
            if nth == 2 {
                frame.release_after(fence.into());
                fence = two.try_clone().expect("room for a descriptor");
            }
            (frame, Fence::from(fence))
        },
        move |(frame, fence)| {
            // The timelines live as long as the work: a closed one signals.
            let _ = (&first, &second);
            frame.release_after(fence);
            frame
        },
        |_, frame| drop(frame),
    ))
}
