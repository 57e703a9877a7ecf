//! Vulkan devices: what they say they can, and what they really read and write.

mod exports;

use std::time::Duration;

use super::Options;
use super::allocators::{self, Working};
use super::cameras::Camera;
use super::report::{Attempt, FormatRow, GpuReport, ImportReport, ModifierRow, Problem};
use crate::Frame;
use crate::negotiate::Route;
use crate::vulkan::ash::vk;
use crate::vulkan::{
    self, Capabilities, Commands, Extensions, Gpu, Importer, OpenOptions, Queue, Readback, Refusal, Upload,
};
pub(super) use exports::PAGES;

/// A device, and which memory it took by which route.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) report: GpuReport,
    pub(super) capabilities: Capabilities,
    /// By the memory's key: what each route said.
    pub(super) tried: Vec<(Memory, Vec<(Route, Attempt)>)>,
    /// Whether finished work gave a fence.
    pub(super) fences: Attempt,
}

/// Whose memory a frame lay in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// An allocator's, by its place among the working ones.
    Allocator(usize),
    /// A camera's own.
    Camera(usize),
    /// An allocator's, filled by a camera.
    Captured(usize, usize),
}

/// The routes that are tried, in the order of their cost.
const ROUTES: [Route; 4] = [Route::Buffer, Route::Image, Route::HostPointer, Route::Copy];

pub(super) fn examine(
    working: &[Working],
    cameras: &[Camera],
    options: &Options,
    problems: &mut Vec<Problem>,
) -> Vec<Examined> {
    let listed = match OpenOptions::new().list() {
        Ok(listed) => listed,
        Err(error) => {
            problems.push(Problem {
                object: "Vulkan".to_owned(),
                reason: error.to_string(),
                remedy: match error {
                    vulkan::Error::Loader { .. } => {
                        "install the Vulkan loader (libvulkan1, vulkan-loader, vulkan-icd-loader)".to_owned()
                    }
                    _ => "vulkaninfo may say more".to_owned(),
                },
            });
            return Vec::new();
        }
    };
    if listed.is_empty() {
        problems.push(Problem {
            object: "Vulkan".to_owned(),
            reason: "the loader finds no device".to_owned(),
            remedy: "install the GPU's Vulkan driver (mesa-vulkan-drivers, or the vendor's)".to_owned(),
        });
    }
    let mut gpus = Vec::new();
    for device in listed {
        let opened = OpenOptions::new()
            .uuid(device.uuid)
            .open()
            .and_then(|gpu| Ok((gpu.queue()?, gpu)));
        match opened {
            Ok((queue, gpu)) => gpus.push(one(&gpu, &queue, working, cameras, options, problems)),
            Err(error) => problems.push(Problem {
                object: device.name,
                reason: error.to_string(),
                remedy: "vulkaninfo may say more".to_owned(),
            }),
        }
    }
    gpus
}

fn one(
    gpu: &Gpu,
    queue: &Queue,
    working: &[Working],
    cameras: &[Camera],
    options: &Options,
    problems: &mut Vec<Problem>,
) -> Examined {
    let capabilities = gpu.capabilities();
    let mut examined = Examined {
        report: describe(&capabilities),
        fences: Attempt::of("fence of finished work", Err("not tried")),
        capabilities,
        tried: Vec::new(),
    };
    let bench = Bench {
        importer: Importer::new(gpu),
        queue,
        patience: options.patience,
    };
    for (index, one) in working.iter().enumerate() {
        if let Ok((frame, picture)) = allocators::frame(&*one.allocator) {
            let name = one.allocator.name().to_owned();
            examined.add(&bench, Memory::Allocator(index), name, &frame, &picture);
        }
    }
    for (place, camera) in cameras.iter().enumerate() {
        let own = camera.own.iter().map(|(frame, kind)| {
            (
                Memory::Camera(place),
                format!("{}, its own ({kind})", camera.report.node),
                frame,
            )
        });
        let captured = camera.imported.iter().map(|(index, frame)| {
            let name = working.get(*index).map_or("?", |one| one.allocator.name());
            (
                Memory::Captured(place, *index),
                format!("{} in {name}", camera.report.node),
                frame,
            )
        });
        for (memory, name, frame) in own.chain(captured) {
            let picture = frame.map_read(options.patience).and_then(|view| view.to_tight());
            match picture {
                Ok(picture) => examined.add(&bench, memory, name, frame, &picture),
                Err(error) => problems.push(Problem {
                    object: name,
                    reason: format!("the CPU cannot read it: {error}"),
                    remedy: "the exporter has no mapping; only devices can use it".to_owned(),
                }),
            }
        }
    }
    let (exports, fences) = bench.exports();
    examined.report.exports = exports;
    examined.fences = fences;
    missing(&examined, problems);
    examined
}

