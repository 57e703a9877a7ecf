//! `queue.write_texture`: how frames go to a GPU everywhere else. Compiled once for each version of wgpu, in a module where
//! `wgpu` is that version and `instance()` makes its own.
#![allow(dead_code, reason = "the table has not every row for every version")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::{Fourcc, Layout, Size};

use super::wgpu;
use crate::gpu::{Bench, Picture, clock, frames};
use crate::memory::Kind;

const SOON: Duration = Duration::from_secs(1);

/// A device as apps open it.
struct Plain {
    device: wgpu::Device,
    queue: wgpu::Queue,
    ahead: usize,
}

impl Plain {
    fn open(ahead: usize) -> Result<Self, String> {
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter =
            pollster::block_on(super::instance().request_adapter(&options)).map_err(|e| e.to_string())?;
        let desc = wgpu::DeviceDescriptor {
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&desc)).map_err(|e| e.to_string())?;
        Ok(Self { device, queue, ahead })
    }

    fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<(), String> {
        let wait = wgpu::PollType::Wait {
            submission_index,
            timeout: None,
        };
        self.device.poll(wait).map(drop).map_err(|e| e.to_string())
    }

    /// The textures of a picture: format, width and height of each.
    fn textures(&self, picture: &Picture) -> Vec<(wgpu::Texture, wgpu::Extent3d)> {
        let Size { width, height } = picture.size;
        let planes = match picture.fourcc {
            Fourcc::NV12 => vec![
                (wgpu::TextureFormat::R8Unorm, width, height),
                (wgpu::TextureFormat::Rg8Unorm, width / 2, height / 2),
            ],
            _ => vec![(wgpu::TextureFormat::Rgba8Unorm, width, height)],
        };
        let texture = |(format, width, height)| {
            let size = wgpu::Extent3d {
                width,
                height,
                depth_or_array_layers: 1,
            };
            let descriptor = wgpu::TextureDescriptor {
                label: None,
                size,
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format,
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            };
            (self.device.create_texture(&descriptor), size)
        };
        planes.into_iter().map(texture).collect()
    }

    /// Picture after picture: `each` is given the number of one and what takes its planes' bytes.
    fn seconds(
        &self,
        bench: &Bench,
        picture: &Picture,
        each: impl Fn(usize, &dyn Fn(usize, &[u8])) -> Result<(), String>,
    ) -> Result<f64, String> {
        let textures = self.textures(picture);
        let write = |plane: usize, bytes: &[u8]| {
            let (texture, size) = &textures[plane];
            let rows = wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(u32::try_from(bytes.len()).unwrap_or(0) / size.height),
                rows_per_image: None,
            };
            self.queue
                .write_texture(texture.as_image_copy(), bytes, rows, *size);
        };
        let mut flying = VecDeque::new();
        let mut number = 0;
        clock::seconds(bench.round, |count| {
            for _ in 0..count {
                each(number, &write)?;
                number += 1;
                flying.push_back(self.queue.submit([]));
                // As a player paces itself. Without it the staging memory of the whole round piles up.
                if flying.len() > self.ahead {
                    self.wait(flying.pop_front())?;
                }
            }
            flying.clear();
            self.wait(None)
        })
    }
}

/// Straight from the memory that frames come in, as the other routes get them.
pub(crate) fn from_frames(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    planes_of_frames(bench, picture, |plane, write| write(plane))
}

/// As apps do that own their frames: `to_vec` out of the mapped buffer, then an `Arc<[u8]>` to pass on, then the upload.
pub(crate) fn copied_out(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    planes_of_frames(bench, picture, |plane, write| {
        let shared: Arc<[u8]> = Arc::from(plane.to_vec());
        write(&shared);
    })
}

/// What `each` makes of every plane of the frames in turn.
fn planes_of_frames(
    bench: &Bench,
    picture: &Picture,
    each: impl Fn(&[u8], &dyn Fn(&[u8])),
) -> Result<f64, String> {
    let frames = frames::in_turn(bench, picture, Kind::Memfd)?;
    Plain::open(bench.ahead)?.seconds(bench, picture, |number, write| {
        let frame = &frames[number % frames.len()];
        let view = frame.map_read(SOON).map_err(|e| e.to_string())?;
        for index in 0..view.layout().planes().len() {
            let plane = view.plane(index).map_err(|e| e.to_string())?;
            each(plane, &|bytes| write(index, bytes));
        }
        Ok(())
    })
}

/// The best case: the same bytes again and again, out of the CPU's caches where these are large enough.
pub(crate) fn same_bytes(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    let layout = Layout::tight(picture.fourcc, picture.size).map_err(|e| e.to_string())?;
    let bytes = vec![0x55; usize::try_from(picture.bytes).map_err(|e| e.to_string())?];
    Plain::open(bench.ahead)?.seconds(bench, picture, |_, write| {
        let mut rest = bytes.as_slice();
        for plane in 0..layout.planes().len() {
            let len = layout.row_bytes(plane) * layout.rows(plane) as usize;
            write(plane, &rest[..len]);
            rest = &rest[len..];
        }
        Ok(())
    })
}
