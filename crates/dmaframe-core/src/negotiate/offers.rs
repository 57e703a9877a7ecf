//! The formats two endpoints share, best first.

use std::fmt;

use super::{FormatSet, Pair, Usage};
use crate::format::{Fourcc, Model, Modifier};

/// What both sides share, best first, and what was refused on the way.
#[derive(Clone, Debug)]
pub struct Offers {
    pairs: Vec<Pair>,
    next: usize,
    refused: Vec<(Pair, String)>,
    producer: FormatSet,
    consumer: FormatSet,
}

impl Offers {
    /// The best pair not refused yet.
    #[must_use]
    pub fn current(&self) -> Option<Pair> {
        self.pairs.get(self.next).copied()
    }

    /// All pairs not refused yet, best first: what a peer that fixates itself is offered.
    #[must_use]
    pub fn remaining(&self) -> &[Pair] {
        &self.pairs[self.next.min(self.pairs.len())..]
    }

    /// The current pair did not work: gives the next one.
    ///
    /// # Errors
    /// [`NoCommonFormat`] with every reason collected, when there is no next one.
    pub fn refuse(&mut self, reason: impl Into<String>) -> Result<Pair, Box<NoCommonFormat>> {
        if let Some(pair) = self.current() {
            self.refused.push((pair, reason.into()));
            self.next += 1;
        }
        self.current().ok_or_else(|| {
            Box::new(NoCommonFormat {
                producer: self.producer.clone(),
                consumer: self.consumer.clone(),
                refused: self.refused.clone(),
            })
        })
    }
}

/// Why two endpoints cannot pass frames.
#[derive(Clone, Debug, thiserror::Error)]
pub struct NoCommonFormat {
    /// What the producer gives.
    pub producer: FormatSet,
    /// What the consumer takes.
    pub consumer: FormatSet,
    /// Pairs both have that were tried and refused.
    pub refused: Vec<(Pair, String)>,
}

