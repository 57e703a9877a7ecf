// Included once for each version of wgpu, after `rig.rs`.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use dmaframe_core::format::all_formats;
use dmaframe_core::{ChromaSiting, Orientation, Range, Rotation};
use dmaframe_testkit::skip;
use dmaframe_wgpu::{Area, Assume, ChromaFilter, ConvertError, Filter, HighRange, Light};
use dw::PassTarget;

use crate::common::{SOON, listen, said};

include!("rig.rs");

/// The least device there is. One for all tests: pipelines are slow to make on a software renderer.
static SHARED: LazyLock<Option<Mutex<Rig>>> =
    LazyLock::new(|| rig_with(wgpu::Limits::downlevel_defaults(), wgpu::Features::empty()).map(Mutex::new));

fn rig() -> Option<MutexGuard<'static, Rig>> {
    let rig = SHARED.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
    // Of a test that failed.
    rig.encoder.borrow_mut().take();
    Some(rig)
}

fn rig_with(limits: wgpu::Limits, features: wgpu::Features) -> Option<Rig> {
    listen();
    let rig = Rig::open(limits, features);
    if rig.is_none() {
        skip("no Vulkan device for wgpu");
    }
    rig
}

#[track_caller]
fn silent() {
    let said = said(&[]);
    assert!(said.is_empty(), "errors of wgpu or the validation layer: {said:#?}");
}

/// The shaders are the same for every version: all of them with one, some of each kind with the others.
fn every_format() -> bool {
    module_path!().ends_with("v30")
}

/// Formats with a reader, a packing or a block of their own.
const KINDS: [Fourcc; 16] = [
    Fourcc::NV12,
    Fourcc::NV21,
    Fourcc::NV24,
    Fourcc::YUV420,
    Fourcc::YUYV,
    Fourcc::UYVY,
    Fourcc::P010,
    Fourcc::P030,
    Fourcc::NV15,
    Fourcc::AYUV,
    Fourcc::R10,
    Fourcc::XRGB8888,
    Fourcc::RGB888,
    Fourcc::ABGR16161616,
    Fourcc::SGRBG10P,
    Fourcc::SRGGB16,
];

