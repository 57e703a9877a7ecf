//! The stream: buffers out of the driver, frames to consumers, buffers back.
//!
//! A buffer goes round: `Home` -> QBUF -> `Driver` -> DQBUF -> frame (`Out`) -> the lease runs on whichever thread drops
//! the last clone and puts the slot number into the [`ReturnQueue`] -> the thread that owns the [`Capture`] takes it
//! out at its next call -> QBUF, at once, or (`Fenced`) when the consumers' release fence has signalled.

mod builder;
mod deliver;
mod extent;
mod request;
mod slots;
mod stats;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use arrayvec::ArrayVec;
use dmaframe_core::report::Hop;
use dmaframe_core::{Bitstream, Budget, Deadline, Fence, Frame, FrameMeta, ReturnQueue};
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;

pub use builder::CaptureBuilder;
pub use stats::Stats;

use crate::device::Device;
use crate::error::Error;
use crate::format::{Format, FormatRequest};
use crate::sys;
use crate::sys::abi;
use request::Source;
use slots::{Place, Slots};
use stats::Sequence;

/// Most slots there can be: the kernel's `VIDEO_MAX_FRAME`.
const MAX_SLOTS: usize = abi::VIDEO_MAX_FRAME as usize;

/// Which descriptor an epoll event is about. Not looked at: every wake-up looks at everything.
const TOKEN: epoll::EventData = epoll::EventData::new_u64(0);

/// What came out of the device.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Captured {
    /// A picture.
    Frame(Frame),
    /// An encoded access unit (MJPG, H264 ...).
    Bitstream(Bitstream),
}

impl Captured {
    /// The frame, if it is one.
    #[must_use]
    pub fn into_frame(self) -> Option<Frame> {
        match self {
            Self::Frame(frame) => Some(frame),
            Self::Bitstream(_) => None,
        }
    }

    /// The access unit, if it is one.
    #[must_use]
    pub fn into_bitstream(self) -> Option<Bitstream> {
        match self {
            Self::Frame(_) => None,
            Self::Bitstream(unit) => Some(unit),
        }
    }

