//! The job: capture, filter, hand to the outputs, report.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dmaframe::report::{Hop, PathReport};
use dmaframe::sink::{self, Failed, Fanout, Opening, Photo};
use dmaframe::{Fourcc, Frame};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::Args;
use crate::gpu::Filtering;
use crate::source::Source;

/// How long an encoder may keep a camera waiting whose pictures it alone gets.
const PATIENCE: Duration = Duration::from_secs(10);

/// A camera and everything that happens to its pictures.
pub(crate) struct Job {
    args: Args,
    pub(crate) source: Source,
    pub(crate) path: PathReport,
    filtering: Option<Filtering>,
    sinks: Fanout,
    /// Where every frame is looked at.
    meter: Option<Arc<Hop>>,
    pub(crate) stop: Arc<AtomicBool>,
    progress: ProgressBar,
    first: Option<Instant>,
    /// From the first picture to the latest. What comes after, as a photo's file, is no part of the frame rate.
    took: Duration,
    done: u64,
    /// Pictures that the GPU had no time for.
    missed: u64,
    /// Outputs that have ended before the others.
    pub(crate) failed: Vec<Failed>,
    /// The newest picture of the camera's own, where it is wanted raw.
    raw: Option<Frame>,
}

impl Job {
    pub(crate) fn open(args: &Args) -> Result<Self> {
        let mut notes = Vec::new();
        let source = Source::open(args, &mut notes)?;
        let path = PathReport::new();
        source.camera.report(&path);
        let meter = args.looks().then(|| path.hop("meter(CPU view)"));
        // Pictures that nobody encodes keep their colours; memory for other processes is the GPU's to write.
        let fourcc = match args.photo() {
            Some(_) => Fourcc::ABGR8888,
            None => Fourcc::NV12,
        };
        let filtering = match args.filter.is_some() || args.virtual_camera().is_some() {
            true => Filtering::open(args.filter.as_deref(), fourcc, &path, &mut notes)?,
            false => None,
        };
        for note in &notes {
            say!("note: {note}");
        }
        let frames = args.frames();
        let template = match frames {
            Some(_) => "{bar:30} {pos}/{len} frames  {msg}",
            None => "{spinner} {pos} frames  {msg}  (Ctrl-C ends)",
        };
        let progress = frames.map_or_else(ProgressBar::no_length, ProgressBar::new);
        progress.set_style(ProgressStyle::with_template(template)?);
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // The second one is for who cannot wait for the files' ends.
            signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        say!("source: {}", source.camera.describe());
        Ok(Self {
            args: args.clone(),
            source,
            path,
            filtering,
            sinks: Fanout::new(),
            meter,
            stop,
            progress,
            first: None,
            took: Duration::ZERO,
            done: 0,
            missed: 0,
            failed: Vec::new(),
            raw: None,
        })
    }

