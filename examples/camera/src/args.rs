//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use dmaframe::Size;
use dmaframe::v4l2::PixelFormat;

/// Capture frames without copying them, write the last one as a PNG, and say what every hop cost.
#[derive(Parser, Debug)]
#[command(name = "camera", version)]
pub(crate) struct Args {
    /// What to do instead of capturing.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The camera: a device path, or `test` for the built-in picture [default: the first camera that works].
    #[arg(long)]
    pub(crate) device: Option<String>,
    /// Size asked for; a camera may give the nearest it has.
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = size)]
    pub(crate) size: Size,
    /// Pixel format by its four characters (V4L2's code), for example NV12, YUYV, NM12 [default: the cheapest offered].
    #[arg(long, value_name = "FOURCC", value_parser = pixel_format)]
    pub(crate) format: Option<PixelFormat>,
    /// Frames a second asked for; a camera may give the nearest it has.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) fps: u32,
    /// How many frames.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) frames: u64,
    /// Where the last frame goes.
    #[arg(long, alias = "output", value_name = "FILE", default_value = "camera.png")]
    pub(crate) out: PathBuf,
    /// What the GPU does to each frame: none, mono, sepia, noir, vignette, blur, edge, pixelate, mirror, or a .wgsl file,
    /// which may change meanwhile.
    #[arg(long, value_name = "NAME or FILE")]
    pub(crate) filter: Option<String>,
    /// Where all frames go: a .y4m file, or raw NV12 under any other name.
    #[arg(long, value_name = "FILE")]
    pub(crate) stream: Option<PathBuf>,
    /// Whose memory a camera fills.
    #[arg(long, value_enum, default_value_t = Memory::Camera)]
    pub(crate) memory: Memory,
}

/// Subcommands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// List cameras, their formats and sizes, and the allocators of this machine.
    List,
}

/// Whose memory a camera fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Memory {
    /// The driver's own buffers, exported as dma-bufs.
    Camera,
    /// Buffers of /dev/udmabuf, imported by the driver.
    Udmabuf,
    /// Buffers of the system dma-heap, imported by the driver.
    Heap,
}

fn size(text: &str) -> Result<Size, String> {
    let bad = || format!("'{text}' is not WIDTHxHEIGHT, for example 1280x720");
    let (width, height) = text.split_once(['x', 'X']).ok_or_else(bad)?;
    let number = |part: &str| {
        part.parse()
            .ok()
            .filter(|n| (1..=65_536).contains(n))
            .ok_or_else(bad)
    };
    Ok(Size::new(number(width)?, number(height)?))
}

fn pixel_format(text: &str) -> Result<PixelFormat, String> {
    let padded = format!("{text:4}");
    let code =
        <[u8; 4]>::try_from(padded.as_bytes()).map_err(|_| format!("'{text}' is not four characters"))?;
    Ok(PixelFormat(u32::from_le_bytes(code)))
}
