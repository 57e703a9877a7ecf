//! Filters: built in, or a WGSL file that may change while it runs. `filters/contract.wgsl` is what they are written
//! against.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use dmaframe_wgpu::v30::wgpu;

use crate::gpu::now;

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

const CONTRACT: &str = include_str!("filters/contract.wgsl");

/// A filter that compiled, and where it came from.
pub(crate) struct Filter {
    pub(crate) name: String,
    pub(crate) pipeline: wgpu::RenderPipeline,
    file: Option<(PathBuf, SystemTime)>,
}

impl Filter {
    /// A built-in one, or the path of a file.
    pub(crate) fn new(device: &wgpu::Device, layout: &wgpu::PipelineLayout, name: &str) -> Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Ok(Self {
                name: name.into(),
                pipeline: compile(device, layout, name, text)?,
                file: None,
            });
        }
        let path = PathBuf::from(name);
        if path.extension().is_none_or(|extension| extension != "wgsl") {
            let known: Vec<_> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            bail!(
                "no filter '{name}': there are {}, or the path of a .wgsl file",
                known.join(", ")
            );
        }
        let changed = changed(&path)?;
        let text = std::fs::read_to_string(&path).with_context(|| name.to_owned())?;
        Ok(Self {
            name: path
                .file_stem()
                .map_or_else(|| name.into(), |stem| stem.to_string_lossy().into_owned()),
            pipeline: compile(device, layout, name, &text)?,
            file: Some((path, changed)),
        })
    }

    /// Takes the file's new text, if it has one. After an error the last good one stays.
    pub(crate) fn reload(&mut self, device: &wgpu::Device, layout: &wgpu::PipelineLayout) -> Result<bool> {
        let Some((path, seen)) = &mut self.file else {
            return Ok(false);
        };
        // Editors that replace the file leave none for a moment.
        let Ok(found) = changed(path) else {
            return Ok(false);
        };
        if found == *seen {
            return Ok(false);
        }
        *seen = found;
        let text = std::fs::read_to_string(&*path)?;
        self.pipeline = compile(device, layout, &path.display().to_string(), &text)?;
        Ok(true)
    }
}

fn changed(path: &PathBuf) -> Result<SystemTime> {
    let found = std::fs::metadata(path).and_then(|meta| meta.modified());
    found.with_context(|| path.display().to_string())
}

/// Errors name the file and its line.
fn compile(
    device: &wgpu::Device,
    layout: &wgpu::PipelineLayout,
    name: &str,
    text: &str,
) -> Result<wgpu::RenderPipeline> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(name),
        source: wgpu::ShaderSource::Wgsl(format!("{text}\n{CONTRACT}").into()),
    });
    let error = now(scope.pop());
    if let Some(error) = error {
        let messages = now(module.get_compilation_info()).messages;
        let line = messages
            .iter()
            .find_map(|message| Some(message.location?.line_number));
        let text_lines = text.lines().count() as u32;
        return Err(match line {
            // What is missing in the filter shows in what calls it.
            Some(line) if line > text_lines => {
                anyhow!("{name}: is there a `fn effect(uv: vec2f) -> vec4f`? {error}")
            }
            Some(line) => anyhow!("{name}:{line}: {error}"),
            None => anyhow!("{name}: {error}"),
        });
    }
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some(name),
        layout: Some(layout),
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("frame_corner"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState::default(),
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some("frame_pixel"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            targets: &[Some(wgpu::TextureFormat::Rgba8Unorm.into())],
        }),
        multiview_mask: None,
        cache: None,
    });
    match now(scope.pop()) {
        None => Ok(pipeline),
        Some(error) => Err(anyhow!("{name}: {error}")),
    }
}
