//! What the tests share: a device that may be missing, frames with a known picture, and the validation layer's silence.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_testkit::{Device, SwSync, find, skip};
use dmaframe_vulkan::{
    BufferImport, Error, Gpu, Held, ImageImport, OpenOptions, Queue, Readback, Submission, ValidationLog,
};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A device under the validation layer. Its end (`done`) fails on any error the layer reported.
pub(crate) struct Bench {
    pub(crate) gpu: Gpu,
    pub(crate) queue: Queue,
    log: Arc<ValidationLog>,
}

/// A device with these options, or the reason why there is none (the test skips, or fails in the lab).
pub(crate) fn open(options: &OpenOptions) -> Option<Bench> {
    let log = Arc::new(ValidationLog::default());
    let opened = options.clone().validation(&log).open();
    let opened = match opened {
        Err(Error::Unsupported { what, .. })
            if what.contains("validation") && !dmaframe_testkit::in_lab() =>
        {
            options.open()
        }
        other => other,
    };
    let gpu = match opened {
        Ok(gpu) => gpu,
        Err(error) => {
            skip(&error.to_string());
            return None;
        }
    };
    let queue = gpu.queue().expect("the queue of a device just opened");
    Some(Bench { gpu, queue, log })
}

/// [`open`] that also wants dma-buf imports.
pub(crate) fn dmabuf_bench() -> Option<Bench> {
    let bench = open(&OpenOptions::new())?;
    if !bench.gpu.extensions().dmabuf() {
        skip("the Vulkan device imports no dma-bufs");
        return None;
    }
    Some(bench)
}

/// [`dmabuf_bench`], the udmabuf device, and a timeline whose fences the test signals.
pub(crate) fn fenced_bench() -> Option<(Bench, PathBuf, SwSync)> {
    let device = |device| find(device).map_err(|reason| skip(&reason)).ok();
    let (udmabuf, sw_sync) = (device(Device::Udmabuf)?, device(Device::SwSync)?);
    Some((dmabuf_bench()?, udmabuf, SwSync::open(&sw_sync).unwrap()))
}

impl Bench {
    /// Looks until nothing is at work.
    pub(crate) fn settle(&self) {
        let begin = Instant::now();
        while self.queue.in_flight() > 0 {
            assert!(begin.elapsed() < SOON, "work that does not end");
            std::thread::sleep(Duration::from_millis(1));
            self.queue.poll().unwrap();
        }
    }

    /// Drops everything and looks at what the layer said, leaks at the device's end included.
    pub(crate) fn done(self) {
        let Self { gpu, queue, log } = self;
        drop(queue);
        assert_eq!(
            gpu.live(),
            dmaframe_vulkan::LiveObjects::default(),
            "objects left behind"
        );
        drop(gpu);
        let errors = log.errors(&[]);
        assert!(errors.is_empty(), "validation errors: {errors:#?}");
    }

    /// What the device sees in buffers, tightly packed.
    pub(crate) fn read(&self, held: &Held<BufferImport>) -> Vec<u8> {
        let mut back = Readback::new(&self.gpu, held.frame.fourcc(), held.frame.layout().size()).unwrap();
        let work = self.copy(held, &back).unwrap();
        assert!(work.wait(SOON).unwrap().is_signaled());
        back.bytes().unwrap().to_vec()
    }

    /// Submits a copy of what the device sees in buffers.
    pub(crate) fn copy(&self, held: &Held<BufferImport>, back: &Readback) -> Result<Submission, Error> {
        self.queue.submit(SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.copy(&held.import, back.target())
        })
    }

    /// What the device sees in images, tightly packed.
    pub(crate) fn read_image(&self, held: &Held<ImageImport>) -> Vec<u8> {
        let mut back = Readback::new(&self.gpu, held.frame.fourcc(), held.frame.layout().size()).unwrap();
        let submitted = self.queue.submit(SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.copy_image(&held.import, back.target())
        });
        assert!(submitted.unwrap().wait(SOON).unwrap().is_signaled());
        back.bytes().unwrap().to_vec()
    }
}
