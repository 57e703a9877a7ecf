// Included once for each version of wgpu, by tests and by `examples/formats.rs`: `dw` is this crate's module for it,
// and `instance_with`, `mapped`, `wgpu` and `Source` are there too.

use std::cell::RefCell;

use dmaframe_core::format::{FormatInfo, Model};
use dmaframe_core::{ColorInfo, Deadline, Fourcc, FrameMeta, Layout, Rect, Size};
use dmaframe_wgpu::{Conversion, Converted};
use dw::{Converter, Path, Picture, PlaneBuffer, PlaneTexture, Target};

use crate::common::now;
use crate::pack::{self, Random};

/// A device like a toolkit's and a converter on it.
struct Rig {
    device: wgpu::Device,
    queue: wgpu::Queue,
    converter: Converter,
    instance: wgpu::Instance,
    /// Conversions that wait to be submitted together.
    encoder: RefCell<Option<wgpu::CommandEncoder>>,
}

/// A picture of the CPU's, and what it becomes there.
struct Case {
    layout: Layout,
    bytes: Vec<u8>,
    meta: FrameMeta,
    wanted: Vec<u8>,
    size: Size,
}

/// A target to be read back.
struct Shot {
    readback: wgpu::Buffer,
    size: Size,
    texel: u32,
}

impl Rig {
    /// `None` where there is no Vulkan.
    fn open(limits: wgpu::Limits, features: wgpu::Features) -> Option<Self> {
        let instance = instance_with(wgpu::InstanceFlags::debugging());
        let adapter = now(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).ok()?;
        let (device, queue) = now(adapter.request_device(&wgpu::DeviceDescriptor {
            required_limits: limits,
            required_features: adapter.features() & features,
            ..Default::default()
        }))
        .expect("a device");
        Some(Self {
            converter: Converter::new(&dw::Gpu::new(&device, &queue)),
            device,
            queue,
            instance,
            encoder: RefCell::new(None),
        })
    }

    #[allow(dead_code)]
    fn on(gpu: &dw::Gpu, instance: wgpu::Instance) -> Self {
        Self {
            device: gpu.device().clone(),
            queue: gpu.queue().clone(),
            converter: Converter::new(gpu),
            instance,
            encoder: RefCell::new(None),
        }
    }

