//! What can go wrong.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use dmaframe_core::negotiate::NoCommonFormat;
use dmaframe_core::{Fourcc, Modifier, Size};

use crate::describe::DescribeError;
use crate::recorder::PassedOver;

/// What a pipeline failed over, as far as it can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Elements could not agree on a format.
    Negotiation,
    /// A device or a file could not be opened, read or written.
    Resource,
    /// The data could not be handled.
    Stream,
    /// Anything else.
    Other,
}

/// An error message an element posted on the pipeline's bus.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PipelineError {
    /// Name of the element.
    pub element: String,
    /// What kind of failure.
    pub fault: Fault,
    /// What it says.
    pub message: String,
    /// What it says to developers.
    pub debug: Option<String>,
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.element, self.message)?;
        match &self.debug {
            Some(debug) => write!(f, " ({})", debug.replace('\n', " ")),
            None => Ok(()),
        }
    }
}

/// Everything this crate refuses or passes on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// GStreamer cannot be used.
    #[error("GStreamer cannot be initialised: {reason}")]
    Init {
        /// Why.
        reason: String,
    },
    /// An element is missing.
    #[error("there is no element {name}: its plugin is not installed ({reason})")]
    NoElement {
        /// Its name.
        name: &'static str,
        /// What GStreamer says.
        reason: String,
    },
    /// Caps, metadata or memory sizes that describe no picture.
    #[error(transparent)]
    Describe(#[from] DescribeError),
    /// A sample without caps or without a buffer.
    #[error("the sample has no {what}")]
    Incomplete {
        /// What is missing.
        what: &'static str,
    },
    /// Memory that cannot be turned into a frame or a buffer.
    #[error("memory {index}: {reason}")]
    Memory {
        /// Its index in the buffer or frame.
        index: usize,
        /// Why.
        reason: String,
    },
    /// The core refuses.
    #[error(transparent)]
    Core(#[from] dmaframe_core::Error),
    /// No memory for a pool.
    #[error("no pool: {reason}")]
    Pool {
        /// What the allocators say.
        reason: String,
    },
    /// Neighbours share no format.
    #[error("{0}")]
    Negotiation(#[source] Box<NoCommonFormat>),
    /// A pair that caps cannot name, or that the GStreamer library in use has no caps for.
    #[error("GStreamer {major}.{minor} has no caps for {fourcc} {modifier}: {reason}")]
    NoCaps {
        /// The format.
        fourcc: Fourcc,
        /// The modifier.
        modifier: Modifier,
        /// Why.
        reason: &'static str,
        /// Version in use.
        major: u32,
        /// Version in use.
        minor: u32,
    },
    /// An element of the pipeline failed. Nothing moves any more.
    #[error("the pipeline failed: {0}")]
    Pipeline(PipelineError),
    /// The element is not running (or is being flushed): set the pipeline to PAUSED or PLAYING.
    #[error("{element} is {state}: nothing passes")]
    NotRunning {
        /// Its name.
        element: String,
        /// `stopped`, `flushing`.
        state: &'static str,
    },
    /// The end of the stream has been said already.
    #[error("{element} is at the end of its stream")]
    EndOfStream {
        /// Its name.
        element: String,
    },
    /// There was no room before the deadline.
    #[error("{element} has {queued} frames queued, its limit is {limit}, and none left before the deadline")]
    Full {
        /// Its name.
        element: String,
        /// Frames queued.
        queued: u64,
        /// The limit.
        limit: u64,
    },
    /// A file name that does not say what the file is to be.
    #[error("{}: the extension says which file to write: {known}", .file.display())]
    Container {
        /// The file.
        file: PathBuf,
        /// The extensions there are.
        known: String,
    },
    /// No encoder for a file.
    #[error("no encoder for .{extension} files: {}", attempts(.tried))]
    NoEncoder {
        /// The file's extension.
        extension: &'static str,
        /// Each with its reason.
        tried: Vec<PassedOver>,
    },
    /// A recording's pictures cannot change.
    #[error(
        "the {what} of the pictures changed: they are {} {} now, the recording's are {} {}", .now.0, .now.1, .was.0, .was.1
    )]
    PictureChanged {
        /// What is different, in a word: `format`, `size`, `size to be shown`, `colour`, `modifier`, `kind of memory`.
        what: &'static str,
        /// Format and size of the recording.
        was: (Fourcc, Size),
        /// Those of the frame.
        now: (Fourcc, Size),
    },
    /// The end of a file was not written before the deadline.
    #[error("the file was not finished after {waited:?}")]
    Unfinished {
        /// For how long.
        waited: Duration,
    },
    /// A fence that GStreamer would not wait for was still pending at the deadline.
    #[error(
        "the frame's acquire fence was pending at the deadline; GStreamer has no explicit fences to pass it on"
    )]
    FencePending,
}

impl From<Box<NoCommonFormat>> for Error {
    fn from(why: Box<NoCommonFormat>) -> Self {
        Self::Negotiation(why)
    }
}

fn attempts(list: &[PassedOver]) -> String {
    if list.is_empty() {
        return "none of that name".to_owned();
    }
    let texts: Vec<_> = list.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
