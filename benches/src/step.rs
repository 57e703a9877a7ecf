//! Steps and how they are timed.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Duration;

use crate::meter::Meter;

/// Does a step about so many times and says how many times it was; what is between the meter's start and stop counts.
pub(crate) type Work = Box<dyn FnMut(&mut Meter, u64) -> u64>;

/// One row of a table.
pub(crate) struct Step {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    /// Bytes the CPU copies.
    pub(crate) copied: u64,
    /// Makes the memory and devices, or says what is missing.
    make: Box<dyn Fn() -> Result<Work, String>>,
}

/// What a step cost, for one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) median_ns: f64,
    pub(crate) min_ns: f64,
    pub(crate) allocations: f64,
}

impl Step {
    pub(crate) fn new(
        group: &'static str,
        name: impl Into<String>,
        make: impl Fn() -> Result<Work, String> + 'static,
    ) -> Self {
        Self {
            group,
            name: name.into(),
            copied: 0,
            make: Box::new(make),
        }
    }

    pub(crate) fn copying(mut self, bytes: usize) -> Self {
        self.copied = bytes as u64;
        self
    }

    pub(crate) fn work(&self) -> Result<Work, String> {
        (self.make)()
    }

    /// Warms up, finds how often the step fits into a round, and times the rounds.
    pub(crate) fn measure(&self, rounds: usize, round_ms: u32) -> Result<Cost, String> {
        let mut work = self.work()?;
        let round = Duration::from_millis(round_ms.into());
        let mut count = 1;
        loop {
            let mut meter = Meter::default();
            count = work(&mut meter, count);
            if meter.time >= round || count >= 1 << 24 {
                let fits = count as f64 * round.as_secs_f64() / meter.time.as_secs_f64();
                count = (fits as u64).clamp(1, 1 << 24);
                break;
            }
            count *= 2;
        }
        let mut times = Vec::new();
        let (mut allocations, mut all) = (0, 0);
        for _ in 0..rounds.max(1) {
            let mut meter = Meter::default();
            let done = work(&mut meter, count);
            let reading = clock_ns() * f64::from(meter.sections);
            times.push((meter.time.as_nanos() as f64 - reading).max(0.0) / done as f64);
            allocations += meter.allocations;
            all += done;
        }
        times.sort_by(f64::total_cmp);
        Ok(Cost {
            median_ns: times[times.len() / 2],
            min_ns: times[0],
            allocations: allocations as f64 / all as f64,
        })
    }
}

/// A step without preparations.
pub(crate) fn each<T>(mut f: impl FnMut() -> T + 'static) -> Work {
    Box::new(move |meter, count| {
        meter.start();
        for _ in 0..count {
            black_box(f());
        }
        meter.stop();
        count
    })
}

/// A step with preparations and an aftermath, both not measured, for a batch at a time, so that the clock is read once
/// for many.
pub(crate) fn batch<A, B: 'static>(
    size: usize,
    mut before: impl FnMut(usize) -> A + 'static,
    mut f: impl FnMut(A) -> B + 'static,
    mut after: impl FnMut(usize, B) + 'static,
) -> Work {
    let mut results = Vec::with_capacity(size);
    Box::new(move |meter, count| {
        let batches = count.div_ceil(size as u64);
        for _ in 0..batches {
            let prepared: Vec<A> = (0..size).map(&mut before).collect();
            meter.start();
            for one in prepared {
                results.push(black_box(f(one)));
            }
            meter.stop();
            for (index, result) in results.drain(..).enumerate() {
                after(index, result);
            }
        }
        batches * size as u64
    })
}

/// What starting and stopping the meter costs by itself.
fn clock_ns() -> f64 {
    static COST: OnceLock<f64> = OnceLock::new();
    *COST.get_or_init(|| {
        let once = || {
            let mut meter = Meter::default();
            for _ in 0..1000 {
                meter.start();
                meter.stop();
            }
            meter.time.as_nanos() as f64 / 1000.0
        };
        (0..9).map(|_| once()).fold(f64::INFINITY, f64::min)
    })
}
