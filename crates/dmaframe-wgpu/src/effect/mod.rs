//! Effects, as far as they are the same for every version of wgpu.

use std::path::Path;

use crate::Error;

/// What an effect is written against: the text that comes behind its own.
pub const EFFECT_CONTRACT: &str = include_str!("contract.wgsl");

/// The effect's text with the contract behind it.
pub(crate) fn whole(text: &str) -> String {
    format!("{text}\n{EFFECT_CONTRACT}")
}

/// What the compiler said, with the place in the effect's own text. `line` counts from 1 in [`whole`].
pub(crate) fn refused(name: &str, text: &str, line: Option<u32>, said: &str) -> Error {
    let own = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
    let (line, text) = match line {
        // What is missing in the effect shows in what calls it.
        Some(line) if line > own => (
            None,
            format!("is there a `fn effect(uv: vec2f) -> vec4f`? {said}"),
        ),
        line => (line, said.to_owned()),
    };
    Error::Effect {
        name: name.to_owned(),
        line,
        text,
    }
}

/// A file without a text.
pub(crate) fn unreadable(file: &Path, error: &std::io::Error) -> Error {
    Error::EffectFile {
        file: file.to_owned(),
        text: error.to_string(),
    }
}

/// The uniform buffer's bytes.
pub(crate) fn uniforms(width: u32, height: u32, seconds: f32) -> [u8; 16] {
    let values = [width as f32, height as f32, seconds, 0.0];
    let mut bytes = [0; 16];
    for (to, value) in bytes.chunks_exact_mut(4).zip(values) {
        to.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}
