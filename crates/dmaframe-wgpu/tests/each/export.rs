// Included once for each version of wgpu; `dw` is this crate's module for it.

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

#[test]
fn exported_memory_holds_the_rendered_picture_in_every_format_and_size() {
    let Some(bench) = Bench::plain() else { return };
    if !bench.dmabufs() {
        return;
    }
    every_format(&bench.gpu, &SIZES, ExportMemory::Exported, exported(&bench.gpu));
    bench.done();
}

#[test]
fn so_it_does_on_a_device_with_fences_and_foreign_barriers() {
    let Some(bench) = Bench::ours() else { return };
    if !bench.dmabufs() {
        return;
    }
    assert!(bench.gpu.level() >= Level::Release);
    every_format(
        &bench.gpu,
        &SIZES[1..2],
        ExportMemory::Exported,
        exported(&bench.gpu),
    );
    bench.done();
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

#[test]
fn an_allocators_dma_bufs_hold_it_too_whatever_their_strides() {
    let _ = need!(Device::Udmabuf);
    let Some(bench) = Bench::plain() else { return };
    if !bench.dmabufs() {
        return;
    }
    for (align, sizes) in [(4, &SIZES[1..2]), (64, &SIZES[2..3])] {
        every_format(
            &bench.gpu,
            sizes,
            ExportMemory::Imported,
            |fourcc, size, color| {
                let slots = buffers(&Udmabuf::new(), fourcc, size, align, 1);
                let builder = ExportPool::builder(&bench.gpu, fourcc, size).color(color);
                builder.buffers(slots).build().unwrap()
            },
        );
    }
    bench.done();
}

#[test]
fn without_dma_bufs_the_same_calls_read_back_and_say_why() {
    let Some(bench) = Bench::plain_with(GpuOptions::default().without_vulkan()) else {
        return;
    };
    every_format(
        &bench.gpu,
        &SIZES[1..2],
        ExportMemory::Readback,
        |fourcc, size, color| {
            let pool = exported(&bench.gpu)(fourcc, size, color);
            let why: Vec<_> = pool.passed_over().iter().map(ToString::to_string).collect();
            assert_eq!(
                why,
                [
                    "exported dma-buf not used: wgpu does not run on Vulkan here",
                    "host pointer not used: wgpu does not run on Vulkan here"
                ]
            );
            pool
        },
    );
    // Into memory of somebody's choosing.
    let size = Size::new(67, 35);
    let slots = buffers(&Memfd::new(), Fourcc::NV12, size, 4, 2);
    let pool = ExportPool::builder(&bench.gpu, Fourcc::NV12, size)
        .buffers(slots.clone())
        .build()
        .unwrap();
    let rgba = picture(67 * 35 * 4, 9);
    let frame = export(&pool, &texture(&bench.gpu, size, &rgba));
    assert!(slots.iter().any(|slot| slot.id() == frame.buffer_id()));
    near(
        &tight(&frame),
        &reference(size, &rgba, Fourcc::NV12, pool.color()),
        1,
        "memfd",
    );
    let counts = pool.hop().counts();
    assert_eq!(
        (counts.cpu_bytes, counts.gpu_bytes),
        (frame.layout().tight_len(), 0)
    );
    assert!(
        counts
            .reason
            .is_some_and(|reason| reason.starts_with("read back"))
    );
    drop((frame, pool));
    bench.done();
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

#[test]
fn without_dma_bufs_the_gpu_copies_every_format_and_size_into_memfds() {
    let Some(bench) = pages() else { return };
    every_format(
        &bench.gpu,
        &SIZES,
        ExportMemory::HostPointer,
        |fourcc, size, color| {
            let builder = ExportPool::builder(&bench.gpu, fourcc, size).color(color);
            let pool = builder.slots(1).without(ExportMemory::Exported).build().unwrap();
            assert_eq!(
                pool.passed_over()[0].to_string(),
                "exported dma-buf not used: switched off"
            );
            pool
        },
    );
    bench.done();
}

#[test]
fn memfds_of_an_allocator_hold_it_too_and_go_on_to_others_as_ordinary_frames() {
    let Some(bench) = pages() else { return };
    for (align, sizes) in [(4, &SIZES[1..2]), (256, &SIZES[2..3])] {
        every_format(
            &bench.gpu,
            sizes,
            ExportMemory::HostPointer,
            |fourcc, size, color| {
                let slots = buffers(&Memfd::new(), fourcc, size, align, 1);
                let builder = ExportPool::builder(&bench.gpu, fourcc, size).color(color);
                builder.buffers(slots).build().unwrap()
            },
        );
    }
    let size = Size::new(67, 35);
    let slots = buffers(&Memfd::new(), Fourcc::NV12, size, 4, 2);
    let pool = ExportPool::builder(&bench.gpu, Fourcc::NV12, size)
        .buffers(slots.clone())
        .build()
        .unwrap();
    let passed_over: Vec<_> = pool.passed_over().iter().map(|passed| passed.memory).collect();
    assert_eq!(passed_over, [ExportMemory::Imported]);
    let rgba = picture(67 * 35 * 4, 9);
    let frame = export(&pool, &texture(&bench.gpu, size, &rgba));
    let wanted = reference(size, &rgba, Fourcc::NV12, pool.color());
    assert!(slots.iter().any(|slot| slot.id() == frame.buffer_id()));
    assert!(frame.acquire().is_done().unwrap());
    let view = frame.map_read(Deadline::now()).unwrap();
    assert!(view.has_slices(), "the claim keeps views away; nothing was lent");
    near(&view.to_tight().unwrap(), &wanted, 1, "slices");
    drop(view);
    let counts = pool.hop().counts();
    assert_eq!(
        (counts.cpu_bytes, counts.gpu_bytes),
        (0, frame.layout().tight_len())
    );

    // Another process's way in: descriptors and planes.
    let layout = frame.layout();
    let mut parts = FrameParts::new(layout.fourcc(), layout.size());
    parts.planes = layout.planes().to_vec();
    let objects = frame.buffer().objects();
    assert_eq!(objects[0].kind(), ObjectKind::Memfd);
    let fd = objects[0].lend(0).unwrap();
    parts.objects = vec![fd.try_clone_to_owned().unwrap()];
    let peer = Frame::try_from(parts).unwrap();
    near(&tight(&peer), &wanted, 1, "a peer");
    // And back to a GPU by its own route.
    let importer = Importer::new(&bench.gpu);
    let imported = importer.import(&peer).unwrap();
    assert_eq!(imported.route(), dmaframe_wgpu::Route::HostPointer);
    near(&bench.read(&imported), &wanted, 1, "a GPU");
    drop((imported, importer, peer, frame, pool, slots));
    bench.done();
}

#[test]
fn each_kind_of_memory_that_cannot_be_had_is_named_and_the_next_one_taken() {
    use ExportMemory::{Exported, HostPointer, Readback};
    let Some(bench) = pages() else { return };
    let size = Size::new(8, 8);
    let without = |gpu: &Gpu, off: &[ExportMemory]| {
        let builder = ExportPool::builder(gpu, Fourcc::NV12, size);
        let pool = off.iter().fold(builder, |builder, memory| builder.without(*memory));
        let pool = pool.build().unwrap();
        let frame = render(gpu, &pool, 235);
        assert!(tight(&frame)[..64].iter().all(|y| *y == tight(&frame)[0]));
        let kind = frame.buffer().objects().first().map(|object| object.kind());
        let why: Vec<_> = pool.passed_over().iter().map(ToString::to_string).collect();
        (pool.memory(), kind, why)
    };
    let off = |memory: &str| format!("{memory} not used: switched off");
    let (dmabuf, host) = (off("exported dma-buf"), off("host pointer"));
    if bench.dmabufs() {
        let best = without(&bench.gpu, &[]);
        assert_eq!(best, (Exported, Some(ObjectKind::Dmabuf), vec![]));
    }
    let next = without(&bench.gpu, &[Exported]);
    assert_eq!(
        next,
        (HostPointer, Some(ObjectKind::Memfd), vec![dmabuf.clone()])
    );
    let last = without(&bench.gpu, &[Exported, HostPointer]);
    assert_eq!(last, (Readback, None, vec![dmabuf.clone(), host.clone()]));
    // A toolkit's device has not the extension on.
    let Some(plain) = Bench::plain() else { return };
    let (memory, _, why) = without(&plain.gpu, &[Exported]);
    assert_eq!(memory, Readback);
    assert_eq!(why[0], dmabuf);
    assert!(
        why[1].contains("VK_EXT_external_memory_host (not supported, or not enabled"),
        "{why:?}"
    );
    let all = ExportPool::builder(&bench.gpu, Fourcc::NV12, size);
    let all = all.without(Exported).without(HostPointer).without(Readback);
    let none = all.build().unwrap_err().to_string();
    assert_eq!(
        none,
        format!("no memory to export from: {dmabuf}; {host}; readback not used: switched off")
    );
    plain.done();
    bench.done();
}

/// Whoever else has a slot's buffer cannot look at it while the GPU writes, whatever becomes of picture and pool.
#[test]
fn no_view_of_a_memfd_exists_while_the_gpu_writes_it() {
    let Some(bench) = pages() else { return };
    let (gpu, size) = (&bench.gpu, Size::new(512, 512));
    let frame_of = |buffer: &Arc<Buffer>| {
        let meta = FrameMeta::default();
        Frame::new(Arc::clone(buffer), meta, Fence::Signaled, Lease::none())
    };
    let (mut kept_away, until) = (0, std::time::Instant::now() + SOON);
    for round in 0..6 {
        let slots = buffers(&Memfd::new(), Fourcc::ABGR8888, size, 4, 1);
        let builder = ExportPool::builder(gpu, Fourcc::ABGR8888, size).buffers(slots.clone());
        let mut pool = Some(builder.build().unwrap());
        let target = pool.as_ref().unwrap().acquire(SOON).unwrap();
        assert!(frame_of(&slots[0]).is_err(), "a target is a claim");
        let view = target.view();
        let mut commands: Vec<_> = (0..20).map(|_| clear(gpu, &view, 0.0)).collect();
        commands.push(clear(gpu, &view, 1.0));
        let exporting = target.submit(commands, &FrameMeta::default()).unwrap();
        match round % 3 {
            // The picture is waited for: then it is a frame, and no second one.
            0 => {
                let frame = exporting.frame(SOON).unwrap();
                assert!(tight(&frame).iter().all(|byte| *byte == 255));
                assert!(frame_of(&slots[0]).is_err(), "it is in a frame");
                continue;
            }
            // Nobody wants it.
            1 => drop(exporting),
            // Nor the pool, whose last owner the picture is.
            _ => {
                drop(pool.take());
                drop(exporting);
            }
        }
        let frame = loop {
            assert!(std::time::Instant::now() < until);
            match frame_of(&slots[0]) {
                Ok(frame) => break frame,
                Err(error) => assert!(
                    matches!(error, dmaframe_core::Error::InUse { .. }),
                    "{error}"
                ),
            }
            kept_away += 1;
            // A pool looks at its slots when it is asked for one.
            drop(pool.as_ref().map(ExportPool::try_acquire));
        };
        assert!(
            tight(&frame).iter().all(|byte| *byte == 255),
            "round {round}: seen before it was written"
        );
    }
    assert!(kept_away > 0, "lavapipe's thread was never behind this one");
    bench.done();
}

/// Slots whose rows do not begin at words cannot be written by whole words; the pool falls back, and says so by number.
#[test]
fn slots_that_the_shader_cannot_write_are_read_back_into() {
    let _ = need!(Device::Udmabuf);
    let Some(bench) = Bench::plain() else { return };
    if !bench.dmabufs() {
        return;
    }
    let size = Size::new(67, 35);
    let slots = buffers(&Udmabuf::new(), Fourcc::NV12, size, 1, 1);
    let pool = ExportPool::builder(&bench.gpu, Fourcc::NV12, size)
        .buffers(slots)
        .build()
        .unwrap();
    assert_eq!(
        pool.passed_over()[0].to_string(),
        "imported dma-buf not used: plane 0: offset 0 and stride 67 must be multiples of 4"
    );
    let rgba = picture(67 * 35 * 4, 9);
    let frame = export(&pool, &texture(&bench.gpu, size, &rgba));
    assert!(frame.as_dmabuf().is_some(), "the CPU wrote the dma-buf");
    near(
        &tight(&frame),
        &reference(size, &rgba, Fourcc::NV12, pool.color()),
        1,
        "udmabuf",
    );
    drop((frame, pool));
    bench.done();
}

/// H.273 and the sitings, in 64-bit arithmetic: the reference for what the CPU's converter does not do.
fn sited(size: Size, rgba: &[u8], siting: ChromaSiting) -> Vec<u8> {
    let (kr, kb) = (0.2126, 0.0722);
    let (width, height) = (i64::from(size.width), i64::from(size.height));
    let pixel = |x: i64, y: i64, channel: usize| {
        let at = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) as usize * 4 + channel;
        f64::from(rgba[at]) / 255.0
    };
    let luma = |rgb: [f64; 3]| kr * rgb[0] + (1.0 - kr - kb) * rgb[1] + kb * rgb[2];
    let code = |value: f64| value.round().clamp(0.0, 255.0) as u8;
    let mut out = Vec::new();
    for y in 0..height {
        for x in 0..width {
            out.push(code(16.0 + 219.0 * luma([0, 1, 2].map(|c| pixel(x, y, c)))));
        }
    }
    // Taps at x - 1, x, x + 1 of the upper left pixel.
    let taps = |sited: bool| if sited { [0.25, 0.5, 0.25] } else { [0.0, 0.5, 0.5] };
    let across = taps(matches!(siting, ChromaSiting::Left | ChromaSiting::TopLeft));
    let down = taps(siting == ChromaSiting::TopLeft);
    for y in (0..height).step_by(2) {
        for x in (0..width).step_by(2) {
            let rgb = [0, 1, 2].map(|c| {
                let mut sum = 0.0;
                for (j, wy) in (-1..).zip(down) {
                    for (i, wx) in (-1..).zip(across) {
                        sum += wx * wy * pixel(x + i, y + j, c);
                    }
                }
                sum
            });
            let luma = luma(rgb);
            out.push(code(128.0 + 224.0 * (rgb[2] - luma) / (2.0 * (1.0 - kb))));
            out.push(code(128.0 + 224.0 * (rgb[0] - luma) / (2.0 * (1.0 - kr))));
        }
    }
    out
}

#[test]
fn chroma_is_where_the_frame_says_it_is() {
    let Some(bench) = Bench::plain() else { return };
    for size in [SIZES[1], SIZES[2]] {
        let rgba = picture(size.width as usize * size.height as usize * 4, 3);
        let view = texture(&bench.gpu, size, &rgba);
        for siting in [ChromaSiting::Left, ChromaSiting::TopLeft, ChromaSiting::Center] {
            let color = ColorInfo {
                siting,
                ..ColorInfo::BT709
            };
            let nv12 = exported(&bench.gpu)(Fourcc::NV12, size, color);
            let frame = export(&nv12, &view);
            assert_eq!(frame.meta().color.siting, siting);
            let wanted = sited(size, &rgba, siting);
            near(&tight(&frame), &wanted, 1, &format!("{size} {siting:?}"));
            // The other orders of the same samples.
            let seen = tight(&frame);
            let (luma, pairs) = seen.split_at((size.width * size.height) as usize);
            let split = |odd: usize| pairs.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>();
            for (fourcc, chroma) in [
                (Fourcc::NV21, pairs.chunks(2).flat_map(|p| [p[1], p[0]]).collect()),
                (Fourcc::YUV420, [split(0), split(1)].concat()),
                (Fourcc::YVU420, [split(1), split(0)].concat()),
            ] {
                let other = tight(&export(&exported(&bench.gpu)(fourcc, size, color), &view));
                assert!(
                    other == [luma, &chroma[..]].concat(),
                    "{fourcc} {size} {siting:?}"
                );
            }
        }
    }
    bench.done();
}

#[test]
fn packed_4_2_2_keeps_every_row_of_chroma() {
    let Some(bench) = Bench::plain() else { return };
    // Rows of one colour each: chroma is that colour's, on every row.
    let size = Size::new(6, 4);
    let colors = [
        [255, 0, 0, 255],
        [0, 255, 0, 255],
        [0, 0, 255, 255],
        [255, 255, 255, 255u8],
    ];
    let rgba: Vec<u8> = colors.iter().flat_map(|color| color.repeat(6)).collect();
    let view = texture(&bench.gpu, size, &rgba);
    let frame = export(&exported(&bench.gpu)(Fourcc::YUYV, size, ColorInfo::BT709), &view);
    // Y, Cb, Cr of the primaries in BT.709.
    let codes = [[63, 102, 240], [173, 42, 26], [32, 240, 118], [235, 128, 128u8]];
    let wanted: Vec<u8> = codes
        .iter()
        .flat_map(|[y, u, v]| [*y, *u, *y, *v].repeat(3))
        .collect();
    near(&tight(&frame), &wanted, 1, "YUYV");
    drop(frame);
    bench.done();
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

/// `DMAFRAME_SOAK=1` runs it in full.
fn steady(bench: &Bench, frames: u64, memory: ExportMemory) {
    let frames = if std::env::var_os("DMAFRAME_SOAK").is_some() {
        frames
    } else {
        frames / 20
    };
    let gpu = &bench.gpu;
    let builder = ExportPool::builder(gpu, Fourcc::ABGR8888, Size::new(32, 16));
    let pool = match memory {
        ExportMemory::HostPointer => builder.without(ExportMemory::Exported).build().unwrap(),
        _ => builder.build().unwrap(),
    };
    assert_eq!(pool.memory(), memory, "{:?}", pool.passed_over());
    let objects = |bench: &Bench| format!("{:?}", bench.instance.generate_report().unwrap().hub_report());
    let mut start = None;
    for n in 0..frames {
        let frame = render(gpu, &pool, n);
        assert_eq!(frame.meta().sequence, Some(n));
        if n % 50 == 0 {
            let grey = (n % 256) as u8;
            assert_eq!(tight(&frame)[..4], [grey, grey, grey, 255], "frame {n}");
        }
        drop(frame);
        if n == frames / 10 {
            assert!(gpu.settle(SOON));
            gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
            start = Some((
                Leaks::now(),
                rss_kib(),
                gpu.vulkan().map(|g| g.live()),
                objects(bench),
            ));
        }
    }
    assert!(gpu.settle(SOON));
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let (leaks, rss, live, report) = start.unwrap();
    leaks.check();
    assert_eq!(gpu.vulkan().map(|g| g.live()), live);
    assert_eq!(objects(bench), report, "wgpu's objects");
    let grown = rss_kib().saturating_sub(rss);
    assert!(grown < 4096, "{grown} KiB more after {frames} frames");
    let counts = pool.counts();
    assert_eq!((counts.shared, counts.detached, counts.starved), (frames, 0, 0));
    assert_eq!(pool.hop().counts().cpu_bytes, 0);
}

#[test]
fn frames_through_four_slots_leave_nothing_behind() {
    let Some(bench) = Bench::plain() else { return };
    steady(&bench, 10_000, ExportMemory::Exported);
    bench.done();
}

#[test]
fn so_do_frames_in_memfds() {
    let Some(bench) = pages() else { return };
    steady(&bench, 10_000, ExportMemory::HostPointer);
    bench.done();
}

#[test]
fn so_do_frames_with_fences() {
    let Some(bench) = Bench::ours() else { return };
    steady(&bench, 3_000, ExportMemory::Exported);
    bench.done();
}

#[test]
fn a_consumer_that_holds_everything_is_told_and_nothing_is_overwritten() {
    let Some(bench) = Bench::plain() else { return };
    let pool = ExportPool::builder(&bench.gpu, Fourcc::ABGR8888, Size::new(8, 8))
        .build()
        .unwrap();
    let held: Vec<_> = (0..4).map(|n| render(&bench.gpu, &pool, 10 * n)).collect();
    let starved = pool.acquire(Duration::from_millis(30)).unwrap_err();
    assert!(
        matches!(
            starved,
            Error::Starved {
                slots: 4,
                held: 4,
                waiting: 0
            }
        ),
        "{starved}"
    );
    assert!(matches!(pool.try_acquire(), Err(Error::Starved { .. })));
    assert_eq!((pool.counts().starved, pool.counts().waited), (2, 1));
    for (n, frame) in held.iter().enumerate() {
        assert_eq!(tight(frame)[0], 10 * n as u8);
    }
    // One comes home from another thread, while this one waits for it.
    let mut held = held.into_iter();
    let late = held.next();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(late);
    });
    let target = pool.acquire(SOON).unwrap();
    thread.join().unwrap();
    // Not used: free again, as are pictures that nobody asks for.
    drop(target);
    for _ in 0..3 {
        let target = pool.acquire(SOON).unwrap();
        drop(target.submit([], &FrameMeta::default()).unwrap());
    }
    drop(pool.acquire(SOON).unwrap());
    drop((held, pool));
    bench.done();
}