#[test]
fn every_format_gives_the_cpus_pixels() {
    // 16-bit texture formats are the one thing here that a plain device may lack.
    let norm16 = wgpu::Features::TEXTURE_FORMAT_16BIT_NORM;
    let Some(rig) = rig_with(wgpu::Limits::downlevel_defaults(), norm16) else {
        return;
    };
    let mut random = Random(11);
    let mut failed = vec![];
    println!("| format | buffer, fragment | buffer, compute | texture, fragment | texture, compute |");
    for (n, info) in all_formats().iter().enumerate() {
        let kind = KINDS.contains(&info.fourcc);
        let buffers = |pad, path| [(1, 1), (5, 7), (67, 12)].map(|size| Try { size, pad, path, texture: None });
        let mut tries = vec![];
        if every_format() {
            // Offsets and strides that are multiples of nothing.
            tries.extend(buffers(Some([13, 5][n % 2]), [Path::Fragment, Path::Auto][n % 2]));
        }
        if kind {
            tries.extend(buffers(None, Path::Auto));
            tries.push(Try { size: (34, 19), pad: None, path: Path::Fragment, texture: Some(n) });
        }
        if tries.is_empty() {
            continue;
        }
        let worst = worst_of(&rig, info, &tries, &mut random);
        println!("| {} | {} |", info.name, worst.cells().join(" | "));
        let limit = if info.model == Model::Rgb { 0 } else { 1 };
        if worst.max() > limit {
            failed.push(info.name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
    // The device's end is looked at too.
    drop(rig);
    silent();
}

#[test]
fn crops_and_all_eight_turns_by_either_shader() {
    let Some(rig) = rig() else { return };
    let mut random = Random(12);
    let size = Size::new(45, 37);
    let rect = |x, y, width, height| Some(Rect { x, y, width, height });
    let crops = [None, rect(3, 5, 31, 29), rect(2, 1, 1, 36), rect(7, 4, 20, 20)];
    for fourcc in [Fourcc::NV12, Fourcc::YUYV, Fourcc::XRGB8888] {
        let picture = pack::Picture::random(fourcc, size, &mut random);
        let layout = pack::padded(fourcc, size, 8);
        let bytes = picture.bytes(&layout, &mut random);
        let source = rig.buffers(&layout, &bytes);
        let mut shots = vec![];
        for (crop, orientation) in crops.iter().flat_map(|c| Orientation::all().map(|o| (c, o))) {
            let mut meta = pack::meta(natural(fourcc.info().unwrap()));
            meta.visible = *crop;
            meta.orientation = orientation;
            let case = Case::of(layout.clone(), bytes.clone(), meta);
            for path in [Path::Fragment, Path::Auto] {
                let (shot, _) = rig.shoot(case.picture(&source), case.size, path, &Conversion::default()).unwrap();
                shots.push((shot, format!("{fourcc} {crop:?} {orientation:?} {path:?}")));
            }
            // What the caller says goes before what the frame says.
            let mut said = Conversion::default();
            said.crop = *crop;
            said.orientation = Some(orientation);
            let mut whole = Picture::new(&source, fourcc, size);
            whole.color = case.meta.color;
            let (shot, _) = rig.shoot(whole, case.size, Path::Fragment, &said).unwrap();
            shots.push((shot, format!("{fourcc} {crop:?} {orientation:?} said")));
            let limit = u8::from(fourcc != Fourcc::XRGB8888);
            for (shot, what) in shots.drain(..) {
                let off = case.off(&rig.pixels(&shot));
                assert!(off <= limit, "{what}: off by {off}");
            }
        }
    }
    silent();
}

/// Eight bits do not show the lowest bits of deep samples: a float target does.
#[test]
fn deep_samples_keep_their_lowest_bits() {
    let Some(rig) = rig() else { return };
    let mut random = Random(19);
    let size = Size::new(9, 4);
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
    let some = [Fourcc::P010, Fourcc::R12, Fourcc::SRGGB14P];
    let all = [
        Fourcc::P012,
        Fourcc::P016,
        Fourcc::NV15,
        Fourcc::P030,
        Fourcc::Y210,
        Fourcc::R16,
        Fourcc::SRGGB10P,
        Fourcc::SRGGB12P,
        Fourcc::SRGGB14,
    ];
    for fourcc in some.into_iter().chain(all.into_iter().filter(|_| every_format())) {
        let info = fourcc.info().unwrap();
        let mut picture = pack::Picture::random(fourcc, size, &mut random);
        for (name, values, _, max) in &mut picture.channels {
            // Luma that no chroma here takes out of range, so that nothing is cut off.
            let (low, span) = match name {
                'y' if info.model == Model::Yuv => (*max / 3, *max / 3),
                'u' | 'v' => (*max / 2 - *max / 16, *max / 8),
                _ => (0, *max),
            };
            values.iter_mut().for_each(|v| *v = low + random.below(span));
        }
        let layout = pack::padded(fourcc, size, 3);
        let source = rig.buffers(&layout, &picture.bytes(&layout, &mut random));
        let mut shown = Picture::new(&source, fourcc, size);
        shown.color = ColorInfo {
            range: Range::Full,
            ..ColorInfo::BT601
        };
        let view = rig
            .texture(size, wgpu::TextureFormat::Rgba32Float, usage)
            .create_view(&wgpu::TextureViewDescriptor::default());
        let done = rig.record(|encoder| {
            let target = Target::new(&view);
            rig.converter.encode(encoder, shown, &target, &Conversion::default())
        });
        done.unwrap();
        let got = rig.pixels(&rig.read(view.texture()));
        for (i, pixel) in got.chunks(16).enumerate() {
            let (x, y) = (i as u32 % size.width, i as u32 / size.width);
            let channel = |n: usize| f32::from_le_bytes(pixel[4 * n..4 * n + 4].try_into().unwrap());
            let part = |name| picture.at(name, x, y).map(|(v, max)| (f64::from(v), f64::from(max)));
            let (got, want, max) = match (part('m'), part('v')) {
                // A mosaic's own colour: red at even places of an RGGB, blue at odd ones, else green.
                (Some((v, max)), _) => (channel((x % 2 + y % 2) as usize), v / max, max),
                (None, Some((v, max))) => {
                    let (luma, _) = part('y').unwrap();
                    (channel(0), (luma + 1.402 * (v - (max + 1.0) / 2.0)) / max, max)
                }
                (None, None) => {
                    let (v, max) = part('y').unwrap();
                    (channel(0), v / max, max)
                }
            };
            let off = (f64::from(got) - want).abs() * max;
            assert!(off < 0.3, "{fourcc} at {x}, {y}: off by {off} of its own code values");
        }
    }
    silent();
}

#[test]
fn nv12_in_two_objects() {
    let Some(rig) = rig() else { return };
    let mut random = Random(13);
    let size = Size::new(51, 23);
    let layout = pack::padded(Fourcc::NV12, size, 6);
    let case = Case::new(layout, pack::meta(ColorInfo::BT709), &mut random);
    let planes = case.layout.planes().iter().enumerate().map(|(i, plane)| {
        // Each plane's own bytes behind as many that are not.
        let (start, ahead) = (plane.offset as usize, 300 + 7 * i);
        let mut bytes = vec![0x55; ahead];
        bytes.extend(&case.bytes[start..]);
        PlaneBuffer {
            buffer: rig.buffer(&bytes),
            offset: ahead as u64,
            stride: plane.stride,
        }
    });
    let source = Source::Buffers(planes.collect());
    for path in [Path::Fragment, Path::Auto] {
        let (shot, _) = rig.shoot(case.picture(&source), size, path, &Conversion::default()).unwrap();
        assert!(case.off(&rig.pixels(&shot)) <= 1);
    }
    silent();
}

#[test]
fn matrices_and_ranges_are_the_frames() {
    let Some(rig) = rig() else { return };
    let mut random = Random(14);
    let size = Size::new(40, 22);
    for fourcc in [Fourcc::NV12, Fourcc::P010, Fourcc::R10] {
        for (matrix, range) in [1, 4, 5, 6, 7, 9].into_iter().flat_map(|m| [(m, Range::Limited), (m, Range::Full)]) {
            let color = ColorInfo {
                matrix,
                range,
                ..ColorInfo::BT709
            };
            let layout = Layout::linear(fourcc, size, 4).unwrap();
            let case = Case::new(layout, pack::meta(color), &mut random);
            let source = rig.buffers(&case.layout, &case.bytes);
            let (shot, done) = rig.shoot(case.picture(&source), size, Path::Auto, &Conversion::default()).unwrap();
            let off = case.off(&rig.pixels(&shot));
            assert!(off <= 1, "{fourcc} matrix {matrix} {range:?}: off by {off}");
            assert_eq!((done.source, done.result.range, done.result.matrix), (color, Range::Full, 0));
        }
    }
    silent();
}

#[test]
fn unknown_colour_is_refused_unless_told_what_to_assume() {
    let Some(rig) = rig() else { return };
    let mut random = Random(15);
    let size = Size::new(8, 6);
    let case = Case::new(Layout::linear(Fourcc::NV12, size, 4).unwrap(), pack::meta(ColorInfo::BT601), &mut random);
    let source = rig.buffers(&case.layout, &case.bytes);
    let mut picture = Picture::new(&source, Fourcc::NV12, size);
    let shoot = |picture, conversion: &Conversion| rig.shoot(picture, size, Path::Auto, conversion);
    let refused = shoot(picture, &Conversion::default()).err().unwrap();
    assert_eq!(refused, ConvertError::Unspecified { fourcc: Fourcc::NV12, what: "range" });
    picture.color.range = Range::Limited;
    let refused = shoot(picture, &Conversion::default()).err().unwrap();
    assert_eq!(refused, ConvertError::Unspecified { fourcc: Fourcc::NV12, what: "matrix" });
    // Small, so BT.601 limited by custom.
    for assume in [Assume::Auto, Assume::As(ColorInfo::BT601)] {
        let (shot, done) = shoot(picture, &Conversion::assuming(assume)).unwrap();
        assert!(done.assumed && done.source.matrix == 6);
        assert!(case.off(&rig.pixels(&shot)) <= 1);
    }
    for matrix in [0, 3, 8, 10, 14, 255] {
        picture.color.matrix = matrix;
        let refused = shoot(picture, &Conversion::assuming(Assume::Auto)).err().unwrap();
        assert_eq!(refused, ConvertError::Matrix { fourcc: Fourcc::NV12, matrix });
    }
    silent();
}

/// An RGBA picture from a function.
fn painted(rig: &Rig, size: Size, f: impl Fn(u32, u32) -> [u8; 4]) -> (Source, Vec<[u8; 4]>) {
    let pixels: Vec<_> = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y))).collect();
    let pixels: Vec<_> = pixels.into_iter().map(|(x, y)| f(x, y)).collect();
    let layout = Layout::tight(Fourcc::ABGR8888, size).unwrap();
    (rig.buffers(&layout, pixels.as_flattened()), pixels)
}