    fn texture(&self, size: Size, format: wgpu::TextureFormat, usage: wgpu::TextureUsages) -> wgpu::Texture {
        self.device.create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d {
                width: size.width,
                height: size.height,
                depth_or_array_layers: 1,
            },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage,
            view_formats: &[],
        })
    }

    /// An RGBA target that both kinds of shader can fill.
    fn target(&self, size: Size) -> wgpu::TextureView {
        let usage = wgpu::TextureUsages::STORAGE_BINDING
            | wgpu::TextureUsages::RENDER_ATTACHMENT
            | wgpu::TextureUsages::COPY_SRC;
        self.texture(size, wgpu::TextureFormat::Rgba8Unorm, usage)
            .create_view(&wgpu::TextureViewDescriptor::default())
    }

    /// A storage buffer with these bytes.
    fn buffer(&self, bytes: &[u8]) -> wgpu::Buffer {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(4), 0xa5);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: padded.len() as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, &padded);
        buffer
    }

    /// All planes in one buffer.
    fn buffers(&self, layout: &Layout, bytes: &[u8]) -> Source {
        let buffer = self.buffer(bytes);
        let planes = layout.planes().iter().map(|plane| PlaneBuffer {
            buffer: buffer.clone(),
            offset: plane.offset,
            stride: plane.stride,
        });
        Source::Buffers(planes.collect())
    }

    /// Each plane in a texture of these formats.
    fn textures(&self, layout: &Layout, bytes: &[u8], formats: &[wgpu::TextureFormat]) -> Source {
        let planes = layout.planes().iter().zip(formats).enumerate().map(|(i, (plane, format))| {
            let texel = format.block_copy_size(None).expect("a size") as usize;
            let size = Size::new((layout.row_bytes(i) / texel) as u32, layout.rows(i));
            let usage = wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST;
            let texture = self.texture(size, *format, usage);
            // Whole rows of 256 bytes: of `write_texture`, whose staging memory ends with the last texel, the layer says
            // that it overlaps what lies behind.
            let row = layout.row_bytes(i).next_multiple_of(256);
            let mut staged = vec![0; row * size.height as usize];
            for (y, to) in staged.chunks_exact_mut(row).enumerate() {
                let start = plane.offset as usize + y * plane.stride as usize;
                to[..layout.row_bytes(i)].copy_from_slice(&bytes[start..start + layout.row_bytes(i)]);
            }
            let staging = self.buffer(&staged);
            self.record(|encoder| {
                let layout = wgpu::TexelCopyBufferLayout {
                    offset: 0,
                    bytes_per_row: Some(row as u32),
                    rows_per_image: None,
                };
                let buffer = wgpu::TexelCopyBufferInfo {
                    buffer: &staging,
                    layout,
                };
                encoder.copy_buffer_to_texture(buffer, texture.as_image_copy(), texture.size());
            });
            PlaneTexture {
                texture,
                width: size.width,
                height: size.height,
            }
        });
        Source::Textures(planes.collect())
    }

    /// Records a conversion into a target of its own; [`Rig::pixels`] submits.
    fn shoot(
        &self,
        picture: Picture<'_>,
        size: Size,
        path: Path,
        conversion: &Conversion,
    ) -> Result<(Shot, Converted), dmaframe_wgpu::ConvertError> {
        let view = self.target(size);
        let done = self.record(|encoder| {
            let target = Target::new(&view).through(path);
            self.converter.encode(encoder, picture, &target, conversion)
        })?;
        Ok((self.read(view.texture()), done))
    }

    fn record<T>(&self, f: impl FnOnce(&mut wgpu::CommandEncoder) -> T) -> T {
        let mut slot = self.encoder.borrow_mut();
        f(slot.get_or_insert_with(|| self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())))
    }

    /// Records a copy of a texture's pixels.
    fn read(&self, texture: &wgpu::Texture) -> Shot {
        let size = Size::new(texture.width(), texture.height());
        let texel = texture.format().block_copy_size(None).expect("a size");
        let row = (size.width * texel).next_multiple_of(256);
        let readback = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(row) * u64::from(size.height),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.record(|encoder| {
            encoder.copy_texture_to_buffer(
                texture.as_image_copy(),
                wgpu::TexelCopyBufferInfo {
                    buffer: &readback,
                    layout: wgpu::TexelCopyBufferLayout {
                        offset: 0,
                        bytes_per_row: Some(row),
                        rows_per_image: None,
                    },
                },
                texture.size(),
            );
        });
        Shot {
            readback,
            size,
            texel,
        }
    }

    /// Submits what was recorded, and waits.
    fn submit(&self) {
        if let Some(encoder) = self.encoder.borrow_mut().take() {
            self.queue.submit([encoder.finish()]);
        }
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("a poll");
    }

    /// The tight bytes of what was read.
    fn pixels(&self, shot: &Shot) -> Vec<u8> {
        self.submit();
        shot.readback.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("a poll");
        let bytes = mapped(&shot.readback);
        shot.readback.unmap();
        let row = (shot.size.width * shot.texel) as usize;
        bytes.chunks(row.next_multiple_of(256)).flat_map(|line| line[..row].to_vec()).collect()
    }
}

/// How a format's samples are read: RGB and gray full range.
fn natural(info: &FormatInfo) -> ColorInfo {
    match info.model {
        Model::Yuv => ColorInfo::BT601,
        _ => ColorInfo::SRGB,
    }
}

impl Case {
    fn new(layout: Layout, meta: FrameMeta, random: &mut Random) -> Self {
        let picture = pack::Picture::random(layout.fourcc(), layout.size(), random);
        let bytes = picture.bytes(&layout, random);
        Self::of(layout, bytes, meta)
    }

    fn of(layout: Layout, bytes: Vec<u8>, meta: FrameMeta) -> Self {
        let frame = pack::private(&layout, bytes.clone(), meta.clone());
        let mut converter = dmaframe_core::convert::Converter::new(dmaframe_core::convert::Assume::Refuse);
        let (wanted, done) = converter.rgba_image(&frame, Deadline::NEVER).expect("on the CPU");
        Self {
            size: done.size,
            layout,
            bytes,
            meta,
            wanted,
        }
    }

    fn picture<'a>(&self, source: &'a Source) -> Picture<'a> {
        let mut picture = Picture::new(source, self.layout.fourcc(), self.layout.size());
        picture.visible = self.meta.visible.unwrap_or(Rect::full(self.layout.size()));
        picture.orientation = self.meta.orientation;
        picture.color = self.meta.color;
        picture
    }

    /// The largest difference.
    fn off(&self, got: &[u8]) -> u8 {
        assert_eq!(got.len(), self.wanted.len());
        let pairs = got.iter().zip(&self.wanted);
        pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
    }
}

