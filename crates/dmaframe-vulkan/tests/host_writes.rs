//! The device writes the pages of a memfd, and anybody who has the memfd reads what it wrote.

mod common;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ash::{ext, vk};
use common::{Bench, SOON, open};
use dmaframe_core::{
    Buffer, DeviceClaim, Error as FrameError, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Size,
};
use dmaframe_testkit::frames::{Shape, TIGHT, frame_in, memfd_frame, planes, same, udmabuf_frame};
use dmaframe_vulkan::{BufferImport, Importer, OpenOptions, Refusal, ash, raw};

const USAGE: vk::BufferUsageFlags = vk::BufferUsageFlags::TRANSFER_DST;

fn bench() -> Option<Bench> {
    let bench = open(&OpenOptions::new())?;
    if !bench.gpu.extensions().has(ext::external_memory_host::NAME) {
        dmaframe_testkit::skip("no VK_EXT_external_memory_host");
        return None;
    }
    Some(bench)
}

fn frame_of(buffer: &Arc<Buffer>) -> Result<Frame, FrameError> {
    let meta = FrameMeta::default();
    Frame::new(Arc::clone(buffer), meta, Fence::Signaled, Lease::none())
}

/// A buffer in which there is another picture, with a device's claim of it.
fn target(fourcc: Fourcc, size: Size, shape: Shape) -> DeviceClaim {
    let (frame, _) = memfd_frame(fourcc, size, shape, 99);
    let buffer = Arc::clone(frame.buffer());
    drop(frame);
    buffer.claim_for_device().unwrap()
}

/// Has the device copy `from` into `to`, and waits.
fn copy(bench: &Bench, from: &Frame, to: &Arc<BufferImport>) {
    let importer = Importer::new(&bench.gpu);
    let held = importer.host_pointer(from).unwrap();
    let work = bench.queue.submit(SOON, |commands| {
        commands.reads(&held.frame)?;
        commands.copy(&held.import, to)
    });
    assert!(work.unwrap().wait(SOON).unwrap().is_signaled());
}

#[test]
fn a_memfds_pages_hold_what_the_device_wrote_whatever_the_strides() {
    let Some(bench) = bench() else { return };
    for fourcc in [Fourcc::NV12, Fourcc::ABGR8888, Fourcc::YUYV, Fourcc::P010] {
        for size in [Size::new(67, 35), Size::new(640, 360)] {
            for shape in [
                TIGHT,
                Shape {
                    padding: 6,
                    offset: 14,
                    objects: 1,
                },
                Shape { objects: 2, ..TIGHT },
            ] {
                if shape.objects > fourcc.info().unwrap().planes().len() {
                    continue;
                }
                let what = format!("{fourcc} {size} {shape:?}");
                let (source, bytes) = memfd_frame(fourcc, size, TIGHT, 1);
                let claim = target(fourcc, size, shape);
                let import = BufferImport::pages_for_writing(&bench.gpu, &claim, USAGE).unwrap();
                assert_eq!(import.buffers(), shape.objects, "{what}");
                let import = Arc::new(import);
                copy(&bench, &source, &import);
                let buffer = Arc::clone(claim.buffer());
                drop(claim);
                let frame = frame_of(&buffer).unwrap();
                let view = frame.map_read(SOON).unwrap();
                assert!(
                    !view.has_slices(),
                    "{what}: the import may be written at any time"
                );
                same(&view.to_tight().unwrap(), &bytes, &what);
            }
        }
    }
    bench.done();
}

#[test]
fn while_the_claim_is_held_there_is_no_frame_and_after_it_views_are_slices() {
    let Some(bench) = bench() else { return };
    let size = Size::new(67, 35);
    let claim = target(Fourcc::NV12, size, TIGHT);
    let buffer = Arc::clone(claim.buffer());
    // SAFETY: all work below is waited for, with the claim in hand.
    let import = unsafe { raw::claimed_pages(&bench.gpu, &claim, USAGE) };
    let import = Arc::new(import.unwrap());
    let mut claim = Some(claim);
    for seed in 1..4 {
        let claimed = claim.take().unwrap_or_else(|| buffer.claim_for_device().unwrap());
        assert!(matches!(frame_of(&buffer), Err(FrameError::InUse { .. })));
        let (source, bytes) = memfd_frame(Fourcc::NV12, size, TIGHT, seed);
        copy(&bench, &source, &import);
        assert!(matches!(frame_of(&buffer), Err(FrameError::InUse { .. })));
        drop(claimed);
        let frame = frame_of(&buffer).unwrap();
        let view = frame.map_read(SOON).unwrap();
        assert!(view.has_slices());
        same(&view.to_tight().unwrap(), &bytes, "through slices");
        drop(view);
        assert!(buffer.claim_for_device().is_err(), "it is in a frame");
    }
    // The import has the memory; the buffer may go.
    drop(buffer);
    drop(import);
    bench.done();
}

