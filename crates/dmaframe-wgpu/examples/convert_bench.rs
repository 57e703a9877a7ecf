//! How long conversions to RGBA take on the GPU, beside a plain device copy of as many bytes in the same run.
//!
//! Build: `cargo build --release -p dmaframe-wgpu --features wgpu-30 --example convert_bench`
//! Run: `target/release/examples/convert_bench [--quick] [--shapes] [--only NAME]`
//!
//! - `--quick`: few and small pictures, for software renderers
//! - `--shapes`: also other ways to cut the compute shader's work
//! - `--only`: formats or sizes whose name contains this (`NV12`, `4K`)
//!
//! Times are the GPU's own (timestamp queries), medians after warm-ups. *each*: one conversion alone in a submission.
//! *stream*: a row of conversions of different pictures into different targets in one submission, together larger than
//! caches, divided by their number. The copy moves, in one `copy_buffer_to_buffer`, as many bytes as the conversion
//! reads and writes together; drivers do not always copy as fast as the memory is, so a shader that copies the same
//! stands beside it. *times copy* compares the streams.
//!
//! Nothing but a Vulkan driver is needed: pictures lie in plain wgpu buffers.

#[cfg(feature = "wgpu-30")]
fn main() {
    if let Err(error) = bench::run() {
        eprintln!("convert_bench: {error}");
        std::process::exit(1);
    }
}

#[cfg(not(feature = "wgpu-30"))]
fn main() {
    eprintln!("convert_bench wants --features wgpu-30");
    std::process::exit(1);
}

#[cfg(feature = "wgpu-30")]
mod bench {
    use std::error::Error;

    use dmaframe_core::{ColorInfo, Fourcc, Layout, Orientation, Rotation, Size};
    use dmaframe_testkit::now;
    use dmaframe_wgpu::v30::{Converter, Path, Picture, PlaneBuffer, Shape, Source, Target, wgpu};
    use dmaframe_wgpu::{Assume, Conversion};

    type Outcome<T> = Result<T, Box<dyn Error>>;

    struct Options {
        quick: bool,
        shapes: bool,
        only: Option<String>,
    }

    /// Pictures of one format and size, their targets, and buffers for the copy.
    struct Sets {
        format: Fourcc,
        size: Size,
        sources: Vec<Source>,
        targets: Vec<wgpu::TextureView>,
        copies: Vec<[wgpu::Buffer; 2]>,
        /// Bytes read and written by one conversion.
        bytes: u64,
    }

    struct Gpu {
        device: wgpu::Device,
        queue: wgpu::Queue,
        queries: wgpu::QuerySet,
        resolved: wgpu::Buffer,
        readable: wgpu::Buffer,
        rounds: usize,
    }

    /// In milliseconds.
    #[derive(Clone, Copy)]
    struct Times {
        each: f64,
        stream: f64,
    }

