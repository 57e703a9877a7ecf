//! Where frames go: a recording, a virtual camera, a file of pictures, another thread; one type for each, one trait for all. One
//! picture alone is a `Photo` (feature `photo`), or the planes as they are ([`dump()`]).
//!
//! ```
//! use dmaframe::report::PathReport;
//! use dmaframe::sink::{self, Fanout, Opening};
//! use dmaframe::source::{Source, Wish};
//! use std::time::Duration;
//!
//! # #[cfg(not(feature = "source"))] fn main() {}
//! # #[cfg(feature = "source")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let file = std::env::temp_dir().join(format!("dmaframe-sink-{}.y4m", std::process::id()));
//! let mut source = Source::open(&Wish::new("test".parse()?), &mut Vec::new())?;
//! let first = source.next(Duration::from_secs(1)).into_frame().ok_or("no picture")?;
//!
//! let opening = Opening::of(&first).framerate(30, 1);
//! let mut sinks = Fanout::new();
//! sinks.push(sink::pictures(&file, &opening)?); // and: record(), virtual_camera(), your own
//! let path = PathReport::new();
//! sinks.report(&path);
//! for _ in 0..3 {
//!     if let Some(frame) = source.next(Duration::from_secs(1)).into_frame() {
//!         for failed in sinks.take(&frame) {
//!             println!("{failed}"); // the others go on
//!         }
//!     }
//! }
//! for summary in sinks.finish() {
//!     println!("{}", summary?); // file: ... (3 frames, ... bytes, 0 dropped)
//! }
//! println!("{path}"); // file(...)   CPU bytes/frame: 1382400
//! # std::fs::remove_file(file)?;
//! # Ok(())
//! # }
//! ```
//!
//! **Whose frames.** A sink borrows the frame it is given and keeps a clone for as long as its consumers read the memory; a
//! frame that is refused is still the caller's, unchanged.
//!
//! **Waiting.** A sink of a live camera does not wait for its consumer: it drops what that one has no time for, counts it in
//! its hop, and holds up neither the camera nor other sinks. [`Opening::patience`] makes it wait instead, for programs that
//! must not lose a picture and whose source can wait. Files of raw pictures are written by the caller's thread, as fast as
//! the disk is. A picture that a GPU has not finished yet is another matter: an encoder in software and a copy have to wait for
//! it, one frame's time at most, and it is dropped and counted when it takes longer.
//!
//! **Threads.** A sink may move between threads and is used by one at a time. GStreamer and PipeWire have threads of their
//! own; nothing else here has.

#[cfg(feature = "pipewire")]
mod camera;
mod dump;
mod error;
mod fanout;
mod latest;
#[cfg(feature = "photo")]
mod photo;
mod planes;
mod ready;
#[cfg(feature = "gstreamer")]
mod recording;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::report::Hop;
use dmaframe_core::{Buffer, Frame};

pub use dump::dump;
pub use error::Error;
pub use fanout::{Failed, Fanout};
pub use latest::Latest;
#[cfg(feature = "photo")]
pub use photo::Photo;

/// Something that takes frames.
pub trait Sink: Send {
    /// Takes one frame: the sink keeps a clone for as long as its consumers need it.
    ///
    /// # Errors
    /// The sink takes no more; a frame that there was no time for is [`Taken::Dropped`] instead.
    fn take(&mut self, frame: &Frame) -> Result<Taken, Error>;

    /// The hop to its consumers, which counts while the sink works.
    fn hop(&self) -> &Arc<Hop>;

    /// Ends it: a file is whole then, and a virtual camera gone. Waits for that, at most [`FINISH`] for an encoder.
    ///
    /// # Errors
    /// The end could not be written: the file may not play.
    fn finish(self: Box<Self>) -> Result<Summary, Error>;
}

/// How long an encoder may take for its last pictures.
pub const FINISH: Duration = Duration::from_secs(10);

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Taken {
    /// Consumers have the frame's own memory.
    Shared,
    /// They have a copy of so many bytes.
    Copied(u64),
    /// Nobody has it, and why.
    Dropped(&'static str),
}

/// What has come of a sink. Its text is one line for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Summary {
    /// `file`, `recording`, `virtual camera`.
    pub kind: &'static str,
    /// The file, or the camera's name.
    pub name: String,
    /// What encoded it, or else.
    pub by: Option<String>,
    /// Frames that consumers got.
    pub frames: u64,
    /// Of those, copied, where consumers may get both.
    pub copied: Option<u64>,
    /// Frames dropped because a consumer was slower than the camera.
    pub dropped: u64,
    /// Bytes of the file, where it is one.
    pub bytes: Option<u64>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({} frames, ", self.kind, self.name, self.frames)?;
        if let Some(copied) = self.copied {
            write!(f, "{copied} of them copied, ")?;
        }
        if let Some(bytes) = self.bytes {
            write!(f, "{bytes} bytes, ")?;
        }
        if let Some(by) = &self.by {
            write!(f, "{by}, ")?;
        }
        write!(f, "{} dropped)", self.dropped)
    }
}

