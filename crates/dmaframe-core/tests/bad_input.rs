//! Every way a frame from outside can be wrong: a typed error with the number and the limit, the parts back, no
//! descriptor left behind, no panic.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use dmaframe_core::{
    Error, Fourcc, Frame, FrameMeta, FrameParts, Layout, LayoutError, Modifier, Plane, Rect, Size,
};
use dmaframe_testkit::{Device, Leaks, memfd, need, system_heap, udmabuf};

const SIZE: Size = Size::new(64, 32);
/// NV12, tight: 64 * 32 * 3 / 2.
const LEN: u64 = 3072;

fn nv12(objects: Vec<OwnedFd>) -> FrameParts {
    let mut parts = FrameParts::new(Fourcc::NV12, SIZE);
    parts.objects = objects;
    parts.planes = vec![plane(0, 0, 64), plane(0, 64 * 32, 64)];
    parts
}

const fn plane(object: usize, offset: u64, stride: u32) -> Plane {
    Plane {
        object,
        offset,
        stride,
    }
}

fn sealed() -> OwnedFd {
    memfd(LEN, true).unwrap().into()
}

/// What `Frame::try_from` says, after checking that the parts came back whole.
fn refusal(parts: FrameParts) -> Error {
    let (objects, planes) = (parts.objects.len(), parts.planes.len());
    let rejected = Frame::try_from(parts).expect_err("these parts must be refused");
    assert_eq!(
        (rejected.value.objects.len(), rejected.value.planes.len()),
        (objects, planes)
    );
    rejected.error
}

#[test]
fn good_parts_are_accepted_so_that_the_refusals_below_mean_something() {
    let frame = Frame::try_from(nv12(vec![sealed()])).unwrap();
    assert_eq!(
        frame.map_read(Duration::ZERO).unwrap().to_tight().unwrap().len(),
        LEN as usize
    );
}

#[test]
fn a_descriptor_that_is_no_dmabuf_is_named_with_its_magic() {
    for path in ["/dev/null", "/proc/self/maps", "/"] {
        let fd = File::open(path).unwrap().into();
        assert!(
            matches!(refusal(nv12(vec![fd])), Error::NotDmabuf { object: 0, .. }),
            "{path}"
        );
    }
    let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(matches!(
        refusal(nv12(vec![socket.into()])),
        Error::NotDmabuf { object: 0, .. }
    ));
}

#[test]
fn an_unsealed_memfd_is_refused_because_its_owner_could_truncate_it() {
    let fd = memfd(LEN, false).unwrap().into();
    assert_eq!(refusal(nv12(vec![fd])), Error::Unsealed { object: 0, seals: 0 });
}

#[test]
fn an_accepted_memfd_can_no_longer_be_truncated_under_a_reader() {
    let memory = memfd(LEN, true).unwrap();
    let frame = Frame::try_from(nv12(vec![memory.try_clone().unwrap().into()])).unwrap();
    let view = frame.map_read(Duration::ZERO).unwrap();
    assert!(memory.set_len(0).is_err(), "the seal forbids it");
    assert_eq!(view.to_tight().unwrap().len(), LEN as usize);
}

#[test]
fn a_memfd_that_shrinks_and_is_sealed_while_it_is_looked_at_has_no_more_than_its_last_size() {
    use rustix::fs::SealFlags;
    for _ in 0..2000 {
        let memory = memfd(2 * 4096, false).unwrap();
        let theirs = memory.try_clone().unwrap();
        let start = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                rustix::fs::ftruncate(&theirs, 4096).unwrap();
                rustix::fs::fcntl_add_seals(&theirs, SealFlags::SHRINK).unwrap();
            });
            start.wait();
            for _ in 0..20 {
                match dmaframe_core::Object::probe(std::os::fd::AsFd::as_fd(&memory), 0) {
                    Ok(probe) => assert_eq!(probe.size, 4096),
                    Err(error) => assert!(matches!(error, Error::Unsealed { .. }), "{error}"),
                }
            }
        });
    }
}

#[test]
fn a_dmabuf_can_not_be_truncated_either() {
    let fd = udmabuf(&need!(Device::Udmabuf), LEN).unwrap();
    let copy = fd.try_clone().unwrap();
    let frame = Frame::try_from(nv12(vec![fd])).unwrap();
    assert!(rustix::fs::ftruncate(copy, 0).is_err());
    assert_eq!(
        frame.map_read(Duration::ZERO).unwrap().to_tight().unwrap().len(),
        LEN as usize
    );
}

