//! The whole app on a real V4L2 driver: what it writes is what the driver drew.

use std::path::{Path, PathBuf};
use std::process::Command;

use dmaframe::convert::{Assume, Converter};
use dmaframe::v4l2::Device as Camera;
use dmaframe::{Deadline, Fourcc, Frame, FrameMeta, Layout, Size};
use dmaframe_testkit::{Device, need};

const SIZE: Size = Size::new(640, 360);

/// Turns the moving text off, so that every picture of the test pattern is the same.
fn still(device: &Path) {
    let camera = Camera::open(device).unwrap();
    camera.set_menu("OSD Text Mode", "None").unwrap();
}

/// One picture as `v4l2-ctl` gets it: the driver's memory mapped, written to a file.
fn reference(v4l2_ctl: &Path, device: &Path, code: &str) -> Vec<u8> {
    let file = scratch("reference.raw");
    let format = format!(
        "--set-fmt-video=width={},height={},pixelformat={code}",
        SIZE.width, SIZE.height
    );
    let output = Command::new(v4l2_ctl)
        .arg("-d")
        .arg(device)
        .args([
            &format,
            "--stream-mmap",
            "--stream-count=1",
            &format!("--stream-to={}", file.display()),
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read(file).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("camera-test-{}-{name}", std::process::id()))
}

/// Runs the app and gives its picture and what it printed.
fn camera(device: &Path, code: &str, memory: &str) -> (Vec<u8>, String) {
    let out = scratch("camera.png");
    let size = SIZE.to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_camera"))
        .args([
            "--frames", "5", "--size", &size, "--format", code, "--memory", memory,
        ])
        .arg("--device")
        .arg(device)
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut reader = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(out).unwrap()))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (SIZE.width, SIZE.height));
    (pixels, text)
}

/// The reference bytes as pixels, by the same conversion, but without any of the app's path.
fn pixels(bytes: Vec<u8>, fourcc: Fourcc, device: &Path) -> Vec<u8> {
    let layout = Layout::tight(fourcc, SIZE).unwrap();
    let mut meta = FrameMeta::default();
    meta.color = Camera::open(device).unwrap().format().unwrap().color;
    let frame = Frame::from_bytes(bytes, &layout, meta).unwrap();
    Converter::new(Assume::Auto)
        .rgba_image(&frame, Deadline::NEVER)
        .unwrap()
        .0
}

fn zero_copy_in(report: &str) -> bool {
    report.contains("frames, zero-copy") && report.contains("CPU bytes/frame: 0\n")
}

/// Every way into the app for one device and format; all must give the reference picture.
fn check(device: &Path, v4l2_ctl: &Path, code: &str, fourcc: Fourcc) {
    still(device);
    let expected = pixels(reference(v4l2_ctl, device, code), fourcc, device);
    for memory in ["camera", "udmabuf", "heap"] {
        let (seen, report) = camera(device, code, memory);
        assert!(
            seen == expected,
            "{code} through {memory}: the picture differs from v4l2-ctl's"
        );
        assert!(zero_copy_in(&report), "{code} through {memory}: {report}");
    }
}

// The tests share two devices, so they are one test.
#[test]
fn the_picture_is_the_drivers_for_exported_and_imported_memory_and_for_two_fds_with_0_cpu_bytes() {
    let v4l2_ctl = need!(Device::Program("v4l2-ctl"));
    let single = need!(Device::Capture("vivid"));
    check(&single, &v4l2_ctl, "RGB3", Fourcc::BGR888);
    check(&single, &v4l2_ctl, "NV12", Fourcc::NV12);
    check(&single, &v4l2_ctl, "YUYV", Fourcc::YUYV);

    let multi = need!(Device::CaptureMplane("vivid"));
    still(&multi);
    let expected = pixels(reference(&v4l2_ctl, &multi, "NM12"), Fourcc::NV12, &multi);
    let (seen, report) = camera(&multi, "NM12", "camera");
    assert!(seen == expected, "NM12: the picture differs from v4l2-ctl's");
    assert!(zero_copy_in(&report), "{report}");

    // RGB has no conversion in it at all: the PNG's bytes are the driver's own.
    let raw = reference(&v4l2_ctl, &single, "RGB3");
    let (seen, _) = camera(&single, "RGB3", "camera");
    assert!(
        raw.chunks(3)
            .zip(seen.chunks(4))
            .all(|(rgb, rgba)| rgb == &rgba[..3] && rgba[3] == 255)
    );
}

#[test]
fn a_device_that_is_none_is_said_with_its_path() {
    let output = Command::new(env!("CARGO_BIN_EXE_camera"))
        .args(["--device", "/dev/null"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.starts_with("camera: /dev/null"), "{error}");
}

#[test]
fn without_a_camera_the_test_picture_goes_through_the_same_frames() {
    let out = scratch("test.png");
    let output = Command::new(env!("CARGO_BIN_EXE_camera"))
        .args(["--device", "test", "--frames", "3", "--size", "321x181", "--out"])
        .arg(&out)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(zero_copy_in(&text), "{text}");
    assert!(out.exists());
}
