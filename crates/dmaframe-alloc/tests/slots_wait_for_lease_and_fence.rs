//! A slot is used again when its lease has come back and its release fence has signalled, and not before; and a pool
//! without a slot says so instead of freezing.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dmaframe_alloc::{Bytes, Chain, Error, FramePool, Memfd, Request, Udmabuf};
use dmaframe_core::{
    Budget, Deadline, Delivery, Fence, Fourcc, Frame, Size, Starvation, SyncFile, TimelineDevice,
};
use dmaframe_testkit::{Device, SwSync, Vgem, need};
use rustix::event::{PollFd, PollFlags, Timespec};

fn pool(slots: usize) -> FramePool {
    let request = Request::new(Fourcc::NV12, Size::new(64, 64));
    FramePool::builder(request)
        .slots(slots)
        .allocator(Memfd::new())
        .build()
        .unwrap()
}

fn readable(pool: &FramePool) -> bool {
    let mut fds = [PollFd::new(pool, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
}

fn fence(timeline: &SwSync, value: u32) -> Fence {
    SyncFile::new(timeline.fence(value).unwrap()).unwrap().into()
}

#[test]
fn a_slot_is_used_again_only_after_its_last_clone() {
    let pool = pool(1);
    let frame = pool.try_acquire().unwrap();
    let (id, content) = (frame.buffer_id(), frame.content_id());
    let clone = frame.clone();
    drop(frame);
    assert!(pool.try_acquire().unwrap_err().is_starved());
    drop(clone);
    let again = pool.try_acquire().unwrap();
    assert_eq!(again.buffer_id(), id, "the same memory");
    assert_ne!(again.content_id(), content, "another picture");
    assert_eq!(id.generation(), pool.generation());
    assert!(again.is_unique());
}

#[test]
fn every_frame_comes_out_writable() {
    let pool = pool(3);
    for value in 0..9 {
        let mut frame = pool.try_acquire().unwrap();
        let mut view = frame.map_write(Duration::ZERO).unwrap();
        view.plane_mut(0).unwrap().fill(value);
        assert_eq!(view.row(0, 63).unwrap(), [value; 64]);
    }
}

#[test]
fn a_pending_release_fence_keeps_the_slot() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let pool = pool(2);
    let first = pool.try_acquire().unwrap();
    let id = first.buffer_id();
    first.release_after(fence(&timeline, 1));
    drop(first);
    // The other slot serves meanwhile.
    let other = pool.try_acquire().unwrap();
    assert_ne!(other.buffer_id(), id);
    let starved = pool.try_acquire().unwrap_err();
    assert!(
        matches!(
            starved,
            Error::Starved {
                slots: 2,
                out: 1,
                fenced: 1
            }
        ),
        "{starved}"
    );
    assert!(!readable(&pool), "nothing to look at yet");
    timeline.advance(1).unwrap();
    assert!(readable(&pool), "the fence wakes the event loop");
    assert_eq!(pool.try_acquire().unwrap().buffer_id(), id);
    assert!(readable(&pool), "dropped at once, so it is home again");
}

/// An epoll set keeps watching a closed descriptor while a duplicate of it lives, and a signalled fence is readable
/// for ever.
#[test]
fn a_fence_its_consumer_kept_does_not_keep_the_event_loop_busy() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let pool = pool(1);
    let frame = pool.try_acquire().unwrap();
    let kept = fence(&timeline, 1);
    frame.release_after(kept.try_clone().unwrap());
    drop(frame);
    assert!(pool.try_acquire().is_err());
    timeline.advance(1).unwrap();
    let _held = pool.try_acquire().unwrap();
    assert!(kept.is_done().unwrap());
    assert!(pool.try_acquire().is_err());
    assert!(!readable(&pool));
}

/// Two threads may wait for one pool: what the first leaves over must still wake the second.
#[test]
fn the_event_source_stays_readable_while_there_is_something_to_take() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let pool = pool(3);
    let take = || [0; 3].map(|_| pool.try_acquire().unwrap());
    let held = take();
    assert!(pool.try_acquire().is_err());
    drop(held);
    let first = pool.try_acquire().unwrap();
    assert!(readable(&pool), "two more leases are home");
    drop(first);

    let held = take();
    held.iter()
        .for_each(|frame| frame.release_after(fence(&timeline, 1)));
    drop(held);
    assert!(pool.try_acquire().is_err());
    timeline.advance(1).unwrap();
    let _first = pool.try_acquire().unwrap();
    assert!(readable(&pool), "two more fences have signalled");
    let _second = pool.try_acquire().unwrap();

    // Another thread found this slot with its fence pending, and took one that was free.
    let third = pool.try_acquire().unwrap();
    third.release_after(fence(&timeline, 2));
    drop((third, _first));
    let _first = pool.try_acquire().unwrap();
    assert!(!readable(&pool));
    timeline.advance(1).unwrap();
    assert!(
        readable(&pool),
        "who was told of the starvation still hears of it"
    );
}