fn srgb<'a>(source: &'a Source, size: Size) -> Picture<'a> {
    let mut picture = Picture::new(source, Fourcc::ABGR8888, size);
    picture.color = ColorInfo::SRGB;
    picture
}

/// What a tent filter gives, in floating point, sample by sample over the whole picture: PIL's and Mesa's own way.
fn tent(pixels: &[[u8; 4]], from: Size, to: Size, x: u32, y: u32) -> [f64; 4] {
    let weights = |i: u32, from: u32, to: u32| -> Vec<f64> {
        let ratio = f64::from(from) / f64::from(to);
        let (centre, radius) = ((f64::from(i) + 0.5) * ratio, ratio.max(1.0));
        let raw = (0..from).map(|k| (1.0 - (f64::from(k) + 0.5 - centre).abs() / radius).max(0.0));
        let raw: Vec<_> = raw.collect();
        let sum: f64 = raw.iter().sum();
        raw.into_iter().map(|w| w / sum).collect()
    };
    let (wx, wy) = (weights(x, from.width, to.width), weights(y, from.height, to.height));
    let mut out = [0.0; 4];
    for (j, wy) in wy.iter().enumerate() {
        for (i, wx) in wx.iter().enumerate() {
            let pixel = pixels[j * from.width as usize + i];
            for (out, c) in out.iter_mut().zip(pixel) {
                *out += wx * wy * f64::from(c);
            }
        }
    }
    out
}

