// Included once for each version of wgpu; `dw` is this crate's module for it.

use dmaframe_core::report::PathReport;
use dmaframe_core::{Clock, ColorInfo, Fourcc, Frame, FrameMeta, Orientation, Rotation, Size, Timestamp};
use dmaframe_wgpu::{Error, ImportOptions, Refusal};
use dw::{Effect, ExportPool, Processor, Viewer};

use crate::common::{SOON, TIGHT, memfd_frame, udmabuf_frame};

const RGBA: wgpu::TextureFormat = wgpu::TextureFormat::Rgba8Unorm;
const SWAP: &str = "fn effect(uv: vec2f) -> vec4f {\n    return sample(uv).bgra;\n}\n";

/// Red and blue in each other's place.
fn swapped(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(4).flat_map(|p| [p[2], p[1], p[0], p[3]]).collect()
}

#[test]
fn a_processors_frames_are_what_the_effect_says_at_every_size_without_the_cpu() {
    let Some(bench) = Bench::ours() else { return };
    if !bench.dmabufs() {
        return;
    }
    let effect = Effect::new(&bench.gpu, "swap", SWAP, RGBA).unwrap();
    let path = PathReport::new();
    let builder = Processor::builder(&bench.gpu).effect(effect).report(&path);
    let mut processor = builder.fourcc(Fourcc::ABGR8888).build();
    for (seed, size) in [(1, Size::new(64, 36)), (2, Size::new(64, 36)), (3, Size::new(17, 9))] {
        let Some((frame, bytes)) = udmabuf_frame(Fourcc::ABGR8888, size, TIGHT, seed) else {
            return;
        };
        let mut meta = FrameMeta::default();
        meta.sequence = Some(u64::from(seed));
        meta.timestamp = Some(Timestamp {
            ns: 5,
            clock: Clock::Monotonic,
        });
        let frame = frame.with_meta(meta.clone()).unwrap();
        let out = processor.run(&frame).unwrap();
        assert_eq!((out.layout().size(), out.fourcc()), (size, Fourcc::ABGR8888));
        assert_eq!((out.meta().sequence, out.meta().timestamp), (meta.sequence, meta.timestamp));
        let seen = out.map_read(SOON).unwrap().to_tight().unwrap();
        crate::common::same(&seen, &swapped(&bytes), "swapped");
    }
    let text = path.to_string();
    let hops = "wgpu:buffer -> effect(swap) -> export AB24 (exported dma-buf)";
    assert_eq!(text, format!("{hops}   CPU bytes/frame: 0"));
    assert_eq!(processor.reasons(), Vec::<String>::new());

    // Turned, by a size that all pictures are to have, without an effect, from memory that no device takes.
    let (frame, _) = memfd_frame(Fourcc::ABGR8888, Size::new(16, 8), TIGHT, 4);
    let mut meta = FrameMeta::default();
    meta.orientation = Orientation {
        rotation: Rotation::R90,
        mirror: false,
    };
    let frame = frame.with_meta(meta).unwrap();
    let mut turned = Processor::builder(&bench.gpu).fourcc(Fourcc::NV12).build();
    assert_eq!(turned.run(&frame).unwrap().layout().size(), Size::new(8, 16));
    let mut fixed = Processor::builder(&bench.gpu).size(Size::new(32, 32)).build();
    assert_eq!(fixed.run(&frame).unwrap().layout().size(), Size::new(32, 32));
    assert!(!fixed.reasons().is_empty());
    drop((processor, turned, fixed));
    bench.done();
}

#[test]
fn a_processors_frames_say_the_colour_of_what_came_in_and_its_path_does_not_grow() {
    let Some(bench) = Bench::ours() else { return };
    let path = PathReport::new();
    let builder = Processor::builder(&bench.gpu).fourcc(Fourcc::ABGR8888).report(&path);
    let mut processor = builder.build();
    let mut hops = 0;
    for (round, transfer) in [1, 16, 16, 18, 1, 13].into_iter().enumerate() {
        let (frame, bytes) = memfd_frame(Fourcc::ABGR8888, Size::new(32, 8), TIGHT, 1);
        let mut meta = FrameMeta::default();
        meta.color = ColorInfo {
            transfer,
            primaries: if transfer == 1 { 1 } else { 9 },
            ..ColorInfo::SRGB
        };
        let frame = frame.with_meta(meta.clone()).unwrap();
        let out = processor.run(&frame).unwrap();
        let said = out.meta().color;
        assert_eq!(
            (said.transfer, said.primaries),
            (meta.color.transfer, meta.color.primaries)
        );
        let seen = out.map_read(SOON).unwrap().to_tight().unwrap();
        crate::common::same(&seen, &bytes, "the picture");
        let counts = path.counts();
        if round == 0 {
            hops = counts.len();
        }
        assert_eq!(counts.len(), hops, "{path}");
        assert_eq!(counts.last().unwrap().frames, round as u64 + 1, "one hop for all pools");
    }
    drop(processor);
    bench.done();
}

