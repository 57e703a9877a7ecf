//! Video formats: what is offered, and what was negotiated.

use dmaframe_core::negotiate::{FormatSet, Pair};
use dmaframe_core::{ColorInfo, Fourcc, Modifier, Size};

use super::color::SpaColor;
use super::enums::{self, flag, format as key, object, param};
use super::ids::{fourcc_of_spa, spa_of_fourcc};
use super::read::{PodError, Properties, Value, Values};
use super::write::{Fraction, Id, Long, ObjectWriter, PodBuf, Rectangle};

/// Most modifiers one pod may list; drivers have up to about a hundred.
const MAX_MODIFIERS: usize = 512;

/// What a format pod says about modifiers. Three different things, none of which stands for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modifiers {
    /// No modifier property: shared memory, or V4L2's mappable dma-bufs.
    Absent,
    /// A list the producer has still to choose from (`SPA_POD_PROP_FLAG_DONT_FIXATE`): not the final format.
    Open(Vec<Modifier>),
    /// One, for good. May be [`Modifier::INVALID`] (implicit), which is not [`Modifier::LINEAR`].
    Fixed(Modifier),
}

/// A `SPA_TYPE_OBJECT_Format` of raw video.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VideoFormat {
    /// Pixel format.
    pub fourcc: Fourcc,
    /// Modifier, or the lack of one.
    pub modifiers: Modifiers,
    /// Size in pixels.
    pub size: Size,
    /// Frames a second as a fraction; 0/1 is "varies".
    pub framerate: (u32, u32),
    /// The most frames a second where the rate varies.
    pub max_framerate: Option<(u32, u32)>,
    /// Colour.
    pub color: ColorInfo,
}

struct Reader<'a>(Properties<'a>);

impl<'a> Reader<'a> {
    fn open(pod: &'a [u8]) -> Result<Self, PodError> {
        let properties = Value::parse(pod)?.object(object::FORMAT, "format")?;
        let reader = Self(properties);
        let media = reader.id(key::MEDIA_TYPE, "media type")?.unwrap_or(0);
        let subtype = reader.id(key::MEDIA_SUBTYPE, "media subtype")?.unwrap_or(0);
        if (media, subtype) != (enums::MEDIA_TYPE_VIDEO, enums::MEDIA_SUBTYPE_RAW) {
            return Err(PodError::NotRawVideo { media, subtype });
        }
        Ok(reader)
    }

    fn values(&self, key: u32, what: &'static str) -> Result<Option<(u32, Values<'a>)>, PodError> {
        let found = self.0.find(key, what)?;
        found
            .map(|(flags, value)| Ok((flags, value.values(what)?)))
            .transpose()
    }

    fn id(&self, key: u32, what: &'static str) -> Result<Option<u32>, PodError> {
        self.values(key, what)?
            .map(|(_, values)| values.id(what))
            .transpose()
    }

    /// The modifiers and whether they still have to be chosen from.
    fn modifiers(&self) -> Result<Option<(bool, Vec<Modifier>)>, PodError> {
        let what = "modifier";
        let Some((flags, values)) = self.values(key::MODIFIER, what)? else {
            return Ok(None);
        };
        let mut list = Vec::new();
        let all = values.longs(what)?;
        if all.len() > MAX_MODIFIERS {
            return Err(PodError::TooMany {
                what: "modifiers",
                found: all.len(),
                limit: MAX_MODIFIERS,
            });
        }
        for modifier in all.map(Modifier) {
            // The preferred one stands twice.
            if !list.contains(&modifier) {
                list.push(modifier);
            }
        }
        Ok(Some((flags & flag::DONT_FIXATE != 0, list)))
    }

    fn size(&self) -> Result<Option<Size>, PodError> {
        let size = self.values(key::SIZE, "size")?;
        size.map(|(_, values)| values.size("size")).transpose()
    }
}

