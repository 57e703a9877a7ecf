//! V4L2 cameras.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dmaframe_alloc::{Allocator, DmaHeap, Picture, Request, Udmabuf, Way, plan};
use dmaframe_core::negotiate::{FormatSet, MemoryKind, Takes, Usage};
use dmaframe_core::report::Hop;
use dmaframe_core::{Deadline, next_generation};
use dmaframe_v4l2::{
    Capabilities, Capture, Captured, Device, Error as V4l2Error, FormatRequest, Interval, Intervals,
    OfferedFormat, PixelFormat,
};

use super::backend::{Backend, Event, Known as AnyKnown};
use super::motion::{self, Motion};
use super::{Error, Memory, Stats, Which, Wish, found};

/// Buffers of ours that a camera may fill.
const IMPORTED: usize = 6;

/// A running camera.
#[derive(Debug)]
pub(super) struct Node {
    capture: Capture,
    motion: Option<Motion>,
    hops: Vec<Arc<Hop>>,
    way: String,
}

/// Opens the camera at `path`.
pub(super) fn open(path: &Path, wish: &Wish, notes: &mut Vec<String>) -> Result<Box<dyn Backend>, Error> {
    let node = Node::open(path, wish, notes)?;
    Ok(Box::new(node))
}

/// What was chosen before anything is set.
enum Choice {
    /// Frames, of these formats, by the driver's spelling of each.
    Frames(Vec<PixelFormat>),
    /// Decoded here.
    Motion,
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
                    Some(Motion::default()),
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
                        return Ok(Self::new(capture, None, way));
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

    fn new(capture: Capture, motion: Option<Motion>, way: String) -> Self {
        let mut hops = vec![Arc::clone(capture.hop())];
        hops.extend(motion.as_ref().and_then(Motion::hop));
        Self {
            capture,
            motion,
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
            | V4l2Error::BufferCount { .. }
            | V4l2Error::ImportRefused { .. }
            | V4l2Error::MemoryMode { .. }
    )
}

/// Frames or Motion JPEG: frames wherever the camera can give them at the size and rate asked for.
fn choose(device: &Device, wish: &Wish) -> Result<Choice, Error> {
    let offered = device.formats()?;
    let camera = || device.capabilities().card.clone();
    let has_motion = offered.iter().any(|o| o.pixel_format == PixelFormat::MJPEG);
    if let Some(asked) = wish.format {
        let known = offered.iter().any(|offer| offer.pixel_format == asked);
        return match (asked.frame(), known) {
            (Some(_), true) => Ok(Choice::Frames(vec![asked])),
            (None, true) if asked == PixelFormat::MJPEG && motion::DECODED => Ok(Choice::Motion),
            (None, true) if asked == PixelFormat::MJPEG => {
                Err(super::backend::not_built("Motion JPEG", "jpeg"))
            }
            _ => Err(Error::Format {
                camera: camera(),
                format: format!("{asked} that is a frame or is decoded"),
                offered: names(&offered),
            }),
        };
    }
    let mut frames: Vec<PixelFormat> = Vec::new();
    for offer in &offered {
        let Some(frame) = offer.pixel_format.frame() else {
            continue;
        };
        // The driver's first spelling of each, contiguous before split.
        let spelling = PixelFormat::spellings(frame.fourcc)
            .find(|code| offered.iter().any(|o| o.pixel_format == *code))
            .unwrap_or(offer.pixel_format);
        if !frames.contains(&spelling) {
            frames.push(spelling);
        }
    }
    let fast: Vec<_> = frames
        .iter()
        .copied()
        .filter(|format| can(device, *format, wish))
        .collect();
    if !fast.is_empty() {
        return Ok(Choice::Frames(fast));
    }
    if has_motion && motion::DECODED && can(device, PixelFormat::MJPEG, wish) {
        return Ok(Choice::Motion);
    }
    if !frames.is_empty() {
        return Ok(Choice::Frames(frames));
    }
    match has_motion {
        true if motion::DECODED => Ok(Choice::Motion),
        true => Err(super::backend::not_built(
            &format!("{}, which sends Motion JPEG alone,", camera()),
            "jpeg",
        )),
        false => Err(Error::Format {
            camera: camera(),
            format: "frames".into(),
            offered: names(&offered),
        }),
    }
}

fn names(offered: &[OfferedFormat]) -> Vec<String> {
    offered.iter().map(|o| o.pixel_format.to_string()).collect()
}

/// Whether the camera says that it has the size at the rate. One that says nothing can.
fn can(device: &Device, format: PixelFormat, wish: &Wish) -> bool {
    let Ok(sizes) = device.sizes(format) else {
        return true;
    };
    if matches!(&sizes, dmaframe_v4l2::Sizes::Discrete(list) if list.is_empty()) {
        return true;
    }
    if !sizes.contains(wish.size) {
        return false;
    }
    let fastest = match device.intervals(format, wish.size) {
        Ok(Intervals::Discrete(list)) => list.iter().map(|i| i.as_fps()).reduce(f64::max),
        Ok(Intervals::Stepwise { min, .. }) => Some(min.as_fps()),
        Err(_) => None,
    };
    // 29.97 for 30.
    fastest.is_none_or(|fastest| fastest >= f64::from(wish.fps) * 0.99)
}

/// What the camera gives: formats, and the layout that its driver has for each.
fn producer(device: &Device, formats: &[PixelFormat], wish: &Wish) -> Result<(FormatSet, Picture), Error> {
    let mut set = FormatSet::new(device.capabilities().card.as_str())
        .with_usage(Usage::Capture)
        .takes(Takes::Dmabufs);
    if matches!(wish.memory, Memory::Best | Memory::Own) {
        set = set.with_own_memory(kind(device.capabilities()));
    }
    let mut picture = Picture::new(wish.size);
    for format in formats {
        let Some(frame) = format.frame() else { continue };
        let request = FormatRequest::new(*format, wish.size);
        // A driver that cannot try: what it makes of the format shows when it is set.
        let layout = device
            .try_format(request)
            .ok()
            .and_then(|tried| Some((tried.layout(device).ok()?, tried)));
        if let Some((layout, tried)) = layout {
            let objects: Vec<u64> = tried
                .memory_planes()
                .iter()
                .map(|plane| u64::from(plane.size))
                .collect();
            picture = picture.fixed(layout, objects);
        }
        set.insert(frame.fourcc, frame.modifier);
    }
    Ok((set, picture))
}

/// What a driver's own buffers are made of, as far as its name tells without allocating one.
fn kind(capabilities: &Capabilities) -> MemoryKind {
    match capabilities.driver.as_str() {
        "uvcvideo" | "vivid" | "vimc" | "gspca_main" => MemoryKind::Vmalloc,
        _ => MemoryKind::Unknown,
    }
}

/// The spelling that was chosen for a format.
fn spelled(formats: &[PixelFormat], fourcc: dmaframe_core::Fourcc) -> Option<PixelFormat> {
    let is = |format: &&PixelFormat| format.frame().is_some_and(|frame| frame.fourcc == fourcc);
    formats.iter().find(is).copied()
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
            let frame = match (captured, &mut self.motion) {
                (None, _) => return Ok(Event::Quiet),
                (Some(Captured::Frame(frame)), _) => Some(frame),
                (Some(Captured::Bitstream(unit)), Some(motion)) => motion.decode(&unit, deadline),
                (Some(_), _) => return Err("the camera switched to an encoded format".into()),
            };
            if let Some(frame) = frame {
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
        let stats = self.capture.stats();
        let undecoded = self.motion.as_ref().map_or(0, |motion| motion.damaged);
        Stats {
            delivered: (stats.delivered + stats.detached).saturating_sub(undecoded),
            detached: stats.detached,
            dropped: stats.dropped,
            gaps: stats.gaps,
            damaged: stats.errors + stats.short + undecoded,
            ..Stats::default()
        }
    }

    fn known(self: Box<Self>) -> AnyKnown {
        AnyKnown::Node(Known::new(self.capture.device()))
    }
}

/// A camera that was.
#[derive(Clone, Debug)]
pub(super) struct Known {
    path: PathBuf,
    card: String,
    bus: String,
    /// How often it was looked for.
    looks: u32,
    /// The nodes at the last look, and whether one of them should have been it and could not be opened. Opening a node wakes
    /// the camera behind it, so that is not done every second.
    seen: Vec<Trace>,
    again: bool,
}

/// What changes when a node is made anew, or its permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trace {
    path: PathBuf,
    inode: u64,
    changed: (i64, i64),
}

