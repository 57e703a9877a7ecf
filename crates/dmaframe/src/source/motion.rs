//! What becomes of a camera's captures: frames are left alone, Motion JPEG is decoded into a pool.

use std::sync::Arc;

use dmaframe_core::capture::{self, Captured};
use dmaframe_core::report::Hop;
use dmaframe_core::{Bitstream, Deadline, Frame};

use super::Stats;

/// Whether it is decoded here.
pub(super) const DECODED: bool = cfg!(feature = "jpeg");

/// A camera's pictures.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    motion: Option<Motion>,
}

impl Pictures {
    /// Of a camera that sends Motion JPEG.
    pub(super) fn decoded() -> Self {
        Self {
            motion: Some(Motion::default()),
        }
    }

    /// The picture; `None`, and counted, when there is none in it.
    pub(super) fn frame(&mut self, captured: Captured, deadline: Deadline) -> Result<Option<Frame>, String> {
        match (captured, &mut self.motion) {
            (Captured::Frame(frame), _) => Ok(Some(frame)),
            (Captured::Bitstream(unit), Some(motion)) => Ok(motion.decode(&unit, deadline)),
            _ => Err("the camera switched to an encoded format".into()),
        }
    }

    /// The decoder's hop.
    pub(super) fn hop(&self) -> Option<Arc<Hop>> {
        self.motion.as_ref().and_then(Motion::hop)
    }

    /// What became of them, from what the capture says.
    pub(super) fn stats(&self, captured: capture::Stats) -> Stats {
        let undecoded = self.motion.as_ref().map_or(0, |motion| motion.damaged);
        Stats {
            delivered: (captured.delivered + captured.detached).saturating_sub(undecoded),
            detached: captured.detached,
            dropped: captured.dropped,
            gaps: captured.gaps,
            damaged: captured.errors + captured.short + undecoded,
            ..Stats::default()
        }
    }
}

/// The decoder, where there is one.
#[derive(Debug, Default)]
struct Motion {
    #[cfg(feature = "jpeg")]
    decoder: dmaframe_jpeg::Decoder,
    damaged: u64,
}

impl Motion {
    /// The picture; `None`, and counted, when it is none.
    #[cfg(feature = "jpeg")]
    fn decode(&mut self, unit: &Bitstream, deadline: Deadline) -> Option<Frame> {
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
    fn decode(&mut self, _: &Bitstream, _: Deadline) -> Option<Frame> {
        self.damaged += 1;
        None
    }

    #[cfg(feature = "jpeg")]
    fn hop(&self) -> Option<Arc<Hop>> {
        Some(Arc::clone(self.decoder.hop()))
    }

    #[cfg(not(feature = "jpeg"))]
    fn hop(&self) -> Option<Arc<Hop>> {
        None
    }
}
