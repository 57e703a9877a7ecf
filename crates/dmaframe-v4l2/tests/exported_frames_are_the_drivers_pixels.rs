//! What a frame shows is what the driver wrote, in every format, without a CPU copy on the way.

mod common;

use common::{PATIENCE, SMALL, alone, fast, frame, pixels, read_picture, still};
use dmaframe_core::report::PathReport;
use dmaframe_core::{Clock, Fourcc, Orientation, Range, Size};
use dmaframe_v4l2::{FormatRequest, PixelFormat};

/// Packed, planar and semi-planar YUV, RGB in both byte orders, luma and raw Bayer: everything vivid makes in one
/// memory plane that a frame can describe.
const FORMATS: &[&[u8; 4]] = &[
    b"YUYV", b"UYVY", b"YVYU", b"VYUY", b"NV12", b"NV21", b"NV16", b"NV61", b"NV24", b"NV42", b"YU12",
    b"YV12", b"422P", b"RGB3", b"BGR3", b"XR24", b"AR24", b"XB24", b"AB24", b"RX24", b"RA24", b"BX24",
    b"BA24", b"RGBP", b"VUYA", b"VUYX", b"GREY", b"Y10 ", b"Y12 ", b"Y16 ", b"RGGB", b"GRBG", b"GBRG",
    b"BA81", b"RG10", b"BA10", b"GB10", b"BG10", b"RG12", b"BA12", b"GB12", b"BG12", b"RG16", b"GR16",
    b"GB16", b"BYR2",
];

#[test]
fn every_format_reads_as_the_kernels_own_read_gives_it() {
    let path = need_vivid!();
    let _alone = alone();
    for code in FORMATS {
        let format = PixelFormat::new(code);
        let device = still(&path);
        let active = device.set_format(FormatRequest::new(format, SMALL)).unwrap();
        let expected = read_picture(&path, &active);
        let mut capture = fast(device, format, SMALL).start().unwrap();
        let report = PathReport::new();
        report.add(capture.hop().clone());
        let frame = frame(&mut capture);
        assert_eq!(Some(frame.fourcc()), format.frame().map(|f| f.fourcc), "{format}");
        assert_eq!(frame.layout().size(), SMALL, "{format}");
        let view = frame.map_read(PATIENCE).unwrap();
        assert!(
            view.has_slices(),
            "{format}: the driver's own buffers are private"
        );
        // Vivid pads nothing at this size, so the file-like bytes are the tight ones.
        assert_eq!(view.to_tight().unwrap(), expected, "{format}");
        drop(view);
        assert!(
            expected.iter().any(|byte| *byte != expected[0]),
            "{format}: a picture, not a blank"
        );
        assert_eq!(report.cpu_bytes_per_frame(), 0);
        assert_eq!(report.to_string(), "vivid(V4L2,EXPBUF)   CPU bytes/frame: 0");
        assert_eq!(frame.as_dmabuf().map(|f| f.objects().len()), Some(1), "{format}");
    }
}

#[test]
fn planes_in_dma_bufs_of_their_own_hold_the_same_picture_as_one() {
    let single = need_vivid!();
    let multi = need_vivid!(multiplanar);
    let _alone = alone();
    for (together, apart, objects) in [
        (b"NV12", b"NM12", 2),
        (b"NV21", b"NM21", 2),
        (b"NV16", b"NM16", 2),
        (b"NV61", b"NM61", 2),
        (b"YU12", b"YM12", 3),
        (b"YV12", b"YM21", 3),
        (b"422P", b"YM16", 3),
    ] {
        let device = still(&single);
        let active = device
            .set_format(FormatRequest::new(PixelFormat::new(together), SMALL))
            .unwrap();
        let expected = read_picture(&single, &active);
        drop(device);
        let mut capture = fast(still(&multi), PixelFormat::new(apart), SMALL)
            .start()
            .unwrap();
        let frame = frame(&mut capture);
        let dmabuf = frame.as_dmabuf().expect("exported");
        assert_eq!(dmabuf.objects().len(), objects);
        assert!(dmabuf.is_disjoint());
        assert_eq!(pixels(&frame), expected, "{}", PixelFormat::new(apart));
        assert_eq!(capture.hop().counts().cpu_bytes, 0);
    }
}

