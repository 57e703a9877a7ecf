//! What a source is to be.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dmaframe_core::negotiate::{FormatSet, Route, Usage};
use dmaframe_core::{Fourcc, Modifier, Size, format};
#[cfg(feature = "portal")]
use dmaframe_pipewire::portal::Access;
use dmaframe_v4l2::PixelFormat;

use super::Error;

/// Which camera, or what instead of one. From text as people write it: see [`Which::from_str`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Which {
    /// The first camera that works, of V4L2, then of libcamera, then of PipeWire, as far as the features are there; the
    /// synthetic picture when none does.
    #[default]
    Any,
    /// The moving test picture, which needs no camera.
    Synthetic,
    /// A V4L2 node.
    V4l2(PathBuf),
    /// A camera of libcamera's by its id; without one, its first.
    Libcamera(Option<String>),
    /// A PipeWire node by its `node.name` or `object.serial`; without one, the default camera.
    Pipewire(Option<String>),
    /// The cameras that the desktop's portal gives access to, asked for when the source is opened: one by its `node.name`;
    /// without one, the first. Opening then waits for the user, [`Wish::patience`] at most. Needs the feature `portal`.
    Portal(Option<String>),
    /// PipeWire as a portal gave access to it already.
    Remote(Remote),
    /// A video file, or an address that GStreamer reads (`rtsp://...`).
    File(PathBuf),
}

/// What a portal gave to who asked it himself: an application with a window asks over that, or waits in steps.
///
/// ```no_run
/// # #[cfg(feature = "portal")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use dmaframe::pipewire::portal::{self, Request};
/// use dmaframe::source::{Remote, Source, Which, Wish};
///
/// let mut request = Request::screen(portal::PATIENCE)?;
/// let access = loop {
///     // Between steps, the application does what it has to; dropping the request takes the dialogue away.
///     if let Some(access) = request.wait(Duration::from_millis(20))? {
///         break access;
///     }
/// };
/// let wish = Wish::new(Which::Remote(Remote::granted(access, None)));
/// let source = Source::open(&wish, &mut Vec::new())?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "portal"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Remote {
    #[cfg_attr(not(feature = "pipewire"), expect(dead_code, reason = "PipeWire's alone"))]
    pub(super) given: Given,
    #[cfg_attr(not(feature = "pipewire"), expect(dead_code, reason = "PipeWire's alone"))]
    pub(super) node: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) enum Given {
    #[cfg_attr(not(feature = "pipewire"), expect(dead_code, reason = "PipeWire's alone"))]
    Socket(Arc<Mutex<Option<OwnedFd>>>),
    #[cfg(feature = "portal")]
    Access(Arc<Access>),
}

impl Remote {
    /// Takes the descriptor of `OpenPipeWireRemote`, which serves one source: a second one needs another. `node` is the id that
    /// the ScreenCast portal names; without one (the Camera portal) the default camera among those that the portal shows.
    #[must_use]
    pub fn new(fd: OwnedFd, node: Option<u32>) -> Self {
        Self {
            given: Given::Socket(Arc::new(Mutex::new(Some(fd)))),
            node,
        }
    }

    /// What was granted, for any number of sources, which keep it. `node` is the id of one of its
    /// [nodes](Access::nodes); without one, the first.
    #[cfg(feature = "portal")]
    #[must_use]
    pub fn granted(access: impl Into<Arc<Access>>, node: Option<u32>) -> Self {
        Self {
            given: Given::Access(access.into()),
            node,
        }
    }
}

impl FromStr for Which {
    type Err = Error;

    /// | text | is |
    /// | --- | --- |
    /// | `any` | [`Which::Any`] |
    /// | `test` | [`Which::Synthetic`] |
    /// | `/dev/...`, `videoN` | [`Which::V4l2`] |
    /// | `libcamera`, `libcamera:ID` | [`Which::Libcamera`] |
    /// | `pipewire`, `pipewire:NODE` | [`Which::Pipewire`] |
    /// | `portal`, `portal:NODE` | [`Which::Portal`] |
    /// | `file:PATH`, `scheme://...`, a name with a dot or a slash | [`Which::File`] |
    ///
    /// # Errors
    /// [`Error::Text`] for anything else.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |reason: &str| Error::Text {
            text: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if !text.starts_with('/') => (scheme, Some(rest)),
            _ => (text, None),
        };
        let name = |what: &str| match rest {
            Some("") => Err(refused(&format!("after '{what}:' there is no name"))),
            rest => Ok(rest.map(str::to_owned)),
        };
        Ok(match scheme {
            "" => return Err(refused("it is empty")),
            "any" if rest.is_none() => Self::Any,
            "test" if rest.is_none() => Self::Synthetic,
            "libcamera" => Self::Libcamera(name("libcamera")?),
            "pipewire" => Self::Pipewire(name("pipewire")?),
            "portal" => Self::Portal(name("portal")?),
            "file" if rest.is_some() => Self::File(name("file")?.unwrap_or_default().into()),
            _ if text.contains("://") => Self::File(text.into()),
            _ if text.starts_with("/dev/") => Self::V4l2(text.into()),
            _ if node(text) => Self::V4l2(Path::new("/dev").join(text)),
            _ if text.contains(['.', '/']) => Self::File(text.into()),
            _ => {
                return Err(refused(
                    "there are test, /dev/videoN, libcamera[:ID], pipewire[:NODE], portal[:NODE] and a file's name",
                ));
            }
        })
    }
}

