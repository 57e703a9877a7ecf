//! The kernel's structures of `include/uapi/linux/videodev2.h`, and the constants this crate uses.
//!
//! Written out rather than taken from libc because libc has none, and because `struct v4l2_buffer` there depends on
//! the C library's `time_t`. The kernel (5.6 and later) takes the 64-bit layout on every architecture, so `i64`
//! stands for both halves of the time here and `repr(C)` gives each target's own alignment: 4 bytes on i386, 8
//! elsewhere. The sizes are asserted below, since they are part of the ioctl numbers.

use std::ffi::c_void;

pub(crate) const VIDEO_MAX_PLANES: usize = 8;
pub(crate) const VIDEO_MAX_FRAME: u32 = 32;

pub(crate) const BUF_TYPE_VIDEO_CAPTURE: u32 = 1;
pub(crate) const BUF_TYPE_VIDEO_OUTPUT: u32 = 2;
pub(crate) const BUF_TYPE_VIDEO_CAPTURE_MPLANE: u32 = 9;
pub(crate) const BUF_TYPE_VIDEO_OUTPUT_MPLANE: u32 = 10;

pub(crate) const MEMORY_MMAP: u32 = 1;
pub(crate) const MEMORY_DMABUF: u32 = 4;

pub(crate) const FIELD_ANY: u32 = 0;
pub(crate) const FIELD_NONE: u32 = 1;

pub(crate) const CAP_VIDEO_CAPTURE: u32 = 0x0000_0001;
pub(crate) const CAP_VIDEO_CAPTURE_MPLANE: u32 = 0x0000_1000;
pub(crate) const CAP_VIDEO_M2M_MPLANE: u32 = 0x0000_4000;
pub(crate) const CAP_VIDEO_M2M: u32 = 0x0000_8000;
pub(crate) const CAP_READWRITE: u32 = 0x0100_0000;
pub(crate) const CAP_STREAMING: u32 = 0x0400_0000;
pub(crate) const CAP_DEVICE_CAPS: u32 = 0x8000_0000;

pub(crate) const FMT_FLAG_COMPRESSED: u32 = 0x0001;
pub(crate) const FMT_FLAG_EMULATED: u32 = 0x0002;
pub(crate) const PIX_FMT_PRIV_MAGIC: u32 = 0xfeed_cafe;

pub(crate) const FRMSIZE_TYPE_DISCRETE: u32 = 1;
pub(crate) const FRMSIZE_TYPE_CONTINUOUS: u32 = 2;
pub(crate) const FRMSIZE_TYPE_STEPWISE: u32 = 3;
pub(crate) const FRMIVAL_TYPE_DISCRETE: u32 = 1;
pub(crate) const FRMIVAL_TYPE_CONTINUOUS: u32 = 2;
pub(crate) const FRMIVAL_TYPE_STEPWISE: u32 = 3;

pub(crate) const CAP_TIMEPERFRAME: u32 = 0x1000;

pub(crate) const BUF_CAP_SUPPORTS_DMABUF: u32 = 1 << 2;

pub(crate) const BUF_FLAG_KEYFRAME: u32 = 0x0000_0008;
pub(crate) const BUF_FLAG_PFRAME: u32 = 0x0000_0010;
pub(crate) const BUF_FLAG_BFRAME: u32 = 0x0000_0020;
pub(crate) const BUF_FLAG_ERROR: u32 = 0x0000_0040;
pub(crate) const BUF_FLAG_TIMESTAMP_MASK: u32 = 0x0000_e000;
pub(crate) const BUF_FLAG_TIMESTAMP_MONOTONIC: u32 = 0x0000_2000;
#[cfg(test)]
pub(crate) const BUF_FLAG_TIMESTAMP_COPY: u32 = 0x0000_4000;
pub(crate) const BUF_FLAG_LAST: u32 = 0x0010_0000;

pub(crate) const CODEC_CMD_START: u32 = 0;
pub(crate) const CODEC_CMD_STOP: u32 = 1;

pub(crate) const SEL_TGT_CROP: u32 = 0x0000;
pub(crate) const SEL_TGT_CROP_DEFAULT: u32 = 0x0001;
pub(crate) const SEL_TGT_CROP_BOUNDS: u32 = 0x0002;
pub(crate) const SEL_TGT_NATIVE_SIZE: u32 = 0x0003;
pub(crate) const SEL_TGT_COMPOSE: u32 = 0x0100;
pub(crate) const SEL_TGT_COMPOSE_DEFAULT: u32 = 0x0101;
pub(crate) const SEL_TGT_COMPOSE_BOUNDS: u32 = 0x0102;
pub(crate) const SEL_TGT_COMPOSE_PADDED: u32 = 0x0103;

