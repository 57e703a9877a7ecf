//! Asking the desktop's portal for the camera, or for a screen: what an application in a sandbox has to do, and one outside may.
//!
//! ```no_run
//! use std::time::Duration;
//! use dmaframe_pipewire::{CaptureStream, Target, portal};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Asks the user, where nobody has answered before. Blocks, for at most a minute.
//! let access = portal::Request::camera(portal::PATIENCE)?.answer(Duration::from_secs(60))?;
//! let camera = access.nodes()?.swap_remove(0);
//! let stream = CaptureStream::builder()
//!     .remote(access.remote()?)
//!     .target(Target::Node(camera.id))
//!     .start()?;
//! let frame = stream.next_frame(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! A dialogue may stand for minutes. [`Request::wait`] waits in steps, so that an application stays able to give up: dropping
//! the request takes the dialogue away. Everything else here is answered by programs, not people, each time within the
//! `patience` given. All of it blocks the calling thread; zbus has one of its own while a request or an access lives.

mod bus;
mod error;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use zbus::{ObjectPath, OwnedObjectPath, OwnedVariant, Variant};

use self::bus::{Bus, Pending};
pub use self::error::PortalError;
use crate::{Error, Node, video_sources};

/// A good patience with the portal, for what needs no user: the first call may start it, and its backends.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long PipeWire's session manager may take to show cameras: to a portal that has just started, and to a client that
/// has just been given access.
const SHOWN: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

const CAMERA: &str = "org.freedesktop.portal.Camera";
const SCREEN: &str = "org.freedesktop.portal.ScreenCast";
/// Monitor, window and virtual, as ScreenCast counts kinds of sources.
const KINDS: u32 = 1 | 2 | 4;

type Dict = HashMap<String, OwnedVariant>;

/// A question that the user may be looking at. Dropped, it is taken back.
#[derive(Debug)]
#[must_use = "a request that is dropped is taken back"]
pub struct Request {
    bus: Bus,
    pending: Pending,
    interface: &'static str,
    session: Option<OwnedObjectPath>,
}

/// What was granted, for as long as this lives: a screen's stream ends with it, a camera's does not.
#[derive(Debug)]
pub struct Access {
    bus: Bus,
    interface: &'static str,
    /// Of a screen.
    session: Option<OwnedObjectPath>,
    nodes: Vec<Node>,
}

impl Request {
    /// Asks for the cameras: all of them, the portal knows no single one. Blocks until the dialogue is up, for a few times
    /// `patience` at most.
    ///
    /// # Errors
    /// [`PortalError::NoBus`], [`PortalError::NoPortal`], [`PortalError::NoInterface`], [`PortalError::NoCamera`] (nobody is
    /// asked then), [`PortalError::Silent`], [`PortalError::Failed`].
    pub fn camera(patience: Duration) -> Result<Self, PortalError> {
        let bus = Bus::open(patience)?;
        let start = Instant::now();
        // A portal that was started by this call has not seen PipeWire's nodes yet.
        while !camera_is_present(&bus)? {
            if start.elapsed() > SHOWN {
                return Err(PortalError::NoCamera);
            }
            std::thread::sleep(LOOK);
        }
        let options = HashMap::from([("handle_token", bus.token())]);
        let pending = bus.request(CAMERA, "AccessCamera", &(options,))?;
        Ok(Self {
            bus,
            pending,
            interface: CAMERA,
            session: None,
        })
    }

    /// Asks for a screen or a window, which the user chooses; with its pointer drawn in, where the desktop can.
    /// Blocks as [`Request::camera`] does.
    ///
    /// # Errors
    /// As [`Request::camera`], [`PortalError::NoCamera`] aside.
    pub fn screen(patience: Duration) -> Result<Self, PortalError> {
        let bus = Bus::open(patience)?;
        let offered = bus.properties(SCREEN)?;
        let number = |name: &str| offered.get(name).and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
        let mut options = HashMap::from([("handle_token", bus.token())]);
        options.insert("session_handle_token", bus.token());
        let made = bus
            .request(SCREEN, "CreateSession", &(options,))?
            .answer(patience)?;
        let session: OwnedObjectPath = made
            .get("session_handle")
            .and_then(|value| <&str>::try_from(value).ok())
            .and_then(|path| ObjectPath::try_from(path).ok())
            .ok_or_else(|| PortalError::failed("CreateSession", "an answer without a session"))?
            .into();
        let mut options = HashMap::from([("handle_token", bus.token())]);
        options.insert("types", Variant::from(number("AvailableSourceTypes") & KINDS));
        // Embedded, else the default, which draws none.
        if number("AvailableCursorModes") & 2 != 0 {
            options.insert("cursor_mode", Variant::from(2_u32));
        }
        bus.request(SCREEN, "SelectSources", &(&session, options))?
            .answer(patience)?;
        let options = HashMap::from([("handle_token", bus.token())]);
        let pending = bus.request(SCREEN, "Start", &(&session, "", options))?;
        Ok(Self {
            bus,
            pending,
            interface: SCREEN,
            session: Some(session),
        })
    }