    pub(super) fn run() -> Outcome<()> {
        let mut args = std::env::args().skip(1);
        let mut options = Options {
            quick: false,
            shapes: false,
            only: None,
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--shapes" => options.shapes = true,
                "--only" => options.only = args.next(),
                other => return Err(format!("unknown option {other}").into()),
            }
        }
        let gpu = Gpu::open(options.quick)?;
        println!(
            "| size | format | way | each ms | stream ms | GB/s | times copy |\n| --- | --- | --- | --- | --- | --- | --- |"
        );
        let sizes: &[(&str, u32, u32)] = if options.quick {
            &[("small", 320, 180)]
        } else {
            &[("1080p", 1920, 1080), ("4K", 3840, 2160), ("8K", 7680, 4320)]
        };
        let formats = [
            Fourcc::NV12,
            Fourcc::P010,
            Fourcc::YUYV,
            Fourcc::YUV420,
            Fourcc::XRGB8888,
        ];
        for (name, width, height) in sizes {
            for format in formats {
                let label = format!("{name} {format}");
                if options
                    .only
                    .as_ref()
                    .is_some_and(|only| !label.contains(only.as_str()))
                {
                    continue;
                }
                let sets = Sets::new(&gpu, format, Size::new(*width, *height), options.quick)?;
                table(&gpu, name, &sets, options.shapes)?;
            }
        }
        Ok(())
    }

    fn table(gpu: &Gpu, name: &str, sets: &Sets, shapes: bool) -> Outcome<()> {
        let copy = gpu.measure(sets.copies.len(), |encoder, i| {
            let [from, to] = &sets.copies[i];
            encoder.copy_buffer_to_buffer(from, 0, to, 0, sets.bytes / 2);
            Ok(())
        })?;
        let row = |way: &str, times: Times| {
            println!(
                "| {name} | {} | {way} | {:.4} | {:.4} | {:.0} | {:.2} |",
                sets.format,
                times.each,
                times.stream,
                sets.bytes as f64 / times.stream / 1e6,
                times.stream / copy.stream
            );
        };
        row("copy", copy);
        let (pipeline, groups) = sets.shader_copies(gpu);
        let words = u32::try_from(sets.bytes / 32)?;
        let shader_copy = gpu.measure(groups.len(), |encoder, i| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &groups[i], &[]);
            pass.dispatch_workgroups(words.div_ceil(256).min(65535), words.div_ceil(256 * 65535), 1);
            Ok(())
        })?;
        row("copy by compute shader", shader_copy);
        let upright = Conversion::assuming(Assume::As(ColorInfo::BT709));
        let mut turned = upright;
        turned.orientation = Some(Orientation {
            rotation: Rotation::R90,
            mirror: false,
        });
        let mut converter = Converter::new(&dmaframe_wgpu::v30::Gpu::new(&gpu.device, &gpu.queue));
        let convert = |converter: &Converter, path, conversion: &Conversion| {
            gpu.measure(sets.sources.len(), |encoder, i| {
                let mut picture = Picture::new(&sets.sources[i], sets.format, sets.size);
                picture.color = ColorInfo::BT709;
                let target = Target::new(&sets.targets[i]).through(path);
                converter.encode(encoder, picture, &target, conversion)?;
                Ok(())
            })
        };
        row("compute", convert(&converter, Path::Auto, &upright)?);
        row("fragment", convert(&converter, Path::Fragment, &upright)?);
        row(
            "compute, turned 90 and scaled to fit",
            convert(&converter, Path::Auto, &turned)?,
        );
        row(
            "fragment, turned 90 and scaled to fit",
            convert(&converter, Path::Fragment, &turned)?,
        );
        if shapes {
            for group in [
                (8, 8),
                (16, 4),
                (16, 16),
                (32, 1),
                (32, 2),
                (32, 4),
                (32, 8),
                (64, 1),
                (64, 4),
                (128, 1),
            ] {
                for row_pairs in [false, true] {
                    converter.set_shape(Shape { group, row_pairs });
                    let way = format!("compute {}x{}, pairs {row_pairs}", group.0, group.1);
                    row(&way, convert(&converter, Path::Auto, &upright)?);
                }
            }
        }
        Ok(())
    }

    /// 16 bytes an invocation.
    const COPY: &str = "
        @group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
        @group(0) @binding(1) var<storage, read_write> destination: array<vec4<u32>>;
        @compute @workgroup_size(256)
        fn copy(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x + id.y * 65535u * 256u;
            if i < arrayLength(&destination) { destination[i] = source[i]; }
        }";

    impl Sets {
        /// The same copies by a compute shader: what of the copy's time is the driver's way to copy.
        fn shader_copies(&self, gpu: &Gpu) -> (wgpu::ComputePipeline, Vec<wgpu::BindGroup>) {
            let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl(COPY.into()),
            });
            let pipeline = gpu
                .device
                .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: None,
                    layout: None,
                    module: &module,
                    entry_point: Some("copy"),
                    compilation_options: wgpu::PipelineCompilationOptions::default(),
                    cache: None,
                });
            let layout = pipeline.get_bind_group_layout(0);
            let groups = self.copies.iter().map(|[from, to]| {
                let entries = [(0, from), (1, to)].map(|(binding, buffer)| wgpu::BindGroupEntry {
                    binding,
                    resource: buffer.as_entire_binding(),
                });
                gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: None,
                    layout: &layout,
                    entries: &entries,
                })
            });
            let groups = groups.collect();
            (pipeline, groups)
        }

        fn new(gpu: &Gpu, format: Fourcc, size: Size, quick: bool) -> Outcome<Self> {
            let layout = Layout::linear(format, size, 256)?;
            let len = layout.object_len(0);
            let pixels = u64::from(size.width) * u64::from(size.height);
            let bytes = layout.tight_len() + pixels * 4;
            // Larger than any cache together.
            let count = if quick { 2 } else { (768 << 20) / bytes };
            let count = usize::try_from(count.clamp(2, 24))?;
            let (mut sources, mut targets, mut copies) = (vec![], vec![], vec![]);
            let mut state = 1u32;
            let noise: Vec<u8> = (0..len.next_multiple_of(4))
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            for _ in 0..count {
                let buffer = gpu.buffer(noise.len() as u64, wgpu::BufferUsages::STORAGE);
                gpu.queue.write_buffer(&buffer, 0, &noise);
                let planes = layout.planes().iter().map(|plane| PlaneBuffer {
                    buffer: buffer.clone(),
                    offset: plane.offset,
                    stride: plane.stride,
                });
                sources.push(Source::Buffers(planes.collect()));
                let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
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
                    usage: wgpu::TextureUsages::STORAGE_BINDING
                        | wgpu::TextureUsages::RENDER_ATTACHMENT
                        | wgpu::TextureUsages::TEXTURE_BINDING,
                    view_formats: &[],
                });
                targets.push(texture.create_view(&wgpu::TextureViewDescriptor::default()));
                copies.push([(); 2].map(|()| {
                    gpu.buffer(
                        (bytes / 2).next_multiple_of(16),
                        wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::STORAGE,
                    )
                }));
            }
            gpu.queue.submit([]);
            gpu.wait()?;
            Ok(Self {
                format,
                size,
                sources,
                targets,
                copies,
                bytes: bytes / 8 * 8,
            })
        }
    }

    impl Gpu {
        fn open(quick: bool) -> Outcome<Self> {
            let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
            descriptor.backends = wgpu::Backends::VULKAN;
            descriptor.flags = wgpu::InstanceFlags::empty();
            let instance = wgpu::Instance::new(descriptor);
            let adapter = now(instance.request_adapter(&wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..wgpu::RequestAdapterOptions::default()
            }))?;
            let info = adapter.get_info();
            println!("{} ({} {})\n", info.name, info.driver, info.driver_info);
            let features = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS;
            if !adapter.features().contains(features) {
                return Err("this device has no timestamp queries between passes".into());
            }
            let (device, queue) = now(adapter.request_device(&wgpu::DeviceDescriptor {
                required_features: features,
                required_limits: adapter.limits(),
                ..wgpu::DeviceDescriptor::default()
            }))?;
            let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            });
            let buffer = |usage| {
                device.create_buffer(&wgpu::BufferDescriptor {
                    label: None,
                    size: 256,
                    usage,
                    mapped_at_creation: false,
                })
            };
            Ok(Self {
                resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
                readable: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
                device,
                queue,
                queries,
                rounds: if quick { 2 } else { 15 },
            })
        }

        fn buffer(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage: usage | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        }

        fn wait(&self) -> Outcome<()> {
            self.device.poll(wgpu::PollType::wait_indefinitely())?;
            Ok(())
        }

        fn measure(
            &self,
            count: usize,
            mut record: impl FnMut(&mut wgpu::CommandEncoder, usize) -> Outcome<()>,
        ) -> Outcome<Times> {
            let mut stream = vec![];
            let mut each = vec![];
            for round in 0..self.rounds + 2 {
                let all = self.time(|encoder| (0..count).try_for_each(|i| record(encoder, i)))?;
                let one = self.time(|encoder| record(encoder, round % count))?;
                // The first rounds make pipelines, page tables and clocks warm.
                if round >= 2 {
                    stream.push(all / count as f64);
                    each.push(one);
                }
            }
            Ok(Times {
                each: median(each),
                stream: median(stream),
            })
        }

        fn time(&self, record: impl FnOnce(&mut wgpu::CommandEncoder) -> Outcome<()>) -> Outcome<f64> {
            let mut encoder = self
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.write_timestamp(&self.queries, 0);
            record(&mut encoder)?;
            encoder.write_timestamp(&self.queries, 1);
            encoder.resolve_query_set(&self.queries, 0..2, &self.resolved, 0);
            encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.readable, 0, 16);
            self.queue.submit([encoder.finish()]);
            self.readable.map_async(wgpu::MapMode::Read, .., |_| {});
            self.wait()?;
            let ticks = {
                let mapped = self.readable.get_mapped_range(..)?;
                let tick = |i: usize| {
                    let bytes: [u8; 8] = mapped[8 * i..8 * i + 8].try_into().unwrap_or_default();
                    u64::from_le_bytes(bytes)
                };
                tick(1).saturating_sub(tick(0))
            };
            self.readable.unmap();
            Ok(ticks as f64 * f64::from(self.queue.get_timestamp_period()) / 1e6)
        }
    }

    fn median(mut times: Vec<f64>) -> f64 {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    }
}