/// An event loop that asks first and waits then.
fn acquired_by_polling(pool: &FramePool) -> (Frame, usize) {
    let patience = Instant::now() + Duration::from_secs(10);
    let mut polls = 0;
    loop {
        match pool.try_acquire() {
            Ok(frame) => return (frame, polls),
            Err(starved) => assert!(starved.is_starved(), "{starved}"),
        }
        let mut fds = [PollFd::new(pool, PollFlags::IN)];
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        assert_eq!(
            rustix::event::poll(&mut fds, Some(&second)).unwrap(),
            1,
            "nothing wakes the event loop"
        );
        polls += 1;
        assert!(Instant::now() < patience);
    }
}

#[test]
fn a_fence_without_a_descriptor_wakes_an_event_loop_too() {
    let sw_sync = SwSync::open(&need!(Device::SwSync)).unwrap();
    let vgem = Vgem::open(&need!(Device::VgemRender)).unwrap();
    let timeline = TimelineDevice::new(vgem.into_fd()).unwrap().create().unwrap();
    let pool = pool(1);
    // A point that nobody submitted work for, and something else: the kernel has no one descriptor for both.
    let frame = pool.try_acquire().unwrap();
    frame.release_after(timeline.point(1).into());
    frame.release_after(fence(&sw_sync, 1));
    drop(frame);
    assert!(pool.try_acquire().unwrap_err().is_starved());
    let signal = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        timeline.signal(1).unwrap();
        sw_sync.advance(1).unwrap();
        (timeline, sw_sync)
    });
    let (frame, polls) = acquired_by_polling(&pool);
    assert!(
        polls <= 100,
        "{polls} looks in 50 ms: more than one a millisecond"
    );
    let (timeline, sw_sync) = signal.join().unwrap();

    // The same wait without an event loop.
    frame.release_after(timeline.point(2).into());
    frame.release_after(fence(&sw_sync, 2));
    drop(frame);
    assert!(pool.acquire(Duration::from_millis(20)).unwrap_err().is_starved());
    timeline.signal(2).unwrap();
    sw_sync.advance(1).unwrap();
    let frame = pool.acquire(Duration::from_secs(5)).unwrap();
    // And the timer is off again when nothing needs it.
    assert!(pool.try_acquire().unwrap_err().is_starved());
    thread::sleep(Duration::from_millis(10));
    assert!(!readable(&pool));
    drop(frame);
}

#[test]
fn a_point_that_nobody_submits_keeps_its_slot_and_freezes_nobody() {
    let vgem = Vgem::open(&need!(Device::VgemRender)).unwrap();
    let timeline = TimelineDevice::new(vgem.into_fd()).unwrap().create().unwrap();
    let pool = Arc::new(pool(2));
    let frame = pool.try_acquire().unwrap();
    frame.release_after(timeline.point(1).into());
    let (sender, receiver) = std::sync::mpsc::channel();
    let on_thread = Arc::clone(&pool);
    thread::spawn(move || {
        drop(frame);
        sender.send(on_thread.try_acquire().is_ok()).unwrap();
    });
    assert_eq!(receiver.recv_timeout(Duration::from_secs(5)), Ok(true));
    drop(pool.acquire(Duration::from_millis(20)).unwrap());
    timeline.signal(1).unwrap();
    let both = (
        pool.acquire(Duration::from_secs(5)),
        pool.acquire(Duration::from_secs(5)),
    );
    assert!(both.0.is_ok() && both.1.is_ok());
}

#[test]
fn merged_fences_of_all_consumers_count() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let pool = pool(1);
    let frame = pool.try_acquire().unwrap();
    let clone = frame.clone();
    frame.release_after(fence(&timeline, 1));
    clone.release_after(fence(&timeline, 2));
    drop((frame, clone));
    timeline.advance(1).unwrap();
    assert!(
        pool.try_acquire().unwrap_err().is_starved(),
        "one consumer is still at it"
    );
    timeline.advance(1).unwrap();
    assert!(pool.try_acquire().is_ok());
}

#[test]
fn a_failed_release_fence_frees_the_slot_and_is_counted() {
    let path = need!(Device::SwSync);
    let timeline = SwSync::open(&path).unwrap();
    let pool = pool(1);
    let frame = pool.try_acquire().unwrap();
    frame.release_after(fence(&timeline, 1));
    drop(frame);
    assert!(pool.try_acquire().is_err());
    drop(timeline);
    assert!(
        pool.acquire(Duration::from_secs(5)).is_ok(),
        "its device gave up: nobody writes any more"
    );
    assert_eq!(pool.stats().failed_fences, 1);
}

#[test]
fn acquire_waits_for_the_fence_until_its_deadline() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let pool = pool(1);
    let frame = pool.try_acquire().unwrap();
    frame.release_after(fence(&timeline, 1));
    drop(frame);
    let start = Instant::now();
    assert!(pool.acquire(Duration::from_millis(50)).unwrap_err().is_starved());
    assert!(start.elapsed() >= Duration::from_millis(50));
    let later = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        timeline.advance(1).unwrap();
        timeline
    });
    drop(pool.acquire(Duration::from_secs(10)).unwrap());
    later.join().unwrap();
    let stats = pool.stats();
    assert_eq!(
        (stats.acquired, stats.waited, stats.starved),
        (2, 2, 1),
        "{stats}"
    );
}