#[test]
fn shrinking_leaves_no_pattern_finer_than_the_target() {
    let Some(rig) = rig() else { return };
    let size = Size::new(96, 48);
    let (source, _) = painted(&rig, size, |x, y| if (x + y) % 2 == 0 { [255; 4] } else { [0, 0, 0, 255] });
    // By 4, by 3 (where the mean of a target pixel's own nine would still be striped), by 8 and 2.
    for (w, h) in [(24, 12), (32, 16), (12, 24)] {
        for path in [Path::Fragment, Path::Auto] {
            let (shot, _) = rig.shoot(srgb(&source, size), Size::new(w, h), path, &Conversion::default()).unwrap();
            for (i, pixel) in rig.pixels(&shot).chunks(4).enumerate() {
                let (x, y) = (i as u32 % w, i as u32 / w);
                // At the edges half of the tent is missing.
                let edge = x == 0 || y == 0 || x == w - 1 || y == h - 1;
                let off = pixel[..3].iter().map(|c| c.abs_diff(128)).max().unwrap();
                assert!(off <= if edge { 16 } else { 3 }, "{w}x{h} {path:?}: {pixel:?} at {x}, {y}");
            }
        }
    }
    // The control: picking pixels gives all of it white or black.
    let mut nearest = Conversion::default();
    nearest.filter = Filter::Nearest;
    let (shot, _) = rig.shoot(srgb(&source, size), Size::new(24, 12), Path::Auto, &nearest).unwrap();
    assert!(rig.pixels(&shot).chunks(4).all(|p| p[0] == 0 || p[0] == 255));
    silent();
}

#[test]
fn scaling_is_a_tent_filter_in_any_turn() {
    let Some(rig) = rig() else { return };
    let size = Size::new(19, 14);
    let mut random = Random(16);
    let noise: Vec<[u8; 4]> = (0..19 * 14).map(|_| (random.next() as u32).to_le_bytes()).collect();
    let (source, pixels) = painted(&rig, size, |x, y| noise[(y * 19 + x) as usize]);
    for to in [Size::new(38, 28), Size::new(23, 31), Size::new(7, 9), Size::new(19, 7), Size::new(1, 1)] {
        for orientation in Orientation::all() {
            let upright = if orientation.swaps_axes() {
                Size::new(to.height, to.width)
            } else {
                to
            };
            let mut conversion = Conversion::default();
            conversion.orientation = Some(orientation);
            let (shot, _) = rig.shoot(srgb(&source, size), upright, Path::Auto, &conversion).unwrap();
            let got = rig.pixels(&shot);
            for (i, pixel) in got.chunks(4).enumerate() {
                // Turned back by hand: clockwise turns undone, then the mirror.
                let (x, y) = (i as u32 % upright.width, i as u32 / upright.width);
                let (x, y) = match orientation.rotation {
                    Rotation::R0 => (x, y),
                    Rotation::R90 => (y, to.height - 1 - x),
                    Rotation::R180 => (to.width - 1 - x, to.height - 1 - y),
                    Rotation::R270 => (to.width - 1 - y, x),
                };
                let x = if orientation.mirror { to.width - 1 - x } else { x };
                for (got, want) in pixel.iter().zip(tent(&pixels, size, to, x, y)) {
                    assert!((f64::from(*got) - want).abs() <= 1.0, "{to} {orientation:?} at {x}, {y}: {got}, {want}");
                }
            }
        }
    }
    silent();
}

#[test]
fn a_huge_picture_in_one_pixel_is_looked_at_in_few_places() {
    let Some(rig) = rig() else { return };
    // 4 million taps if nothing bounded them: minutes on a software renderer.
    let size = Size::new(2048, 2048);
    let (source, _) = painted(&rig, size, |x, _| if x < 1024 { [0; 4] } else { [200; 4] });
    let (shot, _) = rig.shoot(srgb(&source, size), Size::new(1, 1), Path::Auto, &Conversion::default()).unwrap();
    let got = rig.pixels(&shot);
    assert!(got.iter().all(|c| c.abs_diff(100) <= 4), "{got:?}");
    silent();
}

/// Bilinear chroma, by H.273's places.
fn sited(pixels: &[f64], (w, h): (u32, u32), sub: (u32, u32), at: (f64, f64), x: u32, y: u32) -> f64 {
    let place = |i: u32, sub: u32, offset: f64| (f64::from(i) - offset) / f64::from(sub);
    let (cx, cy) = (place(x, sub.0, at.0), place(y, sub.1, at.1));
    let get = |x: f64, y: f64| {
        let (x, y) = (x.clamp(0.0, f64::from(w - 1)) as u32, y.clamp(0.0, f64::from(h - 1)) as u32);
        pixels[(y * w + x) as usize]
    };
    let (fx, fy) = (cx - cx.floor(), cy - cy.floor());
    let row = |y: f64| get(cx.floor(), y) * (1.0 - fx) + get(cx.floor() + 1.0, y) * fx;
    row(cy.floor()) * (1.0 - fy) + row(cy.floor() + 1.0) * fy
}