/// `video0`.
fn node(text: &str) -> bool {
    let number = text.strip_prefix("video");
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Which {
    /// As [`Which::from_str`] reads it; a portal's remote is `portal` too, which asks anew.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Synthetic => f.write_str("test"),
            Self::V4l2(path) => path.display().fmt(f),
            Self::Libcamera(None) => f.write_str("libcamera"),
            Self::Libcamera(Some(id)) => write!(f, "libcamera:{id}"),
            Self::Pipewire(None) => f.write_str("pipewire"),
            Self::Pipewire(Some(name)) => write!(f, "pipewire:{name}"),
            Self::Portal(None) | Self::Remote(_) => f.write_str("portal"),
            Self::Portal(Some(name)) => write!(f, "portal:{name}"),
            Self::File(path) if path.to_string_lossy().contains("://") => path.display().fmt(f),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Whose memory a camera fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Memory {
    /// Whatever [`plan`](dmaframe_alloc::plan()) finds cheapest for the consumer: the driver's own before given.
    #[default]
    Best,
    /// The driver's own buffers, exported.
    Own,
    /// Buffers of `/dev/udmabuf`, imported by the driver.
    Udmabuf,
    /// Buffers of the system dma-heap, imported by the driver.
    Heap,
}

impl FromStr for Memory {
    type Err = Error;

    /// `best`, `camera` (the driver's own), `udmabuf`, `heap`.
    ///
    /// # Errors
    /// [`Error::Memory`].
    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "best" => Self::Best,
            "camera" => Self::Own,
            "udmabuf" => Self::Udmabuf,
            "heap" => Self::Heap,
            _ => {
                return Err(Error::Memory {
                    text: text.to_owned(),
                });
            }
        })
    }
}

/// What is handed out of a camera that fills its buffers again whoever holds a frame in one of them. PipeWire's own nodes for
/// V4L2 and libcamera cameras do, and so do those cameras through a portal; nothing else does: of everything else, a frame
/// shows its picture for as long as it is held, in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unguarded {
    /// A copy of each picture. The default, because nobody else knows how long a frame is held: an encoder, a photo or another
    /// application that has it for a fifth of a second would have another picture than it was given, or parts of two, and
    /// could not see it. A copy is slower and right, and the [hop](super::Source::hop) says that it is made, and why.
    #[default]
    Copy,
    /// The camera's own memory: no copy, and dma-bufs where the node has them. For consumers that are done with a picture when
    /// the next ones come, as a preview is. [`Stats::overwritten`](super::Stats::overwritten) counts what went wrong.
    InPlace,
}

/// What to open, and how the pictures are to be. A camera may give the nearest that it has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Wish {
    /// Which camera.
    pub which: Which,
    /// The size. 1280 x 720 unless said otherwise.
    pub size: Size,
    /// Frames a second. 30 unless said otherwise.
    pub fps: u32,
    /// The format, by V4L2's code, which tells NV12 in one dma-buf from NV12 in two; other sources are asked for the
    /// frame that it is. What has not got it is [`Error::Format`]; PipeWire says so after it was opened, as
    /// [`Next::Gone`](super::Next::Gone). Without it, the cheapest that camera and consumer share.
    pub format: Option<PixelFormat>,
    /// Whose memory V4L2 cameras fill.
    pub memory: Memory,
    /// What the frames' consumer takes: a GPU importer's set, an encoder's. [`readable`] unless said otherwise.
    pub consumer: FormatSet,
    /// Whether there are pictures while the camera is gone: see [`Placeholder`](super::Placeholder).
    pub placeholder: bool,
    /// What is handed out of cameras that fill their buffers again whoever holds them: copies unless said otherwise.
    pub unguarded: Unguarded,
    /// How long the user may take to answer a portal's dialogue, during which [`Source::open`](super::Source::open) blocks.
    /// A minute unless said otherwise.
    pub patience: Duration,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            which: Which::Any,
            size: Size::new(1280, 720),
            fps: 30,
            format: None,
            memory: Memory::Best,
            consumer: readable(),
            placeholder: false,
            unguarded: Unguarded::default(),
            patience: Duration::from_secs(60),
        }
    }
}

