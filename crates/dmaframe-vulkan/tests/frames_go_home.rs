//! A frame goes home when the GPU is done with it, with the work's fence: whoever polls, waits, hands it back or fails.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{SOON, dmabuf_bench};
use dmaframe_core::{Access, Fence, Fourcc, Frame, FrameMeta, Lease, Size, Waited};
use dmaframe_testkit::frames::{TIGHT, same, udmabuf_frame};
use dmaframe_testkit::producer::{leased, pending};
use dmaframe_testkit::{Device, SwSync, need};
use dmaframe_vulkan::{Importer, Readback, sync};

const SIZE: Size = Size::new(640, 480);

#[test]
fn a_frame_handed_back_comes_home_with_the_works_fence() {
    let Some(bench) = dmabuf_bench() else { return };
    if !bench.queue.can_export_fences() {
        dmaframe_testkit::skip("the device exports no SYNC_FD");
        return;
    }
    let importer = Importer::new(&bench.gpu);
    let back = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let Some((producer, frame)) = leased(SIZE, 1) else {
        return;
    };
    let buffer = Arc::clone(frame.buffer());
    let held = importer.buffer(&frame).unwrap();
    let mut work = bench
        .queue
        .submit(SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.export_fence()?;
            commands.copy(&held.import, back.target())
        })
        .unwrap();
    drop((held, frame));
    assert!(producer.next().is_none(), "the queue holds the frame");
    let fence = work.hand_back().unwrap();
    let returned = producer
        .next()
        .expect("the slot comes home without waiting for the device");
    assert!(returned.fence.wait(SOON).unwrap().is_signaled());
    assert!(fence.wait(SOON).unwrap().is_signaled());
    // A fence that was read from stands against writers only; it is on the dma-buf, whether or not it has signalled.
    assert!(
        buffer.objects()[0]
            .wait_idle(Access::Write, SOON)
            .unwrap()
            .is_signaled()
    );
    assert!(work.wait(SOON).unwrap().is_signaled());
    assert!(
        work.fence().unwrap().is_done().unwrap(),
        "asked again it is the same"
    );
    drop((importer, back, work, returned));
    bench.done();
}

#[test]
fn an_application_that_only_polls_gets_its_leases_back() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let back = Readback::new(&bench.gpu, Fourcc::R8, SIZE).unwrap();
    let Some((producer, frame)) = leased(SIZE, 1) else {
        return;
    };
    let held = importer.buffer(&frame).unwrap();
    let work = bench.copy(&held, &back).unwrap();
    drop((held, frame, work));
    let begin = Instant::now();
    while producer.next().is_none() {
        assert!(begin.elapsed() < SOON, "the lease never came back");
        std::thread::sleep(Duration::from_millis(5));
        bench.queue.poll().unwrap();
    }
    assert_eq!(bench.queue.in_flight(), 0);
    drop((importer, back));
    bench.done();
}

#[test]
fn work_that_could_not_be_recorded_gives_everything_back() {
    let Some(bench) = dmabuf_bench() else { return };
    let importer = Importer::new(&bench.gpu);
    let back = Readback::new(&bench.gpu, Fourcc::R8, Size::new(8, 8)).unwrap();
    let Some((producer, frame)) = leased(SIZE, 1) else {
        return;
    };
    let held = importer.buffer(&frame).unwrap();
    let refused = bench.copy(&held, &back);
    assert!(refused.unwrap_err().to_string().contains("640x480"));
    drop((held, frame));
    assert!(producer.next().is_some());
    drop((importer, back));
    bench.done();
}

#[test]
fn who_waited_for_work_finds_what_it_held_let_go_whichever_thread_saw_it_done() {
    let Some(bench) = dmabuf_bench() else { return };
    let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, Size::new(64, 48), TIGHT, 1) else {
        return;
    };
    let (entered, inside) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let left = std::sync::Mutex::new(left);
    // A producer that takes its time when its frame comes home.
    let lease = Lease::on_release(move |_| {
        entered.send(()).unwrap();
        let _ = left.lock().unwrap().recv();
    });
    let buffer = Arc::clone(frame.buffer());
    drop(frame);
    let slow = Frame::new(buffer, FrameMeta::default(), Fence::Signaled, lease).unwrap();
    let importer = Importer::new(&bench.gpu);
    let held = importer.buffer(&slow).unwrap();
    let mut back = Readback::new(&bench.gpu, Fourcc::NV12, Size::new(64, 48)).unwrap();
    let work = bench.copy(&held, &back).unwrap();
    drop((held, slow, importer));
    std::thread::scope(|scope| {
        // This one sees the work's end, and is in the lease then.
        scope.spawn(|| {
            while bench.queue.in_flight() > 0 {
                bench.queue.poll().unwrap();
            }
        });
        inside.recv().unwrap();
        assert!(!work.is_done().unwrap());
        assert_eq!(work.wait(Duration::from_millis(30)).unwrap(), Waited::TimedOut);
        drop(leave);
        assert!(work.wait(SOON).unwrap().is_signaled());
    });
    same(back.bytes().unwrap(), &bytes, "after the wait");
    drop((back, work));
    bench.done();
}

#[test]
fn a_release_fence_is_on_the_dma_buf_and_in_the_lease() {
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let Some((producer, frame)) = leased(SIZE, 1) else {
        return;
    };
    let buffer = Arc::clone(frame.buffer());
    // As a GPU driver would give it: not signalled yet. (lavapipe gives signalled ones only.)
    sync::release(&frame, &pending(&timeline), Access::Write).unwrap();
    drop(frame);
    let returned = producer.next().expect("home at once");
    assert!(!returned.fence.is_done().unwrap());
    let seen = buffer.objects()[0].export_fence(Access::Read).unwrap();
    assert!(
        !seen.is_done().unwrap(),
        "readers have to wait for the GPU's writes"
    );
    timeline.advance(1).unwrap();
    assert!(returned.fence.is_done().unwrap() && seen.is_done().unwrap());
}
