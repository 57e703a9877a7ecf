//! PipeWire's nodes, and those that a portal shows.

use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Frame, Modifier};
use dmaframe_pipewire::{CaptureBuilder, CaptureStream, Event as Told, Node, Target, video_sources};

use super::backend::{Backend, Event, Known as AnyKnown};
use super::{Error, Remote, Stats, Wish};

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
}

/// The node that was asked for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Default,
    Name(String),
    Remote,
}

/// A node that was.
#[derive(Debug)]
pub(super) enum Known {
    /// Of the default daemon: a new stream, when the daemon lists it.
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

/// Opens what a portal gave.
pub(super) fn open_remote(remote: &Remote, wish: &Wish) -> Result<Box<dyn Backend>, Error> {
    let socket = remote.take().ok_or_else(|| Error::NotFound {
        what: "second source on a portal's descriptor: ask the portal for another one".into(),
        known: Vec::new(),
    })?;
    let builder = builder(wish);
    let builder = match remote.node {
        Some(node) => builder.remote_fd(socket, node),
        None => builder.remote(socket),
    };
    Ok(Box::new(Stream::new(builder.start()?, Asked::Remote)))
}

fn builder(wish: &Wish) -> CaptureBuilder {
    CaptureStream::builder()
        .name("dmaframe source")
        .formats(formats(wish))
        .size(wish.size)
        .framerate(wish.fps, 1)
}

impl Stream {
    fn new(stream: CaptureStream, which: Asked) -> Self {
        Self {
            hops: [Arc::clone(stream.hop())],
            stream,
            which,
            first: None,
        }
    }

    /// A stream without a node waits for ever: better to say at once that there is none.
    fn listed(asked: Asked, wish: &Wish) -> Result<Self, Error> {
        let nodes = video_sources(None, PATIENCE)?;
        let is = |node: &&Node| match &asked {
            Asked::Name(name) => node.name == *name || node.serial.as_ref() == Some(name),
            _ => true,
        };
        let target = match (nodes.iter().find(is), &asked) {
            (Some(found), Asked::Name(_)) => Target::Name(found.name.clone()),
            (Some(_), _) => Target::Default,
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
        Ok(Self::new(builder(wish).target(target).start()?, asked))
    }
}

/// The consumer's formats, or the one asked for.
fn formats(wish: &Wish) -> FormatSet {
    match wish.fourcc() {
        Some(fourcc) => FormatSet::new("the format asked for").with(fourcc, Modifier::LINEAR),
        None => wish.consumer.clone(),
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
            Asked::Remote => "the portal's camera",
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
