//! What makes memory: each allocator allocates a picture, which is written and read back.

use std::sync::Arc;
use std::time::Duration;

use super::nodes;
use super::report::{AllocatorReport, Problem, Sandbox};
use crate::alloc::{Allocator, Available, Bytes, DmaHeap, Error, Memfd, Request, Udmabuf};
use crate::negotiate::MemoryKind;
use crate::{Fence, Fourcc, Frame, FrameMeta, Lease, Size, next_generation};

/// An allocator that works.
#[derive(Debug)]
pub(super) struct Working {
    pub(super) allocator: Box<dyn Allocator>,
    pub(super) kind: MemoryKind,
}

pub(super) const SIZE: Size = Size::new(64, 48);
const SOON: Duration = Duration::from_secs(1);

pub(super) fn examine(
    sandbox: &Sandbox,
    problems: &mut Vec<Problem>,
) -> (Vec<AllocatorReport>, Vec<Working>) {
    let (mut reports, mut working) = (Vec::new(), Vec::new());
    for allocator in candidates() {
        let name = allocator.name().to_owned();
        let tried = allocator
            .probe()
            .and_then(|found| frame(&*allocator).map(|_| found));
        match tried {
            Ok(Available {
                max_object_len, kind, ..
            }) => {
                reports.push(AllocatorReport {
                    name,
                    works: true,
                    memory: Some(kind.to_string()),
                    max_object_len,
                    problem: None,
                });
                working.push(Working { allocator, kind });
            }
            Err(error) => {
                let problem = problem(&name, &error, sandbox);
                reports.push(AllocatorReport {
                    name,
                    works: false,
                    memory: None,
                    max_object_len: None,
                    problem: Some(problem.reason.clone()),
                });
                // A driver that does not make this kind of picture lacks nothing.
                if !matches!(error, Error::Format { .. } | Error::Modifier { .. }) {
                    problems.push(problem);
                }
            }
        }
    }
    (reports, working)
}

/// Every allocator there could be, liked best first.
fn candidates() -> Vec<Box<dyn Allocator>> {
    let mut list: Vec<Box<dyn Allocator>> = vec![Box::new(Udmabuf::new())];
    let heaps = DmaHeap::list();
    if heaps.is_empty() {
        list.push(Box::new(DmaHeap::system()));
    }
    list.extend(
        heaps
            .iter()
            .map(|name| Box::new(DmaHeap::named(name)) as Box<dyn Allocator>),
    );
    #[cfg(feature = "gbm")]
    list.extend(
        crate::alloc::Gbm::render_nodes()
            .into_iter()
            .map(|node| Box::new(crate::alloc::Gbm::at(node)) as _),
    );
    #[cfg(feature = "drm")]
    list.extend(
        crate::alloc::DrmDumb::cards()
            .into_iter()
            .map(|node| Box::new(crate::alloc::DrmDumb::at(node)) as _),
    );
    list.push(Box::new(Memfd::new()));
    list.push(Box::new(Bytes::new()));
    list
}

/// A picture in the allocator's memory, in the first of two formats that it makes.
pub(super) fn frame(allocator: &dyn Allocator) -> Result<(Frame, Vec<u8>), Error> {
    let in_format = |fourcc| {
        let request = Request::new(fourcc, SIZE);
        let layout = allocator.plan(&request)?;
        picture(allocator, &Request::exact(layout))
    };
    // GPUs' drivers make no YUV, most of them.
    in_format(Fourcc::NV12).or_else(|_| in_format(Fourcc::XRGB8888))
}

/// A frame of `request` with a picture in it, which is read back, and the picture.
fn picture(allocator: &dyn Allocator, request: &Request) -> Result<(Frame, Vec<u8>), Error> {
    let layout = allocator.plan(request)?;
    let buffer = Arc::new(allocator.allocate(&layout, next_generation())?);
    let mut frame = Frame::new(buffer, FrameMeta::default(), Fence::Signaled, Lease::none())?;
    let bytes: Vec<u8> = (0..layout.tight_len())
        .map(|i| (i * 37 + i / 251) as u8)
        .collect();
    frame.map_write(SOON)?.copy_from_tight(&bytes)?;
    if frame.map_read(SOON)?.to_tight()? != bytes {
        return Err(Error::Format {
            device: allocator.name().to_owned(),
            fourcc: layout.fourcc(),
            size: layout.size(),
            reason: "other bytes were read than had been written",
        });
    }
    Ok((frame, bytes))
}

fn problem(name: &str, error: &Error, sandbox: &Sandbox) -> Problem {
    match error {
        Error::Missing { device, remedy } => Problem {
            object: device.clone(),
            reason: "does not exist".to_owned(),
            remedy: sandbox.appearance(device, remedy),
        },
        Error::Denied { device, .. } => {
            // Again, for the error itself: there are two of them, with other remedies.
            let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
            let again = nodes::open(device.as_ref(), sandbox, "").err();
            again.unwrap_or_else(|| nodes::refused(device.as_ref(), &denied, sandbox, ""))
        }
        Error::NoDriver {
            device,
            call,
            errno,
            remedy,
        } => Problem {
            object: device.clone(),
            reason: format!("is there, but its driver is not ({call}: {errno})"),
            remedy: remedy.clone(),
        },
        Error::Incapable { device, what, remedy } => Problem {
            object: device.clone(),
            reason: format!("has no {what}"),
            remedy: (*remedy).to_owned(),
        },
        other => Problem {
            object: name.to_owned(),
            reason: other.to_string(),
            remedy: "the kernel's log (dmesg) may say more".to_owned(),
        },
    }
}
