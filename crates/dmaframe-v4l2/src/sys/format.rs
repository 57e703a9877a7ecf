//! Formats: `VIDIOC_G_FMT`, `VIDIOC_TRY_FMT`, `VIDIOC_S_FMT`.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::abi::{self, Format, FormatUnion, PixFormat, PixFormatMplane};
use super::{raw, retry};

/// A picture format as one of the two structures the buffer type calls for.
#[derive(Clone, Copy)]
pub(crate) enum AnyFormat {
    Single(PixFormat),
    Multi(PixFormatMplane),
}

/// Which of the three format ioctls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormatCall {
    Get,
    Try,
    Set,
}

/// `VIDIOC_G_FMT`, `VIDIOC_TRY_FMT` or `VIDIOC_S_FMT` for the CAPTURE or the OUTPUT queue; the driver's answer comes back
/// in `format`, which decides between the single- and the multi-planar buffer type.
pub(crate) fn format(
    fd: BorrowedFd<'_>,
    call: FormatCall,
    output: bool,
    format: &mut AnyFormat,
) -> Result<(), Errno> {
    let mut arg = match *format {
        AnyFormat::Single(pix) => {
            let mut fmt = FormatUnion { raw: [0; 200] };
            fmt.pix = pix;
            Format {
                kind: if output {
                    abi::BUF_TYPE_VIDEO_OUTPUT
                } else {
                    abi::BUF_TYPE_VIDEO_CAPTURE
                },
                fmt,
            }
        }
        AnyFormat::Multi(pix_mp) => {
            let mut fmt = FormatUnion { raw: [0; 200] };
            fmt.pix_mp = pix_mp;
            Format {
                kind: if output {
                    abi::BUF_TYPE_VIDEO_OUTPUT_MPLANE
                } else {
                    abi::BUF_TYPE_VIDEO_CAPTURE_MPLANE
                },
                fmt,
            }
        }
    };
    // SAFETY: as in `calls!`; of the union's members only the overlay window has pointers, and the buffer types set
    // above are the four that do not use it.
    retry(|| unsafe {
        match call {
            FormatCall::Get => raw::g_fmt(fd.as_raw_fd(), &mut arg),
            FormatCall::Try => raw::try_fmt(fd.as_raw_fd(), &mut arg),
            FormatCall::Set => raw::s_fmt(fd.as_raw_fd(), &mut arg),
        }
    })?;
    match format {
        // SAFETY: all 200 bytes were initialised above and every bit pattern is a value of these integers.
        AnyFormat::Single(pix) => *pix = unsafe { arg.fmt.pix },
        // SAFETY: as above.
        AnyFormat::Multi(pix_mp) => *pix_mp = unsafe { arg.fmt.pix_mp },
    }
    Ok(())
}
