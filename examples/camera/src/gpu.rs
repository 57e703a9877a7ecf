//! The GPU's half of the app: a processor, and the filter's file. The CPU touches no pixel.

use std::sync::Arc;

use anyhow::Result;
use dmaframe::report::PathReport;
use dmaframe::{Buffer, Fourcc, Frame};
use dmaframe_wgpu::v30::{ExportPool, Processor, open_best};
use dmaframe_wgpu::{Assume, Conversion, Error};

use crate::filter;

/// How many pictures the outputs hold together: a recording's queue and encoder, a virtual camera's readers.
const SLOTS: usize = 10;

/// What turns camera frames into those that go out.
pub(crate) struct Filtering(Processor);

impl Filtering {
    /// Opens the best GPU there is; without a filter it only converts. `None`, and a note why, when there is none.
    pub(crate) fn open(
        name: Option<&str>,
        fourcc: Fourcc,
        path: &PathReport,
        notes: &mut Vec<String>,
    ) -> Result<Option<Self>> {
        let gpu = match open_best() {
            Ok(gpu) => gpu,
            Err(error) => {
                let what = name.map_or_else(String::new, |name| format!(": '{name}' is not applied"));
                notes.push(format!("filters need a GPU with Vulkan{what} ({error})"));
                return Ok(None);
            }
        };
        let known_as = gpu.vulkan().map_or("a GPU", |vulkan| vulkan.name());
        notes.push(format!("filters on {known_as}, {}", gpu.level()));
        let mut builder = Processor::builder(&gpu)
            .fourcc(fourcc)
            .slots(SLOTS)
            .conversion(Conversion::assuming(Assume::Auto))
            .report(path)
            .env()?;
        if let Some(name) = name {
            builder = builder.effect(filter::open(&gpu, name)?);
        }
        Ok(Some(Self(builder.build())))
    }

    /// The filtered picture, in memory that encoders and other processes take: the size of the first one, whatever the
    /// camera becomes. `None` where the GPU had no time or no memory for it; it may have for the next. `say` gets what happened
    /// to the filter's file.
    pub(crate) fn run(&mut self, frame: &Frame, say: impl Fn(String)) -> Result<Option<Frame>> {
        if let Some(effect) = self.0.effect_mut() {
            match effect.reload() {
                Ok(false) => {}
                Ok(true) => say(format!("filter '{}' has changed", effect.name())),
                Err(error) => say(format!("the filter stays as it was: {error}")),
            }
        }
        let first = self.0.pool().is_none();
        let filtered = match self.0.run(frame) {
            Err(Error::Starved { .. } | Error::NotReady | Error::Busy { .. } | Error::Timeout { .. }) => {
                return Ok(None);
            }
            done => done?,
        };
        if first {
            self.0.set_size(Some(filtered.layout().size()));
        }
        Ok(Some(filtered))
    }

    /// The memory of all pictures, once there is one.
    pub(crate) fn buffers(&self) -> Vec<Arc<Buffer>> {
        self.0.pool().map_or_else(Vec::new, ExportPool::buffers)
    }

    /// Why things are not better than they are.
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.0.reasons()
    }
}
