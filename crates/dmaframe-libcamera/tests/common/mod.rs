//! What this crate's tests share: libcamera's own two cameras, as every lab has them.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dmaframe_alloc::{Allocator, FramePool, Request};
use dmaframe_core::{Frame, Layout, Size, Starvation};
use dmaframe_libcamera::{
    Camera, Cameras, Capture, CaptureBuilder, Completed, Configured, Role, StreamRequest,
};

/// Far more than a picture takes, so that a hang is a failure and not a time-out of the whole run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A size that vimc, which computes each pixel, makes fast even in a guest.
pub(crate) const SMALL: Size = Size::new(160, 120);

/// vimc: a pipeline of kernel drivers; its buffers are the driver's, exported.
pub(crate) const VIMC: &str = "vimc";
/// The virtual pipeline: NV12 into dma-heap memory.
pub(crate) const VIRTUAL: &str = "Virtual0";

/// A camera streams for one test at a time, and there is one camera manager in a process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first camera whose id has this in it.
pub(crate) fn open(cameras: &Cameras, id: &str) -> Option<Camera> {
    let listed = cameras.list().into_iter().find(|camera| camera.id.contains(id))?;
    Some(cameras.open(&listed.id).unwrap())
}

/// An acquired camera, or a visible skip.
#[macro_export]
macro_rules! need_camera {
    ($id:expr) => {
        match $crate::common::open(&dmaframe_libcamera::Cameras::new().unwrap(), $id) {
            Some(camera) => camera,
            None => {
                dmaframe_testkit::skip(concat!("libcamera lists no camera ", stringify!($id)));
                return;
            }
        }
    };
}

/// A small viewfinder.
pub(crate) fn viewfinder(camera: Camera, buffers: u32) -> CaptureBuilder {
    let size = if camera.id().contains(VIRTUAL) {
        Size::new(640, 360)
    } else {
        SMALL
    };
    Capture::builder(camera).stream(StreamRequest::new(Role::ViewFinder).size(size).buffers(buffers))
}

/// The small viewfinder's four buffers, all of which consumers may hold.
pub(crate) fn unbudgeted(camera: Camera) -> Configured {
    viewfinder(camera, 4)
        .configure()
        .unwrap()
        .budget(0, Starvation::Drop)
}

/// Four buffers of just this layout, as a pool makes them.
pub(crate) fn pool(layout: &Layout, from: impl Allocator + 'static) -> FramePool {
    let builder = FramePool::builder(Request::exact(layout.clone())).slots(4);
    builder.allocator(from).build().unwrap()
}

/// The small viewfinder, configured for a pool's buffers, and the pool.
pub(crate) fn with_pool(camera: Camera, from: impl Allocator + 'static) -> (Configured, FramePool) {
    let configured = viewfinder(camera, 4).configure().unwrap();
    let layout = configured.formats().next().unwrap().layout().unwrap();
    let pool = pool(&layout, from);
    (configured.import(0, pool.buffers()).unwrap(), pool)
}

/// The next completed request; a test that gets none has failed.
pub(crate) fn next(capture: &mut Capture) -> Completed {
    let completed = capture.next(PATIENCE).unwrap();
    completed.expect("no picture within the deadline")
}

/// The next frame of the first stream.
pub(crate) fn frame(capture: &mut Capture) -> Frame {
    next(capture).into_frame().expect("a frame")
}

/// The pixels without padding.
pub(crate) fn pixels(frame: &Frame) -> Vec<u8> {
    frame.map_read(PATIENCE).unwrap().to_tight().unwrap()
}
