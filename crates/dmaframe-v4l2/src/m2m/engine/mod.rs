//! The two queues of a mem2mem device together: what all of converters, encoders and decoders do.
//!
//! Source: `Documentation/userspace-api/media/v4l/dev-mem2mem.rst`, `dev-encoder.rst`, `dev-decoder.rst`.

mod drain;
mod wait;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use dmaframe_core::capture::{Captured, Stats};
use dmaframe_core::report::Hop;
use dmaframe_core::{Bitstream, Deadline, Frame, FrameMeta, Timestamp};
use rustix::io::Errno;

use super::builder::Choices;
use super::input::Input;
use super::output::Output;
use super::role::Role;
use super::times::Times;
use crate::device::{Device, Queue};
use crate::error::Error;
use crate::event::EventKind;
use crate::format::{Format, FormatRequest};
use crate::queue;
use crate::sys;
use crate::sys::abi::{self, Plain};
use wait::Bell;

/// What goes in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Submission<'a> {
    Frame(&'a Frame),
    Unit(&'a Bitstream),
}

/// What comes out.
#[derive(Debug)]
pub(super) enum Came {
    Item(Captured),
    Damaged(Option<Timestamp>),
    Format,
    Drained,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Nobody asked for one.
    No,
    /// The driver is to say when everything has come out.
    Asked,
    /// It has, and is stopped until the next input.
    Done,
}

#[derive(Debug)]
pub(super) struct Engine {
    /// First, so that it closes first: queues that would not stop end then, and only then may others have their buffers.
    device: Device,
    role: Role,
    input: Input,
    output: Output,
    epoll: OwnedFd,
    /// For what is to be told without the device's doing.
    bell: Bell,
    /// Whether the device is in the epoll.
    watched: bool,
    times: Times,
    drain: Drain,
    /// Whether the driver knows `VIDIOC_ENCODER_CMD` or `VIDIOC_DECODER_CMD`.
    commands: bool,
    /// The driver said that the format of what comes out changed.
    changed: bool,
    /// The last buffer before a change or the end of a drain has come.
    last: bool,
    /// To be told of a new format.
    tell_format: bool,
    /// To be told of a drain that had nothing to do.
    tell_drained: bool,
    /// Inputs since the start or the last flush, and what came out of them.
    submitted: u64,
    came: u64,
    damaged: u64,
}

impl Engine {
    pub(super) fn build(device: Device, role: Role, choices: Choices) -> Result<Self, Error> {
        let (input_format, size, output_format) = super::negotiate::formats(&device, role, &choices)?;
        let epoll = queue::new_epoll(&device)?;
        let bell = Bell::new(&device, &epoll)?;
        let wanted = choices
            .input_buffers
            .max(u32::try_from(queue::driver_minimum(&device, Queue::Output)).unwrap_or(0) + 1);
        let mut input = Input::allocate(&device, input_format, size, choices.input_memory, wanted)?;
        if role == Role::Decoder {
            // A stateful decoder cannot do without; one that says no will say so again by never changing.
            let _ = device.subscribe(EventKind::SourceChange);
        }
        let output = Output {
            fill: None,
            format: None,
            meta: FrameMeta::default(),
            wanted: choices.output,
            source: choices.output_memory,
            memory: abi::MEMORY_MMAP,
            budget: choices.budget,
            implicit: choices.implicit,
            hop: Hop::new(format!("{}(V4L2,CAPTURE)", device.capabilities().driver)),
            stats: Stats::default(),
        };
        input.stream_on(&device)?;
        let mut engine = Self {
            device,
            role,
            input,
            output,
            epoll,
            bell,
            watched: false,
            times: Times::new(),
            drain: Drain::No,
            commands: role != Role::Converter,
            changed: false,
            last: false,
            tell_format: false,
            tell_drained: false,
            submitted: 0,
            came: 0,
            damaged: 0,
        };
        if let Some(format) = output_format {
            engine.output.open(&engine.device, role, &engine.epoll, format)?;
        }
        engine.watch()?;
        Ok(engine)
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    pub(super) fn input(&self) -> &Input {
        &self.input
    }

    pub(super) fn output_format(&self) -> Option<&Format> {
        self.output.format.as_ref()
    }

    pub(super) fn output_slots(&self) -> usize {
        self.output.fill.as_ref().map_or(0, |fill| fill.slots.slots.len())
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = self
            .output
            .fill
            .as_ref()
            .map_or(self.output.stats, |fill| fill.stats);
        stats.errors = self.damaged;
        stats
    }

    pub(super) fn hops(&self) -> (&Arc<Hop>, &Arc<Hop>) {
        let output = self
            .output
            .fill
            .as_ref()
            .map_or(&self.output.hop, |fill| &fill.hop);
        (&self.input.hop, output)
    }

    /// The stream's format changed, or is known for the first time: other buffers.
    ///
    /// What fails is tried again with the next call, and told again: a stream whose new buffers cannot be had must not
    /// end without a word.
    fn resize(&mut self) -> Result<(), Error> {
        self.unwatch();
        if let Some(fill) = &mut self.output.fill {
            fill.forget(&self.device, &self.epoll, self.output.memory)?;
        }
        let mut format = self.device.format()?;
        if let Some(wanted) = self.output.wanted.pixel_format {
            if wanted != format.pixel_format {
                format = self.device.set_format(FormatRequest::new(wanted, format.size))?;
            }
        }
        self.output.open(&self.device, self.role, &self.epoll, format)?;
        (self.changed, self.last) = (false, false);
        self.tell_format = true;
        self.bell.ring();
        if self.drain == Drain::Asked {
            // Some drivers forget that they were asked when their buffers go.
            self.command(abi::CODEC_CMD_STOP)?;
        }
        self.watch()
    }

    /// `VIDIOC_ENCODER_CMD` or `VIDIOC_DECODER_CMD`.
    fn command(&mut self, cmd: u32) -> Result<(), Error> {
        let fd = self.device.as_fd();
        let (name, result) = match self.role {
            Role::Encoder => {
                let mut arg = abi::EncoderCmd {
                    cmd,
                    ..abi::EncoderCmd::zeroed()
                };
                ("VIDIOC_ENCODER_CMD", sys::encoder_cmd(fd, &mut arg))
            }
            Role::Decoder => {
                let mut arg = abi::DecoderCmd {
                    cmd,
                    ..abi::DecoderCmd::zeroed()
                };
                ("VIDIOC_DECODER_CMD", sys::decoder_cmd(fd, &mut arg))
            }
            _ => return Ok(()),
        };
        match result {
            // EBUSY: it is draining already.
            Ok(()) | Err(Errno::BUSY) => Ok(()),
            Err(Errno::NOTTY) => {
                self.commands = false;
                Ok(())
            }
            Err(errno) => Err(self.device.fail(name)(errno)),
        }
    }

    fn poll_events(&mut self) -> Result<(), Error> {
        if self.role == Role::Decoder {
            while let Some(event) = self.device.next_event()? {
                self.changed |= event.kind == Some(EventKind::SourceChange);
            }
        }
        Ok(())
    }

    /// Everything that can be done without a consumer.
    fn pump(&mut self) -> Result<(), Error> {
        self.poll_events()?;
        self.input.reap(&self.device)?;
        match &mut self.output.fill {
            Some(fill) if fill.streaming || !self.changed => {
                fill.reclaim(&self.device, &self.epoll, false)?
            }
            // No buffers yet, or no others after those of the format before.
            _ if self.changed => self.resize()?,
            _ => {}
        }
        self.watch()
    }

    /// Takes an input if there is room for it now.
    pub(super) fn try_submit(&mut self, item: Submission<'_>, deadline: Deadline) -> Result<(), Error> {
        if self.drain == Drain::Asked {
            return Err(Error::Draining {
                device: self.device.path().to_owned(),
            });
        }
        self.pump()?;
        if self.drain == Drain::Done {
            self.resume()?;
        }
        if !self.input.has_room() {
            return Err(Error::Full {
                device: self.device.path().to_owned(),
                buffers: self.input.slots(),
            });
        }
        let time = self.times.push(match item {
            Submission::Frame(frame) => frame.meta(),
            Submission::Unit(unit) => unit.meta(),
        });
        let queued = match item {
            Submission::Frame(frame) => self.input.queue_frame(&self.device, frame, time, deadline),
            Submission::Unit(unit) => self.input.queue_unit(&self.device, unit, time, deadline),
        };
        if let Err(error) = queued {
            self.times.pop(time);
            return Err(error);
        }
        self.submitted += 1;
        self.watch()
    }

    /// Takes an input, waiting until `deadline` for room and for fences.
    pub(super) fn submit(&mut self, item: Submission<'_>, deadline: Deadline) -> Result<(), Error> {
        loop {
            match self.try_submit(item, deadline) {
                Err(Error::Full { device, buffers }) => {
                    let left = deadline.remaining();
                    if left.is_some_and(|left| left.is_zero()) {
                        return Err(Error::Full { device, buffers });
                    }
                    self.wait_for_room(left)?;
                }
                other => return other,
            }
        }
    }

    /// What comes out next, if it is there.
    pub(super) fn try_next(&mut self) -> Result<Option<Came>, Error> {
        self.pump()?;
        self.bell.silence();
        if std::mem::take(&mut self.tell_format) {
            return Ok(Some(Came::Format));
        }
        if self.drain == Drain::Done {
            return Ok(std::mem::take(&mut self.tell_drained).then_some(Came::Drained));
        }
        // Each round takes a buffer that is put back, so a driver that only delivers rubbish ends after one of each.
        for _ in 0..self.output_slots() {
            if self.last {
                break;
            }
            let Some(fill) = &mut self.output.fill else { break };
            let info = match fill.slots.dequeue(&self.device) {
                Ok(Some(info)) => info,
                Ok(None) => break,
                Err(Error::Request {
                    errno: Errno::PIPE, ..
                }) => {
                    self.last = true;
                    break;
                }
                Err(error) => return Err(error),
            };
            self.last = info.flags & abi::BUF_FLAG_LAST != 0;
            let bytes: u32 = info.planes.iter().map(|plane| plane.bytesused).max().unwrap_or(0);
            if self.last && bytes == 0 {
                // Only the flag; the buffer is at home.
                break;
            }
            self.came += 1;
            let meta = self.times.find(&info);
            if info.flags & abi::BUF_FLAG_ERROR != 0 {
                self.damaged += 1;
                let time = meta.timestamp;
                fill.slots.queue(&self.device, info.index as usize)?;
                return Ok(Some(Came::Damaged(time)));
            }
            let meta = self.output.meta_of(meta);
            let Some(format) = &self.output.format else { break };
            let Some(fill) = &mut self.output.fill else { break };
            if let Some(captured) = fill.deliver(&self.device, &self.epoll, format, &info, meta)? {
                return Ok(Some(Came::Item(captured)));
            }
        }
        self.ended()
    }

    /// What comes out next, waiting until `deadline`.
    pub(super) fn next(&mut self, deadline: Deadline) -> Result<Option<Came>, Error> {
        loop {
            if let Some(came) = self.try_next()? {
                return Ok(Some(came));
            }
            let left = deadline.remaining();
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            queue::sleep(&self.device, &self.epoll, left, self.is_ticking())?;
        }
    }
}

impl Drop for Engine {
    /// Stops both queues: frames that wait to be read go back to their producers, those that consumers hold stay valid.
    fn drop(&mut self) {
        // What a driver that does not stop has is let go with the fields, after the device.
        if self.input.stream_off(&self.device).is_ok() {
            self.input.free(&self.device);
        }
        if let Some(fill) = &mut self.output.fill {
            let _ = fill.stream_off(&self.device);
            fill.close();
        }
    }
}