#[test]
fn linear_chroma_lies_where_the_siting_says() {
    let Some(rig) = rig() else { return };
    let mut random = Random(17);
    let size = Size::new(21, 13);
    for (siting, at) in [
        (ChromaSiting::Unspecified, (0.0, 0.5)),
        (ChromaSiting::Left, (0.0, 0.5)),
        (ChromaSiting::Center, (0.5, 0.5)),
        (ChromaSiting::TopLeft, (0.0, 0.0)),
    ] {
        let color = ColorInfo {
            siting,
            range: Range::Full,
            ..ColorInfo::BT601
        };
        let picture = pack::Picture::random(Fourcc::NV12, size, &mut random);
        let layout = Layout::linear(Fourcc::NV12, size, 4).unwrap();
        let bytes = picture.bytes(&layout, &mut random);
        let source = rig.buffers(&layout, &bytes);
        let mut shown = Picture::new(&source, Fourcc::NV12, size);
        shown.color = color;
        let mut conversion = Conversion::default();
        conversion.chroma = ChromaFilter::Linear;
        let (shot, _) = rig.shoot(shown, size, Path::Auto, &conversion).unwrap();
        let channel = |name| {
            let (_, values, ..) = picture.channels.iter().find(|c| c.0 == name).unwrap();
            values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>()
        };
        let (luma, u, v) = (channel('y'), channel('u'), channel('v'));
        for (i, pixel) in rig.pixels(&shot).chunks(4).enumerate() {
            let (x, y) = (i as u32 % 21, i as u32 / 21);
            let chroma = |plane: &[f64]| sited(plane, (11, 7), (2, 2), at, x, y) - 128.0;
            let (u, v) = (chroma(&u), chroma(&v));
            let want = [
                luma[i] + 1.402 * v,
                luma[i] - 0.344_136 * u - 0.714_136 * v,
                luma[i] + 1.772 * u,
            ];
            for (got, want) in pixel.iter().zip(want) {
                let off = (f64::from(*got) - want.clamp(0.0, 255.0)).abs();
                assert!(off <= 1.0, "{siting:?} at {x}, {y}: {got} for {want}");
            }
        }
    }
    silent();
}

#[test]
fn an_srgb_target_holds_the_same_bytes() {
    let Some(rig) = rig() else { return };
    let size = Size::new(16, 16);
    let (source, pixels) = painted(&rig, size, |x, y| [(y * 16 + x) as u8; 4]);
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
    for format in [wgpu::TextureFormat::Rgba8UnormSrgb, wgpu::TextureFormat::Bgra8UnormSrgb] {
        let view = rig.texture(size, format, usage).create_view(&wgpu::TextureViewDescriptor::default());
        let done = rig.record(|encoder| {
            rig.converter.encode(encoder, srgb(&source, size), &Target::new(&view), &Conversion::default())
        });
        assert_eq!(done.unwrap().result.transfer, 13);
        let got = rig.pixels(&rig.read(view.texture()));
        let off = got.iter().zip(pixels.as_flattened()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(off <= Some(1), "{format:?}: off by {off:?}");
    }
    silent();
}

#[test]
fn linear_light_undoes_the_transfer_and_high_range_is_named_or_refused() {
    let Some(rig) = rig() else { return };
    let size = Size::new(16, 16);
    let (source, _) = painted(&rig, size, |x, y| [(y * 16 + x) as u8; 4]);
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
    let mut conversion = Conversion::default();
    conversion.light = Light::Linear;
    type Inverse = fn(f64) -> f64;
    let inverses: [(u8, Inverse); 4] = [
        (1, |c| if c < 0.081 { c / 4.5 } else { ((c + 0.099) / 1.099).powf(1.0 / 0.45) }),
        (4, |c| c.powf(2.2)),
        (13, |c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }),
        (16, |c| {
            let p = c.powf(1.0 / 78.84375);
            ((p - 0.8359375).max(0.0) / (18.8515625 - 18.6875 * p)).powf(1.0 / 0.1593017578125) * 10000.0 / 203.0
        }),
    ];
    let view = rig
        .texture(size, wgpu::TextureFormat::Rgba32Float, usage)
        .create_view(&wgpu::TextureViewDescriptor::default());
    for (transfer, inverse) in inverses {
        let mut picture = srgb(&source, size);
        picture.color.transfer = transfer;
        let done = rig.record(|encoder| rig.converter.encode(encoder, picture, &Target::new(&view), &conversion));
        assert_eq!(done.unwrap().result.transfer, 8);
        let got = rig.pixels(&rig.read(view.texture()));
        for (i, pixel) in got.chunks(16).enumerate() {
            let red = f32::from_le_bytes(pixel[..4].try_into().unwrap());
            let want = inverse(i as f64 / 255.0);
            let off = (f64::from(red) - want).abs();
            assert!(off <= 2e-3 * want.max(1.0), "transfer {transfer}, code {i}: {red} for {want}");
        }
    }
    let mut picture = srgb(&source, size);
    let shoot = |picture, conversion: &Conversion| rig.shoot(picture, size, Path::Auto, conversion);
    for transfer in [16, 18] {
        picture.color.transfer = transfer;
        let (_, done) = shoot(picture, &Conversion::default()).unwrap();
        assert_eq!(done.result.transfer, transfer, "passed on by its name");
        let mut wary = Conversion::default();
        wary.high_range = HighRange::Refuse;
        let refused = shoot(picture, &wary).err();
        assert_eq!(refused, Some(ConvertError::HighRange { transfer }));
        wary.light = Light::Srgb;
        let refused = shoot(picture, &wary).err();
        assert_eq!(refused, Some(ConvertError::Transfer { transfer, wanted: "sRGB" }));
    }
    picture.color.transfer = 2;
    let refused = shoot(picture, &conversion).err();
    assert_eq!(refused, Some(ConvertError::Transfer { transfer: 2, wanted: "linear light" }));
    rig.submit();
    silent();
}

