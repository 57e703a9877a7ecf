//! The headers of a JPEG, up to the first scan: how large the picture is and which frame format it makes.
//!
//! Source: ITU-T T.81 annex B; `uvc_format` Motion-JPEG payloads leave the Huffman tables out, as AVI files do.

use std::ops::Range;

use dmaframe_core::{Fourcc, Layout, Size};

use crate::error::Error;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DHT: u8 = 0xc4;
const DAC: u8 = 0xcc;
const DRI: u8 = 0xdd;
const JPG: u8 = 0xc8;
const APP0: u8 = 0xe0;
const APP14: u8 = 0xee;

/// What the headers say about the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// In pixels; odd sizes stay odd.
    pub size: Size,
    /// The frame format with the JPEG's own subsampling: `YUV420`, `YUV422`, `YUV444`, or `R8` for grey.
    pub fourcc: Fourcc,
    /// Whether it comes in several scans of growing detail. Cameras do not send these.
    pub progressive: bool,
    /// Whether it brings no Huffman tables.
    pub(crate) bare: bool,
    /// Blocks of all components together that the first scan holds, if that is all there are.
    units: u32,
    /// Single blocks of one of these.
    blocks: u32,
    /// Of those, how many from one restart mark to the next; 0 where there are none.
    restart: u32,
}

impl Header {
    /// Reads the headers of `bytes`. Touches nothing behind the first scan's header, and allocates nothing.
    ///
    /// # Errors
    /// [`Error::Header`], [`Error::Truncated`], [`Error::Unsupported`], [`Error::Subsampling`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut found = Found::default();
        walk(bytes, |marker, segment, at| {
            found.segment(marker, &bytes[segment], at)
        })?;
        let Some(mut header) = found.picture else {
            return Err(Error::Header {
                at: found.scan,
                reason: "a scan before any frame header",
            });
        };
        // In Adobe's marker 0 is RGB (of three) or CMYK, 1 is YCbCr. Without it components may be called R, G, B.
        let rgb = found.adobe.map_or(found.named_rgb, |transform| transform == 0);
        if rgb && header.fourcc != Fourcc::R8 {
            return Err(Error::Unsupported {
                what: "RGB samples (no YCbCr)",
            });
        }
        header.bare = !found.tables;
        header.restart = if found.whole { found.restart } else { 0 };
        header.blocks = if found.whole { header.blocks } else { 1 };
        Ok(header)
    }

    /// The layout of a picture, without padding.
    ///
    /// # Errors
    /// [`Error::Core`] when its size overflows.
    pub fn layout(&self) -> Result<Layout, Error> {
        Layout::tight(self.fourcc, self.size).map_err(|error| Error::Core(error.into()))
    }

    /// The same JPEG as the decoder likes it, in `clean`: nothing between segments, no application data but what says how samples are meant, marked as having the
    /// standard Huffman tables when it brings none, and ending where its picture does.
    ///
    /// In front of the end mark stand 64 one bits. A complete picture ends before them; one whose data ended early would
    /// go on with them, and no Huffman code is all ones (T.81 C.2), so the decoder notices. Without them it would take
    /// zeros for what is missing, and draw them.
    pub(crate) fn clean(&self, bytes: &[u8], clean: &mut Vec<u8>) -> Result<(), Error> {
        clean.clear();
        clean
            .try_reserve(bytes.len() + 64)
            .map_err(|_| dmaframe_core::Error::NoMemory { bytes: bytes.len() })?;
        clean.extend([0xff, SOI]);
        if self.bare {
            clean.extend([0xff, APP0, 0, 7]);
            clean.extend(b"AVI1\0");
        }
        let mut scan = bytes.len();
        walk(bytes, |marker, segment, _| {
            if marker == SOS {
                scan = segment.end;
            }
            if !matches!(marker, 0xe0..=0xed | 0xef | 0xfe) {
                clean.extend([0xff, marker]);
                clean.extend(&bytes[segment]);
            }
            Ok(())
        })?;
        let end = match end_of_picture(bytes, scan) {
            Some(end) => end,
            // Nobody can tell how many scans there should have been.
            None if self.progressive => return Err(Error::Truncated { bytes: bytes.len() }),
            None => bytes.len(),
        };
        self.check_length(end - scan, bytes.len())?;
        self.check_restarts(&bytes[scan..end], bytes.len())?;
        clean.extend(&bytes[scan..end]);
        clean.extend([0xff, 0].repeat(8));
        clean.extend([0xff, EOI]);
        Ok(())
    }

    /// No code is shorter than a bit: every block has at least one (of a progressive picture) or two (its mean, and that
    /// nothing else follows). What has fewer cannot be the picture that its header claims, which nobody has to make room
    /// for then.
    fn check_length(&self, data: usize, bytes: usize) -> Result<(), Error> {
        let codes = if self.progressive { 1 } else { 2 };
        let least = u64::from(self.units) * u64::from(self.blocks) * codes;
        if (data as u64).saturating_mul(8) < least {
            return Err(Error::Truncated { bytes });
        }
        Ok(())
    }

    /// A decoder that finds the end where it looks for a restart mark draws nothing for the rest.
    fn check_restarts(&self, data: &[u8], bytes: usize) -> Result<(), Error> {
        if self.restart == 0 || self.progressive {
            return Ok(());
        }
        let marks = data
            .windows(2)
            .filter(|two| two[0] == 0xff && (0xd0..=0xd7).contains(&two[1]))
            .count();
        let expected = self.units.saturating_sub(1) / self.restart;
        if (marks as u64) < u64::from(expected) {
            return Err(Error::Truncated { bytes });
        }
        Ok(())
    }
}

