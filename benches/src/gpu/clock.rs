//! How long repeated work takes.

use std::time::{Duration, Instant};

/// Seconds for one, as the median of seven rounds, after a warm-up. `work(n)` does it `n` times and waits for the end.
pub(crate) fn seconds(
    round: Duration,
    mut work: impl FnMut(u32) -> Result<(), String>,
) -> Result<f64, String> {
    work(3)?;
    let begun = Instant::now();
    work(3)?;
    let one = begun.elapsed().as_secs_f64() / 3.0;
    let count = (round.as_secs_f64() / one.max(1e-7)).clamp(3.0, 2000.0) as u32;
    let mut rounds = Vec::new();
    for _ in 0..7 {
        let begun = Instant::now();
        work(count)?;
        rounds.push(begun.elapsed().as_secs_f64() / f64::from(count));
    }
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[rounds.len() / 2])
}
