//! `dmaframe doctor`: what this machine can do with video frames, and what stands in the way.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dmaframe::doctor::{self, trace};

/// Zero-copy video frames for Linux
#[derive(Debug, Parser)]
#[command(name = "dmaframe", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tries what this machine has, and says what is missing, why, and what would help
    Doctor {
        /// As JSON
        #[arg(long, conflicts_with = "trace")]
        json: bool,
        /// Runs frames from the first camera (or a test picture) through the first GPU and writes what every hop took:
        /// dmaframe-trace.json for Perfetto or chrome://tracing, dmaframe-frame.svg for any browser
        #[arg(long)]
        trace: bool,
        /// How many frames to trace
        #[arg(long, value_name = "N", default_value_t = 300, requires = "trace")]
        frames: u64,
        /// Folder for the trace's two files
        #[arg(long, value_name = "DIR", default_value = ".", requires = "trace")]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    let Command::Doctor {
        json,
        trace,
        frames,
        out,
    } = Args::parse().command;
    let options = doctor::Options::default();
    let text = if trace {
        // Before the frames are waited for.
        writable(&out)
            .and_then(|()| {
                // Some cameras take a minute for them.
                eprintln!("dmaframe: following {frames} frames...");
                trace::run(&options, frames)
            })
            .and_then(|trace| {
                let files = trace.write(&out)?;
                Ok(format!("{trace}\n{}\n{}\n", files.0.display(), files.1.display()))
            })
    } else {
        let report = doctor::examine(&options);
        if json {
            report.to_json().map(|json| json + "\n")
        } else {
            Ok(report.to_string())
        }
    };
    match text {
        // A reader that has seen enough (`| head`) is no error.
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("dmaframe: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether files can be made there.
fn writable(folder: &Path) -> Result<(), doctor::Error> {
    use rustix::fs::{Access, access};
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| doctor::Error::File {
        path: folder.display().to_string(),
        error: errno.into(),
    })
}
