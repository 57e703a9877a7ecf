//! A camera app as a thin consumer of `dmaframe`.
//!
//! Without arguments: a real camera if there is one, else a moving test picture through the same frame path; 120 frames
//! with a progress line; the last one as `camera.png`; and the report of what every hop cost.

mod args;
mod filter;
mod gpu;
mod list;
mod meter;
mod picture;
mod run;
mod source;
mod stream;
mod test_source;

use clap::Parser;

fn main() -> std::process::ExitCode {
    let args = args::Args::parse();
    let result = match args.command {
        Some(args::Command::List) => list::list(),
        None => run::run(&args),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("camera: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
