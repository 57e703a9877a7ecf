//! Captures some pictures and says what they cost.
//!
//! `cargo run --example capture -- [/dev/videoN [FOURCC [WIDTHxHEIGHT]]]`; without arguments it lists the devices.

use std::time::Duration;

use dmaframe_core::Size;
use dmaframe_core::report::PathReport;
use dmaframe_v4l2::{Capture, Captured, Device, FormatRequest, PixelFormat, list};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(path) = args.first() else {
        for found in list()? {
            let caps = &found.capabilities;
            println!(
                "{}  {} ({}, {})",
                found.path.display(),
                caps.card,
                caps.driver,
                caps.bus
            );
            for offered in Device::open(&found.path)?.formats()? {
                let frame = offered.pixel_format.frame();
                let drm = frame.map_or("-".to_owned(), |f| format!("{} {}", f.fourcc, f.modifier));
                println!(
                    "  {:8} {:32} {drm}",
                    offered.pixel_format.to_string(),
                    offered.description
                );
            }
        }
        return Ok(());
    };
    let mut request = FormatRequest::default();
    if let Some(code) = args.get(1) {
        let code: [u8; 4] = code
            .as_bytes()
            .try_into()
            .map_err(|_| "a format is four characters")?;
        request.pixel_format = Some(PixelFormat::new(&code));
    }
    if let Some((width, height)) = args.get(2).and_then(|size| size.split_once('x')) {
        request.size = Some(Size::new(width.parse()?, height.parse()?));
    }
    let mut capture = Capture::builder(Device::open(path)?).format(request).start()?;
    let report = PathReport::new();
    report.add(capture.hop().clone());
    println!("{:#?}", capture.format());
    for _ in 0..30 {
        match capture.next(Duration::from_secs(2))? {
            Some(Captured::Frame(frame)) => {
                let meta = frame.meta();
                println!(
                    "{:?} {:?} {frame:?}",
                    meta.sequence,
                    meta.timestamp.map(|time| time.ns)
                );
            }
            Some(other) => println!("{other:?}"),
            None => println!("no picture for two seconds"),
        }
    }
    println!("{report}\n{:?}", capture.stats());
    Ok(())
}
