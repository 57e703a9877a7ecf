// Included once for each version of wgpu; `dw` is this crate's module for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dmaframe_core::{ColorInfo, Fourcc, Frame, FrameMeta, Layout, Size};
use dmaframe_testkit::{Leaks, rss_kib};
use dmaframe_wgpu::{Area, Assume, Conversion, ConvertError, Error, GpuOptions, ImportOptions, Route, Routes};
use dw::{Converter, PassTarget, Picture, Target};

use crate::common::{SOON, Shape, TIGHT, memfd_frame, said, same, tight_len};

/// Odd offsets and strides, not multiples of a page or of 4.
const ODD: Shape = Shape {
    objects: 1,
    offset: 4097,
    padding: 3,
};
const SIZE: Size = Size::new(21, 11);
/// More buffers than pictures can be held at a time: those that the GPU may be reading meanwhile.
const MORE: usize = 4;

fn uploads(gpu: &Gpu, options: ImportOptions) -> Importer {
    Importer::with_options(gpu, options.routes(Routes::only(&[Route::Upload])))
}

/// `None` where the CPU's memory is not the device's.
fn unified(bench: Option<Bench>) -> Option<Bench> {
    let bench = bench?;
    if !bench.gpu.vulkan().is_some_and(dmaframe_wgpu::vulkan::Gpu::has_unified_memory) {
        assert!(!dmaframe_testkit::in_lab(), "lavapipe is software");
        dmaframe_testkit::skip("the GPU has memory of its own");
        return None;
    }
    Some(bench)
}

/// A picture being drawn.
struct Drawn {
    encoder: wgpu::CommandEncoder,
    readback: wgpu::Buffer,
    size: Size,
}

/// Records the colours of a picture, without submitting anything.
fn draw(gpu: &Gpu, converter: &Converter, imported: &Imported) -> Result<Drawn, ConvertError> {
    let mut drawn = blank(gpu, imported.frame().layout().size());
    draw_after(gpu, converter, imported, &mut drawn)?;
    Ok(drawn)
}

fn blank(gpu: &Gpu, size: Size) -> Drawn {
    Drawn {
        encoder: gpu.device().create_command_encoder(&Default::default()),
        readback: gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from((size.width * 4).next_multiple_of(256) * size.height),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }),
        size,
    }
}

fn draw_after(gpu: &Gpu, converter: &Converter, imported: &Imported, drawn: &mut Drawn) -> Result<(), ConvertError> {
    let view = canvas(gpu, drawn.size);
    converter.encode(&mut drawn.encoder, coloured(imported), &Target::new(&view), &assuming())?;
    copy_out(drawn, view.texture());
    Ok(())
}

fn canvas(gpu: &Gpu, size: Size) -> wgpu::TextureView {
    let texture = gpu.device().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d {
            width: size.width,
            height: size.height,
            depth_or_array_layers: 1,
        },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8Unorm,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
        view_formats: &[],
    });
    texture.create_view(&Default::default())
}

fn coloured(imported: &Imported) -> Picture<'_> {
    let mut picture = Picture::from(imported);
    picture.color = match picture.fourcc {
        Fourcc::ABGR8888 => ColorInfo::SRGB,
        _ => ColorInfo::BT601,
    };
    picture
}

fn assuming() -> Conversion {
    Conversion::assuming(Assume::Auto)
}

fn copy_out(drawn: &mut Drawn, texture: &wgpu::Texture) {
    drawn.encoder.copy_texture_to_buffer(
        texture.as_image_copy(),
        wgpu::TexelCopyBufferInfo {
            buffer: &drawn.readback,
            layout: wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some((drawn.size.width * 4).next_multiple_of(256)),
                rows_per_image: None,
            },
        },
        texture.size(),
    );
}

