use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn a_lease_that_never_got_into_a_frame_still_runs_once() {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    drop(Lease::on_release(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn a_slot_goes_out_once_and_comes_back_readable() {
    let queue = ReturnQueue::new(2).unwrap();
    let lease = queue.lease(1).unwrap();
    assert!(matches!(queue.lease(1), Err(Error::OutOfRange { index: 1, .. })));
    assert!(queue.lease(2).is_err());
    assert_eq!(queue.outstanding(), 1);
    drop(lease);
    assert_eq!(queue.outstanding(), 0);
    assert_eq!(queue.next().map(|r| r.slot), Some(1));
    assert!(queue.next().is_none());
}

#[test]
fn a_late_return_from_a_closed_generation_is_forgotten() {
    let queue = ReturnQueue::new(1).unwrap();
    let old = queue.lease(0).unwrap();
    queue.close();
    let new = queue.lease(0).unwrap();
    drop(old);
    assert!(
        queue.next().is_none(),
        "the old lease must not free the new one's slot"
    );
    assert_eq!(queue.outstanding(), 1);
    drop(new);
    assert_eq!(queue.next().map(|r| r.slot), Some(0));
}

#[test]
fn holding_frames_turns_into_copies_before_the_source_starves() {
    let budget = Budget {
        min_free: 2,
        policy: Starvation::Detach,
    };
    let decisions: Vec<_> = (0..4).map(|out| budget.decide(4, out)).collect();
    assert_eq!(
        decisions,
        [
            Delivery::Share,
            Delivery::Share,
            Delivery::Detach,
            Delivery::Detach
        ]
    );
    assert_eq!(
        budget.decide(1, 0),
        Delivery::Share,
        "a single buffer is still shared"
    );
    assert_eq!(
        Budget {
            min_free: 9,
            policy: Starvation::Drop
        }
        .decide(4, 1),
        Delivery::Drop
    );
}