#[test]
fn a_callers_own_pass_keeps_what_is_around_the_picture() {
    let Some(rig) = rig() else { return };
    let size = Size::new(8, 6);
    let (source, pixels) = painted(&rig, size, |x, y| [10 * x as u8, 10 * y as u8, 200, 255]);
    let big = Size::new(20, 16);
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC;
    let make = |samples, format| {
        let texture = rig.device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d {
                width: big.width,
                height: big.height,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: samples,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: if samples == 1 { usage } else { wgpu::TextureUsages::RENDER_ATTACHMENT },
            view_formats: &[],
        });
        texture.create_view(&wgpu::TextureViewDescriptor::default())
    };
    let color = wgpu::TextureFormat::Rgba8Unorm;
    for (samples, depth) in [(1, None), (4, Some(wgpu::TextureFormat::Depth24PlusStencil8))] {
        let shown = make(1, color);
        let drawn = if samples == 1 { shown.clone() } else { make(samples, color) };
        let depth_view = depth.map(|format| make(samples, format));
        let mut target = PassTarget::new(
            color,
            Area {
                x: 5.0,
                y: 7.0,
                width: 8.0,
                height: 6.0,
            },
        );
        target.samples = samples;
        target.depth_stencil = depth;
        rig.record(|encoder| {
            let attachment = |view| wgpu::RenderPassDepthStencilAttachment {
                view,
                depth_ops: Some(wgpu::Operations {
                    load: wgpu::LoadOp::Clear(0.0),
                    store: wgpu::StoreOp::Discard,
                }),
                stencil_ops: Some(wgpu::Operations {
                    load: wgpu::LoadOp::Clear(0),
                    store: wgpu::StoreOp::Discard,
                }),
            };
            let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                label: None,
                color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                    view: &drawn,
                    depth_slice: None,
                    resolve_target: (samples > 1).then_some(&shown),
                    ops: wgpu::Operations {
                        load: wgpu::LoadOp::Clear(wgpu::Color::GREEN),
                        store: wgpu::StoreOp::Store,
                    },
                })],
                depth_stencil_attachment: depth_view.as_ref().map(attachment),
                timestamp_writes: None,
                occlusion_query_set: None,
                multiview_mask: None,
            });
            rig.converter
                .encode_into(&mut pass, srgb(&source, size), &target, &Conversion::default())
                .unwrap();
        });
        let got = rig.pixels(&rig.read(shown.texture()));
        for (i, pixel) in got.chunks(4).enumerate() {
            let (x, y) = (i as u32 % 20, i as u32 / 20);
            let inside = (5..13).contains(&x) && (7..13).contains(&y);
            let want = if inside {
                pixels[((y - 7) * 8 + x - 5) as usize]
            } else {
                [0, 255, 0, 255]
            };
            assert_eq!(pixel, want, "{samples} samples at {x}, {y}");
        }
    }
    silent();
}

