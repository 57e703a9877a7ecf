//! The device.

use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ash::vk;

use crate::error::Error;
use crate::extensions::Extensions;
use crate::report::Capabilities;
use crate::sys::context::Context;
use crate::sys::loader;
use crate::validation::ValidationLog;

/// A Vulkan device: one of our own ([`OpenOptions::open`]) or one a toolkit made ([`raw::adopt`](crate::raw::adopt)).
///
/// Clones share it. Everything made from it keeps it alive.
#[derive(Clone, Debug)]
pub struct Gpu(pub(crate) Arc<Context>);

/// How many Vulkan objects of this crate are alive on a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveObjects {
    /// Buffers.
    pub buffers: usize,
    /// Images.
    pub images: usize,
    /// Memory allocations and imports.
    pub memories: usize,
    /// Binary semaphores.
    pub semaphores: usize,
}

impl Gpu {
    /// A device of our own with everything it can do, the best one there is: [`OpenOptions`] for more say.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open() -> Result<Self, Error> {
        OpenOptions::new().open()
    }

    /// What the device can do, as data that prints itself. Asks the driver each time: keep it.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::of(self)
    }

    /// The extensions that are on.
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        self.0.extensions
    }

    /// The driver's name for the device.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.identity.name
    }

    /// Which driver.
    #[must_use]
    pub fn driver(&self) -> vk::DriverId {
        self.0.identity.driver
    }

    /// Whether the CPU can write into memory that the device reads as well as any: what integrated GPUs have, and GPUs made of
    /// software. A copy from staging memory into the device's own gains nothing there.
    ///
    /// A discrete GPU's memory never counts, whatever of it the CPU can see (a resizable BAR): there one of the two
    /// reaches it over the bus. Nor does a virtual GPU's, of which nobody knows where it is.
    #[must_use]
    pub fn has_unified_memory(&self) -> bool {
        self.0.is_unified()
    }

    /// The queue family that work and ownership transfers are for.
    #[must_use]
    pub fn queue_family(&self) -> u32 {
        self.0.family
    }

    /// Objects alive, for leak checks and diagnostics.
    #[must_use]
    pub fn live(&self) -> LiveObjects {
        let live = &self.0.live;
        LiveObjects {
            buffers: live.buffers.load(Ordering::Relaxed),
            images: live.images.load(Ordering::Relaxed),
            memories: live.memories.load(Ordering::Relaxed),
            semaphores: live.semaphores.load(Ordering::Relaxed),
        }
    }
}

/// A device that could be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedGpu {
    /// The driver's name for it.
    pub name: String,
    /// Discrete, integrated, CPU ...
    pub kind: vk::PhysicalDeviceType,
    /// For [`OpenOptions::uuid`].
    pub uuid: [u8; 16],
}

/// Which device to open, and how.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    loader: Option<PathBuf>,
    node: Option<u64>,
    name: Option<String>,
    uuid: Option<[u8; 16]>,
    without: Vec<&'static CStr>,
    log: Option<Arc<ValidationLog>>,
}

impl OpenOptions {
    /// Any device, discrete GPUs first, then integrated, virtual and CPU ones; all extensions it has.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A file to load instead of the system's `libvulkan.so.1`.
    #[must_use]
    pub fn loader(mut self, path: impl Into<PathBuf>) -> Self {
        self.loader = Some(path.into());
        self
    }

    /// Only the device with this DRM node (`st_rdev` of `/dev/dri/renderD*` or `card*`).
    #[must_use]
    pub fn node(mut self, dev: u64) -> Self {
        self.node = Some(dev);
        self
    }

    /// Only a device whose name contains this.
    #[must_use]
    pub fn name(mut self, part: impl Into<String>) -> Self {
        self.name = Some(part.into());
        self
    }

    /// Only the device with this UUID, as [`OpenOptions::list`] gives it: two cards of one model differ in nothing else.
    #[must_use]
    pub fn uuid(mut self, uuid: [u8; 16]) -> Self {
        self.uuid = Some(uuid);
        self
    }

    /// Leaves an extension off, as a toolkit's device may.
    #[must_use]
    pub fn without(mut self, extension: &'static CStr) -> Self {
        self.without.push(extension);
        self
    }

    /// Turns the validation layer on, with synchronisation validation, and collects what it says.
    #[must_use]
    pub fn validation(mut self, log: &Arc<ValidationLog>) -> Self {
        self.log = Some(Arc::clone(log));
        self
    }

    /// Opens it. Takes milliseconds to seconds: drivers start up.
    ///
    /// # Errors
    /// [`Error::Loader`] without a Vulkan loader, [`Error::NoDevice`] without a device that fits,
    /// [`Error::Unsupported`] when it is older than Vulkan 1.1 or the validation layer is missing, [`Error::Vk`].
    pub fn open(&self) -> Result<Gpu, Error> {
        let wanted = self.wanted();
        let opened = loader::Opened::instance(self.loader.as_deref(), self.log.clone(), &wanted.to_string())?;
        let chosen = loader::choose(&opened, wanted)?;
        let context = loader::finish(opened, chosen, &self.without)?;
        Ok(Gpu(Arc::new(context)))
    }

    /// The devices that fit, best first, without opening one. Empty without a driver.
    ///
    /// # Errors
    /// As [`OpenOptions::open`], but for [`Error::NoDevice`].
    pub fn list(&self) -> Result<Vec<ListedGpu>, Error> {
        let wanted = self.wanted();
        let opened = loader::Opened::instance(self.loader.as_deref(), None, &wanted.to_string());
        let opened = match opened {
            Err(Error::NoDevice { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let (found, _) = loader::ranked(&opened, wanted)?;
        let listed = found.into_iter().map(|found| ListedGpu {
            name: found.name,
            kind: found.kind,
            uuid: found.uuid,
        });
        Ok(listed.collect())
    }

    fn wanted(&self) -> loader::Wanted<'_> {
        loader::Wanted {
            node: self.node,
            name: self.name.as_deref(),
            uuid: self.uuid,
        }
    }
}
