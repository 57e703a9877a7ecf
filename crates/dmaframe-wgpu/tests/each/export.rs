// What the files of `export/` share. Included once for each version of wgpu; `dw` is this crate's module for it.

use std::sync::Arc;
use std::time::Duration;

use dmaframe_alloc::{Allocator, Memfd, Request, Udmabuf};
use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::{
    Budget, Buffer, ChromaSiting, Clock, ColorInfo, Deadline, Fence, Fourcc, Frame, FrameMeta, FrameParts,
    Layout, Lease, ObjectKind, Range, Size, Starvation, SyncFile, Timestamp, next_generation,
};
use dmaframe_testkit::{Device, Leaks, SwSync, need, rss_kib};
use dmaframe_wgpu::{Error, ExportMemory, GpuOptions, Level};
use dmaframe_wgpu::vulkan::ash::ext;
use dw::ExportPool;

use crate::common::{SOON, picture};

/// A texture with these pixels.
fn texture(gpu: &Gpu, size: Size, rgba: &[u8]) -> wgpu::TextureView {
    let extent = wgpu::Extent3d {
        width: size.width,
        height: size.height,
        depth_or_array_layers: 1,
    };
    let texture = gpu.device().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: extent,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let stride = (size.width * 4).next_multiple_of(256);
    let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(stride) * u64::from(size.height),
        usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let rows = rgba.chunks_exact(size.width as usize * 4);
    let padded: Vec<u8> = rows
        .flat_map(|row| {
            row.iter()
                .copied()
                .chain(std::iter::repeat(0))
                .take(stride as usize)
        })
        .collect();
    gpu.queue().write_buffer(&buffer, 0, &padded);
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    let from = wgpu::TexelCopyBufferInfo {
        buffer: &buffer,
        layout: wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: Some(stride),
            rows_per_image: None,
        },
    };
    encoder.copy_buffer_to_texture(from, texture.as_image_copy(), extent);
    gpu.queue().submit([encoder.finish()]);
    texture.create_view(&wgpu::TextureViewDescriptor::default())
}

/// One frame of the pool that shows the texture.
fn export(pool: &ExportPool, view: &wgpu::TextureView) -> Frame {
    let mut target = pool.acquire(SOON).unwrap();
    target.set_source(view);
    let exporting = target.submit([], &FrameMeta::default()).unwrap();
    exporting.frame(SOON).unwrap()
}

fn tight(frame: &Frame) -> Vec<u8> {
    frame.map_read(SOON).unwrap().to_tight().unwrap()
}

/// The CPU's conversion of the same pixels.
fn reference(size: Size, rgba: &[u8], fourcc: Fourcc, color: ColorInfo) -> Vec<u8> {
    let layout = Layout::tight(Fourcc::ABGR8888, size).unwrap();
    let mut meta = FrameMeta::default();
    meta.color = ColorInfo::SRGB;
    let source = Frame::from_bytes(rgba.to_vec(), &layout, meta).unwrap();
    let layout = Layout::tight(fourcc, size).unwrap();
    let len = usize::try_from(layout.tight_len()).unwrap();
    let mut out = Frame::from_bytes(vec![0; len], &layout, FrameMeta::default()).unwrap();
    let mut converter = Converter::new(Assume::Refuse).encode_as(color);
    converter.to_frame(&source, &mut out, Deadline::NEVER).unwrap();
    tight(&out)
}

#[track_caller]
fn near(seen: &[u8], wanted: &[u8], by: u8, what: &str) {
    assert_eq!(seen.len(), wanted.len(), "{what}");
    let worst = seen
        .iter()
        .zip(wanted)
        .enumerate()
        .max_by_key(|(_, (a, b))| a.abs_diff(**b));
    if let Some((at, (a, b))) = worst {
        assert!(a.abs_diff(*b) <= by, "{what}: byte {at} is {a}, wanted {b}");
    }
}

/// Sizes that are no multiple of anything, and one that is.
const SIZES: [Size; 4] = [
    Size::new(3, 1),
    Size::new(67, 35),
    Size::new(130, 6),
    Size::new(64, 32),
];

fn centred(color: ColorInfo) -> ColorInfo {
    ColorInfo {
        siting: ChromaSiting::Center,
        ..color
    }
}

