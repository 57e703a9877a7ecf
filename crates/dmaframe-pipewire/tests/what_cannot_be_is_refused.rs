//! What can never work is refused with a type at once; what fails later is told to both sides, and nobody waits for ever.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use common::{
    PATIENCE, SMALL, camera, capture, linear, number, play, pool, refusal, refused, serves, set, watched,
};
use dmaframe_alloc::{Allocator, Available, Chain, FramePool, Memfd, Request};
use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Buffer, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Modifier, Size, Starvation};
use dmaframe_pipewire::{CaptureStream, Error, VirtualCamera, video_sources};
use dmaframe_testkit::Daemon;

#[test]
fn only_dma_bufs_of_one_layout_in_the_right_number_are_imported() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let (small, large) = (pool(2), {
        let request = Request::new(Fourcc::XRGB8888, Size::new(100, 100));
        FramePool::builder(request).slots(2).allocator(Chain::dmabuf())
    });
    let large = large.build().unwrap();
    let layout = Layout::linear(Fourcc::XRGB8888, SMALL, 64).unwrap();
    let memfd = || Arc::new(Memfd::new().allocate(&layout, 0).unwrap());
    let bytes = || {
        let bytes = vec![0; usize::try_from(layout.object_len(0)).unwrap()];
        let frame = Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap();
        Arc::clone(frame.buffer())
    };
    let first = small.buffers()[0].clone();
    for (buffers, wanted) in [
        (vec![], "there are 0"),
        (vec![Arc::clone(&first)], "there are 1"),
        (pool(33).buffers(), "there are 33"),
        (vec![memfd(), memfd()], "buffer 0 is no dma-buf"),
        (vec![bytes(), bytes()], "buffer 0 is no dma-buf"),
        (
            vec![Arc::clone(&first), large.buffers()[0].clone()],
            "buffer 1 has another layout",
        ),
        (
            vec![Arc::clone(&first), Arc::clone(&first)],
            "buffer 1 is there twice",
        ),
    ] {
        let error = camera(&daemon).import(buffers).start().unwrap_err();
        assert!(matches!(error, Error::Import { .. }), "{error}");
        assert!(error.to_string().contains(wanted), "{error}");
    }
    camera(&daemon).import(small.buffers()).start().unwrap();
}

#[test]
fn offers_of_nothing_are_refused_where_they_are_made() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let nothing = || FormatSet::new("nothing");
    let nameless = || set(Fourcc::SRGGB8, &[Modifier::LINEAR]);
    let implicit = || set(Fourcc::XRGB8888, &[Modifier::INVALID]);
    let is_refused = |error: Error| assert!(matches!(error, Error::NoFormat { .. }), "{error}");
    for builder in [
        capture(&daemon, "a").formats(nothing()),
        capture(&daemon, "a").formats(nameless()),
        capture(&daemon, "a").dmabuf(false).shared_memory(false),
        capture(&daemon, "a").dmabuf(false).formats(implicit()),
    ] {
        is_refused(builder.start().unwrap_err());
    }
    is_refused(camera(&daemon).formats(nothing()).start().unwrap_err());

    let (cam, stream, producer) = play(&daemon, camera(&daemon), capture(&daemon, "reader").dmabuf(false));
    assert!(number(&common::frame(&stream)).is_some());
    for formats in [nothing, nameless, implicit] {
        is_refused(stream.set_formats(formats()).unwrap_err());
    }
    is_refused(cam.set_picture(nothing(), SMALL).unwrap_err());
    is_refused(cam.set_picture(nameless(), SMALL).unwrap_err());
    // Nothing has changed for anybody.
    for _ in 0..5 {
        assert!(number(&common::frame(&stream)).is_some());
    }
    stream.set_formats(linear()).unwrap();
    producer.stop();
}

#[test]
fn properties_that_are_the_librarys_own_are_refused() {
    need_pipewire!();
    let daemon = Daemon::bare();
    for (key, value) in [
        ("node.loop.class", "data.rt"),
        ("node.loop.name", "data-loop.0"),
        ("adapt.follower.node", "pointer:0x10"),
        ("adapt.follower.spa-node", "pointer:0x10"),
    ] {
        let is_refused = |error: Error| {
            assert!(
                matches!(&error, Error::Property { key: k } if k == key),
                "{error}"
            )
        };
        is_refused(capture(&daemon, "a").property(key, value).start().unwrap_err());
        is_refused(camera(&daemon).property(key, value).start().unwrap_err());
    }
    // Others are the user's.
    camera(&daemon).property("node.nick", "nick").start().unwrap();
}

