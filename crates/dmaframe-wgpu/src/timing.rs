//! How regular a window's pictures come, and because of whom they do not.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What the kernel's count of idle time may be wrong by: a tick of the slowest clocks there are.
const TICK: Duration = Duration::from_millis(10);

/// Counts of a presenter since it was opened. The first picture, for which shaders are compiled, is not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Pictures given to the screen, redrawn ones too.
    pub presented: u64,
    /// Refreshes of the screen that went by because of us: while a picture begun for an earlier one was made, or the GPU still
    /// drew the one before.
    pub missed: u64,
    /// Refreshes that went by because the machine had no CPU for us: a picture was in the making, and for as long as it was
    /// late other threads ran and no CPU was idle; or a GPU that is made of software still drew the one before. In doubt, and
    /// where the kernel does not say, a refresh is among the [`missed`](Self::missed).
    pub starved: u64,
    /// What the calling thread did for all pictures, without its waits for the screen.
    pub worked: Duration,
    /// For the slowest.
    pub slowest: Duration,
    warm: bool,
}

impl Timing {
    /// A picture's making, and whether the GPU still drew the one before when it began; `software`: on the CPUs.
    pub(crate) fn count(
        &mut self,
        (begun, ended): (Moment, Moment),
        refresh: Duration,
        behind: bool,
        software: bool,
    ) {
        if !std::mem::replace(&mut self.warm, true) {
            return;
        }
        let worked = ended.at.saturating_duration_since(begun.at);
        let refreshes = |time: Duration| {
            let number = time.as_nanos() / refresh.as_nanos().max(1);
            u64::try_from(number).unwrap_or(u64::MAX)
        };
        let ours = refreshes(ended.ours_since(&begun).min(worked));
        self.presented += 1;
        self.missed += ours + u64::from(behind && !software);
        self.starved += refreshes(worked) - ours + u64::from(behind && software);
        self.worked += worked;
        self.slowest = self.slowest.max(worked);
    }
}

/// A moment, and what the CPUs have done until then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    at: Instant,
    /// What this thread has run.
    thread: Duration,
    /// What all CPUs have idled, where the kernel says it.
    idle: Option<Duration>,
}

impl Moment {
    /// The time since then that others cannot be blamed for: this thread ran, or it could have, for a CPU was idle.
    fn ours_since(&self, begun: &Self) -> Duration {
        match (begun.idle, self.idle) {
            (Some(before), Some(idle)) => {
                self.thread.saturating_sub(begun.thread) + idle.saturating_sub(before) + TICK
            }
            _ => Duration::MAX,
        }
    }
}

/// Where moments come from.
#[derive(Debug)]
pub(crate) struct Clocks {
    uptime: Option<File>,
}

impl Clocks {
    pub(crate) fn open() -> Self {
        Self {
            uptime: File::open("/proc/uptime").ok(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        let ran = clock_gettime(ClockId::ThreadCPUTime);
        Moment {
            at: Instant::now(),
            thread: Duration::try_from(ran).unwrap_or_default(),
            idle: self.idle(),
        }
    }

    fn idle(&self) -> Option<Duration> {
        let mut text = [0; 64];
        let length = self.uptime.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..length)?).ok()?;
        let seconds = text.split_whitespace().nth(1)?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// A picture that took so long, of which this thread ran, and a CPU idled.
    fn span(worked: u64, ran: u64, idled: Option<u64>) -> (Moment, Moment) {
        let begun = Moment {
            at: Instant::now(),
            thread: ms(7),
            idle: idled.map(|_| ms(1000)),
        };
        let ended = Moment {
            at: begun.at + ms(worked),
            thread: begun.thread + ms(ran),
            idle: idled.map(|idled| ms(1000 + idled)),
        };
        (begun, ended)
    }

    #[test]
    fn a_picture_misses_as_many_refreshes_as_its_making_lasts() {
        let (mut timing, refresh) = (Timing::default(), ms(16));
        for (worked, behind) in [(500, true), (5, false), (40, false), (3, true)] {
            timing.count(span(worked, worked, Some(0)), refresh, behind, false);
        }
        assert_eq!((timing.presented, timing.missed, timing.starved), (3, 3, 0));
        assert_eq!((timing.slowest, timing.worked), (ms(40), ms(48)));
    }

    #[test]
    fn a_refresh_is_others_only_while_they_had_every_cpu() {
        let refresh = ms(50);
        for (what, span, expected) in [
            ("others ran", span(120, 5, Some(0)), (0, 2)),
            ("we ran", span(120, 110, Some(0)), (2, 0)),
            ("we slept", span(120, 2, Some(117)), (2, 0)),
            ("we slept through one", span(120, 5, Some(60)), (1, 1)),
            ("nobody says", span(120, 5, None), (2, 0)),
            ("more CPUs than one", span(120, 5, Some(800)), (2, 0)),
        ] {
            let mut timing = Timing::default();
            timing.count(span, refresh, false, false);
            timing.count(span, refresh, false, false);
            assert_eq!((timing.missed, timing.starved), expected, "{what}");
        }
        let mut timing = Timing::default();
        for software in [true, true, false] {
            timing.count(span(5, 5, Some(0)), refresh, true, software);
        }
        assert_eq!((timing.missed, timing.starved), (1, 1));
    }

    #[test]
    fn the_clocks_tell_sleep_from_work() {
        let clocks = Clocks::open();
        let begun = clocks.now();
        std::thread::sleep(ms(60));
        let slept = clocks.now();
        let ran = slept.thread - begun.thread;
        assert!(ran < ms(50), "{ran:?} run in a sleep");
        let (before, idle) = (begun.idle.unwrap(), slept.idle.unwrap());
        assert!(!before.is_zero() && idle >= before, "{before:?}, then {idle:?}");
        while clocks.now().thread - slept.thread < ms(30) {}
        assert!(clocks.now().ours_since(&slept) >= ms(30));
    }
}