#[test]
fn contiguous_formats_work_through_the_multi_planar_api_too() {
    let single = need_vivid!();
    let multi = need_vivid!(multiplanar);
    let _alone = alone();
    let device = still(&single);
    let active = device
        .set_format(FormatRequest::new(PixelFormat::NV12, SMALL))
        .unwrap();
    let expected = read_picture(&single, &active);
    drop(device);
    let mut capture = fast(still(&multi), PixelFormat::NV12, SMALL).start().unwrap();
    let frame = frame(&mut capture);
    assert!(!frame.as_dmabuf().unwrap().is_disjoint());
    assert_eq!(pixels(&frame), expected);
}

#[test]
fn a_padded_stride_is_followed() {
    let path = need_vivid!();
    let _alone = alone();
    for code in [b"YUYV", b"NV12", b"YU12"] {
        let format = PixelFormat::new(code);
        let device = still(&path);
        device.set_format(FormatRequest::new(format, SMALL)).unwrap();
        let expected = read_picture(&path, &device.format().unwrap());
        let mut request = FormatRequest::new(format, SMALL);
        request.stride = Some(1024);
        let mut capture = dmaframe_v4l2::Capture::builder(device)
            .format(request)
            .start()
            .unwrap();
        let frame = frame(&mut capture);
        assert_eq!(frame.layout().planes()[0].stride, 1024, "{format}");
        assert_eq!(pixels(&frame), expected, "{format}");
    }
}

#[test]
fn metadata_is_the_drivers() {
    let path = need_vivid!();
    let _alone = alone();
    let mut capture = fast(still(&path), PixelFormat::YUYV, Size::new(640, 360))
        .start()
        .unwrap();
    let (first, second) = (frame(&mut capture), frame(&mut capture));
    let times = [&first, &second].map(|f| f.meta().timestamp.expect("vivid stamps its frames"));
    assert!(times.iter().all(|time| time.clock == Clock::Monotonic));
    assert!(times[0].ns < times[1].ns);
    let now = dmaframe_core::Timestamp::now(Clock::Monotonic).ns;
    assert!(
        now.abs_diff(times[1].ns) < 5_000_000_000,
        "the same clock as ours"
    );
    let sequences = [&first, &second].map(|f| f.meta().sequence.unwrap());
    assert_eq!(capture.stats().gaps, sequences[1] - sequences[0] - 1);
    // Vivid's webcam says sRGB, and 0 for the rest.
    let color = first.meta().color;
    assert_eq!(
        (color.primaries, color.transfer, color.matrix, color.range),
        (1, 13, 6, Range::Limited)
    );
    assert_eq!(first.meta().orientation, Orientation::IDENTITY);
    assert!(first.acquire().is_trivial());
    assert_ne!(first.content_id(), second.content_id());
    assert_ne!(first.buffer_id(), second.buffer_id());
    assert_eq!(first.fourcc(), Fourcc::YUYV);
}

/// Changing the test pattern's colour space changes what frames say, not only what the driver says.
#[test]
fn a_colour_space_the_driver_names_reaches_the_frame() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    for (name, primaries, matrix) in [("Rec. 709", 1, 1), ("SMPTE 170M", 6, 6), ("BT.2020", 9, 9)] {
        device.set_menu("Colorspace", name).unwrap();
        let format = device
            .set_format(FormatRequest::new(PixelFormat::NV12, SMALL))
            .unwrap();
        assert_eq!(
            (format.color.primaries, format.color.matrix),
            (primaries, matrix),
            "{name}"
        );
    }
    device.set_menu("Colorspace", "sRGB").unwrap();
}

/// What changed while the stream was stopped is in its pictures after the start.
#[test]
fn the_colour_is_read_anew_at_a_start() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    device.set_menu("Colorspace", "sRGB").unwrap();
    let mut capture = fast(device, PixelFormat::NV12, SMALL).start().unwrap();
    let before = frame(&mut capture).meta().color;
    capture.stop().unwrap();
    capture.device().set_menu("Colorspace", "BT.2020").unwrap();
    capture.start().unwrap();
    let after = frame(&mut capture).meta().color;
    assert_eq!(capture.format().color, after);
    capture.device().set_menu("Colorspace", "sRGB").unwrap();
    assert_eq!(
        [before, after].map(|color| (color.primaries, color.matrix)),
        [(1, 6), (9, 9)]
    );
}

#[test]
fn a_sensor_that_is_flipped_says_how_to_turn_the_picture() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    device.set_control("Sensor Flipped Horizontally", 1).unwrap();
    let mut capture = fast(device, PixelFormat::YUYV, SMALL).start().unwrap();
    let orientation = frame(&mut capture).meta().orientation;
    capture
        .device()
        .set_control("Sensor Flipped Horizontally", 0)
        .unwrap();
    assert!(orientation.mirror);
    assert_eq!(orientation.rotation.degrees(), 0);
}
