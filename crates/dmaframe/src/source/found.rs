//! Which cameras there are.

use std::fmt;
use std::path::PathBuf;

use dmaframe_core::Fourcc;
use dmaframe_v4l2::{Device, Error as V4l2Error, Sizes};

use super::Which;

/// A camera, as [`Source::list`](super::Source::list) found it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Found {
    /// What to open.
    pub which: Which,
    /// Its name for people.
    pub name: String,
    /// The driver, or the service, that it belongs to.
    pub driver: String,
    /// The formats, in its own order. Empty where only opening a stream would tell (PipeWire).
    pub formats: Vec<Offered>,
    /// Why it cannot be used, where that is known: no permission, in use.
    pub problem: Option<String>,
}

/// A format of a camera.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Offered {
    /// The driver's code.
    pub code: String,
    /// The frames it gives; `None` for encoded and unknown formats.
    pub fourcc: Option<Fourcc>,
    /// dma-bufs in a frame.
    pub objects: u8,
    /// Whether it is an encoded stream.
    pub encoded: bool,
    /// The sizes.
    pub sizes: Sizes,
}

impl fmt::Display for Found {
    /// A line for the camera, and one for each format.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {} ({})", self.which, self.name, self.driver)?;
        if let Some(problem) = &self.problem {
            write!(f, "\n    {problem}")?;
        }
        for format in &self.formats {
            write!(f, "\n    {format}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fourcc {
            Some(fourcc) if self.objects > 1 => format!("{fourcc} in {} dma-bufs", self.objects),
            Some(fourcc) => fourcc.to_string(),
            None if self.encoded => "encoded".into(),
            None => "no frame format".into(),
        };
        let sizes = match &self.sizes {
            Sizes::Discrete(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Sizes::Stepwise { min, max, .. } => format!("{min} to {max}"),
        };
        write!(f, "{:<6} {what:<24} {sizes}", self.code)
    }
}

/// `/dev/video*`, by number.
pub(super) fn nodes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut nodes: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("video")?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    nodes.sort();
    nodes.into_iter().map(|(_, path)| path).collect()
}

/// What [`Which::Any`] tries, in this order.
pub(super) fn candidates() -> Vec<Which> {
    let is_camera = |path: &PathBuf| !matches!(Device::open(path), Err(V4l2Error::NotCapture { .. }));
    #[cfg_attr(
        not(any(feature = "libcamera", feature = "pipewire")),
        expect(unused_mut, reason = "nothing to add")
    )]
    let mut all: Vec<_> = nodes().into_iter().filter(is_camera).map(Which::V4l2).collect();
    #[cfg(feature = "libcamera")]
    all.extend(
        super::library::ids()
            .into_iter()
            .map(|id| Which::Libcamera(Some(id))),
    );
    #[cfg(feature = "pipewire")]
    all.extend(
        super::pipewire::nodes()
            .into_iter()
            .map(|node| Which::Pipewire(Some(node.name))),
    );
    all
}

/// Every camera.
pub(super) fn list() -> Vec<Found> {
    #[cfg_attr(
        not(any(feature = "libcamera", feature = "pipewire")),
        expect(unused_mut, reason = "nothing to add")
    )]
    let mut all: Vec<_> = nodes().into_iter().filter_map(node).collect();
    #[cfg(feature = "libcamera")]
    all.extend(super::library::list());
    #[cfg(feature = "pipewire")]
    all.extend(super::pipewire::nodes().into_iter().map(|node| Found {
        name: node.description.unwrap_or_else(|| node.name.clone()),
        which: Which::Pipewire(Some(node.name)),
        driver: "PipeWire".into(),
        formats: Vec::new(),
        problem: None,
    }));
    all
}

/// A node, if it is a camera or may be one.
fn node(path: PathBuf) -> Option<Found> {
    let which = Which::V4l2(path.clone());
    let device = match Device::open(&path) {
        Ok(device) => device,
        Err(V4l2Error::NotCapture { .. }) => return None,
        Err(error) => {
            return Some(Found {
                which,
                name: "a node that cannot be opened".into(),
                driver: "V4L2".into(),
                formats: Vec::new(),
                problem: Some(error.to_string()),
            });
        }
    };
    let formats = device.formats().and_then(|formats| {
        formats
            .into_iter()
            .map(|offer| {
                let frame = offer.pixel_format.frame();
                Ok(Offered {
                    code: offer.pixel_format.to_string(),
                    fourcc: frame.map(|frame| frame.fourcc),
                    objects: frame.map_or(1, |frame| frame.memory_planes),
                    encoded: offer.compressed,
                    sizes: device.sizes(offer.pixel_format)?,
                })
            })
            .collect::<Result<Vec<_>, V4l2Error>>()
    });
    let caps = device.capabilities();
    let (formats, problem) = match formats {
        Ok(formats) => (formats, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    Some(Found {
        which,
        name: caps.card.clone(),
        driver: caps.driver.clone(),
        formats,
        problem,
    })
}