impl Examined {
    fn add(&mut self, bench: &Bench<'_>, memory: Memory, name: String, frame: &Frame, picture: &[u8]) {
        let tried: Vec<_> = ROUTES
            .into_iter()
            .map(|route| {
                (
                    route,
                    Attempt::of(route.to_string(), bench.read(route, frame, picture)),
                )
            })
            .collect();
        let layout = frame.layout();
        self.report.imports.push(ImportReport {
            memory: name,
            format: format!("{} {} {}", layout.fourcc(), layout.modifier(), layout.size()),
            routes: tried.iter().map(|(_, attempt)| attempt.clone()).collect(),
        });
        self.tried.push((memory, tried));
    }

    /// What a route said to a memory.
    pub(super) fn attempt(&self, memory: Memory, route: Route) -> Option<&Attempt> {
        let (_, tried) = self.tried.iter().find(|(key, _)| *key == memory)?;
        tried
            .iter()
            .find(|(tried, _)| *tried == route)
            .map(|(_, attempt)| attempt)
    }
}

/// The refusal itself: which route it was of is said beside it.
fn words(error: vulkan::Error) -> String {
    match error {
        vulkan::Error::Refused { refusal, .. } => refusal.to_string(),
        other => other.to_string(),
    }
}

/// A device to try frames on.
struct Bench<'a> {
    importer: Importer,
    queue: &'a Queue,
    patience: Duration,
}

impl Bench<'_> {
    /// Whether the device reads the picture's bytes by this route.
    fn read(&self, route: Route, frame: &Frame, picture: &[u8]) -> Result<String, String> {
        let outcome = self.read_back(route, frame).map_err(words)?;
        match outcome == picture {
            true => Ok("every byte right".to_owned()),
            false => Err("the device read other bytes than the CPU".to_owned()),
        }
    }

    fn read_back(&self, route: Route, frame: &Frame) -> Result<Vec<u8>, vulkan::Error> {
        let (fourcc, size) = (frame.fourcc(), frame.layout().size());
        let mut back = Readback::new(self.importer.gpu(), fourcc, size)?;
        match route {
            Route::Image => {
                let held = self.importer.image(frame)?;
                self.run(|commands| {
                    commands.reads(&held.frame)?;
                    commands.copy_image(&held.import, back.target())
                })?;
            }
            Route::Copy => {
                let staged =
                    Upload::new(self.importer.gpu(), fourcc, size, 1)?.stage(frame, self.patience)?;
                self.run(|commands| commands.copy(&staged, back.target()))?;
            }
            _ => {
                let held = match route {
                    Route::HostPointer => self.importer.host_pointer(frame)?,
                    _ => self.importer.buffer(frame)?,
                };
                self.run(|commands| {
                    commands.reads(&held.frame)?;
                    commands.copy(&held.import, back.target())
                })?;
            }
        }
        Ok(back.bytes()?.to_vec())
    }

    fn run(
        &self,
        record: impl FnOnce(&mut Commands<'_>) -> Result<(), vulkan::Error>,
    ) -> Result<(), vulkan::Error> {
        // A software driver on a slow machine takes longer than a camera.
        let patience = self.patience * 5;
        match self.queue.submit(patience, record)?.wait(patience)?.is_signaled() {
            true => Ok(()),
            false => Err(vulkan::Error::Timeout { what: "the device" }),
        }
    }
}

