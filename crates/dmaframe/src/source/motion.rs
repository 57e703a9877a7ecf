//! What becomes of a camera's captures: frames are left alone, Motion JPEG is decoded into a pool.

use std::sync::Arc;

#[cfg(feature = "jpeg")]
use dmaframe_alloc::{FramePool, Request};
use dmaframe_core::capture::{self, Captured};
use dmaframe_core::report::Hop;
use dmaframe_core::{Bitstream, Deadline, Frame};

use super::Stats;
#[cfg(feature = "jpeg")]
use super::backend::fresh;

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
        let decoder = self
            .motion
            .as_ref()
            .map_or(Stats::default(), |motion| motion.stats);
        Stats {
            delivered: (captured.delivered + captured.detached).saturating_sub(decoder.lost()),
            detached: captured.detached + decoder.detached,
            dropped: captured.dropped + decoder.dropped,
            gaps: captured.gaps,
            damaged: captured.errors + captured.short + decoder.damaged,
            ..Stats::default()
        }
    }
}

/// The decoder, where there is one.
#[derive(Debug, Default)]
struct Motion {
    #[cfg(feature = "jpeg")]
    decoder: dmaframe_jpeg::Decoder,
    /// What it did with them: `detached`, `dropped` and `damaged`.
    stats: Stats,
}

impl Motion {
    /// The picture; `None`, and counted, when there is none.
    #[cfg(feature = "jpeg")]
    fn decode(&mut self, unit: &Bitstream, deadline: Deadline) -> Option<Frame> {
        use dmaframe_core::Error::{NoMemory, Timeout};
        use dmaframe_jpeg::Error;
        match self.picture(unit, deadline) {
            Ok(frame) => Some(frame),
            Err(Error::Pool(_) | Error::Core(NoMemory { .. } | Timeout { .. })) => {
                self.decoder
                    .hop()
                    .dropped("there is no memory for the picture, or not in time");
                self.stats.dropped += 1;
                None
            }
            Err(_) => {
                self.decoder.hop().dropped("the JPEG is damaged");
                self.stats.damaged += 1;
                None
            }
        }
    }

    /// In a slot of the decoder's, or in fresh memory when consumers hold all of them.
    #[cfg(feature = "jpeg")]
    fn picture(&mut self, unit: &Bitstream, deadline: Deadline) -> Result<Frame, dmaframe_jpeg::Error> {
        let view = unit.map_read(deadline)?;
        let copy;
        let bytes = match view.bytes() {
            Ok(bytes) => bytes,
            Err(_) => {
                copy = view.to_vec()?;
                &copy
            }
        };
        // A slot at home may have a fence to wait for. Who waits for one that is in a frame may be who holds the frame.
        let full = |pool: &FramePool| pool.outstanding() >= pool.slots();
        let wait = match self.decoder.pool().is_some_and(full) {
            true => Deadline::now(),
            false => deadline,
        };
        match self.decoder.decode_bytes(bytes, unit.meta().clone(), wait) {
            Err(dmaframe_jpeg::Error::Pool(error)) if error.is_starved() => {}
            decoded => return decoded,
        }
        let header = dmaframe_jpeg::Header::parse(bytes)?;
        let mut frame = fresh(Request::new(header.fourcc, header.size))?;
        let meta = frame.meta_mut()?;
        *meta = unit.meta().clone();
        // An encoded picture has no coded size of its own.
        meta.visible = None;
        self.decoder.decode_into(bytes, &mut frame, deadline)?;
        self.stats.detached += 1;
        Ok(frame)
    }

    #[cfg(not(feature = "jpeg"))]
    fn decode(&mut self, _: &Bitstream, _: Deadline) -> Option<Frame> {
        self.stats.damaged += 1;
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

#[cfg(all(test, feature = "jpeg", feature = "photo"))]
mod tests {
    use dmaframe_core::{Codec, FrameMeta};

    use super::*;

    const LONG: std::time::Duration = std::time::Duration::from_secs(1);

    /// An access unit, whole or broken off, with this number.
    fn unit(sequence: u64, whole: bool) -> Captured {
        let mut bytes = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        let grey: Vec<u8> = (0..64 * 48 * 3_u32).map(|i| (i % 251) as u8).collect();
        encoder
            .encode(&grey, 64, 48, jpeg_encoder::ColorType::Rgb)
            .unwrap();
        if !whole {
            bytes.truncate(bytes.len() / 2);
        }
        let mut meta = FrameMeta::default();
        meta.sequence = Some(sequence);
        Captured::Bitstream(Bitstream::from_bytes(bytes, Codec::MJPEG, true, meta).unwrap())
    }

    #[test]
    fn holding_decoded_pictures_stops_no_camera_and_damages_none() {
        let mut pictures = Pictures::decoded();
        let mut captured = capture::Stats::default();
        let mut held = Vec::new();
        // More than the decoder's pool has; all by the thread that asks for more. It asks with an end so that a failure is no
        // hang: it would be reached, and the picture lost.
        for sequence in 0..12 {
            let taken = pictures.frame(unit(sequence, true), Deadline::after(LONG));
            captured.delivered += 1;
            let frame = taken.unwrap().expect("a picture");
            assert_eq!(frame.meta().sequence, Some(sequence));
            held.push(frame);
        }
        let stats = pictures.stats(captured);
        assert_eq!(
            (stats.delivered, stats.damaged, stats.dropped),
            (12, 0, 0),
            "{stats:?}"
        );
        assert_eq!(stats.detached, 8, "{stats:?}");
        let kinds: Vec<_> = held.iter().map(|frame| frame.as_dmabuf().is_some()).collect();
        assert!(
            kinds.iter().all(|kind| *kind == kinds[0]),
            "one kind of memory: {kinds:?}"
        );
        let pixels = |frame: &Frame| frame.map_read(LONG).unwrap().to_tight().unwrap();
        assert!(
            held.iter().all(|frame| pixels(frame) == pixels(&held[0])),
            "each is the picture"
        );

        // What is damaged is counted as that, whoever holds what.
        captured.delivered += 1;
        assert!(
            pictures
                .frame(unit(12, false), Deadline::now())
                .unwrap()
                .is_none()
        );
        drop(held);
        captured.delivered += 1;
        assert!(pictures.frame(unit(13, true), Deadline::now()).unwrap().is_some());
        let stats = pictures.stats(captured);
        assert_eq!(
            (stats.delivered, stats.damaged, stats.detached),
            (13, 1, 8),
            "{stats:?}"
        );
    }
}
