//! Pipeline time to and from the kernel's clocks.
//!
//! A buffer's PTS, through its segment, is *running time*: time on the pipeline's clock since it began to play. The
//! usual pipeline clock is `GstSystemClock`, which is `CLOCK_MONOTONIC`, the clock V4L2 and most sensors use: then the
//! way there and back is an addition. For any other clock (an audio device's, the network's) the two are compared now.

use dmaframe_core::{Clock, Timestamp};
use gst::prelude::*;

/// How a pipeline's clock relates to the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Is(Clock),
    /// Drifts on its own.
    Foreign,
}

/// A pipeline's clock and when it began to play.
#[derive(Clone, Debug)]
pub(crate) struct PipelineClock {
    clock: gst::Clock,
    kind: Kind,
    base: u64,
}

impl PipelineClock {
    /// The element's clock. `None` before the pipeline has chosen one, which it does when it first plays.
    ///
    /// `known` saves looking at the kind of a clock again.
    pub(crate) fn of(element: &gst::Element, known: Option<&Self>) -> Option<Self> {
        let clock = element.clock()?;
        let base = element.base_time()?.nseconds();
        let kind = match known {
            Some(known) if known.clock == clock => known.kind,
            _ => kind(&clock),
        };
        Some(Self { clock, kind, base })
    }

    /// The moment of a running time.
    pub(crate) fn timestamp(&self, running: u64) -> Option<Timestamp> {
        let ns = self.base.checked_add(running)?;
        match self.kind {
            Kind::Is(clock) => Some(Timestamp { ns, clock }),
            Kind::Foreign => {
                let monotonic = Timestamp::now(Clock::Monotonic).ns;
                let distance = i128::from(monotonic) - i128::from(self.clock.time().nseconds());
                let ns = u64::try_from(i128::from(ns) + distance).ok()?;
                Some(Timestamp {
                    ns,
                    clock: Clock::Monotonic,
                })
            }
        }
    }

    /// The running time of a moment; negative for one before the pipeline began to play, `None` on a clock nobody
    /// knows.
    pub(crate) fn running_time(&self, at: Timestamp) -> Option<i64> {
        let on_clock = match self.kind {
            Kind::Is(clock) => i128::from(at.to_clock(clock)?.ns),
            Kind::Foreign => {
                let monotonic = at.to_clock(Clock::Monotonic)?;
                let now = Timestamp::now(Clock::Monotonic).ns;
                i128::from(self.clock.time().nseconds()) - (i128::from(now) - i128::from(monotonic.ns))
            }
        };
        i64::try_from(on_clock - i128::from(self.base)).ok()
    }
}

fn kind(clock: &gst::Clock) -> Kind {
    // One that follows another clock is no longer the kernel's.
    let Some(system) = clock
        .downcast_ref::<gst::SystemClock>()
        .filter(|_| clock.master().is_none())
    else {
        return Kind::Foreign;
    };
    match system.clock_type() {
        gst::ClockType::Monotonic => Kind::Is(Clock::Monotonic),
        gst::ClockType::Realtime => Kind::Is(Clock::Realtime),
        _ => Kind::Foreign,
    }
}
