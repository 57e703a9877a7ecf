//! V4L2 cameras.

mod choose;
mod known;

use std::path::Path;
use std::sync::Arc;

use dmaframe_alloc::{Allocator, DmaHeap, Request, Udmabuf, Way, plan};
use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, next_generation};
use dmaframe_v4l2::{Capture, Device, Error as V4l2Error, FormatRequest, Interval, PixelFormat};

use super::backend::{Backend, Event, Known as AnyKnown};
use super::motion::Pictures;
use super::{Error, Memory, Stats, Wish};
use choose::{Choice, choose, producer, spelled};
pub(super) use known::Known;

/// Buffers of ours that a camera may fill.
const IMPORTED: usize = 6;

/// A running camera.
#[derive(Debug)]
pub(super) struct Node {
    capture: Capture,
    pictures: Pictures,
    hops: Vec<Arc<Hop>>,
    way: String,
}

/// Opens the camera at `path`.
pub(super) fn open(path: &Path, wish: &Wish, notes: &mut Vec<String>) -> Result<Box<dyn Backend>, Error> {
    let node = Node::open(path, wish, notes)?;
    Ok(Box::new(node))
}

impl Node {
    fn open(path: &Path, wish: &Wish, notes: &mut Vec<String>) -> Result<Self, Error> {
        let device = Device::open(path)?;
        match choose(&device, wish)? {
            Choice::Motion => {
                let request = FormatRequest::new(PixelFormat::MJPEG, wish.size);
                let capture = start(device, request, wish, None)?;
                Ok(Self::new(
                    capture,
                    Pictures::decoded(),
                    "Motion JPEG, decoded".into(),
                ))
            }
            Choice::Frames(formats) => Self::frames(device, path, &formats, wish, notes),
        }
    }

    /// By the cheapest way that can be started.
    fn frames(
        device: Device,
        path: &Path,
        formats: &[PixelFormat],
        wish: &Wish,
        notes: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let (producer, picture) = producer(&device, formats, wish)?;
        let (udmabuf, heap) = (Udmabuf::new(), DmaHeap::system());
        let allocators: &[&dyn Allocator] = match wish.memory {
            Memory::Best => &[&udmabuf, &heap],
            Memory::Own => &[],
            Memory::Udmabuf => &[&udmabuf],
            Memory::Heap => &[&heap],
        };
        let mut ways = plan(&producer, &wish.consumer, allocators.iter().copied(), &picture)?;
        let mut device = Some(device);
        // The routes of a pair in some memory differ for the consumer alone: what does not start one way, starts no way.
        let mut tried = Vec::new();
        loop {
            let Some(way) = ways.current() else {
                return Err(Error::NotFound {
                    what: format!("way to start {}", path.display()),
                    known: Vec::new(),
                });
            };
            let what = (
                way.candidate.pair,
                way.allocator.map(|allocator| allocator.name().to_owned()),
            );
            let refused = if tried.contains(&what) {
                "it was tried by another route".to_owned()
            } else {
                let opened = match device.take() {
                    Some(device) => device,
                    None => Device::open(path)?,
                };
                let spelling = spelled(formats, what.0.fourcc).unwrap_or(PixelFormat(what.0.fourcc.0));
                let request = FormatRequest::new(spelling, wish.size);
                match start(opened, request, wish, Some(way)) {
                    Ok(capture) => {
                        let way = way.to_string();
                        return Ok(Self::new(capture, Pictures::default(), way));
                    }
                    // Of the device, and not of this way: another way will not help.
                    Err(error) if !is_of_way(&error) => return Err(error),
                    Err(error) => {
                        notes.push(format!("{way} not used: {error}"));
                        error.to_string()
                    }
                }
            };
            tried.push(what);
            ways.refuse(refused)?;
        }
    }

    fn new(capture: Capture, pictures: Pictures, way: String) -> Self {
        let mut hops = vec![Arc::clone(capture.hop())];
        hops.extend(pictures.hop());
        Self {
            capture,
            pictures,
            hops,
            way,
        }
    }
}

/// Whether an error says something about formats or memory, and so nothing about other ones.
fn is_of_way(error: &Error) -> bool {
    let Error::V4l2(error) = error else {
        return matches!(error, Error::Plan(_) | Error::Core(_));
    };
    matches!(
        error,
        V4l2Error::FormatRefused { .. }
            | V4l2Error::UnmappedFormat { .. }
            | V4l2Error::Interlaced { .. }
            | V4l2Error::Layout { .. }
            | V4l2Error::PlaneCount { .. }
            | V4l2Error::BufferTooSmall { .. }
            | V4l2Error::BufferLayout { .. }
            | V4l2Error::ImportEncoded { .. }
            | V4l2Error::BufferCount { .. }
            | V4l2Error::ImportRefused { .. }
            | V4l2Error::MemoryMode { .. }
    )
}

/// Starts the camera, in its own memory or in an allocator's.
fn start(
    device: Device,
    request: FormatRequest,
    wish: &Wish,
    way: Option<&Way<'_>>,
) -> Result<Capture, Error> {
    let interval = Interval::fps(wish.fps);
    let builder = match way.and_then(|way| way.allocator) {
        None => Capture::builder(device),
        Some(allocator) => {
            // Exactly what the driver has set now, whatever it had said to a trial.
            let layout = device.set_format(request)?.layout(&device)?;
            let buffers = allocator.allocate_set(&Request::exact(layout), IMPORTED, next_generation())?;
            Capture::builder(device).import(buffers.into_iter().map(Arc::new))
        }
    };
    Ok(builder.format(request).interval(interval).start()?)
}

impl Backend for Node {
    fn next(&mut self, deadline: Deadline) -> Result<Event, String> {
        loop {
            let captured = self.capture.next(deadline).map_err(|error| error.to_string())?;
            let Some(captured) = captured else {
                return Ok(Event::Quiet);
            };
            if let Some(frame) = self.pictures.frame(captured, deadline)? {
                return Ok(Event::Frame(frame));
            }
        }
    }

    fn describe(&self) -> String {
        let device = self.capture.device();
        let caps = device.capabilities();
        format!(
            "{} ({}, {}; {})",
            caps.card,
            caps.driver,
            device.path().display(),
            self.way
        )
    }

    fn hops(&self) -> &[Arc<Hop>] {
        &self.hops
    }

    fn stats(&self) -> Stats {
        self.pictures.stats(self.capture.stats())
    }

    fn known(self: Box<Self>) -> AnyKnown {
        AnyKnown::Node(Known::new(self.capture.device()))
    }
}
