//! CPU conversion of every format in the table to RGBA8, NV12 and I420: the fallback path.
//!
//! [`Converter`] honours what the frame says: the visible rect is cropped to, the orientation turned upright, planes
//! found where the layout has them, samples read with the frame's matrix and range. What a frame leaves open is
//! refused or assumed as [`Assume`] says, and [`Converted`] says which. SIMD comes from the `yuv` crate.
//!
//! What it does not do: chroma is not interpolated (each sample serves the pixels it stands for, whatever its siting),
//! and primaries and transfer are not converted but handed on: BT.2020 PQ comes out as BT.2020 PQ in 8 bits, raw
//! Bayer as linear sensor values, without black level or white balance, demosaiced bilinearly. Alpha is kept,
//! straight or premultiplied as it was, and 255 where there is none. Luma code values below limited range's black may
//! come out as black (the crate's SIMD cuts them, its scalar code does not).
//!
//! Everything goes in bands of 16 rows, so that intermediate steps stay in the cache. A frame in memory that others
//! may write is read once, row by row, into scratch.
//!
//! ```
//! use dmaframe_core::convert::{Assume, Converter};
//! use dmaframe_core::{ColorInfo, Deadline, Fourcc, Frame, FrameMeta, Layout, Size};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layout = Layout::tight(Fourcc::NV12, Size::new(2, 2))?;
//! let mut meta = FrameMeta::default();
//! meta.color = ColorInfo::BT709;
//! let frame = Frame::from_bytes(vec![235, 16, 16, 235, 128, 128], &layout, meta)?;
//! let (rgba, done) = Converter::new(Assume::Refuse).rgba_image(&frame, Deadline::NEVER)?;
//! assert_eq!(rgba[..8], [255, 255, 255, 255, 0, 0, 0, 255]);
//! assert!(!done.assumed);
//! # Ok(()) }
//! ```

mod bayer;
mod color;
mod error;
mod kind;
mod orient;
mod planes;
mod rgb;
mod rgba;
mod siting;
mod source;
mod unpack;
mod yuv420;

use std::fmt;

pub use crate::assume::Assume;
pub use error::ConvertError;

use crate::assume::by_size;
use color::{Reading, matrix_of, yuv_range};
use kind::Kind;
use orient::Turn;
use rgba::Job;
use source::Scratch;
use yuv420::{Scratch420, Target, TargetChroma};

use crate::deadline::Deadline;
use crate::format::Fourcc;
use crate::frame::Frame;
use crate::layout::Size;
use crate::meta::{ChromaSiting, ColorInfo, Orientation, Range};
use crate::view::{ReadView, WriteView};

/// What a conversion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// Size of the result: the visible rect, turned upright.
    pub size: Size,
    /// How the source was read: what the frame said, and for the rest what was assumed.
    pub source: ColorInfo,
    /// What the result is.
    pub result: ColorInfo,
    /// Whether the matrix or the range the samples were read with was not the frame's own word.
    pub assumed: bool,
}

/// Converts frames on the CPU, reusing its scratch memory: after the first frame of a size nothing large is allocated
/// any more.
pub struct Converter {
    assume: Assume,
    encode: Option<ColorInfo>,
    scratch: Scratch,
    scratch420: Scratch420,
    pixels: Vec<u8>,
}

impl Converter {
    /// A converter that treats unspecified colour as `assume` says.
    #[must_use]
    pub fn new(assume: Assume) -> Self {
        Self {
            assume,
            encode: None,
            scratch: Scratch::default(),
            scratch420: Scratch420::default(),
            pixels: Vec::new(),
        }
    }

    /// Matrix and range that RGB sources are encoded to NV12 and I420 with. Without it: BT.709 limited for results of
    /// 1280 columns or 577 rows and more, BT.601 limited below. (YUV sources keep their own.)
    #[must_use]
    pub fn encode_as(mut self, color: ColorInfo) -> Self {
        self.encode = Some(color);
        self
    }

    /// Whether frames of this format can be converted.
    #[must_use]
    pub fn reads(fourcc: Fourcc) -> bool {
        Kind::of(fourcc).is_some()
    }