/// All formats and sizes through pools that `make` makes.
fn every_format(
    gpu: &Gpu,
    sizes: &[Size],
    memory: ExportMemory,
    make: impl Fn(Fourcc, Size, ColorInfo) -> ExportPool,
) {
    for (seed, size) in sizes.iter().copied().enumerate() {
        let rgba = picture(size.width as usize * size.height as usize * 4, seed as u8);
        let view = texture(gpu, size, &rgba);
        for fourcc in [
            Fourcc::ABGR8888,
            Fourcc::XBGR8888,
            Fourcc::ARGB8888,
            Fourcc::XRGB8888,
        ] {
            let pool = make(fourcc, size, ColorInfo::SRGB);
            assert_eq!(pool.memory(), memory, "{:?}", pool.passed_over());
            let opaque = matches!(fourcc, Fourcc::XBGR8888 | Fourcc::XRGB8888);
            let blue_first = matches!(fourcc, Fourcc::ARGB8888 | Fourcc::XRGB8888);
            let wanted: Vec<u8> = rgba
                .chunks_exact(4)
                .flat_map(|p| {
                    let a = if opaque { 255 } else { p[3] };
                    if blue_first {
                        [p[2], p[1], p[0], a]
                    } else {
                        [p[0], p[1], p[2], a]
                    }
                })
                .collect();
            let frame = export(&pool, &view);
            assert_eq!(frame.as_dmabuf().is_some(), memory.is_dmabuf());
            assert!(
                tight(&frame) == wanted,
                "{fourcc} {size} in {memory}: not the rendered pixels"
            );
        }
        for color in [
            centred(ColorInfo::BT709),
            ColorInfo::JFIF,
            centred(ColorInfo {
                matrix: 9,
                ..ColorInfo::BT709
            }),
        ] {
            for fourcc in [Fourcc::NV12, Fourcc::YUV420] {
                let pool = make(fourcc, size, color);
                let frame = export(&pool, &view);
                assert_eq!(frame.meta().color, color);
                let wanted = reference(size, &rgba, fourcc, color);
                near(
                    &tight(&frame),
                    &wanted,
                    1,
                    &format!("{fourcc} {size} {color:?} in {memory}"),
                );
            }
        }
    }
}

fn exported(gpu: &Gpu) -> impl Fn(Fourcc, Size, ColorInfo) -> ExportPool {
    |fourcc, size, color| {
        let builder = ExportPool::builder(gpu, fourcc, size).color(color).slots(1);
        builder.build().unwrap()
    }
}

/// Buffers of an allocator, rows `align` bytes apart.
fn buffers(
    allocator: &dyn Allocator,
    fourcc: Fourcc,
    size: Size,
    align: u32,
    slots: usize,
) -> Vec<Arc<Buffer>> {
    let layout = Layout::linear(fourcc, size, align).unwrap();
    let made = allocator.allocate_set(&Request::exact(layout), slots, next_generation());
    made.unwrap().into_iter().map(Arc::new).collect()
}

/// The same in buffers of an allocator: for some sizes with rows so many bytes apart, each.
fn every_format_in(gpu: &Gpu, allocator: &dyn Allocator, memory: ExportMemory, ways: [(u32, &[Size]); 2]) {
    for (align, sizes) in ways {
        every_format(gpu, sizes, memory, |fourcc, size, color| {
            let slots = buffers(allocator, fourcc, size, align, 1);
            let builder = ExportPool::builder(gpu, fourcc, size).color(color);
            builder.buffers(slots).build().unwrap()
        });
    }
}

/// An NV12 picture out of a pool over an allocator's buffers.
struct Shown {
    pool: ExportPool,
    slots: Vec<Arc<Buffer>>,
    frame: Frame,
    wanted: Vec<u8>,
}

fn shown_in(gpu: &Gpu, allocator: &dyn Allocator, align: u32, slots: usize) -> Shown {
    let size = Size::new(67, 35);
    let slots = buffers(allocator, Fourcc::NV12, size, align, slots);
    let builder = ExportPool::builder(gpu, Fourcc::NV12, size);
    let pool = builder.buffers(slots.clone()).build().unwrap();
    let rgba = picture(67 * 35 * 4, 9);
    let frame = export(&pool, &texture(gpu, size, &rgba));
    assert!(slots.iter().any(|slot| slot.id() == frame.buffer_id()));
    Shown {
        wanted: reference(size, &rgba, Fourcc::NV12, pool.color()),
        pool,
        slots,
        frame,
    }
}

/// A device that can be given pages of the CPU's.
fn pages() -> Option<Bench> {
    let bench = Bench::ours()?;
    let name = ext::external_memory_host::NAME;
    if !bench.gpu.vulkan().is_some_and(|gpu| gpu.extensions().has(name)) {
        dmaframe_testkit::skip("no VK_EXT_external_memory_host");
        return None;
    }
    Some(bench)
}

/// Fills a target with one grey.
fn clear(gpu: &Gpu, view: &wgpu::TextureView, level: f64) -> wgpu::CommandBuffer {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    drop(encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
        color_attachments: &[Some(wgpu::RenderPassColorAttachment {
            view,
            depth_slice: None,
            resolve_target: None,
            ops: wgpu::Operations {
                load: wgpu::LoadOp::Clear(wgpu::Color {
                    r: level,
                    g: level,
                    b: level,
                    a: 1.0,
                }),
                store: wgpu::StoreOp::Store,
            },
        })],
        ..Default::default()
    }));
    encoder.finish()
}

/// Renders frame number `n` into a free slot.
fn render(gpu: &Gpu, pool: &ExportPool, n: u64) -> Frame {
    let target = pool.acquire(SOON).unwrap();
    let commands = clear(gpu, &target.view(), (n % 256) as f64 / 255.0);
    let mut meta = FrameMeta::default();
    meta.sequence = Some(n);
    target.submit([commands], &meta).unwrap().frame(SOON).unwrap()
}