pub(crate) const IN_ST_NO_POWER: u32 = 0x0000_0001;
pub(crate) const IN_ST_NO_SIGNAL: u32 = 0x0000_0002;
pub(crate) const IN_ST_HFLIP: u32 = 0x0000_0010;
pub(crate) const IN_ST_VFLIP: u32 = 0x0000_0020;

pub(crate) const CTRL_TYPE_INTEGER: u32 = 1;
pub(crate) const CTRL_TYPE_BOOLEAN: u32 = 2;
pub(crate) const CTRL_TYPE_MENU: u32 = 3;
pub(crate) const CTRL_TYPE_BUTTON: u32 = 4;
pub(crate) const CTRL_TYPE_INTEGER64: u32 = 5;
pub(crate) const CTRL_TYPE_CTRL_CLASS: u32 = 6;
pub(crate) const CTRL_TYPE_STRING: u32 = 7;
pub(crate) const CTRL_TYPE_BITMASK: u32 = 8;
pub(crate) const CTRL_TYPE_INTEGER_MENU: u32 = 9;

pub(crate) const CTRL_FLAG_DISABLED: u32 = 0x0001;
pub(crate) const CTRL_FLAG_GRABBED: u32 = 0x0002;
pub(crate) const CTRL_FLAG_READ_ONLY: u32 = 0x0004;
pub(crate) const CTRL_FLAG_INACTIVE: u32 = 0x0010;
pub(crate) const CTRL_FLAG_WRITE_ONLY: u32 = 0x0040;
pub(crate) const CTRL_FLAG_VOLATILE: u32 = 0x0080;
pub(crate) const CTRL_FLAG_HAS_PAYLOAD: u32 = 0x0100;
pub(crate) const CTRL_FLAG_NEXT_CTRL: u32 = 0x8000_0000;
pub(crate) const CTRL_FLAG_NEXT_COMPOUND: u32 = 0x4000_0000;

pub(crate) const CID_HFLIP: u32 = 0x0098_0914;
pub(crate) const CID_VFLIP: u32 = 0x0098_0915;
pub(crate) const CID_MIN_BUFFERS_FOR_CAPTURE: u32 = 0x0098_0927;
pub(crate) const CID_MIN_BUFFERS_FOR_OUTPUT: u32 = 0x0098_0928;
pub(crate) const CID_CAMERA_SENSOR_ROTATION: u32 = 0x009a_0923;
pub(crate) const CID_MPEG_VIDEO_GOP_SIZE: u32 = 0x0099_09cb;
pub(crate) const CID_MPEG_VIDEO_BITRATE: u32 = 0x0099_09cf;
pub(crate) const CID_MPEG_VIDEO_FORCE_KEY_FRAME: u32 = 0x0099_09e5;

pub(crate) const EVENT_EOS: u32 = 2;
pub(crate) const EVENT_CTRL: u32 = 3;
pub(crate) const EVENT_SOURCE_CHANGE: u32 = 5;

/// A plain structure of this file: every bit pattern, zero included, is a value of it.
///
/// # Safety
/// Only for `repr(C)` structures of integers, arrays, unions of those, and pointers that are only stored.
pub(crate) unsafe trait Plain: Copy {
    /// All bytes zero, as the kernel wants its reserved fields.
    fn zeroed() -> Self {
        // SAFETY: the trait's own condition: zero is a value of the type.
        unsafe { std::mem::zeroed() }
    }
}

