//! The command line.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use dmaframe::Size;
use dmaframe::source::Memory;
use dmaframe::v4l2::PixelFormat;

/// Capture frames without copying them, write the last one as a PNG, and say what every hop cost.
#[derive(Parser, Clone, Debug)]
#[command(name = "camera", version)]
pub(crate) struct Args {
    /// What to do instead of capturing.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The camera: /dev/videoN, libcamera or libcamera:ID, pipewire or pipewire:NODE, portal or portal:NODE (asks you),
    /// a file's name, or `test` for the built-in picture [default: the first camera that works].
    #[arg(long, global = true)]
    pub(crate) device: Option<String>,
    /// Size asked for; a camera may give the nearest it has.
    #[arg(long, global = true, value_name = "WxH", default_value = "1280x720")]
    pub(crate) size: Size,
    /// Pixel format by its four characters (V4L2's code), for example NV12, YUYV, NM12 [default: the cheapest offered].
    #[arg(long, global = true, value_name = "FOURCC")]
    pub(crate) format: Option<PixelFormat>,
    /// Frames a second asked for; a camera may give the nearest it has.
    #[arg(long, global = true, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) fps: u32,
    /// How many frames [default: 120; for a recording or virtual camera until Ctrl-C, of a preview until its window is
    /// closed, for a photo 5, of which the last is taken].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// For how long.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: Option<u64>,
    /// Record too: mkv, mp4, mov or webm, by the best encoder there is.
    #[arg(long = "record", global = true, value_name = "FILE")]
    record_too: Option<PathBuf>,
    /// Be a camera for other applications too.
    #[arg(long = "virtual-camera", global = true, value_name = "NAME", num_args = 0..=1, default_missing_value = "dmaframe")]
    publish_too: Option<String>,
    /// Where the last frame goes: a .png or .jpg file.
    #[arg(long, alias = "output", value_name = "FILE", default_value = "camera.png")]
    pub(crate) out: PathBuf,
    /// What the GPU does to each frame: none, mono, sepia, noir, vignette, blur, edge, pixelate, mirror, or a .wgsl file,
    /// which may change meanwhile.
    #[arg(long, global = true, value_name = "NAME or FILE")]
    pub(crate) filter: Option<String>,
    /// Where all frames go: a .y4m file, or raw NV12 under any other name.
    #[arg(long, value_name = "FILE")]
    pub(crate) stream: Option<PathBuf>,
    /// Whose memory a camera fills: its own (camera), what it imports (udmabuf, heap), or the first that works (best).
    #[arg(long, global = true, value_name = "MEMORY", default_value = "camera")]
    pub(crate) memory: Memory,
}

/// Subcommands.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum Command {
    /// List cameras, their formats and sizes, and the allocators of this machine.
    List,
    /// Record, until Ctrl-C, --frames or --seconds.
    Record {
        /// mkv, mp4, mov or webm, by the best encoder there is.
        file: PathBuf,
    },
    /// Be a camera that other applications see, through PipeWire, until Ctrl-C.
    VirtualCamera {
        /// What they call it.
        #[arg(long, default_value = "dmaframe")]
        name: String,
    },
    /// Take one picture, through the filter if one is asked for.
    Photo {
        /// A .jpg or .png file.
        file: PathBuf,
        /// The planes as the camera gave them too, and FILE.txt, which says where they are.
        #[arg(long, value_name = "FILE")]
        raw: Option<PathBuf>,
    },
    /// Show the camera in a window. Keys: q or Esc quit, m mirror, r rotate, f next filter, p photo, i info, space freeze.
    Preview(Preview),
}

/// How a preview begins.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Preview {
    /// Without the text over the picture.
    #[arg(long)]
    pub(crate) no_info: bool,
    /// Mirrored left to right, as people expect to see themselves.
    #[arg(long)]
    pub(crate) mirror: bool,
    /// Turned clockwise by so many degrees: 90, 180 or 270.
    #[arg(long, value_name = "DEGREES", default_value_t = 0)]
    pub(crate) rotate: i64,
}

impl Args {
    /// How many frames, where there is an end.
    pub(crate) fn frames(&self) -> Option<u64> {
        let others = self.seconds.is_some() || self.record_too.is_some() || self.publish_too.is_some();
        self.frames.or(match self.command {
            Some(Command::Photo { .. }) => Some(5),
            None if !others => Some(120),
            _ => None,
        })
    }

    /// Whether every frame is looked at, and the last one kept: the job without a name.
    pub(crate) fn looks(&self) -> bool {
        self.command.is_none()
    }

    pub(crate) fn previews(&self) -> bool {
        matches!(self.command, Some(Command::Preview(_)))
    }

    pub(crate) fn record(&self) -> Option<&Path> {
        match &self.command {
            Some(Command::Record { file }) => Some(file),
            _ => self.record_too.as_deref(),
        }
    }

    pub(crate) fn virtual_camera(&self) -> Option<&str> {
        match &self.command {
            Some(Command::VirtualCamera { name }) => Some(name),
            _ => self.publish_too.as_deref(),
        }
    }

    /// A photo's file, and the one for its planes.
    pub(crate) fn photo(&self) -> Option<(&Path, Option<&Path>)> {
        match &self.command {
            Some(Command::Photo { file, raw }) => Some((file, raw.as_deref())),
            _ => None,
        }
    }

    /// Where the last frame goes.
    pub(crate) fn picture(&self) -> Option<&Path> {
        let file = self.photo().map(|(file, _)| file);
        file.or(self.looks().then_some(&self.out))
    }
}
