//! A buffer: validated memory with a layout, which a producer puts into one frame after another.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrayvec::ArrayVec;

use crate::deadline::Deadline;
use crate::error::{Error, LayoutError};
use crate::fence::{Fence, Waited};
use crate::format::{Fourcc, Modifier};
use crate::layout::{Layout, MAX_PLANES, Plane, Size};
use crate::object::{Identity, Object, ObjectKind};
use crate::sync::{Mutex, lock};
use crate::sys::memory::Memory;

/// Stable name of a buffer: the kernel identity of its objects and its pool's generation. An import cache's key:
/// equal as long as an import made from it is good.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId {
    objects: [u64; MAX_PLANES],
    dev: u64,
    generation: u64,
}

impl BufferId {
    /// The pool generation that is part of it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl fmt::Debug for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferId({self})")
    }
}

impl fmt::Display for BufferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inos = self.objects.iter().filter(|ino| **ino != 0);
        for (i, ino) in inos.enumerate() {
            write!(f, "{}{ino}", if i == 0 { "ino " } else { "+" })?;
        }
        write!(f, " gen {}", self.generation)
    }
}

/// A number no other pool of this process has: producers stamp it on the buffers of one negotiation.
#[must_use]
pub fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Objects and the layout that was checked against them.
///
/// Producers keep one per slot and wrap it into a [`Frame`](crate::Frame) for each capture, which costs no system
/// call; the CPU mapping made for one frame serves the next.
#[derive(Debug)]
pub struct Buffer {
    backing: Backing,
    layout: Layout,
    id: BufferId,
    /// Nobody outside writes while it is in a frame: the producer's promise, see [`crate::raw::private_buffer`].
    private: bool,
    in_frame: AtomicBool,
    /// What was pending when its last frame ended, if it is private: others may be writing until then, whoever makes the
    /// next frame and whatever they know of it.
    last: Mutex<Fence>,
    /// There was no descriptor left to keep that: nobody can know when the memory is quiet, so there are no slices of it.
    restless: AtomicBool,
}

#[derive(Debug)]
pub(crate) enum Backing {
    Objects(ArrayVec<Arc<Object>, MAX_PLANES>),
    Bytes(Memory),
}

impl Buffer {
    /// Checks the planes against the objects' true sizes. CPU views of its frames copy rows out: only
    /// [`crate::raw::private_buffer`] can promise that nobody else writes.
    ///
    /// # Errors
    /// [`Error::Layout`], [`Error::MixedObjects`].
    pub fn new(
        fourcc: Fourcc,
        modifier: Modifier,
        size: Size,
        objects: impl IntoIterator<Item = Arc<Object>>,
        planes: &[Plane],
        generation: u64,
    ) -> Result<Self, Error> {
        let mut list = ArrayVec::<_, MAX_PLANES>::new();
        let mut found = 0;
        for object in objects {
            found += 1;
            let _ = list.try_push(object);
        }
        if found > MAX_PLANES {
            return Err(LayoutError::ObjectCount {
                found,
                limit: MAX_PLANES,
            }
            .into());
        }
        let sizes: ArrayVec<u64, MAX_PLANES> = list.iter().map(|o: &Arc<Object>| o.size()).collect();
        let layout = Layout::check(fourcc, modifier, size, planes, &sizes)?;
        Self::with_layout(list, layout, generation, false)
    }

    pub(crate) fn with_layout(
        objects: ArrayVec<Arc<Object>, MAX_PLANES>,
        layout: Layout,
        generation: u64,
        private: bool,
    ) -> Result<Self, Error> {
        if let Some(object) = objects.iter().position(|o| o.kind() != objects[0].kind()) {
            return Err(Error::MixedObjects { object });
        }
        let objects = once_each(&objects);
        let mut inos = [0; MAX_PLANES];
        for (ino, object) in inos.iter_mut().zip(&objects) {
            *ino = object.identity().ino;
        }
        let dev = objects.first().map_or(0, |o| o.identity().dev);
        let id = BufferId {
            objects: inos,
            dev,
            generation,
        };
        let backing = Backing::Objects(objects);
        Ok(Self {
            backing,
            layout,
            id,
            private,
            in_frame: AtomicBool::new(false),
            last: Mutex::new(Fence::Signaled),
            restless: AtomicBool::new(false),
        })
    }

    /// One dma-buf or sealed memfd with a layout for it: what allocators make.
    ///
    /// # Errors
    /// As [`Object::new`] and [`Buffer::new`].
    pub fn from_fd(fd: OwnedFd, layout: &Layout, generation: u64) -> Result<Self, Error> {
        let object = Arc::new(Object::new(fd, 0)?);
        Self::new(
            layout.fourcc(),
            layout.modifier(),
            layout.size(),
            [object],
            layout.planes(),
            generation,
        )
    }

