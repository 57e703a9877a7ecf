//! What can go wrong.

use dmaframe_vulkan::{Refusal, Route};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No route takes the frame; each with its reason.
    #[error("no route takes the frame: {}", list(.0))]
    NoRoute(Vec<(Route, Refusal)>),
    /// The Vulkan half refused or failed.
    #[error(transparent)]
    Vulkan(#[from] dmaframe_vulkan::Error),
    /// The core refused.
    #[error(transparent)]
    Frame(#[from] dmaframe_core::Error),
}

fn list(refusals: &[(Route, Refusal)]) -> String {
    let texts: Vec<_> = refusals
        .iter()
        .map(|(route, why)| format!("{route}: {why}"))
        .collect();
    texts.join("; ")
}