#[test]
fn what_cannot_be_written_is_refused_with_its_reason_and_left_as_it_was() {
    let Some(bench) = bench() else { return };
    let size = Size::new(64, 64);
    let refused = |buffer: &Arc<Buffer>| {
        let claim = buffer.claim_for_device().unwrap();
        let before = bench.gpu.live();
        let refusal = BufferImport::pages_for_writing(&bench.gpu, &claim, USAGE).unwrap_err();
        // SAFETY: it is refused.
        let again = unsafe { raw::claimed_pages(&bench.gpu, &claim, USAGE) };
        assert_eq!(again.unwrap_err(), refusal);
        assert_eq!(bench.gpu.live(), before);
        refusal
    };

    // Sealed after the picture was written, and while nothing maps it.
    let (places, sizes) = planes(Fourcc::R8, size, TIGHT);
    let file = dmaframe_testkit::memfd(sizes[0], true).unwrap();
    let other = file.try_clone().unwrap();
    let layout = Layout::tight(Fourcc::R8, size).unwrap();
    let sealed = Arc::new(Buffer::from_fd(file.into(), &layout, 1).unwrap());
    rustix::fs::fcntl_add_seals(&other, rustix::fs::SealFlags::FUTURE_WRITE).unwrap();
    assert_eq!(refused(&sealed), Refusal::ReadOnly { object: 0 });

    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&other));
    let reading: OwnedFd = std::fs::File::open(path).unwrap().into();
    let reading = Arc::new(Buffer::from_fd(reading, &layout, 1).unwrap());
    assert_eq!(refused(&reading), Refusal::ReadOnly { object: 0 });
    assert_eq!(
        refused(&reading).to_string(),
        "object 0 is open for reading only, or sealed against writing"
    );

    let bytes = Arc::new(Buffer::from_bytes(vec![0; 4096].into(), &layout).unwrap());
    assert_eq!(refused(&bytes), Refusal::NotMemfd);

    // A usage that no host pointer may have would be an error; nothing but what was asked for is made.
    let fd = dmaframe_testkit::memfd(sizes[0], true).unwrap().into();
    let frame = frame_in(vec![fd], Fourcc::R8, size, &places, &[7; 64 * 64]).unwrap();
    let buffer = Arc::clone(frame.buffer());
    drop(frame);
    let claim = buffer.claim_for_device().unwrap();
    let import = Arc::new(BufferImport::pages_for_writing(&bench.gpu, &claim, USAGE).unwrap());
    let (source, _) = memfd_frame(Fourcc::R8, size, TIGHT, 1);
    let reader =
        Arc::new(BufferImport::from_pages(&bench.gpu, &source, vk::BufferUsageFlags::TRANSFER_SRC).unwrap());
    let wrong = bench
        .queue
        .submit(SOON, |commands| commands.copy(&import, &reader));
    assert!(
        wrong.is_err(),
        "an import for writing is read, and one for reading written"
    );
    drop((wrong, import, reader, claim));

    if let Some((dmabuf, _)) = udmabuf_frame(Fourcc::R8, size, TIGHT, 1) {
        let buffer = Arc::clone(dmabuf.buffer());
        drop(dmabuf);
        assert_eq!(refused(&buffer), Refusal::IsDmabuf);
    }
    bench.done();
}

#[test]
fn without_the_extension_it_is_refused_by_name() {
    let Some(bench) = open(&OpenOptions::new().without(ext::external_memory_host::NAME)) else {
        return;
    };
    let claim = target(Fourcc::R8, Size::new(64, 64), TIGHT);
    let refusal = BufferImport::pages_for_writing(&bench.gpu, &claim, USAGE).unwrap_err();
    assert_eq!(refusal, Refusal::ExtensionOff(ext::external_memory_host::NAME));
    bench.done();
}