#[test]
fn with_a_budget_the_last_slots_go_out_as_copies() {
    let Some(bench) = Bench::plain() else { return };
    let budget = Budget {
        min_free: 1,
        policy: Starvation::Detach,
    };
    let builder = ExportPool::builder(&bench.gpu, Fourcc::NV12, Size::new(8, 8)).slots(2);
    let pool = builder.budget(budget).build().unwrap();
    let held: Vec<_> = (0..4).map(|n| render(&bench.gpu, &pool, n)).collect();
    let shared: Vec<_> = held.iter().map(|frame| frame.as_dmabuf().is_some()).collect();
    assert_eq!(shared, [true, false, false, false]);
    assert_eq!(pool.counts().detached, 3);
    assert_eq!(pool.hop().counts().reason, Some("consumers hold the other slots"));
    drop((held, pool));
    bench.done();
}

#[test]
fn a_slot_is_not_written_before_its_release_fence_signals() {
    let sync = need!(Device::SwSync);
    let Some(bench) = Bench::plain() else { return };
    let timeline = SwSync::open(&sync).unwrap();
    let pool = ExportPool::builder(&bench.gpu, Fourcc::ABGR8888, Size::new(8, 8))
        .slots(1)
        .build()
        .unwrap();
    let frame = render(&bench.gpu, &pool, 77);
    // A reader that is still at it, and a look at what it reads.
    let reading = frame.buffer().clone();
    frame.release_after(Fence::from(SyncFile::new(timeline.fence(1).unwrap()).unwrap()));
    drop(frame);
    let starved = pool.acquire(Duration::from_millis(30)).unwrap_err();
    assert!(
        matches!(
            starved,
            Error::Starved {
                slots: 1,
                held: 0,
                waiting: 1
            }
        ),
        "{starved}"
    );
    let look = |what| {
        let frame = Frame::new(
            Arc::clone(&reading),
            FrameMeta::default(),
            Fence::Signaled,
            Lease::none(),
        );
        assert_eq!(tight(&frame.unwrap())[0], 77, "{what}");
    };
    look("while the fence is pending");
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        timeline.advance(1).unwrap();
        timeline
    });
    let target = pool.acquire(SOON).unwrap();
    look("nothing has been submitted");
    drop((target, thread.join().unwrap(), pool));
    bench.done();
}

