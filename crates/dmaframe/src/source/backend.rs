//! What every kind of source does, and which one a wish means.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use dmaframe_alloc::{Chain, FramePool, Request};
use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, Frame};

use super::synthetic::Synthetic;
use super::{Error, Stats, Which, Wish, found, library, node};

/// What a backend gives.
pub(super) enum Event {
    Frame(Frame),
    Quiet,
    #[cfg_attr(not(feature = "gstreamer"), expect(dead_code, reason = "cameras do not end"))]
    End,
}

/// An open camera of some kind.
pub(super) trait Backend: Send + Debug {
    /// The next picture until the deadline. An error, for people, is the end of this backend: the camera is gone.
    fn next(&mut self, deadline: Deadline) -> Result<Event, String>;
    /// What it is, for people.
    fn describe(&self) -> String;
    /// Its hops, the same ones each time; at least one.
    fn hops(&self) -> &[Arc<Hop>];
    fn stats(&self) -> Stats;
    /// Whether one that was found again counts on from before it was gone.
    fn counts_on(&self) -> bool {
        false
    }
    /// It is gone: what to look for. Closes it, so that its driver may end.
    fn known(self: Box<Self>) -> Known;
}

/// How a camera that is gone is known when it is back.
#[derive(Debug)]
pub(super) enum Known {
    Node(node::Known),
    #[cfg(feature = "libcamera")]
    Library(library::Known),
    #[cfg(feature = "pipewire")]
    Pipewire(super::pipewire::Known),
    /// By what was asked for, and by that alone.
    Wish,
    /// It does not come back.
    Nothing,
}

impl Known {
    /// Opens it if it is there.
    pub(super) fn find(&mut self, wish: &Wish) -> Option<Box<dyn Backend>> {
        match self {
            Self::Node(known) => known.find(wish),
            #[cfg(feature = "libcamera")]
            Self::Library(known) => known.find(wish),
            #[cfg(feature = "pipewire")]
            Self::Pipewire(known) => known.find(wish),
            Self::Wish => open(wish, &mut Vec::new()).ok(),
            Self::Nothing => None,
        }
    }
}

/// Opens what is wished for.
pub(super) fn open(wish: &Wish, notes: &mut Vec<String>) -> Result<Box<dyn Backend>, Error> {
    match &wish.which {
        Which::Any => Ok(match any(wish, notes) {
            Some(backend) => backend,
            None => {
                notes.push(
                    "no camera that works: this is the built-in test picture (plug one in, or name a file, `libcamera`, \
                     `pipewire` or `portal`)"
                        .into(),
                );
                Box::new(Synthetic::open(wish, notes)?)
            }
        }),
        Which::Synthetic => Ok(Box::new(Synthetic::open(wish, notes)?)),
        Which::V4l2(path) => node::open(path, wish, notes),
        Which::Libcamera(id) => library::open(id.as_deref(), wish, notes),
        #[cfg(feature = "pipewire")]
        Which::Pipewire(name) => super::pipewire::open(name.as_deref(), wish),
        #[cfg(feature = "pipewire")]
        Which::Remote(remote) => super::pipewire::open_remote(remote, wish),
        #[cfg(not(feature = "pipewire"))]
        Which::Pipewire(_) | Which::Remote(_) => Err(not_built("PipeWire", "pipewire")),
        #[cfg(feature = "portal")]
        Which::Portal(name) => super::pipewire::open_portal(name.as_deref(), wish),
        #[cfg(not(feature = "portal"))]
        Which::Portal(_) => Err(not_built("the portal", "portal")),
        #[cfg(feature = "gstreamer")]
        Which::File(path) => super::media::open(path, wish),
        #[cfg(not(feature = "gstreamer"))]
        Which::File(path) => Err(match path.try_exists() {
            Ok(false) if !path.to_string_lossy().contains("://") => missing(path),
            _ => not_built(&format!("the file {}", path.display()), "gstreamer"),
        }),
    }
}

/// The first that works, each one that does not with its reason.
fn any(wish: &Wish, notes: &mut Vec<String>) -> Option<Box<dyn Backend>> {
    for which in found::candidates() {
        let named = Wish {
            which: which.clone(),
            ..wish.clone()
        };
        let mut more = Vec::new();
        match open(&named, &mut more) {
            Ok(backend) => {
                notes.append(&mut more);
                return Some(backend);
            }
            Err(error) => notes.push(format!("{which} not used: {error}")),
        }
    }
    None
}

/// A frame in memory of its own, of the kind that pools here have: for a picture when consumers hold all of a pool's slots.
/// Who waits for one of them may be who holds them.
pub(super) fn fresh(request: impl Into<Request>) -> Result<Frame, dmaframe_alloc::Error> {
    let pool = FramePool::builder(request)
        .slots(1)
        .allocator(Chain::standard())
        .build()
        .map_err(|rejected| rejected.error)?;
    // It outlives its pool.
    pool.try_acquire()
}

/// A source that this program was built without.
#[allow(dead_code, reason = "with every feature there is none")]
pub(super) fn not_built(name: &str, feature: &'static str) -> Error {
    Error::NotBuilt {
        source_name: name.to_owned(),
        feature,
    }
}

/// A file that is not there.
pub(super) fn missing(path: &std::path::Path) -> Error {
    Error::File {
        path: PathBuf::from(path),
        reason: "there is no such file".into(),
    }
}
