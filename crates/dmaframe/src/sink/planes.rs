//! Files of pictures that nobody encoded: `.y4m`, or raw NV12.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::convert::{Assume, ConvertError, Converter};
use dmaframe_core::report::Hop;
use dmaframe_core::{
    ChromaSiting, ColorInfo, Deadline, Fourcc, Frame, FrameMeta, Layout, Orientation, Range, Size,
};

use super::ready::{LATE, is_pending, unready};
use super::{Error, Opening, Sink, Summary, Taken};

pub(super) struct Planes {
    path: PathBuf,
    file: BufWriter<File>,
    fourcc: Fourcc,
    framerate: (u32, u32),
    unready: Duration,
    converter: Converter,
    /// The one that is written, without padding; always the same memory.
    picture: Option<Frame>,
    /// Of all pictures in the file.
    size: Option<Size>,
    frames: u64,
    dropped: u64,
    bytes: u64,
    hop: Arc<Hop>,
}

impl Planes {
    pub(super) fn create(path: PathBuf, opening: &Opening<'_>) -> Result<Self, Error> {
        let file = File::create(&path).map_err(Error::file(&path))?;
        let y4m = path
            .extension()
            .is_some_and(|known| known.eq_ignore_ascii_case("y4m"));
        Ok(Self {
            file: BufWriter::new(file),
            // Players know the three planes; NV12 is what everything else here speaks.
            fourcc: if y4m { Fourcc::YUV420 } else { Fourcc::NV12 },
            framerate: opening.framerate,
            unready: opening.unready(),
            converter: Converter::new(Assume::Auto),
            picture: None,
            size: None,
            frames: 0,
            dropped: 0,
            bytes: 0,
            hop: Hop::new(format!("file({})", path.display())),
            path,
        })
    }

    fn miss(&mut self, why: &'static str) -> Taken {
        self.dropped += 1;
        self.hop.dropped(why);
        Taken::Dropped(why)
    }

    /// Writes the picture without padding, and gives its bytes.
    fn write(&mut self, frame: &Frame, size: Size, deadline: Deadline) -> Result<u64, Error> {
        let picture = match &mut self.picture {
            Some(picture) => picture,
            empty => empty.insert(blank(self.fourcc, size)?),
        };
        let as_it_is = frame.fourcc() == self.fourcc
            && frame.layout().size() == size
            && frame.meta().orientation == Orientation::IDENTITY;
        let color = if as_it_is {
            let from = frame.map_read(deadline)?;
            picture.map_write(deadline)?.copy_from(&from)?;
            frame.meta().color
        } else {
            // By the CPU, for what no GPU has turned into it.
            self.converter.to_frame(frame, picture, deadline)?.result
        };
        let view = picture.map_read(deadline)?;
        let mut before = String::new();
        if self.fourcc == Fourcc::YUV420 {
            if self.bytes == 0 {
                before = header(size, self.framerate, color);
            }
            before.push_str("FRAME\n");
        }
        let failed = || Error::file(&self.path);
        self.file.write_all(before.as_bytes()).map_err(failed())?;
        for plane in 0..view.layout().planes().len() {
            self.file.write_all(view.plane(plane)?).map_err(failed())?;
        }
        let bytes = view.layout().tight_len();
        self.bytes += before.len() as u64 + bytes;
        Ok(bytes)
    }
}

impl Sink for Planes {
    fn take(&mut self, frame: &Frame) -> Result<Taken, Error> {
        let deadline = Deadline::after(self.unready);
        if let Some(why) = unready(frame, deadline)? {
            return Ok(self.miss(why));
        }
        let now = Converter::size(frame);
        let was = *self.size.get_or_insert(now);
        if was != now {
            let path = self.path.clone();
            return Err(Error::SizeChanged { path, was, now });
        }
        match self.write(frame, now, deadline) {
            Ok(bytes) => {
                self.frames += 1;
                self.hop.cpu_copy(bytes, "a file is written by the CPU");
                Ok(Taken::Copied(bytes))
            }
            // By the fences on the memory itself.
            Err(Error::Core(error) | Error::Convert(ConvertError::Frame(error))) if is_pending(&error) => {
                Ok(self.miss(LATE))
            }
            Err(error) => Err(error),
        }
    }

    fn hop(&self) -> &Arc<Hop> {
        &self.hop
    }

    fn finish(mut self: Box<Self>) -> Result<Summary, Error> {
        self.file.flush().map_err(Error::file(&self.path))?;
        Ok(Summary {
            kind: "file",
            name: self.path.display().to_string(),
            by: None,
            frames: self.frames,
            copied: None,
            dropped: self.dropped,
            bytes: Some(self.bytes),
        })
    }
}

fn blank(fourcc: Fourcc, size: Size) -> Result<Frame, Error> {
    let layout = Layout::tight(fourcc, size).map_err(dmaframe_core::Error::from)?;
    let bytes = usize::try_from(layout.tight_len()).unwrap_or(usize::MAX);
    Ok(Frame::from_bytes(vec![0; bytes], &layout, FrameMeta::default())?)
}

/// <https://wiki.multimedia.cx/index.php/YUV4MPEG2>; the range is an extension that FFmpeg and mpv read.
fn header(size: Size, (frames, seconds): (u32, u32), color: ColorInfo) -> String {
    let chroma = match color.siting {
        // The nearest there is for chroma on the lower row.
        ChromaSiting::Left | ChromaSiting::BottomLeft => "420mpeg2",
        _ => "420jpeg",
    };
    let range = match color.range {
        Range::Full => "FULL",
        _ => "LIMITED",
    };
    let Size { width, height } = size;
    format!("YUV4MPEG2 W{width} H{height} F{frames}:{seconds} Ip A1:1 C{chroma} XCOLORRANGE={range}\n")
}
