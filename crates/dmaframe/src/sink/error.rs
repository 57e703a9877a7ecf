//! What can go wrong, and what to do then.

use std::path::PathBuf;

use dmaframe_core::Size;
use dmaframe_core::convert::ConvertError;

/// Why a sink cannot be opened, or takes no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program was built without what the sink needs.
    #[error(
        "{sink} needs the feature `{feature}`: build with `--features {feature}` (on Debian: {packages})"
    )]
    NotBuilt {
        /// What was asked for.
        sink: &'static str,
        /// The feature of `dmaframe`.
        feature: &'static str,
        /// What it links.
        packages: &'static str,
    },
    /// A file that cannot be made or written.
    #[error("{} cannot be written: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// A file whose name does not say what it is to be.
    #[cfg(feature = "photo")]
    #[error("{}: {known}", path.display())]
    Extension {
        /// The file.
        path: PathBuf,
        /// What there is.
        known: &'static str,
    },
    /// A file's pictures are all of one size.
    #[error("the pictures became {now}, those in {} are {was}", path.display())]
    SizeChanged {
        /// The file.
        path: PathBuf,
        /// The first picture's size.
        was: Size,
        /// This one's.
        now: Size,
    },
    /// The reader wants no more pictures.
    #[error("the reader of the newest picture has closed it")]
    Closed,
    /// The CPU cannot read the frame, or not before the deadline.
    #[error(transparent)]
    Core(#[from] dmaframe_core::Error),
    /// No conversion to what is in the file.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// GStreamer.
    #[cfg(feature = "gstreamer")]
    #[error(transparent)]
    Gstreamer(#[from] dmaframe_gstreamer::Error),
    /// PipeWire.
    #[cfg(feature = "pipewire")]
    #[error(transparent)]
    Pipewire(#[from] dmaframe_pipewire::Error),
}

impl Error {
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { path, error }
    }
}
