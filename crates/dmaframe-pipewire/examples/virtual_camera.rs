//! A camera that other applications see: moving bars.
//!
//! `cargo run --example virtual_camera -- [NAME [WIDTHxHEIGHT [SECONDS]]]`, then open any camera application, or
//! `gst-launch-1.0 pipewiresrc target-object=NAME ! videoconvert ! autovideosink`.

use std::time::{Duration, Instant};

use dmaframe_core::Size;
use dmaframe_core::report::PathReport;
use dmaframe_pipewire::{CameraEvent, Error, VirtualCamera};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "dmaframe".into());
    let size = args.next().unwrap_or_else(|| "1280x720".into());
    let (width, height) = size.split_once('x').ok_or("a size is WIDTHxHEIGHT")?;
    let size = Size::new(width.parse()?, height.parse()?);
    let seconds: u64 = args.next().map_or(Ok(60), |s| s.parse())?;

    let camera = VirtualCamera::builder(name).size(size).start()?;
    let report = PathReport::new();
    report.add(camera.hop().clone());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut row = vec![0; size.width as usize * 4];
    let mut shift = 0;
    while Instant::now() < end {
        while let Some(event) = camera.try_next()? {
            match event {
                CameraEvent::Format { format, .. } => println!("watched: {format:?}"),
                other => println!("{other:?}"),
            }
        }
        let mut frame = match camera.acquire(Duration::from_millis(200)) {
            Ok(frame) => frame,
            // Nobody is watching, or everybody holds what they have.
            Err(Error::Starved { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
            let bar = (x + shift) / 64 % 8;
            pixel.copy_from_slice(&[
                (bar & 1) as u8 * 255,
                (bar >> 1 & 1) as u8 * 255,
                (bar >> 2) as u8 * 255,
                255,
            ]);
        }
        let mut view = frame.map_write(Duration::from_millis(100))?;
        for y in 0..size.height {
            view.write_row(0, y, &row)?;
        }
        drop(view);
        camera.push(frame, Duration::ZERO)?;
        shift += 4;
        std::thread::sleep(Duration::from_millis(33));
    }
    println!("{report}\n{:?}", camera.stats());
    Ok(())
}
