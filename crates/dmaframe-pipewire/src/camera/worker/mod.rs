//! The loop thread's half of a camera.

mod negotiate;
mod publish;
mod recycle;

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_alloc::Allocator;
use dmaframe_core::negotiate::{FormatSet, Pair};
use dmaframe_core::{Buffer, ColorInfo, Layout, Size, TimelineDevice};
use pipewire::stream::StreamFlags;

use super::pool::Pool;
use super::{CameraEvent, Shared};
use crate::error::Error;
use crate::pod::{Modifiers, VideoFormat, meta_type, param};
use crate::sys::{Abort, Direction, Handler, Slot, State, Stream, Version};
use crate::thread;
use crate::wake::WakeSet;

/// How long a consumer without the RELEASE feature may take to signal a release point.
const RELEASE_PATIENCE: Duration = Duration::from_millis(500);
/// How often is looked for what comes without a wake-up: while somebody has waited for it for less than [`EAGER`], and
/// otherwise.
const TICK: Duration = Duration::from_millis(1);
const SLOW_TICK: Duration = Duration::from_millis(20);
const EAGER: Duration = Duration::from_secs(1);
/// How long a buffer may be missed after a consumer has gone before all are made anew.
const RESCUE: Duration = Duration::from_millis(500);

/// What the builder fixed.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) formats: FormatSet,
    pub(super) shared_memory: bool,
    pub(super) size: Size,
    pub(super) framerate: (u32, u32),
    pub(super) color: ColorInfo,
    pub(super) buffers: u32,
    pub(super) allocator: Box<dyn Allocator>,
    pub(super) import: Vec<Arc<Buffer>>,
    pub(super) timelines: Option<TimelineDevice>,
}

/// A settled format and what its buffers are like.
struct Settled {
    format: VideoFormat,
    layout: Layout,
    generation: u64,
    dmabuf: bool,
    imported: bool,
    /// Data blocks with pixels.
    blocks: usize,
    /// The descriptors we made for syncobjs: open until the buffers are removed.
    timelines: Vec<OwnedFd>,
}

pub(super) struct Worker {
    config: Config,
    picture: RefCell<(FormatSet, Size)>,
    /// Pairs of it that the allocator could make no buffer of.
    unmakeable: RefCell<Vec<Pair>>,
    import: RefCell<Vec<Arc<Buffer>>>,
    shared: Arc<Shared>,
    wake: WakeSet,
    settled: RefCell<Option<Settled>>,
    version: Cell<Version>,
    sequence: Cell<u64>,
    /// When a frame was last given to the graph.
    published: Cell<Option<Instant>>,
    /// Links that have us at their output end.
    links: RefCell<Vec<u32>>,
    /// The front of the queue waits for its fence, whose descriptor is in the wake set.
    watched: RefCell<Option<dmaframe_core::SyncFile>>,
    busy: Cell<bool>,
    /// We have said that our node has failed.
    failed: Cell<bool>,
    /// Whether the graph runs: before that, a published frame would be seen by nobody.
    streaming: Cell<bool>,
    /// When a consumer went while others stayed.
    orphaned: Cell<Option<Instant>>,
}

impl Worker {
    pub(super) fn new(config: Config, shared: Arc<Shared>) -> Result<Rc<Self>, Error> {
        Ok(Rc::new(Self {
            picture: RefCell::new((config.formats.clone(), config.size)),
            unmakeable: RefCell::default(),
            import: RefCell::new(config.import.clone()),
            config,
            wake: WakeSet::new(&shared.commands)?,
            shared,
            settled: RefCell::new(None),
            version: Cell::new(Version::default()),
            sequence: Cell::new(0),
            published: Cell::new(None),
            links: RefCell::new(Vec::new()),
            watched: RefCell::new(None),
            busy: Cell::new(false),
            failed: Cell::new(false),
            streaming: Cell::new(false),
            orphaned: Cell::new(None),
        }))
    }

