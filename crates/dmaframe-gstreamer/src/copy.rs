//! A copy of a buffer whose memory is not to be shared.
//!
//! Memory with a descriptor may belong to somebody else, who can truncate it (a reader of a mapping then dies of SIGBUS)
//! and write it at any time: it is read through the kernel, row by row, and never mapped. Only what has no descriptor,
//! and so is this process's own, is mapped.

use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use dmaframe_core::{Frame, FrameMeta, FrameParts, Layout, LayoutError, Plane};

use crate::describe::{DescribeError, Picture, Placed};
use crate::error::Error;
use crate::sys::{self, Descriptor};

/// Copies the picture into bytes.
pub(crate) fn picture(
    buffer: &gst::BufferRef,
    picture: &Picture,
    placed: &Placed,
    meta: FrameMeta,
) -> Result<Frame, Error> {
    if !picture.modifier.is_linear() {
        return Err(dmaframe_core::Error::NotLinear {
            modifier: picture.modifier,
        }
        .into());
    }
    let layout = Layout::linear(picture.fourcc, placed.coded, 64).map_err(DescribeError::from)?;
    let (bytes, limit) = (layout.object_len(0), FrameParts::LIMIT);
    if bytes > limit {
        return Err(DescribeError::from(LayoutError::TooLarge { bytes, limit }).into());
    }
    let len = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| dmaframe_core::Error::NoMemory { bytes: len })?;
    bytes.resize(len, 0);
    // Each memory on its own: mapping the whole buffer would merge them with one more copy.
    for (object, index) in placed.memories.iter().enumerate() {
        let memory = buffer.peek_memory(*index);
        let refused = |reason: String| Error::Memory {
            index: *index,
            reason: format!("of {}: {reason}", buffer.n_memory()),
        };
        let planes = || {
            let planes = placed.planes.iter().enumerate();
            planes.filter(move |(_, plane)| plane.object == object)
        };
        match sys::descriptor(sys::root(memory)) {
            Some(Descriptor::Dmabuf(_)) => {
                return Err(refused("is a dma-buf beside memory that is none".to_owned()));
            }
            Some(Descriptor::Other(fd)) => {
                let file = duplicate(fd).map_err(|error| refused(error.to_string()))?;
                for (plane, source) in planes() {
                    copy_plane(&layout, plane, source, &mut bytes, |at, row| {
                        file.read_exact_at(row, at)
                    })
                    .map_err(|error| refused(format!("cannot be read: {error}")))?;
                }
            }
            None => {
                let map = memory
                    .map_readable()
                    .map_err(|_| refused("cannot be mapped".to_owned()))?;
                // The map begins at the memory's window, planes count from the memory's first byte.
                let (from, start) = (map.as_slice(), memory.offset() as u64);
                for (plane, source) in planes() {
                    copy_plane(&layout, plane, source, &mut bytes, |at, row| {
                        let at = at.checked_sub(start).and_then(|at| usize::try_from(at).ok());
                        let found = at.and_then(|at| from.get(at..at.checked_add(row.len())?));
                        row.copy_from_slice(found.ok_or(std::io::ErrorKind::UnexpectedEof)?);
                        Ok(())
                    })
                    .map_err(|_| refused("is shorter mapped than it says".to_owned()))?;
                }
            }
        }
    }
    Ok(Frame::from_bytes(bytes, &layout, meta)?)
}

/// For reads at an offset, which the standard library has for files only.
fn duplicate(fd: BorrowedFd<'_>) -> std::io::Result<File> {
    fd.try_clone_to_owned().map(File::from)
}

/// Has `read` fill each row of a plane from the byte it is told.
fn copy_plane(
    layout: &Layout,
    plane: usize,
    source: &Plane,
    bytes: &mut [u8],
    read: impl Fn(u64, &mut [u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let to = layout.planes()[plane];
    let len = layout.row_bytes(plane);
    for index in 0..layout.rows(plane) {
        // Rows of both were checked to lie inside of what is said to be there.
        let from = source.offset + u64::from(source.stride) * u64::from(index);
        let at = (to.offset + u64::from(to.stride) * u64::from(index)) as usize;
        let row = bytes
            .get_mut(at..at + len)
            .ok_or(std::io::ErrorKind::UnexpectedEof)?;
        read(from, row)?;
    }
    Ok(())
}
