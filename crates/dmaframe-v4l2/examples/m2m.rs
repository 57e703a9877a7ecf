//! Lists the mem2mem devices, encodes a camera without copying a picture, and says what it cost.
//!
//! `cargo run --example m2m -- [CAMERA FILE [PICTURES]]`, for example `m2m /dev/video0 out.fwht 100`: takes the first
//! encoder there is. Without arguments it only lists.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use dmaframe_core::report::PathReport;
use dmaframe_core::{Bitstream, Size};
use dmaframe_v4l2::{Capture, Device, Encoder, FormatRequest, Output, PixelFormat, Queue, Role, list_m2m};

const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let devices = list_m2m()?;
    for found in &devices {
        println!(
            "{}  {}: {:?}",
            found.path.display(),
            found.capabilities.card,
            found.roles
        );
        let device = Device::open_m2m(&found.path)?;
        for queue in [Queue::Output, Queue::Capture] {
            let formats: Vec<_> = device
                .formats_of(queue)?
                .iter()
                .map(|f| f.pixel_format.to_string())
                .collect();
            println!("  {queue:?}: {}", formats.join(" "));
        }
    }
    let [camera, path, rest @ ..] = &args[..] else {
        return Ok(());
    };
    let pictures: u64 = rest.first().map_or(Ok(100), |count| count.parse())?;
    let encoder = devices
        .iter()
        .find(|found| found.roles.contains(&Role::Encoder))
        .ok_or("no encoder here")?;

    let format = FormatRequest::new(PixelFormat::NV12, Size::new(1280, 720));
    let mut capture = Capture::builder(Device::open(camera)?).format(format).start()?;
    let mut encoder = Encoder::builder(Device::open_m2m(&encoder.path)?)
        .input(FormatRequest::from(capture.format()))
        .start()?;
    let report = PathReport::new();
    for hop in [capture.hop(), encoder.input_hop(), encoder.output_hop()] {
        report.add(hop.clone());
    }
    let mut file = File::create(path)?;
    for _ in 0..pictures {
        let Some(frame) = capture.next(PATIENCE)?.and_then(|captured| captured.into_frame()) else {
            return Err("no picture for two seconds".into());
        };
        // The encoder reads the camera's buffer, and gives it back to the camera when it has.
        encoder.submit(frame, PATIENCE)?;
        while let Some(output) = encoder.try_next()? {
            write(&mut file, output)?;
        }
    }
    encoder.drain()?;
    loop {
        match encoder.next(PATIENCE)? {
            Some(Output::Drained) => break,
            Some(output) => write(&mut file, output)?,
            None => return Err("the encoder stopped".into()),
        }
    }
    println!(
        "{} bytes of {}",
        file.metadata()?.len(),
        encoder
            .output_format()
            .map_or(String::new(), |f| f.pixel_format.to_string())
    );
    println!("{report}");
    for hop in report.counts() {
        println!("  {hop}");
    }
    println!("{:?}", capture.stats());
    Ok(())
}

fn write(file: &mut File, output: Output<Bitstream>) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(unit) = output.into_item() {
        file.write_all(&unit.map_read(PATIENCE)?.to_vec()?)?;
    }
    Ok(())
}
