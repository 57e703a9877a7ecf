//! The end of what is on its way: drained, dropped, or on with the next.

use rustix::io::Errno;

use super::{Came, Drain, Engine};
use crate::error::Error;
use crate::sys::abi;

impl Engine {
    /// Whether nothing more comes out before somebody does something.
    pub(super) fn ended(&mut self) -> Result<Option<Came>, Error> {
        if self.last {
            self.poll_events()?;
            if self.changed {
                self.resize()?;
                self.tell_format = false;
                self.bell.silence();
                return Ok(Some(Came::Format));
            }
            if self.drain == Drain::Asked {
                return Ok(Some(self.drained()));
            }
        }
        if self.drain == Drain::Asked && self.is_empty() {
            return Ok(Some(self.drained()));
        }
        Ok(None)
    }

    /// Whether nothing is on its way, as far as that can be known without the driver's word.
    fn is_empty(&self) -> bool {
        let counted = !self.commands && self.came >= self.submitted;
        (self.output.fill.is_none() || counted) && self.input.with_driver() == 0
    }

    fn drained(&mut self) -> Came {
        self.drain = Drain::Done;
        self.unwatch();
        Came::Drained
    }

    pub(in crate::m2m) fn drain(&mut self) -> Result<(), Error> {
        match self.drain {
            Drain::No => self.drain = Drain::Asked,
            Drain::Asked => return Ok(()),
            Drain::Done => {
                // Nothing has gone in since the last one.
                self.tell_drained = true;
                self.bell.ring();
                return Ok(());
            }
        }
        // A decoder that does not know its stream yet is told when it does: both queues have to run.
        if self.output.fill.is_some() && self.commands {
            self.command(abi::CODEC_CMD_STOP)?;
        }
        if self.last || self.is_empty() {
            // The end is there already: no device is going to say so.
            self.bell.ring();
        }
        Ok(())
    }

    /// Out of the stop at the end of a drain.
    pub(super) fn resume(&mut self) -> Result<(), Error> {
        (self.drain, self.last, self.tell_drained) = (Drain::No, false, false);
        (self.submitted, self.came) = (0, 0);
        if !self.commands || self.output.fill.is_none() {
            return Ok(());
        }
        self.command(abi::CODEC_CMD_START)?;
        let Some(fill) = &mut self.output.fill else {
            return Ok(());
        };
        match fill.slots.dequeue(&self.device) {
            Ok(None) => Ok(()),
            // Drivers that go on saying that the stream has ended (vicodec): a restart of the queue makes them listen.
            Ok(Some(_))
            | Err(Error::Request {
                errno: Errno::PIPE, ..
            }) => {
                fill.stream_off(&self.device)?;
                fill.stream_on(&self.device, &self.epoll)
            }
            Err(error) => Err(error),
        }
    }

    /// Drops everything that is on its way.
    pub(in crate::m2m) fn flush(&mut self) -> Result<(), Error> {
        self.unwatch();
        self.input.stream_off(&self.device)?;
        if let Some(fill) = &mut self.output.fill {
            fill.stream_off(&self.device)?;
        }
        self.times.clear();
        (self.drain, self.last, self.tell_drained) = (Drain::No, false, false);
        (self.submitted, self.came) = (0, 0);
        self.poll_events()?;
        if self.changed {
            // The buffers are of the format before.
            self.resize()?;
        } else if let Some(fill) = &mut self.output.fill {
            fill.stream_on(&self.device, &self.epoll)?;
        }
        self.input.stream_on(&self.device)?;
        self.watch()
    }
}
