//! From two endpoints and some memory to one way of passing frames.

use std::fmt;

use super::offers::{bits_per_pixel, modifier_cost};
use super::{FormatSet, MemoryKind, NoCommonFormat, Pair, Route, Usage, negotiate};
use crate::format::Modifier;
use crate::quirks::{self, Case, Effect, Needs, Quirk};

/// An allocator, as negotiation sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryOffer {
    /// Its name.
    pub name: String,
    /// What it makes.
    pub kind: MemoryKind,
    /// The formats it can make.
    pub formats: FormatSet,
}

impl MemoryOffer {
    /// An allocator of that name.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: MemoryKind, formats: FormatSet) -> Self {
        Self {
            name: name.into(),
            kind,
            formats,
        }
    }
}

/// Whose memory a candidate's frames lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// The producer's own buffers.
    Own {
        /// The producer.
        producer: String,
        /// What they are made of.
        kind: MemoryKind,
    },
    /// An allocator's.
    Offered {
        /// Its place in the list that [`plan()`] was given.
        index: usize,
        /// Its name.
        name: String,
        /// What it makes.
        kind: MemoryKind,
    },
}

impl Memory {
    /// What it is made of.
    #[must_use]
    pub fn kind(&self) -> MemoryKind {
        match self {
            Self::Own { kind, .. } | Self::Offered { kind, .. } => *kind,
        }
    }

    /// The allocator's place in the list; `None` for the producer's own.
    #[must_use]
    pub fn offer(&self) -> Option<usize> {
        match self {
            Self::Own { .. } => None,
            Self::Offered { index, .. } => Some(*index),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own { producer, kind } => write!(f, "the {producer}'s own memory ({kind})"),
            Self::Offered { name, .. } => f.write_str(name),
        }
    }
}

/// One way of passing frames.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Format and layout.
    pub pair: Pair,
    /// The memory.
    pub memory: Memory,
    /// How the consumer gets at it.
    pub route: Route,
    /// What quirks ask of the layout: of the allocator's, or to be [checked](Needs::check) on the producer's.
    pub needs: Needs,
    cost: Cost,
}

impl Candidate {
    /// What it costs: candidates come in this order.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}, by {}", self.pair, self.memory, self.route)
    }
}

/// What a candidate costs, to be compared: who copies, whether it is doubted, how the consumer likes the format, bytes,
/// layout, route, memory, how the producer likes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u8, bool, usize, u64, u8, Route, usize, usize);

