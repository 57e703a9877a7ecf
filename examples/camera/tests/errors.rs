//! What a newcomer meets: each message says what to do next.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use dmaframe::Size;
use dmaframe::v4l2::{Capture, Device as Camera, FormatRequest, PixelFormat};
use dmaframe_testkit::{Device, need};

fn app(arguments: &[&str]) -> Command {
    let out = std::env::temp_dir().join(format!("camera-errors-{}.png", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command
        .args(["--size", "320x180", "--frames", "1"])
        .args(arguments)
        .arg("--out")
        .arg(out);
    command
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// It ends with an error that has all of this in it.
fn fails_with(command: &mut Command, parts: &[&str]) {
    let output = command.output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// The same, of a camera that is not to be had.
fn fails(command: &mut Command, parts: &[&str]) {
    fails_with(command, &[parts, &["`camera list` shows what there is"]].concat());
}

/// It works, and says all of this.
fn works(command: &mut Command, parts: &[&str]) {
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
}

#[test]
fn a_device_that_is_not_there_or_is_none() {
    fails(
        &mut app(&["--device", "/dev/video99"]),
        &[
            "cannot open /dev/video99",
            "is it plugged in, and its driver loaded?",
        ],
    );
    fails(
        &mut app(&["--device", "/dev/null"]),
        &["/dev/null", "no V4L2 device"],
    );
    fails(
        &mut app(&["--device", "there-is-none.mkv"]),
        &["there-is-none.mkv cannot be played", "no such file"],
    );
    let output = app(&["--device", "tset"]).output().unwrap();
    assert!(
        text(&output).contains("'tset' names no source: there are test, /dev/videoN"),
        "{}",
        text(&output)
    );
    #[cfg(not(feature = "libcamera"))]
    fails(
        &mut app(&["--device", "libcamera"]),
        &["build it with `--features libcamera`"],
    );
}

#[test]
fn pipewire_that_is_not_there() {
    #[cfg(feature = "pipewire")]
    fails(
        app(&["--device", "pipewire"])
            .env("XDG_RUNTIME_DIR", "/nonexistent")
            .env("PIPEWIRE_RUNTIME_DIR", "/nonexistent"),
        &[
            "no PipeWire daemon answers",
            "is it running for this user",
            "systemctl --user status pipewire",
        ],
    );
    #[cfg(not(feature = "pipewire"))]
    fails(
        &mut app(&["--device", "pipewire"]),
        &["build it with `--features pipewire`"],
    );
}

#[test]
fn a_filter_without_a_gpu() {
    let none = [
        ("VK_DRIVER_FILES", "/nonexistent"),
        ("VK_ICD_FILENAMES", "/nonexistent"),
    ];
    works(
        app(&["--device", "test", "--filter", "mono"]).envs(none),
        &["filters need a GPU with Vulkan"],
    );
}

#[cfg(feature = "window")]
#[test]
fn a_preview_without_a_display() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command
        .args(["preview", "--device", "test", "--size", "320x180"])
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("WAYLAND_SOCKET");
    fails_with(
        &mut command,
        &[
            "no display to open a window on",
            "`camera` without `preview` needs none",
        ],
    );
}

// They take the cameras away from each other, so they are one test.
#[test]
fn a_busy_camera_one_that_is_forbidden_and_none() {
    let path = need!(Device::Capture("vivid"));
    let unbind = [need!(Device::Unbind("vivid")), need!(Device::Unbind("vimc"))];
    let device = path.to_str().unwrap();
    let request = FormatRequest::new(PixelFormat::YUYV, Size::new(640, 360));
    let busy = Capture::builder(Camera::open(&path).unwrap())
        .format(request)
        .start()
        .unwrap();
    fails(&mut app(&["--device", device]), &[device, "is busy", "fuser -v"]);
    drop(busy);

    // Another user: nobody is in the group `video`. The program must be where he may start it.
    let program = Path::new("/tmp/camera-for-nobody");
    std::fs::copy(env!("CARGO_BIN_EXE_camera"), program).unwrap();
    let nobody = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(["--size", "320x180", "--frames", "1", "--out", "/tmp/nobody.png"]);
        command.args(arguments).uid(65534).gid(65534);
        command
    };
    fails(
        &mut nobody(&["--device", device]),
        &[device, "is the user in the group `video`"],
    );
    works(
        &mut nobody(&[]),
        &[
            &format!("note: {device} not used: cannot open {device}"),
            "is the user in the group `video`",
            "note: udmabuf memory not used: /dev/udmabuf may not be opened by this process",
            "note: no camera that works: this is the built-in test picture",
            "note: this frame is CPU memory",
        ],
    );
    let mut list = Command::new(program);
    works(
        list.arg("list").uid(65534).gid(65534),
        &[
            "is the user in the group `video`",
            "udmabuf: no (/dev/udmabuf may not be opened",
        ],
    );

    for unbind in unbind {
        for entry in std::fs::read_dir(unbind.parent().unwrap()).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("vivid.") || name.starts_with("vimc.") {
                std::fs::write(&unbind, &name).unwrap();
            }
        }
    }
    fails(
        &mut app(&["--device", device]),
        &["is it plugged in, and its driver loaded?"],
    );
    works(
        &mut app(&[]),
        &[
            "no camera that works: this is the built-in test picture",
            "plug one in",
        ],
    );
    let mut list = Command::new(env!("CARGO_BIN_EXE_camera"));
    works(list.arg("list"), &["none (no /dev/video* that captures"]);
}
