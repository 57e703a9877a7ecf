#![doc = include_str!("../README.md")]
#![deny(unsafe_op_in_unsafe_fn)]

pub mod caps;
mod clock;
mod copy;
pub mod describe;
mod error;
mod export;
mod fences;
mod import;
mod later;
mod pool;
mod recorder;
mod shells;
mod signals;
mod sink;
mod source;
mod sys;
mod tags;

pub use error::{Error, Fault, PipelineError};
pub use export::{Exporter, to_buffer};
pub use import::{Importer, from_sample};
pub use recorder::{Encoder, EncoderChoice, PassedOver, Recorder, RecorderBuilder, Recording};
pub use sink::{Backpressure, FrameSink, FrameSinkBuilder, FrameStream, Received, SinkStats};
pub use source::{FrameSrc, FrameSrcBuilder, Pacing, Ready, SrcStats, Timing};
