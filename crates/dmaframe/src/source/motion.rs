//! Motion JPEG: access units of a camera into frames of a pool.

use std::sync::Arc;

use dmaframe_core::report::Hop;
use dmaframe_core::{Bitstream, Deadline, Frame};

/// Whether it is decoded here.
pub(super) const DECODED: bool = cfg!(feature = "jpeg");

/// The decoder, where there is one.
#[derive(Debug, Default)]
pub(super) struct Motion {
    #[cfg(feature = "jpeg")]
    decoder: dmaframe_jpeg::Decoder,
    pub(super) damaged: u64,
}

impl Motion {
    /// The picture; `None`, and counted, when it is none.
    #[cfg(feature = "jpeg")]
    pub(super) fn decode(&mut self, unit: &Bitstream, deadline: Deadline) -> Option<Frame> {
        match self.decoder.decode(unit, deadline) {
            Ok(frame) => Some(frame),
            Err(dmaframe_jpeg::Error::Pool(_)) => {
                self.decoder
                    .hop()
                    .dropped("consumers hold all pictures of the decoder's pool");
                self.damaged += 1;
                None
            }
            Err(_) => {
                self.decoder.hop().dropped("the JPEG is damaged");
                self.damaged += 1;
                None
            }
        }
    }

    #[cfg(not(feature = "jpeg"))]
    pub(super) fn decode(&mut self, _: &Bitstream, _: Deadline) -> Option<Frame> {
        self.damaged += 1;
        None
    }

    /// The decoder's hop.
    #[cfg(feature = "jpeg")]
    pub(super) fn hop(&self) -> Option<Arc<Hop>> {
        Some(Arc::clone(self.decoder.hop()))
    }

    #[cfg(not(feature = "jpeg"))]
    pub(super) fn hop(&self) -> Option<Arc<Hop>> {
        None
    }
}