impl fmt::Display for NoCommonFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (producer, consumer) = (&self.producer, &self.consumer);
        write!(
            f,
            "{} and {} share no usable format",
            producer.name(),
            consumer.name()
        )?;
        if producer.is_empty() || consumer.is_empty() {
            let empty = if producer.is_empty() { producer } else { consumer };
            return write!(f, ": {} offers nothing at all", empty.name());
        }
        for (pair, reason) in &self.refused {
            write!(f, "; {pair}: {reason}")?;
        }
        let mut common = 0;
        for fourcc in producer.fourccs().filter(|f| consumer.fourccs().any(|g| g == *f)) {
            common += 1;
            if producer
                .modifiers(fourcc)
                .any(|m| consumer.contains(Pair { fourcc, modifier: m }))
            {
                let pair = |m| Pair { fourcc, modifier: m };
                if producer
                    .modifiers(fourcc)
                    .all(|m| m.is_implicit() || !consumer.contains(pair(m)))
                {
                    write!(
                        f,
                        "; {fourcc}: both only share the implicit modifier, on different devices"
                    )?;
                }
                continue;
            }
            let list = |set: &FormatSet| {
                set.modifiers(fourcc)
                    .map(|m| m.to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            write!(
                f,
                "; {fourcc}: {} has {}, {} has {}",
                producer.name(),
                list(producer),
                consumer.name(),
                list(consumer)
            )?;
        }
        if common == 0 {
            let list = |set: &FormatSet| {
                set.fourccs()
                    .map(|c| c.to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            write!(
                f,
                ": {} has {}, {} has {}",
                producer.name(),
                list(producer),
                consumer.name(),
                list(consumer)
            )?;
        }
        Ok(())
    }
}

/// The pairs both sides have, best first.
///
/// Cheapest first: a format the consumer likes, then fewer bytes a pixel, explicit modifiers before `Linear` before
/// `Invalid`. For the CPU only `Linear` counts; `Invalid` only where both sides are on one device.
///
/// # Errors
/// [`NoCommonFormat`] explains an empty intersection.
pub fn negotiate(producer: &FormatSet, consumer: &FormatSet) -> Result<Offers, Box<NoCommonFormat>> {
    let cpu = producer.usage() == Usage::Cpu || consumer.usage() == Usage::Cpu;
    let same_device = match (producer.device(), consumer.device()) {
        (Some(a), Some(b)) => a == b,
        // Nobody said: let the import decide, as implicit sharing always has.
        _ => true,
    };
    let mut pairs: Vec<_> = producer
        .iter()
        .filter(|pair| consumer.contains(*pair))
        .filter(|pair| !cpu || pair.modifier.is_linear())
        .filter(|pair| same_device || !pair.modifier.is_implicit())
        .collect();
    pairs.sort_by_cached_key(|pair| {
        let liking = consumer.rank(pair.fourcc);
        (
            liking,
            bits_per_pixel(pair.fourcc),
            modifier_cost(pair.modifier, cpu),
            producer.rank(pair.fourcc),
            *pair,
        )
    });
    let offers = Offers {
        pairs,
        next: 0,
        refused: Vec::new(),
        producer: producer.clone(),
        consumer: consumer.clone(),
    };
    if offers.pairs.is_empty() {
        return Err(Box::new(NoCommonFormat {
            producer: offers.producer,
            consumer: offers.consumer,
            refused: offers.refused,
        }));
    }
    Ok(offers)
}

/// Bits per pixel of a large picture; formats outside the table last.
pub(super) fn bits_per_pixel(fourcc: Fourcc) -> u64 {
    let size = crate::Size::new(4096, 4096);
    fourcc
        .info()
        .filter(|i| i.model != Model::Bayer)
        .and_then(|i| i.tight_len(size))
        .map_or(u64::MAX, |len| (len * 8) >> 24)
}

pub(super) fn modifier_cost(modifier: Modifier, cpu: bool) -> u8 {
    match modifier {
        m if m.is_linear() => u8::from(!cpu),
        m if m.is_implicit() => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILED: Modifier = Modifier(0x0100_0000_0000_0001);

    #[test]
    fn invalid_never_meets_linear() {
        let a = FormatSet::new("a").with(Fourcc::NV12, Modifier::INVALID);
        let b = FormatSet::new("b").with(Fourcc::NV12, Modifier::LINEAR);
        let why = negotiate(&a, &b).unwrap_err().to_string();
        assert!(
            why.contains("NV12: a has INVALID (implicit), b has LINEAR"),
            "{why}"
        );
    }

    #[test]
    fn tiled_comes_before_linear_for_devices_and_not_at_all_for_the_cpu() {
        let a = FormatSet::new("a")
            .with(Fourcc::NV12, Modifier::LINEAR)
            .with(Fourcc::NV12, TILED);
        let offers = negotiate(&a, &a.clone()).unwrap();
        assert_eq!(
            offers.remaining().iter().map(|p| p.modifier).collect::<Vec<_>>(),
            [TILED, Modifier::LINEAR]
        );
        let cpu = a.clone().with_usage(Usage::Cpu);
        assert_eq!(negotiate(&a, &cpu).unwrap().remaining().len(), 1);
    }

    #[test]
    fn a_refused_pair_yields_the_next_and_the_last_one_explains_all() {
        let a = FormatSet::new("camera")
            .with(Fourcc::NV12, TILED)
            .with(Fourcc::NV12, Modifier::LINEAR);
        let mut offers = negotiate(&a, &a.clone()).unwrap();
        assert_eq!(
            offers.refuse("buffer too small").unwrap().modifier,
            Modifier::LINEAR
        );
        let why = offers.refuse("no memory type").unwrap_err().to_string();
        assert!(
            why.contains("buffer too small") && why.contains("NV12 LINEAR: no memory type"),
            "{why}"
        );
    }

    #[test]
    fn the_implicit_modifier_counts_only_on_one_device() {
        let a = FormatSet::new("a")
            .with(Fourcc::NV12, Modifier::INVALID)
            .with_device(1);
        assert!(negotiate(&a, &a.clone()).is_ok());
        let why = negotiate(&a, &a.clone().with_device(2)).unwrap_err().to_string();
        assert!(why.contains("different devices"), "{why}");
    }

    #[test]
    fn disjoint_formats_are_named() {
        let a = FormatSet::new("camera").with(Fourcc::YUYV, Modifier::LINEAR);
        let b = FormatSet::new("encoder").with(Fourcc::NV12, Modifier::LINEAR);
        let why = negotiate(&a, &b).unwrap_err().to_string();
        assert_eq!(
            why,
            "camera and encoder share no usable format: camera has YUYV, encoder has NV12"
        );
        let none = FormatSet::new("gpu");
        assert!(
            negotiate(&a, &none)
                .unwrap_err()
                .to_string()
                .contains("gpu offers nothing")
        );
    }
}
