//! What the tests share: a device that may be missing, frames with a known picture, and the validation layer's silence.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::{
    Error as FrameError, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Modifier, Object, Plane, Size,
};
use dmaframe_testkit::{Device, find, skip};
use dmaframe_vulkan::{
    BufferImport, Error, Gpu, Held, ImageImport, OpenOptions, Queue, Readback, ValidationLog,
};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A device under the validation layer. Its end (`done`) fails on any error the layer reported.
pub(crate) struct Bench {
    pub(crate) gpu: Gpu,
    pub(crate) queue: Queue,
    log: Arc<ValidationLog>,
}

/// A device with these options, or the reason why there is none (the test skips, or fails in the lab).
pub(crate) fn open(options: &OpenOptions) -> Option<Bench> {
    let log = Arc::new(ValidationLog::default());
    let opened = options.clone().validation(&log).open();
    let opened = match opened {
        Err(Error::Unsupported { what, .. })
            if what.contains("validation") && !dmaframe_testkit::in_lab() =>
        {
            options.open()
        }
        other => other,
    };
    let gpu = match opened {
        Ok(gpu) => gpu,
        Err(error) => {
            skip(&error.to_string());
            return None;
        }
    };
    let queue = gpu.queue().expect("the queue of a device just opened");
    Some(Bench { gpu, queue, log })
}

/// [`open`] that also wants dma-buf imports.
pub(crate) fn dmabuf_bench() -> Option<Bench> {
    let bench = open(&OpenOptions::new())?;
    if !bench.gpu.extensions().dmabuf() {
        skip("the Vulkan device imports no dma-bufs");
        return None;
    }
    Some(bench)
}

impl Bench {
    /// Drops everything and looks at what the layer said, leaks at the device's end included.
    pub(crate) fn done(self) {
        let Self { gpu, queue, log } = self;
        drop(queue);
        assert_eq!(
            gpu.live(),
            dmaframe_vulkan::LiveObjects::default(),
            "objects left behind"
        );
        drop(gpu);
        let errors = log.errors(&[]);
        assert!(errors.is_empty(), "validation errors: {errors:#?}");
    }

    /// What the device sees in buffers, tightly packed.
    pub(crate) fn read(&self, held: &Held<BufferImport>) -> Vec<u8> {
        let mut back = Readback::new(&self.gpu, held.frame.fourcc(), held.frame.layout().size()).unwrap();
        let submitted = self.queue.submit(SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.copy(&held.import, back.target())
        });
        assert!(submitted.unwrap().wait(SOON).unwrap().is_signaled());
        back.bytes().unwrap().to_vec()
    }

    /// What the device sees in images, tightly packed.
    pub(crate) fn read_image(&self, held: &Held<ImageImport>) -> Vec<u8> {
        let mut back = Readback::new(&self.gpu, held.frame.fourcc(), held.frame.layout().size()).unwrap();
        let submitted = self.queue.submit(SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.copy_image(&held.import, back.target())
        });
        assert!(submitted.unwrap().wait(SOON).unwrap().is_signaled());
        back.bytes().unwrap().to_vec()
    }
}

/// A picture in which no two neighbouring bytes, rows or planes look alike.
pub(crate) fn picture(len: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) | 0x1000;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// How a test lays a picture out: in how many objects, at what offset, with how much padding in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) objects: usize,
    pub(crate) offset: u64,
    pub(crate) padding: u32,
}

pub(crate) const TIGHT: Shape = Shape {
    objects: 1,
    offset: 0,
    padding: 0,
};

/// Planes of a shape, and each object's bytes.
pub(crate) fn planes(fourcc: Fourcc, size: Size, shape: Shape) -> (Vec<Plane>, Vec<u64>) {
    let info = fourcc.info().unwrap();
    let mut ends = vec![shape.offset; shape.objects];
    let planes = info.planes().iter().enumerate().map(|(index, format)| {
        let object = index.min(shape.objects - 1);
        let stride = u32::try_from(format.row_bytes(size.width)).unwrap() + shape.padding;
        let offset = ends[object];
        ends[object] += u64::from(stride) * u64::from(format.rows(size.height));
        Plane {
            object,
            offset,
            stride,
        }
    });
    let planes: Vec<_> = planes.collect();
    (planes, ends)
}

/// Private memory in which the picture of `bytes` (tight) has been written.
pub(crate) fn frame_in(
    objects: Vec<OwnedFd>,
    fourcc: Fourcc,
    size: Size,
    planes: &[Plane],
    bytes: &[u8],
) -> Result<Frame, FrameError> {
    let objects = objects
        .into_iter()
        .enumerate()
        .map(|(index, fd)| Object::new(fd, index).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    // SAFETY: the descriptors are the test's own and nobody else's.
    let buffer = unsafe {
        dmaframe_core::raw::private_buffer(
            fourcc,
            Modifier::LINEAR,
            size,
            objects,
            planes,
            dmaframe_core::next_generation(),
        )
    }?;
    let mut frame = Frame::new(
        Arc::new(buffer),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )?;
    frame.map_write(SOON)?.copy_from_tight(bytes)?;
    Ok(frame)
}

/// A udmabuf frame with a picture, and the picture.
pub(crate) fn udmabuf_frame(fourcc: Fourcc, size: Size, shape: Shape, seed: u8) -> Option<(Frame, Vec<u8>)> {
    let device = match find(Device::Udmabuf) {
        Ok(device) => device,
        Err(reason) => {
            skip(&reason);
            return None;
        }
    };
    let (planes, sizes) = planes(fourcc, size, shape);
    let fds = sizes
        .iter()
        .map(|len| dmaframe_testkit::udmabuf(&device, *len).unwrap())
        .collect();
    let bytes = picture(tight(fourcc, size), seed);
    Some((frame_in(fds, fourcc, size, &planes, &bytes).unwrap(), bytes))
}

/// A memfd frame with a picture, and the picture.
pub(crate) fn memfd_frame(fourcc: Fourcc, size: Size, shape: Shape, seed: u8) -> (Frame, Vec<u8>) {
    let (planes, sizes) = planes(fourcc, size, shape);
    let fds = sizes
        .iter()
        .map(|len| dmaframe_testkit::memfd(*len, true).unwrap().into())
        .collect();
    let bytes = picture(tight(fourcc, size), seed);
    (frame_in(fds, fourcc, size, &planes, &bytes).unwrap(), bytes)
}

pub(crate) fn tight(fourcc: Fourcc, size: Size) -> usize {
    usize::try_from(Layout::tight(fourcc, size).unwrap().tight_len()).unwrap()
}

/// Fails with the first difference instead of two megabytes of numbers.
pub(crate) fn same(found: &[u8], wanted: &[u8], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: length");
    let wrong = found.iter().zip(wanted).filter(|(a, b)| a != b).count();
    let first = found.iter().zip(wanted).position(|(a, b)| a != b);
    assert_eq!(
        wrong,
        0,
        "{what}: {wrong} of {} bytes wrong, the first at {first:?}",
        wanted.len()
    );
}
