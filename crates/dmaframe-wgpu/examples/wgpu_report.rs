//! What this machine's device can do with frames through wgpu:
//! `cargo run --example wgpu_report --features wgpu-30 [-- --plain]`.
//!
//! The device's level, then a table: each format by each route, tried with a picture that is read back through the GPU.
//! `exact` means that every byte came back; a number names a reason below the table. `--plain` opens the device as a
//! toolkit does. Of several versions that are on, the newest is taken.

#[cfg(any(feature = "wgpu-28", feature = "wgpu-29", feature = "wgpu-30"))]
mod report {
    use std::time::Duration;

    use dmaframe_core::format::FormatInfo;
    use dmaframe_core::{Layout, Size};
    use dmaframe_testkit::{Device, find, frames, memfd, now, print_routes, udmabuf};
    use dmaframe_wgpu::{ImportOptions, Route, Routes};

    #[cfg(all(feature = "wgpu-28", not(any(feature = "wgpu-29", feature = "wgpu-30"))))]
    use dmaframe_wgpu::v28 as dw;
    #[cfg(all(feature = "wgpu-29", not(feature = "wgpu-30")))]
    use dmaframe_wgpu::v29 as dw;
    #[cfg(feature = "wgpu-30")]
    use dmaframe_wgpu::v30 as dw;

    use dw::{Gpu, Importer, Source, wgpu};

    type Outcome = Result<(), Box<dyn std::error::Error>>;

    const SIZE: Size = Size::new(64, 48);
    const SOON: Duration = Duration::from_secs(5);
    const ROUTES: [Route; 4] = [Route::Buffer, Route::Image, Route::HostPointer, Route::Upload];

    #[cfg(all(feature = "wgpu-28", not(any(feature = "wgpu-29", feature = "wgpu-30"))))]
    fn instance() -> wgpu::Instance {
        wgpu::Instance::new(&wgpu::InstanceDescriptor::from_env_or_default())
    }

    #[cfg(any(feature = "wgpu-29", feature = "wgpu-30"))]
    fn instance() -> wgpu::Instance {
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle())
    }

    pub(crate) fn run() -> Outcome {
        let instance = instance();
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = now(instance.request_adapter(&options))?;
        let descriptor = wgpu::DeviceDescriptor::default();
        let gpu = if std::env::args().any(|word| word == "--plain") {
            let (device, queue) = now(adapter.request_device(&descriptor))?;
            Gpu::new(&device, &queue)
        } else {
            dw::open_device(&adapter, &descriptor)?
        };
        let info = adapter.get_info();
        println!(
            "{} ({:?}, {} {})",
            info.name, info.backend, info.driver, info.driver_info
        );
        println!("level: {}", gpu.level());
        if let Some(vulkan) = gpu.vulkan() {
            println!("extensions: {}", vulkan.extensions());
        }
        print_routes(&ROUTES, |info, route| attempt(&gpu, info, route));
        Ok(())
    }

    /// Brings a picture in by this route alone, and compares what the GPU sees.
    fn attempt(gpu: &Gpu, info: &FormatInfo, route: Route) -> Outcome {
        let importer = Importer::with_options(gpu, ImportOptions::default().routes(Routes::only(&[route])));
        let layout = Layout::linear(info.fourcc, SIZE, 64)?;
        let len = layout.object_len(0).next_multiple_of(4096);
        let fd = match route {
            Route::HostPointer | Route::Upload => memfd(len, true)?.into(),
            _ => udmabuf(&find(Device::Udmabuf)?, len)?,
        };
        let bytes = frames::picture(usize::try_from(layout.tight_len())?, 1);
        let frame = frames::frame_in(vec![fd], info.fourcc, SIZE, layout.planes(), &bytes)?;
        let imported = importer.import(&frame)?;
        let found = read(gpu, &imported)?;
        match found == bytes {
            true => Ok(()),
            false => Err("other bytes came back".into()),
        }
    }

    fn read(gpu: &Gpu, imported: &dw::Imported) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let layout = imported.frame().layout();
        let mut encoder = gpu
            .device()
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let buffer = |size| {
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        };
        let mut planes = Vec::new();
        match imported.lend()? {
            Source::Buffers(sources) => {
                for source in sources {
                    let to = buffer(source.buffer.size());
                    encoder.copy_buffer_to_buffer(&source.buffer, 0, &to, 0, source.buffer.size());
                    planes.push((to, source.offset as usize, source.stride as usize));
                }
            }
            Source::Textures(sources) => {
                for source in sources {
                    let texel = source.texture.format().block_copy_size(None).unwrap_or(1);
                    let stride = (source.width * texel).next_multiple_of(256);
                    let to = buffer(u64::from(stride) * u64::from(source.height));
                    let info = wgpu::TexelCopyBufferInfo {
                        buffer: &to,
                        layout: wgpu::TexelCopyBufferLayout {
                            offset: 0,
                            bytes_per_row: Some(stride),
                            rows_per_image: None,
                        },
                    };
                    let extent = wgpu::Extent3d {
                        width: source.width,
                        height: source.height,
                        depth_or_array_layers: 1,
                    };
                    encoder.copy_texture_to_buffer(source.texture.as_image_copy(), info, extent);
                    planes.push((to, 0, stride as usize));
                }
            }
        }
        let _ = gpu.submit(&[imported], [encoder.finish()])?.wait(SOON)?;
        let mut bytes = Vec::new();
        for (index, (buffer, offset, stride)) in planes.into_iter().enumerate() {
            let slice = buffer.slice(..);
            slice.map_async(wgpu::MapMode::Read, |_| {});
            gpu.device().poll(wgpu::PollType::wait_indefinitely())?;
            #[cfg(feature = "wgpu-30")]
            let mapped = slice.get_mapped_range()?;
            #[cfg(not(feature = "wgpu-30"))]
            let mapped = slice.get_mapped_range();
            for row in 0..layout.rows(index) as usize {
                let start = offset + row * stride;
                bytes.extend_from_slice(&mapped[start..start + layout.row_bytes(index)]);
            }
        }
        Ok(bytes)
    }
}

#[cfg(any(feature = "wgpu-28", feature = "wgpu-29", feature = "wgpu-30"))]
fn main() -> std::process::ExitCode {
    match report::run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(any(feature = "wgpu-28", feature = "wgpu-29", feature = "wgpu-30")))]
fn main() {
    eprintln!("switch on a version: --features wgpu-30");
}
