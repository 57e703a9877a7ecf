//! Pictures copied between views: between any strides, from and into memory that others may have, by rows and whole.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::{
    Bitstream, Codec, Error, Fence, Fourcc, Frame, FrameMeta, Layout, Lease, Modifier, Object, Plane,
    ReturnQueue, Size, raw,
};
use dmaframe_testkit::memfd;

const SIZE: Size = Size::new(6001, 3);

/// A frame in a memfd, whose rows are `padding` bytes apart; lent, so that its rows are only copied, if `lent`.
fn frame(fourcc: Fourcc, padding: u32, lent: bool) -> Frame {
    let tight = Layout::tight(fourcc, SIZE).unwrap();
    let mut end = 0;
    let mut planes = Vec::<Plane>::new();
    for (index, plane) in tight.planes().iter().enumerate() {
        let stride = plane.stride + padding;
        planes.push(Plane {
            object: 0,
            // Not a multiple of anything.
            offset: end + 3,
            stride,
        });
        end += 3 + u64::from(stride) * u64::from(tight.rows(index));
    }
    let memory: OwnedFd = memfd(end, true).unwrap().into();
    let objects = [Arc::new(Object::new(memory, 0).unwrap())];
    // SAFETY: the memfd was just made; nobody else has it.
    let buffer = unsafe { raw::private_buffer(fourcc, Modifier::LINEAR, SIZE, objects, &planes, 0) };
    let buffer = Arc::new(buffer.unwrap());
    if lent {
        let _ = buffer.objects()[0].lend(0).unwrap();
    }
    Frame::new(buffer, FrameMeta::default(), Fence::Signaled, Lease::none()).unwrap()
}

fn picture(fourcc: Fourcc) -> Vec<u8> {
    let len = Layout::tight(fourcc, SIZE).unwrap().tight_len();
    (0..len).map(|at| (at ^ (at >> 8)) as u8).collect()
}

#[test]
fn a_picture_is_the_same_between_any_two_strides_and_kinds_of_memory() {
    for fourcc in [Fourcc::NV12, Fourcc::YUV420, Fourcc::BGR888] {
        let bytes = picture(fourcc);
        for (from_padding, to_padding) in [(0, 0), (0, 7), (7, 0), (7, 16), (16, 16)] {
            for (from_lent, to_lent) in [(false, false), (true, false), (false, true), (true, true)] {
                let what = format!("{fourcc} {from_padding} {to_padding} {from_lent} {to_lent}");
                let mut from = frame(fourcc, from_padding, from_lent);
                from.map_write(Duration::ZERO)
                    .unwrap()
                    .copy_from_tight(&bytes)
                    .unwrap();
                let mut to = frame(fourcc, to_padding, to_lent);
                let view = from.map_read(Duration::ZERO).unwrap();
                assert_eq!(view.has_slices(), !from_lent);
                to.map_write(Duration::ZERO).unwrap().copy_from(&view).unwrap();
                let seen = to.map_read(Duration::ZERO).unwrap().to_tight().unwrap();
                assert!(seen == bytes, "{what}");
            }
        }
    }
}

#[test]
fn a_copy_leaves_the_padding_of_its_target_alone() {
    let bytes = picture(Fourcc::R8);
    let mut from = frame(Fourcc::R8, 0, false);
    from.map_write(Duration::ZERO)
        .unwrap()
        .copy_from_tight(&bytes)
        .unwrap();
    let mut to = frame(Fourcc::R8, 9, false);
    to.map_write(Duration::ZERO)
        .unwrap()
        .plane_mut(0)
        .unwrap()
        .fill(0xee);
    let view = from.map_read(Duration::ZERO).unwrap();
    to.map_write(Duration::ZERO).unwrap().copy_from(&view).unwrap();
    let view = to.map_read(Duration::ZERO).unwrap();
    for row in view.plane(0).unwrap().chunks(6010) {
        assert!(row[6001..].iter().all(|byte| *byte == 0xee));
    }
}

#[test]
fn another_picture_is_refused_with_both() {
    let from = frame(Fourcc::NV12, 0, false);
    let mut to = frame(Fourcc::NV21, 0, false);
    let view = from.map_read(Duration::ZERO).unwrap();
    let refused = to.map_write(Duration::ZERO).unwrap().copy_from(&view);
    assert_eq!(
        refused,
        Err(Error::Picture {
            found: Fourcc::NV12,
            found_size: SIZE,
            wanted: Fourcc::NV21,
            wanted_size: SIZE,
        })
    );
}

#[test]
fn rows_come_one_after_the_other_and_none_from_outside() {
    for (padding, lent) in [(0, false), (0, true), (5, false), (5, true)] {
        let mut from = frame(Fourcc::NV12, padding, lent);
        let bytes = picture(Fourcc::NV12);
        from.map_write(Duration::ZERO)
            .unwrap()
            .copy_from_tight(&bytes)
            .unwrap();
        let view = from.map_read(Duration::ZERO).unwrap();
        let mut rows = vec![0; 2 * 6001 + 1];
        assert_eq!(view.copy_rows(0, 1..3, &mut rows), Ok(2 * 6001));
        assert!(rows[..2 * 6001] == bytes[6001..3 * 6001]);
        assert_eq!(rows[2 * 6001], 0, "not beyond");
        for none in [0..0, 2..2, 3..3] {
            assert_eq!(view.copy_rows(0, none, &mut []), Ok(0));
        }
        assert!(matches!(
            view.copy_rows(0, 1..4, &mut [0; 4 * 6001]),
            Err(Error::OutOfRange {
                what: "row",
                index: 3,
                limit: 3
            })
        ));
        assert!(matches!(
            view.copy_rows(0, 0..3, &mut rows),
            Err(Error::TooSmall { needed: 18003, .. })
        ));
        assert!(matches!(
            view.copy_rows(2, 0..1, &mut rows),
            Err(Error::OutOfRange { what: "plane", .. })
        ));
    }
}

#[test]
fn of_an_access_units_buffer_only_the_units_bytes_are_copied() {
    for lent in [false, true] {
        let carrier = frame(Fourcc::R8, 0, lent);
        let buffer = Arc::clone(carrier.buffer());
        let mut carrier = carrier;
        let mut view = carrier.map_write(Duration::ZERO).unwrap();
        view.write_row(0, 0, &[7; 6001]).unwrap();
        drop(view);
        drop(carrier);
        let queue = ReturnQueue::new(1).unwrap();
        for len in [0, 10, 6001] {
            let unit =
                Bitstream::from_slot(&queue, 0, &buffer, Codec::MJPEG, len, true, FrameMeta::default());
            let unit = unit.unwrap();
            let copy = unit.map_read(Duration::ZERO).unwrap().to_vec().unwrap();
            assert_eq!(copy, vec![7; len]);
            assert!(copy.capacity() < len + 64, "{} for {len}", copy.capacity());
            drop(unit);
            assert_eq!(queue.next().map(|back| back.slot), Some(0));
        }
    }
}
