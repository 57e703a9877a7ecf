//! Random pictures, written into any format bit by bit from a description that shares nothing with the code under
//! test.

use dmaframe_core::{ColorInfo, Fourcc, Frame, FrameMeta, FrameParts, Layout, Modifier, Plane, Size};

/// xorshift: the same pictures every time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, n: u32) -> u32 {
        (self.next() >> 32) as u32 % n
    }
}

/// How a format stores its samples, in the words of `drm_fourcc.h`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    /// Sub-sampling, depth, packing of a sample stream, Cr first.
    Semi(u32, u32, u32, Stream, bool),
    Planar(u32, u32, bool),
    /// Components of two pixels, in memory order, and bits of a word.
    Packed422(&'static str, u32),
    /// Components from the lowest bit up with their bits: "b8g8r8x8".
    Pixel(&'static str),
    Gray(u32, Stream),
    /// First row and depth.
    Bayer(&'static str, u32, Stream),
    HalfFloat(bool),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Bytes,
    /// 16-bit words, shifted left.
    Words(u32),
    /// 10-bit fields of one bit stream.
    Dense10,
    /// Three 10-bit fields in 32 bits.
    Three10,
    /// Upper 8 bits of a group, then its lower bits together: group length.
    Csi(usize),
}

#[rustfmt::skip]
pub(crate) fn store(f: Fourcc) -> Store {
    use Store::*;
    use Stream::*;
    match f {
        Fourcc::NV12 => Semi(2, 2, 8, Bytes, false),
        Fourcc::NV21 => Semi(2, 2, 8, Bytes, true),
        Fourcc::NV16 => Semi(2, 1, 8, Bytes, false),
        Fourcc::NV61 => Semi(2, 1, 8, Bytes, true),
        Fourcc::NV24 => Semi(1, 1, 8, Bytes, false),
        Fourcc::NV42 => Semi(1, 1, 8, Bytes, true),
        Fourcc::NV15 => Semi(2, 2, 10, Dense10, false),
        Fourcc::NV20 => Semi(2, 1, 10, Dense10, false),
        Fourcc::NV30 => Semi(1, 1, 10, Dense10, false),
        Fourcc::P010 => Semi(2, 2, 10, Words(6), false),
        Fourcc::P012 => Semi(2, 2, 12, Words(4), false),
        Fourcc::P016 => Semi(2, 2, 16, Words(0), false),
        Fourcc::P210 => Semi(2, 1, 10, Words(6), false),
        Fourcc::P030 => Semi(2, 2, 10, Three10, false),
        Fourcc::YUV420 => Planar(2, 2, false),
        Fourcc::YVU420 => Planar(2, 2, true),
        Fourcc::YUV422 => Planar(2, 1, false),
        Fourcc::YVU422 => Planar(2, 1, true),
        Fourcc::YUV444 => Planar(1, 1, false),
        Fourcc::YVU444 => Planar(1, 1, true),
        Fourcc::YUYV => Packed422("yuyv", 8),
        Fourcc::YVYU => Packed422("yvyu", 8),
        Fourcc::UYVY => Packed422("uyvy", 8),
        Fourcc::VYUY => Packed422("vyuy", 8),
        Fourcc::Y210 => Packed422("yuyv", 16),
        Fourcc::AYUV => Pixel("v8u8y8a8"),
        Fourcc::XYUV8888 => Pixel("v8u8y8x8"),
        Fourcc::VUY888 => Pixel("y8u8v8"),
        Fourcc::R8 => Gray(8, Bytes),
        Fourcc::R10 => Gray(10, Words(0)),
        Fourcc::R12 => Gray(12, Words(0)),
        Fourcc::R16 => Gray(16, Words(0)),
        Fourcc::GR88 => Pixel("r8g8"),
        Fourcc::RG88 => Pixel("g8r8"),
        Fourcc::GR1616 => Pixel("r16g16"),
        Fourcc::RG1616 => Pixel("g16r16"),
        Fourcc::RGB565 => Pixel("b5g6r5"),
        Fourcc::BGR565 => Pixel("r5g6b5"),
        Fourcc::RGB888 => Pixel("b8g8r8"),
        Fourcc::BGR888 => Pixel("r8g8b8"),
        Fourcc::XRGB8888 => Pixel("b8g8r8x8"),
        Fourcc::ARGB8888 => Pixel("b8g8r8a8"),
        Fourcc::XBGR8888 => Pixel("r8g8b8x8"),
        Fourcc::ABGR8888 => Pixel("r8g8b8a8"),
        Fourcc::RGBX8888 => Pixel("x8b8g8r8"),
        Fourcc::RGBA8888 => Pixel("a8b8g8r8"),
        Fourcc::BGRX8888 => Pixel("x8r8g8b8"),
        Fourcc::BGRA8888 => Pixel("a8r8g8b8"),
        Fourcc::XRGB2101010 => Pixel("b10g10r10x2"),
        Fourcc::ARGB2101010 => Pixel("b10g10r10a2"),
        Fourcc::XBGR2101010 => Pixel("r10g10b10x2"),
        Fourcc::ABGR2101010 => Pixel("r10g10b10a2"),
        Fourcc::XBGR16161616 => Pixel("r16g16b16x16"),
        Fourcc::ABGR16161616 => Pixel("r16g16b16a16"),
        Fourcc::XBGR16161616F => HalfFloat(false),
        Fourcc::ABGR16161616F => HalfFloat(true),
        _ => {
            // "SRGGB10P": the name says it all.
            let name = f.info().expect("a format of the table").name;
            let depth: u32 = name[5..].trim_end_matches('P').parse().expect(name);
            let stream = match (name.ends_with('P'), depth) {
                (false, 8) => Bytes,
                (false, _) => Words(0),
                (true, 12) => Csi(2),
                (true, _) => Csi(4),
            };
            Bayer(&name[1..5], depth, stream)
        }
    }
}

/// A picture as numbers. Channels that a format does not have are empty.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) size: Size,
    pub(crate) store: Store,
    /// By component: 'y', 'u', 'v', 'r', 'g', 'b', 'a', 'm' (mosaic): values, columns, largest value.
    pub(crate) channels: Vec<(char, Vec<u32>, u32, u32)>,
}

impl Picture {
    pub(crate) fn random(fourcc: Fourcc, size: Size, random: &mut Random) -> Self {
        let (w, h) = (size.width, size.height);
        let store = store(fourcc);
        let mut channels = Vec::new();
        let mut add = |name, w: u32, h: u32, bits: u32| {
            let max = (1u32 << bits) - 1;
            // Luma below limited range's black is left out: the `yuv` crate's SIMD reads it as black, its scalar code
            // does not.
            let least = if name == 'y' { 16 << (bits - 8) } else { 0 };
            let values = (0..w * h)
                .map(|_| least + random.below(max + 1 - least))
                .collect();
            channels.push((name, values, w, max));
        };
        match store {
            Store::Semi(hs, vs, bits, ..) => {
                add('y', w, h, bits);
                add('u', w.div_ceil(hs), h.div_ceil(vs), bits);
                add('v', w.div_ceil(hs), h.div_ceil(vs), bits);
            }
            Store::Planar(hs, vs, _) => {
                add('y', w, h, 8);
                add('u', w.div_ceil(hs), h.div_ceil(vs), 8);
                add('v', w.div_ceil(hs), h.div_ceil(vs), 8);
            }
            Store::Packed422(_, bits) => {
                let bits = if bits == 16 { 10 } else { bits };
                add('y', w, h, bits);
                add('u', w.div_ceil(2), h, bits);
                add('v', w.div_ceil(2), h, bits);
            }
            Store::Pixel(spec) => fields(spec).for_each(|(name, bits)| add(name, w, h, bits)),
            Store::Gray(bits, _) => add('y', w, h, bits),
            Store::Bayer(_, bits, _) => add('m', w, h, bits),
            // 0 to 1 in steps that a half float has.
            Store::HalfFloat(_) => "rgba".chars().for_each(|name| add(name, w, h, 10)),
        }
        Self {
            size,
            store,
            channels,
        }
    }

    /// Value of a component at a pixel, and its largest; chroma is the nearest.
    pub(crate) fn at(&self, name: char, x: u32, y: u32) -> Option<(u32, u32)> {
        let (_, values, w, max) = self.channels.iter().find(|c| c.0 == name)?;
        let rows = values.len() as u32 / w;
        let (hs, vs) = (self.size.width.div_ceil(*w), self.size.height.div_ceil(rows));
        Some((values[(y / vs * w + x / hs) as usize], *max))
    }

    /// The planes' bytes, in the rows of `layout`; padding and unused bits are noise.
    pub(crate) fn bytes(&self, layout: &Layout, random: &mut Random) -> Vec<u8> {
        let mut out: Vec<u8> = (0..len(layout)).map(|_| random.next() as u8).collect();
        for plane in 0..layout.planes().len() {
            for row in 0..layout.rows(plane) {
                let p = layout.planes()[plane];
                let start = (p.offset + u64::from(p.stride) * u64::from(row)) as usize;
                let to = &mut out[start..start + layout.row_bytes(plane)];
                self.row(plane, row, to);
            }
        }
        out
    }

    fn row(&self, plane: usize, row: u32, to: &mut [u8]) {
        let line = |name: char| {
            let (_, values, w, _) = self.channels.iter().find(|c| c.0 == name).expect("channel");
            &values[(row * w) as usize..((row + 1) * w) as usize]
        };
        match self.store {
            Store::Semi(_, _, bits, stream, swap) => {
                if plane == 0 {
                    stream.write(bits, line('y').iter().copied(), to);
                } else {
                    let (a, b) = if swap { ('v', 'u') } else { ('u', 'v') };
                    let pairs = line(a).iter().zip(line(b)).flat_map(|(a, b)| [*a, *b]);
                    stream.write(bits, pairs, to);
                }
            }
            Store::Planar(_, _, swap) => {
                let name = ['y', if swap { 'v' } else { 'u' }, if swap { 'u' } else { 'v' }][plane];
                Stream::Bytes.write(8, line(name).iter().copied(), to);
            }
            Store::Packed422(order, word) => {
                let shift = if word == 16 { 6 } else { 0 };
                for pair in 0..self.size.width.div_ceil(2) {
                    let mut ys = 2 * pair as usize;
                    for (i, name) in order.chars().enumerate() {
                        let value = if name == 'y' {
                            ys += 1;
                            // An odd width's last pair has one pixel.
                            line('y').get(ys - 1).copied().unwrap_or(77)
                        } else {
                            line(name)[pair as usize]
                        };
                        put(to, (pair * 4 + i as u32) * word, word, value << shift);
                    }
                }
            }
            Store::Pixel(spec) => {
                let total: u32 = fields(spec).map(|f| f.1).sum();
                for x in 0..self.size.width {
                    let mut bit = x * total;
                    for (name, bits) in fields(spec) {
                        put(to, bit, bits, line(name)[x as usize]);
                        bit += bits;
                    }
                }
            }
            Store::Gray(bits, stream) => stream.write(bits, line('y').iter().copied(), to),
            Store::Bayer(_, bits, stream) => stream.write(bits, line('m').iter().copied(), to),
            Store::HalfFloat(_) => {
                for x in 0..self.size.width as usize {
                    for (i, name) in "rgba".chars().enumerate() {
                        let word = half_float(f64::from(line(name)[x]) / 1024.0);
                        put(to, (x * 4 + i) as u32 * 16, 16, word);
                    }
                }
            }
        }
    }
}

/// Fields of "b8g8r8x8", unused ones too.
fn fields(spec: &'static str) -> impl Iterator<Item = (char, u32)> {
    let starts = spec.char_indices().filter(|(_, c)| c.is_ascii_alphabetic());
    starts.map(move |(i, c)| {
        let digits: String = spec[i + 1..].chars().take_while(char::is_ascii_digit).collect();
        (c, digits.parse().expect(spec))
    })
}

impl Stream {
    fn write(self, bits: u32, samples: impl Iterator<Item = u32>, to: &mut [u8]) {
        for (i, value) in samples.enumerate() {
            let n = i as u32;
            match self {
                Self::Bytes => to[i] = value as u8,
                Self::Words(shift) => put(to, n * 16, 16, value << shift),
                Self::Dense10 => put(to, n * 10, 10, value),
                Self::Three10 => put(to, n / 3 * 32 + n % 3 * 10, 10, value),
                Self::Csi(group) => {
                    let low = bits - 8;
                    let bytes = group + group * low as usize / 8;
                    let base = i / group * bytes;
                    to[base + i % group] = (value >> low) as u8;
                    let bit = (base + group) as u32 * 8 + (i % group) as u32 * low;
                    put(to, bit, low, value & ((1 << low) - 1));
                }
            }
        }
    }
}

/// Writes the lowest `bits` of `value` at bit `at` of a little-endian bit stream.
fn put(to: &mut [u8], at: u32, bits: u32, value: u32) {
    for i in 0..bits {
        let (byte, bit) = (((at + i) / 8) as usize, (at + i) % 8);
        to[byte] = to[byte] & !(1 << bit) | (((value >> i) & 1) as u8) << bit;
    }
}

fn half_float(value: f64) -> u32 {
    if value == 0.0 {
        return 0;
    }
    let exponent = value.log2().floor();
    let mantissa = (value / exponent.exp2() - 1.0) * 1024.0;
    ((exponent + 15.0) as u32) << 10 | mantissa as u32
}

/// A layout with `pad` bytes behind each row and planes in reverse order with gaps, which ends with its last sample.
pub(crate) fn padded(fourcc: Fourcc, size: Size, pad: u32) -> Layout {
    let info = fourcc.info().expect("format");
    let mut planes = Vec::new();
    let mut offset = u64::from(pad % 7);
    for format in info.planes().iter().rev() {
        let row = format.row_bytes(size.width);
        let stride = row as u32 + pad;
        planes.push(Plane {
            object: 0,
            offset,
            stride,
        });
        offset += u64::from(stride) * (u64::from(format.rows(size.height)) - 1) + row + u64::from(pad % 5);
    }
    planes.reverse();
    let end = offset - u64::from(pad % 5);
    Layout::check(fourcc, Modifier::LINEAR, size, &planes, &[end]).expect("layout")
}

/// Bytes up to the last sample.
pub(crate) fn len(layout: &Layout) -> usize {
    let ends = layout.planes().iter().enumerate().map(|(i, p)| {
        p.offset + u64::from(p.stride) * u64::from(layout.rows(i) - 1) + layout.row_bytes(i) as u64
    });
    ends.max().unwrap_or(0) as usize
}

pub(crate) fn meta(color: ColorInfo) -> FrameMeta {
    let mut meta = FrameMeta::default();
    meta.color = color;
    meta
}

/// In this process's own memory.
pub(crate) fn private(layout: &Layout, bytes: Vec<u8>, meta: FrameMeta) -> Frame {
    Frame::from_bytes(bytes, layout, meta).expect("frame")
}

/// In a sealed memfd that came from outside: rows cannot be borrowed.
pub(crate) fn foreign(layout: &Layout, bytes: &[u8], meta: FrameMeta) -> Frame {
    use std::os::unix::fs::FileExt;
    let file = dmaframe_testkit::memfd(bytes.len() as u64, true).expect("memfd");
    file.write_all_at(bytes, 0).expect("write");
    let mut parts = FrameParts::new(layout.fourcc(), layout.size());
    parts.objects = vec![file.into()];
    parts.planes = layout.planes().to_vec();
    parts.meta = meta;
    Frame::try_from(parts).expect("frame")
}
