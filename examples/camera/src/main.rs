//! A camera app as a thin consumer of `dmaframe`.
//!
//! Without arguments: a real camera if there is one, else a moving test picture through the same frame path; 120 frames
//! with a progress line; the last one as `camera.png`; and the report of what every hop cost.

/// As `println!`, for readers that may go before the end: `camera list | head -1`.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod args;
mod filter;
mod gpu;
mod list;
#[cfg(feature = "window")]
mod preview;
mod run;
mod source;
#[cfg(feature = "window")]
mod window;

use clap::Parser;

fn main() -> std::process::ExitCode {
    let args = args::Args::parse();
    let result = match &args.command {
        Some(args::Command::List) => list::list(),
        #[cfg(feature = "window")]
        Some(args::Command::Preview(how)) => preview::run(&args, how),
        #[cfg(not(feature = "window"))]
        Some(args::Command::Preview(_)) => Err(anyhow::anyhow!(
            "built without a window: run `cargo run --release -p camera --features window -- preview`"
        )),
        _ => run::run(&args),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("camera: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
