//! The main job: capture, look, show, report.

use std::time::Instant;

use anyhow::{Context, Result};
use dmaframe::report::PathReport;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::Args;
use crate::gpu::Filtering;
use crate::meter::Meter;
use crate::picture;
use crate::source::{Source, megapixels};
use crate::stream::Stream;

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut notes = Vec::new();
    let mut source = Source::open(args, &mut notes)?;
    let path = PathReport::new();
    path.add(source.hop());
    let meter_hop = path.hop("meter(CPU view)");
    let mut filtering = match &args.filter {
        Some(name) => Filtering::open(name, &path, &mut notes)?,
        None => None,
    };
    let mut stream = match &args.stream {
        Some(file) => Some(Stream::create(file, args.fps)?),
        None => None,
    };
    for note in &notes {
        println!("note: {note}");
    }
    println!("source: {}", source.describe());

    let mut meter = Meter::default();

    let progress = ProgressBar::new(args.frames);
    progress.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} frames  {msg}",
    )?);
    let mut first = None;
    let mut last = None;
    for _ in 0..args.frames {
        let frame = source.next()?;
        // The clock starts with the first picture: a camera's start-up is not its frame rate.
        let start = *first.get_or_insert_with(Instant::now);
        meter.look(&frame, &meter_hop).context("looking at the frame")?;
        let frame = match &mut filtering {
            Some(filtering) => filtering.run(&frame, |line| progress.suspend(|| println!("note: {line}")))?,
            None => frame,
        };
        if let Some(stream) = &mut stream {
            if last.is_none() {
                path.add(stream.hop());
            }
            stream.write(&frame).context("writing the stream")?;
        }
        // Kept until the next one is there, so that the last one is at hand: one buffer held.
        last = Some(frame);
        progress.inc(1);
        let fps = (progress.position() - 1) as f64 / start.elapsed().as_secs_f64().max(1e-9);
        progress.set_message(format!("{fps:.1} fps, brightness {}", meter.brightness()));
    }
    let elapsed = first.map_or(0.0, |start| start.elapsed().as_secs_f64());
    progress.finish();
    if let Some(stream) = stream {
        stream.finish()?;
    }

    let frame = last.context("no frame was asked for")?;
    let size = frame.layout().size();
    println!(
        "frame: {} {size} ({:.1} MP) {}",
        frame.fourcc(),
        megapixels(size),
        frame.modifier()
    );
    if frame.as_dmabuf().is_none() {
        println!(
            "note: this frame is CPU memory, which a GPU or encoder could only copy; the notes above say why"
        );
    }
    let converted = picture::write_png(&frame, &args.out)?;
    drop(frame);

    let fps = (args.frames - 1) as f64 / elapsed.max(1e-9);
    println!(
        "{} frames in {elapsed:.2} s: {fps:.1} fps, {} dropped",
        args.frames,
        source.lost()
    );
    println!();
    for hop in path.counts() {
        println!("  {hop}");
    }
    println!("{path}");
    for reason in filtering.iter().flat_map(Filtering::reasons) {
        println!("note: {reason}");
    }
    println!(
        "picture: {} ({converted} bytes converted once, for the PNG)",
        args.out.display()
    );
    Ok(())
}