/// What a sink is opened with: the first picture, and what is known of those that follow.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    #[cfg_attr(
        not(any(feature = "gstreamer", feature = "pipewire")),
        expect(dead_code, reason = "for these")
    )]
    first: &'a Frame,
    buffers: Vec<Arc<Buffer>>,
    framerate: (u32, u32),
    patience: Duration,
}

impl<'a> Opening<'a> {
    /// For pictures like this one; the frame itself is not taken. 30 of them in a second, and without patience, unless said
    /// otherwise.
    #[must_use]
    pub fn of(first: &'a Frame) -> Self {
        Self {
            first,
            buffers: Vec::new(),
            framerate: (30, 1),
            patience: Duration::ZERO,
        }
    }

    /// How many pictures come, as a fraction: what the file or consumers are told. Times are the frames' own where a
    /// consumer has times.
    #[must_use]
    pub fn framerate(mut self, frames: u32, seconds: u32) -> Self {
        self.framerate = (frames, seconds.max(1));
        self
    }

    /// All memory that frames will be in, where that is known (a pool's, an export pool's): a virtual camera gives dma-bufs
    /// among it to others as they are, and copies everything else.
    #[must_use]
    pub fn buffers(mut self, buffers: impl IntoIterator<Item = Arc<Buffer>>) -> Self {
        self.buffers = buffers.into_iter().collect();
        self
    }

    /// How long a frame may wait for a consumer, or be waited for. Zero, for live sources, unless said otherwise: it is dropped
    /// then.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long a picture's producer may still be at work on it: nobody is held up for longer than pictures come anyway.
    fn unready(&self) -> Duration {
        let (frames, seconds) = self.framerate;
        let period = Duration::from_secs(seconds.into()).checked_div(frames);
        self.patience.max(period.unwrap_or(Duration::from_millis(33)))
    }
}

/// A file of pictures as they are, upright and the visible part only: `.y4m` for players and encoders, under any other name
/// raw NV12, one behind another. What is not in that format is converted by the CPU; an existing file is replaced.
///
/// Taking a frame blocks until it is written. What a GPU has not finished is waited for as long as [`Opening::patience`] says,
/// one frame's time at least, and dropped then.
///
/// # Errors
/// [`Error::File`].
pub fn pictures(file: impl Into<PathBuf>, opening: &Opening<'_>) -> Result<Box<dyn Sink>, Error> {
    Ok(Box::new(planes::Planes::create(file.into(), opening)?))
}

/// A recording: the container by the file's extension (mkv, mp4, mov, webm), the encoder the best one that takes the
/// frames. An existing file is replaced. `notes` gets a line for people about the encoder, and each that was passed over.
///
/// Opening it tries encoders, which takes up to some hundred milliseconds. Taking a frame waits for room in the encoder's
/// queue for as long as [`Opening::patience`] says. Dropped without [`Sink::finish`], the file is ended within 5 s.
///
/// # Errors
/// [`Error::NotBuilt`] without the feature `gstreamer`, and `Error::Gstreamer`.
#[cfg_attr(
    not(feature = "gstreamer"),
    expect(unused_variables, clippy::ptr_arg, reason = "refused")
)]
pub fn record(
    file: impl AsRef<Path>,
    opening: &Opening<'_>,
    notes: &mut Vec<String>,
) -> Result<Box<dyn Sink>, Error> {
    #[cfg(feature = "gstreamer")]
    return recording::start(file.as_ref(), opening, notes);
    #[cfg(not(feature = "gstreamer"))]
    Err(Error::NotBuilt {
        sink: "recording",
        feature: "gstreamer",
        packages: "libgstreamer-plugins-base1.0-dev",
    })
}

/// A camera of this name in every application that looks for cameras through PipeWire.
///
/// Frames in [`Opening::buffers`] are given to them as they are, if those are dma-bufs; others are copied once into memory
/// that the applications have. Pictures of another format or size than the first make consumers negotiate again. While
/// nobody watches, frames are not counted as dropped in the [`Summary`].
///
/// # Errors
/// [`Error::NotBuilt`] without the feature `pipewire`, and `Error::Pipewire`.
#[cfg_attr(not(feature = "pipewire"), expect(unused_variables, reason = "refused"))]
pub fn virtual_camera(name: &str, opening: &Opening<'_>) -> Result<Box<dyn Sink>, Error> {
    #[cfg(feature = "pipewire")]
    return camera::start(name, opening);
    #[cfg(not(feature = "pipewire"))]
    Err(Error::NotBuilt {
        sink: "a virtual camera",
        feature: "pipewire",
        packages: "libpipewire-0.3-dev libclang-dev",
    })
}
