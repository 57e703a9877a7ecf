//! No byte of a picture is copied by the CPU where dma-bufs are to be had, every picture arrives where they are not, and the
//! report says which it was.

use std::path::{Path, PathBuf};
use std::process::Child;

use dmaframe::pipewire::Event;
use dmaframe::{Deadline, Frame};
use dmaframe_testkit::{Daemon, Device, need};

use crate::app::{LONG, SIZE, app, pictures, recorded_of, report, scratch, watcher};
use crate::common::interrupt;

/// What somebody else sees of the virtual camera, until it is gone: once it was enough the app is interrupted, which then
/// has had as long as the machine took.
fn watch(daemon: &Daemon, name: &str, app: &Child) -> Vec<(bool, bool)> {
    const ENOUGH: usize = 10;
    let capture = watcher(daemon, name);
    let mut seen = Vec::new();
    loop {
        match capture.next(LONG).unwrap() {
            Some(Event::Frame(frame)) => {
                seen.push((frame.as_dmabuf().is_some(), is_grey(&frame)));
                if seen.len() == ENOUGH {
                    interrupt(app);
                }
            }
            Some(Event::Unlinked | Event::NodeRemoved { .. }) => break,
            Some(_) => {}
            None => panic!("{} seen, and no end", seen.len()),
        }
    }
    assert!(seen.len() >= ENOUGH, "{} seen", seen.len());
    seen
}

/// Whether the filter was there: it takes all colour out.
fn is_grey(frame: &Frame) -> bool {
    let view = frame.map_read(Deadline::NEVER).unwrap();
    let bytes = view.to_tight().unwrap();
    let size = frame.layout().size();
    let chroma = &bytes[(size.width * size.height) as usize..];
    chroma.iter().all(|byte| byte.abs_diff(128) <= 2)
}

/// Device nodes out of the way for a while; only ever in the lab, whose nodes nobody else has.
struct Hidden(Vec<(PathBuf, PathBuf)>);

impl Hidden {
    fn new(paths: &[&str]) -> Self {
        let hide = |path: &&str| {
            let (from, to) = (PathBuf::from(path), PathBuf::from(format!("{path}-hidden")));
            std::fs::rename(&from, &to).unwrap();
            (from, to)
        };
        Self(paths.iter().map(hide).collect())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        for (from, to) in &self.0 {
            let _ = std::fs::rename(to, from);
        }
    }
}

// The parts share the camera, so they are one test.
#[test]
fn a_camera_is_recorded_and_published_at_once_with_0_cpu_bytes_and_without_dma_bufs_all_the_same() {
    let device = need!(Device::Capture("vivid"));
    need!(Device::Program("pipewire"));
    let daemon = Daemon::bare();
    let device = device.to_str().unwrap();
    let run = |size: &str, file: &Path, environment: &[(&str, &str)]| {
        let file = file.to_str().unwrap();
        let arguments = [
            "record",
            file,
            "--virtual-camera",
            "chain",
            "--filter",
            "noir",
            "--device",
            device,
            "--format",
            "NV12",
            "--size",
            size,
        ];
        let mut command = app(&daemon, &arguments);
        let app = command.envs(environment.iter().copied()).spawn().unwrap();
        let seen = watch(&daemon, "chain", &app);
        (report(&app.wait_with_output().unwrap()), seen)
    };

    // Software: it reads the frames' own memory.
    let file = scratch("x264.mkv");
    let (said, seen) = run(SIZE, &file, &[]);
    for hop in [
        "wgpu:buffer -> effect(noir) -> export NV12 (exported dma-buf) -> to-x264enc(GStreamer) -> PipeWire camera chain",
        "H.264 by x264enc (software)",
        "CPU bytes/frame: 0\n",
    ] {
        assert!(said.contains(hop), "{hop:?} is not in\n{said}");
    }
    assert!(said.contains(", 0 of them copied"), "{said}");
    assert_eq!(pictures(&daemon, &file), recorded_of(&said));
    assert!(seen.iter().all(|(dmabuf, grey)| *dmabuf && *grey), "{seen:?}");

    // A device: it imports the frames' own memory.
    let file = scratch("fwht.fwht");
    let (said, seen) = run("1280x720", &file, &[]);
    assert!(
        said.contains("FWHT by v4l2fwhtenc (hardware, dma-bufs imported)"),
        "{said}"
    );
    assert!(said.contains("CPU bytes/frame: 0\n"), "{said}");
    let bytes = std::fs::read(&file).unwrap();
    let magic = [0x4f, 0x4f, 0x4f, 0x4f, 0xff, 0xff, 0xff, 0xff];
    let units = bytes.windows(8).filter(|window| *window == magic).count() as u64;
    assert_eq!(units, recorded_of(&said));
    assert!(seen.iter().all(|(dmabuf, grey)| *dmabuf && *grey), "{seen:?}");

    if !dmaframe_testkit::in_lab() {
        return;
    }
    // Without memory that devices share.
    let _hidden = Hidden::new(&["/dev/udmabuf", "/dev/dma_heap"]);
    let file = scratch("cpu.mkv");
    let (said, seen) = run(SIZE, &file, &[("DMAFRAME_EXPORT", "-exported,-host")]);
    for reason in [
        "export NV12 (readback)",
        "exported dma-buf not used: switched off",
        "the processed pictures are CPU memory",
    ] {
        assert!(said.contains(reason), "{reason:?} is not in\n{said}");
    }
    assert!(!said.contains("CPU bytes/frame: 0\n"), "{said}");
    assert_eq!(pictures(&daemon, &file), recorded_of(&said));
    assert!(seen.iter().all(|(dmabuf, grey)| !dmabuf && *grey), "{seen:?}");
}
