//! Filters on the GPU: the same picture by every route, 0 CPU bytes where dma-bufs are, and a picture without any GPU.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dmaframe::v4l2::Device as Camera;
use dmaframe_testkit::{Device, need};

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("camera-filters-{}-{name}", std::process::id()))
}

fn app(arguments: &[&str], out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command
        .args(["--size", "320x180"])
        .args(arguments)
        .arg("--out")
        .arg(out);
    command
}

fn text(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{out}\n{err}")
}

/// Runs the app and gives its picture's RGB and what it printed.
fn camera(arguments: &[&str], environment: &[(&str, &str)]) -> (Vec<u8>, String) {
    let out = scratch("picture.png");
    let output = app(arguments, &out)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let mut reader = png::Decoder::new(BufReader::new(std::fs::File::open(&out).unwrap()))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    (pixels, text(&output))
}

/// The largest and the mean difference.
fn difference(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let each = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let sum: u64 = each().map(u64::from).sum();
    (each().max().unwrap_or(0), sum as f64 / a.len() as f64)
}

/// Without a Vulkan driver: the loader finds none.
const NO_GPU: &[(&str, &str)] = &[
    ("VK_DRIVER_FILES", "/nonexistent"),
    ("VK_ICD_FILENAMES", "/nonexistent"),
];

/// Whether the app finds a GPU here; the lab has lavapipe.
fn gpu() -> bool {
    let (_, report) = camera(&["--device", "test", "--frames", "1", "--filter", "none"], &[]);
    let found = !report.contains("filters need a GPU");
    if !found {
        dmaframe_testkit::skip("no Vulkan device");
    }
    found
}

#[test]
fn vivid_is_filtered_with_0_cpu_bytes_and_the_same_by_every_route() {
    let device = need!(Device::Capture("vivid"));
    if !gpu() {
        return;
    }
    Camera::open(&device)
        .unwrap()
        .set_menu("OSD Text Mode", "None")
        .unwrap();
    let device = device.to_str().unwrap();
    let run = |filter: &[&str], environment: &[(&str, &str)]| {
        let arguments = [&["--device", device, "--format", "NV12", "--frames", "4"], filter].concat();
        camera(&arguments, environment)
    };
    let (plain, _) = run(&[], &[]);
    let (best, report) = run(&["--filter", "none"], &[]);
    assert!(
        report.contains("wgpu:buffer -> effect(none) -> export NV12 (exported dma-buf)"),
        "{report}"
    );
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
    // Chroma is up- and downsampled once more than on the CPU's way.
    let (_, mean) = difference(&plain, &best);
    assert!(mean < 1.5, "{mean} a byte from the CPU's picture");

    // One after the other is switched off.
    let ways: [(&str, &str, &[&str]); 4] = [
        (
            "-buffer",
            "",
            &["DMAFRAME_ROUTES leaves the routes image,host,upload"],
        ),
        (
            "-buffer,-image",
            "",
            &[
                "wgpu:upload",
                "import of",
                "by host pointer",
                "no better route took the frame",
            ],
        ),
        (
            "upload",
            "",
            &["wgpu:upload", "DMAFRAME_ROUTES leaves the routes upload"],
        ),
        (
            "",
            "-exported,-host",
            &[
                "wgpu:buffer",
                "export NV12 (readback)",
                "exported dma-buf not used: switched off",
            ],
        ),
    ];
    for (routes, export, reasons) in ways {
        let (seen, report) = run(
            &["--filter", "none"],
            &[("DMAFRAME_ROUTES", routes), ("DMAFRAME_EXPORT", export)],
        );
        let (worst, _) = difference(&seen, &best);
        assert!(
            worst <= 1,
            "{routes:?} {export:?}: {worst} from the best way's picture"
        );
        for reason in reasons {
            assert!(
                report.contains(reason),
                "{routes:?} {export:?}: {reason:?} is not in\n{report}"
            );
        }
        let zero = report.contains("CPU bytes/frame: 0\n");
        assert_eq!(zero, routes == "-buffer", "{report}");
    }
}

#[test]
fn without_vulkan_the_picture_is_the_cpus_and_the_report_says_so() {
    let test = ["--device", "test", "--frames", "3"];
    let (plain, _) = camera(&test, &[]);
    let (seen, report) = camera(&[&test[..], &["--filter", "noir"]].concat(), NO_GPU);
    assert!(seen == plain);
    assert!(
        report.contains("note: filters need a GPU with Vulkan: 'noir' is not applied"),
        "{report}"
    );
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
}

