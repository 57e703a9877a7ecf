//! A buffer whose consumer is still at work waits for it also where there is nothing left to wait with, and nobody waits
//! for the buffer meanwhile. One test: it takes the process' descriptors away.

mod common;

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::{LONG, next, patient, pushing, small_pool, stamped, straight};
use dmaframe_core::SyncFile;
use dmaframe_gstreamer::Received;
use dmaframe_testkit::{Device, SwSync, need};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn without_descriptors_a_buffer_still_comes_back_after_its_fence_and_never_before() {
    need!(Device::Udmabuf);
    let timeline = SwSync::open(&need!(Device::SwSync)).unwrap();
    let fence = |value| SyncFile::new(timeline.fence(value).unwrap()).unwrap().into();
    let source = pushing().build().unwrap();
    let mut sink = patient(2).build().unwrap();
    let _running = straight(&source, &sink);
    let pool = small_pool(2);
    source.push(stamped(&pool, 0), LONG).unwrap();
    let frame = next(&mut sink);
    frame.release_after(fence(1));

    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(3),
        ..limit
    };
    setrlimit(Resource::Nofile, none).unwrap();
    assert!(
        std::fs::File::open("/dev/null").is_err(),
        "there are descriptors left"
    );
    let (tell, told) = channel();
    let dropping = std::thread::spawn(move || {
        drop(frame);
        let _ = tell.send(());
    });
    let dropped = told.recv_timeout(Duration::from_secs(5));
    assert!(dropped.is_ok(), "whoever drops the frame waits for its consumer");
    dropping.join().unwrap();
    assert_eq!(sink.outstanding(), 1, "its reader is not done");
    assert!(matches!(
        sink.next(Duration::from_millis(50)),
        Ok(Received::TimedOut)
    ));
    assert_eq!(sink.outstanding(), 1, "its reader is still not done");
    // Upstream may wait for just this buffer: who waits for the next picture looks after it.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            timeline.advance(1).unwrap();
        });
        let waited = sink.next(Duration::from_millis(500));
        assert!(matches!(waited, Ok(Received::TimedOut)), "{waited:?}");
    });
    assert_eq!(sink.outstanding(), 0, "the buffer did not come back");

    // Once there are descriptors again, it comes back by itself.
    setrlimit(Resource::Nofile, limit).unwrap();
    source.push(stamped(&pool, 1), LONG).unwrap();
    let frame = next(&mut sink);
    frame.release_after(fence(2));
    drop(frame);
    assert_eq!(sink.outstanding(), 1);
    timeline.advance(1).unwrap();
    let start = Instant::now();
    while sink.outstanding() > 0 {
        assert!(start.elapsed() < LONG, "nobody looks after it");
        std::thread::sleep(Duration::from_millis(2));
    }
}
