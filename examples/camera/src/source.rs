//! Where frames come from.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use dmaframe::alloc::{Allocator, DmaHeap, Request, Udmabuf};
use dmaframe::convert::Converter;
use dmaframe::negotiate::{FormatSet, Usage, negotiate};
use dmaframe::report::Hop;
use dmaframe::v4l2::{self, Capture, Device, FormatRequest, Interval, PixelFormat};
use dmaframe::{Frame, Modifier, Size, format, next_generation};

use crate::args::{Args, Memory};
use crate::test_source::TestSource;

/// A camera longer without a picture than this is reported as stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// Buffers of ours that a camera may fill.
const IMPORTED_BUFFERS: usize = 6;

/// Whatever gives frames.
pub(crate) enum Source {
    Camera(Box<Capture>),
    Test(Box<TestSource>),
}

impl Source {
    /// What was asked for; without a wish the first camera that works, else the test picture. `notes` gets a line for
    /// each thing that was tried and did not work.
    pub(crate) fn open(args: &Args, notes: &mut Vec<String>) -> Result<Self> {
        match args.device.as_deref() {
            Some("test") => {}
            Some(path) => return camera(Device::open(path)?, args).with_context(|| path.to_owned()),
            None => {
                for found in v4l2::list()? {
                    let opened = Device::open(&found.path)
                        .map_err(Into::into)
                        .and_then(|device| camera(device, args));
                    match opened {
                        Ok(source) => return Ok(source),
                        Err(error) => notes.push(format!("{} not used: {error:#}", found.path.display())),
                    }
                }
                notes.push("no camera: showing the built-in test picture".into());
            }
        }
        let source = TestSource::new(args.size).context("the test picture")?;
        notes.extend(source.notes());
        Ok(Self::Test(Box::new(source)))
    }

    pub(crate) fn next(&mut self) -> Result<Frame> {
        match self {
            Self::Test(source) => source.next(),
            Self::Camera(capture) => {
                let captured = capture.next(PATIENCE)?.ok_or_else(|| {
                    anyhow!(
                        "{} gave no picture for {PATIENCE:?}",
                        capture.device().path().display()
                    )
                })?;
                captured
                    .into_frame()
                    .context("the camera switched to an encoded format")
            }
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Test(source) => source.describe(),
            Self::Camera(capture) => {
                let caps = capture.device().capabilities();
                format!(
                    "{} ({}, {})",
                    caps.card,
                    caps.driver,
                    capture.device().path().display()
                )
            }
        }
    }

    /// The counters of this hop, which the source keeps itself.
    pub(crate) fn hop(&self) -> Arc<Hop> {
        match self {
            Self::Test(source) => source.hop(),
            Self::Camera(capture) => Arc::clone(capture.hop()),
        }
    }

    /// Pictures that never arrived: lost by the driver, damaged, or dropped because all buffers were held.
    pub(crate) fn lost(&self) -> u64 {
        match self {
            Self::Test(_) => 0,
            Self::Camera(capture) => {
                let stats = capture.stats();
                stats.gaps + stats.errors + stats.short + stats.dropped
            }
        }
    }
}

fn camera(device: Device, args: &Args) -> Result<Source> {
    let request = FormatRequest::new(pick_format(&device, args)?, args.size);
    let interval = Interval::fps(args.fps);
    let capture = match args.memory {
        Memory::Camera => Capture::builder(device)
            .format(request)
            .interval(interval)
            .start()?,
        Memory::Udmabuf => import(device, request, interval, &Udmabuf::new())?,
        Memory::Heap => import(device, request, interval, &DmaHeap::system())?,
    };
    Ok(Source::Camera(Box::new(capture)))
}

/// Negotiated between what the camera offers and what this app can look at: anything linear the converter reads.
fn pick_format(device: &Device, args: &Args) -> Result<PixelFormat> {
    if let Some(asked) = args.format {
        if asked.frame().is_none() {
            bail!(
                "{asked:?} is an encoded or unknown format: this version shows raw frames (see `camera list`)"
            );
        }
        return Ok(asked);
    }
    let mut wanted = FormatSet::new("camera app").with_usage(Usage::Cpu);
    for info in format::all_formats()
        .iter()
        .filter(|info| Converter::reads(info.fourcc))
    {
        wanted.insert(info.fourcc, Modifier::LINEAR);
    }
    let offer = negotiate(&device.format_set()?, &wanted)?;
    let best = offer.current().context("no common format")?;
    let offered = device.formats()?;
    let spelling =
        PixelFormat::spellings(best.fourcc).find(|code| offered.iter().any(|o| o.pixel_format == *code));
    spelling.context("the camera took its format back")
}

/// Buffers of ours with exactly the layout the driver wants.
fn import(
    device: Device,
    request: FormatRequest,
    interval: Interval,
    allocator: &dyn Allocator,
) -> Result<Capture> {
    let layout = device.set_format(request)?.layout(&device)?;
    let buffers = allocator.allocate_set(&Request::exact(layout), IMPORTED_BUFFERS, next_generation())?;
    Ok(Capture::builder(device)
        .format(request)
        .interval(interval)
        .import(buffers.into_iter().map(Arc::new))
        .start()?)
}

/// For `--help` and `list`: the size in words.
pub(crate) fn megapixels(size: Size) -> f64 {
    f64::from(size.width) * f64::from(size.height) / 1e6
}