impl Wish {
    /// This camera, and defaults for everything else.
    #[must_use]
    pub fn new(which: Which) -> Self {
        Self {
            which,
            ..Self::default()
        }
    }

    /// Asks for this size.
    #[must_use]
    pub fn size(mut self, size: Size) -> Self {
        self.size = size;
        self
    }

    /// Asks for so many frames a second; 0 counts as 1.
    #[must_use]
    pub fn fps(mut self, fps: u32) -> Self {
        self.fps = fps.max(1);
        self
    }

    /// Asks for this format and no other.
    #[must_use]
    pub fn format(mut self, format: impl Into<Option<PixelFormat>>) -> Self {
        self.format = format.into();
        self
    }

    /// Says whose memory.
    #[must_use]
    pub fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Says what the consumer takes.
    #[must_use]
    pub fn consumer(mut self, consumer: FormatSet) -> Self {
        self.consumer = consumer;
        self
    }

    /// Says whether there are pictures while the camera is gone.
    #[must_use]
    pub fn placeholder(mut self, placeholder: bool) -> Self {
        self.placeholder = placeholder;
        self
    }

    /// Says what is handed out of cameras that fill their buffers again whoever holds them.
    #[must_use]
    pub fn unguarded(mut self, unguarded: Unguarded) -> Self {
        self.unguarded = unguarded;
        self
    }

    /// Says how long a portal's dialogue may stand.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The frame format asked for.
    pub(super) fn fourcc(&self) -> Option<Fourcc> {
        self.format.and_then(|format| Some(format.frame()?.fourcc))
    }

    /// What a source that negotiates by itself may give: the one asked for, or the consumer's.
    #[cfg(any(feature = "gstreamer", feature = "pipewire"))]
    pub(super) fn formats(&self, camera: &str) -> Result<FormatSet, Error> {
        match (self.format, self.fourcc()) {
            (None, _) => Ok(self.consumer.clone()),
            (_, Some(fourcc)) => Ok(FormatSet::new("the format asked for").with(fourcc, Modifier::LINEAR)),
            (Some(asked), None) => Err(Error::Format {
                camera: camera.to_owned(),
                format: format!("{asked} that is a frame"),
                offered: Vec::new(),
            }),
        }
    }
}

/// Every format that the CPU converter and the GPU converters of this project read, in linear rows, shared or copied: the
/// consumer who takes everything.
#[must_use]
pub fn readable() -> FormatSet {
    let all = || format::all_formats().iter().map(|info| info.fourcc);
    let mut set = FormatSet::new("any consumer").with_usage(Usage::Cpu);
    for route in [Route::Dmabuf, Route::Mapped] {
        set = set.by(route);
        for fourcc in all().filter(|fourcc| dmaframe_core::convert::Converter::reads(*fourcc)) {
            set.insert(fourcc, Modifier::LINEAR);
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read_and_written_back() {
        for (text, written) in [
            ("any", "any"),
            ("test", "test"),
            ("/dev/video2", "/dev/video2"),
            ("video7", "/dev/video7"),
            ("/dev/v4l/by-id/usb-A:B-index0", "/dev/v4l/by-id/usb-A:B-index0"),
            ("libcamera", "libcamera"),
            ("libcamera:\\_SB_.PCI0:1", "libcamera:\\_SB_.PCI0:1"),
            ("pipewire", "pipewire"),
            ("pipewire:v4l2_input.pci-0000", "pipewire:v4l2_input.pci-0000"),
            ("portal", "portal"),
            ("portal:v4l2_input.pci-0000", "portal:v4l2_input.pci-0000"),
            ("holiday.mkv", "file:holiday.mkv"),
            ("./videos/a:b", "file:./videos/a:b"),
            ("file:no-dot", "file:no-dot"),
            ("rtsp://door/live", "rtsp://door/live"),
        ] {
            let which: Which = text.parse().unwrap();
            assert_eq!(which.to_string(), written, "{text}");
            let again: Which = written.parse().unwrap();
            assert_eq!(again.to_string(), written, "{text}, read back");
        }
    }

    #[test]
    fn memory_is_read_by_its_name() {
        let read = ["best", "camera", "udmabuf", "heap"].map(|name| name.parse::<Memory>().unwrap());
        assert_eq!(read, [Memory::Best, Memory::Own, Memory::Udmabuf, Memory::Heap]);
        let error = "ram".parse::<Memory>().unwrap_err();
        assert!(error.to_string().contains("there are best, camera"), "{error}");
    }

    #[test]
    fn what_names_no_source_is_refused_with_what_there_is() {
        for (text, part) in [
            ("", "empty"),
            ("tset", "there are test, /dev/videoN"),
            ("video", "there are test"),
            ("pipewire:", "no name"),
            ("file:", "no name"),
            ("portal:", "no name"),
        ] {
            let error = text.parse::<Which>().unwrap_err();
            assert!(matches!(&error, Error::Text { text: named, .. } if named == text));
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
