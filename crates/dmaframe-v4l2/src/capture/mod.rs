//! The stream of a camera or a grabber: [`queue`](crate::queue) with nothing behind it.

mod builder;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use dmaframe_core::capture::{Captured, Stats};
use dmaframe_core::report::Hop;
use dmaframe_core::{Budget, Deadline, FrameMeta};
use rustix::event::epoll;

pub use builder::CaptureBuilder;

use crate::device::{Device, Queue};
use crate::error::Error;
use crate::format::{Format, FormatRequest};
use crate::queue::{self, Fill, Source, TOKEN};

/// A running (or stopped) stream of one device.
///
/// Owns the device, the buffers' descriptors and two more (an epoll and the return queue's eventfd). Everything runs
/// on the thread that calls it: there is no thread of its own. Call [`Capture::next`] or [`Capture::try_next`]
/// regularly even when nobody wants a picture, since that is also when returned buffers go back to the driver; the
/// descriptor ([`AsFd`]) is readable whenever there is something to do.
///
/// Frames outlive it: after a stop, or when the capture is dropped or the camera pulled out, the memory of frames
/// still held stays readable, and their lease does nothing more.
#[derive(Debug)]
pub struct Capture {
    /// First, so that it closes first: a stream that would not stop ends then, and only then may others have its buffers.
    device: Device,
    format: Format,
    source: Source,
    fill: Fill,
    epoll: OwnedFd,
    /// Whether the device is in the epoll.
    watched: bool,
    /// As it was asked for: what the driver needs may differ by format.
    budget: Budget,
    /// What is the same for every frame: colour, visible rect, orientation.
    meta: FrameMeta,
}

impl Capture {
    /// A capture of `device` to be set up.
    pub fn builder(device: Device) -> CaptureBuilder {
        CaptureBuilder::new(device)
    }

    fn build(builder: CaptureBuilder) -> Result<Self, Error> {
        let CaptureBuilder {
            device,
            format,
            interval,
            source,
            budget,
            implicit,
        } = builder;
        let format = match format {
            Some(request) => device.set_format(request)?,
            None => device.format()?,
        };
        if let Some(interval) = interval {
            device.set_interval(interval)?;
        }
        let kept = keeping(&device, budget);
        let epoll = queue::new_epoll(&device)?;
        let fill = Fill::allocate(&device, &format, &source, (kept, implicit), &epoll)?;
        let mut capture = Self {
            device,
            format,
            source,
            fill,
            epoll,
            watched: false,
            budget,
            meta: FrameMeta::default(),
        };
        capture.begin()?;
        Ok(capture)
    }