#[test]
fn every_built_in_filter_does_what_its_name_says() {
    if !gpu() {
        return;
    }
    let run = |filter| camera(&["--device", "test", "--frames", "2", "--filter", filter], &[]).0;
    let none = run("none");
    let pixel = |picture: &[u8], x: usize, y: usize| -> [u8; 3] {
        let at = (y * 320 + x) * 4;
        [picture[at], picture[at + 1], picture[at + 2]]
    };
    let grey = |picture: &[u8]| {
        let off = |p: &[u8]| p[0].abs_diff(p[1]).max(p[1].abs_diff(p[2]));
        picture.chunks(4).map(off).max().unwrap_or(0)
    };
    for filter in ["mono", "noir", "edge"] {
        assert!(grey(&run(filter)) <= 3, "{filter} is grey");
    }
    assert!(grey(&none) > 100);
    let mirrored = run("mirror");
    for (x, y) in [(30, 20), (250, 100), (300, 170)] {
        let (a, b) = (pixel(&none, x, y), pixel(&mirrored, 319 - x, y));
        assert!(difference(&a, &b).0 <= 4, "{a:?} and {b:?}");
    }
    let sepia = pixel(&run("sepia"), 200, 90);
    assert!(sepia[0] > sepia[1] && sepia[1] > sepia[2], "{sepia:?}");
    let vignette = run("vignette");
    assert!(difference(&pixel(&vignette, 160, 90), &pixel(&none, 160, 90)).0 <= 3);
    assert!(pixel(&vignette, 1, 1)[0] < pixel(&none, 1, 1)[0] / 2);
    // Of a picture of bars only the seams change.
    for filter in ["blur", "pixelate"] {
        let (worst, mean) = difference(&run(filter), &none);
        assert!(worst > 20 && mean < 15.0, "{filter}: {worst}, {mean}");
    }
}

#[test]
fn a_file_is_applied_live_and_its_mistakes_are_named_by_line() {
    if !gpu() {
        return;
    }
    let file = scratch("mine.wgsl");
    let write = |text: &str| {
        // Whole from the first look on, as editors do it.
        let beside = scratch("mine.wgsl~");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, &file).unwrap();
    };
    let plain = |color: &str| format!("fn effect(uv: vec2f) -> vec4f {{\n    return {color};\n}}\n");
    let name = file.to_str().unwrap();
    let out = scratch("live.png");
    write(&plain("vec4f(1.0, 0.0, nothing, 1.0)"));
    let refused = app(&["--device", "test", "--frames", "1", "--filter", name], &out)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused).contains(&format!("{name}:2: ")),
        "{}",
        text(&refused)
    );
    write("fn other() {}\n");
    let refused = app(&["--device", "test", "--frames", "1", "--filter", name], &out)
        .output()
        .unwrap();
    assert!(
        text(&refused).contains("is there a `fn effect"),
        "{}",
        text(&refused)
    );
    let unknown = app(&["--device", "test", "--filter", "nior"], &out)
        .output()
        .unwrap();
    assert!(
        text(&unknown).contains("no filter 'nior': there are none, mono"),
        "{}",
        text(&unknown)
    );

    write(&plain("vec4f(1.0, 0.0, 0.0, 1.0)"));
    // As many pictures as it takes; a line that is never said is missed at the end.
    let mut running = app(&["--device", "test", "--seconds", "60", "--filter", name], &out)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut wait_for = |what: &str| {
        let found = lines.find(|line| line.contains(what));
        assert!(found.is_some(), "{what:?} was never said");
        found.unwrap_or_default()
    };
    wait_for("source: ");
    write(&plain("vec4f(0.0, 1.0, 0.0, 1.0)"));
    wait_for("has changed");
    write(&plain("vec4f(0.0, 1.0)"));
    let said = wait_for("the filter stays as it was");
    assert!(said.contains(":2: "), "{said}");
    let interrupted = Command::new("kill")
        .args(["-INT", &running.id().to_string()])
        .status();
    assert!(interrupted.unwrap().success());
    wait_for("picture: ");
    assert!(running.wait().unwrap().success());
    let mut reader = png::Decoder::new(BufReader::new(std::fs::File::open(&out).unwrap()))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    let green = pixels.chunks(4).all(|p| p[0] < 4 && p[1] > 250 && p[2] < 4);
    assert!(green, "the last good filter's picture, not {:?}", &pixels[..4]);
}

#[test]
fn streams_hold_every_frame_and_players_know_what_they_are() {
    let (raw, y4m) = (scratch("all.nv12"), scratch("all.y4m"));
    // Through the GPU where there is one, by the CPU elsewhere: the same file format.
    for environment in [&[][..], NO_GPU] {
        for file in [&raw, &y4m] {
            let stream = file.to_str().unwrap();
            let arguments = [
                "--device", "test", "--frames", "3", "--filter", "none", "--stream", stream,
            ];
            let (_, report) = camera(&arguments, environment);
            assert!(report.contains("-> file("), "{report}");
            assert!(report.contains("a file is written by the CPU"), "{report}");
        }
        let (raw, y4m) = (std::fs::read(&raw).unwrap(), std::fs::read(&y4m).unwrap());
        let (luma, frame) = (320 * 180, 320 * 180 * 3 / 2);
        assert_eq!(raw.len(), 3 * frame);
        let end = y4m.iter().position(|byte| *byte == b'\n').unwrap();
        let header = std::str::from_utf8(&y4m[..end]).unwrap();
        assert_eq!(
            header,
            "YUV4MPEG2 W320 H180 F30:1 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED"
        );
        for (index, picture) in y4m[end + 1..].chunks(6 + frame).enumerate() {
            let same = &raw[index * frame..][..frame];
            assert_eq!(&picture[..6], b"FRAME\n");
            assert!(picture[6..6 + luma] == same[..luma], "luma of frame {index}");
            let (u, v) = picture[6 + luma..].split_at(luma / 4);
            let pairs = same[luma..].chunks(2);
            assert!(
                pairs.zip(u.iter().zip(v)).all(|(pair, (u, v))| pair == [*u, *v]),
                "chroma of frame {index}"
            );
        }
    }
    std::io::stdout().flush().unwrap();
}