#[test]
fn a_plane_past_the_end_is_named_with_its_end_and_the_object_size() {
    let mut parts = nv12(vec![sealed()]);
    parts.planes[1].offset += 1;
    let error = refusal(parts);
    assert_eq!(
        error,
        Error::Layout(LayoutError::PastEnd {
            plane: 1,
            end: LEN + 1,
            object: 0,
            object_size: LEN
        })
    );
    assert_eq!(
        error.to_string(),
        "plane 1 ends at byte 3073 of object 0, which has 3072"
    );
}

#[test]
fn sizes_that_overflow_u32_or_u64_do_not_wrap_into_something_small() {
    // Rows times stride passes 2^32: must not be taken modulo.
    let mut parts = nv12(vec![sealed()]);
    parts.planes[0].stride = u32::MAX;
    assert!(matches!(
        refusal(parts),
        Error::Layout(LayoutError::PastEnd { plane: 0, .. })
    ));

    let mut parts = nv12(vec![sealed()]);
    parts.planes[1].offset = u64::MAX;
    assert_eq!(refusal(parts), Error::Layout(LayoutError::Overflow { plane: 1 }));

    let mut parts = nv12(vec![sealed()]);
    parts.size = Size::new(64, u32::MAX);
    parts.planes[0].stride = u32::MAX;
    assert!(matches!(
        refusal(parts),
        Error::Layout(LayoutError::PastEnd { plane: 0, .. })
    ));

    let mut parts = nv12(vec![sealed()]);
    parts.size = Size::new(u32::MAX, u32::MAX);
    assert!(matches!(
        refusal(parts),
        Error::Layout(LayoutError::StrideTooSmall { plane: 0, .. })
    ));
    assert!(matches!(
        Layout::tight(Fourcc::ABGR16161616, Size::new(u32::MAX, 1)),
        Err(LayoutError::Overflow { plane: 0 })
    ));
}

#[test]
fn a_stride_below_the_row_is_named_with_both_numbers() {
    let mut parts = nv12(vec![sealed()]);
    parts.planes[1].stride = 63;
    assert_eq!(
        refusal(parts),
        Error::Layout(LayoutError::StrideTooSmall {
            plane: 1,
            stride: 63,
            row_bytes: 64
        })
    );
}

#[test]
fn an_empty_size_is_refused() {
    for size in [Size::new(0, 32), Size::new(64, 0), Size::new(0, 0)] {
        let mut parts = nv12(vec![sealed()]);
        parts.size = size;
        assert_eq!(refusal(parts), Error::Layout(LayoutError::EmptySize { size }));
    }
}

#[test]
fn odd_sizes_of_subsampled_formats_round_chroma_up() {
    // 63 x 31: chroma needs 32 pairs by 16 rows. With room for 15 rows only it must be refused, with 16 not.
    let short = 64 * 31 + 64 * 15;
    for (len, fits) in [(short, false), (short + 64, true)] {
        let mut parts = nv12(vec![memfd(len, true).unwrap().into()]);
        parts.size = Size::new(63, 31);
        parts.planes[1].offset = 64 * 31;
        if fits {
            let frame = Frame::try_from(parts).unwrap();
            let view = frame.map_read(Duration::ZERO).unwrap();
            assert_eq!(view.layout().rows(1), 16);
            assert_eq!(view.copy_row(1, 15, &mut [0; 64]).unwrap(), 64);
        } else {
            assert!(matches!(
                refusal(parts),
                Error::Layout(LayoutError::PastEnd { plane: 1, .. })
            ));
        }
    }
}

#[test]
fn too_few_or_too_many_planes_are_counted() {
    for found in [0, 1, 3, 5] {
        let mut parts = nv12(vec![sealed()]);
        parts.planes = vec![plane(0, 0, 64); found];
        assert_eq!(
            refusal(parts),
            Error::Layout(LayoutError::PlaneCount {
                fourcc: Fourcc::NV12,
                found,
                expected: 2
            })
        );
    }
}