#[test]
fn the_frame_says_what_the_pool_knows_and_what_it_was_told() {
    let Some(bench) = Bench::plain() else { return };
    let pool = ExportPool::builder(&bench.gpu, Fourcc::NV12, Size::new(1280, 8))
        .build()
        .unwrap();
    let mut meta = FrameMeta::default();
    meta.timestamp = Some(Timestamp {
        ns: 5,
        clock: Clock::Boottime,
    });
    meta.sequence = Some(9);
    meta.orientation.mirror = true;
    meta.extensions.insert("gain");
    let exporting = pool.acquire(SOON).unwrap().submit([], &meta).unwrap();
    let frame = exporting.frame(SOON).unwrap();
    let said = frame.meta();
    assert_eq!((said.timestamp, said.sequence), (meta.timestamp, Some(9)));
    assert_eq!(said.extensions.get::<&str>(), Some(&"gain"));
    assert!(!said.orientation.mirror, "the picture was rendered upright");
    let color = said.color;
    assert_eq!(
        (color.matrix, color.range, color.siting),
        (1, Range::Limited, ChromaSiting::Center)
    );
    drop((frame, pool));
    bench.done();
}

/// A frame is never there before its picture: whoever asks again and again gets it when the last of many passes is done.
#[test]
fn a_picture_that_is_not_finished_is_no_frame_yet() {
    for ours in [false, true] {
        let Some(bench) = (if ours { Bench::ours() } else { Bench::plain() }) else {
            return;
        };
        let size = Size::new(512, 512);
        let pool = ExportPool::builder(&bench.gpu, Fourcc::ABGR8888, size)
            .build()
            .unwrap();
        let (mut early, until) = (0, std::time::Instant::now() + SOON);
        for _ in 0..4 {
            let target = pool.acquire(SOON).unwrap();
            let view = target.view();
            let mut commands: Vec<_> = (0..20).map(|_| clear(&bench.gpu, &view, 0.0)).collect();
            commands.push(clear(&bench.gpu, &view, 1.0));
            let mut exporting = target.submit(commands, &FrameMeta::default()).unwrap();
            let frame = loop {
                assert!(std::time::Instant::now() < until);
                match exporting.try_frame() {
                    Ok(frame) => break frame,
                    Err(rejected) => {
                        assert!(matches!(rejected.error, Error::NotReady), "{}", rejected.error);
                        exporting = rejected.value;
                        early += 1;
                    }
                }
            };
            assert!(tight(&frame).iter().all(|byte| *byte == 255));
        }
        assert!(
            early > 0,
            "of four times lavapipe's thread was never behind this one"
        );
        drop(pool);
        bench.done();
    }
}
