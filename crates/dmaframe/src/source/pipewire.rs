//! PipeWire's nodes, and those that a portal shows.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Frame};
#[cfg(feature = "portal")]
use dmaframe_pipewire::portal::{self, Access, Request};
use dmaframe_pipewire::{CaptureBuilder, CaptureStream, Event as Told, Node, Target, video_sources};

use super::backend::{Backend, Event, Known as AnyKnown};
use super::wish::Given;
use super::{Error, Remote, Stats, Unguarded, Wish};

/// How long a daemon may take to list its nodes.
const PATIENCE: Duration = Duration::from_secs(2);

/// A stream from a node.
#[derive(Debug)]
pub(super) struct Stream {
    stream: CaptureStream,
    hops: [Arc<Hop>; 1],
    which: Asked,
    /// The first picture after the node was there again.
    first: Option<Frame>,
    /// A screen's stream ends with what granted it.
    #[cfg(feature = "portal")]
    _access: Option<Arc<Access>>,
}

/// The node that was asked for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Default,
    Name(String),
    /// A portal's connection, which serves once.
    Remote,
    /// The name, among the cameras that a portal shows, or any.
    #[cfg(feature = "portal")]
    Granted(Arc<Access>, Option<String>),
}

/// A node that was.
#[derive(Debug)]
pub(super) enum Known {
    /// Of the default daemon, or a portal that was asked here: a new stream, when the daemon lists it.
    Listed(Asked),
    /// Of a portal, whose connection serves once: the stream stays and waits until somebody links it again.
    Waiting(Option<Box<Stream>>),
}

/// The cameras of the default daemon; none where there is no daemon.
pub(super) fn nodes() -> Vec<Node> {
    video_sources(None, PATIENCE).unwrap_or_default()
}

/// Opens a node, or the default camera.
pub(super) fn open(name: Option<&str>, wish: &Wish) -> Result<Box<dyn Backend>, Error> {
    let asked = name.map_or(Asked::Default, |name| Asked::Name(name.to_owned()));
    Ok(Box::new(Stream::listed(asked, wish)?))
}

/// Asks the portal, and opens what it gives.
#[cfg(feature = "portal")]
pub(super) fn open_portal(name: Option<&str>, wish: &Wish) -> Result<Box<dyn Backend>, Error> {
    // Before the user is asked.
    wish.formats("PipeWire")?;
    let access = Request::camera(portal::PATIENCE)
        .and_then(|request| request.answer(wish.patience))
        .map_err(dmaframe_pipewire::Error::from)?;
    let asked = Asked::Granted(Arc::new(access), name.map(str::to_owned));
    Ok(Box::new(Stream::listed(asked, wish)?))
}

/// Opens what a portal gave.
pub(super) fn open_remote(remote: &Remote, wish: &Wish) -> Result<Box<dyn Backend>, Error> {
    match &remote.given {
        Given::Socket(socket) => open_socket(socket, remote.node, wish),
        #[cfg(feature = "portal")]
        Given::Access(access) => open_access(access, remote.node, wish),
    }
}

fn open_socket(
    socket: &Mutex<Option<OwnedFd>>,
    node: Option<u32>,
    wish: &Wish,
) -> Result<Box<dyn Backend>, Error> {
    // Before the descriptor is taken, which serves once.
    let builder = builder(wish)?;
    let socket = socket.lock().unwrap_or_else(PoisonError::into_inner).take();
    let socket = socket.ok_or_else(|| Error::NotFound {
        what: "second source on a portal's descriptor: ask the portal for another one".into(),
        known: Vec::new(),
    })?;
    let builder = match node {
        Some(node) => builder.remote_fd(socket, node),
        None => builder.remote(socket),
    };
    Ok(Box::new(Stream::new(builder.start()?, Asked::Remote)))
}

#[cfg(feature = "portal")]
fn open_access(access: &Arc<Access>, node: Option<u32>, wish: &Wish) -> Result<Box<dyn Backend>, Error> {
    let nodes = access.nodes()?;
    let name = match node {
        None => None,
        Some(id) => match nodes.iter().find(|found| found.id == id) {
            Some(found) => Some(found.name.clone()),
            None => return Err(not_shown(&id.to_string(), nodes)),
        },
    };
    if !access.is_screen() {
        let asked = Asked::Granted(Arc::clone(access), name);
        return Ok(Box::new(Stream::listed(asked, wish)?));
    }
    let id = node.or(nodes.first().map(|node| node.id)).unwrap_or_default();
    let socket = access.remote().map_err(dmaframe_pipewire::Error::from)?;
    let mut stream = Stream::new(builder(wish)?.remote_fd(socket, id).start()?, Asked::Remote);
    stream._access = Some(Arc::clone(access));
    Ok(Box::new(stream))
}

#[cfg(feature = "portal")]
fn not_shown(what: &str, nodes: Vec<Node>) -> Error {
    Error::NotFound {
        what: format!("camera '{what}' that the portal shows"),
        known: nodes.into_iter().map(|node| node.name).collect(),
    }
}

