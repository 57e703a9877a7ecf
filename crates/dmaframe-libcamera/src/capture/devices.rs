//! Whether the camera's device nodes are still there.
//!
//! libcamera tells of an unplugged camera (`Camera::disconnected`) only where its pipeline watches for it, which of 0.7's is
//! webcams' alone. Of any other it notices nothing, and when such a camera is stopped it aborts the process, since requests
//! that the kernel will never complete are left (`PipelineHandler::stop` in `src/libcamera/pipeline_handler.cpp`). So we
//! look ourselves, and do not stop what is gone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{major, minor, stat};

/// How often a stream without pictures looks.
pub(crate) const EVERY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Devices {
    /// The nodes' folders in sysfs and their inode numbers, which a device that is plugged in anew does not share.
    nodes: Vec<(PathBuf, u64)>,
    looked: Instant,
}

impl Devices {
    /// Of the device numbers that libcamera names (`properties::SystemDevices`); those that sysfs does not show are not
    /// watched.
    pub(crate) fn new(numbers: &[i64]) -> Self {
        let path = |number: &i64| {
            let number = u64::try_from(*number).ok()?;
            let path = PathBuf::from(format!("/sys/dev/char/{}:{}", major(number), minor(number)));
            let inode = inode(&path)?;
            Some((path, inode))
        };
        Self {
            nodes: numbers.iter().filter_map(path).collect(),
            looked: Instant::now(),
        }
    }

    /// Whether there is anything to look at.
    pub(crate) fn are_watched(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Whether one of them is gone. A few system calls.
    pub(crate) fn gone(&mut self) -> bool {
        self.looked = Instant::now();
        self.nodes
            .iter()
            .any(|(path, number)| inode(path) != Some(*number))
    }

    /// The same, but `false` without a look when the last one was just now.
    pub(crate) fn gone_now_and_then(&mut self) -> bool {
        self.looked.elapsed() >= EVERY && self.gone()
    }
}

fn inode(path: &std::path::Path) -> Option<u64> {
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs by target")]
    stat(path).ok().map(|stat| stat.st_ino as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_there_is_not_gone_and_one_that_never_was_is_not_watched() {
        // /dev/null, on every Linux.
        let null = rustix::fs::makedev(1, 3);
        let mut devices = Devices::new(&[i64::try_from(null).unwrap(), -1, i64::MAX]);
        assert_eq!(devices.nodes.len(), 1);
        assert!(devices.are_watched() && !devices.gone());
        devices.nodes[0].1 += 1;
        assert!(devices.gone(), "another device of the same number");
        assert!(!devices.gone_now_and_then(), "it was looked at just now");
        assert!(!Devices::new(&[]).are_watched());
    }
}
