//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

pub mod sys;

use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use dmaframe_alloc::{Chain, FramePool, Request};
use dmaframe_core::{Buffer, Clock, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Size, Timestamp};
use dmaframe_gstreamer::caps::{self, Style};
use dmaframe_gstreamer::{
    Backpressure, FrameSink, FrameSinkBuilder, FrameSrc, FrameSrcBuilder, Received, Timing,
};
use gst::prelude::*;
use gst_video::VideoFrameExt;

/// Longer than anything here takes: a wait that reaches it is a hang.
pub const LONG: Duration = Duration::from_secs(20);

/// GStreamer, with its list of plugins in a file that outlives the machine the test runs on: making the list takes
/// seconds, checking it too, and every test binary has a machine of its own. Another kernel or other plugins make
/// another file.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut key = std::hash::DefaultHasher::new();
        std::fs::read("/proc/version").unwrap_or_default().hash(&mut key);
        for folder in [
            "/usr/lib/x86_64-linux-gnu/gstreamer-1.0",
            "/usr/lib64/gstreamer-1.0",
        ] {
            let changed = std::fs::metadata(folder).and_then(|folder| folder.modified());
            changed.ok().hash(&mut key);
        }
        let name = format!("gst-registry-{:x}.bin", key.finish());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if file.exists() {
            sys::set_env("GST_REGISTRY_UPDATE", "no".as_ref());
        }
        sys::set_env("GST_REGISTRY", file.as_os_str());
        gst::init().expect("GStreamer starts");
    });
}

/// A pipeline that is stopped when the test ends, however it ends.
pub struct Running(pub gst::Pipeline);

impl Running {
    pub fn new() -> Self {
        init();
        Self(gst::Pipeline::new())
    }

    pub fn parse(description: &str) -> Self {
        init();
        let element = gst::parse::launch(description).expect("a pipeline");
        Self(element.downcast().expect("a pipeline"))
    }

    pub fn play(&self) {
        self.0.set_state(gst::State::Playing).expect("the pipeline plays");
    }

    /// Waits for the end of the stream or an error.
    pub fn wait_for_end(&self) -> Result<(), String> {
        let bus = self.0.bus().expect("a bus");
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus
            .timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds)
            .expect("an end");
        match message.view() {
            gst::MessageView::Error(error) => Err(format!("{} {:?}", error.error(), error.debug())),
            _ => Ok(()),
        }
    }

    pub fn stop(&self) {
        self.0.set_state(gst::State::Null).expect("the pipeline stops");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// `description ! sink`, not yet playing. Caps at its end are a filter.
pub fn into_sink(description: &str, sink: &FrameSink) -> Running {
    let running = Running::new();
    let description = match description.rsplit_once(" ! ") {
        Some((rest, caps)) if caps.starts_with("video/") => format!("{rest} ! capsfilter caps={caps}"),
        _ => description.to_owned(),
    };
    let source = gst::parse::bin_from_description(&description, true).expect("a bin");
    running
        .0
        .add_many([source.upcast_ref(), sink.element()])
        .expect("added");
    source.link(sink.element()).expect("linked");
    running
}

/// `source ! description`, not yet playing.
pub fn from_src(source: &gst::Element, description: &str) -> Running {
    let running = Running::new();
    let rest = gst::parse::bin_from_description(description, true).expect("a bin");
    running.0.add_many([source, rest.upcast_ref()]).expect("added");
    source.link(&rest).expect("linked");
    running
}

/// A source that is not live, and whose times count from the first frame: what is pushed arrives, however slow the machine.
pub fn pushing() -> FrameSrcBuilder {
    FrameSrc::builder().live(false).timing(Timing::FromFirst)
}

/// A sink that loses nothing: upstream waits while so many pictures have not been taken.
pub fn patient(pictures: u32) -> FrameSinkBuilder {
    FrameSink::builder().queue(pictures, Backpressure::Block)
}

/// `source ! sink`, playing.
pub fn straight(source: &FrameSrc, sink: &FrameSink) -> Running {
    let running = Running::new();
    running
        .0
        .add_many([source.element(), sink.element()])
        .expect("added");
    source.element().link(sink.element()).expect("linked");
    running.play();
    running
}

/// A frame of the buffer, which is whole and nobody's.
pub fn frame_of(buffer: Buffer) -> Frame {
    let meta = FrameMeta::default();
    Frame::new(Arc::new(buffer), meta, Fence::Signaled, Lease::none()).expect("a frame")
}

/// The next frame; anything else fails the test.
pub fn next(sink: &mut FrameSink) -> Frame {
    match sink.next(LONG) {
        Ok(Received::Frame(frame)) => frame,
        other => panic!("no frame: {other:?}"),
    }
}

/// The picture without padding.
pub fn tight(frame: &Frame) -> Vec<u8> {
    frame.map_read(LONG).expect("readable").to_tight().expect("tight")
}

/// The same by GStreamer's own means: from a mapped buffer, by its metadata.
pub fn tight_by_gstreamer(buffer: &gst::BufferRef, caps: &gst::CapsRef, fourcc: Fourcc) -> Vec<u8> {
    let info = gst_video::VideoInfo::from_caps(caps).expect("video caps");
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).expect("mapped");
    let size = Size::new(info.width(), info.height());
    let layout = Layout::tight(fourcc, size).expect("a layout");
    let mut bytes = Vec::new();
    for plane in 0..layout.planes().len() {
        let stride = frame.plane_stride()[plane] as usize;
        let data = frame.plane_data(plane as u32).expect("plane data");
        for row in 0..layout.rows(plane) as usize {
            bytes.extend_from_slice(&data[row * stride..][..layout.row_bytes(plane)]);
        }
    }
    bytes
}

