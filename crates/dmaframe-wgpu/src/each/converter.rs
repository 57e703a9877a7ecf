//! Frames to colours, on the GPU.

mod groups;
mod pipelines;
mod source;
mod target;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dmaframe_core::{ChromaSiting, ColorInfo, Range};

use super::{Gpu, Imported, Submission, wgpu};
use crate::Error;
use crate::convert::{
    self, Area, Conversion, ConvertError, Converted, HighRange, Kind, Light, Params, Reading, Stage, Variant,
};
use groups::Groups;
use pipelines::{Pipelines, RenderKey};
use source::Bound;

pub use source::Picture;
pub use target::{PassTarget, Path, Target};

/// Converts frames of every format of the core's table to colours in a texture: cropped, turned upright, scaled, with
/// the frame's own matrix and range.
///
/// A fragment shader that reads the planes from storage buffers or textures does it, with one bind group: it works on
/// any device, a toolkit's own with [`wgpu::Limits::downlevel_defaults`] too. Where the target can be a storage
/// texture, a compute shader does the same.
///
/// Pipelines are made at the first use of a format, and kept. What a picture is bound with is kept too, for as long as
/// the same buffer comes back in the same way: then a conversion allocates and uploads nothing. So a buffer that was
/// converted stays alive a while after its last use; [`Converter::trim`] lets go of everything.
///
/// All methods take `&self` and may be called from any thread.
pub struct Converter {
    gpu: Gpu,
    limits: wgpu::Limits,
    shape: Shape,
    state: Mutex<State>,
}

/// How the compute shader's work is cut: for measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Shape {
    /// Invocations of a workgroup along x and y.
    pub group: (u32, u32),
    /// Whether rows that share their chroma are converted together.
    pub row_pairs: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            // The fastest, or nearly, for every format on an H200.
            group: (64, 4),
            row_pairs: true,
        }
    }
}

#[derive(Default)]
struct State {
    pipelines: Pipelines,
    groups: Groups,
}

/// What has been worked out for one conversion.
struct Plan {
    variant: Variant,
    params: Params,
    bound: Bound,
    done: Converted,
}

impl Converter {
    /// A converter for this device. Nothing is made on it yet.
    #[must_use]
    pub fn new(gpu: &Gpu) -> Self {
        Self {
            gpu: gpu.clone(),
            limits: gpu.device().limits(),
            shape: Shape::default(),
            state: Mutex::default(),
        }
    }

