//! Keeping imports: a fresh import for each frame costs more than the upload that it replaces.

use std::sync::{Arc, Weak};

use dmaframe_core::{Buffer, BufferId, Frame, Layout};

use crate::error::Route;

/// Values kept by buffer, layout and route: at most so many, the least recently used goes first.
///
/// A hit makes no system call and allocates nothing. The key is the kernel's identity of the memory and its pool's
/// generation, so a recycled descriptor number or a pool that was negotiated anew never meets an old entry; a value
/// that holds the memory (every import does) also keeps the identity from being given to another buffer.
#[derive(Debug)]
pub struct ImportCache<T> {
    entries: Vec<Entry<T>>,
    capacity: usize,
    /// How many handles of its buffer a value is itself.
    own: fn(&T) -> usize,
    clock: u64,
    stats: CacheStats,
}

#[derive(Debug)]
struct Entry<T> {
    id: BufferId,
    layout: Layout,
    route: Route,
    /// The buffer as the last frame had it: dead when its producer has let go of it.
    buffer: Weak<Buffer>,
    used: u64,
    value: T,
}

impl<T> Entry<T> {
    /// How many handles others have to the buffer.
    fn others(&self, own: fn(&T) -> usize) -> usize {
        self.buffer.strong_count().saturating_sub(own(&self.value))
    }
}

/// For how many entries there is room from the beginning.
const ROOM: usize = 64;

/// What a cache has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Look-ups answered from the cache.
    pub hits: u64,
    /// Look-ups that were not.
    pub misses: u64,
    /// Entries put out because the cache was full.
    pub evicted: u64,
    /// Entries put out because their buffer or generation was gone.
    pub retired: u64,
}