/// udmabuf, and what happens before each buffer.
struct Before<F> {
    inner: Chain,
    each: F,
}

impl<F> std::fmt::Debug for Before<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Before").finish_non_exhaustive()
    }
}

impl<F> Allocator for Before<F>
where
    F: Fn() -> Result<(), dmaframe_alloc::Error> + Send + Sync,
{
    fn name(&self) -> &str {
        "before"
    }

    fn probe(&self) -> Result<Available, dmaframe_alloc::Error> {
        self.inner.probe()
    }

    fn formats(&self) -> FormatSet {
        self.inner.formats()
    }

    fn plan(&self, request: &Request) -> Result<Layout, dmaframe_alloc::Error> {
        self.inner.plan(request)
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, dmaframe_alloc::Error> {
        (self.each)()?;
        self.inner.allocate(layout, generation)
    }
}

/// Until its memory is used up: so many buffers.
fn scarce(left: Arc<AtomicUsize>) -> impl Allocator {
    let take = |left: usize| left.checked_sub(1);
    let each = move || match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
        Ok(_) => Ok(()),
        Err(_) => Err(dmaframe_alloc::Error::Os {
            call: "memfd_create",
            device: "scarce".to_owned(),
            errno: rustix::io::Errno::MFILE,
        }),
    };
    let inner = Chain::dmabuf();
    Before { inner, each }
}

#[test]
fn an_allocator_may_ask_its_camera() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let known: Arc<OnceLock<Weak<VirtualCamera>>> = Arc::default();
    let (asked, answers) = std::sync::mpsc::channel();
    let each = {
        let known = Arc::clone(&known);
        move || {
            let camera = known.get().and_then(Weak::upgrade).expect("it has started");
            // On another thread, so that an answer that never comes ends the test.
            let (tell, told) = std::sync::mpsc::channel();
            std::thread::spawn(move || tell.send(camera.stats().buffers));
            asked
                .send(told.recv_timeout(Duration::from_secs(1)).ok())
                .unwrap();
            Ok(())
        }
    };
    let inner = Chain::dmabuf();
    let cam = camera(&daemon).buffers(4).allocator(Before { inner, each });
    let cam = Arc::new(cam.start().unwrap());
    known.set(Arc::downgrade(&cam)).unwrap();
    serves(&daemon, &cam, "reader");
    let answers: Vec<_> = answers.try_iter().collect();
    assert!(
        answers.len() > 4,
        "one to choose the modifier, and the stream's: {answers:?}"
    );
    assert!(answers.iter().all(Option::is_some), "{answers:?}");
}

#[test]
fn a_camera_that_runs_out_of_memory_tells_the_consumer_and_serves_the_next() {
    need_pipewire!();
    // One buffer is made to choose the modifier, and then those of the stream: it fails at the first, and at the third.
    for left in [0, 3] {
        let daemon = Daemon::bare();
        let more = Arc::new(AtomicUsize::new(left));
        let cam = Arc::new(
            camera(&daemon)
                .shared_memory(false)
                .allocator(scarce(Arc::clone(&more)))
                .start()
                .unwrap(),
        );
        let stream = capture(&daemon, "first").start().unwrap();
        daemon.link("cam", "first");
        let told = refused(&cam);
        assert!(told.to_string().contains("memfd_create"), "{left} left: {told}");
        let error = refusal(&stream);
        println!("{left} left: the consumer is told: {error}");
        drop(stream);
        // The descriptors are there again.
        more.store(1000, Ordering::SeqCst);
        serves(&daemon, &cam, "second");
    }
}

#[test]
fn a_consumer_of_what_nobody_can_make_is_told() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let nowhere = dmaframe_alloc::Udmabuf::at("/nonexistent");
    let cam = camera(&daemon).shared_memory(false).allocator(nowhere);
    let cam = cam.start().unwrap();
    let stream = capture(&daemon, "reader").start().unwrap();
    daemon.link("cam", "reader");
    let told = refused(&cam);
    assert!(matches!(told, Error::NoModifier { .. }), "{told}");
    println!("the consumer is told: {}", refusal(&stream));
    // The camera has not ended.
    assert!(cam.try_next().is_ok());
}

/// Pushes until the consumer holds all four buffers.
fn hoard(cam: &VirtualCamera, hoarder: &CaptureStream, held: &mut Vec<Frame>) {
    let start = Instant::now();
    while held.len() < 4 {
        if let Ok(frame) = cam.acquire(Duration::from_millis(20)) {
            cam.push(frame, Duration::ZERO).unwrap();
        }
        held.extend(hoarder.next_frame(Duration::from_millis(20)).unwrap());
        assert!(start.elapsed() < PATIENCE, "{} held", held.len());
    }
}

