//! Frames out of any pipeline, and what their way cost.
//!
//!     gst_capture [FRAMES [PIPELINE]]
//!
//! PIPELINE is as for `gst-launch-1.0`, without its sink; `v4l2src io-mode=dmabuf` if there is none.

use std::time::Duration;

use dmaframe_core::report::PathReport;
use dmaframe_gstreamer::{FrameSink, Received};
use gst::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let frames: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let description = arguments
        .next()
        .unwrap_or_else(|| "v4l2src io-mode=dmabuf".to_owned());

    let mut sink = FrameSink::builder().build()?;
    let path = PathReport::new();
    path.hop(description.split(' ').next().unwrap_or("pipeline"));
    path.add(sink.hop().clone());

    let source = gst::parse::bin_from_description(&description, true)?;
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([source.upcast_ref(), sink.element()])?;
    source.link(sink.element())?;
    pipeline.set_state(gst::State::Playing)?;

    let mut taken = 0;
    while taken < frames {
        match sink.next(Duration::from_secs(5))? {
            Received::Frame(frame) => {
                taken += 1;
                println!("{frame:?} {:?}", frame.meta().timestamp);
            }
            Received::EndOfStream => break,
            Received::TimedOut => return Err("no picture for 5 seconds".into()),
            _ => {}
        }
    }
    println!("{path}");
    println!("{}", sink.hop().counts());
    pipeline.set_state(gst::State::Null)?;
    Ok(())
}