    /// The next picture, which the outputs have too. `None` at the end: of the time, of the frames, or by Ctrl-C.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            let elapsed = self.first.map_or(Duration::ZERO, |first| first.elapsed());
            let most = self.args.seconds.map_or(Duration::MAX, Duration::from_secs);
            // A preview's are counted by its window, which does not show all, and goes on without outputs.
            let none = self.sinks.is_empty() && !self.failed.is_empty();
            let all = self.args.frames().is_some_and(|frames| self.done >= frames);
            let over = (none || all) && !self.args.previews();
            if elapsed >= most || over || self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let progress = &self.progress;
            let say = |line: String| progress.suspend(|| say!("note: {line}"));
            let Some(frame) = self.source.next(&self.stop, say)? else {
                return Ok(None);
            };
            // The clock starts with the first picture, and anew when it is through: no start-up is a frame rate.
            self.first.get_or_insert_with(Instant::now);
            let mut brightness = String::new();
            if let Some(meter) = &self.meter
                && let Some(mean) = mean(&frame).context("looking at the frame")?
            {
                brightness = format!(", brightness {mean}");
                meter.zero_copy();
            }
            if self.args.photo().is_some() && self.source.gone.is_none() {
                self.raw = Some(frame.clone());
            }
            let filtered = match &mut self.filtering {
                Some(filtering) => filtering.run(&frame, say)?,
                None => Some(frame),
            };
            let Some(frame) = filtered else {
                self.missed += 1;
                continue;
            };
            if self.done == 0 {
                self.open_sinks(&frame)?;
                self.first = Some(Instant::now());
            }
            // The others go on.
            for failed in self.sinks.take(&frame) {
                self.progress.suspend(|| say!("note: {failed}"));
                self.failed.push(failed);
            }
            self.done += 1;
            self.progress.inc(1);
            self.took = self.first.map_or(Duration::ZERO, |first| first.elapsed());
            let fps = self.fps();
            self.progress.set_message(format!("{fps:.1} fps{brightness}"));
            return Ok(Some(frame));
        }
    }

    fn fps(&self) -> f64 {
        self.done.saturating_sub(1) as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn open_sinks(&mut self, first: &Frame) -> Result<()> {
        let buffers = self.filtering.as_ref().map_or_else(Vec::new, Filtering::buffers);
        let camera = self.args.virtual_camera();
        // A file alone has every picture; beside others nobody is waited for.
        let beside = camera.is_some() || self.args.previews();
        let patience = if beside { Duration::ZERO } else { PATIENCE };
        let opening = Opening::of(first)
            .buffers(buffers)
            .framerate(self.args.fps, 1)
            .patience(patience);
        let mut notes = Vec::new();
        if let Some(file) = &self.args.stream {
            self.sinks.push(sink::pictures(file, &opening)?);
        }
        if let Some(file) = self.args.record() {
            self.sinks.push(sink::record(file, &opening, &mut notes)?);
        }
        if let Some(name) = camera {
            self.sinks.push(sink::virtual_camera(name, &opening)?);
        }
        self.sinks.report(&self.path);
        self.progress
            .suspend(|| notes.iter().for_each(|note| say!("note: {note}")));
        Ok(())
    }

    /// Ends the outputs and says what every hop cost, whatever has come before; all that went wrong is the error.
    pub(crate) fn finish(self, before: &[Result<()>]) -> Result<()> {
        self.progress.finish();
        let (took, fps) = (self.took.as_secs_f64(), self.fps());
        let before = before.iter().filter_map(|result| result.as_ref().err());
        let mut wrong: Vec<_> = before.map(|error| format!("{error:#}")).collect();
        wrong.extend(self.failed.iter().map(Failed::to_string));
        for ended in self.sinks.finish() {
            match ended {
                Ok(line) => say!("{line}"),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        let (done, lost) = (self.done, self.missed + self.source.camera.stats().lost());
        say!("{done} frames in {took:.2} s: {fps:.1} fps, {lost} dropped\n");
        for hop in self.path.counts() {
            say!("  {hop}");
        }
        say!("{}", self.path);
        for reason in self.filtering.iter().flat_map(Filtering::reasons) {
            say!("note: {reason}");
        }
        if let (Some((_, Some(file))), Some(frame)) = (self.args.photo(), &self.raw) {
            match sink::dump(frame, file, PATIENCE) {
                Ok(bytes) => say!("raw: {} ({bytes} bytes as the camera gave them)", file.display()),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("; "));
        Ok(())
    }
}

/// The mean of every sixteenth row of the first plane, where they are. `None` of memory that others may write, as a decoder's:
/// its rows could only be copied.
fn mean(frame: &Frame) -> Result<Option<u64>> {
    let view = frame.map_read(PATIENCE)?;
    let Ok(rows) = view.rows(0) else {
        return Ok(None);
    };
    let (mut sum, mut count) = (0, 0);
    for row in rows.step_by(16) {
        sum += row.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        count += row.len() as u64;
    }
    Ok(Some(sum / count.max(1)))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // A name that nobody can write costs no capture.
    let photo = args.picture().map(Photo::of).transpose()?;
    let mut job = Job::open(args)?;
    // Kept until the next one is there, so that the last one is at hand: one buffer held.
    let mut last = None;
    let ended = loop {
        match job.next() {
            // A placeholder is no picture.
            Ok(Some(_)) if job.source.gone.is_some() => {}
            Ok(Some(frame)) => last = photo.as_ref().map(|_| frame),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let saved = photo.map_or(Ok(()), |photo| save(&photo, last));
    job.finish(&[ended, saved])
}

fn save(photo: &Photo, last: Option<Frame>) -> Result<()> {
    let frame = last.context("no picture came")?;
    say!("frame: {frame:?}");
    if frame.as_dmabuf().is_none() {
        say!("note: this frame is CPU memory, which a GPU or encoder could only copy");
    }
    let converted = photo.save(&frame, PATIENCE)?;
    let file = photo.path().display();
    say!("picture: {file} ({converted} bytes converted once)");
    Ok(())
}
