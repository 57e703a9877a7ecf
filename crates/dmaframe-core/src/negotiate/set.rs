//! What one endpoint takes or gives.

use std::collections::BTreeMap;
use std::fmt;

use super::{MemoryKind, Route, Takes};
use crate::format::{Fourcc, Modifier};
use crate::quirks::Driver;

/// A format in a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Pixel format.
    pub fourcc: Fourcc,
    /// Layout.
    pub modifier: Modifier,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.fourcc, self.modifier)
    }
}

/// What an endpoint does with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Usage {
    /// Anything.
    #[default]
    Any,
    /// The CPU reads or writes it.
    Cpu,
    /// A GPU samples it or reads it as a buffer.
    Sample,
    /// A GPU renders into it.
    Render,
    /// A display scans it out.
    Scanout,
    /// An encoder reads it.
    Encode,
    /// A camera or decoder writes it.
    Capture,
}

/// What one endpoint takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatSet {
    name: String,
    /// Each pair with the routes it can go, as [`Route::bit`]s; 0 is the usage's own route.
    pairs: BTreeMap<Pair, u8>,
    /// The endpoint's own order of liking, best first; formats not in it come after.
    preferred: Vec<Fourcc>,
    alike: bool,
    /// For pairs that are added.
    routes: u8,
    usage: Usage,
    device: Option<u64>,
    driver: Option<Driver>,
    discrete: bool,
    own_memory: Option<MemoryKind>,
    takes: Takes,
}

impl FormatSet {
    /// An empty set; `name` is how explanations call the endpoint.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            pairs: BTreeMap::new(),
            preferred: Vec::new(),
            alike: false,
            routes: 0,
            usage: Usage::Any,
            device: None,
            driver: None,
            discrete: false,
            own_memory: None,
            takes: Takes::default(),
        }
    }

    /// Adds a pair. Formats added earlier are liked better.
    #[must_use]
    pub fn with(mut self, fourcc: Fourcc, modifier: Modifier) -> Self {
        self.insert(fourcc, modifier);
        self
    }

    /// What the endpoint does with the frames.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The DRM device (`dev_t`) the endpoint lives on: only on one and the same device is an implicit modifier worth
    /// anything.
    #[must_use]
    pub fn with_device(mut self, device: u64) -> Self {
        self.device = Some(device);
        self
    }

    /// Which driver the endpoint is of, and whether its device is a card of its own: what [quirks](crate::quirks) are
    /// looked up by.
    #[must_use]
    pub fn with_driver(mut self, driver: Driver, discrete: bool) -> Self {
        (self.driver, self.discrete) = (Some(driver), discrete);
        self
    }

    /// A producer that has buffers of its own to give, and what they are made of.
    #[must_use]
    pub fn with_own_memory(mut self, kind: MemoryKind) -> Self {
        self.own_memory = Some(kind);
        self
    }

    /// What memory of others a producer can write into: anything, unless this says otherwise.
    #[must_use]
    pub fn takes(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    /// The route by which a consumer takes the pairs that are added from here on. Adding a pair again adds a route.
    /// Without this: mapped by the CPU, as dma-buf by everybody else.
    #[must_use]
    pub fn by(mut self, route: Route) -> Self {
        self.routes = route.bit();
        self
    }

    /// Likes all its formats alike, whatever the order they were added in: the smaller picture wins then.
    #[must_use]
    pub fn likes_all(mut self) -> Self {
        self.alike = true;
        self
    }

    /// Adds every pair of another set, with its routes.
    pub fn merge(&mut self, other: &Self) {
        let kept = self.routes;
        for fourcc in other.fourccs() {
            for (pair, routes) in other.pairs.iter().filter(|(pair, _)| pair.fourcc == fourcc) {
                self.routes = match routes {
                    0 => other.own_route().bit(),
                    routes => *routes,
                };
                self.insert(pair.fourcc, pair.modifier);
            }
        }
        self.routes = kept;
    }

    /// Adds a pair; `false` if it was there.
    pub fn insert(&mut self, fourcc: Fourcc, modifier: Modifier) -> bool {
        if !self.preferred.contains(&fourcc) {
            self.preferred.push(fourcc);
        }
        let routes = self.routes;
        let pair = Pair { fourcc, modifier };
        let there = self.pairs.get(&pair).copied();
        let own = self.own_route().bit();
        let merged = match (there, routes) {
            (None, routes) => routes,
            (Some(0), 0) => 0,
            // The usage's own route has to be spelled out beside another one.
            (Some(0), more) | (Some(more), 0) => own | more,
            (Some(some), more) => some | more,
        };
        self.pairs.insert(pair, merged);
        there.is_none()
    }

    /// Takes a pair out; `false` if it was not there.
    pub fn remove(&mut self, pair: Pair) -> bool {
        self.pairs.remove(&pair).is_some()
    }

    /// Whether the pair is in the set. `Invalid` matches only `Invalid`.
    #[must_use]
    pub fn contains(&self, pair: Pair) -> bool {
        self.pairs.contains_key(&pair)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the endpoint does with the frames.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// All pairs, in no order of liking.
    pub fn iter(&self) -> impl Iterator<Item = Pair> + '_ {
        self.pairs.keys().copied()
    }

    /// Formats, best liked first.
    pub fn fourccs(&self) -> impl Iterator<Item = Fourcc> + '_ {
        self.preferred
            .iter()
            .copied()
            .filter(|f| self.pairs.keys().any(|p| p.fourcc == *f))
    }

    /// The modifiers of one format.
    pub fn modifiers(&self, fourcc: Fourcc) -> impl Iterator<Item = Modifier> + '_ {
        self.pairs
            .keys()
            .filter(move |p| p.fourcc == fourcc)
            .map(|p| p.modifier)
    }

    /// How many pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The routes a pair can go, cheapest first; none for a pair that is not in the set.
    pub fn routes(&self, pair: Pair) -> impl Iterator<Item = Route> + '_ {
        let bits = match self.pairs.get(&pair) {
            None => 0,
            Some(0) => self.own_route().bit(),
            Some(bits) => *bits,
        };
        Route::ALL
            .into_iter()
            .filter(move |route| bits & route.bit() != 0)
    }

    /// The DRM device (`dev_t`), if the endpoint said.
    #[must_use]
    pub fn device(&self) -> Option<u64> {
        self.device
    }

    /// The driver, if the endpoint said.
    #[must_use]
    pub fn driver(&self) -> Option<Driver> {
        self.driver
    }

    /// Whether the endpoint said that it is a card of its own.
    #[must_use]
    pub fn is_discrete(&self) -> bool {
        self.discrete
    }

    /// What a producer's own buffers are made of, if it has any.
    #[must_use]
    pub fn own_memory(&self) -> Option<MemoryKind> {
        self.own_memory
    }

    /// What memory of others a producer writes into.
    #[must_use]
    pub fn takes_memory(&self) -> Takes {
        self.takes
    }

    fn own_route(&self) -> Route {
        match self.usage {
            Usage::Cpu => Route::Mapped,
            _ => Route::Dmabuf,
        }
    }

    /// Place in the order of liking, best first.
    pub(super) fn rank(&self, fourcc: Fourcc) -> usize {
        if self.alike {
            return 0;
        }
        self.preferred
            .iter()
            .position(|f| *f == fourcc)
            .unwrap_or(usize::MAX)
    }
}