    #[doc(hidden)]
    pub fn set_shape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// Records the conversion of `picture` into `target`, in a pass of its own.
    ///
    /// # Errors
    /// [`ConvertError`]; nothing has been recorded then.
    pub fn encode<'p>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        picture: impl Into<Picture<'p>>,
        target: &Target<'_>,
        conversion: &Conversion,
    ) -> Result<Converted, ConvertError> {
        let picture = picture.into();
        let done = self.record(encoder, picture, target, conversion)?;
        if let Some(reading) = picture.reading() {
            encoder.on_submitted_work_done(move || drop(reading));
        }
        Ok(done)
    }

    /// [`Self::encode`] for what is submitted with its import ([`Gpu::submit`]), which holds what is read.
    pub(super) fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        picture: Picture<'_>,
        target: &Target<'_>,
        conversion: &Conversion,
    ) -> Result<Converted, ConvertError> {
        let area = target.area();
        if let Some(format) = target.storage_format() {
            let stage = Stage::Compute {
                format,
                group: self.shape.group,
                row_pairs: self.shape.row_pairs,
            };
            return self.compute(encoder, &picture, target, conversion, stage);
        }
        let key = RenderKey::plain(target.format());
        let plan = self.plan(&picture, area, conversion, Stage::Render, key.format)?;
        let mut state = self.state();
        let (pipeline, group) = state.render(self, &plan, key)?;
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            label: Some("dmaframe convert"),
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: target.view(),
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations {
                    load: target.load(),
                    store: wgpu::StoreOp::Store,
                },
            })],
            depth_stencil_attachment: None,
            timestamp_writes: None,
            occlusion_query_set: None,
            multiview_mask: None,
        });
        self.draw(&mut pass, area, (&pipeline, &group));
        Ok(plan.done)
    }

    /// Records the conversion of `picture` into a render pass of the caller's, as one draw call over `target`'s area, as far
    /// as that lies in a target. Sets the pass's viewport, pipeline and bind group 0, and leaves its scissor as it is.
    ///
    /// # Errors
    /// [`ConvertError`]; nothing has been recorded then.
    pub fn encode_into<'p>(
        &self,
        pass: &mut wgpu::RenderPass<'_>,
        picture: impl Into<Picture<'p>>,
        target: &PassTarget,
        conversion: &Conversion,
    ) -> Result<Converted, ConvertError> {
        let picture = picture.into();
        let key = RenderKey::of(target);
        let area = target.area;
        let plan = self.plan(&picture, area, conversion, Stage::Render, key.format)?;
        let (pipeline, group) = self.state().render(self, &plan, key)?;
        self.draw(pass, area, (&pipeline, &group));
        if let Some(reading) = picture.reading() {
            pass.on_submitted_work_done(move || drop(reading));
        }
        Ok(plan.done)
    }

    /// Converts an imported frame and submits it at once, as [`Gpu::submit`] does.
    ///
    /// # Errors
    /// [`Error::Convert`], and those of [`Gpu::submit`]; nothing was submitted then.
    pub fn convert(
        &self,
        imported: &Imported,
        target: &Target<'_>,
        conversion: &Conversion,
    ) -> Result<(Submission, Converted), Error> {
        let descriptor = wgpu::CommandEncoderDescriptor {
            label: Some("dmaframe convert"),
        };
        let mut encoder = self.gpu.device().create_command_encoder(&descriptor);
        let done = self.record(&mut encoder, imported.into(), target, conversion)?;
        let submission = self.gpu.submit(&[imported], [encoder.finish()])?;
        Ok((submission, done))
    }

    /// Lets go of every buffer and texture that was bound, and keeps the pipelines.
    pub fn trim(&self) {
        self.state().groups = Groups::default();
    }

    /// Pixels know where they are in the area, whatever of it the viewport shows.
    fn draw(
        &self,
        pass: &mut wgpu::RenderPass<'_>,
        area: Area,
        (pipeline, group): (&wgpu::RenderPipeline, &wgpu::BindGroup),
    ) {
        let Some(shown) = area.within(self.limits.max_texture_dimension_2d) else {
            return;
        };
        pass.set_viewport(shown.x, shown.y, shown.width, shown.height, 0.0, 1.0);
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, group, &[]);
        pass.draw(0..3, 0..1);
    }

    fn compute(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        picture: &Picture<'_>,
        target: &Target<'_>,
        conversion: &Conversion,
        stage: Stage,
    ) -> Result<Converted, ConvertError> {
        let plan = self.plan(picture, target.area(), conversion, stage, target.format())?;
        let Stage::Compute {
            group: (x, y),
            row_pairs,
            ..
        } = plan.variant.stage
        else {
            // It was given above.
            return Ok(plan.done);
        };
        let mut state = self.state();
        let (pipeline, group, output) = state.compute(self, &plan, target.view());
        let [columns, mut rows] = plan.params.extent.map(|n| n as u32);
        if row_pairs {
            rows = (rows + plan.params.pair[1] as u32).div_ceil(2);
        }
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("dmaframe convert"),
            timestamp_writes: None,
        });
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.set_bind_group(1, &output, &[]);
        pass.dispatch_workgroups(columns.div_ceil(x), rows.div_ceil(y), 1);
        Ok(plan.done)
    }

    fn plan(
        &self,
        picture: &Picture<'_>,
        area: Area,
        conversion: &Conversion,
        mut stage: Stage,
        format: wgpu::TextureFormat,
    ) -> Result<Plan, ConvertError> {
        let fourcc = picture.fourcc;
        let kind = Kind::of(fourcc).ok_or(ConvertError::Format { fourcc })?;
        let reading = Reading::of(fourcc, kind, picture.size, picture.color, conversion.assume)?;
        let light = light(&reading.color, conversion)?;
        let crop = conversion.crop.unwrap_or(picture.visible);
        if !crop.fits(picture.size) {
            return Err(ConvertError::Crop {
                rect: crop,
                size: picture.size,
            });
        }
        if !area.is_sane() {
            let Area { x, y, width, height } = area;
            return Err(ConvertError::Area { x, y, width, height });
        }
        let orientation = conversion.orientation.unwrap_or(picture.orientation);
        let mut params = Params {
            rows: reading.rows,
            ..Params::default()
        };
        let place = (picture.size, crop);
        let sampling = convert::place(&mut params, place, orientation, area, conversion.filter);
        convert::site(&mut params, kind, reading.color.siting, conversion.chroma);
        if let Stage::Compute { row_pairs, .. } = &mut stage {
            *row_pairs = *row_pairs && convert::pair_rows(&mut params, kind, sampling, conversion.chroma);
        }
        let (bound, input) = Bound::new(picture, kind, (&self.gpu, &self.limits), &mut params)?;
        let srgb = format.is_srgb();
        let variant = Variant {
            kind,
            input,
            stage,
            sampling,
            // Without sub-sampling there is nothing to filter.
            chroma: if kind.sub() == (0, 0) {
                convert::ChromaFilter::Nearest
            } else {
                conversion.chroma
            },
            range: if kind.is_yuv() {
                Range::Unspecified
            } else {
                reading.color.range
            },
            light,
            transfer: (light != Light::Encoded).then_some(reading.color.transfer),
            srgb_target: srgb,
            float_target: target::is_float(format),
        };
        Ok(Plan {
            variant,
            params,
            bound,
            done: Converted {
                size: convert::upright(crop, orientation),
                source: reading.color,
                result: result(reading.color, light, srgb),
                assumed: reading.assumed,
            },
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panicking thread left is whole: entries are added when they are done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converter").finish_non_exhaustive()
    }
}

impl State {
    fn render(
        &mut self,
        converter: &Converter,
        plan: &Plan,
        key: RenderKey,
    ) -> Result<(wgpu::RenderPipeline, wgpu::BindGroup), ConvertError> {
        let device = converter.gpu.device();
        let layout = self.pipelines.layout(device, plan.bound.layout());
        let group = self.groups.source(device, &layout, &plan.bound, &plan.params);
        let pipeline = self.pipelines.render(device, &layout, &plan.variant, key)?;
        Ok((pipeline, group))
    }

    fn compute(
        &mut self,
        converter: &Converter,
        plan: &Plan,
        view: &wgpu::TextureView,
    ) -> (wgpu::ComputePipeline, wgpu::BindGroup, wgpu::BindGroup) {
        let device = converter.gpu.device();
        let layout = self.pipelines.layout(device, plan.bound.layout());
        let group = self.groups.source(device, &layout, &plan.bound, &plan.params);
        let format = view.texture().format();
        let output = self.pipelines.output_layout(device, format);
        let target = self.groups.target(device, &output, view);
        let pipeline = self.pipelines.compute(device, &[&layout, &output], &plan.variant);
        (pipeline, group, target)
    }
}

/// Whether the source's light can become what was asked for, and what is left to do.
fn light(color: &ColorInfo, conversion: &Conversion) -> Result<Light, ConvertError> {
    let transfer = color.transfer;
    let high = matches!(transfer, 16 | 18);
    match conversion.light {
        Light::Encoded if high && conversion.high_range == HighRange::Refuse => {
            Err(ConvertError::HighRange { transfer })
        }
        Light::Encoded => Ok(Light::Encoded),
        Light::Srgb if transfer == 13 => Ok(Light::Encoded),
        Light::Srgb if high => Err(ConvertError::Transfer {
            transfer,
            wanted: "sRGB",
        }),
        wanted if matches!(transfer, 1 | 4..=8 | 13..=16 | 18) => Ok(wanted),
        _ => Err(ConvertError::Transfer {
            transfer,
            wanted: "linear light",
        }),
    }
}

fn result(source: ColorInfo, light: Light, srgb_target: bool) -> ColorInfo {
    ColorInfo {
        matrix: 0,
        range: Range::Full,
        siting: ChromaSiting::Unspecified,
        transfer: match light {
            Light::Encoded => source.transfer,
            Light::Linear if !srgb_target => 8,
            _ => 13,
        },
        ..source
    }
}
