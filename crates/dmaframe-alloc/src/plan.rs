//! From a producer, a consumer and some allocators to memory that both can use.

use std::fmt;

use dmaframe_core::negotiate::{self, Candidate, FormatSet, MemoryOffer, Plan, Route};
use dmaframe_core::{Layout, MAX_PLANES, Modifier, Rect, Size};

use crate::allocator::Allocator;
use crate::error::Error;
use crate::request::Request;
use crate::verdict::PassedOver;

/// The pictures that are to be passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    size: Size,
    fixed: Vec<(Layout, Vec<u64>)>,
}

impl Picture {
    /// Of this size; strides and offsets are the allocator's choice.
    #[must_use]
    pub fn new(size: Size) -> Self {
        Self {
            size,
            fixed: Vec::new(),
        }
    }

    /// In a layout's format only this layout will do: a camera's, which its driver has fixed. `objects` are the bytes
    /// of its buffers' memory objects, which may be more than the layout needs. May be said once for each format.
    #[must_use]
    pub fn fixed(mut self, layout: Layout, objects: impl IntoIterator<Item = u64>) -> Self {
        self.fixed.push((layout, objects.into_iter().collect()));
        self
    }

    fn layout(&self, candidate: &Candidate) -> Option<&(Layout, Vec<u64>)> {
        let pair = (candidate.pair.fourcc, candidate.pair.modifier);
        self.fixed
            .iter()
            .find(|(layout, _)| (layout.fourcc(), layout.modifier()) == pair)
    }
}

/// One way of passing frames that works as far as anybody can tell without trying.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Way<'a> {
    /// Format, memory, route.
    pub candidate: Candidate,
    /// Who makes the memory: `None` when it is the producer's own.
    pub allocator: Option<&'a dyn Allocator>,
    /// The layout to allocate ([`Request::exact`]), or the producer's own; `None` when only the producer knows.
    pub layout: Option<Layout>,
    /// The part of it that is the picture: smaller than the layout where a driver wants padding.
    pub visible: Rect,
}

impl Way<'_> {
    /// How the consumer gets at the frames.
    #[must_use]
    pub fn route(&self) -> Route {
        self.candidate.route
    }

    /// What to ask the allocator for.
    #[must_use]
    pub fn request(&self) -> Option<Request> {
        self.layout.as_ref().map(Request::from)
    }
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.candidate.fmt(f)
    }
}

/// Ways of passing frames, cheapest first. Made by [`plan()`].
#[derive(Debug)]
pub struct Ways<'a> {
    plan: Plan,
    usable: Vec<&'a dyn Allocator>,
    missing: Vec<PassedOver>,
    picture: Picture,
    consumer: FormatSet,
    current: Option<Way<'a>>,
}

/// The cheapest way to pass frames of `picture` from `producer` to `consumer`: format, modifier, whose memory, by which
/// route. The allocators are asked whether they work and what layout they would make; they come in the caller's order
/// of liking ([`Chain::allocators`](crate::Chain::allocators) has one).
///
/// Blocks as long as probing does: a few system calls an allocator, and a buffer for those that only know by making
/// one.
///
/// ```
/// use dmaframe_alloc::{Allocator, Chain, Picture, plan};
/// use dmaframe_core::{Fourcc, Modifier, Size, negotiate::{FormatSet, Route}, next_generation};
/// let decoder = FormatSet::new("decoder").with(Fourcc::NV12, Modifier::LINEAR);
/// let gpu = FormatSet::new("gpu")
///     .by(Route::Buffer).with(Fourcc::NV12, Modifier::LINEAR)
///     .by(Route::Copy).with(Fourcc::NV12, Modifier::LINEAR);
/// let chain = Chain::standard();
/// let mut ways = plan(&decoder, &gpu, chain.allocators(), &Picture::new(Size::new(640, 480)))?;
/// let way = ways.current().unwrap(); // "NV12 LINEAR in udmabuf, by buffer"; without a dma-buf "..., by copy"
/// let (allocator, request) = (way.allocator.unwrap(), way.request().unwrap());
/// let buffers = allocator.allocate_set(&request, 4, next_generation())?;
/// # let import_fails = false;
/// if import_fails {
///     let _next = ways.refuse("the driver's own words")?;
/// }
/// # assert_eq!(buffers.len(), 4);
/// # Ok::<(), dmaframe_alloc::Error>(())
/// ```
///
/// # Errors
/// [`Error::NoWay`] names every way with why not, and every allocator that does not work here.
pub fn plan<'a>(
    producer: &FormatSet,
    consumer: &FormatSet,
    allocators: impl IntoIterator<Item = &'a dyn Allocator>,
    picture: &Picture,
) -> Result<Ways<'a>, Error> {
    let (mut usable, mut offers, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for allocator in allocators {
        match allocator.probe() {
            Ok(found) => {
                offers.push(MemoryOffer::new(
                    allocator.name(),
                    found.kind,
                    allocator.formats(),
                ));
                usable.push(allocator);
            }
            Err(reason) => missing.push(PassedOver {
                allocator: allocator.name().to_owned(),
                reason,
            }),
        }
    }
    let plan = match negotiate::plan(producer, consumer, &offers) {
        Ok(plan) => plan,
        Err(why) => return Err(Error::NoWay { why, missing }),
    };
    let mut ways = Ways {
        plan,
        usable,
        missing,
        picture: picture.clone(),
        consumer: consumer.clone(),
        current: None,
    };
    ways.settle()?;
    Ok(ways)
}

