//! Files and network streams, played by GStreamer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Frame};
use dmaframe_gstreamer::{Backpressure, FrameSink, Received};
use gst::prelude::*;

use super::backend::{Backend, Event, Known, missing};
use super::{Error, Stats, Wish};

/// How long a file may take to be known as a film or as none. An address may take longer to answer, and has then been opened.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pipeline that plays, at its own speed.
#[derive(Debug)]
pub(super) struct Media {
    sink: FrameSink,
    pipeline: gst::Pipeline,
    hops: [Arc<Hop>; 1],
    path: PathBuf,
    /// Whether it is played again when it has failed: what is far away may be back.
    is_address: bool,
    /// What came while it was opened.
    first: Option<Frame>,
}

/// Opens a file, or an address.
pub(super) fn open(path: &Path, wish: &Wish) -> Result<Box<dyn Backend>, Error> {
    let failed = |reason: String| Error::File {
        path: path.to_owned(),
        reason,
    };
    let text = path.to_string_lossy();
    let is_address = text.contains("://");
    if !is_address && !path.try_exists().unwrap_or(true) {
        return Err(missing(path));
    }
    // Also initialises GStreamer. Pictures come when they are to be shown; a reader who takes his time makes it wait.
    let sink = FrameSink::builder()
        .formats(wish.consumer.clone())
        .queue(2, Backpressure::Block)
        .sync(true)
        .build()?;
    let uri = if is_address {
        text.into_owned()
    } else {
        let whole = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
        gst::glib::filename_to_uri(&whole, None)
            .map_err(|error| failed(error.to_string()))?
            .to_string()
    };
    let decoder = gst::ElementFactory::make("uridecodebin")
        .property("uri", uri)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let pipeline = gst::Pipeline::new();
    pipeline
        .add_many([&decoder, sink.element()])
        .map_err(|error| failed(error.to_string()))?;
    // It is linked when there is something to link: a file that is no film fails before, perhaps before anybody asks.
    sink.listen();
    let to = sink.element().downgrade();
    decoder.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let is_raw = |first: &gst::StructureRef| first.name() == "video/x-raw";
        if caps.structure(0).is_none_or(|first| !is_raw(first)) {
            return;
        }
        // The first stream of pictures; there is one pad to link. Others, and sound, are left hanging.
        let Some(pad_of_sink) = to.upgrade().and_then(|sink| sink.static_pad("sink")) else {
            return;
        };
        if !pad_of_sink.is_linked() {
            // Where the formats do not fit, the pipeline says so on its bus.
            let _ = pad.link(&pad_of_sink);
        }
    });
    let mut media = Media {
        hops: [Arc::clone(sink.hop())],
        sink,
        pipeline,
        path: path.to_owned(),
        is_address,
        first: None,
    };
    let started = media.pipeline.set_state(gst::State::Playing);
    // GStreamer finds out what it is when it reads it, on threads of its own.
    let patience = if started.is_ok() { PATIENCE } else { Duration::ZERO };
    match (media.sink.next(patience), started) {
        (Err(error), _) => Err(failed(error.to_string())),
        (_, Err(error)) => Err(failed(error.to_string())),
        (Ok(Received::EndOfStream), _) => Err(failed("there is no picture in it".into())),
        (Ok(Received::Frame(first)), _) => {
            media.first = Some(first);
            Ok(Box::new(media))
        }
        (Ok(_), _) => Ok(Box::new(media)),
    }
}

impl Backend for Media {
    fn next(&mut self, deadline: Deadline) -> Result<Event, String> {
        if let Some(first) = self.first.take() {
            return Ok(Event::Frame(first));
        }
        loop {
            return match self.sink.next(deadline) {
                Ok(Received::Frame(frame)) => Ok(Event::Frame(frame)),
                Ok(Received::EndOfStream) => Ok(Event::End),
                Ok(Received::TimedOut) => Ok(Event::Quiet),
                Ok(_) => continue,
                Err(error) => Err(error.to_string()),
            };
        }
    }

    fn describe(&self) -> String {
        format!("{} (GStreamer)", self.path.display())
    }

    fn hops(&self) -> &[Arc<Hop>] {
        &self.hops
    }

    fn stats(&self) -> Stats {
        let stats = self.sink.stats();
        Stats {
            delivered: stats.delivered,
            detached: stats.detached,
            dropped: stats.dropped,
            ..Stats::default()
        }
    }

    fn known(self: Box<Self>) -> Known {
        match self.is_address {
            true => Known::Wish,
            false => Known::Nothing,
        }
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        // Whatever it answers, there is nothing left to do.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
