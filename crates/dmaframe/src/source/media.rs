//! Files and network streams, played by GStreamer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Frame};
use dmaframe_gstreamer::{Backpressure, Error as Failed, FrameSink, Received, caps};
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
    /// Pictures that could not be given, beside those that the sink has counted as dropped.
    damaged: u64,
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
        .formats(wish.formats(&text)?)
        .queue(2, Backpressure::Block)
        .sync(true)
        .build()?;
    let uri = if is_address {
        text.to_string()
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
    let refused = Arc::new(Mutex::new(None));
    let offered = Arc::clone(&refused);
    decoder.connect_pad_added(move |_, pad| {
        let found = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let is_raw = |first: &gst::StructureRef| first.name() == "video/x-raw";
        if found.structure(0).is_none_or(|first| !is_raw(first)) {
            return;
        }
        // The first stream of pictures; there is one pad to link. Others, and sound, are left hanging.
        let Some(pad_of_sink) = to.upgrade().and_then(|sink| sink.static_pad("sink")) else {
            return;
        };
        // Where the formats do not fit, the pipeline says so on its bus, but not which they are.
        if !pad_of_sink.is_linked() && pad.link(&pad_of_sink).is_err() {
            let formats = caps::to_formats("the file", &found, &FormatSet::new("none"));
            let names = formats.fourccs().map(|fourcc| fourcc.to_string()).collect();
            *offered.lock().unwrap_or_else(PoisonError::into_inner) = Some(names);
        }
    });
    let mut media = Media::new(sink, pipeline, path.to_owned(), is_address);
    let started = media.pipeline.set_state(gst::State::Playing);
    // GStreamer finds out what it is when it reads it, on threads of its own.
    let patience = if started.is_ok() { PATIENCE } else { Duration::ZERO };
    let reason = match (media.begin(patience), started) {
        (Err(reason), _) => reason,
        (_, Err(error)) => error.to_string(),
        (Ok(()), _) => return Ok(Box::new(media)),
    };
    let offered = refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    Err(match (offered, wish.format) {
        (Some(offered), Some(asked)) => Error::Format {
            camera: path.display().to_string(),
            format: asked.to_string(),
            offered,
        },
        _ => failed(reason),
    })
}

impl Media {
    fn new(sink: FrameSink, pipeline: gst::Pipeline, path: PathBuf, is_address: bool) -> Self {
        Self {
            hops: [Arc::clone(sink.hop())],
            sink,
            pipeline,
            path,
            is_address,
            first: None,
            damaged: 0,
        }
    }

    /// Waits for the first picture, or until there may yet be one.
    fn begin(&mut self, patience: Duration) -> Result<(), String> {
        let deadline = Deadline::after(patience);
        // Of a picture that could not be given, while none could.
        let mut reason = None;
        loop {
            match self.pull(deadline) {
                Ok(Received::Frame(first)) => {
                    self.first = Some(first);
                    return Ok(());
                }
                Ok(Received::EndOfStream) => {
                    return Err(reason.unwrap_or_else(|| "there is no picture in it".into()));
                }
                // It is long in coming, or was flushed.
                Ok(_) => return reason.map_or(Ok(()), Err),
                Err(error) if is_end(&error) || is_over(deadline) => return Err(error.to_string()),
                Err(error) => reason = Some(error.to_string()),
            }
        }
    }

    /// What comes next. A picture that cannot be given is counted.
    fn pull(&mut self, deadline: Deadline) -> Result<Received, Failed> {
        let dropped = self.sink.stats().dropped;
        let received = self.sink.next(deadline);
        if let Err(error) = &received
            && !is_end(error)
            // What could not be copied is counted there.
            && self.sink.stats().dropped == dropped
        {
            self.damaged += 1;
            self.hops[0].dropped("GStreamer's buffer makes no frame");
        }
        received
    }
}

/// Whether nothing comes any more. Everything else that a sink says is about one picture.
fn is_end(error: &Failed) -> bool {
    matches!(error, Failed::Pipeline(_) | Failed::NotRunning { .. })
}

fn is_over(deadline: Deadline) -> bool {
    deadline.remaining().is_some_and(|left| left.is_zero())
}

impl Backend for Media {
    fn next(&mut self, deadline: Deadline) -> Result<Event, String> {
        if let Some(first) = self.first.take() {
            return Ok(Event::Frame(first));
        }
        loop {
            return match self.pull(deadline) {
                Ok(Received::Frame(frame)) => Ok(Event::Frame(frame)),
                Ok(Received::EndOfStream) => Ok(Event::End),
                Ok(Received::TimedOut) => Ok(Event::Quiet),
                Err(error) if is_end(&error) => Err(error.to_string()),
                Err(_) if is_over(deadline) => Ok(Event::Quiet),
                Ok(_) | Err(_) => continue,
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
            damaged: self.damaged,
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A wait that reaches it is a hang.
    const LONG: Duration = Duration::from_secs(30);

    /// Ten pictures, of which these have too few bytes.
    fn ten(cut: impl Fn(u64) -> bool + Send + Sync + 'static) -> Media {
        let sink = FrameSink::builder()
            .queue(2, Backpressure::Block)
            .build()
            .unwrap();
        let source = gst::ElementFactory::make("videotestsrc")
            .property("num-buffers", 10)
            .build()
            .unwrap();
        let pipeline = gst::Pipeline::new();
        pipeline.add_many([&source, sink.element()]).unwrap();
        source.link(sink.element()).unwrap();
        let count = AtomicU64::new(0);
        let pad = source.static_pad("src").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if cut(count.fetch_add(1, Ordering::Relaxed)) {
                let short = gst::Buffer::from_slice(vec![0_u8; 16]);
                info.data = Some(gst::PadProbeData::Buffer(short));
            }
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        Media::new(sink, pipeline, "ten".into(), false)
    }

    fn has_elements() -> bool {
        gst::init().unwrap();
        for name in ["videotestsrc", "appsink"] {
            if gst::ElementFactory::find(name).is_none() {
                dmaframe_testkit::skip(&format!("GStreamer here has no element {name}"));
                return false;
            }
        }
        true
    }

    #[test]
    fn one_buffer_that_makes_no_frame_costs_one_picture_and_not_the_file() {
        if !has_elements() {
            return;
        }
        // The first among them: it is opened all the same.
        let mut media = ten(|picture| matches!(picture, 0 | 4));
        media.begin(LONG).unwrap();
        let mut frames = 0;
        loop {
            match media.next(Deadline::after(LONG)) {
                Ok(Event::Frame(_)) => frames += 1,
                Ok(Event::End) => break,
                Ok(Event::Quiet) => panic!("a hang after {frames} pictures"),
                Err(reason) => panic!("{reason} after {frames} pictures"),
            }
        }
        let (stats, counts) = (media.stats(), media.hops()[0].counts());
        assert_eq!(
            (frames, stats.delivered, stats.damaged, stats.dropped),
            (8, 8, 2, 0),
            "{stats:?}"
        );
        assert_eq!((counts.frames, counts.dropped), (8, 2), "{counts}");
    }

    #[test]
    fn a_file_none_of_whose_buffers_makes_a_frame_is_refused_with_the_reason() {
        if !has_elements() {
            return;
        }
        let mut media = ten(|_| true);
        let reason = media.begin(LONG).unwrap_err();
        assert!(reason.contains("16"), "{reason}");
    }
}