impl<'a> Ways<'a> {
    /// The cheapest way not refused yet; `None` after the last.
    #[must_use]
    pub fn current(&self) -> Option<&Way<'a>> {
        self.current.as_ref()
    }

    /// The current way did not work when it was tried: gives the next one.
    ///
    /// # Errors
    /// [`Error::NoWay`] with every reason, when there is no next one.
    pub fn refuse(&mut self, reason: impl Into<String>) -> Result<&Way<'a>, Error> {
        self.current = None;
        self.next(reason.into())?;
        self.settle()
    }

    /// Allocators that do not work here, and why.
    #[must_use]
    pub fn missing(&self) -> &[PassedOver] {
        &self.missing
    }

    /// The formats, memory and routes that are left and that were refused.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn next(&mut self, reason: String) -> Result<(), Error> {
        match self.plan.refuse(reason) {
            Ok(_) => Ok(()),
            Err(why) => Err(Error::NoWay {
                why,
                missing: self.missing.clone(),
            }),
        }
    }

    /// Goes on until an allocator has a layout for the current candidate.
    fn settle(&mut self) -> Result<&Way<'a>, Error> {
        loop {
            let tried = match self.plan.current() {
                Some(candidate) => self.attempt(candidate),
                None => Err("every way was refused before".to_owned()),
            };
            match tried {
                Ok((layout, visible, allocator)) => {
                    if let Some(layout) = &layout {
                        self.plan.promote(layout.modifier());
                    }
                    if let Some(candidate) = self.plan.current().cloned() {
                        // Of a tiling it is the allocator who says how the planes lie. Sizes are its driver's business.
                        let fits = layout
                            .as_ref()
                            .filter(|_| allocator.is_some())
                            .map_or(Ok(()), |layout| {
                                candidate.needs.check(layout, &[u64::MAX; MAX_PLANES])
                            });
                        if let Err(reason) = fits {
                            self.next(reason)?;
                            continue;
                        }
                        return Ok(self.current.insert(Way {
                            candidate,
                            allocator,
                            layout,
                            visible,
                        }));
                    }
                }
                Err(reason) => self.next(reason)?,
            }
        }
    }

    /// The layout of a candidate, or why it has none.
    #[allow(
        clippy::type_complexity,
        reason = "a way without its candidate, which is borrowed here"
    )]
    fn attempt(
        &self,
        candidate: &Candidate,
    ) -> Result<(Option<Layout>, Rect, Option<&'a dyn Allocator>), String> {
        let visible = Rect::full(self.picture.size);
        let fixed = self.picture.layout(candidate);
        if let Some((layout, objects)) = fixed {
            candidate.needs.check(layout, objects)?;
        }
        let Some(allocator) = candidate.memory.offer().and_then(|index| self.usable.get(index)) else {
            return Ok((fixed.map(|(layout, _)| layout.clone()), visible, None));
        };
        let request = match fixed {
            Some((layout, _)) => Request::exact(layout.clone()),
            None => self.request(candidate)?,
        };
        let layout = allocator.plan(&request).map_err(|error| error.to_string())?;
        Ok((Some(layout), visible, Some(*allocator)))
    }

    fn request(&self, candidate: &Candidate) -> Result<Request, String> {
        let fourcc = candidate.pair.fourcc;
        let plain = Request::new(fourcc, self.picture.size).usage(self.consumer.usage());
        if candidate.pair.modifier.is_linear() {
            let made = candidate
                .needs
                .layout(fourcc, self.picture.size, plain.alignment());
            return made.map(Request::exact).map_err(|error| error.to_string());
        }
        // The allocator picks, from all that the route takes: it knows which tiling is best.
        let same = |other: &&Candidate| {
            (other.pair.fourcc, &other.memory, other.route) == (fourcc, &candidate.memory, candidate.route)
                && other.pair.modifier.is_implicit() == candidate.pair.modifier.is_implicit()
                && other.pair.modifier != Modifier::LINEAR
        };
        let modifiers = self.plan.remaining().iter().filter(same);
        Ok(plain.modifiers(modifiers.map(|other| other.pair.modifier)))
    }
}
