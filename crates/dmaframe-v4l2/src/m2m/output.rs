//! What comes out of a mem2mem device: the queue that cameras have too, with the format of the stream.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use dmaframe_core::capture::Stats;
use dmaframe_core::report::Hop;
use dmaframe_core::{Budget, FrameMeta};

use super::builder::OutputMemory;
use super::role::Role;
use crate::device::{Device, Queue};
use crate::error::Error;
use crate::format::{Format, FormatRequest};
use crate::queue::{self, Fill, MAX_SLOTS, Source};

/// What comes out, and how it was asked for.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` while a decoder does not know yet what is in its stream.
    pub(super) fill: Option<Fill>,
    pub(super) format: Option<Format>,
    /// Colour and visible rect of pictures.
    pub(super) meta: FrameMeta,
    pub(super) wanted: FormatRequest,
    pub(super) source: OutputMemory,
    pub(super) memory: u32,
    pub(super) budget: Budget,
    pub(super) implicit: bool,
    /// What is counted before the first buffers are there.
    pub(super) hop: Arc<Hop>,
    pub(super) stats: Stats,
}

impl Output {
    /// Buffers for what comes out, and starts them.
    pub(super) fn open(
        &mut self,
        device: &Device,
        role: Role,
        epoll: &OwnedFd,
        format: Format,
    ) -> Result<(), Error> {
        let minimum = queue::driver_minimum(device, Queue::Capture);
        let mut budget = self.budget;
        budget.min_free = budget.min_free.max(minimum);
        let source = self
            .source
            .buffers(device, &format, minimum, self.budget.min_free)?;
        self.memory = source.memory();
        match &mut self.fill {
            Some(fill) => fill.reallocate(device, &format, &source, budget, epoll)?,
            empty => {
                let budget = (budget, self.implicit);
                let mut fill = Fill::allocate(device, &format, &source, budget, epoll)?;
                // The hop that was given out before there were buffers goes on counting.
                fill.hop = Arc::clone(&self.hop);
                *empty = Some(fill);
            }
        }
        self.meta.color = format.color;
        self.meta.visible = match role {
            Role::Decoder => queue::unless_gone(device.visible(format.size))?,
            _ => None,
        };
        self.format = Some(format);
        match &mut self.fill {
            Some(fill) => fill.stream_on(device, epoll),
            None => Ok(()),
        }
    }

    /// The metadata of what comes out, by that of what went in.
    pub(super) fn meta_of(&self, input: FrameMeta) -> FrameMeta {
        let mut meta = input;
        let raw = self.fill.as_ref().is_some_and(|fill| fill.slots.codec.is_none());
        // The carrier of an access unit has one row.
        meta.visible = if raw { self.meta.visible } else { None };
        let told = self
            .format
            .as_ref()
            .is_some_and(|format| format.raw_color.colorspace != 0);
        if raw && told {
            meta.color = self.meta.color;
        }
        meta
    }
}

/// What the builder fixed about the buffers of what comes out.
impl OutputMemory {
    fn buffers(
        &mut self,
        device: &Device,
        format: &Format,
        minimum: usize,
        min_free: usize,
    ) -> Result<Source, Error> {
        match self {
            Self::Driver { count } => Ok(Source::Export {
                count: count_of(*count, minimum, min_free),
            }),
            Self::Provided(provider) => {
                let layout = format.layout(device)?;
                let buffers = (provider.0)(format, &layout);
                Ok(Source::Import { buffers })
            }
        }
    }
}

/// How many buffers of its own the driver is asked for.
fn count_of(asked: Option<u32>, minimum: usize, min_free: usize) -> u32 {
    let (count, least) = match asked {
        // What stays, and one to go out.
        Some(asked) => (asked, minimum.max(min_free).saturating_add(1)),
        // What the driver works with (a decoder's reference pictures), what stays with it besides, and two for consumers.
        None => (0, minimum.saturating_add(min_free).saturating_add(2)),
    };
    count.max(u32::try_from(least.min(MAX_SLOTS)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::count_of;

    #[test]
    fn consumers_have_two_buffers_more_than_driver_and_budget_keep() {
        assert_eq!(count_of(None, 0, 2), 4);
        assert_eq!(count_of(None, 6, 2), 10, "an H264 decoder's reference pictures");
        assert_eq!(count_of(None, 0, 0), 2);
        assert_eq!(count_of(None, usize::MAX, 2), 32, "the kernel's most");
        assert_eq!(count_of(Some(8), 0, 2), 8, "as asked");
        assert_eq!(count_of(Some(1), 4, 2), 5, "but one to go out");
        assert_eq!(count_of(Some(33), 0, 2), 33, "refused later");
    }
}
