//! The loop thread's half of a capture.

mod deliver;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dmaframe_core::negotiate::FormatSet;
use dmaframe_core::{Budget, Fence, Size, TimelineDevice};
use pipewire::stream::StreamFlags;

use super::builder::Unguarded;
use super::pool::{Pool, Sync};
use super::{Event, Shared};
use crate::error::Error;
use crate::negotiate;
use crate::pod::{BuffersOffer, FormatOffer, Modifiers, PodBuf, VideoFormat, data, param};
use crate::sys::{Abort, Direction, Handler, Slot, State, Stream, Version};
use crate::thread;
use crate::wake::WakeSet;

/// What the builder fixed.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) formats: FormatSet,
    pub(super) taken: negotiate::Taken,
    pub(super) size: Size,
    pub(super) framerate: (u32, u32),
    pub(super) buffers: u32,
    pub(super) budget: Budget,
    pub(super) unguarded: Unguarded,
    pub(super) timelines: Option<TimelineDevice>,
    pub(super) target: Option<u32>,
    pub(super) autoconnect: bool,
}

pub(super) struct Worker {
    config: Config,
    formats: RefCell<FormatSet>,
    shared: Arc<Shared>,
    wake: WakeSet,
    pool: RefCell<Option<Pool>>,
    format: RefCell<Option<VideoFormat>>,
    version: Cell<Version>,
    /// The link we are at the end of, and the node at its other end.
    peer: Cell<Option<(u32, u32)>>,
    /// The link has led to a format, or has said why not.
    settled: Cell<bool>,
    last_sequence: Cell<Option<u64>>,
    /// Pictures were lost since the last one that was handed out, or there was none: what changed in this one is not all that
    /// is new to consumers.
    lost: Cell<bool>,
}

impl Worker {
    pub(super) fn new(config: Config, shared: Arc<Shared>) -> Result<Rc<Self>, Error> {
        Ok(Rc::new(Self {
            formats: RefCell::new(config.formats.clone()),
            config,
            wake: WakeSet::new(&shared.commands)?,
            shared,
            pool: RefCell::new(None),
            format: RefCell::new(None),
            version: Cell::new(Version::default()),
            peer: Cell::new(None),
            settled: Cell::new(true),
            last_sequence: Cell::new(None),
            lost: Cell::new(true),
        }))
    }

    fn timelines(&self) -> Option<&TimelineDevice> {
        negotiate::timelines(self.config.timelines.as_ref(), self.version.get())
    }

    fn offers(&self) -> Vec<PodBuf> {
        let make = |fourcc| {
            FormatOffer::new(fourcc, self.config.size)
                .any_size()
                .framerate(self.config.framerate)
                .any_rate()
        };
        let offers = self.config.taken.of(&self.formats.borrow(), make);
        offers.iter().map(FormatOffer::to_pod).collect()
    }

    /// What we ask of buffers of the final format.
    fn buffer_params(&self, format: &VideoFormat) -> Vec<PodBuf> {
        let dmabuf = 1 << data::DMA_BUF;
        let types = match format.modifiers {
            Modifiers::Fixed(_) => dmabuf,
            // The dma-bufs of cameras come without a modifier and can be mapped.
            _ => dmabuf | 1 << data::MEM_FD,
        };
        let plain = BuffersOffer {
            count: (self.config.buffers, 2, 32),
            blocks: None,
            size: None,
            types,
            with_meta: None,
        };
        negotiate::buffer_params(plain, self.timelines().is_some(), self.version.get())
    }

    /// Forgets all buffers: leases of frames that are out do nothing any more.
    fn close_pool(&self) {
        if let Some(pool) = self.pool.borrow_mut().take() {
            self.wake.remove(&*pool.queue);
            for entry in pool.entries.iter().flatten() {
                self.unwatch(entry.fenced.as_ref());
            }
            pool.queue.close();
        }
        self.shared.inbox().stats.buffers = 0;
    }

    fn unwatch(&self, fence: Option<&Fence>) {
        if let Some(Fence::SyncFile(file)) = fence {
            self.wake.remove(file);
        }
    }

