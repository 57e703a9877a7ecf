//! What a mem2mem device does, by what its two queues take.

use std::path::PathBuf;

use crate::device::{Capabilities, Device, Queue, nodes};
use crate::enumerate::OfferedFormat;
use crate::error::Error;
use crate::pixelformat::PixelFormat;

/// What a mem2mem device turns into what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Pictures into pictures.
    Converter,
    /// Pictures into access units.
    Encoder,
    /// Access units into pictures.
    Decoder,
    /// Slices with parsed headers into pictures (request API), which this crate does not do.
    StatelessDecoder,
}

/// Formats that a stateless decoder takes: the application parses the stream and says in controls what is in it.
static STATELESS: &[PixelFormat] = &[
    PixelFormat::new(b"S264"),
    PixelFormat::new(b"S265"),
    PixelFormat::new(b"MG2S"),
    PixelFormat::new(b"VP8F"),
    PixelFormat::new(b"VP9F"),
    PixelFormat::new(b"AV1F"),
    PixelFormat::new(b"SFWH"),
];

/// Whether a format is for the request API.
pub(super) fn is_stateless(format: PixelFormat) -> bool {
    STATELESS.contains(&format)
}

/// Whether an offered format is encoded, by the driver's word or ours.
fn is_coded(offered: &OfferedFormat) -> bool {
    offered.compressed || offered.pixel_format.codec().is_some()
}

impl Device {
    /// What this mem2mem device does; several things for some nodes, nothing for a capture device.
    ///
    /// # Errors
    /// As [`Device::formats`].
    pub fn roles(&self) -> Result<Vec<Role>, Error> {
        if !self.capabilities().is_m2m() {
            return Ok(Vec::new());
        }
        let (takes, gives) = (self.formats_of(Queue::Output)?, self.formats_of(Queue::Capture)?);
        let mut roles = Vec::new();
        let raw = |list: &[OfferedFormat]| list.iter().any(|offered| !is_coded(offered));
        if raw(&takes) && raw(&gives) {
            roles.push(Role::Converter);
        }
        if raw(&takes) && gives.iter().any(is_coded) {
            roles.push(Role::Encoder);
        }
        let stateless = |offered: &&OfferedFormat| is_stateless(offered.pixel_format);
        if takes
            .iter()
            .any(|offered| is_coded(offered) && !stateless(&offered))
            && raw(&gives)
        {
            roles.push(Role::Decoder);
        }
        if takes.iter().any(|offered| stateless(&offered)) {
            roles.push(Role::StatelessDecoder);
        }
        Ok(roles)
    }
}

/// One mem2mem device, as [`list_m2m`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedM2m {
    /// The node.
    pub path: PathBuf,
    /// What it is.
    pub capabilities: Capabilities,
    /// What it does.
    pub roles: Vec<Role>,
}

/// Every `/dev/video*` that is a mem2mem device, in the order of the nodes' numbers.
///
/// Opens each node for a moment; one that cannot be opened (no permission, gone meanwhile) is left out.
///
/// # Errors
/// [`Error::Open`] when `/dev` itself cannot be read.
pub fn list_m2m() -> Result<Vec<ListedM2m>, Error> {
    let devices = nodes()?.into_iter().filter_map(|path| {
        let device = Device::open_m2m(&path).ok()?;
        let roles = device.roles().ok()?;
        let capabilities = device.capabilities().clone();
        Some(ListedM2m {
            path,
            capabilities,
            roles,
        })
    });
    Ok(devices.collect())
}
