//! What each route said to each kind of frame.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use dmaframe_core::{Fourcc, Frame, Modifier};
use dmaframe_vulkan::ash::vk;
use dmaframe_vulkan::{Refusal, Route};

/// A route's answer to frames of one exporter, format and modifier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// Who made the memory: the dma-buf's exporter as the kernel names it, `memfd` or `bytes`.
    pub exporter: Cow<'static, str>,
    /// The format.
    pub fourcc: Fourcc,
    /// The modifier.
    pub modifier: Modifier,
    /// The route.
    pub route: Route,
    /// Why it refused the last one; `None` when it took it.
    pub refusal: Option<Refusal>,
    /// Whether it is not asked again: the reason holds for every frame of the kind. Reasons that lie in a frame's
    /// own size, stride or offset do not.
    pub lasting: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            exporter,
            fourcc,
            modifier,
            route,
            ..
        } = self;
        write!(f, "{exporter} {fourcc} {modifier} by {route}: ")?;
        match &self.refusal {
            None => f.write_str("taken"),
            Some(why) => write!(f, "{why}"),
        }
    }
}

/// Most verdicts that are kept.
const LIMIT: usize = 256;

/// The verdicts of one importer, which has one device.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(Mutex<Vec<Verdict>>);

/// The kind of a frame.
pub(crate) struct Kind {
    exporter: Cow<'static, str>,
    fourcc: Fourcc,
    modifier: Modifier,
}

impl Kind {
    /// Asks the kernel for the exporter's name: not for each frame.
    pub(crate) fn of(frame: &Frame) -> Self {
        let buffer = frame.buffer();
        let exporter = match buffer.objects().first() {
            None => Cow::Borrowed("bytes"),
            Some(_) if !buffer.is_dmabuf() => Cow::Borrowed("memfd"),
            Some(object) => object.exporter().map_or(Cow::Borrowed("dma-buf"), Cow::Owned),
        };
        Self {
            exporter,
            fourcc: frame.fourcc(),
            modifier: frame.modifier(),
        }
    }

    fn is(&self, verdict: &Verdict) -> bool {
        (self.fourcc, self.modifier) == (verdict.fourcc, verdict.modifier)
            && self.exporter == verdict.exporter
    }
}

impl Verdicts {
    /// The refusal that holds for every frame of the kind, if there is one.
    pub(crate) fn lasting(&self, kind: &Kind, route: Route) -> Option<Refusal> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = list.iter().find(|v| v.route == route && v.lasting && kind.is(v));
        found.and_then(|verdict| verdict.refusal.clone())
    }

    pub(crate) fn keep(&self, kind: &Kind, route: Route, refusal: Option<Refusal>) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lasting = refusal.as_ref().is_some_and(holds_for_all);
        if let Some(old) = list.iter_mut().find(|v| v.route == route && kind.is(v)) {
            (old.refusal, old.lasting) = (refusal, lasting);
            return;
        }
        if list.len() >= LIMIT {
            list.remove(0);
        }
        list.push(Verdict {
            exporter: kind.exporter.clone(),
            fourcc: kind.fourcc,
            modifier: kind.modifier,
            route,
            refusal,
            lasting,
        });
    }

    pub(crate) fn list(&self) -> Vec<Verdict> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether every frame of the kind would be refused so. Reasons of one frame, and failures that may pass, are not.
pub(crate) fn holds_for_all(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::NotDmabuf
        | Refusal::IsDmabuf
        | Refusal::ModifierNotListed { .. }
        | Refusal::NotLinear { .. }
        | Refusal::ExtensionOff(_)
        | Refusal::NotShareable { .. }
        | Refusal::NotVulkan
        | Refusal::SwitchedOff => true,
        Refusal::FormatUnsupported { format, .. } => *format == vk::Format::UNDEFINED,
        _ => false,
    }
}

/// Whether the same frame would be refused again: everything but failures that may pass.
pub(crate) fn holds_for_frame(refusal: &Refusal) -> bool {
    !matches!(refusal, Refusal::Vk { .. } | Refusal::Frame(_))
}