#[test]
fn a_producer_that_starves_for_seconds_gets_the_first_buffer_that_comes_back() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = Arc::new(camera(&daemon).buffers(4).start().unwrap());
    let hoarder = capture(&daemon, "hoarder").budget(0, Starvation::Drop);
    let hoarder = hoarder.queue(8).start().unwrap();
    daemon.link("cam", "hoarder");
    watched(&cam);
    let mut held = Vec::new();
    hoard(&cam, &hoarder, &mut held);
    let begun = Instant::now();
    let waiting = std::thread::spawn({
        let cam = cam.clone();
        move || cam.acquire(PATIENCE).map(|_| begun.elapsed())
    });
    std::thread::sleep(Duration::from_millis(2500));
    assert!(!waiting.is_finished(), "a buffer was free after all");
    held.clear();
    let waited = waiting.join().unwrap().expect("the buffer that came back");
    assert!(waited < Duration::from_secs(4), "{waited:?}");
}

#[test]
fn of_two_producers_that_starve_each_gets_a_buffer() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = Arc::new(camera(&daemon).buffers(4).start().unwrap());
    let hoarder = capture(&daemon, "hoarder").budget(0, Starvation::Drop);
    let hoarder = hoarder.queue(8).start().unwrap();
    daemon.link("cam", "hoarder");
    watched(&cam);
    let mut held = Vec::new();
    for _ in 0..5 {
        hoard(&cam, &hoarder, &mut held);
        let (got, frames) = std::sync::mpsc::channel();
        for _ in 0..2 {
            let (cam, got) = (cam.clone(), got.clone());
            std::thread::spawn(move || got.send(cam.acquire(PATIENCE)));
        }
        // Both sleep, and one buffer after the other comes back.
        std::thread::sleep(Duration::from_millis(200));
        held.pop();
        let first = frames.recv_timeout(2 * PATIENCE).unwrap();
        let first = first.expect("the buffer that came back first");
        std::thread::sleep(Duration::from_millis(100));
        held.pop();
        let second = frames.recv_timeout(2 * PATIENCE).unwrap();
        let second = second.expect("the buffer that came back second");
        for frame in [first, second] {
            cam.push(frame, Duration::ZERO).unwrap();
        }
    }
}

#[test]
fn a_lease_may_be_the_last_owner_of_its_camera() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let pool = pool(4);
    let cam = Arc::new(camera(&daemon).import(pool.buffers()).start().unwrap());
    let stream = capture(&daemon, "reader").start().unwrap();
    daemon.link("cam", "reader");
    watched(&cam);
    common::started(&cam, &stream, || pool.acquire(PATIENCE).unwrap());
    // Its lease runs on the loop's thread, when the consumer goes and the buffers with it.
    let (done, ended) = std::sync::mpsc::channel();
    let owner = Arc::clone(&cam);
    let lease = Lease::on_release(move |_| {
        drop(owner);
        let _ = done.send(std::thread::current().name().map(str::to_owned));
    });
    let slot = pool.acquire(PATIENCE).unwrap();
    let buffer = Arc::clone(slot.buffer());
    drop(slot);
    let frame = Frame::new(buffer, FrameMeta::default(), Fence::Signaled, lease).unwrap();
    cam.push(frame, PATIENCE).unwrap();
    drop(common::frame(&stream));
    drop(cam);
    assert!(
        ended.try_recv().is_err(),
        "the lease has run too early to show anything"
    );
    drop(stream);
    let thread = ended.recv_timeout(PATIENCE).expect("the lease has run");
    assert_eq!(thread.as_deref(), Some("dmaframe-pw"));
    let start = Instant::now();
    while !video_sources(Some(daemon.remote()), PATIENCE).unwrap().is_empty() {
        assert!(start.elapsed() < PATIENCE, "the camera is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_longest_patience_is_long_and_no_panic() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let cam = camera(&daemon).timeout(Duration::MAX).start().unwrap();
    // The camera's node comes a moment after the daemon's answer.
    let start = Instant::now();
    let listed = || video_sources(Some(daemon.remote()), Duration::MAX).unwrap();
    while !listed().iter().any(|node| node.name == "cam") {
        assert!(start.elapsed() < PATIENCE, "the camera is not listed");
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(cam);
}