    /// The device, for its controls and events.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The format being captured.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// How many buffers there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.fill.slots.slots.len()
    }

    /// How many buffers the driver has to fill now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.fill.slots.with_driver()
    }

    /// Counters since the capture was built.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.fill.stats
    }

    /// The hop from the driver to the consumer, for a [`PathReport`](dmaframe_core::report::PathReport).
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        &self.fill.hop
    }

    /// Whether the stream runs.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.fill.streaming
    }

    /// Starts the stream again after [`Capture::stop`]; nothing when it runs. Colour, visible rect and orientation are
    /// read anew. Buffers that consumers still hold join when they come back.
    ///
    /// # Errors
    /// [`Error::FormatChanged`] when the device delivers something else by now than the buffers are for;
    /// [`Error::Busy`], [`Error::Request`], [`Error::Unplugged`]. The stream is then stopped.
    pub fn start(&mut self) -> Result<(), Error> {
        if self.fill.streaming {
            return Ok(());
        }
        // Nothing, but after a stop that failed.
        self.stop()?;
        let now = self.device.format()?;
        if !now.has_memory_of(&self.format) {
            return Err(Error::FormatChanged {
                device: self.device.path().to_owned(),
                expected: self.format.to_string(),
                found: now.to_string(),
            });
        }
        self.format = now;
        self.begin()
    }

    /// Starts the stream in the format just set or looked at.
    fn begin(&mut self) -> Result<(), Error> {
        self.meta.color = self.format.color;
        self.meta.visible = queue::unless_gone(self.device.visible(self.format.size))?;
        self.meta.orientation = queue::unless_gone(self.device.orientation())?;
        self.fill.stream_on(&self.device, &self.epoll)?;
        let watched = self.watch();
        if watched.is_err() {
            let _ = self.stream_off();
        }
        watched
    }

    /// Stops the stream (`VIDIOC_STREAMOFF`); nothing when it is stopped. Pictures not yet taken are lost. Frames that
    /// consumers hold stay valid, and their buffers come back as before.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`]; the stream counts as stopped all the same. The buffers that the driver
    /// had are then still its own, so that no frame can be made of them before the capture is gone; another stop tries
    /// again.
    pub fn stop(&mut self) -> Result<(), Error> {
        if !self.fill.streaming && !self.fill.is_stuck() {
            return Ok(());
        }
        self.stream_off()
    }

    /// Adds the device to the epoll once the driver has a buffer. Not before: until the first one is queued after a
    /// start, vb2 answers every poll with `POLLERR`, and an event loop would spin.
    fn watch(&mut self) -> Result<(), Error> {
        if !self.watched && self.fill.slots.with_driver() > 0 {
            epoll::add(&self.epoll, self.device.as_fd(), TOKEN, epoll::EventFlags::IN)
                .map_err(self.device.fail("epoll_ctl"))?;
            self.watched = true;
        }
        Ok(())
    }

    fn stream_off(&mut self) -> Result<(), Error> {
        if std::mem::take(&mut self.watched) {
            let _ = epoll::delete(&self.epoll, self.device.as_fd());
        }
        self.fill.stream_off(&self.device)
    }

    /// Changes the format: stops, frees the buffers, sets the format, gets new buffers and starts again.
    ///
    /// For the driver's own buffers. Frames of the old format that consumers hold stay valid; their lease does nothing
    /// more. After an error the stream is stopped and without buffers; another `reconfigure` can succeed.
    ///
    /// # Errors
    /// As [`CaptureBuilder::start`]; [`Error::ImportFixed`] for imported buffers, which the caller has to allocate
    /// anew: take the device back with [`Capture::into_device`] and build another capture.
    pub fn reconfigure(&mut self, request: FormatRequest) -> Result<&Format, Error> {
        if matches!(self.source, Source::Import { .. }) {
            return Err(Error::ImportFixed {
                device: self.device.path().to_owned(),
            });
        }
        self.stop()?;
        self.free()?;
        self.format = self.device.set_format(request)?;
        let kept = keeping(&self.device, self.budget);
        self.fill
            .reallocate(&self.device, &self.format, &self.source, kept, &self.epoll)?;
        self.begin()?;
        Ok(&self.format)
    }

    /// Stops, frees the buffers and gives the device back.
    ///
    /// # Errors
    /// As [`Capture::stop`]; the device is then closed.
    pub fn into_device(mut self) -> Result<Device, Error> {
        self.stop()?;
        self.free()?;
        // A second handle of the same open device: dropping the capture closes the first.
        self.device.try_clone()
    }

    /// Forgets all slots: leases that are out do nothing more, and the driver has no buffers.
    fn free(&mut self) -> Result<(), Error> {
        self.fill.forget(&self.device, &self.epoll, self.source.memory())
    }

    /// The next picture, waiting for it until `deadline`; `None` when none came. Blocks no longer than that, and not at
    /// all for a deadline that has passed.
    ///
    /// Damaged and incomplete buffers are counted and skipped, never delivered.
    ///
    /// # Errors
    /// [`Error::Unplugged`]; [`Error::Stopped`]; [`Error::Request`] (`VIDIOC_DQBUF`, `EIO`: the driver gave up, a stop
    /// and start may help); [`Error::BufferIndex`], [`Error::Layout`] and [`Error::Core`] from broken drivers.
    pub fn next(&mut self, deadline: impl Into<Deadline>) -> Result<Option<Captured>, Error> {
        let deadline = deadline.into();
        loop {
            if let Some(captured) = self.try_next()? {
                return Ok(Some(captured));
            }
            let left = deadline.remaining();
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            queue::sleep(&self.device, &self.epoll, left, self.fill.is_ticking())?;
        }
    }

    /// The next picture if one is there. Does not block.
    ///
    /// In a steady stream this is one `VIDIOC_DQBUF` for the picture, and one `VIDIOC_QBUF` (and one read of an
    /// eventfd) for each buffer that came back; nothing allocates.
    ///
    /// # Errors
    /// As [`Capture::next`].
    pub fn try_next(&mut self) -> Result<Option<Captured>, Error> {
        if !self.fill.streaming {
            return Err(Error::Stopped {
                device: self.device.path().to_owned(),
            });
        }
        self.fill.reclaim(&self.device, &self.epoll, false)?;
        self.watch()?;
        // Each round takes a buffer that is put back, so a driver that only delivers rubbish ends after one of each.
        for _ in 0..self.slots() {
            let Some(info) = self.fill.slots.dequeue(&self.device)? else {
                return Ok(None);
            };
            let mut meta = self.meta.clone();
            meta.timestamp = queue::timestamp(&info);
            let captured = self
                .fill
                .deliver(&self.device, &self.epoll, &self.format, &info, meta)?;
            if captured.is_some() {
                return Ok(captured);
            }
        }
        Ok(None)
    }
}

/// The budget with what the driver says it needs at least.
fn keeping(device: &Device, mut budget: Budget) -> Budget {
    budget.min_free = budget.min_free.max(queue::driver_minimum(device, Queue::Capture));
    budget
}

impl AsFd for Capture {
    /// One descriptor for everything: readable when a buffer is filled, a consumer gave one back, a release fence has
    /// signalled, or the device is gone. Put it into an event loop (calloop's `Generic`, tokio's `AsyncFd`, mio) and
    /// call [`Capture::try_next`] until it gives `None`. Events of the device (`POLLPRI`) are not in it: watch
    /// [`Capture::device`] for those.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Drop for Capture {
    /// Stops the stream; leases that are out do nothing more. Descriptors close as the fields drop, except those that
    /// frames still hold.
    fn drop(&mut self) {
        let _ = self.stop();
        self.fill.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_moves_between_threads_and_what_it_gives_is_shared() {
        fn send<T: Send>() {}
        fn sync<T: Sync>() {}
        send::<Capture>();
        send::<CaptureBuilder>();
        sync::<Captured>();
        sync::<Device>();
        send::<Error>();
    }
}