/// Texture formats whose texels are a format's planes, where there are any.
fn texture_formats(fourcc: Fourcc, device: &wgpu::Device) -> Vec<Vec<wgpu::TextureFormat>> {
    use wgpu::TextureFormat as F;
    let norm16 = device.features().contains(wgpu::Features::TEXTURE_FORMAT_16BIT_NORM);
    let of = |bytes: u8| match bytes {
        1 => vec![F::R8Unorm, F::R8Uint],
        2 if norm16 => vec![F::Rg8Unorm, F::R16Uint, F::R16Unorm],
        2 => vec![F::Rg8Unorm, F::R16Uint],
        4 if norm16 => vec![F::Rgba8Unorm, F::Rg16Uint, F::Bgra8Unorm, F::Rgb10a2Unorm, F::Rg16Unorm],
        4 => vec![F::Rgba8Unorm, F::Rg16Uint, F::Bgra8Unorm, F::Rgb10a2Unorm],
        8 if norm16 => vec![F::Rgba16Uint, F::Rgba16Unorm],
        8 => vec![F::Rgba16Uint],
        _ => vec![],
    };
    let Some(info) = fourcc.info() else { return vec![] };
    let planes: Vec<_> = info.planes().iter().collect();
    // Samples that share bytes over texels' borders are no texels: packed 4:2:2 is, two pixels each.
    let dense = planes[0].block_width > 1 && info.model != Model::Yuv
        || matches!(fourcc, Fourcc::NV15 | Fourcc::NV20 | Fourcc::NV30 | Fourcc::P030);
    if dense {
        return vec![];
    }
    let choices: Vec<_> = planes.iter().map(|plane| of(plane.block_bytes)).collect();
    let most = choices.iter().map(Vec::len).max().unwrap_or(0);
    if choices.iter().any(Vec::is_empty) {
        return vec![];
    }
    (0..most)
        .map(|i| choices.iter().map(|choice| choice[i % choice.len()]).collect())
        .collect()
}

/// What a row of the table of formats says.
#[derive(Clone, Copy, Default)]
struct Worst {
    buffer: [Option<u8>; 2],
    texture: [Option<u8>; 2],
}

/// How pictures of a format are laid out and converted.
#[derive(Clone, Copy)]
struct Try {
    size: (u32, u32),
    /// Bytes behind each row, with planes that begin anywhere; `None` is rows at multiples of 256.
    pad: Option<u32>,
    path: Path,
    /// From textures instead of buffers, the so many'th choice of their formats.
    texture: Option<usize>,
}

/// Converts random pictures of a format, and says how far off the CPU's pixels they are: by fragment shader, and by
/// compute shader.
fn worst_of(rig: &Rig, info: &FormatInfo, tries: &[Try], random: &mut Random) -> Worst {
    let mut worst = Worst::default();
    let mut shots = vec![];
    for Try { size, pad, path, texture } in tries.iter().copied() {
        let size = Size::new(size.0, size.1);
        let layout = match pad {
            None => Layout::linear(info.fourcc, size, 256).expect("a layout"),
            Some(pad) => pack::padded(info.fourcc, size, pad),
        };
        let case = Case::new(layout, pack::meta(natural(info)), random);
        let source = match texture {
            None => rig.buffers(&case.layout, &case.bytes),
            Some(i) => {
                let choices = texture_formats(info.fourcc, &rig.device);
                let Some(formats) = choices.get(i % choices.len().max(1)) else { continue };
                rig.textures(&case.layout, &case.bytes, formats)
            }
        };
        let (shot, done) = rig.shoot(case.picture(&source), size, path, &Conversion::default()).expect(info.name);
        assert_eq!((done.size, done.assumed), (case.size, false));
        shots.push((texture.is_some(), usize::from(path == Path::Auto), case, shot));
    }
    for (texture, k, case, shot) in shots {
        let off = case.off(&rig.pixels(&shot));
        let kind = if texture { &mut worst.texture } else { &mut worst.buffer };
        kind[k] = Some(kind[k].unwrap_or(0).max(off));
    }
    worst
}

impl Worst {
    fn cells(&self) -> [String; 4] {
        [self.buffer[0], self.buffer[1], self.texture[0], self.texture[1]]
            .map(|cell| cell.map_or("-".into(), |off| off.to_string()))
    }

    fn max(&self) -> u8 {
        self.buffer.iter().chain(&self.texture).flatten().copied().max().unwrap_or(0)
    }
}
