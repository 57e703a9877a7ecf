//! The project's own commands. `cargo xtask --help` names them all.

mod cache;
mod ci;
mod doctor;
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

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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
    /// Say what this machine, or the lab, can do without a copy, and what is in the way
    Doctor(doctor::DoctorArgs),
    /// Every check of CI, or the ones named
    Ci(ci::CiArgs),
}

/// Where this program is. Asked before anything is compiled: cargo may replace the file while we run,
/// and the kernel then names the deleted one.
fn own_path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()))
}

fn main() {
    own_path();
    let result = match Cli::parse().command {
        Cmd::Lab(command) => lab::main(command),
        Cmd::Test(args) => test::main(&args),
        Cmd::Msrv(args) => msrv::main(&args),
        Cmd::Doctor(args) => doctor::main(&args),
        Cmd::Ci(args) => ci::main(args),
    };
    let code = result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        125
    });
    std::process::exit(code);
}
