//! The streams: buffers out of libcamera, frames to consumers, buffers back.
//!
//! A buffer goes round: `Home` -> in a request, `Camera` -> the request completes on libcamera's thread and goes into the
//! [`Inbox`] -> frame (`Out`) -> the lease runs on whichever thread drops the last clone and puts the slot number into the
//! [`ReturnQueue`](dmaframe_core::ReturnQueue) -> the thread that owns the [`Capture`] takes it out at its next call ->
//! into the next request that is free, at once, or (`Fenced`) when the consumers' release fence has signalled.
//!
//! Requests and buffers are not tied to each other: a request is put together from a free buffer of each stream, so that a
//! consumer who keeps a raw picture does not keep a viewfinder's buffer as well.

mod builder;
mod completed;
mod devices;
mod import;
mod inbox;
mod layout;
mod requests;
mod run;
mod slot;
mod stream;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::capture::Stats;
use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, FrameMeta};
use libcamera::control::Control;
use libcamera::control_value::ControlValue;
use libcamera::request::Request;
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;

pub use builder::{CaptureBuilder, Configured};
pub use completed::{Completed, ReleaseFences};

use crate::camera::Camera;
use crate::error::Error;
use crate::format::StreamFormat;
use crate::metadata::Names;
use crate::sys::Active;
use devices::Devices;
use inbox::Inbox;
use stream::Stream;

/// Running (or stopped) streams of one camera.
///
/// Owns the camera, the buffers' descriptors and some more (an epoll, and an eventfd for libcamera's completions and for
/// each stream's returns). libcamera works on a thread of its own; everything else runs on the thread that calls. Call
/// [`Capture::next`] or [`Capture::try_next`] regularly even when nobody wants a picture, since that is also when returned
/// buffers go back to the camera; the descriptor ([`AsFd`]) is readable whenever there is something to do.
///
/// Frames outlive it: after a stop, or when the capture is dropped or the camera pulled out, the memory of frames still held
/// stays readable, and their lease does nothing more. No frame owns an object of libcamera's.
///
/// When a camera that streams is pulled out and libcamera does not notice (it does with webcams), what libcamera may still
/// look at is left behind when the capture drops: it would abort the process otherwise.
#[derive(Debug)]
pub struct Capture {
    // The order of the fields is the order of their end. Requests know their buffers and their camera, so they go first;
    // the binding keeps requests that never completed with the camera, so that goes before the buffers.
    idle: Vec<Request>,
    /// The request that completed last, not to be touched before the next one has, or the stream stopped.
    ///
    /// A pipeline may complete a request from another thread than the one that still walks through it (the virtual one
    /// does): emptying it at once would pull the rug from under that thread. Pipelines work through requests in their
    /// order, so the completion of a later one says that they are done with this one.
    cooling: Option<Request>,
    inbox: Arc<Inbox>,
    /// `None` only when the camera was taken back.
    active: Option<Active>,
    streams: Vec<Stream>,
    id: String,
    /// For each request that libcamera has: its slot of each stream.
    flights: Vec<Option<Vec<usize>>>,
    watcher: OwnedFd,
    streaming: bool,
    /// What is the same for every frame: the orientation.
    meta: FrameMeta,
    names: Names,
    devices: Devices,
    /// The devices went and libcamera does not know: it must not be asked to stop.
    lost: bool,
    /// Set, but not yet in a request.
    controls: Vec<(u32, ControlValue)>,
}

impl Capture {
    /// A capture of `camera` to be set up.
    pub fn builder(camera: Camera) -> CaptureBuilder {
        CaptureBuilder::new(camera)
    }

    fn new(camera: Camera, streams: Vec<Stream>, watcher: OwnedFd, meta: FrameMeta) -> Result<Self, Error> {
        let id = camera.id().to_owned();
        let failed = |call| {
            let id = id.clone();
            move |errno| Error::from_errno(&id, call, errno)
        };
        let inbox = Inbox::new().map_err(failed("eventfd"))?;
        epoll::add(
            &watcher,
            inbox.as_fd(),
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN,
        )
        .map_err(failed("epoll_ctl"))?;
        let numbers = camera.property::<libcamera::properties::SystemDevices>();
        let devices = Devices::new(&numbers.map(|numbers| numbers.0).unwrap_or_default());
        let mut active = camera.active;
        let (completed, gone) = (Arc::clone(&inbox), Arc::clone(&inbox));
        active.on_request_completed(move |request| completed.push(request));
        active.on_disconnected(move || gone.camera_gone());
        let mut capture = Self {
            idle: Vec::new(),
            cooling: None,
            inbox,
            active: Some(active),
            streams,
            id,
            flights: Vec::new(),
            watcher,
            streaming: false,
            meta,
            names: Names::default(),
            devices,
            lost: false,
            controls: Vec::new(),
        };
        // One more than there can be on their way, for the one that cools down.
        let count = capture.streams.iter().map(|stream| stream.slots.len()).min();
        for cookie in 0..count.map_or(0, |count| count + 1) {
            let request = capture.active_mut().create_request(Some(cookie as u64));
            let request = request
                .ok_or_else(|| Error::from_errno(&capture.id, "Camera::createRequest", Errno::NOMEM))?;
            capture.idle.push(request);
            capture.flights.push(None);
        }
        Ok(capture)
    }

    fn active(&self) -> &Active {
        match &self.active {
            Some(active) => active,
            None => unreachable!("only `into_camera` takes it out, and it takes the capture"),
        }
    }

    fn active_mut(&mut self) -> &mut Active {
        match &mut self.active {
            Some(active) => active,
            None => unreachable!("only `into_camera` takes it out, and it takes the capture"),
        }
    }