#[test]
fn too_few_or_too_many_objects_are_counted_and_none_is_carried_for_nothing() {
    for found in [0, 5] {
        let parts = nv12((0..found).map(|_| sealed()).collect());
        assert_eq!(
            refusal(parts),
            Error::Layout(LayoutError::ObjectCount { found, limit: 4 })
        );
    }
    assert_eq!(
        refusal(nv12(vec![sealed(), sealed()])),
        Error::Layout(LayoutError::UnusedObject { object: 1 })
    );
}

#[test]
fn a_plane_index_out_of_range_is_named() {
    let mut parts = nv12(vec![sealed()]);
    parts.planes[1].object = 7;
    assert_eq!(
        refusal(parts),
        Error::Layout(LayoutError::ObjectIndex {
            plane: 1,
            found: 7,
            objects: 1
        })
    );
}

#[test]
fn an_unknown_format_is_refused_by_its_code() {
    let mut parts = nv12(vec![sealed()]);
    parts.fourcc = Fourcc::new(b"WAT?");
    assert_eq!(
        refusal(parts),
        Error::Layout(LayoutError::UnknownFormat {
            fourcc: Fourcc::new(b"WAT?")
        })
    );
}

#[test]
fn an_implicit_modifier_is_kept_and_never_mapped_as_linear() {
    let mut parts = nv12(vec![sealed()]);
    parts.modifier = Modifier::INVALID;
    let frame = Frame::try_from(parts).unwrap();
    assert_eq!(frame.modifier(), Modifier::INVALID);
    assert_eq!(
        frame.map_read(Duration::ZERO).unwrap_err(),
        Error::NotLinear {
            modifier: Modifier::INVALID
        }
    );
}

#[test]
fn a_visible_rect_outside_the_picture_is_refused() {
    let rect = Rect {
        x: 1,
        y: 0,
        width: 64,
        height: 32,
    };
    let mut parts = nv12(vec![sealed()]);
    parts.meta.visible = Some(rect);
    assert_eq!(
        refusal(parts),
        Error::Layout(LayoutError::Visible { rect, size: SIZE })
    );
}

#[test]
fn a_read_only_descriptor_is_not_mapped_for_writing() {
    let fd = system_heap(&need!(Device::SystemHeap), LEN, false).unwrap();
    let objects = [std::sync::Arc::new(dmaframe_core::Object::new(fd, 0).unwrap())];
    let planes = [plane(0, 0, 64), plane(0, 64 * 32, 64)];
    // SAFETY: the descriptor was just made and nobody else has it.
    let buffer = unsafe {
        dmaframe_core::raw::private_buffer(Fourcc::NV12, Modifier::LINEAR, SIZE, objects, &planes, 0)
    };
    let buffer = std::sync::Arc::new(buffer.unwrap());
    let mut frame = Frame::new(
        buffer,
        FrameMeta::default(),
        dmaframe_core::Fence::Signaled,
        dmaframe_core::Lease::none(),
    )
    .unwrap();
    assert_eq!(
        frame.map_write(Duration::ZERO).unwrap_err(),
        Error::ReadOnly { object: 0 }
    );
    assert_eq!(
        frame.map_read(Duration::ZERO).unwrap().row(0, 0).unwrap().len(),
        64
    );
}

#[test]
fn dmabufs_and_memfds_do_not_mix() {
    let fd = udmabuf(&need!(Device::Udmabuf), LEN).unwrap();
    let mut parts = nv12(vec![fd, sealed()]);
    parts.planes[1] = plane(1, 0, 64);
    assert_eq!(refusal(parts), Error::MixedObjects { object: 1 });
}

#[test]
fn a_socket_closed_meanwhile_or_a_path_only_descriptor_is_an_error_and_no_panic() {
    // An `OwnedFd` cannot be closed under us in safe code; the nearest a peer can do is send one that allows nothing.
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let fd = rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()).unwrap();
    assert!(matches!(
        refusal(nv12(vec![fd])),
        Error::NotDmabuf { object: 0, .. } | Error::Os { .. }
    ));
}