    /// Timestamp, sequence, colour and so on.
    #[must_use]
    pub fn meta(&self) -> &FrameMeta {
        match self {
            Self::Frame(frame) => frame.meta(),
            Self::Bitstream(unit) => unit.meta(),
        }
    }
}

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
    device: Device,
    format: Format,
    source: Source,
    slots: Slots,
    returns: Arc<ReturnQueue>,
    /// Slots in [`Place::Fenced`], with what they wait for.
    fenced: ArrayVec<(usize, Fence), MAX_SLOTS>,
    epoll: OwnedFd,
    streaming: bool,
    /// Whether the device is in the epoll.
    watched: bool,
    budget: Budget,
    /// What is the same for every frame: colour, visible rect, orientation.
    meta: FrameMeta,
    sequence: Sequence,
    stats: Stats,
    hop: Arc<Hop>,
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
            mut budget,
        } = builder;
        let format = match format {
            Some(request) => device.set_format(request)?,
            None => device.format()?,
        };
        if let Some(interval) = interval {
            device.set_interval(interval)?;
        }
        budget.min_free = budget.min_free.max(driver_minimum(&device));
        let slots = Slots::allocate(&device, &format, &source, dmaframe_core::next_generation())?;
        let core = |error| Error::Core {
            device: device.path().to_owned(),
            error,
        };
        let returns = ReturnQueue::new(slots.slots.len()).map_err(core)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(device.fail("epoll_create1"))?;
        epoll::add(&epoll, returns.as_fd(), TOKEN, epoll::EventFlags::IN)
            .map_err(device.fail("epoll_ctl"))?;
        let mode = match source {
            Source::Export { .. } => "EXPBUF",
            Source::Import { .. } => "DMABUF",
        };
        let hop = Hop::new(format!("{}(V4L2,{mode})", device.capabilities().driver));
        let mut capture = Self {
            device,
            format,
            source,
            slots,
            returns,
            fenced: ArrayVec::new(),
            epoll,
            streaming: false,
            watched: false,
            budget,
            meta: FrameMeta::default(),
            sequence: Sequence::default(),
            stats: Stats::default(),
            hop,
        };
        capture.start()?;
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
        self.slots.slots.len()
    }

    /// How many buffers the driver has to fill now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.slots.with_driver()
    }

    /// Counters since the capture was built.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The hop from the driver to the consumer, for a [`PathReport`](dmaframe_core::report::PathReport).
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        &self.hop
    }

    /// Whether the stream runs.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Starts the stream again after [`Capture::stop`]; nothing when it runs. Colour, visible rect and orientation are
    /// read anew. Buffers that consumers still hold join when they come back.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Request`], [`Error::Unplugged`]; the stream is then stopped.
    pub fn start(&mut self) -> Result<(), Error> {
        if self.streaming {
            return Ok(());
        }
        self.meta.color = self.format.color;
        self.meta.visible = unless_gone(self.device.visible(self.format.size))?;
        self.meta.orientation = unless_gone(self.device.orientation())?;
        self.sequence.restart();
        let started = self.reclaim(true).and_then(|()| {
            let mut kind = self.device.buf_type_int();
            sys::streamon(self.device.as_fd(), &mut kind).map_err(self.device.fail("VIDIOC_STREAMON"))?;
            self.watch()
        });
        if started.is_err() {
            // Gives back what was queued; that this fails too adds nothing.
            let _ = self.stream_off();
        }
        self.streaming = started.is_ok();
        started
    }

    /// Stops the stream (`VIDIOC_STREAMOFF`); nothing when it is stopped. Pictures not yet taken are lost. Frames that
    /// consumers hold stay valid, and their buffers come back as before.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`]; the stream counts as stopped all the same.
    pub fn stop(&mut self) -> Result<(), Error> {
        if !self.streaming {
            return Ok(());
        }
        self.streaming = false;
        self.stream_off()
    }

    /// Adds the device to the epoll once the driver has a buffer. Not before: until the first one is queued after a
    /// start, vb2 answers every poll with `POLLERR`, and an event loop would spin.
    fn watch(&mut self) -> Result<(), Error> {
        if !self.watched && self.slots.with_driver() > 0 {
            epoll::add(&self.epoll, self.device.as_fd(), TOKEN, epoll::EventFlags::IN)
                .map_err(self.device.fail("epoll_ctl"))?;
            self.watched = true;
        }
        Ok(())
    }

    fn stream_off(&mut self) -> Result<(), Error> {
        let mut kind = self.device.buf_type_int();
        if std::mem::take(&mut self.watched) {
            let _ = epoll::delete(&self.epoll, self.device.as_fd());
        }
        let stopped = sys::streamoff(self.device.as_fd(), &mut kind);
        self.slots.all_home();
        stopped.map_err(self.device.fail("VIDIOC_STREAMOFF"))
    }

    /// Changes the format: stops, frees the buffers, sets the format, gets new buffers and starts again.
    ///
    /// For the driver's own buffers. Frames of the old format that consumers hold stay valid; their lease does nothing
    /// more. After an error the stream is stopped and without buffers; another `reconfigure` can succeed.
    ///
    /// # Errors
    /// As [`CaptureBuilder::start`]; [`Error::BufferLayout`] for imported buffers, which the caller has to allocate
    /// anew: take the device back with [`Capture::into_device`] and build another capture.
    pub fn reconfigure(&mut self, request: FormatRequest) -> Result<&Format, Error> {
        if matches!(self.source, Source::Import { .. }) {
            return Err(Error::BufferLayout {
                device: self.device.path().to_owned(),
                buffer: 0,
                reason: "imported buffers have the old format: build a new capture with new ones".to_owned(),
            });
        }
        self.stop()?;
        self.free()?;
        self.format = self.device.set_format(request)?;
        let generation = dmaframe_core::next_generation();
        self.slots = Slots::allocate(&self.device, &self.format, &self.source, generation)?;
        // Not the old queue: it has as many slots as there were buffers, and the driver may have granted others.
        let core = |error| Error::Core {
            device: self.device.path().to_owned(),
            error,
        };
        let returns = ReturnQueue::new(self.slots.slots.len()).map_err(core)?;
        epoll::add(&self.epoll, returns.as_fd(), TOKEN, epoll::EventFlags::IN)
            .map_err(self.device.fail("epoll_ctl"))?;
        let _ = epoll::delete(&self.epoll, self.returns.as_fd());
        self.returns = returns;
        self.start()?;
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
        self.returns.close();
        for (_, fence) in self.fenced.drain(..) {
            unwatch(&self.epoll, &fence);
        }
        self.slots.slots.clear();
        request::release(&self.device, self.source.memory())
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
            self.wait(left)?;
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
        if !self.streaming {
            return Err(Error::Stopped {
                device: self.device.path().to_owned(),
            });
        }
        self.reclaim(false)?;
        // Each round takes a buffer that is put back, so a driver that only delivers rubbish ends after one of each.
        for _ in 0..self.slots.slots.len() {
            let Some(info) = self.slots.dequeue(&self.device)? else {
                return Ok(None);
            };
            if let Some(captured) = self.deliver(&info)? {
                return Ok(Some(captured));
            }
        }
        Ok(None)
    }

    /// Queues every buffer that is free: those that came back, those whose fences have signalled meanwhile, and those
    /// an error left at home. `starting` queues before the stream runs.
    fn reclaim(&mut self, starting: bool) -> Result<(), Error> {
        while let Some(returned) = self.returns.next() {
            let Some(slot) = self.slots.slots.get_mut(returned.slot) else {
                continue;
            };
            slot.place = Place::Home;
            self.hold_back(returned.slot, returned.fence);
        }
        for entry in (0..self.fenced.len()).rev() {
            // A fence the kernel will not be asked about is treated as pending: too late is safe, too early is not.
            if self.fenced[entry].1.is_done().unwrap_or(false) {
                let (slot, fence) = self.fenced.swap_remove(entry);
                unwatch(&self.epoll, &fence);
                self.slots.slots[slot].place = Place::Home;
            }
        }
        if self.streaming || starting {
            for index in 0..self.slots.slots.len() {
                if self.slots.slots[index].place == Place::Home {
                    match self.slots.queue(&self.device, index) {
                        // Somebody kept a handle of the buffer and has it in a frame of their own: it joins again when
                        // that is gone, and counts as held until then.
                        Err(Error::Core {
                            error: dmaframe_core::Error::InUse { .. },
                            ..
                        }) if !starting => {}
                        other => other?,
                    }
                }
            }
        }
        if self.streaming { self.watch() } else { Ok(()) }
    }

    /// Keeps a slot from the driver while its release fence is pending.
    fn hold_back(&mut self, slot: usize, fence: Fence) {
        if fence.is_trivial() || fence.is_done().unwrap_or(false) {
            return;
        }
        // A timeline point has no descriptor; as a sync_file it can be waited for together with everything else.
        let fence = match fence {
            Fence::Point(point) => point.to_sync_file().map_or(Fence::Point(point), Fence::SyncFile),
            other => other,
        };
        if let Fence::SyncFile(file) = &fence {
            // Without it (no memory, too many watches) the fence is looked at once a tick instead.
            let _ = epoll::add(&self.epoll, file.as_fd(), TOKEN, epoll::EventFlags::IN);
        }
        self.slots.slots[slot].place = Place::Fenced;
        // One entry for each slot at most, so there is room.
        let _ = self.fenced.try_push((slot, fence));
    }

    /// Sleeps until something happens: a buffer is filled, one came back, a fence signalled, the device is gone.
    fn wait(&self, left: Option<std::time::Duration>) -> Result<(), Error> {
        // Fences without a watchable descriptor are looked at every 5 ms.
        let tick = std::time::Duration::from_millis(5);
        let ticking = self
            .fenced
            .iter()
            .any(|(_, fence)| !matches!(fence, Fence::SyncFile(_)));
        let left = if ticking {
            Some(left.map_or(tick, |left| left.min(tick)))
        } else {
            left
        };
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match rustix::event::poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], timeout.as_ref()) {
            // After a signal the caller looks at its deadline again.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(self.device.fail("poll")(errno)),
        }
    }
}

/// Buffers the driver must have to work at all; 0 when it does not say.
fn driver_minimum(device: &Device) -> usize {
    let minimum = device.get_control(abi::CID_MIN_BUFFERS_FOR_CAPTURE).unwrap_or(0);
    usize::try_from(minimum).unwrap_or(0).min(MAX_SLOTS)
}

/// A camera that stumbles over a question about its picture (webcams do, over controls) can still stream: the answer is
/// then that nothing is known. That it is gone is another matter.
fn unless_gone<T: Default>(answer: Result<T, Error>) -> Result<T, Error> {
    match answer {
        Err(error @ Error::Unplugged { .. }) => Err(error),
        other => Ok(other.unwrap_or_default()),
    }
}

fn unwatch(epoll: &OwnedFd, fence: &Fence) {
    if let Fence::SyncFile(file) = fence {
        let _ = epoll::delete(epoll, file.as_fd());
    }
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
        self.returns.close();
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
