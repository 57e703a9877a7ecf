//! Frames into a file: a moving picture in a pool's dma-bufs, recorded by a pipeline's encoder.
//!
//!     gst_record FILE [SECONDS [ENCODER]]
//!
//! ENCODER is as for `gst-launch-1.0`, up to the muxer; `x264enc tune=zerolatency ! h264parse ! matroskamux` if there is
//! none.

use std::time::Duration;

use dmaframe_core::report::PathReport;
use dmaframe_core::{Clock, Fourcc, Frame, Size, Timestamp};
use dmaframe_gstreamer::FrameSrc;
use gst::prelude::*;

const RATE: u32 = 30;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments
        .next()
        .ok_or("usage: gst_record FILE [SECONDS [ENCODER]]")?;
    let seconds: u32 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let encoder = arguments
        .next()
        .unwrap_or_else(|| "x264enc tune=zerolatency ! h264parse ! matroskamux".to_owned());

    let source = FrameSrc::builder().framerate(30, 1).build()?;
    let rest = gst::parse::bin_from_description(&format!("{encoder} ! filesink name=file"), true)?;
    rest.by_name("file")
        .ok_or("no filesink")?
        .set_property("location", &file);
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([source.element(), rest.upcast_ref()])?;
    source.element().link(&rest)?;

    // Memory the encoder takes, in a format it likes.
    let pool = source.pool(&[Fourcc::NV12, Fourcc::YUV420], Size::new(640, 480), 4)?;
    let path = PathReport::new();
    path.hop("drawing");
    path.add(source.hop().clone());
    pipeline.set_state(gst::State::Playing)?;
    for number in 0..seconds * RATE {
        let mut frame = pool.acquire(Duration::from_secs(1))?;
        draw(&mut frame, number)?;
        frame.meta_mut()?.timestamp = Some(Timestamp::now(Clock::Monotonic));
        source.push(frame, Duration::from_secs(1))?;
        std::thread::sleep(Duration::from_secs(1) / RATE);
    }
    source.end_of_stream()?;

    let bus = pipeline.bus().ok_or("no bus")?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(10), &kinds);
    pipeline.set_state(gst::State::Null)?;
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => println!("{path}\n{}", source.hop().counts()),
        Some(gst::MessageView::Error(error)) => return Err(error.error().into()),
        _ => return Err("the pipeline did not end".into()),
    }
    Ok(())
}

/// A bright column that moves to the right.
fn draw(frame: &mut Frame, number: u32) -> Result<(), dmaframe_core::Error> {
    let mut view = frame.map_write(Duration::from_secs(1))?;
    for plane in 0..view.layout().planes().len() {
        let len = view.layout().row_bytes(plane);
        let mut row = vec![if plane == 0 { 40 } else { 128 }; len];
        if plane == 0 {
            let at = number as usize * 4 % len;
            row[at..(at + 16).min(len)].fill(220);
        }
        for index in 0..view.layout().rows(plane) {
            view.write_row(plane, index, &row)?;
        }
    }
    Ok(())
}