/// Where the end mark stands, looking from the first scan's data on.
fn end_of_picture(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let found = bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        at += found;
        match *bytes.get(at + 1)? {
            EOI => return Some(at),
            // A stuffed byte, a restart, something without a length, or a fill byte.
            0 | 0x01 | 0xd0..=SOI => at += 2,
            0xff => at += 1,
            // Tables, or another scan's header: what looks like an end in them is none.
            _ => {
                let length = bytes.get(at + 2..at + 4)?;
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
        }
    }
}

/// What the segments said.
#[derive(Default)]
struct Found {
    picture: Option<Header>,
    tables: bool,
    adobe: Option<u8>,
    named_rgb: bool,
    scan: usize,
    restart: u32,
    components: u8,
    /// Whether the first scan has all components.
    whole: bool,
}

impl Found {
    /// `body` begins with the two bytes of its length.
    fn segment(&mut self, marker: u8, body: &[u8], at: usize) -> Result<(), Error> {
        let data = body.get(2..).unwrap_or_default();
        match marker {
            DHT => self.tables = true,
            APP14 if data.starts_with(b"Adobe") => self.adobe = data.get(11).copied(),
            SOS => {
                self.scan = at;
                self.whole = data.first() == Some(&self.components);
            }
            DRI => {
                self.restart = data
                    .get(..2)
                    .map_or(0, |two| u32::from(two[0]) << 8 | u32::from(two[1]))
            }
            0xc0..=0xc2 => {
                if self.picture.is_some() {
                    return Err(Error::Header {
                        at,
                        reason: "a second frame header",
                    });
                }
                let (header, ids) = frame_header(data, at, marker == 0xc2)?;
                self.named_rgb = ids == *b"RGB";
                self.components = data[5];
                self.picture = Some(header);
            }
            DAC => {
                return Err(Error::Unsupported {
                    what: "arithmetic coding",
                });
            }
            JPG => {
                return Err(Error::Unsupported {
                    what: "extensions (JPG)",
                });
            }
            0xc3 | 0xc5..=0xcf => {
                return Err(Error::Unsupported {
                    what: "a lossless, hierarchical or arithmetic frame",
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Calls `each` for every segment up to the first scan's header, that included: marker, range of its length and data, and
/// where the marker stands. Bytes between segments are skipped.
fn walk(
    bytes: &[u8],
    mut each: impl FnMut(u8, Range<usize>, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let truncated = Error::Truncated { bytes: bytes.len() };
    if bytes.get(..2) != Some(&[0xff, SOI]) {
        return Err(Error::Header {
            at: 0,
            reason: "it does not begin with FF D8 (SOI)",
        });
    }
    let mut at = 2;
    loop {
        // The next FF that a marker follows; any number of FF may stand before it.
        let Some(found) = bytes[at..]
            .windows(2)
            .position(|two| two[0] == 0xff && !matches!(two[1], 0 | 0xff))
        else {
            return Err(truncated);
        };
        at += found;
        let marker = bytes[at + 1];
        match marker {
            // Without a length.
            0x01 | 0xd0..=0xd7 | SOI => {
                at += 2;
                continue;
            }
            EOI => {
                return Err(Error::Header {
                    at,
                    reason: "the end (EOI) before any scan",
                });
            }
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
            return Err(truncated);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length < 2 {
            return Err(Error::Header {
                at,
                reason: "a segment shorter than its own length field",
            });
        }
        let segment = at + 2..at + 2 + length;
        if segment.end > bytes.len() {
            return Err(truncated);
        }
        let end = segment.end;
        each(marker, segment, at)?;
        if marker == SOS {
            return Ok(());
        }
        at = end;
    }
}

/// SOF: precision, height, width, components.
fn frame_header(data: &[u8], at: usize, progressive: bool) -> Result<(Header, [u8; 3]), Error> {
    let wrong = |reason| Error::Header { at, reason };
    let &[precision, h1, h0, w1, w0, count, ref components @ ..] = data else {
        return Err(wrong("a frame header that is too short"));
    };
    if precision != 8 {
        return Err(Error::Unsupported {
            what: "samples of other than 8 bits",
        });
    }
    let size = Size::new(
        u16::from_be_bytes([w1, w0]).into(),
        u16::from_be_bytes([h1, h0]).into(),
    );
    if size.width == 0 || size.height == 0 {
        return Err(wrong("a width or height of 0"));
    }
    if components.len() < usize::from(count) * 3 {
        return Err(wrong("fewer components than the frame header counts"));
    }
    let sampling = |index: usize| (components[index * 3 + 1] >> 4, components[index * 3 + 1] & 15);
    let (fourcc, ids) = match count {
        // Alone, a component is never subsampled, whatever it says.
        1 => (Fourcc::R8, [0; 3]),
        3 => {
            let ids = [components[0], components[3], components[6]];
            (subsampled([sampling(0), sampling(1), sampling(2)], at)?, ids)
        }
        4 => {
            return Err(Error::Unsupported {
                what: "four components (CMYK)",
            });
        }
        _ => return Err(wrong("neither one nor three components")),
    };
    let (units, blocks) = units(size, count, components);
    let header = Header {
        size,
        fourcc,
        progressive,
        bare: false,
        units,
        blocks,
        restart: 0,
    };
    Ok((header, ids))
}

/// How many units (MCUs) a scan of all components has: blocks of one component, or as many of each as the largest
/// sampling factors make. And how many blocks each of them is.
fn units(size: Size, count: u8, components: &[u8]) -> (u32, u32) {
    let factors = components
        .chunks(3)
        .take(usize::from(count))
        .map(|component| (u32::from(component[1] >> 4), u32::from(component[1] & 15)));
    let ((h, v), blocks) = match count {
        1 => ((1, 1), 1),
        _ => (
            factors
                .clone()
                .fold((1, 1), |(h, v), (one, other)| (h.max(one), v.max(other))),
            factors.map(|(h, v)| h * v).sum(),
        ),
    };
    let units = size.width.div_ceil(8 * h) * size.height.div_ceil(8 * v);
    (units, blocks)
}

/// The frame format of luma and two chroma components with these sampling factors.
fn subsampled(factors: [(u8, u8); 3], at: usize) -> Result<Fourcc, Error> {
    let [luma, first, second] = factors;
    if factors
        .iter()
        .any(|(h, v)| !(1..=4).contains(h) || !(1..=4).contains(v))
    {
        return Err(Error::Header {
            at,
            reason: "sampling factors outside of 1 to 4",
        });
    }
    if first != second || luma.0 < first.0 || luma.1 < first.1 {
        return Err(Error::Unsupported {
            what: "components that are subsampled each in its own way",
        });
    }
    let ratio = |luma: u8, chroma: u8| if luma % chroma == 0 { luma / chroma } else { 0 };
    match (ratio(luma.0, first.0), ratio(luma.1, first.1)) {
        (1, 1) => Ok(Fourcc::YUV444),
        (2, 1) => Ok(Fourcc::YUV422),
        (2, 2) => Ok(Fourcc::YUV420),
        (horizontal, vertical) => Err(Error::Subsampling { horizontal, vertical }),
    }
}

#[cfg(test)]
mod tests;