    /// Gives a buffer back to the node.
    fn release(&self, stream: &Stream, slot: Slot, sync: Option<&Sync>, fence: Fence) {
        if let Some(sync) = sync {
            let point = sync.points.release;
            let signaled = match fence {
                Fence::Signaled => sync.release.signal(point),
                Fence::SyncFile(file) => sync.release.attach(point, &file),
                // Only what has work not submitted yet is still something else here, and is waited for before.
                _ => sync.release.signal(point),
            };
            // A node whose syncobj refuses has broken its own: it gets the buffer, and sees that it is not signalled.
            let _ = signaled;
        }
        stream.queue(slot);
    }

    /// Buffers that consumers gave back.
    fn reclaim(&self, stream: &Stream) {
        let mut pool = self.pool.borrow_mut();
        let Some(pool) = pool.as_mut() else { return };
        while let Some(returned) = pool.queue.next() {
            if let Some(Some(entry)) = pool.entries.get_mut(returned.slot) {
                if !std::mem::take(&mut entry.out) {
                    // No frame came of it, and the buffer went back at once.
                    continue;
                }
                let fence = returned.fence.into_pollable();
                let explicit = entry.sync.is_some() && matches!(fence, Fence::Signaled | Fence::SyncFile(_));
                if explicit || fence.is_trivial() || fence.is_done().unwrap_or(false) {
                    // With explicit sync the node waits for what is pending itself.
                    self.release(stream, entry.slot, entry.sync.as_ref(), fence);
                    continue;
                }
                if let Fence::SyncFile(file) = &fence {
                    let _ = self.wake.add(file);
                }
                entry.fenced = Some(fence);
            }
        }
        let mut unwatched = false;
        for entry in pool.entries.iter_mut().flatten() {
            let Some(fence) = &entry.fenced else { continue };
            // A fence that the kernel will not be asked about counts as pending: too late is safe, too early is not.
            if !fence.is_done().unwrap_or(false) {
                unwatched |= !matches!(fence, Fence::SyncFile(_));
                continue;
            }
            self.unwatch(entry.fenced.as_ref());
            entry.fenced = None;
            self.release(stream, entry.slot, entry.sync.as_ref(), Fence::Signaled);
        }
        if unwatched {
            self.wake.tick(Duration::from_millis(5));
        }
    }
}

/// Whether the node looks who still has a buffer before it writes it again. Who does counts its users in the buffer, and
/// such a count is there only where both sides know it: streams of clients do. PipeWire's own nodes for V4L2 and libcamera
/// do not: they take a buffer back as soon as the next one is filled.
fn is_guarded(stream: &Stream, slot: Slot) -> bool {
    stream.busy(slot).is_some()
}

impl Handler for Worker {
    fn abort(&self) -> Abort {
        let shared = Arc::clone(&self.shared);
        Box::new(move |error| shared.fail(error))
    }

    fn state_changed(&self, _stream: &Stream, state: State) {
        // A node that was paused may count from the beginning, and may have told others what changed.
        self.last_sequence.set(None);
        self.lost.set(true);
        match state {
            State::Error(message) => {
                let error = Error::of_stream(message, &self.formats.borrow());
                self.shared.fail(error);
            }
            State::Removed => {
                self.close_pool();
                self.shared.fail(Error::Removed);
            }
            _ => {}
        }
    }

    fn param_changed(&self, stream: &Stream, id: u32, pod: Option<&[u8]>) {
        if id != param::FORMAT {
            return;
        }
        // The library has removed the buffers of the old format by now.
        self.close_pool();
        let Some(pod) = pod else {
            if self.format.borrow_mut().take().is_some() {
                self.shared.inbox().format = None;
                self.shared.push(Event::Unlinked);
            }
            return;
        };
        let format = match VideoFormat::parse(pod) {
            Ok(format) => format,
            Err(error) => {
                stream.set_error(rustix::io::Errno::INVAL.raw_os_error(), &error.to_string());
                self.shared.fail(error.into());
                return;
            }
        };
        if matches!(format.modifiers, Modifiers::Open(_)) {
            // Not final: the producer has still to choose, and then tells again.
            return;
        }
        if let Err(error) = stream.update_params(&self.buffer_params(&format)) {
            self.shared.fail(error);
            return;
        }
        self.last_sequence.set(None);
        self.lost.set(true);
        self.settled.set(true);
        let known = self.format.borrow_mut().replace(format.clone());
        if known.as_ref() != Some(&format) {
            self.shared.inbox().format = Some(format.clone());
            self.shared.push(Event::Format(format));
        }
    }

