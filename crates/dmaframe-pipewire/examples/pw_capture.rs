//! Reads frames from a PipeWire node and says what they are and what they cost.
//!
//! `cargo run --example pw_capture -- [NODE [FRAMES]]`; without a node, the default camera. NODE is a `node.name`, an
//! `object.serial`, or `-` to be linked by hand (`pw-link`).

use std::time::Duration;

use dmaframe_core::report::PathReport;
use dmaframe_pipewire::{CaptureStream, Event, Target};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let target = match args.next().as_deref() {
        None => Target::Default,
        Some("-") => Target::Unlinked,
        Some(name) => Target::Name(name.to_owned()),
    };
    let mut wanted: u32 = args.next().map_or(Ok(30), |n| n.parse())?;
    let stream = CaptureStream::builder()
        .target(target)
        .name("pw_capture")
        .start()?;
    let report = PathReport::new();
    report.add(stream.hop().clone());
    while wanted > 0 {
        match stream.next(Duration::from_secs(5))? {
            Some(Event::Frame(frame)) => {
                wanted -= 1;
                let meta = frame.meta();
                let time = meta.timestamp.map(|t| t.ns / 1000);
                println!("{frame:?} sequence {:?} at {time:?} us", meta.sequence);
            }
            Some(Event::Format(format)) => println!("format: {format:?}"),
            Some(other) => println!("{other:?}"),
            None => println!("nothing for five seconds"),
        }
    }
    println!("{report}\n{:?}", stream.stats());
    Ok(())
}
