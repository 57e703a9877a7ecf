//! `pw_stream`, with callbacks to `&self` handlers.
//!
//! libpipewire calls back from inside its own functions (destroying a stream removes its buffers), so handlers take
//! shared references only and keep their state in cells.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::ThreadId;

use arrayvec::ArrayVec;
use dmaframe_core::{Rect, Size};
use pipewire::core::CoreRc;
use pipewire::properties::PropertiesBox;
use pipewire::spa::sys as spa;
use pipewire::sys as pw;

use super::abi::{Crop, Header, SyncPoints};
use super::buffer::{Buffer, MAX_DAMAGE, NewData};
use crate::error::Error;
use crate::pod::{Chunk, DataBlock, MAX_BLOCKS, PodBuf};

/// Most buffers a stream of libpipewire can have (`MAX_BUFFERS` in its `stream.c`).
pub(crate) const MAX_BUFFERS: usize = 64;

/// A buffer's place in the stream's table, good until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) index: usize,
    epoch: u64,
}

/// Which way pictures go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To us.
    Input,
    /// From us.
    Output,
}

/// `PW_STREAM_STATE_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Error(String),
    Unconnected,
    /// Unconnected, and not by us: the daemon took our node away.
    Removed,
    Connecting,
    Paused,
    Streaming,
}

/// Why a stream has no buffer to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBuffer {
    /// There is none.
    None,
    /// There is one, and a consumer counts itself in: it is behind the others now.
    Busy,
}

/// Ends a stream with an error, from any thread.
pub(crate) type Abort = Box<dyn Fn(Error) + Send + Sync>;

/// What a stream tells. All calls come on the loop's thread.
pub(crate) trait Handler {
    /// How the stream is ended when the library calls on another thread.
    fn abort(&self) -> Abort;
    fn state_changed(&self, stream: &Stream, state: State);
    /// The pod is whole: header, body and as much padding as there is.
    fn param_changed(&self, stream: &Stream, id: u32, pod: Option<&[u8]>);
    fn add_buffer(&self, stream: &Stream, slot: Slot);
    fn remove_buffer(&self, stream: &Stream, slot: Slot);
    fn process(&self, stream: &Stream);
}

/// A buffer between `add_buffer` and `remove_buffer`, and its epoch.
type Live = (NonNull<pw::pw_buffer>, u64);

/// A stream; destroyed when dropped.
pub(crate) struct Stream {
    raw: Cell<*mut pw::pw_stream>,
    /// Linked into libpipewire's list, which writes it.
    hook: Box<UnsafeCell<spa::spa_hook>>,
    events: Box<pw::pw_stream_events>,
    home: Home,
    handler: Rc<dyn Handler>,
    table: RefCell<[Option<Live>; MAX_BUFFERS]>,
    epoch: Cell<u64>,
    /// We are ending the connection ourselves.
    leaving: Cell<bool>,
}

/// The one thread that may touch a stream: everything in it but this is for that thread alone.
struct Home {
    thread: ThreadId,
    left: AtomicBool,
    abort: Abort,
}

impl Home {
    /// Whether this thread is the one. The library calls on another where configuration or environment say so, which we
    /// cannot forbid: then the stream ends, which is said once.
    fn is_here(&self) -> bool {
        let here = std::thread::current().id() == self.thread;
        if !here && !self.left.swap(true, Ordering::Relaxed) {
            (self.abort)(Error::Thread);
        }
        here
    }
}

impl Stream {
    /// A stream that is not connected yet.
    pub(crate) fn new(
        core: &CoreRc,
        name: &str,
        properties: PropertiesBox,
        handler: Rc<dyn Handler>,
    ) -> Result<Rc<Self>, Error> {
        let name = CString::new(name).map_err(|_| Error::Name {
            name: name.to_owned(),
        })?;
        // SAFETY: the core is alive; the properties are given away, as the call wants.
        let raw = unsafe { pw::pw_stream_new(core.as_raw_ptr(), name.as_ptr(), properties.into_raw()) };
        if raw.is_null() {
            return Err(Error::os("pw_stream_new", rustix::io::Errno::NOMEM));
        }
        // SAFETY: both structs are plain data for which zeros are the documented start value.
        let (hook, mut events): (Box<UnsafeCell<spa::spa_hook>>, Box<pw::pw_stream_events>) =
            unsafe { (Box::new(std::mem::zeroed()), Box::new(std::mem::zeroed())) };
        events.version = 0;
        events.state_changed = Some(on_state_changed);
        events.param_changed = Some(on_param_changed);
        events.add_buffer = Some(on_add_buffer);
        events.remove_buffer = Some(on_remove_buffer);
        events.process = Some(on_process);
        let stream = Rc::new(Self {
            raw: Cell::new(raw),
            hook,
            events,
            home: Home {
                thread: std::thread::current().id(),
                left: AtomicBool::new(false),
                abort: handler.abort(),
            },
            handler,
            table: RefCell::new([None; MAX_BUFFERS]),
            epoch: Cell::new(0),
            leaving: Cell::new(false),
        });
        let data = Rc::as_ptr(&stream);
        // SAFETY: hook, events and `data` lie on the heap and stay where they are until `drop` has destroyed the stream.
        unsafe {
            pw::pw_stream_add_listener(
                raw,
                stream.hook.get(),
                &raw const *stream.events,
                data.cast_mut().cast(),
            );
        }
        Ok(stream)
    }

