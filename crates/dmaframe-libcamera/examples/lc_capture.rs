//! Captures from a camera and says what each frame cost:
//! `lc_capture [ID] [FRAMES] [WIDTHxHEIGHT] [raw]`.
//!
//! The lab's camera with raw pictures beside a viewfinder (`cargo xtask test -p dmaframe-libcamera` builds this program):
//! `cargo xtask lab run --udev --kernel-arg vimc.driver_name=intel-ipu6 -- env LIBCAMERA_SOFTISP_MODE=cpu
//! target/inside/debug/examples/lc_capture "Sensor A" 1000 640x480 raw`.

use std::time::{Duration, Instant};

use dmaframe_core::Size;
use dmaframe_core::report::PathReport;
use dmaframe_libcamera::{CameraMetadata, Cameras, Capture, Captured, Role, StreamRequest};

/// Longer than any camera takes, even on a machine with other work.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1).peekable();
    let wanted = words.next().unwrap_or_default();
    let count: u64 = words.next().map_or(Ok(100), |word| word.parse())?;
    let cameras = Cameras::new()?;
    println!("libcamera {}", cameras.version());
    for camera in cameras.list() {
        println!("{} ({:?}, {:?})", camera.id, camera.model, camera.location);
    }
    let listed = cameras
        .list()
        .into_iter()
        .find(|camera| camera.id.contains(&wanted));
    let camera = cameras.open(&listed.ok_or("no such camera")?.id)?;

    let mut viewfinder = StreamRequest::new(Role::ViewFinder);
    let mut raw = false;
    for word in words {
        match word.split_once('x') {
            Some((width, height)) => viewfinder = viewfinder.size(Size::new(width.parse()?, height.parse()?)),
            None => raw = word == "raw",
        }
    }
    let mut builder = Capture::builder(camera).stream(viewfinder);
    if raw {
        builder = builder.stream(StreamRequest::new(Role::Raw));
    }
    let configured = builder.configure()?;
    for format in configured.formats() {
        println!(
            "{}: {} {}, stride {}, {} buffers, {:?}",
            format.role, format.format, format.size, format.stride, format.buffers, format.color
        );
    }
    let mut capture = configured.start()?;

    // A path for each stream; another thread drops all frames.
    let streams = capture.formats().len();
    let reports: Vec<_> = (0..streams).map(|_| PathReport::new()).collect();
    for (index, report) in reports.iter().enumerate() {
        capture
            .hop(index)
            .into_iter()
            .for_each(|hop| report.add(hop.clone()));
    }
    let consumers: Vec<_> = reports
        .iter()
        .map(|report| report.hop("another thread"))
        .collect();
    let (send, receive) = std::sync::mpsc::sync_channel::<(usize, dmaframe_core::Frame)>(0);
    let thread = std::thread::spawn(move || {
        receive
            .into_iter()
            .for_each(|(index, _)| consumers[index].zero_copy())
    });
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    for number in 0..count {
        let asked = Instant::now();
        let Some(completed) = capture.next(PATIENCE)? else {
            let queued = capture.queued(0);
            return Err(format!(
                "no picture for {PATIENCE:?} after {number}; the camera has {queued} buffers"
            )
            .into());
        };
        longest = longest.max(asked.elapsed());
        for (index, picture) in completed.into_pictures().into_iter().enumerate() {
            let Some(frame) = picture.and_then(Captured::into_frame) else {
                continue;
            };
            if number == 0 {
                println!("{frame:?}");
                println!("{:?}", frame.meta());
                println!("{:?}", frame.meta().extensions.get::<CameraMetadata>());
            }
            send.send((index, frame))?;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    drop(send);
    thread.join().map_err(|_| "the consumer panicked")?;
    println!(
        "{count} frames of each of {streams} streams in {seconds:.2} s, {:.1} a second, the longest wait {longest:?}",
        count as f64 / seconds
    );
    for (index, report) in reports.iter().enumerate() {
        println!("{:?}", capture.stats(index));
        println!("{report}");
    }
    Ok(())
}