#[test]
fn a_viewer_shows_the_last_picture_until_the_next_is_there_and_lets_go_of_a_camera_that_is_gone() {
    let Some(bench) = Bench::ours().filter(Bench::dmabufs) else { return };
    let mut viewer = Viewer::new(&bench.gpu, ImportOptions::default(), &PathReport::new());
    let Some((frame, _)) = udmabuf_frame(Fourcc::NV12, Size::new(64, 36), TIGHT, 1) else {
        return;
    };
    let update = |frame: Option<&Frame>, viewer: &mut Viewer| {
        let mut encoder = bench.gpu.device().create_command_encoder(&Default::default());
        let made = viewer.update(&mut encoder, frame);
        viewer.submit([encoder.finish()]).unwrap();
        made
    };
    update(Some(&frame), &mut viewer).unwrap();
    assert_eq!(viewer.size(Orientation::IDENTITY), Some(Size::new(64, 36)));
    // Of another size, with a matrix that nobody converts.
    let Some((wrong, _)) = udmabuf_frame(Fourcc::NV12, Size::new(32, 32), TIGHT, 2) else {
        return;
    };
    let mut meta = FrameMeta::default();
    meta.color = ColorInfo {
        matrix: 14,
        ..ColorInfo::BT709
    };
    let wrong = wrong.with_meta(meta).unwrap();
    let refused = update(Some(&wrong), &mut viewer);
    assert!(matches!(refused, Err(Error::Convert(_))), "{refused:?}");
    assert_eq!(viewer.size(Orientation::IDENTITY), Some(Size::new(64, 36)));
    assert!(bench.gpu.settle(SOON));
    assert_eq!(viewer.trim(), 0, "both cameras are there");
    drop((frame, wrong));
    assert_eq!(viewer.trim(), 2);
    // By itself too, while nothing comes.
    let Some((frame, _)) = udmabuf_frame(Fourcc::NV12, Size::new(64, 36), TIGHT, 3) else {
        return;
    };
    update(Some(&frame), &mut viewer).unwrap();
    drop(frame);
    assert!(bench.gpu.settle(SOON));
    for _ in 0..64 {
        update(None, &mut viewer).unwrap();
    }
    assert_eq!(viewer.trim(), 0, "it is gone already");
    drop(viewer);
    bench.done();
}

/// On a device whose textures are small, a frame that is larger, and one that is not.
#[test]
fn a_frame_larger_than_the_devices_textures_is_an_error_and_the_next_one_may_do() {
    let Some(bench) = Bench::ours() else { return };
    let mut descriptor = Bench::descriptor();
    descriptor.required_limits.max_texture_dimension_2d = 64;
    let (device, queue) = crate::common::now(bench.adapter.request_device(&descriptor)).unwrap();
    assert_eq!(device.limits().max_texture_dimension_2d, 64);
    let gpu = Gpu::new(&device, &queue);
    let (wide, _) = memfd_frame(Fourcc::XRGB8888, Size::new(4000, 2), TIGHT, 1);
    let (small, _) = memfd_frame(Fourcc::XRGB8888, Size::new(32, 16), TIGHT, 2);
    let too_large = |error: Error| match error {
        Error::Vulkan(dmaframe_wgpu::vulkan::Error::Refused { refusal, .. }) => {
            assert_eq!(
                refusal,
                Refusal::TooLarge {
                    width: 4000,
                    height: 2,
                    max_width: 64,
                    max_height: 64
                }
            );
        }
        other => panic!("{other}"),
    };

    let mut viewer = Viewer::new(&gpu, ImportOptions::default(), &PathReport::new());
    for (frame, wrong) in [(&wide, true), (&small, false), (&wide, true), (&small, false)] {
        let before = viewer.size(Orientation::IDENTITY);
        let mut encoder = device.create_command_encoder(&Default::default());
        match (viewer.update(&mut encoder, Some(frame)), wrong) {
            (Err(error), true) => {
                too_large(error);
                assert_eq!(viewer.size(Orientation::IDENTITY), before);
            }
            (made, _) => {
                made.unwrap();
                assert_eq!(viewer.size(Orientation::IDENTITY), Some(Size::new(32, 16)));
            }
        }
        viewer.submit([encoder.finish()]).unwrap();
    }

    let swap = Effect::new(&gpu, "swap", SWAP, RGBA).unwrap();
    for effect in [None, Some(swap)] {
        let builder = Processor::builder(&gpu).fourcc(Fourcc::ABGR8888);
        let mut processor = match effect {
            Some(effect) => builder.effect(effect).build(),
            None => builder.build(),
        };
        for _ in 0..2 {
            too_large(processor.run(&wide).unwrap_err());
            assert_eq!(processor.run(&small).unwrap().layout().size(), Size::new(32, 16));
        }
    }
    let pool = ExportPool::builder(&gpu, Fourcc::NV12, Size::new(4000, 2)).build();
    too_large(pool.unwrap_err());
    assert!(gpu.settle(SOON));
    drop((viewer, gpu, device, queue));
    bench.done();
}