    /// Size of what comes out for this frame: its visible rect, turned upright.
    #[must_use]
    pub fn size(frame: &Frame) -> Size {
        turn(frame).upright()
    }

    /// Converts to bytes R, G, B, A ([`Fourcc::ABGR8888`]), full range, `stride` bytes from row to row. Waits for the
    /// frame's fences until the deadline at most. Bytes of `out` between rows may be written too.
    ///
    /// # Errors
    /// [`ConvertError`].
    pub fn to_rgba(
        &mut self,
        frame: &Frame,
        deadline: impl Into<Deadline>,
        out: &mut [u8],
        stride: usize,
    ) -> Result<Converted, ConvertError> {
        let size = Self::size(frame);
        let row = (size.width as usize).checked_mul(4);
        let needed = row
            .and_then(|row| stride.checked_mul(size.height as usize - 1)?.checked_add(row))
            .ok_or(ConvertError::TooLarge {
                size,
                bytes_per_pixel: 4,
            })?;
        if let Some(row) = row.filter(|row| *row > stride) {
            return Err(ConvertError::Stride {
                found: stride,
                needed: row,
            });
        }
        if out.len() < needed {
            return Err(ConvertError::TooSmall {
                found: out.len(),
                needed,
                size,
            });
        }
        let (kind, reading) = self.reading(frame)?;
        let view = frame.map_read(deadline)?;
        let job = job(frame, &view, kind, reading);
        rgba::picture(
            &job,
            turn(frame),
            out,
            stride,
            &mut self.scratch,
            &mut self.pixels,
        )?;
        Ok(Converted {
            size,
            source: reading.color,
            result: rgb_result(reading),
            assumed: reading.assumed,
        })
    }

    /// [`Self::to_rgba`] into a new vector without padding.
    ///
    /// # Errors
    /// [`ConvertError`].
    pub fn rgba_image(
        &mut self,
        frame: &Frame,
        deadline: impl Into<Deadline>,
    ) -> Result<(Vec<u8>, Converted), ConvertError> {
        let mut out = Vec::new();
        let size = Self::size(frame);
        planes::grow(&mut out, size, 4, 0)?;
        let done = self.to_rgba(frame, deadline, &mut out, size.width as usize * 4)?;
        Ok((out, done))
    }

    /// Converts into a frame of [`Fourcc::ABGR8888`], [`Fourcc::NV12`] or [`Fourcc::YUV420`] (I420), which has to be
    /// the only handle of private memory ([`Frame::map_write`]) and to show exactly [`Self::size`] from its first
    /// pixel on; its coded size may be larger. Time, sequence and extensions are handed on, and the result's colour
    /// is written to the destination's metadata: its chroma siting is where the samples of the result lie, unspecified
    /// where a turn has put them to a place without a name.
    ///
    /// # Errors
    /// [`ConvertError`].
    pub fn to_frame(
        &mut self,
        frame: &Frame,
        out: &mut Frame,
        deadline: impl Into<Deadline>,
    ) -> Result<Converted, ConvertError> {
        let deadline = deadline.into();
        let (target, size, shown) = (out.fourcc(), Self::size(frame), out.visible());
        if !matches!(target, Fourcc::ABGR8888 | Fourcc::NV12 | Fourcc::YUV420) {
            return Err(ConvertError::Target { fourcc: target });
        }
        let found = Size::new(shown.width, shown.height);
        if (shown.x, shown.y) != (0, 0) || found != size {
            return Err(ConvertError::TargetSize {
                found,
                x: shown.x,
                y: shown.y,
                needed: size,
            });
        }
        let done = if target == Fourcc::ABGR8888 {
            let mut to = out.map_write(deadline)?;
            let stride = stride(&to, 0);
            self.to_rgba(frame, deadline, to.plane_mut(0)?, stride)?
        } else {
            let mut to = out.map_write(deadline)?;
            self.write_420(frame, &mut to, deadline)?
        };
        let meta = out.meta_mut()?;
        meta.timestamp = frame.meta().timestamp;
        meta.sequence = frame.meta().sequence;
        meta.extensions = frame.meta().extensions.clone();
        meta.orientation = Orientation::IDENTITY;
        meta.color = done.result;
        Ok(done)
    }