    /// Waits for the answer, `timeout` at most; `None` when there is none yet. Blocks.
    ///
    /// # Errors
    /// [`PortalError::Refused`], [`PortalError::Ended`], [`PortalError::Failed`].
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<Access>, PortalError> {
        let Some(answer) = self.pending.wait(timeout)? else {
            return Ok(None);
        };
        let nodes = streams(&answer);
        if nodes.is_empty() && self.session.is_some() {
            return Err(PortalError::failed("Start", "an answer without a stream"));
        }
        Ok(Some(Access {
            bus: self.bus.clone(),
            interface: self.interface,
            session: self.session.take(),
            nodes,
        }))
    }

    /// Waits for the answer and takes the question back when there is none within `timeout`. Blocks.
    ///
    /// # Errors
    /// As [`Request::wait`], and [`PortalError::Unanswered`].
    pub fn answer(mut self, timeout: Duration) -> Result<Access, PortalError> {
        self.wait(timeout)?.ok_or(PortalError::Unanswered { timeout })
    }
}

impl Access {
    /// A connection to PipeWire that sees what was granted and nothing else: for [`CaptureBuilder::remote`] with
    /// [`Target::Node`]. Each stream needs one of its own; asking again asks no user. The caller owns it. Blocks, for
    /// the request's patience at most.
    ///
    /// # Errors
    /// [`PortalError::Revoked`] when the user has taken the grant back, [`PortalError::NoPortal`], [`PortalError::Silent`],
    /// [`PortalError::Failed`].
    ///
    /// [`CaptureBuilder::remote`]: crate::CaptureBuilder::remote
    /// [`Target::Node`]: crate::Target::Node
    pub fn remote(&self) -> Result<OwnedFd, PortalError> {
        let options = HashMap::<&str, Variant<'_>>::new();
        match &self.session {
            Some(session) => self.bus.descriptor(self.interface, &(session, options)),
            None => self.bus.descriptor(self.interface, &(options,)),
        }
    }

    /// Whether it is a screen, and no cameras.
    #[must_use]
    pub fn is_screen(&self) -> bool {
        self.session.is_some()
    }

    /// The cameras there are, oldest first, or the screen's streams; at least one. Waits up to 3 s for the session manager to
    /// show the first camera. Blocks.
    ///
    /// # Errors
    /// [`PortalError::NoCamera`], those of [`Access::remote`], and [`Error::Connect`].
    pub fn nodes(&self) -> Result<Vec<Node>, Error> {
        if self.is_screen() {
            return Ok(self.nodes.clone());
        }
        let start = Instant::now();
        loop {
            let nodes = video_sources(Some(self.remote()?), SHOWN)?;
            if !nodes.is_empty() {
                return Ok(nodes);
            }
            if start.elapsed() > SHOWN {
                return Err(PortalError::NoCamera.into());
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn camera_is_present(bus: &Bus) -> Result<bool, PortalError> {
    let properties = bus.properties(CAMERA)?;
    let present = properties.get("IsCameraPresent");
    Ok(present.is_some_and(|present| bool::try_from(present) == Ok(true)))
}

/// `streams` of Start's answer, `a(ua{sv})`; nothing of AccessCamera's.
fn streams(answer: &Dict) -> Vec<Node> {
    let streams = answer.get("streams").and_then(|value| value.try_clone().ok());
    let streams: Vec<(u32, Dict)> = streams
        .and_then(|value| Variant::from(value).downcast().ok())
        .unwrap_or_default();
    let node = |(id, more): (u32, Dict)| {
        let text = |key| Some(<&str>::try_from(more.get(key)?).ok()?.to_owned());
        Node {
            id,
            name: text("mapping_id").unwrap_or_else(|| id.to_string()),
            serial: None,
            description: text("id"),
        }
    };
    streams.into_iter().map(node).collect()
}
