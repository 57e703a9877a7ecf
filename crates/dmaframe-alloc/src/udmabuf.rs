//! dma-bufs of ordinary memory, through `/dev/udmabuf`.

use std::path::PathBuf;

use dmaframe_core::negotiate::{FormatSet, Usage};
use dmaframe_core::{Buffer, Layout};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::allocator::{Allocator, Available, Sharing};
use crate::error::Error;
use crate::linear;
use crate::node::Node;
use crate::request::Request;
use crate::sys::{self, memfd::Sealed};

const NAME: &str = "udmabuf";
const LIMIT: &str = "/sys/module/udmabuf/parameters/size_limit_mb";

/// `/dev/udmabuf`: dma-bufs of a memfd's pages (`drivers/dma-buf/udmabuf.c`).
///
/// Cached for the CPU, mapped lazily, counted to this process's cgroup; scattered pages, so a device without an IOMMU
/// cannot import it. The memfd is closed once the dma-buf is made. One buffer may have `size_limit_mb` MiB, 64 unless
/// the administrator says otherwise: enough for a 4K RGBA picture (32), not for 8K (127).
#[derive(Debug)]
pub struct Udmabuf {
    node: Node,
    limit: PathBuf,
}

impl Udmabuf {
    /// Of `/dev/udmabuf`. Opens nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::at("/dev/udmabuf")
    }

    /// Of another path to that device, as sandboxes have.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            node: Node::new(path, OFlags::RDWR),
            limit: LIMIT.into(),
        }
    }

    /// Most bytes one object can have, if the kernel tells.
    fn limit(&self) -> Option<u64> {
        let text = std::fs::read_to_string(&self.limit).ok()?;
        // The parameter is a signed int; a negative one would allow nothing.
        text.trim().parse::<u64>().ok()?.checked_mul(1 << 20)
    }

    fn check_limit(&self, len: u64) -> Result<(), Error> {
        let limit = self.limit().filter(|limit| len > *limit);
        limit.map_or(Ok(()), |limit| {
            Err(Error::TooLarge {
                device: self.node.name(),
                found: len,
                limit,
                setting: format!("{LIMIT} is {}; udmabuf.size_limit_mb=N raises it", limit >> 20),
            })
        })
    }

    fn remedy() -> String {
        "the kernel lacks CONFIG_UDMABUF, or its module is not loaded (modprobe udmabuf)".to_owned()
    }

    fn object(&self, len: u64) -> Result<sys::Fresh, Error> {
        let node = self.node.open(Self::remedy)?;
        self.check_limit(len)?;
        let memfd = Sealed::new("dmaframe", len)
            .map_err(|(call, errno)| Error::allocation("memfd", len, call, errno))?;
        sys::udmabuf::create(node, memfd).map_err(|errno| match errno {
            Errno::NOTTY => Error::NoDriver {
                device: self.node.name(),
                call: "UDMABUF_CREATE",
                errno,
                remedy: Self::remedy(),
            },
            errno => Error::allocation(&self.node.name(), len, "UDMABUF_CREATE", errno),
        })
    }
}

impl Default for Udmabuf {
    fn default() -> Self {
        Self::new()
    }
}

impl Allocator for Udmabuf {
    fn name(&self) -> &str {
        NAME
    }

    fn probe(&self) -> Result<Available, Error> {
        self.node.open(Self::remedy)?;
        Ok(Available {
            max_object_len: self.limit(),
            ..Available::new(Sharing::Devices)
        })
    }

    fn formats(&self) -> FormatSet {
        match self.probe() {
            Ok(_) => linear::formats(NAME, Usage::Any),
            Err(_) => FormatSet::new(NAME),
        }
    }

    fn plan(&self, request: &Request) -> Result<Layout, Error> {
        let layout = linear::plan(NAME, request)?;
        self.check_limit(linear::pages(NAME, linear::largest(&layout))?)?;
        Ok(layout)
    }

    fn allocate(&self, layout: &Layout, generation: u64) -> Result<Buffer, Error> {
        linear::assemble(NAME, layout, generation, |len| self.object(len))
    }
}
