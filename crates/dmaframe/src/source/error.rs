//! What can go wrong, and what to do then.

use std::path::PathBuf;

/// Why a source cannot be opened. The message says what to do, where something can be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that names no source.
    #[error("'{text}' names no source: {reason}")]
    Text {
        /// The text.
        text: String,
        /// Why not, and what would.
        reason: String,
    },
    /// Text that names no memory.
    #[error("'{text}' names no memory: there are best, camera, udmabuf and heap")]
    Memory {
        /// The text.
        text: String,
    },
    /// The program was built without what the source needs.
    #[error(
        "{source_name} needs the feature `{feature}`, which this program was built without: build it with `--features {feature}`"
    )]
    NotBuilt {
        /// The source asked for.
        source_name: String,
        /// The feature of `dmaframe`.
        feature: &'static str,
    },
    /// There is no such camera.
    #[error("there is no {what}{}", list(.known))]
    NotFound {
        /// What was asked for.
        what: String,
        /// What there is instead.
        known: Vec<String>,
    },
    /// The camera has not got the format asked for, as a frame or as something that is decoded here.
    #[error("{camera} gives no {format} here{}", has(.offered))]
    Format {
        /// The camera.
        camera: String,
        /// The format.
        format: String,
        /// What it has, where that is known.
        offered: Vec<String>,
    },
    /// Camera and consumer share no way, with the reasons.
    #[error(transparent)]
    Plan(#[from] dmaframe_alloc::Error),
    /// The core refuses.
    #[error(transparent)]
    Core(#[from] dmaframe_core::Error),
    /// V4L2.
    #[error(transparent)]
    V4l2(#[from] dmaframe_v4l2::Error),
    /// libcamera.
    #[cfg(feature = "libcamera")]
    #[error(transparent)]
    Libcamera(#[from] dmaframe_libcamera::Error),
    /// PipeWire.
    #[cfg(feature = "pipewire")]
    #[error(transparent)]
    Pipewire(#[from] dmaframe_pipewire::Error),
    /// GStreamer.
    #[cfg(feature = "gstreamer")]
    #[error(transparent)]
    Gstreamer(#[from] dmaframe_gstreamer::Error),
    /// A file that GStreamer cannot play.
    #[error("{} cannot be played: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
}

fn has(offered: &[String]) -> String {
    match offered {
        [] => String::new(),
        offered => format!(": it has {}", offered.join(" ")),
    }
}

fn list(known: &[String]) -> String {
    match known {
        [] => String::new(),
        known => format!(": there are {}", known.join(", ")),
    }
}
