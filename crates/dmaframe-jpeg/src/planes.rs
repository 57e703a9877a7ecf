//! From the entropy-coded data to planes.

use arrayvec::ArrayVec;
use dmaframe_core::{MAX_PLANES, Size};
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::{JpegDecoder, RawImcuRowStatus};

use crate::decoder::Limits;
use crate::error::Error;

/// Decodes into planes of `strides` bytes a row, each ending with its last sample at the earliest. `size` and `rows` (of
/// each plane) are what the frame was made for.
pub(crate) fn decode(
    bytes: &[u8],
    limits: Limits,
    size: Size,
    planes: &mut [&mut [u8]],
    strides: &[usize],
    rows: &[usize],
) -> Result<(), Error> {
    let damaged = |error: zune_jpeg::errors::DecodeErrors| {
        if error.is_recoverable_eof() {
            Error::Truncated { bytes: bytes.len() }
        } else {
            Error::Damaged {
                reason: error.to_string(),
            }
        }
    };
    // Strict: what does not decode is an error, not a grey block.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(limits.size.width as usize)
        .set_max_height(limits.size.height as usize)
        .jpeg_set_max_scans(limits.scans);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let found = decoder
        .info()
        .map(|info| Size::new(info.width.into(), info.height.into()));
    let mut raw = decoder.raw_output();
    if found != Some(size) || raw.num_components() != Some(planes.len()) {
        return Err(Error::Damaged {
            reason: format!(
                "its headers name another picture than {size} in {} components",
                planes.len()
            ),
        });
    }
    let mut done = [0usize; MAX_PLANES];
    loop {
        let mut rest: ArrayVec<&mut [u8], MAX_PLANES> = planes
            .iter_mut()
            .zip(strides)
            .zip(&done)
            .map(|((plane, stride), done)| {
                let start = done.saturating_mul(*stride).min(plane.len());
                &mut plane[start..]
            })
            .collect();
        match raw.decode_next_imcu_row(&mut rest, strides).map_err(damaged)? {
            RawImcuRowStatus::RowReady { rows_written } => {
                for (done, written) in done.iter_mut().zip(rows_written) {
                    *done += written;
                }
            }
            RawImcuRowStatus::Complete => break,
            _ => return Err(Error::Truncated { bytes: bytes.len() }),
        }
    }
    if done.iter().zip(rows).any(|(done, rows)| done != rows) {
        return Err(Error::Truncated { bytes: bytes.len() });
    }
    Ok(())
}
