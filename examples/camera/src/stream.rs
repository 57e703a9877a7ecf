//! Frames into a file: `.y4m` for players, anything else raw NV12, one picture behind another.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use dmaframe::convert::{Assume, Converter};
use dmaframe::report::Hop;
use dmaframe::{ChromaSiting, ColorInfo, Deadline, Fourcc, Frame, FrameMeta, Layout, Range, Size};

/// A file of pictures of one size.
pub(crate) struct Stream {
    file: BufWriter<File>,
    y4m: bool,
    fps: u32,
    size: Option<Size>,
    hop: Arc<Hop>,
}

impl Stream {
    pub(crate) fn create(path: &Path, fps: u32) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self {
            file: BufWriter::new(file),
            y4m: path.extension().is_some_and(|extension| extension == "y4m"),
            fps,
            size: None,
            hop: Hop::new(format!("file({})", path.display())),
        })
    }

    pub(crate) fn hop(&self) -> Arc<Hop> {
        Arc::clone(&self.hop)
    }

    /// Appends a picture: upright and visible part only.
    pub(crate) fn write(&mut self, frame: &Frame) -> Result<()> {
        let size = Converter::size(frame);
        if *self.size.get_or_insert(size) != size {
            anyhow::bail!(
                "the pictures became {size}, the file's are {}",
                self.size.unwrap_or(size)
            );
        }
        let whole = frame.fourcc() == Fourcc::NV12 && size == frame.layout().size();
        let (bytes, color) = if whole && frame.meta().orientation == Default::default() {
            (frame.map_read(Deadline::NEVER)?.to_tight()?, frame.meta().color)
        } else {
            converted(frame, size)?
        };
        self.hop
            .cpu_copy(bytes.len() as u64, "a file is written by the CPU");
        if !self.y4m {
            return Ok(self.file.write_all(&bytes)?);
        }
        if self.hop.counts().frames == 1 {
            self.file.write_all(header(size, self.fps, color).as_bytes())?;
        }
        let luma = size.width as usize * size.height as usize;
        let (luma, chroma) = bytes.split_at(luma.min(bytes.len()));
        self.file.write_all(b"FRAME\n")?;
        self.file.write_all(luma)?;
        for channel in 0..2 {
            let samples: Vec<u8> = chroma.iter().skip(channel).step_by(2).copied().collect();
            self.file.write_all(&samples)?;
        }
        Ok(())
    }

    /// Everything is in the file.
    pub(crate) fn finish(mut self) -> Result<()> {
        Ok(self.file.flush()?)
    }
}

/// By the CPU, for frames that no GPU has turned into NV12.
fn converted(frame: &Frame, size: Size) -> Result<(Vec<u8>, ColorInfo)> {
    let layout = Layout::tight(Fourcc::NV12, size)?;
    let bytes = vec![0; usize::try_from(layout.tight_len())?];
    let mut out = Frame::from_bytes(bytes, &layout, FrameMeta::default())?;
    let done = Converter::new(Assume::Auto).to_frame(frame, &mut out, Deadline::NEVER)?;
    Ok((out.map_read(Deadline::NEVER)?.to_tight()?, done.result))
}

fn header(size: Size, fps: u32, color: ColorInfo) -> String {
    let chroma = match color.siting {
        ChromaSiting::Left => "420mpeg2",
        _ => "420jpeg",
    };
    let range = if color.range == Range::Full {
        "FULL"
    } else {
        "LIMITED"
    };
    format!(
        "YUV4MPEG2 W{} H{} F{fps}:1 Ip A1:1 C{chroma} XCOLORRANGE={range}\n",
        size.width, size.height
    )
}