    /// Nothing can be made of what a consumer asks for: it is told, since it would wait for ever. The only word that the
    /// protocol has for it is that our node has failed.
    fn give_up(&self, stream: &Stream, error: Error) {
        let message = error.to_string();
        self.shared.tell(CameraEvent::Refused(error));
        self.failed.set(true);
        stream.set_error(rustix::io::Errno::INVAL.raw_os_error(), &message);
    }

    /// A node that has failed stays so: once its consumers are gone, others get a new one.
    fn recover(&self, stream: &Stream) {
        if !self.links.borrow().is_empty() || !self.failed.replace(false) {
            return;
        }
        stream.disconnect();
        if let Err(error) = thread::Worker::connect(self, stream, self.version.get()) {
            self.shared.fail(error);
        }
    }

    /// Makes the memory of a buffer and keeps it. An error is what consumers have to be told.
    fn add_to_pool(&self, stream: &Stream, slot: Slot) -> Result<(), Error> {
        let mut settled = self.settled.borrow_mut();
        let settled = settled.as_mut().filter(|_| !self.failed.get());
        let Some(settled) = settled else {
            // Told already: the stream still goes through the buffers that it wanted.
            negotiate::clear(stream, slot);
            return Ok(());
        };
        let known = self.shared.desk().pool.as_ref().map(Pool::len);
        let first = known.is_none();
        // Outside of the lock: an allocator may take its time, and may ask its camera something.
        let entry = self.add(stream, slot, settled, known.unwrap_or(0))?;
        let explicit = entry.sync.is_some();
        if first {
            let yes = |yes| if yes { c"true" } else { c"false" };
            let feature =
                stream.has_feature(slot, meta_type::SYNC_TIMELINE, meta_type::SYNC_TIMELINE_RELEASE);
            // Points are for one consumer; without the RELEASE feature the transport must not lose a buffer.
            stream.update_properties(&[
                (c"node.exclusive", yes(explicit)),
                (c"node.reliable", yes(explicit && !feature)),
            ]);
        }
        let mut desk = self.shared.desk();
        if first {
            let new = Pool::new(settled.layout.clone(), settled.imported)
                .and_then(|new| self.wake.add(&*new.queue).map(|()| new));
            match new {
                Ok(new) => desk.pool = Some(new),
                Err(error) => {
                    drop(desk);
                    self.shared.fail(error);
                    return Ok(());
                }
            }
        }
        let Some(pool) = desk.pool.as_mut() else {
            return Ok(());
        };
        if let Some(place) = pool.entries.get_mut(slot.index) {
            *place = Some(entry);
        }
        let buffers = pool.len() as u64;
        desk.stats.buffers = buffers;
        desk.stats.explicit_sync = explicit;
        if first {
            desk.format = Some(settled.format.clone());
            drop(desk);
            self.shared.tell(CameraEvent::Format {
                format: settled.format.clone(),
                layout: settled.layout.clone(),
            });
        }
        // Free once the stream gives it out for the first time.
        self.wake.tick(Duration::from_micros(100));
        Ok(())
    }

    /// Everything that may have become possible.
    fn work(&self, stream: &Stream) {
        // Triggering the graph may call `process` from within.
        if self.busy.replace(true) {
            return;
        }
        let (gone, published) = {
            let mut desk = self.shared.desk();
            let mut gone = self.reclaim(stream, &mut desk);
            let (more, published) = self.publish(stream, &mut desk);
            gone.extend(more);
            if published > 0 {
                self.published.set(Some(Instant::now()));
                // Where nobody looks more often.
                let idle = desk.asked.is_none() && desk.pushed.is_empty();
                if idle && desk.pool.as_ref().is_some_and(recycle::lends) {
                    self.wake.tick(SLOW_TICK);
                }
            }
            (gone, published)
        };
        drop(gone);
        for _ in 0..published {
            stream.trigger();
        }
        self.rescue(stream);
        self.busy.set(false);
    }
}

impl Handler for Worker {
    fn abort(&self) -> Abort {
        let shared = Arc::clone(&self.shared);
        Box::new(move |error| shared.fail(error))
    }