impl VideoFormat {
    /// What `param_changed` was given for `SPA_PARAM_Format`, or one offer of `SPA_PARAM_EnumFormat` at its preferred
    /// values.
    ///
    /// # Errors
    /// [`PodError`]. A size of 0 is the core's to refuse, when a layout is made of it.
    pub fn parse(pod: &[u8]) -> Result<Self, PodError> {
        let reader = Reader::open(pod)?;
        let id = reader
            .id(key::FORMAT, "video format")?
            .ok_or(PodError::Missing { what: "video format" })?;
        let fourcc = fourcc_of_spa(id).ok_or(PodError::UnknownFormat { id })?;
        let mode = reader.id(key::INTERLACE_MODE, "interlace mode")?.unwrap_or(0);
        if mode != 0 {
            return Err(PodError::Interlaced { mode });
        }
        let modifiers = match reader.modifiers()? {
            None => Modifiers::Absent,
            Some((true, list)) => Modifiers::Open(list),
            Some((false, list)) => match list.first() {
                Some(modifier) => Modifiers::Fixed(*modifier),
                None => return Err(PodError::Missing { what: "modifier" }),
            },
        };
        let rate = |key, what| -> Result<Option<(u32, u32)>, PodError> {
            let rate = reader.values(key, what)?;
            rate.map(|(_, values)| values.fraction(what)).transpose()
        };
        let number = |key| reader.id(key, "colour").map(|id| id.unwrap_or(0));
        let color = SpaColor {
            site: number(key::CHROMA_SITE)?,
            range: number(key::COLOR_RANGE)?,
            matrix: number(key::COLOR_MATRIX)?,
            transfer: number(key::TRANSFER)?,
            primaries: number(key::PRIMARIES)?,
        };
        Ok(Self {
            fourcc,
            modifiers,
            size: reader.size()?.ok_or(PodError::Missing { what: "size" })?,
            framerate: rate(key::FRAMERATE, "frame rate")?.unwrap_or((0, 1)),
            max_framerate: rate(key::MAX_FRAMERATE, "largest frame rate")?,
            color: color.info(),
        })
    }

    /// The modifier for good, if there is one.
    #[must_use]
    pub fn modifier(&self) -> Option<Modifier> {
        match self.modifiers {
            Modifiers::Fixed(modifier) => Some(modifier),
            _ => None,
        }
    }
}

/// What a node offers (`SPA_PARAM_EnumFormat` pods), as a set: offers without a modifier count as `LINEAR`, which is
/// what both shared memory and V4L2's dma-bufs are. Pods of other media, and formats without a fourcc, are passed over.
///
/// # Errors
/// [`PodError`] for the first broken pod of raw video.
pub fn formats_of<'a>(name: &str, pods: impl IntoIterator<Item = &'a [u8]>) -> Result<FormatSet, PodError> {
    let mut set = FormatSet::new(name);
    for pod in pods {
        let reader = match Reader::open(pod) {
            Err(PodError::NotRawVideo { .. }) => continue,
            other => other?,
        };
        let modifiers = reader
            .modifiers()?
            .map_or(vec![Modifier::LINEAR], |(_, list)| list);
        let Some((_, values)) = reader.values(key::FORMAT, "video format")? else {
            continue;
        };
        for fourcc in values.ids("video format")?.filter_map(fourcc_of_spa) {
            for modifier in &modifiers {
                set.insert(fourcc, *modifier);
            }
        }
    }
    Ok(set)
}

/// One offer (`SPA_PARAM_EnumFormat`): a fourcc, with modifiers or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatOffer {
    fourcc: Fourcc,
    size: Size,
    any_size: bool,
    framerate: (u32, u32),
    any_rate: bool,
    modifiers: Option<Vec<Modifier>>,
    fixed: bool,
    color: ColorInfo,
}

impl FormatOffer {
    /// Pictures of one size, 30 a second, without a modifier.
    #[must_use]
    pub fn new(fourcc: Fourcc, size: Size) -> Self {
        Self {
            fourcc,
            size,
            any_size: false,
            framerate: (30, 1),
            any_rate: false,
            modifiers: None,
            fixed: false,
            color: ColorInfo::UNSPECIFIED,
        }
    }

    /// The size is only liked best.
    #[must_use]
    pub fn any_size(mut self) -> Self {
        self.any_size = true;
        self
    }

