//! What every hop of a frame's way cost, and why it was not cheaper.
//!
//! ```
//! use dmaframe_core::report::{Hop, PathReport};
//! let path = PathReport::new();
//! let camera = path.hop("camera(V4L2, EXPBUF)");
//! let file = path.hop("file");
//! camera.zero_copy();
//! file.cpu_copy(3_110_400, "PNG needs RGB rows");
//! assert_eq!(path.to_string(), "camera(V4L2, EXPBUF) -> file   CPU bytes/frame: 3110400");
//! ```

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What moving one frame over a hop cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopCost {
    /// The same memory on both sides.
    ZeroCopy,
    /// A device copied so many bytes.
    GpuCopy(u64),
    /// The CPU copied so many bytes.
    CpuCopy(u64),
}

/// Counters of one hop. Recording costs atomic additions only.
#[derive(Debug)]
pub struct Hop {
    name: String,
    frames: AtomicU64,
    zero_copy: AtomicU64,
    gpu_bytes: AtomicU64,
    cpu_bytes: AtomicU64,
    dropped: AtomicU64,
    /// Why the last frame that was copied was copied.
    reason: Mutex<Option<&'static str>>,
}

impl Hop {
    /// A hop of its own; usually made by [`PathReport::hop`].
    #[must_use]
    pub fn new(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            frames: AtomicU64::new(0),
            zero_copy: AtomicU64::new(0),
            gpu_bytes: AtomicU64::new(0),
            cpu_bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            reason: Mutex::new(None),
        })
    }

    /// One frame went over without a copy.
    pub fn zero_copy(&self) {
        self.record(HopCost::ZeroCopy, None);
    }

    /// One frame was copied by a device.
    pub fn gpu_copy(&self, bytes: u64, reason: &'static str) {
        self.record(HopCost::GpuCopy(bytes), Some(reason));
    }

    /// One frame was copied by the CPU.
    pub fn cpu_copy(&self, bytes: u64, reason: &'static str) {
        self.record(HopCost::CpuCopy(bytes), Some(reason));
    }

    /// One frame was lost here.
    pub fn dropped(&self, reason: &'static str) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.explain(reason);
    }

    /// Counts here what `other` has counted since `seen` was last given: a hop whose inner part may be made anew. `seen`
    /// begins as the default, and again with each new `other`. Allocates nothing.
    pub fn follow(&self, other: &Self, seen: &mut Followed) {
        let now = Followed {
            frames: other.frames.load(Ordering::Relaxed),
            zero_copy: other.zero_copy.load(Ordering::Relaxed),
            gpu_bytes: other.gpu_bytes.load(Ordering::Relaxed),
            cpu_bytes: other.cpu_bytes.load(Ordering::Relaxed),
            dropped: other.dropped.load(Ordering::Relaxed),
        };
        let add = |to: &AtomicU64, now: u64, then: u64| {
            to.fetch_add(now.saturating_sub(then), Ordering::Relaxed);
        };
        add(&self.frames, now.frames, seen.frames);
        add(&self.zero_copy, now.zero_copy, seen.zero_copy);
        add(&self.gpu_bytes, now.gpu_bytes, seen.gpu_bytes);
        add(&self.cpu_bytes, now.cpu_bytes, seen.cpu_bytes);
        add(&self.dropped, now.dropped, seen.dropped);
        // Only a frame that was copied or lost can have brought a reason. (Another thread may count meanwhile.)
        let not_shared = |at: &Followed| at.frames.wrapping_sub(at.zero_copy);
        if (not_shared(&now), now.dropped) != (not_shared(seen), seen.dropped) {
            let reason = *other.reason.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(reason) = reason {
                self.explain(reason);
            }
        }
        *seen = now;
    }

    fn record(&self, cost: HopCost, reason: Option<&'static str>) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        match cost {
            HopCost::ZeroCopy => self.zero_copy.fetch_add(1, Ordering::Relaxed),
            HopCost::GpuCopy(bytes) => self.gpu_bytes.fetch_add(bytes, Ordering::Relaxed),
            HopCost::CpuCopy(bytes) => self.cpu_bytes.fetch_add(bytes, Ordering::Relaxed),
        };
        if let Some(reason) = reason {
            self.explain(reason);
        }
        #[cfg(feature = "tracing")]
        tracing::trace!(target: "dmaframe", hop = %self.name, ?cost, reason, "frame");
    }

    fn explain(&self, reason: &'static str) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> HopCounts {
        HopCounts {
            name: self.name.clone(),
            frames: self.frames.load(Ordering::Relaxed),
            zero_copy: self.zero_copy.load(Ordering::Relaxed),
            gpu_bytes: self.gpu_bytes.load(Ordering::Relaxed),
            cpu_bytes: self.cpu_bytes.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            reason: *self.reason.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

/// How far [`Hop::follow`] has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    frames: u64,
    zero_copy: u64,
    gpu_bytes: u64,
    cpu_bytes: u64,
    dropped: u64,
}

/// A hop's counters at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HopCounts {
    /// The hop.
    pub name: String,
    /// Frames that went over it.
    pub frames: u64,
    /// Of those, without any copy.
    pub zero_copy: u64,
    /// Bytes copied by devices.
    pub gpu_bytes: u64,
    /// Bytes copied by the CPU.
    pub cpu_bytes: u64,
    /// Frames lost at this hop.
    pub dropped: u64,
    /// Why the last frame that was copied or lost was.
    pub reason: Option<&'static str>,
}

