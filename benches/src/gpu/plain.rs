//! What wgpu itself does with bytes: the bare copies that routes are measured against, and its way down.

use dmaframe_wgpu::v30::wgpu;

use super::clock;
use super::{Bench, Picture};

/// Pairs of buffers; as many copies in one submission, where submitting is to cost nothing.
const IN_TURN: usize = 16;

fn buffer(bench: &Bench, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    bench.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size,
        usage,
        mapped_at_creation: false,
    })
}

/// The bare copy from one kind of memory to another. Several buffers in turn, since a GPU's caches hold one.
fn copy(
    bench: &Bench,
    picture: &Picture,
    from: wgpu::BufferUsages,
    to: wgpu::BufferUsages,
    a_submission: usize,
) -> Result<f64, String> {
    let pairs: Vec<_> = (0..IN_TURN)
        .map(|_| {
            let from = buffer(bench, picture.bytes, from | wgpu::BufferUsages::COPY_SRC);
            let to = buffer(bench, picture.bytes, to | wgpu::BufferUsages::COPY_DST);
            (from, to)
        })
        .collect();
    let all = clock::seconds(bench.round, |count| {
        for _ in 0..count {
            for pairs in pairs.chunks(a_submission) {
                let mut encoder = bench.device().create_command_encoder(&Default::default());
                for (from, to) in pairs {
                    encoder.copy_buffer_to_buffer(from, 0, to, 0, picture.bytes);
                }
                bench.keep_up(bench.queue().submit([encoder.finish()]))?;
            }
        }
        bench.wait()
    })?;
    Ok(all / IN_TURN as f64)
}

/// From system memory to the GPU's. (What wgpu maps for writing is the GPU's own, where the CPU reaches all of it.)
pub(crate) fn bare_up(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    copy(
        bench,
        picture,
        wgpu::BufferUsages::MAP_READ,
        wgpu::BufferUsages::STORAGE,
        IN_TURN,
    )
}

/// The same as frames come, each when it is there: what is between two submissions is the driver's, and wgpu's.
pub(crate) fn bare_up_each(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    copy(
        bench,
        picture,
        wgpu::BufferUsages::MAP_READ,
        wgpu::BufferUsages::STORAGE,
        1,
    )
}

/// The other way.
pub(crate) fn bare_down(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    copy(
        bench,
        picture,
        wgpu::BufferUsages::STORAGE,
        wgpu::BufferUsages::MAP_READ,
        IN_TURN,
    )
}

/// Within the GPU.
pub(crate) fn bare_across(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    copy(
        bench,
        picture,
        wgpu::BufferUsages::STORAGE,
        wgpu::BufferUsages::STORAGE,
        IN_TURN,
    )
}

/// A picture out of the GPU into a `Vec`, as apps read filtered frames back: copy, map, copy.
pub(crate) fn read_back(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    let from = buffer(
        bench,
        picture.bytes,
        wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    );
    let to = buffer(
        bench,
        picture.bytes,
        wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
    );
    let mut bytes = vec![0u8; picture.bytes as usize];
    clock::seconds(bench.round, |count| {
        for _ in 0..count {
            let mut encoder = bench.device().create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, picture.bytes);
            bench.queue().submit([encoder.finish()]);
            to.map_async(wgpu::MapMode::Read, .., |_| {});
            bench.wait()?;
            let view = to.get_mapped_range(..).map_err(|e| e.to_string())?;
            bytes.copy_from_slice(&view);
            drop(view);
            to.unmap();
        }
        Ok(())
    })
}