/// Its colours, once it has been submitted.
fn colours(gpu: &Gpu, (readback, size): (&wgpu::Buffer, Size)) -> Vec<u8> {
    readback.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let row = (size.width * 4) as usize;
    let bytes = mapped(readback);
    bytes.chunks(row.next_multiple_of(256)).flat_map(|line| line[..row].to_vec()).collect()
}

/// Submits with the import, as an application should.
fn shown(gpu: &Gpu, converter: &Converter, imported: &Imported) -> Result<Vec<u8>, ConvertError> {
    let Drawn {
        encoder,
        readback,
        size,
    } = draw(gpu, converter, imported)?;
    drop(gpu.submit(&[imported], [encoder.finish()]).unwrap());
    Ok(colours(gpu, (&readback, size)))
}

/// A frame of which the colours are the bytes.
fn plain_frame(size: Size, seed: u8) -> (Frame, Vec<u8>) {
    let (frame, mut bytes) = memfd_frame(Fourcc::ABGR8888, size, ODD, seed);
    bytes.truncate(tight_len(Fourcc::ABGR8888, size));
    (frame, bytes)
}

/// One, two and three planes, of bytes and of words.
const SHOWN: [Fourcc; 5] = [
    Fourcc::ABGR8888,
    Fourcc::YUYV,
    Fourcc::NV12,
    Fourcc::YUV420,
    Fourcc::P010,
];

#[test]
fn every_format_is_as_by_the_gpus_copy_shown_and_lent() {
    for bench in [Bench::plain(), Bench::ours()] {
        let Some(bench) = unified(bench) else { return };
        let options = GpuOptions::default().without_in_place();
        let copying = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
        let (converter, copying_converter) = (Converter::new(&bench.gpu), Converter::new(&copying));
        let copying_importer = uploads(&copying, ImportOptions::default());
        let mut shown_formats = 0;
        for info in dmaframe_core::format::all_formats() {
            let what = info.fourcc.to_string();
            for shape in [ODD, Shape { objects: 2, ..TIGHT }] {
                // The first picture that is lent is the last in place.
                let importer = uploads(&bench.gpu, ImportOptions::default());
                let (frame, bytes) = memfd_frame(info.fourcc, SIZE, shape, 1);
                let imported = importer.import(&frame).unwrap();
                assert_eq!((imported.route(), imported.is_in_place()), (Route::Upload, true));
                if SHOWN.contains(&info.fourcc) {
                    let copied = copying_importer.import(&frame).unwrap();
                    assert_eq!((copied.route(), copied.is_in_place()), (Route::Upload, false));
                    let wanted = shown(&copying, &copying_converter, &copied).unwrap();
                    same(&shown(&bench.gpu, &converter, &imported).unwrap(), &wanted, &what);
                    shown_formats += 1;
                }
                same(&bench.read(&imported), &bytes, &format!("{what} lent"));
            }
        }
        assert_eq!(shown_formats, 2 * SHOWN.len());
        assert!(copying.settle(SOON));
        drop((converter, copying_converter, copying_importer, copying));
        bench.done();
    }
}

#[test]
fn a_picture_that_is_held_or_recorded_is_never_written_again() {
    for bench in [Bench::plain(), Bench::ours()] {
        let Some(bench) = unified(bench) else { return };
        let (gpu, converter) = (&bench.gpu, Converter::new(&bench.gpu));
        let importer = uploads(gpu, ImportOptions::default().slots(2));
        let (held_frame, held_bytes) = plain_frame(SIZE, 1);
        let (recorded_frame, recorded_bytes) = plain_frame(SIZE, 2);
        let held = importer.import(&held_frame).unwrap();
        // Nobody is told that this encoder reads the picture, nor when it is submitted.
        let recorded = draw(gpu, &converter, &importer.import(&recorded_frame).unwrap()).unwrap();
        for seed in 3..53 {
            let (frame, bytes) = plain_frame(SIZE, seed);
            let imported = importer.import(&frame).unwrap();
            assert!(imported.is_in_place());
            same(&shown(gpu, &converter, &imported).unwrap(), &bytes, "one of many");
        }
        gpu.queue().submit([recorded.encoder.finish()]);
        same(&colours(gpu, (&recorded.readback, SIZE)), &recorded_bytes, "recorded");
        same(&shown(gpu, &converter, &held.clone()).unwrap(), &held_bytes, "held");
        assert!(gpu.settle(SOON));
        drop((held, importer, converter));
        bench.done();
    }
}