    /// Connects it. `target` is a node's id as portals give it.
    pub(crate) fn connect(
        &self,
        direction: Direction,
        target: Option<u32>,
        flags: pipewire::stream::StreamFlags,
        params: &[PodBuf],
    ) -> Result<(), Error> {
        let direction = match direction {
            Direction::Input => spa::SPA_DIRECTION_INPUT,
            Direction::Output => spa::SPA_DIRECTION_OUTPUT,
        };
        let (mut pods, count) = pointers(params);
        // SAFETY: the stream is alive; the pods are whole and aligned, and copied by the call.
        let result = unsafe {
            pw::pw_stream_connect(
                self.raw.get(),
                direction,
                target.unwrap_or(pw::PW_ID_ANY),
                flags.bits(),
                pods.as_mut_ptr(),
                count,
            )
        };
        check("pw_stream_connect", result)
    }

    /// Replaces all params of the kinds given.
    pub(crate) fn update_params(&self, params: &[PodBuf]) -> Result<(), Error> {
        let (mut pods, count) = pointers(params);
        // SAFETY: as in `connect`.
        let result = unsafe { pw::pw_stream_update_params(self.raw.get(), pods.as_mut_ptr(), count) };
        check("pw_stream_update_params", result)
    }

    /// Sets properties of the node.
    pub(crate) fn update_properties(&self, items: &[(&CStr, &CStr)]) {
        let items: Vec<_> = items
            .iter()
            .map(|(key, value)| spa::spa_dict_item {
                key: key.as_ptr(),
                value: value.as_ptr(),
            })
            .collect();
        let dict = spa::spa_dict {
            flags: 0,
            n_items: u32::try_from(items.len()).unwrap_or(0),
            items: items.as_ptr(),
        };
        // SAFETY: the dictionary and its strings outlive the call, which copies them.
        unsafe { pw::pw_stream_update_properties(self.raw.get(), &raw const dict) };
    }

    /// Ends the connection: buffers are removed before this returns.
    pub(crate) fn disconnect(&self) {
        self.leaving.set(true);
        // SAFETY: the stream is alive.
        unsafe { pw::pw_stream_disconnect(self.raw.get()) };
        self.leaving.set(false);
    }

    /// Puts the stream into its error state, which the other side is told.
    pub(crate) fn set_error(&self, errno: c_int, message: &str) {
        let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
        // SAFETY: the format takes one string.
        unsafe { pw::pw_stream_set_error(self.raw.get(), -errno.abs(), c"%s".as_ptr(), message.as_ptr()) };
    }

    pub(crate) fn node_id(&self) -> Option<u32> {
        // SAFETY: the stream is alive.
        let id = unsafe { pw::pw_stream_get_node_id(self.raw.get()) };
        (id != pw::PW_ID_ANY).then_some(id)
    }

    /// Starts a cycle of the graph, or asks its driver for one.
    pub(crate) fn trigger(&self) {
        // SAFETY: the stream is alive and connected: only then is there something to trigger for.
        unsafe { pw::pw_stream_trigger_process(self.raw.get()) };
    }

    /// The next buffer: filled ones for input, free ones for output.
    pub(crate) fn dequeue(&self) -> Result<Slot, NoBuffer> {
        // SAFETY: the stream is alive and connected.
        let raw = unsafe { pw::pw_stream_dequeue_buffer(self.raw.get()) };
        let Some(raw) = NonNull::new(raw) else {
            let busy = Some(rustix::io::Errno::BUSY.raw_os_error());
            return Err(match std::io::Error::last_os_error().raw_os_error() == busy {
                true => NoBuffer::Busy,
                false => NoBuffer::None,
            });
        };
        self.slot_of(raw).ok_or(NoBuffer::None)
    }

    /// Gives a dequeued buffer back: nothing happens for one that was removed meanwhile.
    pub(crate) fn queue(&self, slot: Slot) {
        if let Some(buffer) = self.get(slot) {
            // SAFETY: the buffer is alive and of this stream; the library refuses one that is not dequeued.
            unsafe { pw::pw_stream_queue_buffer(self.raw.get(), buffer.raw()) };
        }
    }

