//! What both ends of a stream, the one that reads and the one that writes, say of themselves and of their buffers.

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Fourcc, Size, TimelineDevice};

use crate::error::Error;
use crate::pod::{self, BuffersOffer, FormatOffer, PodBuf, meta_type};
use crate::sys::{MAX_DAMAGE, Version, meta_size};

/// Which kinds of memory formats are offered with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Without a modifier: shared memory, and cameras' dma-bufs.
    pub(crate) plain: bool,
    /// With modifiers.
    pub(crate) modifiers: bool,
}

impl Taken {
    /// The offers of a set, best first.
    pub(crate) fn of(self, formats: &FormatSet, make: impl Fn(Fourcc) -> FormatOffer) -> Vec<FormatOffer> {
        let (mut offers, _) = FormatOffer::of_set(formats, self.plain, make);
        offers.retain(|offer| self.modifiers || !offer.has_modifiers());
        offers
    }

    /// Refuses a set of which nothing would be offered: nobody could ever be linked.
    pub(crate) fn check(self, formats: &FormatSet) -> Result<(), Error> {
        let any = Size::new(1, 1);
        if self
            .of(formats, |fourcc| FormatOffer::new(fourcc, any))
            .is_empty()
        {
            return Err(Error::NoFormat {
                name: formats.name().to_owned(),
                formats: crate::error::list(formats),
            });
        }
        Ok(())
    }
}

/// The device for explicit sync, where both the library and the daemon know it.
pub(crate) fn timelines(device: Option<&TimelineDevice>, version: Version) -> Option<&TimelineDevice> {
    device.filter(|_| version >= Version::SYNC_TIMELINE)
}

/// What we ask of buffers: with `explicit`, those that have two timelines behind their blocks first, and what metadata
/// each has.
pub(crate) fn buffer_params(plain: BuffersOffer, explicit: bool, version: Version) -> Vec<PodBuf> {
    let mut params = Vec::new();
    if explicit {
        let offer = BuffersOffer {
            blocks: plain.blocks.map(|blocks| blocks + 2),
            with_meta: Some(meta_type::SYNC_TIMELINE),
            ..plain
        };
        params.push(offer.to_pod());
        params.push(if version >= Version::FEATURES {
            let features = meta_type::SYNC_TIMELINE_RELEASE;
            pod::meta_with_features(meta_type::SYNC_TIMELINE, meta_size::SYNC, features)
        } else {
            pod::meta(meta_type::SYNC_TIMELINE, meta_size::SYNC)
        });
    }
    params.push(plain.to_pod());
    params.push(pod::meta(meta_type::HEADER, meta_size::HEADER));
    params.push(pod::meta(meta_type::VIDEO_CROP, meta_size::CROP));
    params.push(pod::meta(meta_type::VIDEO_TRANSFORM, meta_size::TRANSFORM));
    params.push(pod::meta(meta_type::VIDEO_DAMAGE, meta_size::CROP * MAX_DAMAGE));
    params
}
