//! Buffers from a GPU's driver, through libgbm.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dmaframe_core::negotiate::{FormatSet, MemoryKind, Usage};
use dmaframe_core::{Buffer, Fourcc, Layout, Modifier, Plane, Size};
use gbm::{BufferObject, BufferObjectFlags as Flags, Device, Format};
use rustix::io::Errno;

use crate::allocator::{Allocator, Available, Sharing};
use crate::error::Error;
use crate::node::{self, Node};
use crate::request::Request;
use crate::sys::{self, FreshObject};

/// A DRM device's own allocator: memory that its GPU renders to and samples from best, in the modifiers it likes.
///
/// The driver picks the modifier out of the request's list, and strides and offsets with it. Frames of a linear buffer
/// can be mapped; tiled ones are for devices only. libgbm loads the GPU's driver into the process at the first use.
#[derive(Debug)]
pub struct Gbm {
    node: Node,
    name: String,
    candidates: Vec<(Fourcc, Modifier)>,
    device: Mutex<Option<Device<OwnedFd>>>,
}

/// What the driver made, before it is a buffer.
struct Made {
    layout: Layout,
    objects: Vec<FreshObject>,
}

impl Gbm {
    /// Of a render node (or a card node, for scanout). Opens nothing yet.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::of(Node::drm(path))
    }

    /// Of a device that is open already, as session managers hand out.
    #[must_use]
    pub fn from_fd(device: OwnedFd) -> Self {
        Self::of(Node::opened(device))
    }

    fn of(node: Node) -> Self {
        Self {
            name: format!("gbm {}", node.name()),
            node,
            candidates: Vec::new(),
            device: Mutex::default(),
        }
    }

    /// Pairs that [`Allocator::formats`] may list besides linear and implicit ones: libgbm can be asked about a
    /// modifier, but not for a list. Take them from the importing side: Vulkan, EGL or KMS.
    #[must_use]
    pub fn candidates(mut self, pairs: impl IntoIterator<Item = (Fourcc, Modifier)>) -> Self {
        self.candidates.extend(pairs);
        self
    }

    /// The render nodes of this machine, `/dev/dri/renderD*`, lowest number first.
    #[must_use]
    pub fn render_nodes() -> Vec<PathBuf> {
        node::entries("/dev/dri", "renderD")
    }

    fn remedy() -> String {
        let nodes: Vec<_> = Self::render_nodes()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        if nodes.is_empty() {
            "this machine has no DRM render node; its GPU's driver is not loaded".to_owned()
        } else {
            format!("the render nodes of this machine are {}", nodes.join(", "))
        }
    }

    /// The opened device. libgbm itself does not lock, so one call at a time.
    fn device(&self) -> Result<MutexGuard<'_, Option<Device<OwnedFd>>>, Error> {
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        if device.is_none() {
            let fd = self.node.open(Self::remedy)?;
            let fd = rustix::io::fcntl_dupfd_cloexec(fd, 0)
                .map_err(|errno| self.os("fcntl(F_DUPFD_CLOEXEC)", errno))?;
            let opened = Device::new(fd).map_err(|error| Error::NoDriver {
                device: self.node.name(),
                call: "gbm_create_device",
                errno: Errno::from_io_error(&error).unwrap_or(Errno::NODEV),
                remedy: "install the GPU's Mesa driver (libgl1-mesa-dri, mesa-dri-drivers)".to_owned(),
            })?;
            *device = Some(opened);
        }
        Ok(device)
    }

    fn os(&self, call: &'static str, errno: Errno) -> Error {
        Error::Os {
            call,
            device: self.node.name(),
            errno,
        }
    }

    fn make(&self, request: &Request) -> Result<Made, Error> {
        let format = self.format(request)?;
        let guard = self.device()?;
        let Some(device) = &*guard else {
            return Err(self.os("gbm_create_device", Errno::NODEV));
        };
        let (object, modifier) = self.create(device, format, request)?;
        let planes = i32::try_from(object.plane_count()).unwrap_or(0);
        let places: Vec<_> = (0..planes)
            .map(|i| (object.offset(i), object.stride_for_plane(i)))
            .collect();
        let fds = sys::gbm::export(object).ok_or_else(|| self.os("gbm_bo_get_fd", Errno::NOSYS))?;
        drop(guard);

        let mut objects = Vec::<FreshObject>::new();
        let mut list = Vec::new();
        for (index, (fresh, (offset, stride))) in fds.into_iter().zip(places).enumerate() {
            let object = fresh.into_object(index)?;
            let found = objects.iter().position(|other| other.same(&object));
            let index = found.unwrap_or_else(|| {
                objects.push(object);
                objects.len() - 1
            });
            list.push(Plane {
                object: index,
                offset: offset.into(),
                stride,
            });
        }
        let sizes: Vec<_> = objects.iter().map(FreshObject::size).collect();
        let layout = Layout::check(request.fourcc(), modifier, request.size(), &list, &sizes)?;
        Ok(Made { layout, objects })
    }

    fn format(&self, request: &Request) -> Result<Format, Error> {
        Format::try_from(request.fourcc()).map_err(|_| Error::Format {
            device: self.name.clone(),
            fourcc: request.fourcc(),
            size: request.size(),
            reason: "the crate drm-fourcc does not know the code",
        })
    }

    /// A buffer object and the modifier it has.
    fn create(
        &self,
        device: &Device<OwnedFd>,
        format: Format,
        request: &Request,
    ) -> Result<(BufferObject<()>, Modifier), Error> {
        let asked = request.modifiers_asked();
        let (width, height) = (request.size().width, request.size().height);
        let flags = flags(request.used_by());
        let explicit: Vec<_> = asked
            .iter()
            .filter(|m| !m.is_implicit())
            .map(|m| (*m).into())
            .collect();
        let mut errno = Errno::INVAL;
        let mut keep = |error: std::io::Error| errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
        if !explicit.is_empty() {
            let list = explicit.iter().copied();
            match device.create_buffer_object_with_modifiers2(width, height, format, list, flags) {
                Ok(object) => {
                    let modifier = Modifier::from(object.modifier());
                    if asked.contains(&modifier) {
                        return Ok((object, modifier));
                    }
                }
                Err(error) => keep(error),
            }
        }
        // Drivers without modifiers still promise rows for this flag, though they answer INVALID when asked.
        if asked.contains(&Modifier::LINEAR) {
            match device.create_buffer_object(width, height, format, flags | Flags::LINEAR) {
                Ok(object) => return Ok((object, Modifier::LINEAR)),
                Err(error) => keep(error),
            }
        }
        if asked.contains(&Modifier::INVALID) {
            match device.create_buffer_object(width, height, format, flags) {
                Ok(object) => return Ok((object, Modifier::INVALID)),
                Err(error) => keep(error),
            }
        }
        Err(match errno {
            Errno::NOMEM | Errno::NOSPC => {
                let bytes = request
                    .fourcc()
                    .info()
                    .and_then(|info| info.tight_len(request.size()));
                Error::allocation(
                    &self.node.name(),
                    bytes.unwrap_or(u64::MAX),
                    "gbm_bo_create",
                    errno,
                )
            }
            _ if device.is_format_supported(format, flags) => Error::Modifier {
                device: self.name.clone(),
                fourcc: request.fourcc(),
                asked: asked.to_vec(),
                makes: "others of this format",
            },
            _ => Error::Format {
                device: self.name.clone(),
                fourcc: request.fourcc(),
                size: request.size(),
                reason: "its driver does not have the format for this use",
            },
        })
    }
}