fn describe(found: &Capabilities) -> GpuReport {
    let (major, minor, patch) = found.api_version;
    let names = |wanted: bool| {
        let known = Extensions::known().filter(|name| found.supported.has(name) == wanted);
        known.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    let nodes = [found.primary_node, found.render_node].into_iter().flatten();
    GpuReport {
        name: found.name.clone(),
        driver: found.driver_text.trim().to_owned(),
        kind: format!("{:?}", found.kind),
        api: format!("{major}.{minor}.{patch}"),
        nodes: nodes
            .map(|dev| format!("{}:{}", rustix::fs::major(dev), rustix::fs::minor(dev)))
            .collect(),
        extensions: names(true),
        missing_extensions: names(false),
        waits_for_fences: found.sync_fd_import,
        formats: found
            .formats
            .iter()
            .map(|row| FormatRow {
                fourcc: row.fourcc.to_string(),
                modifiers: row
                    .modifiers
                    .iter()
                    .map(|entry| ModifierRow {
                        modifier: entry.modifier.to_string(),
                        planes: entry.planes,
                        sampled: entry.features.contains(vk::FormatFeatureFlags::SAMPLED_IMAGE),
                        rendered: entry.features.contains(vk::FormatFeatureFlags::COLOR_ATTACHMENT),
                        imported: entry.importable,
                    })
                    .collect(),
            })
            .collect(),
        imports: Vec::new(),
        exports: Vec::new(),
    }
}

/// What the device lacks for routes that a frame could take.
fn missing(examined: &Examined, problems: &mut Vec<Problem>) {
    let found = &examined.capabilities;
    let mut add = |object: String, reason: String, remedy: &str| {
        let remedy = remedy.to_owned();
        problems.push(Problem {
            object,
            reason,
            remedy,
        });
    };
    let exports = &examined.report.exports;
    let dmabufs = || exports.iter().filter(|attempt| attempt.what != PAGES);
    let lavapipe = found.driver == vk::DriverId::MESA_LLVMPIPE;
    let extension = vulkan::ash::ext::external_memory_dma_buf::NAME;
    if !found.supported.dmabuf() {
        let remedy = match found.driver {
            vk::DriverId::MESA_LLVMPIPE => {
                "lavapipe has dma-bufs from Mesa 24.3 on, where /dev/udmabuf can be opened"
            }
            vk::DriverId::NVIDIA_PROPRIETARY => {
                "load nvidia-drm (modprobe nvidia-drm modeset=1), driver 515 or newer"
            }
            _ => "a newer driver; `vulkaninfo | grep external_memory` says when it is there",
        };
        let reason = format!("no dma-buf import: {}", Refusal::ExtensionOff(extension));
        add(found.name.clone(), reason, remedy);
    } else if dmabufs().all(|attempt| !attempt.works) {
        let why: Vec<_> = dmabufs().map(|attempt| attempt.detail.as_str()).collect();
        let remedy = match lavapipe {
            true => "lavapipe exports udmabufs: /dev/udmabuf has to be there and open to this user",
            false => "a newer driver; until then render into memory of another allocator that it imports",
        };
        add(
            format!("exports of {}", found.name),
            format!("no dma-buf export: {}", why.join("; ")),
            remedy,
        );
    }
    if !found.sync_fd_import || !examined.fences.works {
        add(
            format!("fences of {}", found.name),
            format!("the CPU waits for the GPU: {}", examined.fences.detail),
            "a driver with VK_KHR_external_semaphore_fd for SYNC_FD; on NVIDIA nvidia-drm has to be loaded",
        );
    }
}
