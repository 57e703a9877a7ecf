//! Files of pictures that nobody encoded: `.y4m`, or raw NV12.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::report::Hop;
use dmaframe_core::{
    ChromaSiting, ColorInfo, Deadline, Fourcc, Frame, FrameMeta, Layout, Orientation, Range, Size,
};

use super::{Error, Opening, Sink, Summary, Taken};

pub(super) struct Planes {
    path: PathBuf,
    file: BufWriter<File>,
    fourcc: Fourcc,
    framerate: (u32, u32),
    converter: Converter,
    /// What frames of other formats are converted to.
    converted: Option<Frame>,
    /// Of all pictures in the file.
    size: Option<Size>,
    tight: Vec<u8>,
    frames: u64,
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
            converter: Converter::new(Assume::Auto),
            converted: None,
            size: None,
            tight: Vec::new(),
            frames: 0,
            bytes: 0,
            hop: Hop::new(format!("file({})", path.display())),
            path,
        })
    }

    /// The picture's bytes without padding, into `self.tight`.
    fn read(&mut self, frame: &Frame, size: Size) -> Result<ColorInfo, Error> {
        let as_it_is = frame.fourcc() == self.fourcc
            && frame.layout().size() == size
            && frame.meta().orientation == Orientation::IDENTITY;
        if as_it_is {
            self.copy(frame)?;
            return Ok(frame.meta().color);
        }
        // By the CPU, for what no GPU has turned into it; always the same memory.
        let mut to = match self.converted.take() {
            Some(to) => to,
            None => blank(self.fourcc, size)?,
        };
        let done = self.converter.to_frame(frame, &mut to, Deadline::NEVER)?;
        self.copy(&to)?;
        self.converted = Some(to);
        Ok(done.result)
    }

    fn copy(&mut self, frame: &Frame) -> Result<(), Error> {
        let bytes = usize::try_from(frame.layout().tight_len()).unwrap_or(usize::MAX);
        self.tight.resize(bytes, 0);
        Ok(frame.map_read(Deadline::NEVER)?.copy_tight(&mut self.tight)?)
    }

    fn write(&mut self, size: Size, color: ColorInfo) -> io::Result<()> {
        if self.fourcc == Fourcc::YUV420 {
            let mut before = String::new();
            if self.bytes == 0 {
                before = header(size, self.framerate, color);
            }
            before.push_str("FRAME\n");
            self.file.write_all(before.as_bytes())?;
            self.bytes += before.len() as u64;
        }
        self.file.write_all(&self.tight)?;
        self.bytes += self.tight.len() as u64;
        Ok(())
    }
}

impl Sink for Planes {
    fn take(&mut self, frame: &Frame) -> Result<Taken, Error> {
        let now = Converter::size(frame);
        let was = *self.size.get_or_insert(now);
        if was != now {
            let path = self.path.clone();
            return Err(Error::SizeChanged { path, was, now });
        }
        let color = self.read(frame, now)?;
        self.write(now, color).map_err(Error::file(&self.path))?;
        let bytes = self.tight.len() as u64;
        self.frames += 1;
        self.hop.cpu_copy(bytes, "a file is written by the CPU");
        Ok(Taken::Copied(bytes))
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
            dropped: 0,
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
