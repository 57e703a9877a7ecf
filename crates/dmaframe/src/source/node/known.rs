//! How a camera that is gone is found again.

use std::path::PathBuf;

use dmaframe_v4l2::Device;

use super::super::backend::Backend;
use super::super::{Which, Wish, found};
use super::Node;

/// A camera that was.
#[derive(Clone, Debug)]
pub(in super::super) struct Known {
    path: PathBuf,
    card: String,
    bus: String,
    /// How often it was looked for.
    looks: u32,
    /// The nodes at the last look, and whether one of them should have been it and could not be opened. Opening a node wakes
    /// the camera behind it, so that is not done every second.
    seen: Vec<Trace>,
    again: bool,
}

/// What changes when a node is made anew, or its permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trace {
    path: PathBuf,
    inode: u64,
    changed: (i64, i64),
}

/// Looks after which, for a wish for any camera, another one will do.
const LOYALTY: u32 = 5;

impl Known {
    pub(super) fn new(device: &Device) -> Self {
        Self {
            path: device.path().to_owned(),
            card: device.capabilities().card.clone(),
            bus: device.capabilities().bus.clone(),
            looks: 0,
            seen: Vec::new(),
            again: false,
        }
    }

    /// The same camera in the same place, then one of its name anywhere, then whatever is at its path now, then, for who
    /// wishes for any, any.
    pub(in super::super) fn find(&mut self, wish: &Wish) -> Option<Box<dyn Backend>> {
        let nodes = found::nodes();
        let traces: Vec<_> = nodes.iter().filter_map(trace).collect();
        let disloyal = matches!(wish.which, Which::Any) && self.looks >= LOYALTY;
        self.looks = self.looks.saturating_add(1);
        let changed = traces != self.seen || (disloyal && self.looks == LOYALTY + 1);
        self.seen = traces;
        if !changed && !self.again {
            return None;
        }
        let rank = |path: &PathBuf| {
            let Ok(device) = Device::open(path) else {
                // It may be it, and not ours yet.
                return (*path == self.path).then_some(4);
            };
            let caps = device.capabilities();
            match (caps.card == self.card, caps.bus == self.bus, *path == self.path) {
                (true, true, true) => Some(0),
                (true, true, false) => Some(1),
                (true, false, true) => Some(2),
                (true, false, false) => Some(3),
                (false, _, true) => Some(4),
                (false, ..) => disloyal.then_some(5),
            }
        };
        let mut ranked: Vec<_> = nodes
            .into_iter()
            .filter_map(|path| Some((rank(&path)?, path)))
            .collect();
        ranked.sort();
        self.again = !ranked.is_empty();
        let opened = ranked
            .into_iter()
            .find_map(|(_, path)| Node::open(&path, wish, &mut Vec::new()).ok())?;
        Some(Box::new(opened))
    }
}

fn trace(path: &PathBuf) -> Option<Trace> {
    use std::os::unix::fs::MetadataExt;
    let node = std::fs::metadata(path).ok()?;
    Some(Trace {
        path: path.clone(),
        inode: node.ino(),
        changed: (node.ctime(), node.ctime_nsec()),
    })
}