#[test]
fn acquire_waits_for_a_lease_from_another_thread() {
    let pool = pool(1);
    let frame = pool.try_acquire().unwrap();
    let consumer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        drop(frame);
    });
    assert!(pool.acquire(Duration::from_secs(10)).is_ok());
    consumer.join().unwrap();
}

#[test]
fn starvation_is_told_with_counts_and_does_not_freeze() {
    let pool = pool(3);
    let held: Vec<Frame> = (0..3).map(|_| pool.try_acquire().unwrap()).collect();
    let start = Instant::now();
    let error = pool.acquire(Duration::from_millis(20)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5));
    let text = error.to_string();
    assert!(
        text.contains("of 3 slots consumers hold 3, and 0 wait for release fences"),
        "{text}"
    );
    assert_eq!(pool.outstanding(), 3);
    assert!(!readable(&pool));
    drop(held);
    assert!(readable(&pool));
    assert_eq!((pool.stats().acquired, pool.stats().starved), (3, 1));
    assert!(pool.acquire(Deadline::now()).is_ok());
}

#[test]
fn the_budget_turns_sharing_into_copies_before_the_last_slots_go() {
    let request = Request::new(Fourcc::NV12, Size::new(64, 64));
    let budget = Budget {
        min_free: 1,
        policy: Starvation::Detach,
    };
    let pool = FramePool::builder(request)
        .slots(3)
        .allocator(Bytes::new())
        .budget(budget)
        .build()
        .unwrap();
    assert_eq!(pool.delivery(), Delivery::Share);
    let _held = (pool.try_acquire().unwrap(), pool.try_acquire().unwrap());
    assert_eq!(pool.delivery(), Delivery::Detach);
}

#[test]
fn implicit_fences_keep_the_slot_when_asked_to() {
    need!(Device::Udmabuf);
    let vgem = Vgem::open(&need!(Device::VgemRender)).unwrap();
    let request = Request::new(Fourcc::XRGB8888, Size::new(64, 64));
    for implicit in [false, true] {
        let builder = FramePool::builder(&request).slots(1).allocator(Udmabuf::new());
        let pool = builder.implicit_fences(implicit).build().unwrap();
        let frame = pool.try_acquire().unwrap();
        let fence = vgem
            .attach_write(frame.as_dmabuf().unwrap().lend(0).unwrap())
            .unwrap();
        drop(frame);
        assert_eq!(pool.try_acquire().is_err(), implicit);
        vgem.signal(fence).unwrap();
        assert!(pool.acquire(Duration::from_secs(1)).is_ok());
    }
}

#[test]
fn a_copy_in_the_pool_frees_the_original_and_keeps_its_metadata() {
    let camera = pool(1);
    let copies = FramePool::builder(Request::new(Fourcc::NV12, Size::new(64, 64)).row_align(1))
        .slots(1)
        .allocator(Chain::standard())
        .build()
        .unwrap();
    let mut frame = camera.try_acquire().unwrap();
    let picture: Vec<u8> = (0..frame.layout().tight_len()).map(|i| i as u8).collect();
    frame
        .map_write(Duration::ZERO)
        .unwrap()
        .copy_from_tight(&picture)
        .unwrap();
    frame.meta_mut().unwrap().sequence = Some(41);
    let copy = copies.detach_into(&frame, Duration::ZERO).unwrap();
    let starved = copies.detach_into(&frame, Duration::ZERO).unwrap_err();
    assert!(starved.is_starved(), "{starved}");
    drop(frame);
    assert!(camera.try_acquire().is_ok());
    assert_eq!(
        copy.map_read(Duration::ZERO).unwrap().to_tight().unwrap(),
        picture
    );
    assert_eq!(copy.meta().sequence, Some(41));
    assert_eq!(copies.stats().copied, 1);

    let other = FramePool::builder(Request::new(Fourcc::NV12, Size::new(64, 32)))
        .build()
        .unwrap();
    let error = other.detach_into(&copy, Duration::ZERO).unwrap_err().to_string();
    assert_eq!(
        error,
        "a frame of NV12 64x64 cannot be copied into a pool of NV12 64x32"
    );
}

#[test]
fn threads_share_a_pool_and_every_frame_is_nobody_elses() {
    let pool = Arc::new(pool(2));
    let workers: Vec<_> = (0..4u8)
        .map(|worker| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                for _ in 0..100 {
                    let mut frame = pool.acquire(Duration::from_secs(20)).unwrap();
                    let mut view = frame.map_write(Duration::ZERO).unwrap();
                    view.plane_mut(0).unwrap().fill(worker);
                    thread::yield_now();
                    assert!(view.plane(0).unwrap().iter().all(|b| *b == worker));
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(pool.stats().acquired, 400);
}
