#![doc = include_str!("../README.md")]
#![forbid(unsafe_op_in_unsafe_fn)]

mod assume;
mod bitstream;
mod borrows;
mod buffer;
pub mod capture;
#[cfg(feature = "convert")]
pub mod convert;
mod deadline;
mod error;
mod fence;
mod fit;
pub mod format;
mod frame;
mod layout;
mod lease;
mod meta;
pub mod negotiate;
mod object;
mod parts;
pub mod quirks;
pub mod raw;
pub mod report;
mod shared;
mod sync;
mod sys;
mod view;

pub use assume::Assume;
pub use bitstream::{Bitstream, BitstreamView, Codec};
pub use buffer::{Buffer, BufferId, DeviceClaim, next_generation};
pub use deadline::Deadline;
pub use error::{Error, LayoutError, Rejected};
pub use fence::{Fence, FenceInfo, Fences, SyncFile, Timeline, TimelineDevice, TimelinePoint, Waited};
pub use fit::Misfit;
pub use format::{Fourcc, Modifier};
pub use frame::{ContentId, CpuFrame, DmabufFrame, Frame};
pub use layout::{Layout, MAX_PLANES, Plane, Rect, Size};
pub use lease::{Budget, Delivery, Lease, ReturnQueue, Returned, Starvation};
pub use meta::{
    ChromaSiting, Clock, ColorInfo, Extensions, FrameMeta, Orientation, Range, Rotation, Timestamp,
};
pub use object::{Access, Identity, Object, ObjectKind, ObjectProbe};
pub use parts::FrameParts;
/// The system's error numbers, as [`Error`] and [`Waited`] carry them.
pub use rustix::io::Errno;
pub use view::{ReadView, WriteView};