macro_rules! plain {
    ($($(#[$meta:meta])* struct $name:ident { $($field:ident: $ty:ty,)* } size $s64:literal, $s32:literal;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy)]
        #[repr(C)]
        #[allow(dead_code, reason = "the kernel's layout, not all of it is read")]
        pub(crate) struct $name { $(pub(crate) $field: $ty,)* }
        // SAFETY: integers, arrays, unions of them and stored pointers only, laid out by repr(C).
        unsafe impl Plain for $name {}
        #[cfg(target_pointer_width = "64")]
        const _: () = assert!(size_of::<$name>() == $s64);
        // i386 aligns `long long` to 4 bytes; other 32-bit ABIs to 8 and have the 64-bit padding.
        #[cfg(target_arch = "x86")]
        const _: () = assert!(size_of::<$name>() == $s32);
    )*};
}

plain! {
    struct Capability {
        driver: [u8; 16], card: [u8; 32], bus_info: [u8; 32],
        version: u32, capabilities: u32, device_caps: u32, reserved: [u32; 3],
    } size 104, 104;

    struct FmtDesc {
        index: u32, kind: u32, flags: u32, description: [u8; 32], pixelformat: u32, mbus_code: u32, reserved: [u32; 3],
    } size 64, 64;

    struct Fract { numerator: u32, denominator: u32, } size 8, 8;

    struct SelRect { left: i32, top: i32, width: u32, height: u32, } size 16, 16;

    /// The union of discrete (first two words) and stepwise (all six).
    struct FrmSizeEnum {
        index: u32, pixel_format: u32, kind: u32, value: [u32; 6], reserved: [u32; 2],
    } size 44, 44;

    /// The union of discrete (first fraction) and stepwise (min, max, step).
    struct FrmIvalEnum {
        index: u32, pixel_format: u32, width: u32, height: u32, kind: u32, value: [Fract; 3], reserved: [u32; 2],
    } size 52, 52;

    struct PixFormat {
        width: u32, height: u32, pixelformat: u32, field: u32, bytesperline: u32, sizeimage: u32, colorspace: u32,
        private: u32, flags: u32, ycbcr_enc: u32, quantization: u32, xfer_func: u32,
    } size 48, 48;

    struct PlanePixFormat { sizeimage: u32, bytesperline: u32, reserved: [u16; 6], } size 20, 20;

    /// Packed in C, with no padding to lose: 20 + 8 * 20 + 12 bytes.
    struct PixFormatMplane {
        width: u32, height: u32, pixelformat: u32, field: u32, colorspace: u32,
        plane_fmt: [PlanePixFormat; VIDEO_MAX_PLANES],
        num_planes: u8, flags: u8, ycbcr_enc: u8, quantization: u8, xfer_func: u8, reserved: [u8; 7],
    } size 192, 192;

    struct Format { kind: u32, fmt: FormatUnion, } size 208, 204;

    struct CaptureParm {
        capability: u32, capturemode: u32, timeperframe: Fract, extendedmode: u32, readbuffers: u32, reserved: [u32; 4],
        // Up to the union's 200 bytes.
        rest: [u32; 40],
    } size 200, 200;

    /// Of an OUTPUT queue the same: `struct v4l2_outputparm` has its fields in the same places.
    struct StreamParm { kind: u32, capture: CaptureParm, } size 204, 204;

    struct EncoderCmd { cmd: u32, flags: u32, raw: [u32; 8], } size 40, 40;

    /// The union begins with a 64-bit time stamp.
    struct DecoderCmd { cmd: u32, flags: u32, raw: [u64; 8], } size 72, 72;

    struct RequestBuffers {
        count: u32, kind: u32, memory: u32, capabilities: u32, flags: u8, reserved: [u8; 3],
    } size 20, 20;

    struct Timeval { sec: i64, usec: i64, } size 16, 16;

    struct Timecode { kind: u32, flags: u32, value: [u8; 8], } size 16, 16;

    struct PlaneBuf {
        bytesused: u32, length: u32, m: PlaneUnion, data_offset: u32, reserved: [u32; 11],
    } size 64, 60;

    struct Buffer {
        index: u32, kind: u32, bytesused: u32, flags: u32, field: u32, timestamp: Timeval, timecode: Timecode,
        sequence: u32, memory: u32, m: BufferUnion, length: u32, reserved2: u32, request_fd: i32,
    } size 88, 76;

    struct ExportBuffer {
        kind: u32, index: u32, plane: u32, flags: u32, fd: i32, reserved: [u32; 11],
    } size 64, 64;

    struct Selection {
        kind: u32, target: u32, flags: u32, r: SelRect, reserved: [u32; 9],
    } size 64, 64;

    struct Input {
        index: u32, name: [u8; 32], kind: u32, audioset: u32, tuner: u32, std: u64, status: u32, capabilities: u32,
        reserved: [u32; 3],
    } size 80, 76;

    struct QueryExtCtrl {
        id: u32, kind: u32, name: [u8; 32], minimum: i64, maximum: i64, step: u64, default_value: i64, flags: u32,
        elem_size: u32, elems: u32, nr_of_dims: u32, dims: [u32; 4], reserved: [u32; 32],
    } size 232, 232;

    /// Packed in C; as bytes for the name or an `i64` for the value, which would be misaligned as a field.
    struct QueryMenu { id: u32, index: u32, item: [u8; 32], reserved: u32, } size 44, 44;

    struct ExtControls {
        which: u32, count: u32, error_idx: u32, request_fd: i32, reserved: [u32; 1], controls: *mut ExtControl,
    } size 32, 24;

    struct EventSubscription { kind: u32, id: u32, flags: u32, reserved: [u32; 5], } size 32, 32;

    struct Event {
        kind: u32, u: EventUnion, pending: u32, sequence: u32, timestamp: Timeval, id: u32, reserved: [u32; 8],
    } size 136, 128;
}

/// Packed in C: the 64-bit value is at offset 12.
#[derive(Clone, Copy)]
#[repr(C, packed)]
#[allow(dead_code, reason = "the kernel's layout, not all of it is read")]
pub(crate) struct ExtControl {
    pub(crate) id: u32,
    pub(crate) size: u32,
    pub(crate) reserved2: u32,
    /// The union of a 32-bit value (low half on little endian), a 64-bit value and pointers.
    pub(crate) value: ExtControlUnion,
}
const _: () = assert!(size_of::<ExtControl>() == 20);

#[derive(Clone, Copy)]
#[repr(C, packed)]
#[allow(dead_code, reason = "the kernel's layout, not all of it is read")]
pub(crate) union ExtControlUnion {
    pub(crate) value: i32,
    pub(crate) value64: i64,
    pub(crate) ptr: *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
#[allow(dead_code, reason = "the kernel's layout, not all of it is read")]
pub(crate) union FormatUnion {
    pub(crate) pix: PixFormat,
    pub(crate) pix_mp: PixFormatMplane,
    pub(crate) raw: [u8; 200],
    /// `struct v4l2_window` has pointers: they give the union its alignment.
    pub(crate) align: *mut c_void,
}

#[derive(Clone, Copy)]
#[repr(C)]
#[allow(dead_code, reason = "the kernel's layout, not all of it is read")]
pub(crate) union PlaneUnion {
    pub(crate) mem_offset: u32,
    pub(crate) userptr: usize,
    pub(crate) fd: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
#[allow(dead_code, reason = "the kernel's layout, not all of it is read")]
pub(crate) union BufferUnion {
    pub(crate) offset: u32,
    pub(crate) userptr: usize,
    pub(crate) planes: *mut PlaneBuf,
    pub(crate) fd: i32,
}

#[derive(Clone, Copy)]
#[repr(C)]
#[allow(dead_code, reason = "the kernel's layout, not all of it is read")]
pub(crate) union EventUnion {
    pub(crate) src_changes: u32,
    pub(crate) data: [u8; 64],
    /// `struct v4l2_event_ctrl` has an `__s64`: it gives the union its alignment.
    pub(crate) align: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// Offsets by the header, for the fields that are read: 64 bit, and i386 where it differs.
    #[test]
    fn fields_stand_where_the_kernel_reads_them() {
        let (timestamp, sequence, m, length) = if cfg!(target_arch = "x86") {
            (20, 52, 60, 64)
        } else {
            (24, 56, 64, 72)
        };
        assert_eq!(offset_of!(Buffer, timestamp), timestamp);
        assert_eq!(offset_of!(Buffer, sequence), sequence);
        assert_eq!(offset_of!(Buffer, m), m);
        if cfg!(any(target_pointer_width = "64", target_arch = "x86")) {
            assert_eq!(offset_of!(Buffer, length), length);
        }
        assert_eq!(offset_of!(ExtControl, value), 12);
        assert_eq!(offset_of!(PixFormatMplane, num_planes), 180);
        assert_eq!(offset_of!(Format, fmt), size_of::<*mut u8>());
        assert_eq!(offset_of!(QueryExtCtrl, flags), 72);
        assert_eq!(offset_of!(StreamParm, capture), 4);
        assert_eq!(offset_of!(PlaneBuf, data_offset), 8 + size_of::<*mut u8>());
    }
}
