// When the memory is written again, and how much of it there is.

use std::time::Instant;

use dmaframe_core::{FrameMeta, Layout};
use dmaframe_wgpu::Area;
use dw::PassTarget;

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
