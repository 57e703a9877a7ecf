//! Where colours go.

use dmaframe_core::Size;

use super::super::wgpu;
use crate::convert::Area;

/// Which kind of shader converts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Path {
    /// Compute where the target allows it, else fragment.
    #[default]
    Auto,
    /// Fragment: also for a view that was made without the storage usage of its texture.
    Fragment,
}

/// A texture view to convert into: a colour-renderable format of floats or normalised integers.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    view: &'a wgpu::TextureView,
    format: wgpu::TextureFormat,
    size: Size,
    area: Option<Area>,
    clear: Option<wgpu::Color>,
    path: Path,
}

impl<'a> Target<'a> {
    /// All of the texture's first level, in the texture's own format.
    #[must_use]
    pub fn new(view: &'a wgpu::TextureView) -> Self {
        let texture = view.texture();
        Self {
            view,
            format: texture.format(),
            size: Size::new(texture.width(), texture.height()),
            area: None,
            clear: None,
            path: Path::Auto,
        }
    }

    /// For a view whose format is not the texture's (an sRGB view of a texture that is not): wgpu does not say.
    #[must_use]
    pub fn with_format(mut self, format: wgpu::TextureFormat) -> Self {
        self.format = format;
        self
    }

    /// For a view of another level than the first.
    #[must_use]
    pub fn with_size(mut self, size: Size) -> Self {
        self.size = size;
        self
    }

    /// Fills only this part; the rest stays, or is cleared.
    #[must_use]
    pub fn with_area(mut self, area: Area) -> Self {
        self.area = Some(area);
        self
    }

    /// Clears all of the view first.
    #[must_use]
    pub fn cleared(mut self, color: wgpu::Color) -> Self {
        self.clear = Some(color);
        self
    }

    /// Which kind of shader converts.
    #[must_use]
    pub fn through(mut self, path: Path) -> Self {
        self.path = path;
        self
    }

    pub(super) fn view(&self) -> &'a wgpu::TextureView {
        self.view
    }

    pub(super) fn format(&self) -> wgpu::TextureFormat {
        self.format
    }

    pub(super) fn area(&self) -> Area {
        self.area.unwrap_or(Area::full(self.size))
    }

    pub(super) fn load(&self) -> wgpu::LoadOp<wgpu::Color> {
        match (self.clear, self.area) {
            (Some(color), _) => wgpu::LoadOp::Clear(color),
            (None, Some(_)) => wgpu::LoadOp::Load,
            // All of it is written over: nothing needs to be read.
            (None, None) => wgpu::LoadOp::Clear(wgpu::Color::TRANSPARENT),
        }
    }

    /// WGSL's name of the format, if a compute shader can store to this target.
    pub(super) fn storage_format(&self) -> Option<&'static str> {
        let texture = self.view.texture();
        let usable = texture.usage().contains(wgpu::TextureUsages::STORAGE_BINDING)
            && texture.format() == self.format
            && texture.dimension() == wgpu::TextureDimension::D2;
        let whole = |area: Area| {
            [area.x, area.y, area.width, area.height]
                .iter()
                .all(|v| v.fract() == 0.0)
        };
        let covered = self.clear.is_none() && self.area.is_none_or(whole);
        if self.path == Path::Fragment || !usable || !covered {
            return None;
        }
        Some(match self.format {
            wgpu::TextureFormat::Rgba8Unorm => "rgba8unorm",
            wgpu::TextureFormat::Bgra8Unorm => "bgra8unorm",
            wgpu::TextureFormat::Rgba16Float => "rgba16float",
            wgpu::TextureFormat::Rgba32Float => "rgba32float",
            _ => return None,
        })
    }
}

/// What a render pass of the caller's draws into: pipelines have to match it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PassTarget {
    /// Format of the pass's one colour attachment.
    pub format: wgpu::TextureFormat,
    /// Where the picture goes, in pixels of the attachment.
    pub area: Area,
    /// Samples a pixel.
    pub samples: u32,
    /// Format of the pass's depth and stencil attachment, which is neither tested nor written.
    pub depth_stencil: Option<wgpu::TextureFormat>,
}

impl PassTarget {
    /// One sample a pixel, no depth.
    #[must_use]
    pub fn new(format: wgpu::TextureFormat, area: Area) -> Self {
        Self {
            format,
            area,
            samples: 1,
            depth_stencil: None,
        }
    }
}

/// Whether values outside 0 to 1 are kept.
pub(super) fn is_float(format: wgpu::TextureFormat) -> bool {
    use wgpu::TextureFormat as F;
    matches!(
        format,
        F::R16Float
            | F::Rg16Float
            | F::Rgba16Float
            | F::R32Float
            | F::Rg32Float
            | F::Rgba32Float
            | F::Rg11b10Ufloat
    )
}