/// libgbm knows rendering and scanout; sampling needs no flag of its own.
fn flags(usage: Usage) -> Flags {
    match usage {
        Usage::Scanout => Flags::SCANOUT | Flags::RENDERING,
        Usage::Any | Usage::Sample | Usage::Render => Flags::RENDERING,
        _ => Flags::empty(),
    }
}

impl Allocator for Gbm {
    fn name(&self) -> &str {
        &self.name
    }

    fn probe(&self) -> Result<Available, Error> {
        // libgbm opens anything, /dev/null too; what it is good for shows at the first buffer.
        let (size, modifiers) = (Size::new(64, 64), [Modifier::LINEAR, Modifier::INVALID]);
        self.make(&Request::new(Fourcc::XRGB8888, size).modifiers(modifiers))?;
        Ok(Available {
            kind: MemoryKind::Device,
            ..Available::new(Sharing::Devices)
        })
    }

    fn formats(&self) -> FormatSet {
        let mut set = FormatSet::new(&self.name);
        let Ok(guard) = self.device() else { return set };
        let Some(device) = &*guard else { return set };
        if let Ok(stat) = rustix::fs::fstat(device) {
            #[allow(clippy::unnecessary_cast, reason = "the field's type differs by target")]
            let rdev = stat.st_rdev as u64;
            set = set.with_device(rdev);
        }
        for info in dmaframe_core::format::all_formats() {
            let Ok(format) = Format::try_from(info.fourcc) else {
                continue;
            };
            let asked = self
                .candidates
                .iter()
                .filter(|(fourcc, _)| *fourcc == info.fourcc);
            for (fourcc, modifier) in asked {
                if device
                    .format_modifier_plane_count(format, (*modifier).into())
                    .is_some_and(|planes| planes > 0)
                {
                    set.insert(*fourcc, *modifier);
                }
            }
            if device.is_format_supported(format, Flags::LINEAR) {
                set.insert(info.fourcc, Modifier::LINEAR);
            }
            if device.is_format_supported(format, Flags::RENDERING) {
                set.insert(info.fourcc, Modifier::INVALID);
            }
        }
        set
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        let made = self.make(request)?.layout;
        match request.fixed() {
            Some(planned) if *planned != made => Err(self.changed(planned, made)),
            _ => Ok(made),
        }
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        let made = self.make(&Request::exact(layout.clone()))?;
        if made.layout != *layout {
            return Err(self.changed(layout, made.layout));
        }
        let (fourcc, modifier, size) = (layout.fourcc(), layout.modifier(), layout.size());
        Ok(sys::private_buffer(
            fourcc,
            modifier,
            size,
            made.objects,
            layout.planes(),
            generation,
        )?)
    }

    /// With the request's usage for every buffer, which a layout alone does not carry.
    fn allocate_set(&self, request: &Request, count: usize, generation: u64) -> Result<Vec<Buffer>, Error> {
        let mut buffers = Vec::<Buffer>::new();
        for _ in 0..count {
            let made = self.make(request)?;
            let planned = buffers.first().map(Buffer::layout).or(request.fixed());
            if let Some(planned) = planned.filter(|planned| **planned != made.layout) {
                return Err(self.changed(planned, made.layout));
            }
            let (fourcc, modifier, size) = (made.layout.fourcc(), made.layout.modifier(), made.layout.size());
            let planes = made.layout.planes();
            buffers.push(sys::private_buffer(
                fourcc,
                modifier,
                size,
                made.objects,
                planes,
                generation,
            )?);
        }
        Ok(buffers)
    }
}

impl Gbm {
    fn changed(&self, planned: &Layout, made: Layout) -> Error {
        Error::Changed {
            device: self.name.clone(),
            planned: Box::new(planned.clone()),
            made: Box::new(made),
        }
    }
}