/// Why a candidate is not one, or no longer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// It was tried and refused.
    Refused(String),
    /// A row of the quirk table.
    Quirk(&'static Quirk),
    /// The route does not take the memory, or the layout.
    Route(&'static str),
    /// The producer does not write into memory of this kind.
    Producer(&'static str),
    /// The allocator does not make it.
    Allocator(&'static str),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(text) => f.write_str(text),
            Self::Quirk(quirk) => quirk.fmt(f),
            Self::Route(text) | Self::Producer(text) | Self::Allocator(text) => f.write_str(text),
        }
    }
}

/// Ways of passing frames, cheapest first, and what was refused on the way.
#[derive(Clone, Debug)]
pub struct Plan {
    candidates: Vec<Candidate>,
    next: usize,
    explanation: NoPlan,
}

impl Plan {
    /// The cheapest way not refused yet; `None` after the last.
    #[must_use]
    pub fn current(&self) -> Option<&Candidate> {
        self.candidates.get(self.next)
    }

    /// All ways not refused yet, cheapest first.
    #[must_use]
    pub fn remaining(&self) -> &[Candidate] {
        self.candidates.get(self.next..).unwrap_or_default()
    }

    /// The current way did not work: gives the next one.
    ///
    /// # Errors
    /// [`NoPlan`] with every reason, when there is no next one.
    pub fn refuse(&mut self, reason: impl Into<String>) -> Result<&Candidate, Box<NoPlan>> {
        if let Some(candidate) = self.candidates.get(self.next) {
            let way = (candidate.to_string(), Reason::Refused(reason.into()));
            self.explanation.ways.push(way);
            self.next += 1;
        }
        match self.candidates.get(self.next) {
            Some(candidate) => Ok(candidate),
            None => Err(Box::new(self.explanation.clone())),
        }
    }

    /// Makes the current way one of another layout, in the same format and memory and by the same route: what an
    /// allocator picked from all that it was offered. `false`, and nothing changed, when there is no such way left.
    pub fn promote(&mut self, modifier: Modifier) -> bool {
        let Some(current) = self.current() else {
            return false;
        };
        let wanted = (
            Pair {
                modifier,
                ..current.pair
            },
            &current.memory,
            current.route,
        );
        let found = self
            .remaining()
            .iter()
            .position(|c| (c.pair, &c.memory, c.route) == wanted);
        match found.map(|at| self.next + at) {
            Some(at) => {
                self.candidates[self.next..=at].rotate_right(1);
                true
            }
            None => false,
        }
    }

    /// What was refused so far, and ways that were none from the start, each with why.
    pub fn passed_over(&self) -> impl Iterator<Item = (&str, &Reason)> {
        self.explanation.ways.iter().map(|(way, reason)| (&**way, reason))
    }
}

/// Why frames cannot be passed.
#[derive(Clone, Debug, thiserror::Error)]
pub struct NoPlan {
    /// The producer's name.
    pub producer: String,
    /// The consumer's name.
    pub consumer: String,
    /// The formats have nothing in common.
    pub formats: Option<Box<NoCommonFormat>>,
    /// Ways that were refused, or were none from the start, in words, each with why.
    pub ways: Vec<(String, Reason)>,
}

impl fmt::Display for NoPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(formats) = &self.formats {
            return formats.fmt(f);
        }
        write!(f, "no way from {} to {}", self.producer, self.consumer)?;
        if self.ways.is_empty() {
            write!(
                f,
                ": {} has no memory of its own, and no allocator was offered",
                self.producer
            )?;
        }
        for (index, (way, reason)) in self.ways.iter().enumerate() {
            write!(f, "{} {way}: {reason}", if index == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

/// Every way from `producer` to `consumer`, cheapest first, in the producer's own memory or that of `allocators`, which
/// come in the caller's order of liking.
///
/// Nothing copied before anything copied; doubted ways last of those; then the consumer's liking, fewer bytes, tiled
/// before linear before implicit, the route, and own memory before given.
///
/// # Errors
/// [`NoPlan`] explains why there is none.
pub fn plan(
    producer: &FormatSet,
    consumer: &FormatSet,
    allocators: &[MemoryOffer],
) -> Result<Plan, Box<NoPlan>> {
    let mut explanation = NoPlan {
        producer: producer.name().to_owned(),
        consumer: consumer.name().to_owned(),
        formats: None,
        ways: Vec::new(),
    };
    let offers = match negotiate(producer, consumer) {
        Ok(offers) => offers,
        Err(why) => {
            explanation.formats = Some(why);
            return Err(Box::new(explanation));
        }
    };
    let memories = memories(producer, allocators);
    let mut candidates = Vec::new();
    for pair in offers.remaining() {
        for route in consumer.routes(*pair) {
            for (place, memory) in memories.iter().enumerate() {
                let offer = memory.offer().and_then(|index| allocators.get(index));
                match judge(producer, consumer, *pair, route, memory, offer) {
                    Ok((needs, doubted)) => candidates.push(Candidate {
                        pair: *pair,
                        memory: memory.clone(),
                        route,
                        needs,
                        cost: Cost(
                            route.copies(),
                            doubted,
                            consumer.rank(pair.fourcc),
                            bits_per_pixel(pair.fourcc),
                            modifier_cost(pair.modifier, consumer.usage() == Usage::Cpu),
                            route,
                            place,
                            producer.rank(pair.fourcc),
                        ),
                    }),
                    Err(reason) => {
                        let way = format!("{pair} in {memory}, by {route}");
                        explanation.ways.push((way, reason));
                    }
                }
            }
        }
    }
    // Stable: what costs the same stays in negotiation's order.
    candidates.sort_by_key(Candidate::cost);
    if candidates.is_empty() {
        return Err(Box::new(explanation));
    }
    Ok(Plan {
        candidates,
        next: 0,
        explanation,
    })
}

/// The producer's own memory, if it has any, and then every allocator's.
fn memories(producer: &FormatSet, allocators: &[MemoryOffer]) -> Vec<Memory> {
    let own = producer.own_memory().map(|kind| Memory::Own {
        producer: producer.name().to_owned(),
        kind,
    });
    let offered = allocators
        .iter()
        .enumerate()
        .map(|(index, offer)| Memory::Offered {
            index,
            name: offer.name.clone(),
            kind: offer.kind,
        });
    own.into_iter().chain(offered).collect()
}

/// What a way asks of the layout and whether it is doubted, or why it is none.
fn judge(
    producer: &FormatSet,
    consumer: &FormatSet,
    pair: Pair,
    route: Route,
    memory: &Memory,
    offer: Option<&MemoryOffer>,
) -> Result<(Needs, bool), Reason> {
    let kind = memory.kind();
    if let Some(why) = route.refuses(kind) {
        return Err(Reason::Route(why));
    }
    if route.wants_linear() && !pair.modifier.is_linear() {
        return Err(Reason::Route("only rows one after another can go this way"));
    }
    // Of the device the layout comes from, when it is an implicit one.
    let mut device = producer.device();
    if let Some(offer) = offer {
        if !producer.takes_memory().accepts(kind) {
            return Err(Reason::Producer("the producer does not write into it"));
        }
        if !offer.formats.contains(pair) {
            return Err(Reason::Allocator("the allocator does not make it"));
        }
        device = offer.formats.device().or(device);
    }
    let known_same = device.is_some() && device == consumer.device();
    let known_other = device.is_some() && consumer.device().is_some() && !known_same;
    if pair.modifier.is_implicit() && known_other {
        return Err(Reason::Allocator(
            "an implicit layout means nothing on another device",
        ));
    }
    let case = Case {
        driver: consumer.driver(),
        discrete: consumer.is_discrete(),
        usage: consumer.usage(),
        pair,
        route,
        memory: kind,
    };
    let mut doubted = false;
    for quirk in quirks::of(&case) {
        match quirk.effect {
            Effect::Never => return Err(Reason::Quirk(quirk)),
            Effect::SameDevice if !known_same => return Err(Reason::Quirk(quirk)),
            Effect::Last => doubted = true,
            _ => {}
        }
    }
    Ok((quirks::needs(&case), doubted))
}