fn builder(wish: &Wish) -> Result<CaptureBuilder, Error> {
    Ok(CaptureStream::builder()
        .name("dmaframe source")
        .formats(wish.formats("PipeWire")?)
        .size(wish.size)
        .framerate(wish.fps, 1)
        .unguarded(match wish.unguarded {
            Unguarded::Copy => dmaframe_pipewire::Unguarded::Copy,
            Unguarded::InPlace => dmaframe_pipewire::Unguarded::InPlace,
        }))
}

impl Stream {
    fn new(stream: CaptureStream, which: Asked) -> Self {
        Self {
            hops: [Arc::clone(stream.hop())],
            stream,
            which,
            first: None,
            #[cfg(feature = "portal")]
            _access: None,
        }
    }

    /// A stream without a node waits for ever: better to say at once that there is none.
    fn listed(asked: Asked, wish: &Wish) -> Result<Self, Error> {
        #[cfg(feature = "portal")]
        if let Asked::Granted(access, name) = &asked {
            let nodes = access.nodes()?;
            let is = |node: &&Node| name.as_ref().is_none_or(|name| node.name == *name);
            let Some(found) = nodes.iter().find(is) else {
                return Err(not_shown(name.as_deref().unwrap_or_default(), nodes));
            };
            let socket = access.remote().map_err(dmaframe_pipewire::Error::from)?;
            let builder = builder(wish)?.remote(socket).target(Target::Node(found.id));
            return Ok(Self::new(builder.start()?, asked));
        }
        let nodes = video_sources(None, PATIENCE)?;
        let is = |node: &&Node| match &asked {
            Asked::Name(name) => node.name == *name || node.serial.as_ref() == Some(name),
            _ => true,
        };
        let (target, asked) = match (nodes.iter().find(is), &asked) {
            // By its name from now on: a serial number is never given twice.
            (Some(found), Asked::Name(_)) => {
                let name = found.name.clone();
                (Target::Name(name.clone()), Asked::Name(name))
            }
            (Some(_), _) => (Target::Default, asked),
            (None, Asked::Name(name)) => {
                return Err(Error::NotFound {
                    what: format!("camera '{name}' in PipeWire"),
                    known: nodes.into_iter().map(|node| node.name).collect(),
                });
            }
            (None, _) => {
                return Err(Error::NotFound {
                    what: "camera in PipeWire (a session manager such as WirePlumber adds them)".into(),
                    known: Vec::new(),
                });
            }
        };
        Ok(Self::new(builder(wish)?.target(target).start()?, asked))
    }
}

impl Backend for Stream {
    fn next(&mut self, deadline: Deadline) -> Result<Event, String> {
        if let Some(first) = self.first.take() {
            return Ok(Event::Frame(first));
        }
        loop {
            match self.stream.next(deadline) {
                Ok(Some(Told::Frame(frame))) => return Ok(Event::Frame(frame)),
                Ok(Some(Told::NodeRemoved { node })) => {
                    return Err(format!("PipeWire's node {node} was removed"));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Event::Quiet),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn describe(&self) -> String {
        let name = match &self.which {
            Asked::Name(name) => name.as_str(),
            Asked::Default => "the default camera",
            Asked::Remote => "what the portal gave",
            #[cfg(feature = "portal")]
            Asked::Granted(_, name) => name.as_deref().unwrap_or("the portal's camera"),
        };
        format!("{name} (PipeWire)")
    }

    fn hops(&self) -> &[Arc<Hop>] {
        &self.hops
    }

    fn counts_on(&self) -> bool {
        matches!(self.which, Asked::Remote)
    }

    fn stats(&self) -> Stats {
        let stats = self.stream.stats();
        Stats {
            delivered: stats.delivered + stats.detached,
            detached: stats.detached,
            dropped: stats.dropped + stats.overrun,
            gaps: stats.gaps,
            damaged: stats.damaged + stats.refused,
            overwritten: stats.overwritten,
            ..Stats::default()
        }
    }

    fn known(self: Box<Self>) -> AnyKnown {
        AnyKnown::Pipewire(match &self.which {
            Asked::Remote => Known::Waiting(Some(self)),
            asked => Known::Listed(asked.clone()),
        })
    }
}

impl Known {
    /// The same name, whatever its id is now; or the first picture of a stream that waits.
    pub(super) fn find(&mut self, wish: &Wish) -> Option<Box<dyn Backend>> {
        let waiting = match self {
            Self::Listed(asked) => {
                let stream = Stream::listed(asked.clone(), wish).ok()?;
                return Some(Box::new(stream));
            }
            Self::Waiting(waiting) => waiting,
        };
        let mut stream = waiting.take()?;
        loop {
            match stream.stream.try_next() {
                Ok(Some(Told::Frame(frame))) => {
                    stream.first = Some(frame);
                    return Some(stream);
                }
                Ok(Some(_)) => {}
                // Also of a daemon that is gone: then this is so each time.
                Ok(None) | Err(_) => {
                    *waiting = Some(stream);
                    return None;
                }
            }
        }
    }
}
