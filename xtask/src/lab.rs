//! `cargo xtask lab ...`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::guest::{self, GuestArgs, Job, Lab};
use crate::kernel::{Kernel, Variant};
use crate::root;

/// What the lab can do.
#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Build the kernel from the distribution's source package (about 6 minutes on two cores, once)
    Build {
        /// Which kernel
        #[arg(long, value_enum, default_value_t = Variant::Default)]
        variant: Variant,
        /// Take this source package, as linux-source-6.12, instead of the best one
        #[arg(long, value_name = "PACKAGE")]
        kernel_source: Option<String>,
        /// Install missing packages without asking
        #[arg(long)]
        yes: bool,
    },
    /// Make the guest's root folder, and print where it is
    Root {
        /// Make the folder even where the host itself would do
        #[arg(long)]
        folder: bool,
        /// Install missing packages without asking
        #[arg(long)]
        yes: bool,
    },
    /// Run a command in a fresh guest; its output and exit status are the command's
    #[command(visible_alias = "runner")]
    Run {
        #[command(flatten)]
        guest: GuestArgs,
        /// The command and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// A shell in a fresh guest
    Shell {
        #[command(flatten)]
        guest: GuestArgs,
    },
    /// The first process of a guest; of no use by hand
    #[command(hide = true)]
    Init {
        /// The job's folder
        job: PathBuf,
    },
}

/// Runs it; gives the exit status.
pub(crate) fn main(command: LabCommand) -> Result<i32> {
    match command {
        LabCommand::Build {
            variant,
            kernel_source,
            yes,
        } => {
            let kernel = Kernel::build(variant, kernel_source.as_deref(), yes)?;
            println!("{}", kernel.path.display());
            Ok(0)
        }
        LabCommand::Root { folder, yes } => {
            let root = if folder {
                root::folder(yes)?
            } else {
                root::ensure(yes)?
            };
            println!("{}", root.display());
            Ok(0)
        }
        LabCommand::Run { guest: args, command } => {
            let lab = Lab::ensure(args.variant, args.yes)?;
            guest::run(&lab, Job::new(command, &args.binds, args.udev)?, &args, false)
        }
        LabCommand::Shell { guest: mut args } => {
            if !guest::has_terminal() {
                bail!("`lab shell` needs a terminal; to run one command: cargo xtask lab run -- COMMAND");
            }
            let lab = Lab::ensure(args.variant, args.yes)?;
            // Nobody wants to be thrown out of a shell.
            args.timeout = u64::from(u32::MAX);
            let shell = vec!["/bin/bash".to_owned(), "-l".into()];
            guest::run(&lab, Job::new(shell, &args.binds, args.udev)?, &args, true)
                .context("the shell's guest failed")
        }
        LabCommand::Init { job } => guest::init_main(&job),
    }
}
