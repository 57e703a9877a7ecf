//! A moving test picture: no camera needed, the same frames.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_alloc::{Chain, FramePool, Request};
use dmaframe_core::negotiate::Usage;
use dmaframe_core::report::Hop;
use dmaframe_core::{Clock, ColorInfo, Deadline, Fourcc, Frame, Size, Timestamp, WriteView};

use super::backend::{Backend, Event, Known, fresh};
use super::{Error, Stats, Wish};

/// 75 % colour bars in BT.709 limited range: Y, Cb, Cr of white, yellow, cyan, green, magenta, red, blue, black.
const BARS: [[u8; 3]; 8] = [
    [180, 128, 128],
    [168, 44, 136],
    [145, 147, 44],
    [133, 63, 52],
    [63, 193, 204],
    [51, 109, 212],
    [28, 212, 120],
    [16, 128, 128],
];

/// What it is drawn in.
const FORMAT: Fourcc = Fourcc::NV12;

/// Draws NV12 bars with a sliding white column into a pool's slots.
#[derive(Debug)]
pub(super) struct Synthetic {
    pool: FramePool,
    hops: [Arc<Hop>; 1],
    sequence: u64,
    stats: Stats,
    due: Instant,
    period: Duration,
    size: Size,
}

impl Synthetic {
    /// `notes` says why the memory is not better than it is.
    pub(super) fn open(wish: &Wish, notes: &mut Vec<String>) -> Result<Self, Error> {
        if let Some(asked) = wish.format
            && wish.fourcc() != Some(FORMAT)
        {
            return Err(Error::Format {
                camera: "the test picture".into(),
                format: asked.to_string(),
                offered: vec![FORMAT.to_string()],
            });
        }
        let pool = FramePool::builder(request(wish.size))
            .slots(4)
            .allocator(Chain::standard())
            .build()
            .map_err(|rejected| rejected.error)?;
        let passed_over = pool.verdict().passed_over;
        notes.extend(
            passed_over
                .iter()
                .map(|passed| format!("{} memory not used: {}", passed.allocator, passed.reason)),
        );
        let hops = [Hop::new(format!("test picture({})", memory(&pool)))];
        Ok(Self {
            pool,
            hops,
            sequence: 0,
            stats: Stats::default(),
            due: Instant::now(),
            period: period(wish),
            size: wish.size,
        })
    }
}

impl Synthetic {
    /// Memory for the picture that is due; `None`, and counted, when there is none. Waits for a slot no longer than until the
    /// next picture is due: who asks may be who holds them.
    fn slot(&mut self, deadline: Deadline) -> Result<Option<Frame>, String> {
        let until = self.due.saturating_duration_since(Instant::now());
        let until = deadline.remaining().map_or(until, |left| left.min(until));
        match self.pool.acquire(until) {
            Ok(frame) => return Ok(Some(frame)),
            Err(error) if error.is_starved() => {}
            Err(error) => return Err(error.to_string()),
        }
        if let Ok(frame) = fresh(request(self.size)) {
            self.stats.detached += 1;
            return Ok(Some(frame));
        }
        self.stats.dropped += 1;
        self.hops[0].dropped(
            "consumers hold all slots of the test picture's pool, and there is no memory for another",
        );
        Ok(None)
    }

    fn fill(&self, frame: &mut Frame) -> Result<(), dmaframe_core::Error> {
        let meta = frame.meta_mut()?;
        meta.timestamp = Some(Timestamp::now(Clock::Monotonic));
        meta.sequence = Some(self.sequence);
        meta.color = ColorInfo::BT709;
        let mut view = frame.map_write(Duration::from_secs(1))?;
        draw(&mut view, self.size, self.sequence)
    }
}

fn request(size: Size) -> Request {
    Request::new(FORMAT, size).usage(Usage::Capture)
}

/// The time from one picture to the next.
pub(super) fn period(wish: &Wish) -> Duration {
    Duration::from_secs(1) / wish.fps.max(1)
}

impl Backend for Synthetic {
    fn next(&mut self, deadline: Deadline) -> Result<Event, String> {
        loop {
            let wait = self.due.saturating_duration_since(Instant::now());
            let left = deadline.remaining();
            if let Some(left) = left.filter(|left| *left < wait) {
                std::thread::sleep(left);
                return Ok(Event::Quiet);
            }
            std::thread::sleep(wait);
            let now = Instant::now();
            // Its time passes, whatever becomes of it.
            self.due = self.due.max(now.checked_sub(self.period).unwrap_or(now)) + self.period;
            if let Some(mut frame) = self.slot(deadline)? {
                self.fill(&mut frame).map_err(|error| error.to_string())?;
                self.sequence += 1;
                self.stats.delivered += 1;
                self.hops[0].zero_copy();
                return Ok(Event::Frame(frame));
            }
        }
    }

    fn describe(&self) -> String {
        format!("built-in test picture in {} memory", memory(&self.pool))
    }

    fn hops(&self) -> &[Arc<Hop>] {
        &self.hops
    }

    fn stats(&self) -> Stats {
        self.stats
    }

    fn known(self: Box<Self>) -> Known {
        Known::Wish
    }
}

fn memory(pool: &FramePool) -> String {
    pool.verdict().chosen.unwrap_or_default()
}

/// Column `x` of bar picture number `n`.
fn color(x: u32, size: Size, n: u64) -> [u8; 3] {
    let column = size.width.div_ceil(16).max(2);
    let left = u32::try_from(n * 4 % u64::from(size.width)).unwrap_or(0);
    if (left..left.saturating_add(column)).contains(&x) {
        return [235, 128, 128];
    }
    BARS[(u64::from(x) * 8 / u64::from(size.width)) as usize % 8]
}

/// Every row of a plane is the same: one is drawn, the others are copies of it.
fn draw(view: &mut WriteView<'_>, size: Size, n: u64) -> Result<(), dmaframe_core::Error> {
    let luma: Vec<u8> = (0..size.width).map(|x| color(x, size, n)[0]).collect();
    let chroma: Vec<u8> = (0..size.width.div_ceil(2))
        .flat_map(|x| {
            let [_, cb, cr] = color(x * 2, size, n);
            [cb, cr]
        })
        .collect();
    for (plane, row) in [luma, chroma].iter().enumerate() {
        for y in 0..view.layout().rows(plane) {
            view.write_row(plane, y, row)?;
        }
    }
    Ok(())
}