    fn write_420(
        &mut self,
        frame: &Frame,
        to: &mut WriteView<'_>,
        deadline: Deadline,
    ) -> Result<Converted, ConvertError> {
        let (kind, reading) = self.reading(frame)?;
        let target = to.layout().fourcc();
        let turn = turn(frame);
        let size = turn.upright();
        let strides = [stride(to, 0), stride(to, 1), stride(to, 2)];
        let mut planes = to.planes_mut()?.into_iter();
        let (Some(y), Some(first)) = (planes.next(), planes.next()) else {
            return Err(ConvertError::Target { fourcc: target });
        };
        let chroma = match planes.next() {
            Some(second) => TargetChroma::I420([first, second], [strides[1], strides[2]]),
            None => TargetChroma::Nv12(first, strides[1]),
        };
        let mut planes = Target {
            y: (y, strides[0]),
            chroma,
        };
        let view = frame.map_read(deadline)?;
        let job = job(frame, &view, kind, reading);
        let result = if matches!(kind, Kind::Rgb | Kind::Bayer { .. }) {
            let color = self.encode.unwrap_or(by_size(size));
            let matrix = matrix_of(target, color.matrix)?;
            let scratch = (&mut self.scratch, &mut self.pixels);
            let how = (matrix, yuv_range(color.range));
            yuv420::from_rgb(&job, turn, how, &mut planes, scratch, &mut self.scratch420)?;
            encoded(reading, color)
        } else {
            yuv420::from_yuv(&job, turn, &mut planes, &mut self.scratch, &mut self.scratch420)?;
            ColorInfo {
                siting: siting::of_420(kind, reading.color.siting, turn),
                ..reading.color
            }
        };
        Ok(Converted {
            size,
            source: reading.color,
            result,
            assumed: reading.assumed,
        })
    }

    fn reading(&self, frame: &Frame) -> Result<(Kind, Reading), ConvertError> {
        let fourcc = frame.fourcc();
        let kind = Kind::of(fourcc).ok_or(ConvertError::Source { fourcc })?;
        let size = frame.layout().size();
        let reading = Reading::of(fourcc, kind, size, frame.meta().color, self.assume)?;
        Ok((kind, reading))
    }
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converter")
            .field("assume", &self.assume)
            .field("encode", &self.encode)
            .finish_non_exhaustive()
    }
}

fn turn(frame: &Frame) -> Turn {
    let visible = frame.visible();
    Turn::new(frame.meta().orientation, Size::new(visible.width, visible.height))
}

fn job<'a>(frame: &Frame, view: &'a ReadView<'a>, kind: Kind, reading: Reading) -> Job<'a> {
    Job {
        view,
        kind,
        reading,
        visible: frame.visible(),
    }
}

fn stride(view: &WriteView<'_>, plane: usize) -> usize {
    let planes = view.layout().planes();
    planes.get(plane).map_or(0, |plane| plane.stride as usize)
}

/// Full-range RGB of the source's primaries and transfer.
fn rgb_result(reading: Reading) -> ColorInfo {
    ColorInfo {
        matrix: 0,
        range: Range::Full,
        siting: ChromaSiting::Unspecified,
        ..reading.color
    }
}

/// The source's primaries and transfer, where it has said them, in the matrix and range of `color`.
fn encoded(reading: Reading, color: ColorInfo) -> ColorInfo {
    let or = |said: u8, custom: u8| if said == 2 { custom } else { said };
    ColorInfo {
        primaries: or(reading.color.primaries, color.primaries),
        transfer: or(reading.color.transfer, color.transfer),
        matrix: color.matrix,
        range: if color.range == Range::Full {
            Range::Full
        } else {
            Range::Limited
        },
        // The encoder takes the mean of each 2x2 block.
        siting: ChromaSiting::Center,
    }
}
