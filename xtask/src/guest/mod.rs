//! A guest: one boot of the lab's kernel that runs one command and gives back its output and exit status.

mod console;
mod host_side;
mod hung;
mod init;
mod io;
mod job;
mod mounts;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

pub(crate) use host_side::{has_terminal, run};
pub(crate) use init::main as init_main;
pub(crate) use job::{Job, workspace};

use crate::kernel::{Kernel, Variant};

/// Devices: a single-planar and a multi-planar vivid, capture and output; udmabufs of up to 256 MB.
const KERNEL_ARGS: &[&str] = &[
    "vivid.n_devs=2",
    "vivid.multiplanar=1,2",
    "vivid.node_types=0x101,0x101",
    "udmabuf.size_limit_mb=256",
];

/// How a guest is started.
#[derive(Debug, Clone, Args)]
pub(crate) struct GuestArgs {
    /// The guest's memory
    #[arg(long, default_value = "1G")]
    pub(crate) mem: String,
    /// The guest's CPUs; with one, the guest is pinned to a CPU of the host, which makes system calls six times faster
    #[arg(long, default_value_t = 1)]
    pub(crate) cpus: u32,
    /// Seconds after which the guest is killed
    #[arg(long, default_value_t = 600)]
    pub(crate) timeout: u64,
    /// A word for the kernel's command line, as `vivid.allocators=1` or `time-travel=inf-cpu`
    #[arg(long = "kernel-arg", value_name = "WORD")]
    pub(crate) kernel_args: Vec<String>,
    /// Which kernel
    #[arg(long, value_enum, default_value_t = Variant::Default)]
    pub(crate) variant: Variant,
    /// How the kernel holds its processes: `off` is slower (ptrace), for hosts that forbid seccomp
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) seccomp: Switch,
    /// A folder of the host that the guest may write, at the same path
    #[arg(long = "bind", value_name = "PATH")]
    pub(crate) binds: Vec<PathBuf>,
    /// Start udevd first (libcamera's vimc and PipeWire's device names want it; costs 1 s)
    #[arg(long)]
    pub(crate) udev: bool,
    /// Install missing packages without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// A kernel and a root folder: everything a guest needs.
#[derive(Debug, Clone)]
pub(crate) struct Lab {
    pub(crate) kernel: Kernel,
    pub(crate) root: PathBuf,
}

impl Lab {
    /// Finds both, or builds what is missing.
    pub(crate) fn ensure(variant: Variant, yes: bool) -> Result<Self> {
        Ok(Self {
            kernel: Kernel::ensure(variant, yes)?,
            root: crate::root::ensure(yes)?,
        })
    }

    /// What to do about the host's limit on mappings, where the kernel is too old to be changed so that it does not matter.
    pub(crate) fn advice(&self) -> Option<String> {
        // What is changed came with several CPUs.
        match self.kernel.manifest.smp {
            true => None,
            false => crate::host::map_count_advice(),
        }
    }
}
