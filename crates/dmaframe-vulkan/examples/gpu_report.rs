//! What this machine's Vulkan can do with frames: `cargo run --example gpu_report [part of a device's name]`.
//!
//! First the device, then a table: each format by each route, tried with a picture that is read back through the GPU.
//! `exact` means that every byte came back; a number names a reason below the table.

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::Duration;

use dmaframe_core::format::FormatInfo;
use dmaframe_core::{Frame, Layout, Size};
use dmaframe_testkit::{Device, find, frames, memfd, print_routes, udmabuf};
use dmaframe_vulkan::{Error, Importer, OpenOptions, Queue, Readback, Upload};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const SIZE: Size = Size::new(64, 48);
const ROUTES: [&str; 5] = ["buffer", "image", "multi-planar", "host pointer", "upload"];
const SOON: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let options = match std::env::args().nth(1) {
        Some(name) => OpenOptions::new().name(name),
        None => OpenOptions::new(),
    };
    match options.open().and_then(|gpu| Ok((gpu.queue()?, gpu))) {
        Ok((queue, gpu)) => {
            println!("{}", gpu.capabilities());
            let importer = Importer::new(&gpu);
            print_routes(&ROUTES, |info, route| attempt(info, route, &importer, &queue));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Puts a picture in, reads it back, compares.
fn attempt(info: &FormatInfo, route: &str, importer: &Importer, queue: &Queue) -> Outcome {
    let layout = Layout::linear(info.fourcc, SIZE, 1)?;
    let cpu = matches!(route, "host pointer" | "upload");
    let (frame, picture) = frame(&layout, cpu)?;
    let mut back = Readback::new(importer.gpu(), info.fourcc, SIZE)?;
    match route {
        "image" | "multi-planar" => {
            let held = match route {
                "image" => importer.image(&frame)?,
                _ => importer.multi_planar_image(&frame)?,
            };
            run(queue, |commands| commands.copy_image(&held.import, back.target()))?;
        }
        _ => {
            let import = match route {
                "buffer" => importer.buffer(&frame)?.import,
                "host pointer" => importer.host_pointer(&frame)?.import,
                _ => Upload::new(importer.gpu(), info.fourcc, SIZE, 1)?.stage(&frame, SOON)?,
            };
            run(queue, |commands| commands.copy(&import, back.target()))?;
        }
    }
    match back.bytes()? == picture {
        true => Ok(()),
        false => Err("WRONG BYTES".into()),
    }
}

fn run(
    queue: &Queue,
    record: impl FnOnce(&mut dmaframe_vulkan::Commands<'_>) -> Result<(), Error>,
) -> Outcome {
    match queue.submit(SOON, record)?.wait(SOON)?.is_signaled() {
        true => Ok(()),
        false => Err("the GPU did not finish".into()),
    }
}

/// A picture in a memfd, and for GPUs in a udmabuf of it.
fn frame(layout: &Layout, cpu: bool) -> Result<(Frame, Vec<u8>), Box<dyn std::error::Error>> {
    let len = layout.object_len(0);
    let fd: OwnedFd = if cpu {
        memfd(len, true)?.into()
    } else {
        udmabuf(&find(Device::Udmabuf)?, len)?
    };
    let picture = frames::picture(usize::try_from(layout.tight_len())?, 1);
    let frame = frames::frame_in(
        vec![fd],
        layout.fourcc(),
        layout.size(),
        layout.planes(),
        &picture,
    )?;
    Ok((frame, picture))
}
