//! The shader for one format, one kind of source and one kind of target.
//!
//! WGSL has no conditional compilation, and branches over override constants would ask every pipeline to bind what
//! only some formats read. So lines of `convert.wgsl` that begin with `#` say what is for whom: `#if A B` keeps what
//! follows if any of the flags is set, `#if !A` if it is not, up to `#else` and `#endif`; they nest.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use arrayvec::ArrayVec;

use super::kind::{Kind, Packing};
use super::{ChromaFilter, Light};
use dmaframe_core::Range;

const SOURCE: &str = include_str!("convert.wgsl");

/// Where samples come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// Storage buffers. `aligned` is whether each block of each plane lies at a multiple of its size (or of 4).
    Buffers { aligned: bool },
    /// Textures: of each plane, what its texels give.
    Textures(ArrayVec<Texel, 3>),
}

/// How a texture's texel becomes the bytes that memory has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Texel {
    /// Normalised components of so many bits, as many as there are.
    Unorm { components: u32, bits: u32 },
    /// The same, blue first in memory.
    Bgra8,
    /// 10, 10, 10 and 2 bits, red lowest.
    Rgb10a2,
    /// Four half floats.
    Half,
    /// Integers of so many bits.
    Uint { components: u32, bits: u32 },
}

impl Texel {
    /// Bytes in memory.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::Unorm { components, bits } | Self::Uint { components, bits } => components * bits / 8,
            Self::Bgra8 | Self::Rgb10a2 => 4,
            Self::Half => 8,
        }
    }

    /// Whether the shader sees integers.
    pub(crate) fn is_uint(self) -> bool {
        matches!(self, Self::Uint { .. })
    }

    /// From `c`, the texel, to its first 64 bits.
    fn wgsl(self) -> String {
        let packed = |components: u32, bits: u32, of: &dyn Fn(char) -> String| {
            let word = |names: &str| {
                let parts = names.chars().enumerate();
                let parts: Vec<_> = parts
                    .map(|(i, c)| format!("({} << {}u)", of(c), i as u32 * bits))
                    .collect();
                if parts.is_empty() {
                    "0u".into()
                } else {
                    parts.join(" | ")
                }
            };
            let names = &"rgba"[..components as usize];
            let in_first = names.len().min((32 / bits) as usize);
            let (first, second) = names.split_at(in_first);
            format!("vec2<u32>({}, {})", word(first), word(second))
        };
        match self {
            Self::Unorm { components, bits } => {
                let max = (1u64 << bits) - 1;
                packed(components, bits, &|c| format!("u32(c.{c} * {max}.0 + 0.5)"))
            }
            Self::Uint { components, bits } => packed(components, bits, &|c| format!("c.{c}")),
            Self::Bgra8 => "vec2<u32>(pack4x8unorm(c.bgra), 0u)".into(),
            Self::Rgb10a2 => "vec2<u32>(u32(c.r * 1023.0 + 0.5) | (u32(c.g * 1023.0 + 0.5) << 10u) | \
                 (u32(c.b * 1023.0 + 0.5) << 20u) | (u32(c.a * 3.0 + 0.5) << 30u), 0u)"
                .into(),
            Self::Half => "vec2<u32>(pack2x16float(c.rg), pack2x16float(c.ba))".into(),
        }
    }
}

/// Who runs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// A fragment shader.
    Render,
    /// A compute shader that stores texels of this WGSL format.
    Compute {
        format: &'static str,
        group: (u32, u32),
        row_pairs: bool,
    },
}

/// How source pixels become target pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sampling {
    /// One to one.
    Direct,
    /// The nearest.
    Nearest,
    /// Filtered.
    Smooth,
}

/// Everything a shader's text depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    pub(crate) kind: Kind,
    pub(crate) input: Input,
    pub(crate) stage: Stage,
    pub(crate) sampling: Sampling,
    pub(crate) chroma: ChromaFilter,
    pub(crate) range: Range,
    pub(crate) light: Light,
    /// The source's, if it matters.
    pub(crate) transfer: Option<u8>,
    /// Whether the target encodes what it is given as sRGB.
    pub(crate) srgb_target: bool,
    /// Whether the target keeps values outside 0 to 1.
    pub(crate) float_target: bool,
}

impl Variant {
    /// The shader's text.
    pub(crate) fn wgsl(&self) -> String {
        let mut text = Text::default();
        self.input(&mut text);
        self.kind(&mut text);
        self.target(&mut text);
        let Text { flags, mut preamble } = text;
        preamble.push_str(&chosen(SOURCE, &flags));
        preamble
    }

