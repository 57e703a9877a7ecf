//! What every hop of a frame's way takes: frames of the first camera, or of a test source, through the first GPU.
//!
//! Camera -> import -> submission -> GPU copy -> back to the camera, with a span for each. [`Trace::write`] makes a file
//! for Perfetto or `chrome://tracing`, and a picture of one frame.

mod chrome;
mod source;
mod svg;

use std::fmt;
use std::path::{Path, PathBuf};

use source::Source;

use super::{Error, Options};
use crate::report::PathReport;
use crate::vulkan::{self, Gpu, Importer, Queue, Readback, Upload};
use crate::{Clock, Frame, Timestamp};

/// A stretch of time of one frame, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Span {
    /// Which hop.
    pub hop: Hop,
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
}

/// The hops of a traced frame, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Hop {
    /// From the source's timestamp to the application having the frame.
    Delivered,
    /// The import; after a buffer's first frame a look into the cache.
    Imported,
    /// Recording and submitting.
    Submitted,
    /// The device, from the submission to its end as the CPU sees it.
    Gpu,
    /// Giving the frame back to its source.
    Released,
}

impl Hop {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::Delivered,
        Self::Imported,
        Self::Submitted,
        Self::Gpu,
        Self::Released,
    ];
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delivered => "delivered",
            Self::Imported => "imported",
            Self::Submitted => "submitted",
            Self::Gpu => "GPU copy",
            Self::Released => "released",
        })
    }
}

/// One frame's spans.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameSpans {
    /// The source's count.
    pub sequence: u64,
    /// In the order of [`Hop::ALL`].
    pub spans: Vec<Span>,
}

impl FrameSpans {
    /// From the first span's start to the last one's end.
    #[must_use]
    pub fn total(&self) -> u64 {
        let start = self.spans.iter().map(|span| span.start).min().unwrap_or(0);
        self.spans
            .iter()
            .map(|span| span.end)
            .max()
            .unwrap_or(0)
            .saturating_sub(start)
    }
}

/// What was traced.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trace {
    /// Where the frames came from, and of what kind they were.
    pub source: String,
    /// The device.
    pub gpu: String,
    /// How the frames got to it.
    pub route: String,
    /// The frames.
    pub frames: Vec<FrameSpans>,
    /// What every hop copied.
    pub path: PathReport,
}

/// Runs `frames` frames. Blocks as long as the source needs for them.
///
/// # Errors
/// [`Error::NoTrace`] without a GPU or without frames; otherwise the error of the hop that failed.
pub fn run(options: &Options, frames: u64) -> Result<Trace, Error> {
    if frames == 0 {
        return Err(Error::NoTrace("0 frames were asked for".to_owned()));
    }
    let gpu = Gpu::open()?;
    let queue = gpu.queue()?;
    let mut source = Source::open(options)?;
    let path = PathReport::new();
    path.add(source.hop());
    let device_hop = path.hop(format!("{}(vulkan)", gpu.name()));
    let first = source.next()?;
    let mut way = Way::open(&gpu, &first)?;
    let mut trace = Trace {
        source: format!(
            "{}, {} {} {}",
            source.name(),
            first.fourcc(),
            first.modifier(),
            first.layout().size()
        ),
        gpu: gpu.name().to_owned(),
        route: way.name().to_owned(),
        frames: Vec::new(),
        path: path.clone(),
    };
    drop(first);
    let back = Readback::new(&gpu, way.layout.0, way.layout.1)?;
    let bytes = crate::Layout::tight(way.layout.0, way.layout.1)
        .map_err(crate::Error::from)?
        .tight_len();
    for _ in 0..frames {
        let asked = now();
        let frame = source.next()?;
        let mut clock = Spans::new(&frame, asked);
        clock.end(Hop::Delivered);
        let sequence = frame.meta().sequence.unwrap_or(trace.frames.len() as u64);
        one(&mut way, &queue, frame, &back, &mut clock, options)?;
        match way.kind {
            Kind::Import(..) => device_hop.gpu_copy(bytes, "the copy that is traced"),
            Kind::Upload(..) => device_hop.cpu_copy(bytes, "no import"),
        }
        trace.frames.push(FrameSpans {
            sequence,
            spans: clock.spans,
        });
    }
    Ok(trace)
}

/// Import, submit, wait, give back.
fn one(
    way: &mut Way,
    queue: &Queue,
    frame: Frame,
    back: &Readback,
    clock: &mut Spans,
    options: &Options,
) -> Result<(), Error> {
    let patience = options.patience * 5;
    let (import, frame) = match &way.kind {
        Kind::Import(importer) => {
            let held = importer.any_buffer(&frame)?;
            (held.import, held.frame)
        }
        Kind::Upload(upload) => (upload.stage(&frame, options.patience)?, frame),
    };
    clock.end(Hop::Imported);
    let work = queue.submit(patience, |commands| {
        commands.reads(&frame)?;
        commands.copy(&import, back.target())
    })?;
    clock.end(Hop::Submitted);
    if !work.wait(patience)?.is_signaled() {
        return Err(vulkan::Error::Timeout { what: "the device" }.into());
    }
    clock.end(Hop::Gpu);
    drop(frame);
    clock.end(Hop::Released);
    Ok(())
}