#[test]
fn a_text_that_is_refused_names_its_line_and_changes_nothing() {
    let Some(bench) = Bench::ours() else { return };
    let new = |text: &str| Effect::new(&bench.gpu, "my.wgsl", text, RGBA);
    let wrong = "fn effect(uv: vec2f) -> vec4f {\n    return nothing;\n}\n";
    let error = new(wrong).unwrap_err().to_string();
    assert!(error.starts_with("my.wgsl:2: "), "{error}");
    let error = new("fn other() {}\n").unwrap_err().to_string();
    assert!(
        error.starts_with("my.wgsl: is there a `fn effect(uv: vec2f) -> vec4f`?"),
        "{error}"
    );
    // Something that only the pipeline refuses: a texture that nobody binds.
    let unbound = "@group(0) @binding(7) var other: texture_2d<f32>;\n\
        fn effect(uv: vec2f) -> vec4f { return textureLoad(other, vec2i(0), 0); }\n";
    let error = new(unbound).unwrap_err().to_string();
    assert!(error.starts_with("my.wgsl: "), "{error}");

    let mut processor = Processor::builder(&bench.gpu)
        .effect(new(SWAP).unwrap())
        .fourcc(Fourcc::ABGR8888)
        .build();
    let (frame, bytes) = memfd_frame(Fourcc::ABGR8888, Size::new(32, 4), TIGHT, 7);
    let effect = processor.effect_mut().unwrap();
    assert!(effect.replace("other", wrong).is_err());
    assert_eq!(effect.name(), "my.wgsl");
    let out = processor.run(&frame).unwrap().map_read(SOON).unwrap().to_tight().unwrap();
    crate::common::same(&out, &swapped(&bytes), "the last good one");
    let effect = processor.effect_mut().unwrap();
    effect.replace("same", "fn effect(uv: vec2f) -> vec4f { return sample(uv); }").unwrap();
    let out = processor.run(&frame).unwrap().map_read(SOON).unwrap().to_tight().unwrap();
    crate::common::same(&out, &bytes, "the new one");
    // The same out of a file, which is looked at again.
    let file = std::env::temp_dir().join(format!("dmaframe-{}-{}.wgsl", std::process::id(), module_path!()));
    let missing = Effect::from_file(&bench.gpu, &file, RGBA).unwrap_err();
    assert!(matches!(missing, Error::EffectFile { .. }), "{missing}");
    std::fs::write(&file, SWAP).unwrap();
    let mut effect = Effect::from_file(&bench.gpu, &file, RGBA).unwrap();
    assert!(!effect.reload().unwrap());
    // Replaced within the same tick of the file system's clock.
    let seen = std::fs::metadata(&file).unwrap().modified().unwrap();
    let beside = file.with_extension("beside");
    std::fs::write(&beside, wrong).unwrap();
    std::fs::File::options().write(true).open(&beside).unwrap().set_modified(seen).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    let error = effect.reload().unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:2: ", file.display())), "{error}");
    assert!(!effect.reload().unwrap(), "said once");
    std::fs::remove_file(&file).unwrap();
    assert!(!effect.reload().unwrap());
    drop(processor);
    bench.done();
}
