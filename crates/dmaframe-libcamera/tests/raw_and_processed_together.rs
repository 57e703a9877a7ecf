//! The sensor's own samples beside processed pictures: both streams of one camera, of one exposure, neither copied.
//!
//! The camera is vimc's sensor behind libcamera's "simple" pipeline with its software ISP, as laptops have it: the guest's
//! kernel gets words for that (`Cargo.toml`), which give vimc the name of a media device that this pipeline takes.

mod common;

use std::collections::HashSet;

use common::{PATIENCE, alone, next, pixels};
use dmaframe_core::{Clock, Fourcc, Frame, Modifier, Size};
use dmaframe_libcamera::{CameraMetadata, Capture, CaptureBuilder, PixelFormat, Role, StreamRequest};

/// vimc's first sensor.
const SENSOR: &str = "Sensor A";
const RAW: Size = Size::new(640, 480);
/// The software ISP cuts this from the middle.
const VIEWFINDER: Size = Size::new(320, 240);
const CUT: (usize, usize) = (160, 120);

/// The bars of vimc's test pattern from left to right, as (red, green, blue): white, yellow, cyan, green, magenta, red, blue,
/// black.
const BARS: [[bool; 3]; 8] = [
    [true, true, true],
    [true, true, false],
    [false, true, true],
    [false, true, false],
    [true, false, true],
    [true, false, false],
    [false, false, true],
    [false, false, false],
];

/// libcamera is told to run its ISP on the CPU: it takes a GPU otherwise, which the lab has not got. `false`, visibly, outside
/// the lab, where the file is somebody's.
fn prepared() -> bool {
    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("vimc behind libcamera's simple pipeline is in the lab alone");
        return false;
    }
    std::fs::create_dir_all("/etc/libcamera").unwrap();
    let text = "version: 1\nconfiguration:\n  software_isp:\n    mode: cpu\n";
    std::fs::write("/etc/libcamera/configuration.yaml", text).unwrap();
    true
}

fn both(camera: dmaframe_libcamera::Camera) -> CaptureBuilder {
    let viewfinder = StreamRequest::new(Role::ViewFinder)
        .size(VIEWFINDER)
        .format(Fourcc::XRGB8888);
    let raw = StreamRequest::new(Role::Raw).size(RAW).format(Fourcc::SRGGB10);
    Capture::builder(camera).stream(viewfinder).stream(raw)
}

/// The next request's two frames.
fn pair(capture: &mut Capture) -> (Frame, Frame) {
    let mut completed = next(capture);
    (completed.take_frame(0).unwrap(), completed.take_frame(1).unwrap())
}

/// The mean red, green and blue around each bar's middle, in rows that vimc writes no text into.
fn raw_bars(frame: &Frame) -> Vec<[f64; 3]> {
    let pixels = pixels(frame);
    let (width, bar) = (RAW.width as usize, RAW.width as usize / BARS.len());
    let sample = |x: usize, y: usize| {
        let at = (y * width + x) * 2;
        u16::from_le_bytes([pixels[at], pixels[at + 1]])
    };
    let means = (0..BARS.len()).map(|index| {
        let mut sums = [0.0; 3];
        let mut counts = [0.0; 3];
        for y in 300..340 {
            for x in index * bar + bar / 4..index * bar + bar * 3 / 4 {
                // Red in even rows and columns, blue in odd ones, green elsewhere.
                let colour = x % 2 + y % 2;
                sums[colour] += f64::from(sample(x, y));
                counts[colour] += 1.0;
            }
        }
        std::array::from_fn(|colour| sums[colour] / counts[colour])
    });
    means.collect()
}