    fn state_changed(&self, _stream: &Stream, state: State) {
        self.streaming.set(state == State::Streaming);
        // What was pushed before goes out now.
        self.shared.commands.set();
        if state == State::Removed {
            self.close_pool();
            return self.shared.fail(Error::Removed);
        }
        let State::Error(message) = state else {
            // A session manager may have brought the node back.
            return self.failed.set(false);
        };
        // Our own word to consumers is not the end of the camera.
        if !self.failed.get() {
            match Error::of_stream(message, &self.picture.borrow().0) {
                // One consumer's affair: the node goes on for the others.
                error @ Error::NoCommonFormat { .. } => self.shared.tell(CameraEvent::Refused(error)),
                error => self.shared.fail(error),
            }
        }
    }

    fn param_changed(&self, stream: &Stream, id: u32, pod: Option<&[u8]>) {
        if id != param::FORMAT {
            return;
        }
        self.close_pool();
        let Some(pod) = pod else {
            self.shared.tell(CameraEvent::Unwatched);
            return;
        };
        let done = VideoFormat::parse(pod).map_err(Error::from).and_then(|format| {
            if let Modifiers::Open(list) = &format.modifiers {
                return self.fixate(stream, &format, list);
            }
            let settled = self.settle(format)?;
            stream.update_params(&self.buffer_params(&settled))?;
            *self.settled.borrow_mut() = Some(settled);
            Ok(())
        });
        if let Err(error) = done {
            self.give_up(stream, error);
        }
    }

    fn add_buffer(&self, stream: &Stream, slot: Slot) {
        if let Err(error) = self.add_to_pool(stream, slot) {
            self.give_up(stream, error);
        }
    }

    fn remove_buffer(&self, _stream: &Stream, _slot: Slot) {
        self.close_pool();
    }

    fn process(&self, stream: &Stream) {
        self.work(stream);
    }
}

impl thread::Worker for Worker {
    fn connect(&self, stream: &Stream, daemon: Version) -> Result<(), Error> {
        self.version.set(daemon);
        let flags = StreamFlags::DRIVER | StreamFlags::ALLOC_BUFFERS;
        stream.connect(Direction::Output, None, flags, &self.offers())
    }

    fn wake(&self, stream: &Stream) {
        self.shared.commands.clear();
        self.wake.clear_tick();
        let picture = self.shared.desk().picture.take();
        if let Some(picture) = picture {
            *self.picture.borrow_mut() = picture;
            self.unmakeable.borrow_mut().clear();
            self.import.borrow_mut().clear();
            if let Err(error) = stream.update_params(&self.offers()) {
                self.shared.fail(error);
            }
        }
        self.work(stream);
    }

    fn disconnected(&self, message: String) {
        self.close_pool();
        self.shared.fail(Error::Disconnected { message });
    }

    fn link(&self, stream: &Stream, id: u32, output: u32, _input: u32) {
        if stream.node_id() == Some(output) {
            self.links.borrow_mut().push(id);
            self.shared.desk().stats.consumers = self.links.borrow().len() as u64;
        }
    }

    fn link_failed(&self, stream: &Stream, output: u32, _input: u32, message: &str) {
        if stream.node_id() == Some(output) {
            let error = Error::of_stream(message.to_owned(), &self.picture.borrow().0);
            self.shared
                .hop
                .dropped("a consumer takes no format that is offered here");
            self.shared.tell(CameraEvent::Refused(error));
        }
    }

    fn removed(&self, stream: &Stream, id: u32) {
        let mut links = self.links.borrow_mut();
        let before = links.len();
        links.retain(|link| *link != id);
        if links.len() == before {
            return;
        }
        self.shared.desk().stats.consumers = links.len() as u64;
        self.orphaned.set((!links.is_empty()).then(Instant::now));
        // What it held may be missed.
        self.wake.tick(SLOW_TICK);
        drop(links);
        self.recover(stream);
    }

    fn wake_set(&self) -> &WakeSet {
        &self.wake
    }
}