#[test]
fn a_picture_that_the_gpu_is_reading_is_not_written_before_it_is_done() {
    for bench in [Bench::plain(), Bench::ours()] {
        let Some(bench) = unified(bench) else { return };
        let (gpu, converter) = (&bench.gpu, Converter::new(&bench.gpu));
        let importer = uploads(gpu, ImportOptions::default());
        let large = |usage| {
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 64 << 20,
                usage,
                mapped_at_creation: false,
            })
        };
        let (from, to) = (large(wgpu::BufferUsages::COPY_SRC), large(wgpu::BufferUsages::COPY_DST));
        let (frame, bytes) = plain_frame(SIZE, 1);
        let others: Vec<_> = (2..10).map(|seed| plain_frame(SIZE, seed).0).collect();
        // Pipelines take longer than what the GPU has to do below.
        drop(shown(gpu, &converter, &importer.import(&frame).unwrap()).unwrap());
        // By an application that says nothing to anybody, in two ways of recording.
        for way in ["encode", "encode_into"] {
            let imported = importer.import(&frame).unwrap();
            let (mut drawn, view) = (blank(gpu, SIZE), canvas(gpu, SIZE));
            // The GPU gets to the picture later.
            for _ in 0..24 {
                drawn.encoder.copy_buffer_to_buffer(&from, 0, &to, 0, 64 << 20);
            }
            if way == "encode" {
                let target = Target::new(&view);
                converter.encode(&mut drawn.encoder, coloured(&imported), &target, &assuming()).unwrap();
            } else {
                let mut pass = drawn.encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                    color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                        view: &view,
                        depth_slice: None,
                        resolve_target: None,
                        ops: Default::default(),
                    })],
                    ..Default::default()
                });
                let target = PassTarget::new(view.texture().format(), Area::full(SIZE));
                converter.encode_into(&mut pass, coloured(&imported), &target, &assuming()).unwrap();
            }
            copy_out(&mut drawn, view.texture());
            let Drawn { encoder, readback, .. } = drawn;
            gpu.queue().submit([encoder.finish()]);
            let (done, told) = std::sync::mpsc::channel::<()>();
            gpu.queue().on_submitted_work_done(move || drop(done));
            drop(imported);
            for other in &others {
                // What nobody reads is written again.
                assert!(importer.import(other).unwrap().is_in_place());
            }
            gpu.device().poll(wgpu::PollType::Poll).unwrap();
            assert_eq!(told.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty), "the GPU was not busy");
            same(&colours(gpu, (&readback, SIZE)), &bytes, way);
        }
        // And submitted at once: drawn so large that it takes a while.
        let (large, part) = (Size::new(2048, 2048), Size::new(2048, 4));
        let view = canvas(gpu, large);
        let even = |value: u8| {
            let layout = Layout::tight(Fourcc::ABGR8888, SIZE).unwrap();
            let bytes = vec![value; tight_len(Fourcc::ABGR8888, SIZE)];
            Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap()
        };
        let (frame, other) = (even(100), even(200));
        let imported = importer.import(&frame).unwrap();
        let (work, _) = converter.convert(&imported, &Target::new(&view), &assuming()).unwrap();
        drop(imported);
        for _ in 0..8 {
            assert!(importer.import(&other).unwrap().is_in_place());
        }
        assert!(!work.is_done(), "the GPU was not busy");
        let mut drawn = blank(gpu, part);
        drawn.encoder.copy_texture_to_buffer(
            wgpu::TexelCopyTextureInfo {
                origin: wgpu::Origin3d { x: 0, y: 2044, z: 0 },
                ..view.texture().as_image_copy()
            },
            wgpu::TexelCopyBufferInfo {
                buffer: &drawn.readback,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(2048 * 4),
                    rows_per_image: None,
                },
            },
            wgpu::Extent3d {
                width: 2048,
                height: 4,
                depth_or_array_layers: 1,
            },
        );
        gpu.queue().submit([drawn.encoder.finish()]);
        let shown = colours(gpu, (&drawn.readback, part));
        assert!(shown.iter().all(|value| *value == 100), "written while it was drawn");
        assert!(gpu.settle(SOON));
        drop((importer, converter, from, to));
        bench.done();
    }
}