    fn add_buffer(&self, stream: &Stream, slot: Slot) {
        let format = self.format.borrow();
        let Some(format) = format.as_ref() else { return };
        let mut pool = self.pool.borrow_mut();
        if pool.is_none() {
            let new = Pool::new().and_then(|new| self.wake.add(&*new.queue).map(|()| new));
            match new {
                Ok(new) => *pool = Some(new),
                Err(error) => return self.shared.fail(error),
            }
        }
        let Some(pool) = pool.as_mut() else { return };
        if let Err(error) = pool.add(stream, slot, format, self.timelines()) {
            let fatal = Error::Stream {
                message: format!("buffer {} cannot be used: {error}", slot.index),
            };
            self.shared.fail(fatal);
            return;
        }
        let mut inbox = self.shared.inbox();
        inbox.stats.buffers = pool.len() as u64;
        inbox.stats.explicit_sync = pool.entries.iter().flatten().any(|entry| entry.sync.is_some());
        inbox.stats.unguarded = !is_guarded(stream, slot);
    }

    fn remove_buffer(&self, _stream: &Stream, _slot: Slot) {
        // The library removes all buffers of a stream at once: with the first the generation is over.
        self.close_pool();
    }

    fn process(&self, stream: &Stream) {
        while let Ok(slot) = stream.dequeue() {
            self.deliver(stream, slot);
        }
        self.reclaim(stream);
    }
}

impl thread::Worker for Worker {
    fn connect(&self, stream: &Stream, daemon: Version) -> Result<(), Error> {
        self.version.set(daemon);
        let mut flags = StreamFlags::DONT_RECONNECT;
        flags.set(StreamFlags::AUTOCONNECT, self.config.autoconnect);
        stream.connect(Direction::Input, self.config.target, flags, &self.offers())
    }

    fn wake(&self, stream: &Stream) {
        self.shared.commands.clear();
        self.wake.clear_tick();
        let new_formats = self.shared.inbox().new_formats.take();
        if let Some(formats) = new_formats {
            *self.formats.borrow_mut() = formats;
            if let Err(error) = stream.update_params(&self.offers()) {
                self.shared.fail(error);
            }
        }
        self.reclaim(stream);
    }

    fn disconnected(&self, message: String) {
        self.close_pool();
        self.shared.fail(Error::Disconnected { message });
    }

    fn link(&self, stream: &Stream, id: u32, output: u32, input: u32) {
        if stream.node_id() == Some(input) {
            self.peer.set(Some((id, output)));
            self.settled.set(self.format.borrow().is_some());
        }
    }

    fn link_failed(&self, stream: &Stream, _output: u32, input: u32, message: &str) {
        if stream.node_id() == Some(input) {
            self.shared
                .refuse(Error::of_stream(message.to_owned(), &self.formats.borrow()));
        }
    }

    fn removed(&self, _stream: &Stream, id: u32) {
        let Some((link, node)) = self.peer.get() else {
            // A client with few rights, as a portal makes one, sees nodes go but never a link.
            if self.config.target == Some(id) {
                self.shared.push(Event::NodeRemoved { node: id });
            }
            return;
        };
        if link == id && !self.settled.replace(true) {
            // Whoever made it took it away faster than it could tell us why it failed.
            self.shared.refuse(Error::NoCommonFormat {
                message: format!("the link from node {node} ended before a format was agreed on"),
                ours: crate::error::list(&self.formats.borrow()),
            });
        }
        // The node goes right after its link, if it goes: so it is remembered.
        if node == id {
            self.peer.set(None);
            self.shared.push(Event::NodeRemoved { node });
        }
    }

    fn wake_set(&self) -> &WakeSet {
        &self.wake
    }
}