    /// Bytes of this process's own, private by nature.
    ///
    /// # Errors
    /// [`Error::Layout`] when the layout does not fit the bytes.
    pub fn from_bytes(bytes: Box<[u8]>, layout: &Layout) -> Result<Self, Error> {
        /// Owned bytes have no inode; `st_dev` is never all ones.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let layout = Layout::check(
            layout.fourcc(),
            layout.modifier(),
            layout.size(),
            layout.planes(),
            &[bytes.len() as u64],
        )?;
        let mut objects = [0; MAX_PLANES];
        objects[0] = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            backing: Backing::Bytes(Memory::owned(bytes)),
            layout,
            id: BufferId {
                objects,
                dev: u64::MAX,
                generation: 0,
            },
            private: true,
            in_frame: AtomicBool::new(false),
            last: Mutex::new(Fence::Signaled),
            restless: AtomicBool::new(false),
        })
    }

    /// The same buffer as part of a pool's generation.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.id.generation = generation;
        self
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The stable name.
    #[must_use]
    pub fn id(&self) -> BufferId {
        self.id
    }

    /// The memory objects; none for owned bytes.
    #[must_use]
    pub fn objects(&self) -> &[Arc<Object>] {
        match &self.backing {
            Backing::Objects(objects) => objects,
            Backing::Bytes(_) => &[],
        }
    }

    /// Whether devices can import it.
    #[must_use]
    pub fn is_dmabuf(&self) -> bool {
        self.objects()
            .first()
            .is_some_and(|o| o.kind() == ObjectKind::Dmabuf)
    }

    pub(crate) fn backing(&self) -> &Backing {
        &self.backing
    }

    /// Whether its producer promised that nobody else writes it while it is in a frame or with a device
    /// ([`crate::raw::private_buffer`]): only then do views give slices.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Puts it into a frame. Private memory is in one frame at a time, so that an exclusive view is exclusive.
    pub(crate) fn claim(&self) -> Result<(), Error> {
        if self.private && self.in_frame.swap(true, Ordering::Acquire) {
            return Err(Error::InUse { id: self.id });
        }
        Ok(())
    }

    pub(crate) fn release(&self) {
        self.in_frame.store(false, Ordering::Release);
    }

    /// [`Buffer::release`], when its frame ended with this fence. Costs nothing for a trivial one, else a `poll`, and a
    /// `dup` while it is pending.
    pub(crate) fn release_after(&self, end: &Fence) {
        if self.private && !end.is_trivial() && !end.is_done().unwrap_or(false) {
            match end.try_clone() {
                Ok(end) => *lock(&self.last) = end,
                Err(_) => self.restless.store(true, Ordering::Relaxed),
            }
        }
        self.release();
    }

    /// `acquire` of the next frame, and what is still pending of the last one. For who has claimed it.
    pub(crate) fn after_last(&self, acquire: Fence) -> Fence {
        if !self.private {
            return acquire;
        }
        let last = std::mem::take(&mut *lock(&self.last));
        if last.is_trivial() {
            return acquire;
        }
        // How the last frame's work ended is no concern of the next one's.
        match last.wait(Deadline::now()) {
            Ok(Waited::Signaled | Waited::Failed(_)) => acquire,
            // Its device is gone, and nobody writes the memory any more.
            Err(Error::Os {
                errno: rustix::io::Errno::NODEV,
                ..
            }) => acquire,
            Ok(Waited::TimedOut) | Err(_) => acquire.merge(last),
        }
    }

    /// Whether slices of it are sound while it is claimed and not lent.
    pub(crate) fn is_quiet(&self) -> bool {
        self.private && !self.restless.load(Ordering::Relaxed)
    }

    /// Reserves a private buffer for a device that is going to write it, so that no frame can be made of it meanwhile.
    ///
    /// # Errors
    /// [`Error::InUse`] while it is in a frame or with a device.
    pub fn claim_for_device(self: &Arc<Self>) -> Result<DeviceClaim, Error> {
        self.claim()?;
        Ok(DeviceClaim(Some(Arc::clone(self))))
    }

    /// The distinct kernel objects, each once, in order of first appearance.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = (usize, &Object)> {
        let objects = self.objects();
        objects
            .iter()
            .enumerate()
            .filter(|(i, o)| objects[..*i].iter().all(|p| p.identity() != o.identity()))
            .map(|(i, o)| (i, &**o))
    }

    /// Whether the planes lie in more than one kernel object (what Vulkan calls disjoint), whatever the number of
    /// descriptors.
    #[must_use]
    pub fn is_disjoint(&self) -> bool {
        self.distinct().count() > 1
    }

    /// Kernel identities of the objects.
    pub fn identities(&self) -> impl Iterator<Item = Identity> {
        self.objects().iter().map(|o| o.identity())
    }
}

/// The same objects, with one `Object` for each kernel object: mapping, loans and views are counted there, so that two of
/// one kernel object would not see each other's. The first that can be written, or the first.
fn once_each(objects: &ArrayVec<Arc<Object>, MAX_PLANES>) -> ArrayVec<Arc<Object>, MAX_PLANES> {
    let the_one = |object: &Arc<Object>| {
        let mut same = objects.iter().filter(|o| o.identity() == object.identity());
        let writable = same.clone().find(|o| o.is_writable());
        Arc::clone(writable.or_else(|| same.next()).unwrap_or(object))
    };
    objects.iter().map(the_one).collect()
}

/// A buffer that is with a device (queued for capture, rendered into). Dropping it frees the buffer;
/// [`ReturnQueue::frame_from_device`](crate::ReturnQueue::frame_from_device) turns it into a frame when the device is
/// done.
#[derive(Debug)]
#[must_use = "dropping the claim lets others use a buffer that the device may still write"]
pub struct DeviceClaim(Option<Arc<Buffer>>);

impl DeviceClaim {
    /// The buffer.
    #[must_use]
    pub fn buffer(&self) -> &Arc<Buffer> {
        match &self.0 {
            Some(buffer) => buffer,
            None => unreachable!("only `into_frame` takes it out, and it takes the claim"),
        }
    }

    /// Hands the claim on to a frame.
    pub(crate) fn into_buffer(mut self) -> Arc<Buffer> {
        let buffer = Arc::clone(self.buffer());
        self.0 = None;
        buffer
    }
}

impl Drop for DeviceClaim {
    fn drop(&mut self) {
        if let Some(buffer) = &self.0 {
            buffer.release();
        }
    }
}