/// The device of a V4L2 driver, as `v4l2src` takes it.
pub fn device(path: &Path) -> String {
    path.display().to_string()
}

/// What plays in the background must be gone before descriptors are counted: GStreamer's threads end a moment after
/// the pipeline has stopped.
pub fn settled(before: &dmaframe_testkit::Leaks) {
    for _ in 0..100 {
        if dmaframe_testkit::Leaks::now() == *before {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    before.check();
}

/// A pool in dma-bufs, whose rows begin at multiples of `align` bytes.
pub fn pool(fourcc: Fourcc, size: Size, align: u32, slots: usize) -> FramePool {
    let request = Request::new(fourcc, size).row_align(align);
    let pool = FramePool::builder(request).slots(slots);
    pool.allocator(Chain::dmabuf()).build().expect("dma-bufs")
}

/// A pool of small pictures in dma-bufs.
pub fn small_pool(slots: usize) -> FramePool {
    pool(Fourcc::NV12, Size::new(320, 240), 256, slots)
}

/// Every sample another value, so that a row or column too far shows.
pub fn fill(frame: &mut Frame) {
    let mut view = frame.map_write(LONG).expect("writable");
    let len = view.layout().tight_len() as usize;
    let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
    view.copy_from_tight(&bytes).expect("as many bytes");
}

/// A buffer of the frame with its caps.
pub fn sample(buffer: &gst::Buffer, frame: &Frame) -> gst::Sample {
    let caps = caps::from_layout(frame.layout(), frame.meta(), (30, 1), Style::Plain).expect("caps");
    gst::Sample::builder().buffer(buffer).caps(&caps).build()
}

/// A frame of the pool with a time.
pub fn stamped(pool: &FramePool, index: u64) -> Frame {
    let mut frame = pool.acquire(LONG).expect("a slot");
    let meta = frame.meta_mut().expect("alone");
    meta.sequence = Some(index);
    let ns = 1_000_000_000 + index * 10_000_000;
    meta.timestamp = Some(Timestamp {
        ns,
        clock: Clock::Monotonic,
    });
    frame
}
