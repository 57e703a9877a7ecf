//! What a frame costs, printed as tables. Nothing is asserted: times are for reading.

mod convert;
mod frame;
#[cfg(feature = "gpu")]
mod gpu;
mod machine;
#[cfg(all(feature = "gstreamer", feature = "pipewire"))]
mod media;
mod memory;
mod meter;
mod step;
mod strace;
mod sys;
mod table;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Wrapping, cloning, mapping, giving back: per frame, against copies and other crates
    Frame(Options),
    /// CPU conversion of whole pictures
    Convert(Options),
    /// Frames to a GPU and back, by every route, in GB/s and against the bare copy
    #[cfg(feature = "gpu")]
    Gpu(gpu::Options),
    /// Capture, virtual camera and recording: CPU time as frames, as copies, and by GStreamer alone
    #[cfg(all(feature = "gstreamer", feature = "pipewire"))]
    Media(media::Options),
    /// One end of a stream
    #[cfg(all(feature = "gstreamer", feature = "pipewire"))]
    #[command(hide = true)]
    Play { role: media::Role, words: Vec<String> },
    /// Runs every step a few times for strace to look at
    #[command(hide = true)]
    Once {
        suite: Suite,
        #[arg(long, default_value = "")]
        only: String,
    },
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Only steps whose name contains this
    #[arg(default_value = "")]
    only: String,
    /// Milliseconds a round lasts
    #[arg(long, default_value_t = 20)]
    round_ms: u32,
    /// Rounds: the median and the shortest are shown
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Do not count system calls
    #[arg(long)]
    no_strace: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Suite {
    Frame,
    Convert,
}

impl Suite {
    fn steps(self) -> Vec<step::Step> {
        match self {
            Self::Frame => frame::steps(),
            Self::Convert => convert::steps(),
        }
    }
}

fn main() {
    match Cli::parse().command {
        Command::Frame(options) => measure(Suite::Frame, &options),
        Command::Convert(options) => measure(Suite::Convert, &options),
        #[cfg(feature = "gpu")]
        Command::Gpu(options) => gpu::measure(&options),
        #[cfg(all(feature = "gstreamer", feature = "pipewire"))]
        Command::Media(options) => media::measure(&options),
        #[cfg(all(feature = "gstreamer", feature = "pipewire"))]
        Command::Play { role, words } => media::play(role, &words),
        Command::Once { suite, only } => strace::once(&chosen(suite, &only)),
    }
}

fn chosen(suite: Suite, only: &str) -> Vec<step::Step> {
    let mut steps = suite.steps();
    steps.retain(|step| step.group.contains(only) || step.name.contains(only));
    steps
}

fn measure(suite: Suite, options: &Options) {
    machine::print();
    let steps = chosen(suite, &options.only);
    let calls = if options.no_strace {
        Err("not asked for".to_owned())
    } else {
        strace::count(suite, &options.only, steps.len())
    };
    if let Err(why) = &calls {
        println!("system calls not counted: {why}");
    }
    let mut rows = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let calls = calls.as_ref().ok().map(|calls| calls[index].as_str());
        rows.push(table::Row::new(
            step,
            step.measure(options.rounds, options.round_ms),
            calls,
        ));
    }
    table::print(&rows);
}
