//! What the queue takes, and what the driver reads where it is.

use std::sync::Arc;

use dmaframe_core::{Frame, Object, Rect};

use super::{Input, InputMemory};
use crate::device::Device;
use crate::error::Error;
use crate::format::MemoryPlane;

impl Input {
    /// Why the driver cannot read an access unit's own memory; `None` when it can.
    pub(super) fn why_copy_unit(&self, carrier: &Frame) -> Option<&'static str> {
        if self.memory == InputMemory::Driver {
            return Some("the driver reads its own buffers");
        }
        if carrier.as_dmabuf().is_none() {
            return Some("the unit is in no dma-buf");
        }
        let (objects, memory) = (carrier.buffer().objects(), self.format.memory_planes());
        let ([object], [plane]) = (objects, memory) else {
            return Some("the driver reads another number of dma-bufs");
        };
        // Bytes are counted from the start of the memory.
        if carrier
            .layout()
            .planes()
            .first()
            .is_none_or(|plane| plane.offset != 0)
        {
            return Some("the unit does not begin where its dma-buf does");
        }
        (object.size() < u64::from(plane.size))
            .then_some("the unit's dma-buf ends before the driver's buffers do")
    }

    pub(super) fn mismatch(&self, device: &Device, reason: String) -> Error {
        Error::InputMismatch {
            device: device.path().to_owned(),
            reason,
        }
    }

    /// Refuses what is another picture than the one agreed upon.
    pub(super) fn check(&self, device: &Device, frame: &Frame) -> Result<(), Error> {
        let found = frame.layout();
        if found.fourcc() != self.layout.fourcc() {
            let reason = format!("{}, but the queue takes {}", found.fourcc(), self.layout.fourcc());
            return Err(self.mismatch(device, reason));
        }
        let shown = frame.visible();
        if shown != Rect::full(self.size) {
            let reason = format!(
                "{shown:?} of {} is shown, but the queue takes {} from the corner",
                found.size(),
                self.size
            );
            return Err(self.mismatch(device, reason));
        }
        Ok(())
    }

    /// Why the driver cannot read the frame's own memory; `None` when it can.
    pub(super) fn why_copy(&self, frame: &Frame) -> Option<&'static str> {
        let (found, wanted) = (frame.layout(), &self.layout);
        if self.memory == InputMemory::Driver {
            return Some("the driver reads its own buffers");
        }
        if frame.as_dmabuf().is_none() {
            return Some("the frame is no dma-buf");
        }
        if found.modifier() != wanted.modifier() {
            return Some("the frame has another modifier than the driver reads");
        }
        if found.planes() != wanted.planes() {
            return Some("the driver reads other strides or offsets");
        }
        let (objects, memory) = (frame.buffer().objects(), self.format.memory_planes());
        if objects.len() != memory.len() {
            return Some("the driver reads another number of dma-bufs");
        }
        let small = |(object, plane): (&Arc<Object>, &MemoryPlane)| object.size() < u64::from(plane.size);
        if objects.iter().zip(memory).any(small) {
            return Some("the frame's memory ends before the driver's does");
        }
        None
    }
}
