//! Reading pods.

use dmaframe_core::Size;

use super::enums::kind;

/// What is wrong with a pod, or with what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PodError {
    /// The pod ends before its header does, or says it is longer than it is.
    #[error("{what} needs {needed} bytes, {found} are there")]
    Short {
        /// Which part.
        what: &'static str,
        /// Bytes it needs.
        needed: usize,
        /// Bytes there are.
        found: usize,
    },
    /// Another type than the property has.
    #[error("{what} is a pod of type {found}, not {expected}")]
    Type {
        /// Which pod.
        what: &'static str,
        /// The type found (`SPA_TYPE_*`).
        found: u32,
        /// The type wanted.
        expected: u32,
    },
    /// A property that has to be there.
    #[error("the format has no {what}")]
    Missing {
        /// Which.
        what: &'static str,
    },
    /// Not raw video.
    #[error("media type {media} / {subtype} is not raw video")]
    NotRawVideo {
        /// `SPA_MEDIA_TYPE_*`.
        media: u32,
        /// `SPA_MEDIA_SUBTYPE_*`.
        subtype: u32,
    },
    /// A format there is no fourcc for.
    #[error("SPA video format {id} has no DRM fourcc")]
    UnknownFormat {
        /// `SPA_VIDEO_FORMAT_*`.
        id: u32,
    },
    /// Pictures of two fields.
    #[error("interlace mode {mode} is not progressive")]
    Interlaced {
        /// `SPA_VIDEO_INTERLACE_MODE_*`.
        mode: u32,
    },
    /// More than anybody can mean.
    #[error("{found} {what}; the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    four.try_into().ok().map(u32::from_ne_bytes)
}

/// One pod: its type and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    kind: u32,
    body: &'a [u8],
}

impl<'a> Value<'a> {
    const HEADER: usize = 8;

    /// The pod at the front of `bytes`. What follows it is ignored.
    ///
    /// # Errors
    /// [`PodError::Short`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PodError> {
        Self::split(bytes, "pod").map(|(value, _)| value)
    }

    /// The first pod and what follows its padding.
    fn split(bytes: &'a [u8], what: &'static str) -> Result<(Self, &'a [u8]), PodError> {
        let short = |needed| PodError::Short {
            what,
            needed,
            found: bytes.len(),
        };
        let (Some(size), Some(kind)) = (word(bytes, 0), word(bytes, 4)) else {
            return Err(short(Self::HEADER));
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let end = Self::HEADER.saturating_add(size);
        let body = bytes.get(Self::HEADER..end).ok_or_else(|| short(end))?;
        // The last pod of a message may come without its padding.
        let next = end.checked_next_multiple_of(8).unwrap_or(usize::MAX);
        Ok((Self { kind, body }, bytes.get(next..).unwrap_or(&[])))
    }

    /// `SPA_TYPE_*`.
    #[must_use]
    pub fn kind(&self) -> u32 {
        self.kind
    }

    fn expect(&self, expected: u32, what: &'static str) -> Result<(), PodError> {
        if self.kind == expected {
            return Ok(());
        }
        Err(PodError::Type {
            what,
            found: self.kind,
            expected,
        })
    }

    /// An object of the given type: its properties.
    pub(super) fn object(&self, expected: u32, what: &'static str) -> Result<Properties<'a>, PodError> {
        self.expect(kind::OBJECT, what)?;
        let short = PodError::Short {
            what,
            needed: 8,
            found: self.body.len(),
        };
        let (Some(object), Some(_id)) = (word(self.body, 0), word(self.body, 4)) else {
            return Err(short);
        };
        if object != expected {
            return Err(PodError::Type {
                what,
                found: object,
                expected,
            });
        }
        Ok(Properties(&self.body[8..]))
    }

    /// The values: one, or those of a choice (the first is then the preferred one, and repeated in an enumeration).
    pub(super) fn values(&self, what: &'static str) -> Result<Values<'a>, PodError> {
        if self.kind != kind::CHOICE {
            return Ok(Values {
                kind: self.kind,
                step: self.body.len(),
                rest: self.body,
            });
        }
        let field = |at| {
            word(self.body, at).ok_or(PodError::Short {
                what,
                needed: 16,
                found: self.body.len(),
            })
        };
        let (size, kind) = (field(8)?, field(12)?);
        Ok(Values {
            kind,
            step: usize::try_from(size).unwrap_or(usize::MAX),
            rest: &self.body[16..],
        })
    }
}

/// The properties of an object: key, flags, value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// The first property of that key and its flags. A broken one before it is an error; what comes after is not
    /// looked at.
    pub(super) fn find(self, key: u32, what: &'static str) -> Result<Option<(u32, Value<'a>)>, PodError> {
        let mut rest = self.0;
        while !rest.is_empty() {
            let (Some(found), Some(flags)) = (word(rest, 0), word(rest, 4)) else {
                return Err(PodError::Short {
                    what,
                    needed: 8,
                    found: rest.len(),
                });
            };
            let (value, next) = Value::split(&rest[8..], what)?;
            if found == key {
                return Ok(Some((flags, value)));
            }
            rest = next;
        }
        Ok(None)
    }
}

/// The values of a property.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    kind: u32,
    step: usize,
    rest: &'a [u8],
}

impl<'a> Values<'a> {
    /// Those of type `expected`, each `len` bytes long.
    fn each(
        self,
        expected: u32,
        len: usize,
        what: &'static str,
    ) -> Result<std::slice::ChunksExact<'a, u8>, PodError> {
        if self.kind != expected {
            return Err(PodError::Type {
                what,
                found: self.kind,
                expected,
            });
        }
        if self.step != len || self.rest.len() < len {
            return Err(PodError::Short {
                what,
                needed: len,
                found: self.step.min(self.rest.len()),
            });
        }
        Ok(self.rest.chunks_exact(len))
    }

    pub(super) fn ids(self, what: &'static str) -> Result<impl Iterator<Item = u32>, PodError> {
        let each = self.each(kind::ID, 4, what)?;
        Ok(each.filter_map(|four| word(four, 0)))
    }

    pub(super) fn longs(self, what: &'static str) -> Result<impl ExactSizeIterator<Item = u64>, PodError> {
        let each = self.each(kind::LONG, 8, what)?;
        Ok(each.map(|eight| eight.try_into().map_or(0, u64::from_ne_bytes)))
    }

    fn pair(self, expected: u32, what: &'static str) -> Result<(u32, u32), PodError> {
        let mut each = self.each(expected, 8, what)?;
        let first = each
            .next()
            .and_then(|eight| Some((word(eight, 0)?, word(eight, 4)?)));
        first.ok_or(PodError::Missing { what })
    }

    /// The preferred rectangle.
    pub(super) fn size(self, what: &'static str) -> Result<Size, PodError> {
        self.pair(kind::RECTANGLE, what)
            .map(|(width, height)| Size { width, height })
    }

    /// The preferred fraction.
    pub(super) fn fraction(self, what: &'static str) -> Result<(u32, u32), PodError> {
        self.pair(kind::FRACTION, what)
    }

    /// The preferred id.
    pub(super) fn id(self, what: &'static str) -> Result<u32, PodError> {
        self.ids(what)?.next().ok_or(PodError::Missing { what })
    }
}
