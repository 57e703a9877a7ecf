//! What captures: every camera gives a picture in its own memory and one in each allocator's.

use std::path::Path;
use std::sync::Arc;

use super::Options;
use super::allocators::Working;
use super::nodes;
use super::report::{Attempt, CameraReport, Problem, Sandbox};
use crate::alloc::Request;
use crate::negotiate::MemoryKind;
use crate::v4l2::{self, Capture, Device, Format, FormatRequest, PixelFormat};
use crate::{Frame, next_generation};

/// A camera and the pictures it gave.
#[derive(Debug)]
pub(super) struct Camera {
    pub(super) report: CameraReport,
    /// In its own memory, if it gave one, and what that is made of.
    pub(super) own: Option<(Frame, MemoryKind)>,
    /// In allocators' memory: the index among those that work.
    pub(super) imported: Vec<(usize, Frame)>,
}

impl Camera {
    /// What reports call it.
    pub(super) fn name(&self) -> String {
        format!("{} ({})", self.report.card, self.report.node)
    }
}

const BUFFERS: u32 = 4;

pub(super) fn examine(
    working: &[Working],
    sandbox: &Sandbox,
    options: &Options,
    problems: &mut Vec<Problem>,
) -> Vec<Camera> {
    let nodes = nodes::list("/dev", "video");
    let mut cameras = Vec::new();
    let mut closed = 0;
    for node in &nodes {
        match Device::open(node) {
            Ok(device) => cameras.push(one(device, working, options, problems)),
            // Outputs, metadata, mem2mem.
            Err(v4l2::Error::NotCapture { .. }) => {}
            Err(v4l2::Error::Open { errno, .. }) => {
                closed += 1;
                let mut problem = nodes::refused(node, &errno.into(), sandbox, MISSING);
                if let Some(card) = card(node) {
                    problem.object = format!("{} ({card})", problem.object);
                }
                problems.push(problem);
            }
            Err(other) => problems.push(Problem {
                object: node.display().to_string(),
                reason: other.to_string(),
                remedy: "the kernel's log (dmesg) may say more".to_owned(),
            }),
        }
    }
    if cameras.is_empty() && closed == 0 {
        problems.push(Problem {
            object: "camera".to_owned(),
            reason: match nodes.len() {
                0 => "there is no /dev/video node".to_owned(),
                other => format!("none of {other} /dev/video nodes captures"),
            },
            remedy: sandbox.appearance("/dev/video0", MISSING),
        });
    }
    cameras
}

const MISSING: &str =
    "plug a camera in, or load its driver (modprobe uvcvideo; modprobe vivid for a test picture)";

/// The name the kernel gives to a node that may not be opened.
fn card(node: &Path) -> Option<String> {
    let name = node.file_name()?.to_str()?;
    let text = std::fs::read_to_string(format!("/sys/class/video4linux/{name}/name")).ok()?;
    Some(text.trim().to_owned())
}

fn one(device: Device, working: &[Working], options: &Options, problems: &mut Vec<Problem>) -> Camera {
    let caps = device.capabilities().clone();
    let node = device.path().display().to_string();
    let mut camera = Camera {
        report: CameraReport {
            node: node.clone(),
            driver: caps.driver.clone(),
            card: caps.card.clone(),
            bus: caps.bus.clone(),
            multiplanar: caps.is_multiplanar(),
            formats: device
                .formats()
                .unwrap_or_default()
                .iter()
                .map(|offered| offered.pixel_format.to_string())
                .collect(),
            tried: None,
            export: None,
            imports: Vec::new(),
        },
        own: None,
        imported: Vec::new(),
    };
    let before = device.format().ok();
    if let Err(error) = captures(device, &mut camera, working, options) {
        problems.push(Problem {
            object: node.clone(),
            reason: error.to_string(),
            remedy: match error {
                v4l2::Error::Request { errno, .. } if errno == rustix::io::Errno::PIPE => {
                    "it is one end of a pipeline of sensor and processors that has to be set up first: libcamera does it"
                        .to_owned()
                }
                v4l2::Error::Busy { .. } => "close the program that uses the camera and ask again".to_owned(),
                v4l2::Error::UnmappedFormat { .. } => {
                    "the camera gives encoded pictures only; they have to be decoded first".to_owned()
                }
                _ => "v4l2-compliance may say what the driver does wrong".to_owned(),
            },
        });
        camera
            .report
            .export
            .get_or_insert(Attempt::of("export", Err(error)));
    }
    restore(Path::new(&node), before);
    camera
}

