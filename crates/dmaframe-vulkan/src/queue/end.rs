//! How the end of work shows, and what a failed question says about it.

use super::LOOK;
use crate::error::Error;

/// How often a wait that failed is tried again, [`LOOK`] apart.
const TRIES: usize = 100;

/// The last submission that is done. On a lost device none runs any more; a question that failed for any other reason (memory)
/// says nothing.
pub(super) fn finished_by(value: &Result<u64, Error>) -> u64 {
    match value {
        Ok(value) => *value,
        Err(Error::DeviceLost { .. }) => u64::MAX,
        Err(_) => 0,
    }
}

/// Waits for the end of work until the driver says that it has come, or that the device is lost, on which nothing runs.
/// `false` when it says neither.
pub(super) fn outlasted(wait: impl Fn() -> Result<bool, Error>) -> bool {
    for _ in 0..TRIES {
        match wait() {
            Ok(true) | Err(Error::DeviceLost { .. }) => return true,
            // A wait for ever that is over.
            Ok(false) => {}
            // Out of memory: somebody may let go of some.
            Err(_) => std::thread::sleep(LOOK),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ash::vk;

    use super::*;

    const FULL: Error = Error::Vk {
        call: "vkGetSemaphoreCounterValue",
        result: vk::Result::ERROR_OUT_OF_HOST_MEMORY,
    };
    const LOST: Error = Error::DeviceLost {
        call: "vkGetSemaphoreCounterValue",
    };

    #[test]
    fn only_a_lost_device_lets_go_of_work_that_was_not_seen_to_be_done() {
        assert_eq!(finished_by(&Ok(7)), 7);
        assert_eq!(finished_by(&Err(LOST)), u64::MAX);
        assert_eq!(finished_by(&Err(FULL)), 0, "the device works on");
    }

    #[test]
    fn a_queues_end_waits_for_its_work_through_failures_and_says_when_it_could_not() {
        let tries = Cell::new(0);
        let waited = outlasted(|| {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(FULL) } else { Ok(true) }
        });
        assert!(waited && tries.get() == 3);
        assert!(outlasted(|| Err(LOST)));
        assert!(!outlasted(|| Err(FULL)));
    }
}
