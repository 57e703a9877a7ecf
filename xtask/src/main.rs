//! The project's own commands. `cargo xtask --help` names them all.

mod cache;
mod guest;
mod host;
mod kernel;
mod lab;
mod root;
mod signals;
mod steps;
mod sys;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "The project's own commands: the lab, the tests, the checks of CI"
)]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Debug, Subcommand)]
enum Cmd {
    /// The lab: a Linux kernel as an ordinary process, with real DMA-BUF, DRM and V4L2 devices
    #[command(subcommand)]
    Lab(lab::LabCommand),
}

fn main() {
    let result = match Cli::parse().command {
        Cmd::Lab(command) => lab::main(command),
    };
    let code = result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        125
    });
    std::process::exit(code);
}
