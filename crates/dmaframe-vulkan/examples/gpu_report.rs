//! What this machine's Vulkan can do with frames: `cargo run --example gpu_report [part of a device's name]`.
//!
//! First the device, then a table: each format by each route, tried with a picture that is read back through the GPU.
//! `exact` means that every byte came back; a number names a reason below the table.

use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::format::{FormatInfo, all_formats};
use dmaframe_core::{Fence, Frame, FrameMeta, Layout, Lease, Size};
use dmaframe_testkit::{Device, find, memfd, udmabuf};
use dmaframe_vulkan::{Error, Gpu, Importer, OpenOptions, Queue, Readback, Upload};

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
            table(&gpu, &queue);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn table(gpu: &Gpu, queue: &Queue) {
    let importer = Importer::new(gpu);
    let mut reasons: Vec<String> = Vec::new();
    print!("{:<14}", "format");
    ROUTES.iter().for_each(|route| print!("{route:<14}"));
    println!();
    for info in all_formats() {
        print!("{:<14}", info.name);
        for route in ROUTES {
            let cell = match attempt(info, route, &importer, queue) {
                Ok(()) => "exact".to_owned(),
                Err(why) => {
                    // The format's own name would make every reason a different one.
                    let why = why.to_string().replace(&info.fourcc.to_string(), "the format");
                    let at = reasons.iter().position(|r| *r == why).unwrap_or_else(|| {
                        reasons.push(why);
                        reasons.len() - 1
                    });
                    format!("({})", at + 1)
                }
            };
            print!("{cell:<14}");
        }
        println!();
    }
    for (at, reason) in reasons.iter().enumerate() {
        println!("({}) {reason}", at + 1);
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
    let picture: Vec<u8> = (0..layout.tight_len())
        .map(|i| (i * 37 + i / 251) as u8)
        .collect();
    let fd: OwnedFd = if cpu {
        memfd(layout.object_len(0), true)?.into()
    } else {
        udmabuf(&find(Device::Udmabuf)?, layout.object_len(0))?
    };
    let object = Arc::new(dmaframe_core::Object::new(fd, 0)?);
    // SAFETY: the descriptor was made here and nobody else has it.
    let buffer = unsafe {
        dmaframe_core::raw::private_buffer(
            layout.fourcc(),
            layout.modifier(),
            layout.size(),
            [object],
            layout.planes(),
            0,
        )
    }?;
    let mut frame = Frame::new(
        Arc::new(buffer),
        FrameMeta::default(),
        Fence::Signaled,
        Lease::none(),
    )?;
    frame.map_write(SOON)?.copy_from_tight(&picture)?;
    Ok((frame, picture))
}
