//! What this machine has, found out by trying: allocates, captures, imports by every route, exports, waits for fences.
//!
//! ```no_run
//! let report = dmaframe::doctor::examine(&Default::default());
//! println!("{report}");
//! for verdict in &report.verdicts {
//!     println!("{} -> {}: {}", verdict.from, verdict.to, verdict.cost);
//! }
//! ```
//!
//! The same as a program: `cargo run --release -p dmaframe --features doctor -- doctor`.

mod allocators;
mod cameras;
mod daemons;
mod fences;
mod gpus;
mod nodes;
mod pipewire;
mod report;
mod sandbox;
mod sys;
mod text;
pub mod trace;
mod verdicts;

use std::time::Duration;

pub use report::{
    AllocatorReport, Attempt, CameraReport, Daemon, DrmNode, FenceReport, FormatRow, GpuReport, ImportReport,
    ModifierRow, Problem, Report, Sandbox, System, Verdict, VerdictCost,
};

/// What can go wrong in the doctor itself; what it finds is in its [`Report`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A report or trace that is no JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A file could not be written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Nothing to trace.
    #[error("nothing can be traced: {0}")]
    NoTrace(String),
    /// A camera failed while it was traced.
    #[error(transparent)]
    V4l2(#[from] crate::v4l2::Error),
    /// A GPU failed while it was traced.
    #[error(transparent)]
    Vulkan(#[from] crate::vulkan::Error),
    /// Memory failed while it was traced.
    #[error(transparent)]
    Alloc(#[from] crate::alloc::Error),
    /// A frame failed while it was traced.
    #[error(transparent)]
    Frame(#[from] crate::Error),
}

/// How to examine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How long to wait for a camera's first picture, and for a GPU.
    pub patience: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(2),
        }
    }
}

/// Examines the machine. Blocks for a second or two, and [`Options::patience`] for each camera that gives no picture.
///
/// Cameras are opened for a few pictures each, and their format is put back; one that somebody else uses is left alone.
/// Nothing else on the machine is changed.
#[must_use]
pub fn examine(options: &Options) -> Report {
    let sandbox = sandbox::examine();
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        system: sandbox::system(),
        ..Report::default()
    };
    let mut problems = Vec::new();
    let (allocators, working) = allocators::examine(&sandbox, &mut problems);
    report.allocators = allocators;
    let cameras = cameras::examine(&working, &sandbox, options, &mut problems);
    report.drm = nodes::drm(&sandbox, &mut problems);
    let gpus = gpus::examine(&working, &cameras, options, &mut problems);
    report.fences = fences::examine(&working, &report.drm, &sandbox, &mut problems);
    report.daemons = daemons::examine();
    report.verdicts = verdicts::all(&cameras, &working, &gpus, &problems);
    report.cameras = cameras.into_iter().map(|camera| camera.report).collect();
    report.gpus = gpus.into_iter().map(|gpu| gpu.report).collect();
    report.sandbox = sandbox;
    report.problems = Vec::new();
    for problem in problems {
        // A node that several want is one problem.
        if !report.problems.contains(&problem) {
            report.problems.push(problem);
        }
    }
    report
}
