//! The queue under every interleaving.

use std::os::fd::AsFd;

use loom::thread;
use rustix::event::PollFlags;

use super::*;
use crate::deadline::Deadline;

fn readable(queue: &ReturnQueue) -> bool {
    crate::sys::poll(queue.as_fd(), PollFlags::IN, Deadline::now()).unwrap()
}

/// Two slots come back while the owner looks for them this often.
fn returns(looks: usize) {
    loom::model(move || {
        let queue = ReturnQueue::new(2).unwrap();
        let leases = [queue.lease(0).unwrap(), queue.lease(1).unwrap()];
        let threads = leases.map(|lease| thread::spawn(move || drop(lease)));
        let looked = (0..looks).filter_map(|_| queue.next());
        let mut slots: Vec<_> = looked.map(|back| back.slot).collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(readable(&queue), slots.len() < 2, "after {slots:?}");
        while let Some(back) = queue.next() {
            slots.push(back.slot);
        }
        slots.sort_unstable();
        assert_eq!(slots, [0, 1]);
        assert_eq!((queue.outstanding(), readable(&queue)), (0, false));
    });
}

#[test]
fn loom_every_slot_comes_back_once_and_the_descriptor_tells() {
    returns(1);
    returns(2);
}

#[test]
fn loom_a_return_beside_a_close_frees_no_slot_of_the_next_generation() {
    loom::model(|| {
        let queue = ReturnQueue::new(1).unwrap();
        let old = queue.lease(0).unwrap();
        let thread = thread::spawn(move || drop(old));
        queue.close();
        let new = queue.lease(0).expect("all are at home after a close");
        thread.join().unwrap();
        assert!(queue.next().is_none());
        assert_eq!((queue.outstanding(), readable(&queue)), (1, false));
        drop(new);
        assert!(readable(&queue));
        assert_eq!(queue.next().map(|back| back.slot), Some(0));
    });
}