    /// Frames a second.
    #[must_use]
    pub fn framerate(mut self, framerate: (u32, u32)) -> Self {
        self.framerate = framerate;
        self
    }

    /// The rate is only liked best.
    #[must_use]
    pub fn any_rate(mut self) -> Self {
        self.any_rate = true;
        self
    }

    /// dma-bufs with one of these modifiers, for the producer to choose from.
    #[must_use]
    pub fn modifiers(mut self, modifiers: impl IntoIterator<Item = Modifier>) -> Self {
        self.modifiers = Some(modifiers.into_iter().collect());
        self.fixed = false;
        self
    }

    /// dma-bufs with this one: the producer has chosen.
    #[must_use]
    pub fn fixed(mut self, modifier: Modifier) -> Self {
        self.modifiers = Some(vec![modifier]);
        self.fixed = true;
        self
    }

    /// Whether it is one of dma-bufs with modifiers.
    #[must_use]
    pub fn has_modifiers(&self) -> bool {
        self.modifiers.is_some()
    }

    /// Colour, where it is known.
    #[must_use]
    pub fn color(mut self, color: ColorInfo) -> Self {
        self.color = color;
        self
    }

    /// As the daemon wants it. A fourcc that PipeWire has no name for becomes its "unknown", which matches nothing: see
    /// [`spa_of_fourcc`] first.
    #[must_use]
    pub fn to_pod(&self) -> PodBuf {
        let mut pod = ObjectWriter::new(object::FORMAT, param::ENUM_FORMAT)
            .value(key::MEDIA_TYPE, 0, Id(enums::MEDIA_TYPE_VIDEO))
            .value(key::MEDIA_SUBTYPE, 0, Id(enums::MEDIA_SUBTYPE_RAW))
            .value(key::FORMAT, 0, Id(spa_of_fourcc(self.fourcc).unwrap_or(0)));
        match &self.modifiers {
            None => {}
            Some(list) if self.fixed => {
                let modifier = list.first().copied().unwrap_or(Modifier::INVALID);
                pod = pod.value(key::MODIFIER, flag::MANDATORY, Long(modifier.0));
            }
            Some(list) => {
                let list: Vec<_> = list.iter().map(|modifier| Long(modifier.0)).collect();
                pod = pod.any_of(key::MODIFIER, flag::MANDATORY | flag::DONT_FIXATE, &list);
            }
        }
        let Size { width, height } = self.size;
        pod = if self.any_size {
            let (min, max) = (Pair2(1, 1), Pair2(16384, 16384));
            pod.range(
                key::SIZE,
                Rectangle::from(Pair2(width, height)),
                min.into(),
                max.into(),
            )
        } else {
            pod.value(key::SIZE, 0, Rectangle::from(Pair2(width, height)))
        };
        let rate = Pair2(self.framerate.0, self.framerate.1);
        pod = if self.any_rate {
            let (min, max) = (Pair2(0, 1), Pair2(1000, 1));
            pod.range(key::FRAMERATE, Fraction::from(rate), min.into(), max.into())
        } else {
            pod.value(key::FRAMERATE, 0, Fraction::from(rate))
        };
        let color = SpaColor::of(&self.color);
        for (key, number) in [
            (key::CHROMA_SITE, color.site),
            (key::COLOR_RANGE, color.range),
            (key::COLOR_MATRIX, color.matrix),
            (key::TRANSFER, color.transfer),
            (key::PRIMARIES, color.primaries),
        ] {
            if number != 0 {
                pod = pod.value(key, 0, Id(number));
            }
        }
        pod.finish()
    }

