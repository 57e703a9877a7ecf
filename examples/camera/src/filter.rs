//! Filters: built in, or a WGSL file that may change while it runs. `dmaframe_wgpu::EFFECT_CONTRACT` is what they are
//! written against.

use std::path::Path;

use anyhow::{Result, bail};
use dmaframe_wgpu::v30::{Effect, Gpu, wgpu};

/// The ones built in.
pub(crate) const BUILT_IN: [(&str, &str); 9] = [
    ("none", include_str!("filters/none.wgsl")),
    ("mono", include_str!("filters/mono.wgsl")),
    ("sepia", include_str!("filters/sepia.wgsl")),
    ("noir", include_str!("filters/noir.wgsl")),
    ("vignette", include_str!("filters/vignette.wgsl")),
    ("blur", include_str!("filters/blur.wgsl")),
    ("edge", include_str!("filters/edge.wgsl")),
    ("pixelate", include_str!("filters/pixelate.wgsl")),
    ("mirror", include_str!("filters/mirror.wgsl")),
];

/// A built-in one, or the path of a file.
pub(crate) fn open(gpu: &Gpu, name: &str) -> Result<Effect> {
    let format = wgpu::TextureFormat::Rgba8Unorm;
    if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return Ok(Effect::new(gpu, name, text, format)?);
    }
    let extension = Path::new(name).extension();
    if extension.is_none_or(|extension| extension != "wgsl") {
        let known: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        let known = known.join(", ");
        bail!("no filter '{name}': there are {known}, or the path of a .wgsl file");
    }
    Ok(Effect::from_file(gpu, name, format)?)
}