impl fmt::Display for HopCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            frames,
            zero_copy,
            gpu_bytes,
            cpu_bytes,
            dropped,
            reason,
        } = self;
        write!(f, "{name}: {frames} frames, ")?;
        let per = |bytes: u64| bytes / (*frames).max(1);
        match (gpu_bytes, cpu_bytes) {
            (0, 0) => write!(f, "zero-copy")?,
            (gpu, 0) => write!(f, "GPU copy {} bytes/frame", per(*gpu))?,
            (0, cpu) => write!(f, "CPU copy {} bytes/frame", per(*cpu))?,
            (gpu, cpu) => write!(f, "GPU copy {} and CPU copy {} bytes/frame", per(*gpu), per(*cpu))?,
        }
        if *zero_copy != 0 && zero_copy != frames {
            write!(f, " ({zero_copy} of them zero-copy)")?;
        }
        if *dropped != 0 {
            write!(f, ", {dropped} dropped")?;
        }
        if let Some(reason) = reason {
            write!(f, " [{reason}]")?;
        }
        Ok(())
    }
}

/// The hops of one stream in the order frames take them. Clones share the counters.
#[derive(Clone, Debug, Default)]
pub struct PathReport {
    hops: Arc<Mutex<Vec<Arc<Hop>>>>,
}

impl PathReport {
    /// An empty path.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a hop at the end.
    pub fn hop(&self, name: impl Into<String>) -> Arc<Hop> {
        let hop = Hop::new(name);
        self.add(Arc::clone(&hop));
        hop
    }

    /// Adds a hop that a source or sink counts itself.
    pub fn add(&self, hop: Arc<Hop>) {
        self.hops.lock().unwrap_or_else(PoisonError::into_inner).push(hop);
    }

    /// The counters of all hops now.
    #[must_use]
    pub fn counts(&self) -> Vec<HopCounts> {
        self.hops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|hop| hop.counts())
            .collect()
    }

    /// CPU bytes a frame over the whole path: all hops' bytes over the frames that entered the first.
    #[must_use]
    pub fn cpu_bytes_per_frame(&self) -> u64 {
        let counts = self.counts();
        let frames = counts.first().map_or(1, |first| first.frames.max(1));
        counts.iter().map(|c| c.cpu_bytes).sum::<u64>() / frames
    }
}

impl fmt::Display for PathReport {
    /// One line: the path and what it costs the CPU.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, hop) in self.counts().iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " -> " }, hop.name)?;
        }
        write!(f, "   CPU bytes/frame: {}", self.cpu_bytes_per_frame())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_that_follows_others_counts_what_each_of_them_did() {
        let outer = Hop::new("camera");
        let first = Hop::new("first");
        let mut seen = Followed::default();
        first.zero_copy();
        outer.follow(&first, &mut seen);
        assert_eq!(outer.counts().reason, None);
        first.cpu_copy(100, "held");
        outer.follow(&first, &mut seen);
        outer.follow(&first, &mut seen);
        let again = Hop::new("again");
        let mut seen = Followed::default();
        again.zero_copy();
        again.dropped("damaged");
        outer.follow(&again, &mut seen);
        let counts = outer.counts();
        assert_eq!(
            (counts.frames, counts.zero_copy, counts.cpu_bytes, counts.dropped),
            (3, 2, 100, 1)
        );
        assert_eq!(counts.reason, Some("damaged"));
        assert_eq!(counts.name, "camera");
    }
}