#[test]
fn refused_and_accepted_parts_leave_no_descriptor_behind() {
    // In a process of its own: other tests of this binary open and close descriptors meanwhile.
    if std::env::var_os("DMAFRAME_LEAK_CHILD").is_none() {
        let exe = std::env::current_exe().unwrap();
        let name = "refused_and_accepted_parts_leave_no_descriptor_behind";
        let child = std::process::Command::new(exe)
            .args(["--exact", name, "--test-threads=1"])
            .env("DMAFRAME_LEAK_CHILD", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}");
        assert!(
            said.contains("1 passed"),
            "a test of another name runs nothing: {said}"
        );
        return;
    }
    let before = Leaks::now();
    for round in 0..200 {
        let mut parts = nv12(vec![sealed()]);
        if round % 2 == 0 {
            parts.planes[0].object = 3;
            drop(Frame::try_from(parts).unwrap_err());
        } else {
            let frame = Frame::try_from(parts).unwrap();
            drop(frame.map_read(Duration::ZERO).unwrap());
        }
    }
    before.check();
}

/// The borrow checker has no test for this one: a closed descriptor number in `OwnedFd` is a bug of whoever made it.
/// What the kernel answers for it still must be an error.
#[test]
fn a_closed_descriptor_is_an_error_and_no_panic() {
    use std::os::fd::{BorrowedFd, RawFd};
    const NOBODY: RawFd = 1_000_000;
    // SAFETY: nothing is done with the number but asking the kernel about it, which answers EBADF.
    let closed = unsafe { BorrowedFd::borrow_raw(NOBODY) };
    assert!(matches!(
        dmaframe_core::Object::probe(closed, 0),
        Err(Error::Os {
            call: "fstat",
            errno: rustix::io::Errno::BADF,
            ..
        })
    ));
}

