//! Text over the picture: what its way cost, and how regular it comes.

use std::time::Duration;

use dmaframe::Size;
use dmaframe_wgpu::v30::{Gpu, Overlay, wgpu};
use egui::{Align2, Color32, Pos2, RichText, Stroke, Vec2};
use egui_wgpu::{RendererOptions, ScreenDescriptor};

const GRAPH: Vec2 = Vec2::new(300.0, 48.0);

/// What is to be written.
#[derive(Default)]
pub(super) struct Info {
    /// Lines in the corner, with the graph below.
    pub(super) lines: Vec<String>,
    /// Times between the last pictures shown.
    pub(super) intervals: Vec<Duration>,
    /// In the middle.
    pub(super) message: Option<String>,
}

/// egui, without its input half: there is nothing to click.
pub(super) struct Text {
    pub(super) info: Info,
    /// Pixels a point.
    pub(super) scale: f32,
    context: egui::Context,
    renderer: egui_wgpu::Renderer,
    shapes: Vec<egui::ClippedPrimitive>,
    screen: ScreenDescriptor,
    /// No longer wanted, once what was painted with them is submitted.
    free: Vec<egui::TextureId>,
}

impl Text {
    pub(super) fn new(gpu: &Gpu, format: wgpu::TextureFormat) -> Self {
        Self {
            info: Info::default(),
            scale: 1.0,
            context: egui::Context::default(),
            renderer: egui_wgpu::Renderer::new(gpu.device(), format, RendererOptions::default()),
            shapes: Vec::new(),
            screen: ScreenDescriptor {
                size_in_pixels: [1, 1],
                pixels_per_point: 1.0,
            },
            free: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.info.lines.is_empty() && self.info.message.is_none()
    }
}

impl Overlay for Text {
    fn prepare(
        &mut self,
        gpu: &Gpu,
        encoder: &mut wgpu::CommandEncoder,
        size: Size,
    ) -> Vec<wgpu::CommandBuffer> {
        let points = Vec2::new(size.width as f32, size.height as f32) / self.scale;
        let mut input = egui::RawInput {
            screen_rect: Some(egui::Rect::from_min_size(Pos2::ZERO, points)),
            ..Default::default()
        };
        let viewport = input.viewports.entry(input.viewport_id).or_default();
        viewport.native_pixels_per_point = Some(self.scale);
        let mut output = self.context.run_ui(input, |ui| write(ui.ctx(), &self.info));
        let (device, queue) = (gpu.device(), gpu.queue());
        for id in self.free.drain(..) {
            self.renderer.free_texture(&id);
        }
        for (id, deltas) in output.textures_delta.set.drain() {
            for delta in deltas {
                self.renderer.update_texture(device, queue, id, &delta);
            }
        }
        self.free.extend(output.textures_delta.free.drain());
        self.screen = ScreenDescriptor {
            size_in_pixels: [size.width, size.height],
            pixels_per_point: output.pixels_per_point,
        };
        self.shapes = self.context.tessellate(output.shapes, output.pixels_per_point);
        self.renderer
            .update_buffers(device, queue, encoder, &self.shapes, &self.screen)
    }

    fn paint(&mut self, pass: &mut wgpu::RenderPass<'static>) {
        self.renderer.render(pass, &self.shapes, &self.screen);
    }
}

fn write(context: &egui::Context, info: &Info) {
    let shade = Color32::from_black_alpha(170);
    let frame = egui::Frame::new().fill(shade).inner_margin(8.0);
    let text = |line: &str| RichText::new(line).color(Color32::WHITE).monospace();
    if !info.lines.is_empty() {
        let area = egui::Area::new(egui::Id::unique("info")).anchor(Align2::LEFT_TOP, [8.0, 8.0]);
        area.show(context, |ui| {
            frame.show(ui, |ui| {
                for line in &info.lines {
                    ui.label(text(line).small());
                }
                graph(ui, &info.intervals);
            })
        });
    }
    if let Some(message) = &info.message {
        let area = egui::Area::new(egui::Id::unique("message")).anchor(Align2::CENTER_CENTER, [0.0, 0.0]);
        area.show(context, |ui| frame.show(ui, |ui| ui.label(text(message))));
    }
}

/// A bar for each picture, as high as the time since the one before; the line is twice the mean.
fn graph(ui: &mut egui::Ui, intervals: &[Duration]) {
    let (room, painter) = ui.allocate_painter(GRAPH, egui::Sense::hover());
    let mean = intervals.iter().sum::<Duration>().as_secs_f32() / intervals.len().max(1) as f32;
    let bottom = room.rect.left_bottom();
    let height = |seconds: f32| (seconds / mean.max(1e-6) * GRAPH.y / 3.0).min(GRAPH.y);
    for (index, interval) in intervals.iter().enumerate() {
        let x = bottom.x + index as f32 * GRAPH.x / super::KEPT as f32;
        let top = bottom.y - height(interval.as_secs_f32());
        let late = interval.as_secs_f32() > 2.0 * mean;
        let color = if late { Color32::RED } else { Color32::GREEN };
        painter.vline(x, top..=bottom.y, Stroke::new(2.0, color));
    }
    let y = bottom.y - height(2.0 * mean);
    painter.hline(room.rect.x_range(), y, Stroke::new(1.0, Color32::GRAY));
}