/// As the camera was before. It is closed by now, or somebody else's.
fn restore(node: &Path, before: Option<Format>) {
    let Some(before) = before else { return };
    if let Ok(device) = Device::open(node) {
        if device.format().is_ok_and(|now| now != before) {
            let _ = device.set_format(FormatRequest::new(before.pixel_format, before.size));
        }
    }
}

/// The present format if frames can have it, else the first that they can.
fn choose(device: &Device) -> Result<Option<PixelFormat>, v4l2::Error> {
    let present = device.format()?;
    if present.pixel_format.frame().is_some() {
        return Ok(None);
    }
    let raw = device
        .formats()?
        .into_iter()
        .map(|offered| offered.pixel_format)
        .find(|f| f.frame().is_some());
    match raw {
        Some(format) => Ok(Some(format)),
        None => Err(v4l2::Error::UnmappedFormat {
            device: device.path().to_owned(),
            format: present.pixel_format,
        }),
    }
}

fn request(device: &Device) -> Result<FormatRequest, v4l2::Error> {
    let mut request = FormatRequest::default();
    request.pixel_format = choose(device)?;
    Ok(request)
}

/// A stream of frames in the camera's own buffers.
pub(super) fn start(device: Device, buffers: u32) -> Result<Capture, v4l2::Error> {
    let request = request(&device)?;
    Capture::builder(device).format(request).buffers(buffers).start()
}

fn captures(
    device: Device,
    camera: &mut Camera,
    working: &[Working],
    options: &Options,
) -> Result<(), v4l2::Error> {
    let node = device.path().to_owned();
    let request = request(&device)?;
    let mut capture = Capture::builder(device)
        .format(request)
        .buffers(BUFFERS)
        .start()?;
    let format = capture.format().clone();
    camera.report.tried = Some(format!("{} {}", format.pixel_format, format.size));
    let first = next(&mut capture, options);
    let told = first.map(|frame| {
        let objects = frame.buffer().objects();
        let exporter = objects.first().and_then(|object| object.exporter());
        let exporter = exporter.unwrap_or_else(|| "an unnamed exporter".to_owned());
        let kind = MemoryKind::of_exporter(&exporter);
        let told = format!(
            "dma-buf of {exporter} ({kind}), {} for each picture",
            objects.len()
        );
        camera.own = Some((frame, kind));
        told
    });
    camera.report.export = Some(Attempt::of("export", told));
    let device = capture.into_device()?;
    let layout = format.layout(&device)?;
    drop(device);
    for (index, one) in working.iter().enumerate().filter(|(_, one)| one.kind.is_dmabuf()) {
        let tried = (|| {
            let request_exact = Request::exact(layout.clone());
            let buffers = one
                .allocator
                .allocate_set(&request_exact, BUFFERS as usize, next_generation())
                .map_err(|error| error.to_string())?;
            let device = Device::open(&node).map_err(|error| error.to_string())?;
            let builder = Capture::builder(device)
                .format(request)
                .import(buffers.into_iter().map(Arc::new));
            let mut capture = builder.start().map_err(|error| error.to_string())?;
            let frame = next(&mut capture, options)?;
            camera.imported.push((index, frame));
            Ok::<_, String>("captured into".to_owned())
        })();
        camera
            .report
            .imports
            .push(Attempt::of(one.allocator.name(), tried));
    }
    Ok(())
}

fn next(capture: &mut Capture, options: &Options) -> Result<Frame, String> {
    let captured = capture
        .next(options.patience)
        .map_err(|error| error.to_string())?;
    let captured = captured.ok_or_else(|| format!("no picture came for {:?}", options.patience))?;
    captured
        .into_frame()
        .ok_or_else(|| "an encoded picture came".to_owned())
}
