//! What can go wrong, and why a route was refused.

use std::ffi::CStr;
use std::fmt;

use ash::vk;
use dmaframe_core::{Fourcc, Modifier};

/// A way for a frame into Vulkan, or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Route {
    /// Linear dma-buf as `VkBuffer`.
    Buffer,
    /// Dma-buf as `VkImage`, one for each plane.
    Image,
    /// Dma-buf as one multi-planar `VkImage`.
    MultiPlanarImage,
    /// The CPU's pages as `VkBuffer` (`VK_EXT_external_memory_host`).
    HostPointer,
    /// A copy through staging memory.
    Upload,
    /// Memory of the driver's own as dma-buf.
    Export,
}

impl Route {
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buffer => "buffer",
            Self::Image => "image",
            Self::MultiPlanarImage => "multi-planar image",
            Self::HostPointer => "host pointer",
            Self::Upload => "upload",
            Self::Export => "export",
        })
    }
}

/// Why a route does not take a frame. The frame is untouched: imports borrow it.
///
/// A verdict, not a failure: the next route may do, and the same frame format will be refused again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The frame's memory is not a dma-buf.
    #[error("the frame is in CPU memory, not in a dma-buf")]
    NotDmabuf,
    /// The frame's memory is a dma-buf, which this route does not take.
    #[error(
        "the frame is in a dma-buf: pinning its CPU mapping is not portable, import it as buffer or image"
    )]
    IsDmabuf,
    /// Bytes of this process's own, where a memfd is wanted.
    #[error("the buffer is bytes of this process, not a memfd that others can see")]
    NotMemfd,
    /// The driver needs more memory than the object has.
    #[error("object {object} has {found} bytes, the driver needs {needed}")]
    TooSmall {
        /// The object.
        object: usize,
        /// Bytes the driver needs.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// No memory type suits both the resource and the memory.
    #[error(
        "no memory type for object {object}: the resource takes types {resource:#x}, the memory is of {memory:#x}"
    )]
    NoMemoryType {
        /// The object.
        object: usize,
        /// Bit mask of types the resource takes.
        resource: u32,
        /// Bit mask of types the memory can be.
        memory: u32,
    },
    /// The driver does not list the modifier for the format.
    #[error("the driver does not list modifier {modifier} for {fourcc}")]
    ModifierNotListed {
        /// The format.
        fourcc: Fourcc,
        /// The modifier.
        modifier: Modifier,
    },
    /// The buffer route reads rows, and only linear layouts have them.
    #[error("modifier {modifier} is not LINEAR, and a buffer has no layout of its own")]
    NotLinear {
        /// The modifier.
        modifier: Modifier,
    },
    /// The driver wants another number of memory planes.
    #[error("the driver has {driver} memory planes for {fourcc} {modifier}, the frame {frame}")]
    PlaneCount {
        /// The format.
        fourcc: Fourcc,
        /// The modifier.
        modifier: Modifier,
        /// Memory planes the driver has for it.
        driver: u32,
        /// Planes of the frame.
        frame: u32,
    },
    /// The driver's row pitch for a plain linear image is not the frame's.
    #[error("plane {plane}: the driver's row pitch is {driver} bytes, the frame's stride {frame}")]
    PitchMismatch {
        /// The plane.
        plane: usize,
        /// Bytes from row to row as the driver lays them out.
        driver: u64,
        /// The frame's stride.
        frame: u64,
    },
    /// The plane's offset is not one the driver can bind an image at.
    #[error("plane {plane}: offset {offset} is not a multiple of {alignment}")]
    OffsetAlignment {
        /// The plane.
        plane: usize,
        /// Its offset.
        offset: u64,
        /// The driver's alignment.
        alignment: u64,
    },
    /// The device was opened without an extension the route needs.
    #[error("the device has no {} (not supported, or not enabled when it was opened)", .0.to_string_lossy())]
    ExtensionOff(&'static CStr),
    /// The driver cannot use the format so.
    #[error("{}", unusable(*.fourcc, *.format, .usage))]
    FormatUnsupported {
        /// The frame's format.
        fourcc: Fourcc,
        /// The Vulkan format; `UNDEFINED` when there is none.
        format: vk::Format,
        /// As what.
        usage: &'static str,
    },
    /// The picture is larger than the driver's images.
    #[error("{width}x{height} is beyond the driver's {max_width}x{max_height} for this format")]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// The driver's limit.
        max_width: u32,
        /// The driver's limit.
        max_height: u32,
    },
    /// One image over several memory objects, which the driver cannot do for this format.
    #[error("the planes are in {objects} objects, and the driver has no disjoint images of {fourcc}")]
    Disjoint {
        /// The format.
        fourcc: Fourcc,
        /// Distinct memory objects.
        objects: usize,
    },
    /// The driver does not import or export this kind of resource as dma-buf.
    #[error("the driver does not {operation} dma-bufs for this resource")]
    NotShareable {
        /// Import or export.
        operation: &'static str,
    },
    /// The driver has the semaphore extension, but not for sync_files.
    #[error("the driver does not {operation} sync_files as semaphores (SYNC_FD)")]
    NoSyncFd {
        /// Import or export.
        operation: &'static str,
    },
    /// The address or length of CPU memory is not one the driver can pin.
    #[error("{what} {value:#x} is not a multiple of minImportedHostPointerAlignment ({alignment})")]
    HostAlignment {
        /// Address or length.
        what: &'static str,
        /// The number found.
        value: u64,
        /// The driver's alignment in bytes.
        alignment: u64,
    },
    /// The route writes, and the descriptor is open for reading only, or the memfd sealed.
    #[error("object {object} is open for reading only, or sealed against writing")]
    ReadOnly {
        /// The object.
        object: usize,
    },
    /// The device is not a Vulkan one: for layers above that know other APIs too.
    #[error("the device is not a Vulkan one")]
    NotVulkan,
    /// Larger than a limit that the device was opened with.
    #[error("{what} is {value}, the device's limit {limit}")]
    Limit {
        /// What is limited.
        what: &'static str,
        /// The number found.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// Pinning pages costs as much as copying them: it is left until the same memory comes again.
    #[error("the bytes are new: their pages are pinned when they come a second time")]
    FirstTime,
    /// Somebody switched the route off.
    #[error("switched off")]
    SwitchedOff,
    /// A frame operation of the core failed.
    #[error(transparent)]
    Frame(#[from] dmaframe_core::Error),
    /// A Vulkan call failed.
    #[error("{call} failed: {result}")]
    Vk {
        /// The call.
        call: &'static str,
        /// Its result.
        result: vk::Result,
    },
}

/// Everything this crate passes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libvulkan cannot be opened.
    #[error("the Vulkan loader cannot be opened: {reason}")]
    Loader {
        /// What the dynamic linker says.
        reason: String,
    },
    /// No usable physical device.
    #[error("no usable Vulkan device: {found} found, wanted {wanted}")]
    NoDevice {
        /// Devices there are, with why each was passed over.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The device is gone (`VK_ERROR_DEVICE_LOST`): everything made from it has to be dropped.
    #[error("the device was lost in {call}")]
    DeviceLost {
        /// The call that said so.
        call: &'static str,
    },
    /// The instance or the device is too old or lacks a feature.
    #[error("{what} is needed: {found}")]
    Unsupported {
        /// What is needed.
        what: &'static str,
        /// What is there.
        found: String,
    },
    /// One route refused a frame.
    #[error("{route}: {refusal}")]
    Refused {
        /// The route.
        route: Route,
        /// Why.
        refusal: Refusal,
    },
    /// Every route that was tried refused the frame.
    #[error("no route takes the frame: {}", list(.0))]
    NoRoute(Vec<(Route, Refusal)>),
    /// The deadline passed.
    #[error("{what} was not ready at the deadline")]
    Timeout {
        /// What was waited for.
        what: &'static str,
    },
    /// The GPU may still be using the memory.
    #[error("{what} is in use by work that has not finished")]
    Busy {
        /// Which memory.
        what: &'static str,
    },
    /// A copy that reaches outside a resource.
    #[error("{what}: {needed} is past the end at {limit}")]
    OutOfRange {
        /// What.
        what: &'static str,
        /// One past the last byte, row or column asked for.
        needed: u64,
        /// The resource's end.
        limit: u64,
    },
    /// The core refused.
    #[error(transparent)]
    Frame(#[from] dmaframe_core::Error),
    /// A system call failed.
    #[error("{call} failed: {errno}")]
    Os {
        /// The call.
        call: &'static str,
        /// The error number.
        errno: rustix::io::Errno,
    },
    /// A Vulkan call failed.
    #[error("{call} failed: {result}")]
    Vk {
        /// The call.
        call: &'static str,
        /// Its result.
        result: vk::Result,
    },
}

fn unusable(fourcc: Fourcc, format: vk::Format, usage: &str) -> String {
    if format == vk::Format::UNDEFINED {
        return format!("Vulkan has no format for {fourcc} as {usage}");
    }
    format!("{fourcc} ({format:?}) is not usable as {usage}")
}

fn list(refusals: &[(Route, Refusal)]) -> String {
    let texts: Vec<_> = refusals
        .iter()
        .map(|(route, why)| format!("{route}: {why}"))
        .collect();
    texts.join("; ")
}

impl Error {
    /// For `map_err` on a Vulkan call.
    pub(crate) fn vk(call: &'static str) -> impl Fn(vk::Result) -> Self {
        move |result| match result {
            vk::Result::ERROR_DEVICE_LOST => Self::DeviceLost { call },
            result => Self::Vk { call, result },
        }
    }

    /// For `map_err` on a refusal.
    pub(crate) fn refused(route: Route) -> impl Fn(Refusal) -> Self {
        move |refusal| refusal.by(route)
    }

    /// The reason, if a route refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

impl Refusal {
    /// The error that says which route refused: [`Error::Refused`], or [`Error::DeviceLost`] where that is the reason.
    #[must_use]
    pub fn by(self, route: Route) -> Error {
        match self {
            Self::Vk {
                call,
                result: vk::Result::ERROR_DEVICE_LOST,
            } => Error::DeviceLost { call },
            refusal => Error::Refused { route, refusal },
        }
    }

    /// For `map_err` on a Vulkan call.
    pub(crate) fn vk(call: &'static str) -> impl Fn(vk::Result) -> Self {
        move |result| Self::Vk { call, result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_is_its_own_error_wherever_it_shows() {
        let lost = vk::Result::ERROR_DEVICE_LOST;
        let call = "vkAllocateMemory";
        assert_eq!(Error::vk(call)(lost), Error::DeviceLost { call });
        assert_eq!(
            Error::refused(Route::Buffer)(Refusal::vk(call)(lost)),
            Error::DeviceLost { call }
        );
        // Anything else stays what it is.
        let full = vk::Result::ERROR_OUT_OF_DEVICE_MEMORY;
        assert_eq!(Error::vk(call)(full), Error::Vk { call, result: full });
        let refusal = Refusal::vk(call)(full);
        assert_eq!(refusal.clone().by(Route::Image).refusal(), Some(&refusal));
    }

    #[test]
    fn refusals_name_the_object_the_value_and_the_limit() {
        let refusal = Refusal::TooSmall {
            object: 1,
            needed: 8192,
            found: 4096,
        };
        let all = Error::NoRoute(vec![
            (Route::Buffer, refusal),
            (
                Route::HostPointer,
                Refusal::ExtensionOff(ash::ext::external_memory_host::NAME),
            ),
        ]);
        assert_eq!(
            all.to_string(),
            "no route takes the frame: buffer: object 1 has 4096 bytes, the driver needs 8192; host pointer: the \
             device has no VK_EXT_external_memory_host (not supported, or not enabled when it was opened)"
        );
    }
}
