//! The project's own commands. `cargo xtask --help` names them all.

mod cache;
mod ci;
mod guest;
mod host;
mod kernel;
mod lab;
mod msrv;
mod root;
mod signals;
mod steps;
mod sys;
mod test;

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
    /// Run every test of the workspace in the lab, building whatever that needs
    Test(test::TestArgs),
    /// Check the libraries with the oldest compiler they promise (Debian trixie's), 64 and 32 bits
    Msrv(msrv::MsrvArgs),
    /// Every check of CI, or the ones named
    Ci(ci::CiArgs),
}

fn main() {
    let result = match Cli::parse().command {
        Cmd::Lab(command) => lab::main(command),
        Cmd::Test(args) => test::main(&args),
        Cmd::Msrv(args) => msrv::main(&args),
        Cmd::Ci(args) => ci::main(args),
    };
    let code = result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        125
    });
    std::process::exit(code);
}
