//! Memory for CPUs only: shared between processes, or private.

use dmaframe_core::negotiate::{FormatSet, Usage};
use dmaframe_core::{Buffer, Layout};
use rustix::io::Errno;

use crate::allocator::{Allocator, Available, Sharing};
use crate::error::Error;
use crate::linear;
use crate::request::Request;
use crate::sys::{Fresh, memfd::Sealed};

/// Sealed memfds: shared memory for CPUs where no dma-buf can be had.
///
/// Sealed with `F_SEAL_SHRINK`, so that a peer can map it without fear of SIGBUS, and with all pages taken at once, so
/// that a lack of memory is an error and not a signal. GPUs can import its pages as host memory
/// (`VK_EXT_external_memory_host`).
#[derive(Debug, Default)]
pub struct Memfd(());

impl Memfd {
    /// Needs no device.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Allocator for Memfd {
    fn name(&self) -> &str {
        "memfd"
    }

    fn probe(&self) -> Result<Available, Error> {
        let page = rustix::param::page_size() as u64;
        Sealed::new("dmaframe", page)
            .map_err(|(call, errno)| Error::allocation("memfd", page, call, errno))?;
        Ok(Available::new(Sharing::Processes))
    }

    fn formats(&self) -> FormatSet {
        linear::formats("memfd", Usage::Cpu)
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        linear::plan("memfd", request)
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        linear::assemble("memfd", layout, generation, |len| {
            let refused = |call| move |errno| Error::allocation("memfd", len, call, errno);
            let memfd = Sealed::new("dmaframe", len).map_err(|(call, errno)| refused(call)(errno))?;
            memfd.reserve().map_err(refused("fallocate"))?;
            Ok(Fresh::from(memfd))
        })
    }
}

/// Bytes of this process: the last resort, which cannot fail where anything works. Nobody can be given them without a
/// copy.
#[derive(Debug, Default)]
pub struct Bytes(());

impl Bytes {
    /// Needs nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Allocator for Bytes {
    fn name(&self) -> &str {
        "bytes"
    }

    fn probe(&self) -> Result<Available, Error> {
        Ok(Available::new(Sharing::Process))
    }

    fn formats(&self) -> FormatSet {
        linear::formats("bytes", Usage::Cpu)
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        let layout = linear::plan("bytes", request)?;
        one_object(&layout)?;
        Ok(layout)
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        linear::require("bytes", layout)?;
        one_object(layout)?;
        let len = layout.object_len(0);
        linear::pages("bytes", len)?;
        let none = || Error::allocation("this process", len, "malloc", Errno::NOMEM);
        let size = usize::try_from(len).map_err(|_| none())?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| none())?;
        bytes.resize(size, 0);
        Ok(Buffer::from_bytes(bytes.into_boxed_slice(), layout)?.with_generation(generation))
    }
}

fn one_object(layout: &Layout) -> Result<(), Error> {
    match linear::objects(layout) {
        1 => Ok(()),
        found => Err(Error::Objects {
            device: "bytes".to_owned(),
            found,
            limit: 1,
        }),
    }
}
