//! Events of a device: the source changed, the stream ended, a control moved.
//!
//! Source: `Documentation/userspace-api/media/v4l/vidioc-dqevent.rst`, `vidioc-subscribe-event.rst`.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::device::Device;
use crate::error::Error;
use crate::sys;
use crate::sys::abi::{self, Plain};

/// What to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The source's resolution changed (HDMI grabbers): stop, look at the format, reconfigure.
    SourceChange,
    /// The last buffer of the stream has been filled.
    EndOfStream,
    /// The control of this id changed, by somebody else's hand.
    Control(u32),
}

impl EventKind {
    fn raw(self) -> (u32, u32) {
        match self {
            Self::SourceChange => (abi::EVENT_SOURCE_CHANGE, 0),
            Self::EndOfStream => (abi::EVENT_EOS, 0),
            Self::Control(id) => (abi::EVENT_CTRL, id),
        }
    }
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What happened; `None` is a kind this crate does not know.
    pub kind: Option<EventKind>,
    /// For a source change: whether the resolution is what changed.
    pub resolution: bool,
    /// The driver's count of events; a gap means that some were lost.
    pub sequence: u32,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub timestamp_ns: u64,
}

impl Device {
    /// Asks to be told of `kind`: from then on `POLLPRI` on the device means that [`Device::next_event`] has one.
    ///
    /// # Errors
    /// [`Error::Request`] (`EINVAL` or `ENOTTY`: the driver has no such event), [`Error::Unplugged`].
    pub fn subscribe(&self, kind: EventKind) -> Result<(), Error> {
        sys::subscribe_event(self.as_fd(), &mut subscription(kind))
            .map_err(self.fail("VIDIOC_SUBSCRIBE_EVENT"))
    }

    /// Ends what [`Device::subscribe`] began.
    ///
    /// # Errors
    /// As [`Device::subscribe`].
    pub fn unsubscribe(&self, kind: EventKind) -> Result<(), Error> {
        sys::unsubscribe_event(self.as_fd(), &mut subscription(kind))
            .map_err(self.fail("VIDIOC_UNSUBSCRIBE_EVENT"))
    }

    /// The next event, or `None`. Does not block.
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn next_event(&self) -> Result<Option<Event>, Error> {
        let mut raw = abi::Event::zeroed();
        match sys::dqevent(self.as_fd(), &mut raw) {
            Ok(()) => {}
            // Nothing there, nothing subscribed, or a driver without events.
            Err(Errno::AGAIN | Errno::NOENT | Errno::NOTTY | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(self.fail("VIDIOC_DQEVENT")(errno)),
        }
        let kind = match raw.kind {
            abi::EVENT_SOURCE_CHANGE => Some(EventKind::SourceChange),
            abi::EVENT_EOS => Some(EventKind::EndOfStream),
            abi::EVENT_CTRL => Some(EventKind::Control(raw.id)),
            _ => None,
        };
        let seconds = u64::try_from(raw.timestamp.sec).unwrap_or(0);
        // The second half of the event's time is nanoseconds, where a buffer's is microseconds.
        let rest = u64::try_from(raw.timestamp.usec).unwrap_or(0);
        Ok(Some(Event {
            kind,
            resolution: kind == Some(EventKind::SourceChange) && sys::source_changes(&raw) & 1 != 0,
            sequence: raw.sequence,
            timestamp_ns: seconds.saturating_mul(1_000_000_000).saturating_add(rest),
        }))
    }
}

fn subscription(kind: EventKind) -> abi::EventSubscription {
    let (kind, id) = kind.raw();
    abi::EventSubscription {
        kind,
        id,
        ..abi::EventSubscription::zeroed()
    }
}