/// How frames get to the device.
struct Way {
    kind: Kind,
    layout: (crate::Fourcc, crate::Size),
    route: String,
}

enum Kind {
    Import(Importer),
    Upload(Upload),
}

impl Way {
    /// An import if the first frame can be imported, else an upload.
    fn open(gpu: &Gpu, first: &Frame) -> Result<Self, Error> {
        let layout = (first.fourcc(), first.layout().size());
        let importer = Importer::new(gpu);
        let (kind, route) = match importer.any_buffer(first) {
            Ok(held) => {
                let route = held.import.route().to_string();
                drop(held);
                (Kind::Import(importer), route)
            }
            Err(error @ vulkan::Error::NoRoute(_)) => (
                Kind::Upload(Upload::new(gpu, layout.0, layout.1, 2)?),
                format!("upload ({error})"),
            ),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { kind, layout, route })
    }

    fn name(&self) -> &str {
        &self.route
    }
}

/// Collects spans that follow one another.
struct Spans {
    spans: Vec<Span>,
    at: u64,
}

impl Spans {
    /// Begins with the source's timestamp where that can be believed: of this clock, not to come (vivid stamps a frame's
    /// end and delivers before it), and of the last second. Else with the moment the frame was `asked` for.
    fn new(frame: &Frame, asked: u64) -> Self {
        const SECOND: u64 = 1_000_000_000;
        let stamp = frame
            .meta()
            .timestamp
            .and_then(|stamp| stamp.to_clock(Clock::Monotonic));
        let (stamp, now) = (stamp.map(|stamp| stamp.ns), now());
        Self {
            spans: Vec::with_capacity(Hop::ALL.len()),
            at: stamp
                .filter(|at| *at <= now && now - at < SECOND)
                .unwrap_or(asked),
        }
    }

    fn end(&mut self, hop: Hop) {
        let (start, end) = (self.at, now());
        self.spans.push(Span { hop, start, end });
        self.at = end;
    }
}

fn now() -> u64 {
    Timestamp::now(Clock::Monotonic).ns
}

impl Trace {
    /// Writes `dmaframe-trace.json` (for Perfetto or `chrome://tracing`) and `dmaframe-frame.svg` (one frame, for any
    /// browser) into `folder`, and gives their paths.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Json`].
    pub fn write(&self, folder: &Path) -> Result<(PathBuf, PathBuf), Error> {
        let save = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|error| Error::File {
                path: path.display().to_string(),
                error,
            })?;
            Ok::<_, Error>(path)
        };
        Ok((
            save("dmaframe-trace.json", self.chrome()?)?,
            save("dmaframe-frame.svg", self.svg())?,
        ))
    }

    /// The trace as a Chrome trace (JSON object format).
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn chrome(&self) -> Result<String, Error> {
        chrome::text(self)
    }

    /// A self-contained picture of [`Trace::typical`]'s way.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::text(self)
    }

    /// The frame that took as long as half of them do.
    #[must_use]
    pub fn typical(&self) -> Option<&FrameSpans> {
        let mut sorted: Vec<_> = self.frames.iter().collect();
        sorted.sort_by_key(|frame| frame.total());
        sorted.get(sorted.len() / 2).copied()
    }

    /// The time of a hop in nanoseconds, sorted.
    fn times(&self, hop: Hop) -> Vec<u64> {
        let spans = self.frames.iter().flat_map(|frame| &frame.spans);
        let mut times: Vec<_> = spans
            .filter(|span| span.hop == hop)
            .map(|span| span.end - span.start)
            .collect();
        times.sort_unstable();
        times
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} frames of {}, to {} by {}",
            self.frames.len(),
            self.source,
            self.gpu,
            self.route
        )?;
        writeln!(
            f,
            "  {:<10} {:>10} {:>10} {:>10}   microseconds",
            "hop", "median", "99 %", "most"
        )?;
        for hop in Hop::ALL {
            let times = self.times(hop);
            let at = |share: usize| {
                times
                    .get(times.len().saturating_sub(1) * share / 100)
                    .copied()
                    .unwrap_or(0)
            };
            let micros = |share| at(share) as f64 / 1e3;
            writeln!(
                f,
                "  {:<10} {:>10.1} {:>10.1} {:>10.1}",
                hop.to_string(),
                micros(50),
                micros(99),
                micros(100)
            )?;
        }
        write!(f, "{}", self.path)
    }
}