    fn input(&self, text: &mut Text) {
        text.flag_if("PLANE1", self.kind.planes() > 1);
        text.flag_if("PLANE2", self.kind.planes() > 2);
        match &self.input {
            Input::Buffers { aligned } => {
                text.flag("BUFFERS");
                text.flag_if("ALIGNED", *aligned);
            }
            Input::Textures(texels) => {
                text.flag("TEXTURES");
                for (i, texel) in texels.iter().enumerate() {
                    let scalar = if texel.is_uint() { "u32" } else { "f32" };
                    let binding = i + 1;
                    // Writing to a string cannot fail.
                    let _ = write!(
                        text.preamble,
                        "@group(0) @binding({binding}) var texture{i}: texture_2d<{scalar}>;\n\
                         fn texel{i}(at: vec2<u32>) -> vec2<u32> {{\n    let c = textureLoad(texture{i}, at, 0);\n    \
                         return {};\n}}\n",
                        texel.wgsl()
                    );
                }
            }
        }
    }

    fn kind(&self, text: &mut Text) {
        let sub = self.kind.sub();
        match self.kind {
            Kind::Nv {
                swap, packing, bits, ..
            } => {
                text.flag("NV");
                text.flag_if("SWAP", swap);
                text.packing(packing, bits);
            }
            Kind::Planar { swap, .. } => {
                text.flag("PLANAR");
                text.constant("U_PLANE", if swap { 2 } else { 1 });
                text.constant("V_PLANE", if swap { 1 } else { 2 });
                text.packing(Packing::Byte, 8);
            }
            Kind::Packed422 { y, u, v, wide } => {
                text.flag("PACKED422");
                text.flag_if("WIDE", wide);
                text.constant("Y_AT", y);
                text.constant("U_AT", u);
                text.constant("V_AT", v);
            }
            Kind::Packed444 { bytes, at, alpha } => {
                text.flag("PACKED444");
                text.flag_if("THREE", bytes == 3);
                for (name, at) in ["Y_AT", "U_AT", "V_AT"].into_iter().zip(at) {
                    text.constant(name, at);
                }
                text.constant("A_AT", alpha.unwrap_or(0));
                text.boolean("OPAQUE", alpha.is_none());
            }
            Kind::Gray { packing, bits } => {
                text.flag("GRAY");
                text.packing(packing, bits);
            }
            Kind::Rgb { bytes, fields } => {
                text.flag("RGB");
                text.flag(match bytes {
                    2 => "TWO",
                    3 => "THREE",
                    4 => "FOUR",
                    _ => "EIGHT",
                });
                for (name, (shift, bits)) in ["R", "G", "B", "A"].into_iter().zip(fields) {
                    text.constant(&format!("{name}_SHIFT"), shift);
                    text.constant(&format!("{name}_BITS"), bits);
                }
            }
            Kind::Half { alpha } => {
                text.flag("HALF");
                text.boolean("OPAQUE", !alpha);
            }
            Kind::Bayer { red, packing, bits } => {
                text.flag("BAYER");
                text.packing(packing, bits);
                text.constant("RED_X", red.0);
                text.constant("RED_Y", red.1);
            }
        }
        text.flag_if("YUV", self.kind.is_yuv());
        let whole = sub == (0, 0);
        text.flag_if("SUBSAMPLED", self.kind.is_yuv() && !whole);
        text.flag_if("HALF_ROWS", sub.1 == 1);
        let unpacked = matches!(self.kind, Kind::Nv { .. } | Kind::Planar { .. });
        text.flag_if("FULL_CHROMA", unpacked && whole);
        text.flag_if("CHROMA_LINEAR", self.chroma == ChromaFilter::Linear);
        text.float("CHROMA_X", 0.5f32.powi(sub.0 as i32));
        text.float("CHROMA_Y", 0.5f32.powi(sub.1 as i32));
        text.flag_if("LIMITED", self.range == Range::Limited);
    }

