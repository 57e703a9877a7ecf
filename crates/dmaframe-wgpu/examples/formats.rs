//! How far the GPU's conversions are off the CPU's, format by format: largest difference of a code value over random
//! pictures of odd sizes, padded strides and unaligned offsets, from buffers and from textures.
//!
//! `cargo run -p dmaframe-wgpu --features wgpu-30 --example formats`

#[cfg(feature = "wgpu-30")]
#[path = "../../dmaframe-core/tests/convert/pack.rs"]
#[allow(dead_code)]
mod pack;

#[cfg(feature = "wgpu-30")]
mod common {
    pub(crate) use dmaframe_testkit::now;
}

// The tests use the rest of the rig.
#[cfg(feature = "wgpu-30")]
#[allow(dead_code)]
mod v30 {
    use dmaframe_wgpu::v30 as dw;
    use dw::{Source, wgpu};

    /// Without the validation layer that the tests ask for.
    fn instance_with(_: wgpu::InstanceFlags) -> wgpu::Instance {
        let mut descriptor = dw::wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.flags = wgpu::InstanceFlags::empty();
        descriptor.backends = dw::wgpu::Backends::VULKAN;
        dw::wgpu::Instance::new(descriptor)
    }

    fn mapped(buffer: &dw::wgpu::Buffer) -> Vec<u8> {
        buffer.get_mapped_range(..).expect("mapped").to_vec()
    }

    include!("../tests/each/rig.rs");

    pub(crate) fn table() {
        let mut random = Random(3);
        println!("| format | buffer, fragment | buffer, compute | texture, fragment | texture, compute |");
        println!("| --- | --- | --- | --- | --- |");
        let formats = dmaframe_core::format::all_formats();
        // A device for some at a time: pipelines stay with it, and a software driver's are large.
        for some in formats.chunks(8) {
            let Some(rig) = Rig::open(
                wgpu::Limits::downlevel_defaults(),
                wgpu::Features::TEXTURE_FORMAT_16BIT_NORM,
            ) else {
                eprintln!("no Vulkan device for wgpu");
                return;
            };
            for info in some {
                let worst = worst_of(&rig, info, &tries(), &mut random);
                println!("| {} | {} |", info.name, worst.cells().join(" | "));
            }
        }
    }

    /// Small, since the CPU converts all of them too.
    fn tries() -> Vec<Try> {
        let mut tries = vec![];
        let sizes = [(1, 1), (5, 7), (34, 19), (131, 67)];
        for (i, size) in sizes.into_iter().enumerate() {
            for path in [Path::Fragment, Path::Auto] {
                for pad in [None, Some([13, 5, 64][i % 3])] {
                    for texture in [None, Some(i)] {
                        tries.push(Try {
                            size,
                            pad,
                            path,
                            texture,
                        });
                    }
                }
            }
        }
        tries
    }
}

fn main() {
    #[cfg(feature = "wgpu-30")]
    v30::table();
    #[cfg(not(feature = "wgpu-30"))]
    eprintln!("formats wants --features wgpu-30");
}
