//! Memory of other drivers' devices that this one takes over, and gives back when the last user is done with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrayvec::ArrayVec;
use dmaframe_core::{Access, Frame};

use super::gpu::WeakGpu;
use super::imported::Kept;
use super::submit::Work;
use super::{Gpu, Imported, Submission, sys, wgpu};
use crate::Error;

/// A frame to hold, with or without its import: what [`Gpu::track`] and [`Gpu::track_encoder`] take.
#[derive(Debug)]
pub struct Tracked(What);

#[derive(Debug)]
enum What {
    Frame(Frame),
    Import(Imported),
    Acquired(Acquired),
}

impl From<Frame> for Tracked {
    fn from(frame: Frame) -> Self {
        Self(What::Frame(frame))
    }
}

impl From<Imported> for Tracked {
    fn from(imported: Imported) -> Self {
        Self(What::Import(imported))
    }
}

impl From<Acquired> for Tracked {
    fn from(acquired: Acquired) -> Self {
        Self(What::Acquired(acquired))
    }
}

impl Tracked {
    /// Holds the frame until everything submitted so far is done; gives its memory back if it was taken over.
    pub(super) fn track(self, gpu: &Gpu) -> Result<Submission, Error> {
        let (frame, kept) = match self.0 {
            What::Frame(frame) => (frame, None),
            What::Import(imported) if !imported.gpu.is_same(gpu) => return Err(Error::OtherDevice),
            What::Import(imported) => (imported.frame, Some(imported.kept)),
            // Dropped here, it is given back on its own device.
            What::Acquired(acquired) if !acquired.gpu.is_same(gpu) => return Err(Error::OtherDevice),
            What::Acquired(mut acquired) => return acquired.give_back(),
        };
        let mut work = Work {
            frames: vec![(frame, Access::Read)],
            ..Work::default()
        };
        work.keep.extend(kept.map(|kept| kept.until_read()));
        gpu.run(work)
    }

    /// What is held for an encoder whose submission nobody sees, until that is done.
    pub(super) fn held_by_encoder(self) -> crate::track::Holds {
        let mut holds = crate::track::Holds::default();
        match self.0 {
            What::Frame(frame) => holds.frames.push((frame, Access::Read)),
            What::Import(imported) => {
                holds.frames.push((imported.frame, Access::Read));
                holds.keep.push(imported.kept.until_read());
            }
            What::Acquired(acquired) => holds.keep.push(Box::new(acquired.after_encoder())),
        }
        holds
    }
}

/// A frame whose memory [`Gpu::acquire`] has taken over from other devices.
///
/// Give it to [`Gpu::track`] after the submission that reads it, or to [`Gpu::track_encoder`]. Dropping it is the former,
/// without its errors: the memory always goes back, and the frame is held until everything submitted so far is done.
#[derive(Debug)]
#[must_use = "dropping it gives the memory back, which has to come after the submission that reads it"]
pub struct Acquired {
    gpu: Gpu,
    frame: Frame,
    kept: Arc<Kept>,
    /// Whether there is nothing left to do.
    over: bool,
}

impl Acquired {
    pub(super) fn new(imported: &Imported) -> Self {
        Self {
            gpu: imported.gpu.clone(),
            frame: imported.frame.clone(),
            kept: Arc::clone(&imported.kept),
            over: false,
        }
    }

    /// The frame.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    fn give_back(&mut self) -> Result<Submission, Error> {
        self.over = true;
        let mut work = Work {
            frames: vec![(self.frame.clone(), Access::Read)],
            keep: vec![self.kept.until_read()],
            ..Work::default()
        };
        let turn = self.gpu.turn();
        let taken = Taken::of_acquired(&self.gpu, &self.kept);
        work.commands.extend(taken.give_back()?);
        drop(taken);
        self.gpu.run_in_order(&turn, work)
    }

    fn after_encoder(mut self) -> AfterEncoder {
        self.over = true;
        AfterEncoder {
            gpu: self.gpu.downgrade(),
            frame: self.frame.clone(),
            kept: Arc::clone(&self.kept),
        }
    }
}

impl Drop for Acquired {
    fn drop(&mut self) {
        if !self.over {
            // On a lost device nothing is left to be given back to.
            let _ = self.give_back();
        }
    }
}

/// Gives back when an encoder's work is done. It does not keep the device: with that, the import is gone too.
struct AfterEncoder {
    gpu: WeakGpu,
    frame: Frame,
    kept: Arc<Kept>,
}

impl Drop for AfterEncoder {
    fn drop(&mut self) {
        if let Some(gpu) = self.gpu.upgrade() {
            drop(Acquired {
                gpu,
                frame: self.frame.clone(),
                kept: Arc::clone(&self.kept),
                over: false,
            });
        }
    }
}

/// Those that some work uses.
///
/// With [`Gpu::turn`] taken. What was not given back when this is dropped was never submitted. It is dropped before the
/// submission: an application that submits in the middle of that comes after it.
pub(super) struct Taken<'a> {
    gpu: &'a Gpu,
    kept: Vec<Arc<Kept>>,
    /// Another submission has taken them over.
    acquired: bool,
}

impl<'a> Taken<'a> {
    pub(super) fn new<'b>(gpu: &'a Gpu, kept: impl IntoIterator<Item = &'b Arc<Kept>>) -> Self {
        let kept = kept.into_iter().filter(|kept| gpu.foreign() && kept.is_shared());
        let kept: Vec<_> = kept.cloned().collect();
        for kept in &kept {
            kept.users.fetch_add(1, Ordering::Relaxed);
        }
        Self {
            gpu,
            kept,
            acquired: false,
        }
    }

    /// What [`Gpu::acquire`] took over before.
    fn of_acquired(gpu: &'a Gpu, kept: &Arc<Kept>) -> Self {
        let taken = gpu.foreign() && kept.is_shared();
        Self {
            gpu,
            kept: taken.then(|| Arc::clone(kept)).into_iter().collect(),
            acquired: true,
        }
    }

    /// Those that nobody else uses.
    fn alone(&self) -> impl Iterator<Item = &Kept> + Clone {
        // The same import may be here twice.
        let count = |kept: &Arc<Kept>| self.kept.iter().filter(|k| Arc::ptr_eq(k, kept)).count();
        let first = |index: usize, kept: &Arc<Kept>| !self.kept[..index].iter().any(|k| Arc::ptr_eq(k, kept));
        let kept = self.kept.iter().enumerate();
        kept.filter(move |(index, kept)| {
            first(*index, kept) && kept.users.load(Ordering::Relaxed) == count(kept)
        })
        .map(|(_, kept)| &**kept)
    }

    pub(super) fn take_over(&self) -> Result<ArrayVec<wgpu::CommandBuffer, 2>, Error> {
        sys::take_over(self.gpu, self.alone())
    }

    pub(super) fn give_back(&self) -> Result<ArrayVec<wgpu::CommandBuffer, 2>, Error> {
        sys::give_back(self.gpu, self.alone(), !self.acquired)
    }

    /// They stay taken over.
    pub(super) fn keep(mut self) {
        self.kept.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for kept in &self.kept {
            kept.users.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
