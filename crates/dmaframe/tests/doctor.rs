//! The doctor's verdict and remedy in the lab, with each device there, gone, and forbidden.

mod doctor_lab;

use std::path::Path;
use std::time::Duration;

use dmaframe::v4l2::{Capture, Device};
use doctor_lab::{camera, devices, has_problem, verdict};

const NOBODY: u32 = 65534;

macro_rules! snapshot {
    ($devices:expr, $name:literal, $report:expr) => {
        $devices.snapshot(
            $name,
            $report,
            include_str!(concat!("snapshots/", $name, ".json")),
        )
    };
}

#[test]
fn with_every_device_everything_is_zero_copy() {
    let Some(devices) = devices() else { return };
    let report = devices.doctor(None);
    let way = verdict(&report, "vivid", "llvmpipe");
    assert_eq!(way["cost"], "zero-copy");
    assert!(
        way["way"].as_str().unwrap().starts_with("by buffer import"),
        "{way}"
    );
    assert_eq!(verdict(&report, "vivid", "CPU")["cost"], "zero-copy");
    assert_eq!(verdict(&report, "llvmpipe", "encoder")["cost"], "zero-copy");
    assert_eq!(
        report["problems"].as_array().unwrap().len(),
        0,
        "{}",
        report["problems"]
    );
    // The tables are in it, though not in the snapshot.
    let formats = report["gpus"][0]["formats"].as_array().unwrap();
    assert!(
        formats
            .iter()
            .any(|row| row["fourcc"] == "NV12" && row["modifiers"][0]["modifier"] == "LINEAR")
    );
    snapshot!(devices, "full", &report);
}

#[test]
fn a_bare_host_is_told_what_it_lacks() {
    let Some(mut devices) = devices() else { return };
    for path in ["/dev/udmabuf", "/dev/dma_heap", "/dev/dri"] {
        devices.away(Path::new(path));
    }
    devices.away(&camera());
    let report = devices.doctor(None);
    assert_eq!(verdict(&report, "camera", "GPU")["cost"], "none");
    assert!(has_problem(
        &report,
        "/dev/udmabuf",
        "does not exist",
        "modprobe udmabuf"
    ));
    assert!(has_problem(
        &report,
        "/dev/dma_heap",
        "does not exist",
        "CONFIG_DMABUF_HEAPS"
    ));
    assert!(has_problem(&report, "/dev/dri", "no DRM node", "driver"));
    assert!(has_problem(
        &report,
        "camera",
        "no /dev/video node",
        "plug a camera in"
    ));
    let way = verdict(&report, "frame pool", "llvmpipe");
    assert!(
        way["cost"] == "gpu-copy" && way["remedies"].to_string().contains("modprobe udmabuf"),
        "{way}"
    );
    snapshot!(devices, "bare", &report);
}

/// lavapipe imports other people's dma-bufs without it, but makes none: it copies into a memfd, as an export pool has it do.
#[test]
fn without_udmabuf_the_software_gpu_copies_for_others_and_says_what_would_help() {
    let Some(mut devices) = devices() else { return };
    devices.away(Path::new("/dev/udmabuf"));
    let report = devices.doctor(None);
    assert_eq!(verdict(&report, "vivid", "llvmpipe")["cost"], "zero-copy");
    let way = verdict(&report, "llvmpipe", "encoder");
    assert_eq!(way["cost"], "gpu-copy");
    assert!(way["remedies"].to_string().contains("modprobe udmabuf"), "{way}");
    assert!(has_problem(
        &report,
        "exports of llvmpipe",
        "no dma-buf export",
        "/dev/udmabuf"
    ));
    snapshot!(devices, "no-udmabuf", &report);
}

#[test]
fn without_heaps_nothing_is_lost_but_the_heap() {
    let Some(mut devices) = devices() else { return };
    devices.away(Path::new("/dev/dma_heap"));
    let report = devices.doctor(None);
    assert_eq!(verdict(&report, "vivid", "llvmpipe")["cost"], "zero-copy");
    assert!(has_problem(
        &report,
        "/dev/dma_heap/system",
        "does not exist",
        "CONFIG_DMABUF_HEAPS"
    ));
    snapshot!(devices, "no-heap", &report);
}

#[test]
fn without_drm_nodes_the_timeline_is_missing() {
    let Some(mut devices) = devices() else { return };
    devices.away(Path::new("/dev/dri"));
    let report = devices.doctor(None);
    assert_eq!(verdict(&report, "vivid", "llvmpipe")["cost"], "zero-copy");
    assert_eq!(report["fences"][1]["works"], false);
    snapshot!(devices, "no-drm", &report);
}