#[test]
fn a_huge_sparse_memfd_costs_its_sender_nothing_and_us_nothing_either() {
    let claim = |limit| {
        let mut parts = FrameParts::new(Fourcc::R8, Size::new(1 << 22, 1 << 20));
        parts.objects.push(memfd(1 << 42, true).unwrap().into());
        parts.planes.push(plane(0, 0, 1 << 22));
        parts.limit = limit;
        parts
    };
    let (bytes, limit) = (1 << 42, FrameParts::LIMIT);
    assert_eq!(
        refusal(claim(limit)),
        Error::Layout(LayoutError::TooLarge { bytes, limit })
    );
    // Who lifts the limit still gets an error and no abort.
    let frame = Frame::try_from(claim(u64::MAX)).unwrap();
    match frame.detach(Duration::ZERO) {
        Err(Error::NoMemory { bytes }) => assert_eq!(bytes, 1 << 42),
        Err(Error::Os { call: "mmap", .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Where this process has mapped a memfd: bytes and permissions.
fn mappings(fd: &OwnedFd) -> Vec<(u64, String)> {
    let ino = rustix::fs::fstat(fd).unwrap().st_ino.to_string();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let words = maps
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .filter(|words| words[4] == ino && words[5].starts_with("/memfd:"))
        .map(|words| {
            let (start, end) = words[0].split_once('-').unwrap();
            let at = |hex| u64::from_str_radix(hex, 16).unwrap();
            (at(end) - at(start), words[1].to_owned())
        })
        .collect()
}

#[test]
fn padding_counts_against_the_limit_since_a_copy_touches_its_pages() {
    let mut parts = FrameParts::new(Fourcc::R8, Size::new(1, 1 << 22));
    parts.objects.push(memfd(1 << 34, true).unwrap().into());
    parts.planes.push(plane(0, 0, 4096));
    let (bytes, limit) = (1 << 34, FrameParts::LIMIT);
    assert_eq!(
        refusal(parts),
        Error::Layout(LayoutError::TooLarge { bytes, limit })
    );
    // So does what lies in front of a plane, since it is mapped.
    let mut parts = nv12(vec![memfd(1 << 34, true).unwrap().into()]);
    parts.planes[1].offset = 1 << 33;
    assert!(matches!(
        refusal(parts),
        Error::Layout(LayoutError::TooLarge { .. })
    ));
}

#[test]
fn of_a_huge_memfd_only_what_the_picture_reaches_over_is_mapped() {
    let fd: OwnedFd = memfd(60 << 40, true).unwrap().into();
    let frame = Frame::try_from(nv12(vec![fd.try_clone().unwrap()])).unwrap();
    let picture = frame.map_read(Duration::ZERO).unwrap().to_tight().unwrap();
    assert_eq!(picture, vec![0; LEN as usize]);
    assert_eq!(mappings(&fd), [(4096, "rw-s".to_owned())]);
}

#[test]
fn a_second_buffer_that_needs_more_of_a_memfd_gets_it() {
    let fd: OwnedFd = memfd(4 * 4096, true).unwrap().into();
    let objects = [std::sync::Arc::new(dmaframe_core::Object::new(fd, 0).unwrap())];
    let bytes = |offset| {
        let planes = [plane(0, offset, 64), plane(0, offset + 64 * 32, 64)];
        let buffer =
            dmaframe_core::Buffer::new(Fourcc::NV12, Modifier::LINEAR, SIZE, objects.clone(), &planes, 0);
        let (fence, lease) = (dmaframe_core::Fence::Signaled, dmaframe_core::Lease::none());
        let buffer = std::sync::Arc::new(buffer.unwrap());
        let frame = Frame::new(buffer, FrameMeta::default(), fence, lease).unwrap();
        let view = frame.map_read(Duration::ZERO).unwrap();
        view.to_tight().unwrap().len() as u64
    };
    assert_eq!([bytes(0), bytes(3 * 4096), bytes(4096)], [LEN; 3]);
}

#[test]
fn a_memfd_of_huge_pages_is_refused_because_reading_it_can_end_in_sigbus() {
    use rustix::fs::{MemfdFlags, SealFlags};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
    let Ok(fd) = rustix::fs::memfd_create("huge", flags) else {
        // The lab's kernel has none, like many others: the host's own run shows it.
        return eprintln!("no huge pages here");
    };
    rustix::fs::ftruncate(&fd, 2 << 20).unwrap();
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
    assert_eq!(
        refusal(nv12(vec![fd])),
        Error::NotTmpfs {
            object: 0,
            magic: 0x9584_58f6
        }
    );
}

#[test]
fn a_memfd_that_nobody_can_write_any_more_is_mapped_in_a_way_that_every_kernel_takes() {
    let memory = memfd(LEN, true).unwrap();
    rustix::io::write(&memory, &[3; 64]).unwrap();
    rustix::fs::fcntl_add_seals(&memory, rustix::fs::SealFlags::WRITE).unwrap();
    let fd: OwnedFd = memory.into();
    let frame = Frame::try_from(nv12(vec![fd.try_clone().unwrap()])).unwrap();
    let mut row = [0; 64];
    let view = frame.map_read(Duration::ZERO).unwrap();
    view.copy_row(0, 0, &mut row).unwrap();
    assert_eq!(row, [3; 64]);
    // Kernels before 6.7 refuse a shared mapping of a descriptor that is open for writing.
    assert_eq!(mappings(&fd), [(4096, "r--p".to_owned())]);
}

#[test]
fn a_memfd_sealed_after_it_was_accepted_is_still_read() {
    for seal in [rustix::fs::SealFlags::WRITE, rustix::fs::SealFlags::FUTURE_WRITE] {
        let memory = memfd(LEN, true).unwrap();
        rustix::io::write(&memory, &[3; 64]).unwrap();
        let frame = Frame::try_from(nv12(vec![memory.try_clone().unwrap().into()])).unwrap();
        rustix::fs::fcntl_add_seals(&memory, seal).unwrap();
        let mut row = [0; 64];
        let view = frame.map_read(Duration::ZERO).unwrap();
        view.copy_row(0, 0, &mut row).unwrap();
        assert_eq!(row, [3; 64], "{seal:?}");
    }
}

#[test]
fn a_memfd_its_owner_sealed_against_writing_is_read_and_never_written() {
    let memory = memfd(LEN, true).unwrap();
    rustix::io::write(&memory, &[3; 64]).unwrap();
    rustix::fs::fcntl_add_seals(&memory, rustix::fs::SealFlags::FUTURE_WRITE).unwrap();
    let frame = Frame::try_from(nv12(vec![memory.into()])).unwrap();
    assert!(!frame.buffer().objects()[0].is_writable());
    let mut row = [0; 64];
    frame
        .map_read(Duration::ZERO)
        .unwrap()
        .copy_row(0, 0, &mut row)
        .unwrap();
    assert_eq!(row, [3; 64]);
}
