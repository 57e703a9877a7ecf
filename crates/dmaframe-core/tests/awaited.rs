//! Fences awaited on a tokio runtime that has no timer.
#![cfg(feature = "tokio")]

use std::future::Future;
use std::time::Duration;

use dmaframe_core::{Errno, Fence, SyncFile, TimelineDevice, Waited};
use dmaframe_testkit::{Device, SwSync, Vgem, need};

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_io().build().unwrap().block_on(work)
}

fn pending(timeline: &SwSync, at: u32) -> SyncFile {
    SyncFile::new(timeline.fence(at).unwrap()).unwrap()
}

/// Does something a moment later, on another thread.
fn later(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        work();
    });
}

#[test]
fn any_number_of_tasks_await_one_fence() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let fence = std::sync::Arc::new(Fence::from(pending(&timeline, 1)));
    let waited = run(async {
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let fence = std::sync::Arc::clone(&fence);
                tokio::spawn(async move { fence.wait_async().await })
            })
            .collect();
        later(move || timeline.advance(1).unwrap());
        let mut waited = Vec::new();
        for task in tasks {
            waited.push(task.await.unwrap().unwrap());
        }
        waited
    });
    assert_eq!(waited, [Waited::Signaled; 3]);
}

#[test]
fn a_fence_that_fails_is_told_to_who_awaits_it() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let fence = pending(&timeline, 1);
    later(move || drop(timeline));
    assert_eq!(run(fence.wait_async()).unwrap(), Waited::Failed(Errno::NOENT));
    assert_eq!(run(Fence::Signaled.wait_async()).unwrap(), Waited::Signaled);
}

#[test]
fn points_and_lists_are_awaited_before_and_after_their_work_is_submitted() {
    let sw_sync = SwSync::open(&need!(Device::SwSync)).unwrap();
    let vgem = Vgem::open(&need!(Device::VgemRender)).unwrap();
    let timeline = TimelineDevice::new(vgem.into_fd()).unwrap().create().unwrap();
    let (point, same) = (Fence::from(timeline.point(1)), Fence::from(timeline.point(1)));
    let list = same.merge(pending(&sw_sync, 2).into());
    assert!(matches!(list, Fence::All(_)));
    later(move || {
        timeline.attach(1, &pending(&sw_sync, 1)).unwrap();
        sw_sync.advance(1).unwrap();
        later(move || sw_sync.advance(1).unwrap());
    });
    run(async {
        assert_eq!(point.wait_async().await.unwrap(), Waited::Signaled);
        assert_eq!(list.wait_async().await.unwrap(), Waited::Signaled);
    });
    assert!(list.is_done().unwrap());
}