#[test]
fn without_a_camera_pools_still_reach_the_gpu() {
    let Some(mut devices) = devices() else { return };
    devices.away(&camera());
    let report = devices.doctor(None);
    let way = verdict(&report, "camera", "GPU");
    assert!(
        way["cost"] == "none" && way["remedies"].to_string().contains("uvcvideo"),
        "{way}"
    );
    assert_eq!(verdict(&report, "frame pool", "llvmpipe")["cost"], "zero-copy");
    snapshot!(devices, "no-camera", &report);
}

#[test]
fn without_a_gpu_frames_still_reach_the_cpu() {
    let Some(devices) = devices() else { return };
    let report = devices.doctor_with(None, &[("VK_DRIVER_FILES", "/nowhere.json")]);
    let way = verdict(&report, "any frame", "GPU");
    assert!(
        way["cost"] == "none" && way["remedies"].to_string().contains("Vulkan driver"),
        "{way}"
    );
    assert_eq!(verdict(&report, "vivid", "CPU")["cost"], "zero-copy");
    snapshot!(devices, "no-gpu", &report);
}

#[test]
fn a_forbidden_udmabuf_names_mode_and_group() {
    let Some(mut devices) = devices() else { return };
    devices.deny(&[Path::new("/dev/udmabuf")]);
    let report = devices.doctor(Some(NOBODY));
    assert!(has_problem(
        &report,
        "/dev/udmabuf",
        "mode 0660, group video",
        "usermod -aG video"
    ));
    let way = verdict(&report, "llvmpipe", "encoder");
    assert!(
        way["cost"] == "gpu-copy" && way["remedies"].to_string().contains("usermod"),
        "{way}"
    );
    snapshot!(devices, "denied-udmabuf", &report);
}

#[test]
fn a_forbidden_heap_names_mode_and_group() {
    let Some(mut devices) = devices() else { return };
    devices.deny(&[Path::new("/dev/dma_heap")]);
    let report = devices.doctor(Some(NOBODY));
    assert!(has_problem(
        &report,
        "/dev/dma_heap/system",
        "mode 0660, group video",
        "usermod -aG video"
    ));
    assert_eq!(verdict(&report, "vivid", "llvmpipe")["cost"], "zero-copy");
    snapshot!(devices, "denied-heap", &report);
}

#[test]
fn a_forbidden_camera_names_mode_group_and_the_camera() {
    let Some(mut devices) = devices() else { return };
    let node = camera();
    devices.deny(&[&node]);
    let report = devices.doctor(Some(NOBODY));
    let object = format!("{} (vivid", node.display());
    assert!(
        has_problem(&report, &object, "mode 0660, group video", "usermod -aG video"),
        "{}",
        report["problems"]
    );
    let way = verdict(&report, "camera", "GPU");
    assert!(way["remedies"].to_string().contains("usermod -aG video"), "{way}");
    snapshot!(devices, "denied-camera", &report);
}

#[test]
fn forbidden_drm_nodes_name_mode_and_group() {
    let Some(mut devices) = devices() else { return };
    devices.deny(&[Path::new("/dev/dri")]);
    let report = devices.doctor(Some(NOBODY));
    assert!(has_problem(
        &report,
        "/dev/dri/render",
        "mode 0660, group video",
        "usermod -aG video"
    ));
    snapshot!(devices, "denied-drm", &report);
}

#[test]
fn what_a_snap_leaves_in_the_environment_makes_no_snap_of_what_it_starts() {
    let Some(devices) = devices() else { return };
    let report = devices.doctor_with(None, &[("SNAP_NAME", "code"), ("SNAP", "/snap/code/1")]);
    assert_eq!(report["sandbox"]["kind"], "none");
    let inside = devices.doctor_with(None, &[("SNAP_NAME", "code"), ("SNAP", "/tmp")]);
    assert_eq!(inside["sandbox"]["kind"], "snap");
}

#[test]
fn a_camera_in_use_is_left_alone() {
    let Some(devices) = devices() else { return };
    let mut capture = Capture::builder(Device::open(camera()).unwrap()).start().unwrap();
    let report = devices.doctor(None);
    let node = camera().display().to_string();
    assert!(
        has_problem(&report, &node, "busy", "close the program"),
        "{}",
        report["problems"]
    );
    assert_eq!(verdict(&report, "vivid", "llvmpipe")["cost"], "none");
    assert!(
        capture.next(Duration::from_secs(2)).unwrap().is_some(),
        "its stream goes on"
    );
}