/// Looks after which, for a wish for any camera, another one will do.
const LOYALTY: u32 = 5;

impl Known {
    fn new(device: &Device) -> Self {
        Self {
            path: device.path().to_owned(),
            card: device.capabilities().card.clone(),
            bus: device.capabilities().bus.clone(),
            looks: 0,
            seen: Vec::new(),
            again: false,
        }
    }

    /// The same camera in the same place, then one of its name anywhere, then whatever is at its path now, then, for who
    /// wishes for any, any.
    pub(super) fn find(&mut self, wish: &Wish) -> Option<Box<dyn Backend>> {
        let nodes = found::nodes();
        let traces: Vec<_> = nodes.iter().filter_map(trace).collect();
        let disloyal = matches!(wish.which, Which::Any) && self.looks >= LOYALTY;
        self.looks = self.looks.saturating_add(1);
        let changed = traces != self.seen || (disloyal && self.looks == LOYALTY + 1);
        self.seen = traces;
        if !changed && !self.again {
            return None;
        }
        let rank = |path: &PathBuf| {
            let Ok(device) = Device::open(path) else {
                // It may be it, and not ours yet.
                return (*path == self.path).then_some(4);
            };
            let caps = device.capabilities();
            match (caps.card == self.card, caps.bus == self.bus, *path == self.path) {
                (true, true, true) => Some(0),
                (true, true, false) => Some(1),
                (true, false, true) => Some(2),
                (true, false, false) => Some(3),
                (false, _, true) => Some(4),
                (false, ..) => disloyal.then_some(5),
            }
        };
        let mut ranked: Vec<_> = nodes
            .into_iter()
            .filter_map(|path| Some((rank(&path)?, path)))
            .collect();
        ranked.sort();
        self.again = !ranked.is_empty();
        let opened = ranked
            .into_iter()
            .find_map(|(_, path)| Node::open(&path, wish, &mut Vec::new()).ok())?;
        Some(Box::new(opened))
    }
}

fn trace(path: &PathBuf) -> Option<Trace> {
    use std::os::unix::fs::MetadataExt;
    let node = std::fs::metadata(path).ok()?;
    Some(Trace {
        path: path.clone(),
        inode: node.ino(),
        changed: (node.ctime(), node.ctime_nsec()),
    })
}