    /// The camera's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The streams' formats, in the order they were asked for.
    pub fn formats(&self) -> impl ExactSizeIterator<Item = &StreamFormat> {
        self.streams.iter().map(|stream| &stream.format)
    }

    /// How many buffers stream `index` has.
    #[must_use]
    pub fn slots(&self, index: usize) -> usize {
        self.streams.get(index).map_or(0, |stream| stream.slots.len())
    }

    /// How many buffers of stream `index` the camera has to fill now.
    #[must_use]
    pub fn queued(&self, index: usize) -> usize {
        self.streams.get(index).map_or(0, Stream::with_camera)
    }

    /// Counters of stream `index` since the capture was built.
    #[must_use]
    pub fn stats(&self, index: usize) -> Stats {
        self.streams
            .get(index)
            .map_or(Stats::default(), |stream| stream.stats)
    }

    /// The hop from the camera to stream `index`'s consumer, for a [`PathReport`](dmaframe_core::report::PathReport).
    #[must_use]
    pub fn hop(&self, index: usize) -> Option<&Arc<Hop>> {
        self.streams.get(index).map(|stream| &stream.hop)
    }

    /// Whether the streams run.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Sets a control with the next request that is queued; the picture it applies to comes some requests later.
    ///
    /// # Errors
    /// [`Error::NoControl`] when the camera has no such control. libcamera does not say whether the value was taken: what
    /// it reports about later pictures does.
    pub fn set_control<C: Control>(&mut self, control: C) -> Result<(), Error> {
        check_control_of::<C>(&self.id, self.active())?;
        self.controls.retain(|(id, _)| *id != C::ID);
        self.controls.push((C::ID, control.into()));
        Ok(())
    }

    /// The controls the camera has, with their limits.
    #[must_use]
    pub fn controls(&self) -> &libcamera::control::ControlInfoMap {
        self.active().controls()
    }

    /// The next completed request, waiting for it until `deadline`; `None` when none came. Blocks no longer than that, and
    /// not at all for a deadline that has passed.
    ///
    /// Damaged and unfilled buffers are counted and skipped, never delivered; a request without any picture left is not
    /// delivered either.
    ///
    /// # Errors
    /// [`Error::Unplugged`]; [`Error::Stopped`]; [`Error::Call`]; [`Error::Core`].
    pub fn next(&mut self, deadline: impl Into<Deadline>) -> Result<Option<Completed>, Error> {
        let deadline = deadline.into();
        loop {
            if let Some(completed) = self.try_next()? {
                return Ok(Some(completed));
            }
            let left = deadline.remaining();
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            self.sleep(left)?;
        }
    }

    /// The next completed request if one is there. Does not block.
    ///
    /// # Errors
    /// As [`Capture::next`].
    pub fn try_next(&mut self) -> Result<Option<Completed>, Error> {
        if !self.streaming {
            return Err(Error::Stopped {
                camera: self.id.clone(),
            });
        }
        self.unless_gone("a completion", false)?;
        self.reclaim()?;
        // Each round queues what it does not deliver, so a camera that only delivers rubbish ends after one of each.
        for _ in 0..self.flights.len() {
            let Some(request) = self.inbox.pop() else {
                return Ok(None);
            };
            let completed = self.complete(request);
            // Copies have freed their buffers, and dropped pictures never left.
            self.reclaim()?;
            if let Some(completed) = completed? {
                return Ok(Some(completed));
            }
        }
        Ok(None)
    }

    /// `look` looks at the devices in any case, and not only now and then.
    fn unless_gone(&mut self, call: &'static str, look: bool) -> Result<(), Error> {
        let told = self.inbox.is_camera_gone();
        if !told && !self.lost {
            self.lost = if look {
                self.devices.gone()
            } else {
                self.devices.gone_now_and_then()
            };
        }
        if told || self.lost {
            return Err(Error::Unplugged {
                camera: self.id.clone(),
                call,
            });
        }
        Ok(())
    }

    /// Sleeps until something happens, or for `left`. Fences without a watchable descriptor are looked at every 5 ms.
    fn sleep(&self, left: Option<Duration>) -> Result<(), Error> {
        let tick = Duration::from_millis(5);
        let left = if self.streams.iter().any(Stream::is_ticking) {
            Some(left.map_or(tick, |left| left.min(tick)))
        } else {
            left
        };
        let left = if self.devices.are_watched() {
            Some(left.map_or(devices::EVERY, |left| left.min(devices::EVERY)))
        } else {
            left
        };
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match rustix::event::poll(&mut [PollFd::new(&self.watcher, PollFlags::IN)], timeout.as_ref()) {
            // After a signal the caller looks at its deadline again.
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Error::from_errno(&self.id, "poll", errno)),
        }
    }
}

impl AsFd for Capture {
    /// Readable when a picture waits, a buffer came back, a fence that a buffer waits for has signalled, or libcamera says
    /// that the camera is gone: then call [`Capture::try_next`] until it gives `None`. Not every pipeline of libcamera
    /// tells of that: call it once a second all the same, and it looks itself.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watcher.as_fd()
    }
}

fn check_control<C: Control>(camera: &Camera) -> Result<(), Error> {
    check_control_of::<C>(camera.id(), &camera.active)
}

fn check_control_of<C: Control>(id: &str, active: &Active) -> Result<(), Error> {
    match active.controls().find(C::ID) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::NoControl {
            camera: id.to_owned(),
            name: libcamera::controls::ControlId::from_id(C::ID)
                .map_or_else(|| C::ID.to_string(), |id| id.name()),
        }),
    }
}