#[test]
fn a_ring_that_is_full_is_an_error_after_a_bounded_wait_and_costs_nothing() {
    let Some(bench) = unified(Bench::plain()) else { return };
    let (gpu, converter) = (&bench.gpu, Converter::new(&bench.gpu));
    let wait = Duration::from_millis(60);
    let importer = uploads(gpu, ImportOptions::default().slots(2).wait(wait));
    let (frame, bytes) = plain_frame(SIZE, 1);
    let buffers = || gpu.vulkan().unwrap().live().memories;
    let before = buffers();
    let encoders: Vec<_> = (0..2 + MORE)
        .map(|_| draw(gpu, &converter, &importer.import(&frame).unwrap()).unwrap())
        .collect();
    for _ in 0..4 {
        let begin = Instant::now();
        let full = importer.import(&frame);
        assert!(matches!(full, Err(Error::Timeout { waited, .. }) if waited == wait), "{full:?}");
        assert!(begin.elapsed() >= wait && begin.elapsed() < SOON);
    }
    assert_eq!(buffers() - before, 2 + MORE);
    // Encoders that are never submitted hold nothing.
    drop(encoders);
    let held: Vec<_> = (0..2).map(|_| importer.import(&frame).unwrap()).collect();
    let begin = Instant::now();
    let full = importer.import(&frame);
    assert!(matches!(full, Err(Error::Busy { limit: 2, .. })), "{full:?}");
    assert!(begin.elapsed() < wait, "what somebody holds is not waited for");
    for imported in &held {
        same(&shown(gpu, &converter, imported).unwrap(), &bytes, "held");
    }
    assert_eq!(buffers() - before, 2 + MORE);
    drop((held, importer, converter));
    bench.done();
}

#[test]
fn what_is_lent_is_a_copy_and_the_importer_makes_copies_from_then_on() {
    for bench in [Bench::plain(), Bench::ours()] {
        let Some(bench) = unified(bench) else { return };
        let (gpu, converter) = (&bench.gpu, Converter::new(&bench.gpu));
        let importer = uploads(gpu, ImportOptions::default());
        let (frame, bytes) = plain_frame(SIZE, 1);
        let first = importer.import(&frame).unwrap();
        assert!(first.is_in_place());
        same(&bench.read(&first), &bytes, "lent");
        // It is the application's to do with as it likes.
        let Source::Buffers(planes) = first.lend().unwrap() else { panic!() };
        let lent = planes[0].buffer.clone();
        lent.destroy();
        for (seed, size) in [(2, SIZE), (3, Size::new(64, 8)), (4, SIZE)] {
            let (frame, bytes) = plain_frame(size, seed);
            let imported = importer.import(&frame).unwrap();
            assert!(!imported.is_in_place(), "its application has shaders of its own");
            same(&bench.read(&imported), &bytes, "a later one");
        }
        same(&shown(gpu, &converter, &first).unwrap(), &bytes, "in place");
        assert!(gpu.settle(SOON));
        drop((first, importer, converter, lent));
        bench.done();
    }
}

