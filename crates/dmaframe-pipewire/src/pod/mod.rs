//! SPA pods without libpipewire: what peers send, read from bytes and believed nothing; what we send, written.
//!
//! A pod is a size, a type and a body, padded to 8 bytes, in the machine's own byte order (`spa/pod/pod.h`). Everything
//! here works on slices: a fuzzer reaches it without a daemon. Of a peer's [`VideoFormat`] and [`DataBlock`]s come
//! formats and planes; whether descriptors and sizes hold, the core asks the kernel.
//!
//! ```
//! use dmaframe_core::{Fourcc, Modifier, Size};
//! use dmaframe_pipewire::pod::{FormatOffer, Modifiers, VideoFormat};
//! let offer = FormatOffer::new(Fourcc::NV12, Size::new(640, 480)).modifiers([Modifier::LINEAR, Modifier::INVALID]);
//! let seen = VideoFormat::parse(offer.to_pod().as_bytes())?;
//! assert_eq!(seen.modifiers, Modifiers::Open(vec![Modifier::LINEAR, Modifier::INVALID]));
//! # Ok::<(), dmaframe_pipewire::pod::PodError>(())
//! ```

mod blocks;
mod color;
mod enums;
mod format;
mod ids;
mod one_block;
mod params;
mod read;
mod write;

pub use blocks::{BlockError, Blocks, Chunk, DataBlock, DataKind, MAX_BLOCKS};
pub use format::{FormatOffer, Modifiers, VideoFormat, formats_of};
pub use ids::{fourcc_of_spa, spa_of_fourcc};
#[cfg(feature = "link")]
pub(crate) use one_block::{gstreamers_planes, in_proportion};
#[cfg(feature = "link")]
pub(crate) use params::{BuffersOffer, meta, meta_with_features};
pub use read::{PodError, Value};
pub use write::PodBuf;

#[cfg(feature = "link")]
pub(crate) use color::{orientation_of, transform_of};
#[cfg(feature = "link")]
pub(crate) use enums::{data, meta_type, param};
