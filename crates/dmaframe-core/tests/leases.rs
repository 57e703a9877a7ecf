//! The lease and the handles: once, last, alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dmaframe_core::{
    Buffer, Error, Fence, Fourcc, Frame, FrameMeta, FrameParts, Layout, Lease, Object, Orientation, Plane,
    Rect, ReturnQueue, Rotation, Size,
};
use dmaframe_testkit::{Device, memfd, need, udmabuf};

fn layout() -> Layout {
    Layout::tight(Fourcc::NV12, Size::new(64, 32)).unwrap()
}

fn bytes_buffer() -> Arc<Buffer> {
    let bytes = vec![7; layout().tight_len() as usize];
    Arc::new(Buffer::from_bytes(bytes.into(), &layout()).unwrap())
}

fn counted() -> (Lease, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let lease = Lease::on_release(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    (lease, runs)
}

#[test]
fn the_lease_runs_once_when_the_last_of_many_clones_drops_on_whatever_thread() {
    let (lease, runs) = counted();
    let frame = Frame::new(bytes_buffer(), FrameMeta::default(), Fence::Signaled, lease).unwrap();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let clone = frame.clone();
            std::thread::spawn(move || (0..100).for_each(|_| drop(clone.clone())))
        })
        .collect();
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    drop(frame);
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn a_frame_outlives_its_producer() {
    let queue = ReturnQueue::new(1).unwrap();
    let frame = queue
        .frame(0, &bytes_buffer(), FrameMeta::default(), Fence::Signaled)
        .unwrap();
    drop(queue);
    assert_eq!(
        frame.map_read(Duration::ZERO).unwrap().row(0, 0).unwrap(),
        [7; 64]
    );
    drop(frame);
}