#[test]
fn a_device_that_is_destroyed_takes_no_memory_from_under_the_cpu() {
    for bench in [Bench::plain(), Bench::ours()] {
        let Some(bench) = unified(bench) else { return };
        let importer = Arc::new(uploads(&bench.gpu, ImportOptions::default()));
        let size = Size::new(1920, 1080);
        let (frame, _) = plain_frame(size, 1);
        let (end, begun) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (importer, frame, end) = (Arc::clone(&importer), frame.clone(), Arc::clone(&end));
            let begun = Arc::clone(&begun);
            move || {
                while !end.load(Ordering::Relaxed) {
                    drop(importer.import(&frame));
                    begun.store(true, Ordering::Relaxed);
                }
            }
        });
        while !begun.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let imported = importer.import(&frame).unwrap();
        bench.gpu.device().destroy();
        for _ in 0..20 {
            let _ = bench.gpu.device().poll(wgpu::PollType::Poll);
            std::thread::sleep(Duration::from_millis(5));
        }
        let first = bench.gpu.submit(&[&imported], []).and_then(|work| work.wait(SOON));
        assert!(matches!(first, Err(Error::DeviceLost { .. } | Error::Wgpu { .. })), "{first:?}");
        let second = importer.import(&frame);
        assert!(matches!(second, Err(Error::DeviceLost { .. })), "{second:?}");
        end.store(true, Ordering::Relaxed);
        thread.join().unwrap();
        drop((imported, importer, frame));
        let Bench {
            gpu,
            adapter,
            instance,
        } = bench;
        drop((gpu, adapter, instance));
        let errors: Vec<_> = said(&[]).into_iter().filter(|text| text.contains("VUID")).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

/// Together ten thousand.
const FRAMES: usize = 3334;

#[test]
fn ten_thousand_frames_leave_nothing_behind() {
    let Some(bench) = unified(Bench::bare()) else { return };
    let (gpu, converter) = (&bench.gpu, Converter::new(&bench.gpu));
    let importer = uploads(gpu, ImportOptions::default().slots(1).wait(SOON));
    let size = Size::new(64, 16);
    let frames: Vec<_> = (0..4).map(|seed| plain_frame(size, seed).0).collect();
    let view = canvas(gpu, size);
    let (target, conversion) = (Target::new(&view), assuming());
    let encoder = || gpu.device().create_command_encoder(&Default::default());
    // Every buffer of the ring is made, and bound.
    let mut all = vec![];
    for _ in 0..1 + MORE {
        let (imported, mut encoder) = (importer.import(&frames[0]).unwrap(), encoder());
        converter.encode(&mut encoder, &imported, &target, &conversion).unwrap();
        all.push(encoder);
    }
    drop(all);
    let run = |frames_to_run: usize| {
        for sequence in 0..frames_to_run {
            let imported = importer.import(&frames[sequence % 4]).unwrap();
            assert!(imported.is_in_place());
            if sequence % 2 == 0 {
                drop(converter.convert(&imported, &target, &conversion).unwrap());
            } else {
                let mut encoder = encoder();
                converter.encode(&mut encoder, &imported, &target, &conversion).unwrap();
                gpu.queue().submit([encoder.finish()]);
            }
        }
        assert!(gpu.settle(SOON));
        gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    };
    run(200);
    let objects = || gpu.vulkan().map(dmaframe_wgpu::vulkan::Gpu::live);
    let report = || bench.instance.generate_report().map(|report| report.hub.buffers.num_allocated);
    let (leaks, before, memory) = (Leaks::now(), (objects(), report()), rss_kib());
    assert_eq!(before.1, Some(1 + MORE), "wgpu has more buffers than the ring");
    run(FRAMES);
    assert_eq!((Leaks::now(), (objects(), report())), (leaks, before));
    let grown = rss_kib().saturating_sub(memory);
    println!("memory grew by {grown} KiB; {before:?}");
    assert!(grown < 4096, "memory grew by {grown} KiB");
}