    fn slot_of(&self, raw: NonNull<pw::pw_buffer>) -> Option<Slot> {
        let table = self.table.borrow();
        let index = table
            .iter()
            .position(|entry| entry.is_some_and(|(b, _)| b == raw))?;
        table[index].map(|(_, epoch)| Slot { index, epoch })
    }

    fn get(&self, slot: Slot) -> Option<Buffer<'_>> {
        let entry = *self.table.borrow().get(slot.index)?;
        let (raw, epoch) = entry?;
        // SAFETY: in the table from `add_buffer` to `remove_buffer`; what uses it below calls nothing that removes it.
        (epoch == slot.epoch).then(|| unsafe { Buffer::new(raw) })
    }

    pub(crate) fn blocks(&self, slot: Slot) -> ArrayVec<DataBlock, { MAX_BLOCKS + 1 }> {
        self.get(slot).map(|b| b.blocks()).unwrap_or_default()
    }

    pub(crate) fn wanted_types(&self, slot: Slot) -> u32 {
        self.get(slot).map_or(0, |b| b.wanted_types())
    }

    /// A duplicate of a block's descriptor, ours.
    pub(crate) fn dup_fd(&self, slot: Slot, block: usize) -> Result<OwnedFd, Error> {
        let buffer = self.get(slot);
        let fd = buffer.as_ref().and_then(|b| b.fd(block));
        let fd = fd.ok_or(Error::NoDescriptor { block })?;
        rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), 3)
            .map_err(|errno| Error::os("fcntl(F_DUPFD_CLOEXEC)", errno))
    }

    pub(crate) fn set_data(&self, slot: Slot, block: usize, new: NewData) -> bool {
        self.get(slot).is_some_and(|b| b.set_data(block, new))
    }

    pub(crate) fn chunk(&self, slot: Slot, block: usize) -> Option<Chunk> {
        self.get(slot)?.chunk(block)
    }

    pub(crate) fn set_chunk(&self, slot: Slot, block: usize, chunk: Chunk) {
        if let Some(buffer) = self.get(slot) {
            buffer.set_chunk(block, chunk);
        }
    }

    pub(crate) fn header(&self, slot: Slot) -> Option<Header> {
        self.get(slot)?.header()
    }

    pub(crate) fn set_header(&self, slot: Slot, header: Header) {
        if let Some(buffer) = self.get(slot) {
            buffer.set_header(header);
        }
    }

    pub(crate) fn crop(&self, slot: Slot) -> Option<Crop> {
        self.get(slot)?.crop()
    }

    pub(crate) fn set_crop(&self, slot: Slot, crop: Crop) {
        if let Some(buffer) = self.get(slot) {
            buffer.set_crop(crop);
        }
    }

    pub(crate) fn transform(&self, slot: Slot) -> Option<u32> {
        self.get(slot)?.transform()
    }

    pub(crate) fn set_transform(&self, slot: Slot, transform: u32) {
        if let Some(buffer) = self.get(slot) {
            buffer.set_transform(transform);
        }
    }

    pub(crate) fn damage(&self, slot: Slot, picture: Size) -> Option<ArrayVec<Rect, MAX_DAMAGE>> {
        self.get(slot)?.damage(picture)
    }

    pub(crate) fn set_damage(&self, slot: Slot, rects: &[Rect], picture: Size) {
        if let Some(buffer) = self.get(slot) {
            buffer.set_damage(rects, picture);
        }
    }

    pub(crate) fn sync_points(&self, slot: Slot) -> Option<SyncPoints> {
        self.get(slot)?.sync_points()
    }

    pub(crate) fn set_sync_points(&self, slot: Slot, points: SyncPoints) {
        if let Some(buffer) = self.get(slot) {
            buffer.set_sync_points(points);
        }
    }

    pub(crate) fn has_feature(&self, slot: Slot, kind: u32, features: u32) -> bool {
        self.get(slot).is_some_and(|b| b.has_feature(kind, features))
    }

    /// How many users the buffer has now, seen after everything written before; `None` where nobody counts.
    pub(crate) fn busy(&self, slot: Slot) -> Option<u32> {
        fence(Ordering::SeqCst);
        self.get(slot)?.busy().map(|count| count.load(Ordering::SeqCst))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.leaving.set(true);
        let raw = self.raw.get();
        // SAFETY: alive until here. Disconnecting calls back for the last time while everything is still there;
        // destroying takes our hook out of the stream's list.
        unsafe {
            pw::pw_stream_disconnect(raw);
            pw::pw_stream_destroy(raw);
        }
    }
}