#[test]
fn one_private_buffer_is_in_one_frame_at_a_time() {
    let buffer = bytes_buffer();
    let first = Frame::new(
        buffer.clone(),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap();
    let (lease, runs) = counted();
    let second = Frame::new(buffer.clone(), FrameMeta::default(), Fence::Signaled, lease);
    assert!(matches!(second, Err(Error::InUse { .. })));
    assert_eq!(runs.load(Ordering::SeqCst), 1, "the refused frame's lease ran");
    drop(first);
    drop(Frame::new(buffer, FrameMeta::default(), Fence::Signaled, Lease::none()).unwrap());
}

#[test]
fn a_buffer_that_is_with_a_device_is_in_no_frame_until_the_device_is_done() {
    let queue = ReturnQueue::new(1).unwrap();
    let buffer = bytes_buffer();
    let claim = buffer.claim_for_device().unwrap();
    assert!(matches!(buffer.claim_for_device(), Err(Error::InUse { .. })));
    let early = queue.frame(0, &buffer, FrameMeta::default(), Fence::Signaled);
    assert!(matches!(early, Err(Error::InUse { .. })));
    assert_eq!(
        queue.next().map(|r| r.slot),
        Some(0),
        "the refused frame's slot came back"
    );
    let frame = queue
        .frame_from_device(0, claim, FrameMeta::default(), Fence::Signaled)
        .unwrap();
    let claim = buffer.claim_for_device();
    assert!(claim.is_err(), "now the frame has it");
    drop(frame);
    assert!(buffer.claim_for_device().is_ok());
}

#[test]
fn ids_tell_a_new_picture_in_a_recycled_buffer_from_the_same_one() {
    let queue = ReturnQueue::new(1).unwrap();
    let buffer = bytes_buffer();
    let first = queue
        .frame(0, &buffer, FrameMeta::default(), Fence::Signaled)
        .unwrap();
    let (id, content) = (first.buffer_id(), first.content_id());
    assert_eq!(first.clone().content_id(), content);
    assert_eq!(
        first.detach(Duration::ZERO).unwrap().content_id(),
        content,
        "a copy is the same picture"
    );
    drop(first);
    let second = queue
        .frame(0, &buffer, FrameMeta::default(), Fence::Signaled)
        .unwrap();
    assert_eq!(second.buffer_id(), id);
    assert_ne!(second.content_id(), content);
}

#[test]
fn a_writable_view_needs_the_only_handle() {
    let mut frame = Frame::new(
        bytes_buffer(),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap();
    frame
        .map_write(Duration::ZERO)
        .unwrap()
        .row_mut(0, 0)
        .unwrap()
        .fill(9);
    let clone = frame.clone();
    assert!(matches!(
        frame.map_write(Duration::ZERO),
        Err(Error::Shared { .. })
    ));
    assert!(matches!(frame.meta_mut(), Err(Error::Shared { .. })));
    drop(clone);
    assert_eq!(
        frame.map_write(Duration::ZERO).unwrap().row(0, 0).unwrap(),
        [9; 64]
    );
    assert!(frame.meta_mut().is_ok());
}

#[test]
fn a_turned_frame_shares_memory_and_lease_but_never_a_writable_view() {
    let (lease, runs) = counted();
    let frame = Frame::new(bytes_buffer(), FrameMeta::default(), Fence::Signaled, lease).unwrap();
    let original = frame.clone();
    let mut meta = frame.meta().clone();
    meta.orientation = Orientation {
        rotation: Rotation::R90,
        mirror: true,
    };
    let mut turned = frame.with_meta(meta).unwrap();
    assert_eq!(turned.content_id(), original.content_id());
    drop(original);
    assert!(matches!(
        turned.map_write(Duration::ZERO),
        Err(Error::Shared { .. })
    ));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    drop(turned);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn dropping_a_turned_frame_does_not_free_the_buffer_under_the_original() {
    let buffer = bytes_buffer();
    let original = Frame::new(
        buffer.clone(),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap();
    drop(original.clone().with_meta(FrameMeta::default()).unwrap());
    let second = Frame::new(buffer, FrameMeta::default(), Fence::Signaled, Lease::none());
    assert!(matches!(second, Err(Error::InUse { .. })));
}

#[test]
fn a_bad_crop_gives_the_frame_back() {
    let frame = Frame::new(
        bytes_buffer(),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap();
    let id = frame.content_id();
    let mut meta = FrameMeta::default();
    meta.visible = Some(Rect {
        x: 60,
        y: 0,
        width: 8,
        height: 1,
    });
    let rejected = frame.with_meta(meta).unwrap_err();
    assert_eq!(rejected.value.content_id(), id);
}

#[test]
fn foreign_memory_is_copied_out_and_never_borrowed() {
    let memory = memfd(layout().tight_len(), true).unwrap();
    rustix::io::write(&memory, &[5; 64]).unwrap();
    let mut parts = FrameParts::new(Fourcc::NV12, layout().size());
    parts.objects.push(memory.into());
    parts.planes = layout().planes().to_vec();
    let mut frame = Frame::try_from(parts).unwrap();
    {
        let view = frame.map_read(Duration::ZERO).unwrap();
        assert!(!view.has_slices());
        assert_eq!(view.row(0, 0), Err(Error::Foreign { object: 0 }));
        let mut row = [0; 64];
        assert_eq!(view.copy_row(0, 0, &mut row), Ok(64));
        assert_eq!(row, [5; 64]);
        assert!(matches!(
            view.copy_row(0, 0, &mut [0; 63]),
            Err(Error::TooSmall { needed: 64, .. })
        ));
        assert!(matches!(
            view.copy_row(0, 32, &mut row),
            Err(Error::OutOfRange { what: "row", .. })
        ));
        assert!(matches!(
            view.copy_row(2, 0, &mut row),
            Err(Error::OutOfRange { what: "plane", .. })
        ));
    }
    assert!(matches!(
        frame.map_write(Duration::ZERO),
        Err(Error::Shared { .. })
    ));
}

#[test]
fn a_lent_descriptor_turns_slices_into_copies_and_a_live_slice_keeps_it_home() {
    let fd = udmabuf(&need!(Device::Udmabuf), 4096).unwrap();
    let objects = [Arc::new(Object::new(fd, 0).unwrap())];
    let planes = layout().planes().to_vec();
    // SAFETY: the udmabuf was just made; nobody else has it.
    let buffer = unsafe {
        dmaframe_core::raw::private_buffer(
            Fourcc::NV12,
            dmaframe_core::Modifier::LINEAR,
            layout().size(),
            objects,
            &planes,
            0,
        )
    };
    let frame = Frame::new(
        Arc::new(buffer.unwrap()),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap();
    let dmabuf = frame.as_dmabuf().unwrap();
    let view = frame.map_read(Duration::ZERO).unwrap();
    assert!(view.row(0, 0).is_ok());
    assert!(matches!(
        dmabuf.lend(0),
        Err(Error::Borrowed { object: 0, views: 1 })
    ));
    drop(view);
    assert!(dmabuf.lend(0).is_ok());
    let view = frame.map_read(Duration::ZERO).unwrap();
    assert_eq!(view.row(0, 0), Err(Error::Foreign { object: 0 }));
    assert_eq!(view.to_tight().unwrap().len(), 64 * 48);
    assert!(matches!(
        dmabuf.lend(1),
        Err(Error::OutOfRange {
            what: "object",
            index: 1,
            limit: 1
        })
    ));
}

#[test]
fn a_lent_slot_can_still_be_written_row_by_row() {
    let fd = udmabuf(&need!(Device::Udmabuf), 4096).unwrap();
    let objects = [Arc::new(Object::new(fd, 0).unwrap())];
    let planes = layout().planes().to_vec();
    let (linear, size) = (dmaframe_core::Modifier::LINEAR, layout().size());
    // SAFETY: the udmabuf was just made; nobody else has it.
    let buffer =
        unsafe { dmaframe_core::raw::private_buffer(Fourcc::NV12, linear, size, objects, &planes, 0) };
    let mut frame = Frame::new(
        Arc::new(buffer.unwrap()),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )
    .unwrap();
    frame.as_dmabuf().unwrap().lend(0).unwrap();
    let picture: Vec<u8> = (0..64 * 48).map(|i| (i % 251) as u8).collect();
    let mut view = frame.map_write(Duration::ZERO).unwrap();
    assert!(matches!(view.row_mut(0, 0), Err(Error::Foreign { object: 0 })));
    view.copy_from_tight(&picture).unwrap();
    view.write_row(0, 31, &[9; 64]).unwrap();
    assert!(matches!(
        view.write_row(0, 31, &[9; 63]),
        Err(Error::TooSmall { needed: 64, .. })
    ));
    drop(view);
    let seen = frame.map_read(Duration::ZERO).unwrap().to_tight().unwrap();
    assert_eq!(seen[..64 * 31], picture[..64 * 31]);
    assert_eq!(seen[64 * 31..64 * 32], [9; 64]);
    assert_eq!(seen[64 * 32..], picture[64 * 32..]);
}

/// An object's `Arc` can be put into a second buffer in safe code: its views must not meet the first one's writer.
#[test]
fn a_second_buffer_over_the_same_object_has_no_view_beside_a_writer() {
    let fd = udmabuf(&need!(Device::Udmabuf), 4096).unwrap();
    let objects = [Arc::new(Object::new(fd, 0).unwrap())];
    let planes = layout().planes().to_vec();
    let (linear, size) = (dmaframe_core::Modifier::LINEAR, layout().size());
    let second = Buffer::new(Fourcc::NV12, linear, size, objects.clone(), &planes, 0).unwrap();
    // SAFETY: nobody outside this process has the udmabuf.
    let first =
        unsafe { dmaframe_core::raw::private_buffer(Fourcc::NV12, linear, size, objects, &planes, 0) };
    let frame = |buffer| {
        Frame::new(
            Arc::new(buffer),
            FrameMeta::default(),
            Fence::Signaled,
            Lease::none(),
        )
        .unwrap()
    };
    let (mut first, second) = (frame(first.unwrap()), frame(second));

    let writing = first.map_write(Duration::ZERO).unwrap();
    assert!(matches!(
        second.map_read(Duration::ZERO),
        Err(Error::Shared { .. })
    ));
    drop(writing);
    let reading = second.map_read(Duration::ZERO).unwrap();
    assert!(matches!(
        first.map_write(Duration::ZERO),
        Err(Error::Shared { .. })
    ));
    assert!(
        first.map_read(Duration::ZERO).unwrap().has_slices(),
        "readers do not mind each other"
    );
    drop(reading);
    assert!(first.map_write(Duration::ZERO).is_ok());
}

#[test]
fn planes_are_disjoint_by_identity_and_not_by_descriptor() {
    let device = need!(Device::Udmabuf);
    let one = udmabuf(&device, 4096).unwrap();
    let other = udmabuf(&device, 4096).unwrap();
    let parts = |second: std::os::fd::OwnedFd| {
        let mut parts = FrameParts::new(Fourcc::NV12, layout().size());
        parts.objects = vec![one.try_clone().unwrap(), second];
        parts.planes = vec![
            Plane {
                object: 0,
                offset: 0,
                stride: 64,
            },
            Plane {
                object: 1,
                offset: 2048,
                stride: 64,
            },
        ];
        Frame::try_from(parts).unwrap()
    };
    let same = parts(one.try_clone().unwrap());
    assert!(!same.as_dmabuf().unwrap().is_disjoint());
    let apart = parts(other);
    assert!(apart.as_dmabuf().unwrap().is_disjoint());
    assert_ne!(same.buffer_id(), apart.buffer_id());
    assert_eq!(
        same.as_dmabuf().unwrap().objects()[0].exporter().as_deref(),
        Some("udmabuf")
    );
    assert_eq!(
        apart.map_read(Duration::ZERO).unwrap().to_tight().unwrap().len(),
        64 * 48
    );
}
