//! The one camera manager that libcamera allows a process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libcamera::camera::Camera;
use libcamera::camera_manager::CameraManager;

struct Manager(CameraManager);

// SAFETY: not `Send` and `Sync` only for its pointers. Started and destroyed under the lock below, one thread at a time, which
// is what libcamera asks for; in between only `cameras()`, `get()` and `version()` are called, which libcamera documents
// as thread-safe (`src/libcamera/camera_manager.cpp`) and which in the binding touch nothing but a mutex of its own.
unsafe impl Send for Manager {}
// SAFETY: as above.
unsafe impl Sync for Manager {}

/// The manager while anybody uses it. libcamera aborts the process that makes a second one, so making and destroying
/// it, from the first line to the last, happens under this lock.
static MANAGER: Mutex<Option<Arc<Manager>>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<Arc<Manager>>> {
    MANAGER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A use of the manager; the last one to drop stops it.
pub(crate) struct ManagerRef(Option<Arc<Manager>>);

impl ManagerRef {
    /// Starts the manager, or joins those who use it.
    pub(crate) fn get() -> std::io::Result<Self> {
        let mut manager = lock();
        if manager.is_none() {
            *manager = Some(Arc::new(Manager(CameraManager::new()?)));
        }
        Ok(Self(manager.clone()))
    }

    fn manager(&self) -> &CameraManager {
        match &self.0 {
            Some(manager) => &manager.0,
            None => unreachable!("only drop takes it out"),
        }
    }

    pub(crate) fn version(&self) -> String {
        self.manager().version().to_owned()
    }

    /// All cameras. Whoever keeps one keeps the manager too.
    pub(crate) fn cameras(&self) -> Vec<Camera<'static>> {
        let list = self.manager().cameras();
        (0..list.len()).filter_map(|index| list.get(index)).collect()
    }

    pub(crate) fn camera(&self, id: &str) -> Option<Camera<'static>> {
        self.manager().get(id)
    }
}

impl Clone for ManagerRef {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for ManagerRef {
    fn drop(&mut self) {
        let mut manager = lock();
        self.0 = None;
        // Nobody can clone what only we hold: the one other way to it needs the lock.
        if manager.as_ref().is_some_and(|kept| Arc::strong_count(kept) == 1) {
            *manager = None;
        }
    }
}

impl std::fmt::Debug for ManagerRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ManagerRef")
    }
}