    fn target(&self, text: &mut Text) {
        match &self.stage {
            Stage::Render => text.flag("RENDER"),
            Stage::Compute {
                format,
                group,
                row_pairs,
            } => {
                text.flag("COMPUTE");
                text.flag_if("ROW_PAIRS", *row_pairs);
                text.constant("GROUP_X", group.0);
                text.constant("GROUP_Y", group.1);
                let _ = writeln!(
                    text.preamble,
                    "alias Target = texture_storage_2d<{format}, write>;"
                );
            }
        }
        text.flag_if("SCALED", self.sampling != Sampling::Direct);
        text.flag_if("SMOOTH", self.sampling == Sampling::Smooth);
        let half = matches!(self.kind, Kind::Half { .. });
        text.flag_if("SATURATE", !(half && self.float_target));
        if self.light != Light::Encoded {
            text.flag("TRANSFER");
            text.flag(match self.transfer {
                Some(4 | 5) => "TRANSFER_GAMMA",
                Some(7) => "TRANSFER_240",
                Some(8) => "TRANSFER_LINEAR",
                Some(13) => "TRANSFER_SRGB",
                Some(16) => "TRANSFER_PQ",
                Some(18) => "TRANSFER_HLG",
                _ => "TRANSFER_709",
            });
            text.float("GAMMA", if self.transfer == Some(5) { 2.8 } else { 2.2 });
        }
        // A target that encodes by itself wants light.
        match self.light {
            Light::Encoded => text.flag_if("DECODE_SRGB", self.srgb_target),
            Light::Linear => {}
            Light::Srgb => text.flag_if("ENCODE_SRGB", !self.srgb_target),
        }
    }
}

#[derive(Default)]
struct Text {
    flags: BTreeSet<&'static str>,
    preamble: String,
}

impl Text {
    fn flag(&mut self, name: &'static str) {
        self.flags.insert(name);
    }

    fn flag_if(&mut self, name: &'static str, set: bool) {
        if set {
            self.flag(name);
        }
    }

    fn constant(&mut self, name: &str, value: u32) {
        let _ = writeln!(self.preamble, "const {name}: u32 = {value}u;");
    }

    fn boolean(&mut self, name: &str, value: bool) {
        let _ = writeln!(self.preamble, "const {name}: bool = {value};");
    }

    fn float(&mut self, name: &str, value: f32) {
        let _ = writeln!(self.preamble, "const {name}: f32 = {value:?};");
    }

    fn packing(&mut self, packing: Packing, bits: u32) {
        self.flag("SAMPLES");
        let shift = match packing {
            Packing::Word { shift } => shift,
            _ => 0,
        };
        self.constant("SAMPLE_SHIFT", shift);
        self.constant("SAMPLE_MASK", (1 << bits) - 1);
        self.flag_if("DENSE", !matches!(packing, Packing::Byte | Packing::Word { .. }));
        self.flag(match packing {
            Packing::Byte => "BYTES",
            Packing::Word { .. } => "WORDS",
            Packing::Le10 => "LE10",
            Packing::Le10Of32 => "LE10OF32",
            Packing::Csi10 => "CSI10",
            Packing::Csi12 => "CSI12",
            Packing::Csi14 => "CSI14",
        });
    }
}

/// The lines for these flags.
fn chosen(source: &str, flags: &BTreeSet<&str>) -> String {
    let mut out = String::with_capacity(source.len());
    // Of each open `#if`: whether its lines are kept, the outer ones apart.
    let mut open: Vec<bool> = Vec::new();
    for line in source.lines() {
        if let Some(condition) = line.strip_prefix("#if ") {
            let holds = |flag: &str| match flag.strip_prefix('!') {
                Some(flag) => !flags.contains(flag),
                None => flags.contains(flag),
            };
            open.push(condition.split_whitespace().any(holds));
        } else if line == "#else" {
            if let Some(kept) = open.last_mut() {
                *kept = !*kept;
            }
        } else if line == "#endif" {
            open.pop();
        } else if open.iter().all(|kept| *kept) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_nest_and_are_any_of() {
        let flags = BTreeSet::from(["A", "C"]);
        let text = "1\n#if A B\n2\n#if !C\n3\n#else\n4\n#endif\n#else\n5\n#endif\n#if B\n#if A\n6\n#endif\n#endif\n7\n";
        assert_eq!(chosen(text, &flags), "1\n2\n4\n7\n");
    }

    #[test]
    fn every_condition_of_the_source_is_closed() {
        let depth = SOURCE.lines().fold(0i32, |depth, line| {
            assert!(depth >= 0);
            match line {
                "#endif" => depth - 1,
                _ if line.starts_with("#if ") => depth + 1,
                _ => depth,
            }
        });
        assert_eq!(depth, 0);
    }
}