#[test]
fn a_part_of_a_target_is_filled_and_the_rest_stays_or_is_cleared() {
    let Some(rig) = rig() else { return };
    let size = Size::new(4, 4);
    let (source, _) = painted(&rig, size, |_, _| [9, 9, 9, 9]);
    for path in [Path::Fragment, Path::Auto] {
        let view = rig.target(Size::new(12, 10));
        let area = |x, y| Area {
            x,
            y,
            width: 4.0,
            height: 4.0,
        };
        rig.record(|encoder| {
            let whole = Target::new(&view).through(path).with_area(area(0.0, 0.0)).cleared(wgpu::Color::RED);
            let more = Target::new(&view).through(path).with_area(area(7.0, 5.0));
            for target in [whole, more] {
                rig.converter.encode(encoder, srgb(&source, size), &target, &Conversion::default()).unwrap();
            }
        });
        let got = rig.pixels(&rig.read(view.texture()));
        for (i, pixel) in got.chunks(4).enumerate() {
            let (x, y) = (i % 12, i / 12);
            let filled = (x < 4 && y < 4) || ((7..11).contains(&x) && (5..9).contains(&y));
            assert_eq!(pixel, if filled { [9; 4] } else { [255, 0, 0, 255] }, "{path:?} {x}, {y}");
        }
    }
    silent();
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let Some(rig) = rig() else { return };
    let size = Size::new(64, 64);
    let layout = Layout::linear(Fourcc::NV12, size, 4).unwrap();
    let bytes = vec![0; layout.tight_len() as usize];
    let source = rig.buffers(&layout, &bytes);
    let Source::Buffers(planes) = &source else { unreachable!() };
    let refused = |source: &Source, fourcc, conversion: &Conversion| {
        let mut picture = Picture::new(source, fourcc, size);
        picture.color = ColorInfo::BT709;
        let done = rig.shoot(picture, Size::new(8, 8), Path::Auto, conversion);
        done.err().unwrap()
    };
    let plain = Conversion::default();
    let mut one = planes.clone();
    one.truncate(1);
    assert_eq!(
        refused(&Source::Buffers(one), Fourcc::NV12, &plain),
        ConvertError::Planes { fourcc: Fourcc::NV12, found: 1, needed: 2 }
    );
    let mut beyond = planes.clone();
    beyond[1].offset += 1;
    assert_eq!(
        refused(&Source::Buffers(beyond), Fourcc::NV12, &plain),
        ConvertError::Range { plane: 1, needed: 6148, found: 6144 }
    );
    let mut endless = planes.clone();
    endless[0].offset = u64::MAX - 7;
    let far = refused(&Source::Buffers(endless), Fourcc::NV12, &plain);
    assert!(matches!(far, ConvertError::Range { plane: 0, .. }), "{far}");
    let mut outside = plain;
    outside.crop = Some(Rect { x: 60, y: 0, width: 5, height: 5 });
    let crop = refused(&source, Fourcc::NV12, &outside);
    assert!(matches!(crop, ConvertError::Crop { .. }), "{crop}");
    let unknown = refused(&source, Fourcc(0x3132_3334), &plain);
    assert!(matches!(unknown, ConvertError::Format { .. }), "{unknown}");
    let textures = rig.textures(&layout, &bytes, &[wgpu::TextureFormat::R8Unorm, wgpu::TextureFormat::Rgba8Unorm]);
    let texture = refused(&textures, Fourcc::NV12, &plain);
    assert!(matches!(texture, ConvertError::Texture { plane: 1, needed: 2, .. }), "{texture}");
    let textures = rig.textures(&layout, &bytes, &[wgpu::TextureFormat::R8Unorm, wgpu::TextureFormat::Rg8Unorm]);
    let Source::Textures(mut short) = textures else { unreachable!() };
    short[1].height = 31;
    let short = refused(&Source::Textures(short), Fourcc::NV12, &plain);
    assert!(matches!(short, ConvertError::TextureSize { plane: 1, .. }), "{short}");

    let mut picture = Picture::new(&source, Fourcc::NV12, size);
    picture.color = ColorInfo::BT709;
    let usage = wgpu::TextureUsages::RENDER_ATTACHMENT;
    let encode = |format, area: Option<Area>| {
        let view = rig.texture(size, format, usage).create_view(&wgpu::TextureViewDescriptor::default());
        let mut target = Target::new(&view);
        if let Some(area) = area {
            target = target.with_area(area);
        }
        rig.record(|encoder| rig.converter.encode(encoder, picture, &target, &plain))
    };
    let target = encode(wgpu::TextureFormat::Rgba8Uint, None).unwrap_err();
    assert!(matches!(target, ConvertError::Target { .. }), "{target}");
    let nowhere = Area {
        x: f32::NAN,
        y: 0.0,
        width: 4.0,
        height: 4.0,
    };
    let area = encode(wgpu::TextureFormat::Rgba8Unorm, Some(nowhere)).unwrap_err();
    assert!(matches!(area, ConvertError::Area { .. }), "{area}");
    silent();
}

#[test]
fn a_plane_beyond_the_binding_limit_is_refused_by_the_limits_name() {
    let mut limits = wgpu::Limits::downlevel_defaults();
    limits.max_storage_buffer_binding_size = 4096;
    let Some(rig) = rig_with(limits, wgpu::Features::empty()) else { return };
    let size = Size::new(64, 64);
    let layout = Layout::linear(Fourcc::NV12, size, 4).unwrap();
    let mut bytes = vec![0; layout.tight_len() as usize];
    let source = rig.buffers(&layout, &bytes);
    let mut picture = Picture::new(&source, Fourcc::NV12, size);
    picture.color = ColorInfo::BT709;
    // Luma is 4096 bytes: it fits, though the buffer is larger than what can be bound.
    rig.shoot(picture, size, Path::Auto, &Conversion::default()).unwrap();
    let Source::Buffers(mut planes) = source.clone() else { unreachable!() };
    bytes.extend([0; 256]);
    planes[0].buffer = rig.buffer(&bytes);
    planes[0].offset = 4;
    let source = Source::Buffers(planes);
    let color = picture.color;
    picture = Picture::new(&source, Fourcc::NV12, size);
    picture.color = color;
    let refused = rig.shoot(picture, size, Path::Auto, &Conversion::default()).err().unwrap();
    let wanted = ConvertError::Binding {
        plane: 0,
        needed: 4100,
        limit: 4096,
    };
    assert_eq!(refused, wanted);
    assert!(refused.to_string().contains("max_storage_buffer_binding_size"));
    rig.submit();
    drop(rig);
    silent();
}

