//! What is shown while there is no camera.

use std::time::{Duration, Instant};

use dmaframe_alloc::{Chain, FramePool, Request};
use dmaframe_core::{Clock, ColorInfo, Fourcc, Frame, FrameMeta, Size, Timestamp, WriteView};

use super::Wish;
use super::{glyphs, synthetic};

/// Marks a picture that no camera took, in its [`extensions`](dmaframe_core::FrameMeta::extensions).
///
/// A still NV12 picture that says "NO CAMERA", of the size of the last real one and at the rate asked for, in a pool's
/// memory: so that a virtual camera or a recording goes on while somebody looks for the plug. It has a time, by the clock
/// of the last real picture, and no sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placeholder;

/// The pictures, made when the first is wanted.
#[derive(Debug)]
pub(super) struct Still {
    wanted: bool,
    size: Size,
    clock: Clock,
    period: Duration,
    due: Option<Instant>,
    pool: Option<FramePool>,
}

impl Still {
    pub(super) fn new(wish: &Wish) -> Self {
        Self {
            wanted: wish.placeholder,
            size: wish.size,
            clock: Clock::Monotonic,
            period: synthetic::period(wish),
            due: None,
            pool: None,
        }
    }

    /// What real pictures are like.
    pub(super) fn like(&mut self, frame: &Frame) {
        if !self.wanted {
            return;
        }
        let visible = frame
            .meta()
            .visible
            .map(|rect| Size::new(rect.width, rect.height));
        self.size = visible.unwrap_or(frame.layout().size());
        if let Some(time) = frame.meta().timestamp {
            self.clock = time.clock;
        }
        self.due = None;
    }

    /// The next one when its time comes within `limit`; otherwise sleeps that long. Also when there is no memory for one,
    /// or consumers hold all.
    pub(super) fn next(&mut self, limit: Duration) -> Option<Frame> {
        let now = Instant::now();
        let due = *self.due.get_or_insert(now);
        let wait = due.saturating_duration_since(now);
        if wait > limit {
            std::thread::sleep(limit);
            return None;
        }
        std::thread::sleep(wait);
        let now = Instant::now();
        self.due = Some(due.max(now.checked_sub(self.period).unwrap_or(now)) + self.period);
        self.frame()
    }

    fn frame(&mut self) -> Option<Frame> {
        let request = || Request::new(Fourcc::NV12, self.size);
        let outdated = self
            .pool
            .as_ref()
            .is_some_and(|pool| pool.layout().size() != self.size);
        if outdated {
            self.pool = None;
        }
        let pool = match &mut self.pool {
            Some(pool) => pool,
            empty => {
                let builder = FramePool::builder(request())
                    .slots(4)
                    .allocator(Chain::standard());
                empty.insert(builder.build().ok()?)
            }
        };
        let mut frame = pool.try_acquire().ok()?;
        let mut meta = FrameMeta::default();
        meta.timestamp = Some(Timestamp::now(self.clock));
        meta.color = ColorInfo::BT709;
        meta.extensions.insert(Placeholder);
        *frame.meta_mut().ok()? = meta;
        // Anew each time: who had the slot last may have drawn on it.
        draw(&mut frame.map_write(Duration::from_secs(1)).ok()?, self.size).ok()?;
        Some(frame)
    }
}

/// Light letters in the middle of a dark grey picture.
fn draw(view: &mut WriteView<'_>, size: Size) -> Result<(), dmaframe_core::Error> {
    // A margin of three columns on each side.
    let scale = (size.width / (glyphs::COLUMNS + 6)).max(1);
    let (left, top) = (
        size.width.saturating_sub(glyphs::COLUMNS * scale) / 2,
        size.height.saturating_sub(glyphs::ROWS * scale) / 2,
    );
    let line = |row: u32| -> Vec<u8> {
        let column = |x: u32| x.checked_sub(left).map(|x| x / scale);
        (0..size.width)
            .map(|x| match column(x) {
                Some(column) if glyphs::covers(column, row) => 180,
                _ => 40,
            })
            .collect()
    };
    let lines: Vec<_> = (0..glyphs::ROWS).map(line).collect();
    let blank = vec![40; size.width as usize];
    for y in 0..view.layout().rows(0) {
        let row = y.checked_sub(top).and_then(|y| lines.get((y / scale) as usize));
        view.write_row(0, y, row.unwrap_or(&blank))?;
    }
    let grey = vec![128; view.layout().row_bytes(1)];
    for y in 0..view.layout().rows(1) {
        view.write_row(1, y, &grey)?;
    }
    Ok(())
}
