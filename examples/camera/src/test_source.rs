//! A moving test picture: no camera needed, the same frames.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use dmaframe::alloc::{Chain, FramePool, Request};
use dmaframe::negotiate::Usage;
use dmaframe::report::Hop;
use dmaframe::{Clock, ColorInfo, Fourcc, Frame, Size, Timestamp, WriteView};

const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 30);

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

/// Draws NV12 bars with a sliding white column into pool slots, 30 times a second.
pub(crate) struct TestSource {
    pool: FramePool,
    hop: Arc<Hop>,
    sequence: u64,
    due: Instant,
    size: Size,
}

impl TestSource {
    pub(crate) fn new(size: Size) -> Result<Self> {
        let request = Request::new(Fourcc::NV12, size).usage(Usage::Capture);
        let pool = FramePool::builder(request)
            .slots(4)
            .allocator(Chain::standard())
            .build()?;
        let hop = Hop::new(format!("test picture({})", memory(&pool)));
        Ok(Self {
            pool,
            hop,
            sequence: 0,
            due: Instant::now(),
            size,
        })
    }

    /// Why the memory is not better than it is.
    pub(crate) fn notes(&self) -> Vec<String> {
        let passed_over = self.pool.verdict().passed_over;
        passed_over
            .iter()
            .map(|passed| format!("{} memory not used: {}", passed.allocator, passed.reason))
            .collect()
    }

    pub(crate) fn describe(&self) -> String {
        format!("built-in test picture in {} memory", memory(&self.pool))
    }

    pub(crate) fn hop(&self) -> Arc<Hop> {
        Arc::clone(&self.hop)
    }

    pub(crate) fn next(&mut self) -> Result<Frame> {
        std::thread::sleep(self.due.saturating_duration_since(Instant::now()));
        self.due = self.due.max(Instant::now() - PERIOD) + PERIOD;
        let mut frame = self.pool.acquire(Duration::from_secs(1))?;
        let meta = frame.meta_mut()?;
        meta.timestamp = Some(Timestamp::now(Clock::Monotonic));
        meta.sequence = Some(self.sequence);
        meta.color = ColorInfo::BT709;
        draw(
            &mut frame.map_write(Duration::from_secs(1))?,
            self.size,
            self.sequence,
        )?;
        self.sequence += 1;
        self.hop.zero_copy();
        Ok(frame)
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
fn draw(view: &mut WriteView<'_>, size: Size, n: u64) -> Result<(), dmaframe::Error> {
    let luma: Vec<u8> = (0..size.width).map(|x| color(x, size, n)[0]).collect();
    let chroma: Vec<u8> = (0..size.width.div_ceil(2))
        .flat_map(|x| {
            let [_, cb, cr] = color(x * 2, size, n);
            [cb, cr]
        })
        .collect();
    for (plane, row) in [luma, chroma].iter().enumerate() {
        for y in 0..view.layout().rows(plane) {
            view.row_mut(plane, y)?.copy_from_slice(row);
        }
    }
    Ok(())
}
