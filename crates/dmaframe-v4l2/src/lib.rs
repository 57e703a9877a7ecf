#![doc = include_str!("../README.md")]
#![deny(unsafe_op_in_unsafe_fn)]

mod capture;
mod color;
mod controls;
mod device;
mod enumerate;
mod error;
mod event;
mod format;
mod interval;
mod layout;
mod m2m;
mod pixelformat;
mod queue;
mod sys;
mod view;

pub use capture::{Capture, CaptureBuilder};
pub use color::RawColor;
pub use controls::{Control, ControlKind, ControlRef, MenuItem};
pub use device::{Capabilities, Device, Listed, Queue, list};
pub use dmaframe_core::capture::{Captured, Stats};
pub use enumerate::{Intervals, OfferedFormat, Sizes};
pub use error::Error;
pub use event::{Event, EventKind};
pub use format::{Field, Format, FormatRequest, MemoryPlane};
pub use interval::Interval;
pub use m2m::{
    Conversion, Converter, Decoder, Encoder, Item, ListedM2m, Mem2Mem, Mem2MemBuilder, Output, Role, list_m2m,
};
pub use pixelformat::{FrameFormat, PixelFormat};
pub use view::{Input, Selection, SelectionTarget};
