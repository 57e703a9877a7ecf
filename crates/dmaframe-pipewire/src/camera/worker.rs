//! The loop thread's half of a camera.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_alloc::{Allocator, Memfd, Request};
use dmaframe_core::negotiate::{FormatSet, Pair};
use dmaframe_core::{
    Buffer, Clock, ColorInfo, Fence, Frame, Layout, Modifier, Rect, Size, TimelineDevice, Timestamp,
    next_generation,
};
use pipewire::stream::StreamFlags;

use super::pool::{Entry, Place, Pool, Sync};
use super::{CameraEvent, Desk, Shared};
use crate::capture::Damage;
use crate::error::Error;
use crate::pod::{
    self, BuffersOffer, Chunk, FormatOffer, Modifiers, PodBuf, VideoFormat, data, meta_type, param,
};
use crate::sys::{
    Crop, Direction, Handler, Header, MAX_DAMAGE, NewData, Slot, State, Stream, SyncPoints, Version,
    chunk_flag, data_flag, header_flag, meta_size,
};
use crate::thread;
use crate::wake::WakeSet;

/// How long a consumer without the RELEASE feature may take to signal a release point.
const RELEASE_PATIENCE: Duration = Duration::from_millis(500);
/// How often is looked for what comes without a wake-up, while somebody waits for it and otherwise.
const TICK: Duration = Duration::from_millis(1);
const SLOW_TICK: Duration = Duration::from_millis(20);
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
    /// Links that have us at their output end.
    links: RefCell<Vec<u32>>,
    /// The front of the queue waits for its fence, whose descriptor is in the wake set.
    watched: RefCell<Option<dmaframe_core::SyncFile>>,
    busy: Cell<bool>,
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
            links: RefCell::new(Vec::new()),
            watched: RefCell::new(None),
            busy: Cell::new(false),
            streaming: Cell::new(false),
            orphaned: Cell::new(None),
        }))
    }

    fn timelines(&self) -> Option<&TimelineDevice> {
        let known = self.version.get() >= Version::SYNC_TIMELINE;
        self.config.timelines.as_ref().filter(|_| known)
    }

    fn offer(&self, fourcc: dmaframe_core::Fourcc) -> FormatOffer {
        FormatOffer::new(fourcc, self.picture.borrow().1)
            .framerate(self.config.framerate)
            .color(self.config.color)
    }

    fn offers(&self) -> Vec<PodBuf> {
        let set = self.picture.borrow().0.clone();
        let mut makeable = set.clone();
        for pair in self.unmakeable.borrow().iter() {
            makeable.remove(*pair);
        }
        let (mut offers, _) = FormatOffer::of_set(&makeable, false, |fourcc| self.offer(fourcc));
        if self.config.shared_memory {
            // Also of what no dma-buf can be made in.
            let (all, _) = FormatOffer::of_set(&set, true, |fourcc| self.offer(fourcc));
            offers.extend(all.into_iter().filter(|offer| !offer.has_modifiers()));
        }
        offers.iter().map(FormatOffer::to_pod).collect()
    }

    /// Chooses from a consumer's modifiers by making one buffer, and announces the choice before the old offers.
    fn fixate(&self, stream: &Stream, format: &VideoFormat, list: &[Modifier]) -> Result<(), Error> {
        let chosen = self.try_modifiers(format, list);
        let mut params = Vec::new();
        let refused = match chosen {
            Ok(modifier) => {
                params.push(self.offer(format.fourcc).fixed(modifier).to_pod());
                None
            }
            Err(reasons) => {
                // What cannot be made is not offered again: the consumer gets another format, or shared memory.
                self.unmakeable
                    .borrow_mut()
                    .extend(list.iter().map(|modifier| Pair {
                        fourcc: format.fourcc,
                        modifier: *modifier,
                    }));
                Some(Error::NoModifier { reasons })
            }
        };
        if let Some(error) = refused {
            self.shared
                .hop
                .dropped("a consumer takes only modifiers that cannot be made here");
            self.shared.tell(CameraEvent::Refused(error));
        }
        params.extend(self.offers());
        stream.update_params(&params)
    }

    fn try_modifiers(&self, format: &VideoFormat, list: &[Modifier]) -> Result<Modifier, String> {
        if let Some(buffer) = self.import.borrow().first() {
            let own = buffer.layout().modifier();
            return match list.contains(&own) {
                true => Ok(own),
                false => Err(format!("the imported buffers are {own}")),
            };
        }
        let explicit: Vec<_> = list.iter().copied().filter(|m| !m.is_implicit()).collect();
        let mut reasons = Vec::new();
        let mut attempt = |modifiers: Vec<Modifier>| {
            let names: Vec<_> = modifiers.iter().map(Modifier::to_string).collect();
            let request = Request::new(format.fourcc, format.size).modifiers(modifiers);
            let made = self.config.allocator.plan(&request);
            let made = made.and_then(|layout| {
                self.config
                    .allocator
                    .allocate(&layout, 0)
                    .map(|_| layout.modifier())
            });
            made.map_err(|error| reasons.push(format!("{} {}: {error}", format.fourcc, names.join(", "))))
                .ok()
        };
        let mut found = None;
        if !explicit.is_empty() {
            found = attempt(explicit);
        }
        if found.is_none() && list.contains(&Modifier::INVALID) {
            found = attempt(vec![Modifier::INVALID]);
        }
        found.ok_or_else(|| reasons.join("; "))
    }

    /// The layout of buffers for a format that is final.
    fn settle(&self, format: VideoFormat) -> Result<Settled, Error> {
        let fourcc = format.fourcc;
        let import = self.import.borrow();
        let (layout, dmabuf, imported) = match (&format.modifiers, import.first()) {
            (Modifiers::Fixed(_), Some(first)) => (first.layout().clone(), true, true),
            (Modifiers::Fixed(modifier), None) => {
                let request = Request::new(fourcc, format.size).modifiers([*modifier]);
                (self.config.allocator.plan(&request)?, true, false)
            }
            _ => {
                // One block for all planes, rows as GStreamer has them by default.
                let layout = Layout::linear(fourcc, format.size, 4).map_err(dmaframe_core::Error::from)?;
                (layout, false, false)
            }
        };
        Ok(Settled {
            format,
            generation: next_generation(),
            dmabuf,
            imported,
            blocks: if dmabuf { layout.planes().len() } else { 1 },
            layout,
            timelines: Vec::new(),
        })
    }

    fn buffer_params(&self, settled: &Settled) -> Vec<PodBuf> {
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let blocks = number(settled.blocks as u64);
        let count = match settled.imported {
            true => number(self.import.borrow().len() as u64).min(32),
            false => self.config.buffers,
        };
        let plain = BuffersOffer {
            count: (count, 2.min(count), count),
            blocks: Some(blocks),
            size: Some((
                number(settled.layout.object_len(0)),
                settled.layout.planes().first().map_or(0, |p| p.stride),
            )),
            types: 1
                << if settled.dmabuf {
                    data::DMA_BUF
                } else {
                    data::MEM_FD
                },
            with_meta: None,
        };
        let mut params = Vec::new();
        if settled.dmabuf && self.timelines().is_some() {
            let offer = BuffersOffer {
                blocks: Some(blocks + 2),
                with_meta: Some(meta_type::SYNC_TIMELINE),
                ..plain
            };
            params.push(offer.to_pod());
            params.push(if self.version.get() >= Version::FEATURES {
                let features = meta_type::SYNC_TIMELINE_RELEASE;
                pod::meta_with_features(meta_type::SYNC_TIMELINE, meta_size::SYNC, features)
            } else {
                pod::meta(meta_type::SYNC_TIMELINE, meta_size::SYNC)
            });
        }
        params.push(plain.to_pod());
        params.push(pod::meta(meta_type::HEADER, meta_size::HEADER));
        params.push(pod::meta(meta_type::VIDEO_CROP, meta_size::CROP));
        params.push(pod::meta(meta_type::VIDEO_TRANSFORM, meta_size::TRANSFORM));
        params.push(pod::meta(meta_type::VIDEO_DAMAGE, meta_size::CROP * MAX_DAMAGE));
        params
    }

    /// Makes the memory of one buffer.
    fn add(&self, stream: &Stream, slot: Slot, settled: &mut Settled, index: usize) -> Result<Entry, Error> {
        let kind = if settled.dmabuf {
            data::DMA_BUF
        } else {
            data::MEM_FD
        };
        let wanted = stream.wanted_types(slot);
        if wanted & (1 << kind) == 0 {
            let kind = if settled.dmabuf { "dma-bufs" } else { "memfds" };
            return Err(Error::Memory { wanted, kind });
        }
        let buffer = if settled.imported {
            let import = self.import.borrow();
            Arc::clone(import.get(index).ok_or(Error::Imported)?)
        } else if settled.dmabuf {
            let allocator = &self.config.allocator;
            Arc::new(allocator.allocate(&settled.layout, settled.generation)?)
        } else {
            Arc::new(Memfd::new().allocate(&settled.layout, settled.generation)?)
        };
        let mut chunks = Vec::new();
        for block in 0..settled.blocks {
            let plane = settled.layout.planes()[block];
            // Consumers have the memory from now on: views of it copy rows.
            let object = &buffer.objects()[plane.object];
            let fd = object.lend(plane.object)?.as_raw_fd();
            let size = u32::try_from(object.size()).unwrap_or(u32::MAX);
            let mappable = if settled.dmabuf { 0 } else { data_flag::MAPPABLE };
            stream.set_data(
                slot,
                block,
                NewData {
                    kind,
                    flags: data_flag::READWRITE | mappable,
                    fd,
                    size,
                },
            );
            chunks.push(size);
        }
        let mut sync = None;
        let offered = stream.blocks(slot).len();
        if let Some(device) = self
            .timelines()
            .filter(|_| offered == settled.blocks + 2 && stream.sync_points(slot).is_some())
        {
            let (acquire, release) = (device.create()?, device.create()?);
            for (block, timeline) in [(settled.blocks, &acquire), (settled.blocks + 1, &release)] {
                let fd = timeline.export()?;
                stream.set_data(
                    slot,
                    block,
                    NewData {
                        kind: data::SYNC_OBJ,
                        flags: data_flag::READWRITE,
                        fd: fd.as_raw_fd(),
                        size: 0,
                    },
                );
                settled.timelines.push(fd);
            }
            sync = Some(Sync {
                acquire,
                release,
                point: 0,
            });
        }
        Ok(Entry {
            slot,
            buffer,
            place: Place::Fresh,
            sync,
            foreign: false,
        })
    }

    /// Forgets all buffers: frames that are out stay valid, and come back to nowhere.
    fn close_pool(&self) {
        let mut desk = self.shared.desk();
        let pool = desk.pool.take();
        desk.format = None;
        let pushed = std::mem::take(&mut desk.pushed);
        desk.stats.stale += pushed.len() as u64;
        desk.stats.buffers = 0;
        self.shared.freed.clear();
        drop(desk);
        if let Some(file) = self.watched.borrow_mut().take() {
            self.wake.remove(&file);
        }
        *self.settled.borrow_mut() = None;
        if let Some(pool) = pool {
            self.wake.remove(&*pool.queue);
            pool.queue.close();
            // Kept frames run their leases here, outside of the lock.
            drop(pool);
        }
        drop(pushed);
    }

    /// Marks a buffer that is about to be written, so that a consumer who comes upon it passes it over.
    fn mark(&self, stream: &Stream, slot: Slot) {
        let header = stream.header(slot).unwrap_or_default();
        let flags = header.flags | header_flag::CORRUPTED;
        stream.set_header(slot, Header { flags, ..header });
        if let Some(chunk) = stream.chunk(slot, 0) {
            let flags = chunk.flags | chunk_flag::CORRUPTED;
            stream.set_chunk(slot, 0, Chunk { flags, ..chunk });
        }
    }

    /// Moves every buffer as far as it can go on its way home. Frames that come free are handed out, to be dropped
    /// without the lock.
    fn reclaim(&self, stream: &Stream, desk: &mut Desk) -> Vec<Frame> {
        let mut gone = Vec::new();
        let Desk {
            pool, stats, asked, ..
        } = desk;
        let Some(pool) = pool else { return gone };
        // Back from the graph.
        while let Some(slot) = stream.dequeue() {
            self.mark(stream, slot);
            if let Some(Some(entry)) = pool.entries.get_mut(slot.index) {
                entry.place = match std::mem::replace(&mut entry.place, Place::Held) {
                    Place::Published(frame) => Place::Late(Some(frame)),
                    _ => Place::Late(None),
                };
            }
        }
        // Leases.
        while let Some(back) = pool.queue.next() {
            if let Some(Some(entry)) = pool.entries.get_mut(back.slot) {
                // From `Held`: the last of the producer's clones; from `Out`: dropped without being pushed.
                entry.place = Place::Fenced(back.fence);
            }
        }
        let mut ticking = false;
        for index in 0..pool.entries.len() {
            let Some(entry) = &mut pool.entries[index] else {
                continue;
            };
            if let Place::Late(frame) = &mut entry.place {
                // A consumer that counted itself in before the mark was set reads on; we wait for it.
                if stream.busy(entry.slot).is_some_and(|users| users > 1) {
                    stats.late += u64::from(!ticking);
                    ticking = true;
                    continue;
                }
                entry.place = Place::Unreleased(frame.take(), Instant::now());
            }
            if let Place::Unreleased(frame, since) = &mut entry.place {
                if !released(
                    stream,
                    entry.slot,
                    entry.sync.as_ref(),
                    *since,
                    &mut stats.unreleased,
                ) {
                    ticking = true;
                    continue;
                }
                let frame = frame.take();
                // Without a frame of our queue nothing else will come: it was the first round, or somebody else's.
                let home = frame.is_none() || entry.foreign;
                gone.extend(frame);
                entry.place = if home {
                    Place::Fenced(Fence::Signaled)
                } else {
                    Place::Held
                };
            }
            if let Place::Fenced(fence) = &entry.place {
                if fence.is_done().unwrap_or(false) {
                    pool.set_free(index);
                    *asked = None;
                    self.shared.freed.set();
                } else {
                    ticking = true;
                }
            }
        }
        // Consumers that let go of a buffer tell nobody.
        let waiting = asked.is_some_and(|asked| asked.elapsed() < Duration::from_secs(1));
        if waiting {
            self.wake.tick(TICK);
        } else if ticking {
            self.wake.tick(SLOW_TICK);
        }
        gone
    }

    /// Publishes what is ready, in order. Gives the frames that are dropped, and whether the graph has something new.
    fn publish(&self, stream: &Stream, desk: &mut Desk) -> (Vec<Frame>, u32) {
        let mut gone = Vec::new();
        let mut published = 0;
        if let Some(file) = self.watched.borrow_mut().take() {
            self.wake.remove(&file);
        }
        if !self.streaming.get() {
            // A camera shows what is now: only the newest picture waits for the graph.
            let newest = desk.pushed.pop_back();
            desk.stats.stale += desk.pushed.len() as u64;
            for frame in desk.pushed.drain(..) {
                if let Some(pool) = &mut desk.pool {
                    pool.unpush(&frame);
                }
                gone.push(frame);
            }
            desk.pushed.extend(newest);
            return (gone, 0);
        }
        while let Some(frame) = desk.pushed.front() {
            let index = desk.pool.as_ref().and_then(|pool| pool.index_of(frame));
            let entry = desk
                .pool
                .as_mut()
                .zip(index)
                .and_then(|(pool, i)| pool.entries[i].as_mut());
            let Some(entry) = entry.filter(|entry| matches!(entry.place, Place::Pushed)) else {
                desk.stats.stale += 1;
                gone.extend(desk.pushed.pop_front());
                continue;
            };
            match self.acquire_fence(entry, frame) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => {
                    // The kernel would not take the fence: wait for it as without explicit sync.
                    if !frame.acquire().is_done().unwrap_or(false) {
                        self.wake.tick(TICK);
                        break;
                    }
                }
            }
            self.fill(stream, entry, frame);
            if let Some(frame) = desk.pushed.pop_front() {
                entry.place = Place::Published(frame);
            }
            stream.queue(entry.slot);
            desk.stats.published += 1;
            published += 1;
        }
        (gone, published)
    }

    /// Whether the frame can go out now; with explicit sync, its fence goes with it.
    fn acquire_fence(&self, entry: &mut Entry, frame: &Frame) -> Result<bool, Error> {
        let fence = frame.acquire();
        if let Some(sync) = &mut entry.sync {
            let point = sync.point + 1;
            match fence {
                Fence::Signaled => sync.acquire.signal(point)?,
                Fence::SyncFile(file) => sync.acquire.attach(point, file)?,
                Fence::Point(theirs) => match theirs.to_sync_file() {
                    Ok(file) => sync.acquire.attach(point, &file)?,
                    // Nobody has submitted the work yet: the consumer could not even wait for it.
                    Err(_) => {
                        self.wake.tick(TICK);
                        return Ok(false);
                    }
                },
            }
            sync.point = point;
            return Ok(true);
        }
        if fence.is_trivial() || fence.is_done()? {
            return Ok(true);
        }
        match fence.try_clone()?.into_sync_file() {
            Ok(Some(file)) if self.wake.add(&file).is_ok() => *self.watched.borrow_mut() = Some(file),
            _ => self.wake.tick(TICK),
        }
        Ok(false)
    }

    /// Writes everything that goes with the picture.
    fn fill(&self, stream: &Stream, entry: &Entry, frame: &Frame) {
        let slot = entry.slot;
        let (meta, layout) = (frame.meta(), entry.buffer.layout());
        let timelines = if entry.sync.is_some() { 2 } else { 0 };
        let blocks = stream.blocks(slot).len().saturating_sub(timelines);
        for block in 0..blocks.min(layout.planes().len()) {
            let plane = layout.planes()[block];
            let size = match blocks {
                1 => layout.object_len(0),
                _ => u64::from(plane.stride) * u64::from(layout.rows(block)),
            };
            let chunk = Chunk {
                offset: u32::try_from(plane.offset).unwrap_or(0),
                size: u32::try_from(size).unwrap_or(0),
                stride: i32::try_from(plane.stride).unwrap_or(0),
                flags: 0,
            };
            stream.set_chunk(slot, block, chunk);
        }
        let count = self.sequence.get() + 1;
        self.sequence.set(count);
        let time = meta.timestamp.and_then(|time| time.to_clock(Clock::Monotonic));
        let time = time.unwrap_or_else(|| Timestamp::now(Clock::Monotonic));
        if let Some(sync) = &entry.sync {
            let points = SyncPoints {
                flags: SyncPoints::UNSCHEDULED_RELEASE,
                padding: 0,
                acquire: sync.point,
                release: sync.point,
            };
            stream.set_sync_points(slot, points);
        }
        stream.set_crop(slot, meta.visible.map(Crop::from).unwrap_or_default());
        stream.set_transform(slot, pod::transform_of(meta.orientation));
        let whole = [Rect::full(layout.size())];
        let damage = meta.extensions.get::<Damage>();
        stream.set_damage(slot, damage.map_or(&whole[..], |damage| &damage.0));
        // Last, since it takes the mark away.
        let header = Header {
            flags: 0,
            offset: 0,
            pts: i64::try_from(time.ns).unwrap_or(-1),
            dts_offset: 0,
            seq: meta.sequence.unwrap_or(count),
        };
        stream.set_header(slot, header);
    }

    /// A consumer that died has taken the buffers it held with it: nobody counts it out of them. When the others starve
    /// for that, all buffers are made anew.
    fn rescue(&self, stream: &Stream) {
        let Some(since) = self.orphaned.get() else { return };
        {
            let mut desk = self.shared.desk();
            let starved = desk.asked.is_some() && desk.pool.as_ref().is_some_and(|pool| !pool.has_free());
            if !starved || since.elapsed() < RESCUE {
                return;
            }
            desk.stats.rescued += 1;
        }
        self.orphaned.set(None);
        if let Err(error) = stream.update_params(&self.offers()) {
            self.shared.fail(error);
        }
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

/// Whether the consumer is done with the buffer, by its own explicit sync.
fn released(stream: &Stream, slot: Slot, sync: Option<&Sync>, since: Instant, unreleased: &mut u64) -> bool {
    let Some(sync) = sync.filter(|sync| sync.point > 0) else {
        return true;
    };
    let done = Fence::from(sync.release.point(sync.point)).is_done();
    if done.unwrap_or(false) {
        return true;
    }
    let points = stream.sync_points(slot).unwrap_or_default();
    if points.flags & SyncPoints::UNSCHEDULED_RELEASE == 0 {
        // Promised. Should the consumer die, its link goes, and the buffers with it.
        return false;
    }
    let certain = stream.has_feature(slot, meta_type::SYNC_TIMELINE, meta_type::SYNC_TIMELINE_RELEASE);
    let over = certain || since.elapsed() > RELEASE_PATIENCE;
    *unreleased += u64::from(over);
    over
}

impl Handler for Worker {
    fn state_changed(&self, _stream: &Stream, state: State) {
        self.streaming.set(state == State::Streaming);
        // What was pushed before goes out now.
        self.shared.commands.set();
        if let State::Error(message) = state {
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
            self.shared.tell(CameraEvent::Refused(error));
        }
    }

    fn add_buffer(&self, stream: &Stream, slot: Slot) {
        let mut settled = self.settled.borrow_mut();
        let Some(settled) = settled.as_mut() else { return };
        let mut desk = self.shared.desk();
        let first = desk.pool.is_none();
        if first {
            let new = Pool::new(settled.layout.clone(), settled.imported)
                .and_then(|new| self.wake.add(&*new.queue).map(|()| new));
            match new {
                Ok(new) => desk.pool = Some(new),
                Err(error) => {
                    drop(desk);
                    return self.shared.fail(error);
                }
            }
        }
        let Some(pool) = desk.pool.as_mut() else { return };
        let index = pool.len();
        match self.add(stream, slot, settled, index) {
            Ok(entry) => {
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
            }
            Err(error) => {
                drop(desk);
                self.shared.tell(CameraEvent::Refused(error));
            }
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

    fn removed(&self, _stream: &Stream, id: u32) {
        let mut links = self.links.borrow_mut();
        let before = links.len();
        links.retain(|link| *link != id);
        if links.len() < before {
            self.shared.desk().stats.consumers = links.len() as u64;
            self.orphaned.set((!links.is_empty()).then(Instant::now));
        }
    }

    fn wake_set(&self) -> &WakeSet {
        &self.wake
    }
}