fn check(call: &'static str, result: c_int) -> Result<(), Error> {
    if result < 0 {
        return Err(Error::os(call, rustix::io::Errno::from_raw_os_error(-result)));
    }
    Ok(())
}

fn pointers(params: &[PodBuf]) -> (Vec<*const spa::spa_pod>, u32) {
    let pods: Vec<_> = params.iter().map(|pod| pod.as_bytes().as_ptr().cast()).collect();
    let count = u32::try_from(pods.len()).unwrap_or(0);
    (pods, count)
}

/// The stream, on its own thread; `None` on any other, where nothing in it may be touched.
///
/// # Safety
/// `data` is what `Stream::new` registered.
unsafe fn stream_of<'a>(data: *mut c_void) -> Option<&'a Stream> {
    let stream = data.cast::<Stream>();
    // SAFETY: the listener's data points to the stream, which outlives the listener and is never borrowed exclusively
    // while there can be calls. Any thread may have a reference to its home, which is `Sync` and does not change.
    let home: &Home = unsafe { &(*stream).home };
    // SAFETY: as above, and this is the thread that the rest belongs to.
    home.is_here().then(|| unsafe { &*stream })
}

/// `Home` is all of a stream that callbacks on other threads touch.
const _: fn() = || {
    fn is_sync<T: Sync>() {}
    is_sync::<Home>();
};

unsafe extern "C" fn on_state_changed(
    data: *mut c_void,
    _old: pw::pw_stream_state,
    state: pw::pw_stream_state,
    error: *const c_char,
) {
    // SAFETY: registered by `Stream::new`.
    let Some(stream) = (unsafe { stream_of(data) }) else {
        return;
    };
    let state = match state {
        // With a reason it is the connection that was lost, of which the core tells.
        pw::pw_stream_state_PW_STREAM_STATE_UNCONNECTED if stream.leaving.get() || !error.is_null() => {
            State::Unconnected
        }
        pw::pw_stream_state_PW_STREAM_STATE_UNCONNECTED => State::Removed,
        pw::pw_stream_state_PW_STREAM_STATE_CONNECTING => State::Connecting,
        pw::pw_stream_state_PW_STREAM_STATE_PAUSED => State::Paused,
        pw::pw_stream_state_PW_STREAM_STATE_STREAMING => State::Streaming,
        _ if error.is_null() => State::Error(String::new()),
        // SAFETY: the library gives a string that lives for the call.
        _ => State::Error(unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned()),
    };
    stream.handler.state_changed(stream, state);
}

unsafe extern "C" fn on_param_changed(data: *mut c_void, id: u32, pod: *const spa::spa_pod) {
    // SAFETY: registered by `Stream::new`.
    let Some(stream) = (unsafe { stream_of(data) }) else {
        return;
    };
    let bytes = NonNull::new(pod.cast_mut()).map(|pod| {
        // SAFETY: the library has checked that the pod, header and body, lies inside the message it came in.
        unsafe {
            let size = (*pod.as_ptr()).size as usize;
            std::slice::from_raw_parts(pod.as_ptr().cast::<u8>(), size_of::<spa::spa_pod>() + size)
        }
    });
    stream.handler.param_changed(stream, id, bytes);
}

unsafe extern "C" fn on_add_buffer(data: *mut c_void, buffer: *mut pw::pw_buffer) {
    // SAFETY: registered by `Stream::new`.
    let Some(stream) = (unsafe { stream_of(data) }) else {
        return;
    };
    let Some(raw) = NonNull::new(buffer) else { return };
    let epoch = stream.epoch.get() + 1;
    stream.epoch.set(epoch);
    let index = {
        let mut table = stream.table.borrow_mut();
        let Some(index) = table.iter().position(Option::is_none) else {
            return;
        };
        table[index] = Some((raw, epoch));
        index
    };
    stream.handler.add_buffer(stream, Slot { index, epoch });
}

unsafe extern "C" fn on_remove_buffer(data: *mut c_void, buffer: *mut pw::pw_buffer) {
    // SAFETY: registered by `Stream::new`.
    let Some(stream) = (unsafe { stream_of(data) }) else {
        return;
    };
    let slot = NonNull::new(buffer).and_then(|raw| stream.slot_of(raw));
    if let Some(slot) = slot {
        stream.handler.remove_buffer(stream, slot);
        stream.table.borrow_mut()[slot.index] = None;
    }
}

unsafe extern "C" fn on_process(data: *mut c_void) {
    // SAFETY: registered by `Stream::new`.
    let Some(stream) = (unsafe { stream_of(data) }) else {
        return;
    };
    stream.handler.process(stream);
}