#[test]
fn many_conversions_in_one_submission_do_not_disturb_each_other() {
    let Some(rig) = rig() else { return };
    let size = Size::new(10, 10);
    let (source, pixels) = painted(&rig, size, |x, y| [x as u8, y as u8, 7, 255]);
    // More than are kept.
    let shots: Vec<_> = (0..100)
        .map(|i| {
            let mut conversion = Conversion::default();
            conversion.crop = Some(Rect {
                x: i % 10,
                y: i / 10,
                width: 1,
                height: 1,
            });
            rig.shoot(srgb(&source, size), Size::new(1, 1), Path::Auto, &conversion).unwrap().0
        })
        .collect();
    for (shot, wanted) in shots.iter().zip(pixels) {
        assert_eq!(rig.pixels(shot), wanted);
    }
    silent();
}

/// Live buffers, bind groups and texture views of all devices.
fn live(rig: &Rig) -> [usize; 3] {
    rig.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let report = rig.instance.generate_report().unwrap();
    let hub = report.hub_report();
    [&hub.buffers, &hub.bind_groups, &hub.texture_views].map(|r| r.num_allocated)
}

#[test]
fn a_steady_stream_makes_nothing_new_and_trim_lets_go() {
    let Some(rig) = rig_with(wgpu::Limits::downlevel_defaults(), wgpu::Features::empty()) else {
        return;
    };
    let size = Size::new(8, 8);
    let sources: Vec<_> = (0..4).map(|i| painted(&rig, size, |_, _| [i; 4]).0).collect();
    let views: Vec<_> = (0..2).map(|_| rig.target(Size::new(16, 16))).collect();
    let before = live(&rig);
    let frame = |n: usize| {
        rig.record(|encoder| {
            let target = Target::new(&views[n % 2]);
            rig.converter.encode(encoder, srgb(&sources[n % 4], size), &target, &Conversion::default()).unwrap();
        });
        rig.submit();
    };
    (0..4).for_each(frame);
    let warm = live(&rig);
    assert!(warm[1] > before[1], "{before:?}, {warm:?}");
    (0..40).for_each(frame);
    assert_eq!(live(&rig), warm);
    rig.converter.trim();
    assert_eq!(live(&rig), before);
    drop((sources, views));
    drop(rig);
    silent();
}

#[test]
fn imported_frames_come_out_right() {
    let Some(bench) = Bench::plain() else { return };
    let importer = Importer::new(&bench.gpu);
    let converter = Converter::new(&bench.gpu);
    let mut random = Random(18);
    let size = Size::new(66, 34);
    let layout = Layout::linear(Fourcc::NV12, size, 64).unwrap();
    let mut meta = pack::meta(ColorInfo::BT709);
    meta.orientation = Orientation::all()[5];
    let case = Case::new(layout, meta, &mut random);
    let bytes = pack::private(&case.layout, case.bytes.clone(), case.meta.clone());
    let tight = bytes.map_read(SOON).unwrap().to_tight().unwrap();
    let mut frames = vec![bytes];
    for objects in [1, 2] {
        let shape = crate::common::Shape {
            objects,
            offset: 37,
            padding: 5,
        };
        let Some((mut frame, _)) = crate::common::udmabuf_frame(Fourcc::NV12, size, shape, 1) else {
            break;
        };
        frame.map_write(SOON).unwrap().copy_from_tight(&tight).unwrap();
        *frame.meta_mut().unwrap() = case.meta.clone();
        frames.push(frame);
    }
    let usage = wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_SRC;
    let rig = Rig::on(&bench.gpu, bench.instance.clone());
    for frame in frames {
        let imported = importer.import(&frame).unwrap();
        let texture = rig.texture(case.size, wgpu::TextureFormat::Rgba8Unorm, usage);
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        let (submission, done) = converter
            .convert(&imported, &Target::new(&view), &Conversion::default())
            .unwrap();
        assert!(submission.wait(SOON).unwrap().is_signaled());
        assert_eq!(done.size, case.size);
        let off = case.off(&rig.pixels(&rig.read(&texture)));
        assert!(off <= 1, "{:?}: off by {off}", imported.route());
    }
    drop((rig, importer, converter));
    bench.done();
}

#[test]
fn an_import_of_another_device_is_refused() {
    let (Some(bench), Some(other)) = (Bench::plain(), Bench::plain()) else {
        return;
    };
    let layout = Layout::tight(Fourcc::ABGR8888, Size::new(2, 2)).unwrap();
    let frame = pack::private(&layout, vec![7; 16], pack::meta(ColorInfo::SRGB));
    let imported = Importer::new(&bench.gpu).import(&frame).unwrap();
    let rig = Rig::on(&other.gpu, other.instance.clone());
    let refused = rig.shoot((&imported).into(), Size::new(2, 2), Path::Auto, &Conversion::default());
    assert_eq!(refused.err(), Some(ConvertError::OtherDevice));
    drop((rig, imported));
    other.done();
    bench.done();
}
