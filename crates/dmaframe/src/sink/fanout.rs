//! Several sinks for one stream.

use std::fmt;
use std::sync::Arc;

use dmaframe_core::Frame;
use dmaframe_core::report::PathReport;

use super::{Error, Sink, Summary};

/// Sinks that all get the same frames. One that fails is taken out, and the others go on.
#[derive(Default)]
pub struct Fanout {
    sinks: Vec<Box<dyn Sink>>,
}

/// A sink that was taken out, and why. It is ended as far as it could be.
#[derive(Debug, thiserror::Error)]
#[error("{name} ended: {error}")]
#[non_exhaustive]
pub struct Failed {
    /// Its hop's name.
    pub name: String,
    /// What was wrong.
    #[source]
    pub error: Error,
}

impl Fanout {
    /// Without sinks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sink, which gets the frames from now on.
    pub fn push(&mut self, sink: Box<dyn Sink>) {
        self.sinks.push(sink);
    }

    /// Adds the hops of all sinks to a report.
    pub fn report(&self, path: &PathReport) {
        self.sinks
            .iter()
            .for_each(|sink| path.add(Arc::clone(sink.hop())));
    }

    /// Gives the frame to all, in the order they were added, and gives back those that failed. Waits as long as the most
    /// patient of them does. Allocates nothing while none fails.
    pub fn take(&mut self, frame: &Frame) -> Vec<Failed> {
        let mut failed = Vec::new();
        self.sinks.retain_mut(|sink| match sink.take(frame) {
            Ok(_) => true,
            Err(error) => {
                let name = sink.hop().counts().name;
                failed.push(Failed { name, error });
                false
            }
        });
        failed
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sinks.len()
    }

    /// Whether there is none, or none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    /// Ends all, one after the other, and says of each what has come of it.
    pub fn finish(self) -> Vec<Result<Summary, Failed>> {
        let end = |sink: Box<dyn Sink>| {
            let name = sink.hop().counts().name;
            sink.finish().map_err(|error| Failed { name, error })
        };
        self.sinks.into_iter().map(end).collect()
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.sinks.iter().map(|sink| sink.hop().counts().name);
        f.debug_list().entries(names).finish()
    }
}