    /// The pairs of a set as offers, in the set's order of liking: for each fourcc one with its modifiers, and one
    /// without if `plain`. What PipeWire has no name for is left out and comes back in the second list.
    #[must_use]
    pub fn of_set(set: &FormatSet, plain: bool, make: impl Fn(Fourcc) -> Self) -> (Vec<Self>, Vec<Pair>) {
        let (mut with, mut without, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for fourcc in set.fourccs() {
            if spa_of_fourcc(fourcc).is_none() {
                left_out.extend(set.modifiers(fourcc).map(|modifier| Pair { fourcc, modifier }));
                continue;
            }
            with.push(make(fourcc).modifiers(set.modifiers(fourcc)));
            // Shared memory has rows: only who takes LINEAR can read it.
            if plain && set.modifiers(fourcc).any(Modifier::is_linear) {
                without.push(make(fourcc));
            }
        }
        // Those with modifiers first: the daemon takes the first that fits.
        with.append(&mut without);
        (with, left_out)
    }
}

/// Two numbers on their way into a pod.
#[derive(Clone, Copy)]
struct Pair2(u32, u32);

impl From<Pair2> for Rectangle {
    fn from(pair: Pair2) -> Self {
        super::write::Pair(pair.0, pair.1)
    }
}

impl From<Pair2> for Fraction {
    fn from(pair: Pair2) -> Self {
        super::write::Pair(pair.0, pair.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(641, 361);

    #[test]
    fn linear_invalid_and_no_modifier_are_three_things() {
        let offer = FormatOffer::new(Fourcc::NV12, SIZE);
        let seen = |offer: FormatOffer| VideoFormat::parse(offer.to_pod().as_bytes()).unwrap().modifiers;
        assert_eq!(seen(offer.clone()), Modifiers::Absent);
        assert_eq!(
            seen(offer.clone().fixed(Modifier::LINEAR)),
            Modifiers::Fixed(Modifier::LINEAR)
        );
        assert_eq!(
            seen(offer.clone().fixed(Modifier::INVALID)),
            Modifiers::Fixed(Modifier::INVALID)
        );
        assert_eq!(
            seen(offer.modifiers([Modifier::INVALID])),
            Modifiers::Open(vec![Modifier::INVALID]),
            "one choice is still to be fixated"
        );
    }

    #[test]
    fn an_offer_reads_back_as_it_was_made() {
        let offer = FormatOffer::new(Fourcc::XRGB8888, SIZE)
            .any_size()
            .framerate((25, 1))
            .any_rate()
            .color(ColorInfo::SRGB);
        let seen = VideoFormat::parse(offer.to_pod().as_bytes()).unwrap();
        assert_eq!(
            (seen.fourcc, seen.size, seen.framerate, seen.color),
            (Fourcc::XRGB8888, SIZE, (25, 1), ColorInfo::SRGB)
        );
    }

    #[test]
    fn a_set_becomes_offers_and_offers_a_set() {
        let set = FormatSet::new("us")
            .with(Fourcc::NV12, Modifier::LINEAR)
            .with(Fourcc::NV12, Modifier(5))
            .with(Fourcc::SRGGB8, Modifier::LINEAR)
            .with(Fourcc::XRGB8888, Modifier::INVALID);
        let (offers, left_out) = FormatOffer::of_set(&set, true, |fourcc| FormatOffer::new(fourcc, SIZE));
        assert_eq!(
            offers.len(),
            3,
            "XRGB8888 is implicit only: nothing without a modifier"
        );
        assert_eq!(left_out.len(), 1, "raw Bayer has no name in PipeWire");
        let pods: Vec<_> = offers.iter().map(FormatOffer::to_pod).collect();
        let again = formats_of("them", pods.iter().map(PodBuf::as_bytes)).unwrap();
        let pairs: Vec<_> = set.iter().filter(|p| p.fourcc != Fourcc::SRGGB8).collect();
        assert_eq!(again.iter().collect::<Vec<_>>(), pairs);
    }

    #[test]
    fn every_cut_of_a_pod_is_an_error_or_a_format_and_never_a_panic() {
        let pod = FormatOffer::new(Fourcc::NV12, SIZE)
            .modifiers([Modifier::LINEAR])
            .to_pod();
        let whole = pod.as_bytes();
        for end in 0..whole.len() {
            assert!(VideoFormat::parse(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut broken = whole.to_vec();
            broken[at] ^= 0xff;
            let _ = VideoFormat::parse(&broken);
        }
    }
}
