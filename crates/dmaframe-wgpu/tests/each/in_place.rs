// Included once for each version of wgpu; `dw` is this crate's module for it. A device with one memory, and pictures drawn there.

use std::time::Duration;

use dmaframe_core::{ColorInfo, Fourcc, Frame, Size};
use dmaframe_wgpu::{Assume, Conversion, ConvertError, Error, ImportOptions, Route, Routes};
use dw::{Converter, Picture, Target};

use crate::common::{SOON, Shape, TIGHT, memfd_frame, same, tight_len};

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
