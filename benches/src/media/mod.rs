//! What a frame costs the CPU through GStreamer and PipeWire: as a frame, as copies, and through these alone.
//!
//! Every way is a process of its own, so that the CPU time is that of all its threads, the libraries' too. What other
//! processes do (the daemon, whoever is at the other end) and what the kernel's own threads do (a driver that draws test
//! pictures) is in none of the rows.

mod camera;
mod pipewire;
mod roles;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use dmaframe_core::Size;

use crate::machine;
pub(crate) use roles::Role;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only rows whose name contains this
    #[arg(default_value = "")]
    only: String,
    /// Pictures of each row that has a camera
    #[arg(long, default_value_t = 200)]
    frames: u32,
    /// Seconds of each row that has a PipeWire stream
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// The camera; without it the lab's, or the first there is
    #[arg(long)]
    device: Option<PathBuf>,
}

const SIZES: [Size; 2] = [Size::new(1920, 1080), Size::new(3840, 2160)];

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Capture,
    VirtualCamera,
    Recording,
}

impl Job {
    fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::VirtualCamera => "virtual camera",
            Self::Recording => "recording",
        }
    }
}

/// How a row is measured.
enum Way {
    Camera(camera::Way),
    PipeWire(pipewire::Way),
}

/// What a frame costs.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_ms: f64,
    /// Frames a second that were reached.
    rate: f64,
}

/// Runs every row.
pub(crate) fn measure(options: &Options) {
    machine::print();
    let camera = camera::Camera::open(options.device.as_deref(), options.frames);
    let device = camera.as_ref().map_or_else(String::clone, ToString::to_string);
    println!(
        "camera: {device}, NV12, {} pictures a row; PipeWire: {} pictures a second of XRGB8888, {} s a row\n",
        options.frames,
        pipewire::RATE,
        options.seconds
    );
    let mut table = Table::new();
    table
        .load_preset(presets::ASCII_MARKDOWN)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["CPU ms a frame (frames a second)", "", "1080p", "4K"]);
    let mut notes = Vec::new();
    let rows = camera::WAYS
        .iter()
        .map(|(job, name, way)| (*job, *name, Way::Camera(*way)));
    let pipewire = pipewire::WAYS
        .iter()
        .map(|(job, name, way)| (*job, *name, Way::PipeWire(*way)));
    let mut rows: Vec<_> = rows.chain(pipewire).collect();
    rows.sort_by_key(|(job, ..)| *job as u8);
    for (job, name, way) in rows {
        if !name.contains(&options.only) && !job.name().contains(&options.only) {
            continue;
        }
        let mut cells = vec![Cell::new(job.name()), Cell::new(name)];
        for size in SIZES {
            let cost = match &way {
                Way::Camera(way) => camera
                    .as_ref()
                    .map_err(Clone::clone)
                    .and_then(|camera| camera.cost(*way, size)),
                Way::PipeWire(way) => way.cost(size, Duration::from_secs(options.seconds)),
            };
            let text = match cost {
                Ok(cost) => format!("{:.2} ({:.0})", cost.cpu_ms, cost.rate),
                Err(why) => {
                    notes.push(format!("{} {name}, {size}: {why}", job.name()));
                    format!("not run ({})", notes.len())
                }
            };
            eprintln!("{}, {name}, {size}: {text}", job.name());
            cells.push(Cell::new(text).set_alignment(CellAlignment::Right));
        }
        table.add_row(cells);
    }
    println!("{table}\n");
    for (number, note) in notes.iter().enumerate() {
        println!("({}) {note}", number + 1);
    }
}

/// This program in another role.
fn own(role: Role, words: &[&str]) -> Command {
    let program = std::env::current_exe().unwrap_or_default();
    let mut command = Command::new(program);
    command.arg("play").arg(role.name()).args(words);
    command
}

fn parse(size: &str) -> Result<Size, Box<dyn std::error::Error>> {
    let (width, height) = size.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
    Ok(Size::new(width.parse()?, height.parse()?))
}

/// Plays one end of a stream, in a process of its own.
pub(crate) fn play(role: Role, words: &[String]) {
    if let Err(error) = roles::play(role, words) {
        eprintln!("{}: {error}", role.name());
        std::process::exit(1);
    }
}
