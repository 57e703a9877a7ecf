//! All that is unsafe: moving libcamera's objects between threads, frame buffers of our own memory, and the promise
//! that makes views of frames slices.

mod buffer;
mod manager;

use libcamera::camera::{ActiveCamera, Camera};

pub(crate) use buffer::{FrameMemory, Handle, PlaneOf, import, import_fd, private_buffer};
pub(crate) use manager::ManagerRef;

/// An acquired camera and what has to outlive it.
///
/// The fields' order is the order of their end: first the camera is released together with the requests that the binding
/// keeps for it, then the last reference to the camera goes (a request's destructor calls into its camera), then the
/// manager.
pub(crate) struct Active {
    camera: ActiveCamera<'static>,
    _keep: Camera<'static>,
    manager: ManagerRef,
}

// SAFETY: the binding's types are not `Send` only because they hold pointers. libcamera (`include/libcamera/camera.h`,
// `\context`) asks that calls which change a camera's state are synchronised by the caller, not that they come from one
// thread; `&mut self` and the absence of `Sync` are that synchronisation. Its own objects that are bound to a thread
// (`libcamera::Object`) are bound to the camera manager's, and every thread of ours counts as the same foreign one
// (`Thread::current()` in `src/libcamera/base/thread.cpp`). What libcamera calls back goes through a mutex of the binding.
unsafe impl Send for Active {}

impl Active {
    /// Acquires the camera.
    pub(crate) fn acquire(camera: Camera<'static>, manager: ManagerRef) -> std::io::Result<Self> {
        Ok(Self {
            camera: camera.acquire()?,
            _keep: camera,
            manager,
        })
    }

    /// For whatever else keeps the camera alive.
    pub(crate) fn manager(&self) -> ManagerRef {
        self.manager.clone()
    }
}

impl std::ops::Deref for Active {
    type Target = ActiveCamera<'static>;

    fn deref(&self) -> &Self::Target {
        &self.camera
    }
}

impl std::ops::DerefMut for Active {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.camera
    }
}

impl std::fmt::Debug for Active {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Active({:?})", self.camera.id())
    }
}
