//! A buffer is given to a device only if it is what the device writes, to the byte.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use dmaframe_core::{Buffer, Fourcc, Layout, Misfit, Modifier, Object, Plane, Size, next_generation};
use dmaframe_testkit::{Device, memfd, need, udmabuf};

const SIZE: Size = Size::new(64, 16);
const LUMA: u64 = 64 * 16;
const CHROMA: u64 = 64 * 8;

fn plane(object: usize, offset: u64, stride: u32) -> Plane {
    Plane {
        object,
        offset,
        stride,
    }
}

fn buffer(fds: Vec<OwnedFd>, fourcc: Fourcc, size: Size, planes: &[Plane]) -> Buffer {
    let objects = fds.into_iter().enumerate();
    let objects = objects.map(|(index, fd)| Arc::new(Object::new(fd, index).unwrap()));
    Buffer::new(fourcc, Modifier::LINEAR, size, objects, planes, next_generation()).unwrap()
}

#[test]
fn memory_that_a_device_cannot_import_is_refused_whatever_its_layout() {
    let layout = Layout::tight(Fourcc::NV12, SIZE).unwrap();
    let shared = buffer(
        vec![memfd(4096, true).unwrap().into()],
        Fourcc::NV12,
        SIZE,
        layout.planes(),
    );
    assert_eq!(shared.check_for_device(&layout, &[4096]), Err(Misfit::NotDmabuf));
    let bytes = vec![0; (LUMA + CHROMA) as usize].into_boxed_slice();
    let owned = Buffer::from_bytes(bytes, &layout).unwrap();
    assert_eq!(owned.check_for_device(&layout, &[]), Err(Misfit::NotDmabuf));
}

#[test]
fn whatever_differs_from_what_the_device_writes_is_named_with_both_values() {
    let node = need!(Device::Udmabuf);
    let layout = Layout::tight(Fourcc::NV12, SIZE).unwrap();
    let one = || vec![udmabuf(&node, 4096).unwrap()];
    let good = buffer(one(), Fourcc::NV12, SIZE, layout.planes());
    assert_eq!(good.check_for_device(&layout, &[4096]), Ok(()));
    assert_eq!(
        good.check_for_device(&layout, &[4097]),
        Err(Misfit::TooSmall {
            object: 0,
            found: 4096,
            needed: 4097
        })
    );

    // The same planes, but each in an object of its own: NM12.
    let two = Layout::check(
        Fourcc::NV12,
        Modifier::LINEAR,
        SIZE,
        &[plane(0, 0, 64), plane(1, 0, 64)],
        &[LUMA, CHROMA],
    )
    .unwrap();
    assert_eq!(
        good.check_for_device(&two, &[LUMA, CHROMA]),
        Err(Misfit::ObjectCount { found: 1, wanted: 2 })
    );
    let fds = vec![udmabuf(&node, 4096).unwrap(), udmabuf(&node, 4096).unwrap()];
    let disjoint = buffer(fds, Fourcc::NV12, SIZE, two.planes());
    assert_eq!(disjoint.check_for_device(&two, &[LUMA, CHROMA]), Ok(()));
    assert_eq!(
        disjoint.check_for_device(&two, &[4096, 8192]),
        Err(Misfit::TooSmall {
            object: 1,
            found: 4096,
            needed: 8192
        })
    );

    for (fourcc, size) in [(Fourcc::NV21, SIZE), (Fourcc::NV12, Size::new(64, 14))] {
        let other = Layout::tight(fourcc, size).unwrap();
        let refused = buffer(one(), fourcc, size, other.planes()).check_for_device(&layout, &[4096]);
        let wanted = Misfit::Picture {
            found: fourcc,
            found_size: size,
            found_modifier: Modifier::LINEAR,
            wanted: Fourcc::NV12,
            wanted_size: SIZE,
            wanted_modifier: Modifier::LINEAR,
        };
        assert_eq!(refused, Err(wanted));
    }

    for (planes, differs) in [
        ([plane(0, 0, 64), plane(0, LUMA + 64, 64)], 1),
        ([plane(0, 0, 68), plane(0, 68 * 16, 64)], 0),
    ] {
        let refused = buffer(one(), Fourcc::NV12, SIZE, &planes).check_for_device(&layout, &[4096]);
        let wanted = Misfit::Plane {
            plane: differs,
            found: planes[differs],
            wanted: layout.planes()[differs],
        };
        assert_eq!(refused, Err(wanted));
    }
}
