//! Filters: built in, or a WGSL file that may change while it runs. `dmaframe_wgpu::EFFECT_CONTRACT` is what they are
//! written against.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
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

/// The file that a filter came from.
pub(crate) struct File {
    path: PathBuf,
    seen: SystemTime,
}

/// A built-in one, or the path of a file.
pub(crate) fn open(gpu: &Gpu, name: &str) -> Result<(Effect, Option<File>)> {
    let format = wgpu::TextureFormat::Rgba8Unorm;
    if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return Ok((Effect::new(gpu, name, text, format)?, None));
    }
    let path = PathBuf::from(name);
    if path.extension().is_none_or(|extension| extension != "wgsl") {
        let known: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        bail!(
            "no filter '{name}': there are {}, or the path of a .wgsl file",
            known.join(", ")
        );
    }
    let seen = changed(&path)?;
    let text = std::fs::read_to_string(&path).with_context(|| name.to_owned())?;
    let effect = Effect::new(gpu, name, &text, format)?;
    Ok((effect, Some(File { path, seen })))
}

impl File {
    /// Gives the effect the file's new text, if it has one. After an error the last good one stays.
    pub(crate) fn reload(&mut self, effect: &mut Effect) -> Result<bool> {
        // Editors that replace the file leave none for a moment.
        let Ok(found) = changed(&self.path) else {
            return Ok(false);
        };
        if found == self.seen {
            return Ok(false);
        }
        self.seen = found;
        let text = std::fs::read_to_string(&self.path)?;
        effect.replace(&self.path.display().to_string(), &text)?;
        Ok(true)
    }
}

fn changed(path: &PathBuf) -> Result<SystemTime> {
    let found = std::fs::metadata(path).and_then(|meta| meta.modified());
    found.with_context(|| path.display().to_string())
}