impl<T> ImportCache<T> {
    /// For at most `capacity` values (at least 1): slots of the pools in use, times the routes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::counting(capacity, |_| 0)
    }

    /// [`Self::new`] for values that keep their buffer alive: `own` says how many handles to it a value is. Without that a
    /// buffer that only the cache has would never count as gone.
    #[must_use]
    pub fn counting(capacity: usize, own: fn(&T) -> usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            // Whoever wants no limit gets the room when it is needed.
            entries: Vec::with_capacity(capacity.min(ROOM)),
            capacity,
            own,
            clock: 0,
            stats: CacheStats::default(),
        }
    }

    /// The value for this frame's memory and layout by this route.
    pub fn get(&mut self, frame: &Frame, route: Route) -> Option<&T> {
        self.get_buffer(frame.buffer(), route)
    }

    /// [`Self::get`] for a buffer that is in no frame.
    pub fn get_buffer(&mut self, buffer: &Arc<Buffer>, route: Route) -> Option<&T> {
        self.clock += 1;
        let (id, layout) = (buffer.id(), buffer.layout());
        let found = self
            .entries
            .iter_mut()
            .find(|e| e.id == id && e.route == route && e.layout == *layout);
        let Some(entry) = found else {
            self.stats.misses += 1;
            return None;
        };
        self.stats.hits += 1;
        entry.used = self.clock;
        if !std::ptr::eq(entry.buffer.as_ptr(), Arc::as_ptr(buffer)) {
            // The same memory in a new wrapping: frames from another process come so each time.
            entry.buffer = Arc::downgrade(buffer);
        }
        Some(&entry.value)
    }

    /// Keeps a value, in the place of the one there was for this buffer, layout and route. Puts out entries whose buffer is
    /// gone and whose generation is another one, and the least recently used one when the cache is full; they are dropped
    /// here.
    pub fn insert(&mut self, buffer: &Arc<Buffer>, route: Route, value: T) {
        self.clock += 1;
        let (id, layout) = (buffer.id(), buffer.layout());
        self.entries
            .retain(|e| e.id != id || e.route != route || e.layout != *layout);
        let own = self.own;
        self.retire_where(|e| e.others(own) == 0 && e.id.generation() != id.generation());
        if self.entries.len() >= self.capacity {
            let oldest = self.entries.iter().enumerate().min_by_key(|(_, e)| e.used);
            if let Some(index) = oldest.map(|(index, _)| index) {
                self.entries.swap_remove(index);
                self.stats.evicted += 1;
            }
        }
        self.entries.push(Entry {
            id,
            layout: layout.clone(),
            route,
            buffer: Arc::downgrade(buffer),
            used: self.clock,
            value,
        });
    }

    /// Puts out every entry whose buffer no producer or frame has any more, and says how many.
    ///
    /// For pauses: a stream has stopped, memory is short. Frames from another process are in wrappings of their own, so
    /// between two of them all their entries count as gone.
    pub fn trim(&mut self) -> usize {
        let own = self.own;
        self.retire_where(|e| e.others(own) == 0)
    }

    /// Puts out every entry of a pool's generation, and says how many.
    pub fn retire(&mut self, generation: u64) -> usize {
        self.retire_where(|e| e.id.generation() == generation)
    }

    /// Puts out the values that `keep` does not want, and says how many. It is also told how many handles there are to the
    /// buffer as the last frame had it, the value's own not counted.
    pub fn retain(&mut self, keep: impl Fn(&T, usize) -> bool) -> usize {
        let own = self.own;
        self.retire_where(|e| !keep(&e.value, e.others(own)))
    }

    fn retire_where(&mut self, gone: impl Fn(&Entry<T>) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(|e| !gone(e));
        let retired = before - self.entries.len();
        self.stats.retired += retired as u64;
        retired
    }

    /// Puts out everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmaframe_core::{Fourcc, FrameMeta, Size};

    fn frame() -> Frame {
        let layout = Layout::tight(Fourcc::R8, Size::new(4, 4)).unwrap();
        Frame::from_bytes(vec![0; 16], &layout, FrameMeta::default()).unwrap()
    }

    #[test]
    fn routes_are_kept_apart_and_the_oldest_goes() {
        let frames: Vec<_> = (0..3).map(|_| frame()).collect();
        let mut cache = ImportCache::new(2);
        for (index, frame) in frames.iter().enumerate() {
            cache.insert(frame.buffer(), Route::Buffer, index);
            assert!(cache.get(frame, Route::Image).is_none());
            assert_eq!(cache.get(&frames[0], Route::Buffer).is_some(), index < 3);
        }
        assert!(
            cache.get(&frames[1], Route::Buffer).is_none(),
            "the least recently used one"
        );
        assert_eq!((cache.len(), cache.stats().evicted), (2, 1));
    }

    #[test]
    fn a_newer_value_takes_the_place_of_the_one_before() {
        let (mut cache, one) = (ImportCache::new(4), frame());
        cache.insert(one.buffer(), Route::Buffer, "once");
        cache.insert(one.buffer(), Route::Image, "another route");
        cache.insert(one.buffer(), Route::Buffer, "import");
        assert_eq!(cache.get(&one, Route::Buffer), Some(&"import"));
        assert_eq!(cache.get(&one, Route::Image), Some(&"another route"));
        assert_eq!(
            (cache.len(), cache.stats().evicted, cache.stats().retired),
            (2, 0, 0)
        );
    }

    #[test]
    fn a_buffer_that_only_its_own_value_keeps_is_gone() {
        let mut cache = ImportCache::counting(4, |_: &Arc<Buffer>| 1);
        let (kept, gone) = (frame(), frame());
        cache.insert(kept.buffer(), Route::HostPointer, Arc::clone(kept.buffer()));
        cache.insert(gone.buffer(), Route::HostPointer, Arc::clone(gone.buffer()));
        let weak = Arc::downgrade(gone.buffer());
        drop(gone);
        assert_eq!(cache.retain(|_, others| others == 0), 1, "the other one");
        assert_eq!(cache.trim(), 1);
        assert!(cache.is_empty() && weak.strong_count() == 0);
    }

    #[test]
    fn a_cache_without_a_limit_takes_no_more_room_than_it_needs() {
        let mut cache = ImportCache::new(usize::MAX);
        let one = frame();
        cache.insert(one.buffer(), Route::Buffer, 1);
        assert_eq!(cache.get(&one, Route::Buffer), Some(&1));
    }

    #[test]
    fn a_buffer_that_is_gone_can_be_trimmed() {
        let mut cache = ImportCache::new(4);
        let kept = frame();
        cache.insert(kept.buffer(), Route::Buffer, 0);
        let gone = frame();
        cache.insert(gone.buffer(), Route::Buffer, 1);
        drop(gone);
        assert_eq!(cache.trim(), 1);
        assert!(cache.get(&kept, Route::Buffer).is_some());
        assert_eq!(cache.retire(kept.buffer_id().generation()), 1);
    }
}