#[test]
fn raw_and_viewfinder_come_together() {
    let _alone = alone();
    if !prepared() {
        return;
    }
    let configured = both(need_camera!(SENSOR)).configure().unwrap();
    let formats: Vec<_> = configured.formats().cloned().collect();
    assert_eq!((formats[0].role, formats[0].size), (Role::ViewFinder, VIEWFINDER));
    assert_eq!((formats[1].role, formats[1].size), (Role::Raw, RAW));
    assert_eq!(formats[1].format, PixelFormat::linear(Fourcc::SRGGB10));
    assert_eq!(formats[1].stride, 2 * RAW.width, "ten bits in sixteen");

    let mut capture = configured.start().unwrap();
    let (send, receive) = std::sync::mpsc::sync_channel::<(Frame, Frame)>(0);
    // Both leases end there.
    let consumer = std::thread::spawn(move || {
        receive
            .into_iter()
            .map(|(viewfinder, raw)| {
                assert!(viewfinder.as_dmabuf().is_some() && raw.as_dmabuf().is_some());
            })
            .count()
    });
    let mut buffers = [HashSet::new(), HashSet::new()];
    for _ in 0..60 {
        let (viewfinder, raw) = pair(&mut capture);
        let (picture, sample) = (viewfinder.meta(), raw.meta());
        assert_eq!(picture.timestamp.unwrap().clock, Clock::Monotonic);
        assert_eq!(picture.timestamp, sample.timestamp, "of one exposure");
        assert_eq!(picture.sequence, sample.sequence);
        let of = |frame: &Frame| frame.meta().extensions.get::<CameraMetadata>().unwrap().sequence;
        assert_eq!(of(&viewfinder), of(&raw), "of one request");
        buffers[0].insert(viewfinder.buffer_id());
        buffers[1].insert(raw.buffer_id());
        send.send((viewfinder, raw)).unwrap();
    }
    drop(send);
    assert_eq!(consumer.join().unwrap(), 60);
    for (stream, buffers) in buffers.iter().enumerate() {
        assert!(buffers.len() <= capture.slots(stream), "in the same few buffers");
        let (hop, stats) = (capture.hop(stream).unwrap().counts(), capture.stats(stream));
        assert_eq!((hop.frames, hop.zero_copy, hop.cpu_bytes), (60, 60, 0), "{hop}");
        assert_eq!((stats.delivered, stats.detached, stats.errors), (60, 0, 0));
    }
}

#[test]
fn raw_pictures_are_the_sensors_and_the_viewfinder_is_made_of_them() {
    let _alone = alone();
    if !prepared() {
        return;
    }
    let mut capture = both(need_camera!(SENSOR)).start().unwrap();
    // The software ISP of 0.7 makes the first picture before it has parameters for it.
    let (viewfinder, raw) = (0..3).map(|_| pair(&mut capture)).last().unwrap();
    assert_eq!(
        (raw.fourcc(), raw.modifier()),
        (Fourcc::SRGGB10, Modifier::LINEAR)
    );
    assert_eq!((raw.layout().size(), raw.layout().planes().len()), (RAW, 1));
    assert_eq!(raw.layout().planes()[0].stride, 2 * RAW.width);
    assert_eq!(
        (viewfinder.fourcc(), viewfinder.layout().size()),
        (Fourcc::XRGB8888, VIEWFINDER)
    );

    let bars = raw_bars(&raw);
    let brightest = bars[0][1];
    assert!((512.0..1024.0).contains(&brightest), "ten bits: {bars:?}");
    for (index, (mean, on)) in bars.iter().zip(BARS).enumerate() {
        for colour in 0..3 {
            assert_eq!(
                mean[colour] > brightest / 2.0,
                on[colour],
                "bar {index} of {bars:?}"
            );
        }
    }
    // What is in the middle of both, whatever white balance, gamma and contrast the ISP chose.
    let picture = pixels(&viewfinder);
    let bar = RAW.width as usize / BARS.len();
    for (index, bar_is) in BARS.iter().enumerate().take(6).skip(2) {
        let (x, y) = (index * bar + bar / 2 - CUT.0, 310 - CUT.1);
        let at = (y * VIEWFINDER.width as usize + x) * 4;
        let [blue, green, red] = [picture[at], picture[at + 1], picture[at + 2]];
        let brightest = red.max(green).max(blue);
        let on = [red, green, blue].map(|value| value > brightest / 2);
        assert_eq!(on, *bar_is, "bar {index}: {red} {green} {blue}");
    }
}

#[test]
fn raw_comes_alone_too() {
    let _alone = alone();
    if !prepared() {
        return;
    }
    let raw = StreamRequest::new(Role::Raw)
        .size(Size::new(320, 240))
        .format(Fourcc::SRGGB8);
    let mut capture = Capture::builder(need_camera!(SENSOR))
        .stream(raw)
        .start()
        .unwrap();
    for _ in 0..5 {
        let frame = common::frame(&mut capture);
        assert_eq!(
            (frame.fourcc(), frame.layout().size()),
            (Fourcc::SRGGB8, Size::new(320, 240))
        );
        assert_eq!(frame.layout().planes()[0].stride, 320);
        assert!(
            frame
                .map_read(PATIENCE)
                .unwrap()
                .to_tight()
                .unwrap()
                .iter()
                .any(|sample| *sample > 128)
        );
    }
    assert_eq!(capture.hop(0).unwrap().counts().cpu_bytes, 0);
}
