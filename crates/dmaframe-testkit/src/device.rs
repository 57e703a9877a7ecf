//! Where devices are. Numbers shift, so DRM and V4L2 nodes are looked up by their driver's name.

use std::path::{Path, PathBuf};

/// A device a test may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Device {
    /// `/dev/udmabuf`.
    Udmabuf,
    /// `/dev/dma_heap/system`.
    SystemHeap,
    /// debugfs' `sync/sw_sync`.
    SwSync,
    /// vgem's card node (dumb buffers need it).
    VgemCard,
    /// vgem's render node (fences, syncobj).
    VgemRender,
    /// vkms' card node.
    Vkms,
    /// The first capture node of a V4L2 driver with single-planar buffers.
    Capture(&'static str),
    /// The first capture node of a V4L2 driver with multi-planar buffers.
    CaptureMplane(&'static str),
    /// Where a platform driver is told to let a device go, as if it had been pulled out. It would be taken from whoever
    /// else uses it, so only in the lab.
    Unbind(&'static str),
    /// A program on the PATH.
    Program(&'static str),
}

/// Finds it, or says what is missing.
///
/// # Errors
/// The reason, as a sentence.
pub fn find(device: Device) -> Result<PathBuf, String> {
    match device {
        Device::Udmabuf => openable(Path::new("/dev/udmabuf")),
        Device::SystemHeap => openable(Path::new("/dev/dma_heap/system")),
        Device::SwSync => openable(Path::new("/sys/kernel/debug/sync/sw_sync")),
        Device::VgemCard => drm("vgem", "card"),
        Device::VgemRender => drm("vgem", "renderD"),
        Device::Vkms => drm("vkms", "card"),
        Device::Capture(driver) => v4l2(driver, V4L2_CAP_VIDEO_CAPTURE),
        Device::CaptureMplane(driver) => v4l2(driver, V4L2_CAP_VIDEO_CAPTURE_MPLANE),
        Device::Unbind(driver) => unbind(driver),
        Device::Program(name) => program(name),
    }
}

/// All devices of this kind, as many as there are: tests that only want many frames take them from all at once.
#[must_use]
pub fn find_all(device: Device) -> Vec<PathBuf> {
    match device {
        Device::Capture(driver) => v4l2_all(driver, V4L2_CAP_VIDEO_CAPTURE).collect(),
        Device::CaptureMplane(driver) => v4l2_all(driver, V4L2_CAP_VIDEO_CAPTURE_MPLANE).collect(),
        other => find(other).into_iter().collect(),
    }
}

const V4L2_CAP_VIDEO_CAPTURE: u32 = 0x1;
const V4L2_CAP_VIDEO_CAPTURE_MPLANE: u32 = 0x1000;

fn openable(path: &Path) -> Result<PathBuf, String> {
    let open = std::fs::OpenOptions::new().read(true).write(true).open(path);
    open.map(|_| path.to_owned())
        .map_err(|e| format!("{} cannot be opened ({e})", path.display()))
}

fn entries(dir: &str, prefix: &str) -> Vec<PathBuf> {
    let mut list: Vec<_> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(prefix))
        })
        .collect();
    // By number, so that "first" is the lowest and not what the directory order gives.
    list.sort_by_key(|p| {
        let name = p
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        name.trim_start_matches(|c: char| !c.is_ascii_digit())
            .parse::<u32>()
            .unwrap_or(u32::MAX)
    });
    list
}

fn drm(driver: &str, prefix: &str) -> Result<PathBuf, String> {
    let found = entries("/dev/dri", prefix).into_iter().find(|path| {
        std::fs::File::open(path)
            .is_ok_and(|file| crate::sys::drm_driver(&file).is_ok_and(|name| name == driver))
    });
    found.ok_or_else(|| format!("no DRM node /dev/dri/{prefix}* of driver {driver}"))
}

fn v4l2(driver: &str, cap: u32) -> Result<PathBuf, String> {
    let found = v4l2_all(driver, cap).next();
    found.ok_or_else(|| format!("no V4L2 capture node of driver {driver} with capability {cap:#x}"))
}

fn v4l2_all(driver: &str, cap: u32) -> impl Iterator<Item = PathBuf> + '_ {
    entries("/dev", "video").into_iter().filter(move |path| {
        std::fs::File::open(path).is_ok_and(|file| {
            crate::sys::v4l2_driver(&file).is_ok_and(|(name, caps)| name == driver && caps & cap != 0)
        })
    })
}

fn unbind(driver: &str) -> Result<PathBuf, String> {
    if !crate::in_lab() {
        return Err("unbinding a driver is for the lab alone".to_owned());
    }
    let path = PathBuf::from(format!("/sys/bus/platform/drivers/{driver}/unbind"));
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("no platform driver {driver}"))
    }
}

fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    found.ok_or_else(|| format!("no program {name} on the PATH"))
}
