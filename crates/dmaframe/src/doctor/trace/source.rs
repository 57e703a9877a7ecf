//! Where traced frames come from.

use std::sync::Arc;
use std::time::Duration;

use crate::alloc::{Chain, FramePool, Request};
use crate::doctor::{Error, Options, cameras};
use crate::report::Hop;
use crate::v4l2::{self, Capture, Device};
use crate::{Clock, Fourcc, Frame, Size, Timestamp};

pub(super) enum Source {
    Camera(Box<Capture>, Duration),
    Test(Box<Test>),
}

/// A pool whose frames get one row written.
pub(super) struct Test {
    pool: FramePool,
    hop: Arc<Hop>,
    count: u64,
}

impl Source {
    /// The first camera that starts, else a test source.
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        for found in v4l2::list()? {
            let started = Device::open(&found.path).and_then(|device| cameras::start(device, 6));
            if let Ok(capture) = started {
                return Ok(Self::Camera(Box::new(capture), options.patience));
            }
        }
        let request = Request::new(Fourcc::NV12, Size::new(1280, 720));
        let pool = FramePool::builder(request)
            .slots(4)
            .allocator(Chain::standard())
            .build();
        let pool = pool.map_err(crate::alloc::Error::from)?;
        let hop = Hop::new(format!(
            "test source({})",
            pool.verdict().chosen.as_deref().unwrap_or("?")
        ));
        Ok(Self::Test(Box::new(Test { pool, hop, count: 0 })))
    }

    pub(super) fn hop(&self) -> Arc<Hop> {
        match self {
            Self::Camera(capture, _) => Arc::clone(capture.hop()),
            Self::Test(test) => Arc::clone(&test.hop),
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Camera(capture, _) => {
                let device = capture.device();
                format!("{} ({})", device.capabilities().card, device.path().display())
            }
            Self::Test(test) => test.hop.counts().name,
        }
    }

    pub(super) fn next(&mut self) -> Result<Frame, Error> {
        match self {
            Self::Camera(capture, patience) => {
                let captured = capture.next(*patience)?;
                let frame = captured.and_then(v4l2::Captured::into_frame);
                frame.ok_or_else(|| Error::NoTrace(format!("no picture came for {patience:?}")))
            }
            Self::Test(test) => test.next(),
        }
    }
}

impl Test {
    fn next(&mut self) -> Result<Frame, Error> {
        const SOON: Duration = Duration::from_secs(1);
        let mut frame = self.pool.acquire(SOON)?;
        let meta = frame.meta_mut()?;
        meta.timestamp = Some(Timestamp::now(Clock::Monotonic));
        meta.sequence = Some(self.count);
        let row = vec![self.count as u8; frame.layout().row_bytes(0)];
        let height = u64::from(frame.layout().size().height);
        frame
            .map_write(SOON)?
            .write_row(0, (self.count % height) as u32, &row)?;
        self.count += 1;
        self.hop.zero_copy();
        Ok(frame)
    }
}
