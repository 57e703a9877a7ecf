//! Access to one buffer's descriptors, chunks and metas.
//!
//! Chunks and metas lie in memory that other processes write, so they are read once, whole and volatile, and believed
//! only after checks that are made on the copy.

use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use arrayvec::ArrayVec;
use dmaframe_core::{Rect, Size};
use pipewire::spa::sys as spa;
use pipewire::sys as pw;

use super::abi::{Crop, Header, SyncPoints};
use crate::pod::{Chunk, DataBlock, DataKind, MAX_BLOCKS, meta_type};

/// Most damage rectangles taken or given.
pub(crate) const MAX_DAMAGE: usize = 16;

/// A buffer that is in the stream's table just now: only the stream makes these, and only for the time of one call.
#[derive(Clone, Copy)]
pub(super) struct Buffer<'a> {
    raw: NonNull<pw::pw_buffer>,
    _stream: std::marker::PhantomData<&'a super::Stream>,
}

/// A block as the producer fills it in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewData {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    /// Stays the producer's; open until the buffer is removed.
    pub(crate) fd: RawFd,
    pub(crate) size: u32,
}

impl NewData {
    /// Nothing: no kind of memory (`SPA_DATA_Invalid`), no descriptor.
    pub(crate) const NONE: Self = Self {
        kind: 0,
        flags: 0,
        fd: -1,
        size: 0,
    };
}

impl Buffer<'_> {
    /// # Safety
    /// `raw` came with `add_buffer` and has not gone with `remove_buffer`, and will not while this value lives.
    pub(super) unsafe fn new(raw: NonNull<pw::pw_buffer>) -> Self {
        Self {
            raw,
            _stream: std::marker::PhantomData,
        }
    }

    pub(super) fn raw(&self) -> *mut pw::pw_buffer {
        self.raw.as_ptr()
    }

    fn spa(&self) -> &spa::spa_buffer {
        // SAFETY: a pw_buffer that is alive points to its spa_buffer, which lives as long (`pw/stream.h`). Neither struct
        // is in shared memory, and libpipewire changes them only between `add_buffer` and `remove_buffer` of others.
        unsafe { &*(*self.raw.as_ptr()).buffer }
    }

    fn datas(&self) -> &[spa::spa_data] {
        let spa = self.spa();
        if spa.datas.is_null() {
            return &[];
        }
        // SAFETY: the library's own skeleton: `n_datas` structs at `datas`, in this process's memory.
        unsafe { std::slice::from_raw_parts(spa.datas, spa.n_datas as usize) }
    }

    /// The blocks; more than [`MAX_BLOCKS`] come as one more than that, which nobody takes.
    pub(super) fn blocks(&self) -> ArrayVec<DataBlock, { MAX_BLOCKS + 1 }> {
        let datas = self.datas().iter().take(MAX_BLOCKS + 1);
        datas
            .map(|data| DataBlock {
                kind: DataKind::from_raw(data.type_),
                map_offset: data.mapoffset,
                max_size: data.maxsize,
            })
            .collect()
    }

    /// Bits of the kinds of memory the other side takes: what an allocating producer finds in place of the kind.
    pub(super) fn wanted_types(&self) -> u32 {
        self.datas().first().map_or(0, |data| data.type_)
    }

    pub(super) fn fd(&self, block: usize) -> Option<BorrowedFd<'_>> {
        let fd = RawFd::try_from(self.datas().get(block)?.fd)
            .ok()
            .filter(|fd| *fd >= 0)?;
        // SAFETY: libpipewire keeps the descriptors of a buffer open until it is removed.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// What a block is, for an allocating producer.
    pub(super) fn set_data(&self, block: usize, new: NewData) -> bool {
        let spa = self.spa();
        if block >= self.datas().len() {
            return false;
        }
        // SAFETY: inside the array just measured. `PW_STREAM_FLAG_ALLOC_BUFFERS` lets the producer write these fields
        // during `add_buffer`, on this thread, and no reference to the array is alive.
        unsafe {
            let data = &raw mut *spa.datas.add(block);
            (*data).type_ = new.kind;
            (*data).flags = new.flags;
            (*data).fd = i64::from(new.fd);
            (*data).mapoffset = 0;
            (*data).maxsize = new.size;
            (*data).data = std::ptr::null_mut();
        }
        true
    }

    pub(super) fn chunk(&self, block: usize) -> Option<Chunk> {
        let chunk = NonNull::new(self.datas().get(block)?.chunk)?;
        // SAFETY: the chunk is four plain numbers in shared memory that stays mapped while the buffer lives; volatile,
        // because another process may write it.
        let read = unsafe { chunk.as_ptr().read_volatile() };
        Some(Chunk {
            offset: read.offset,
            size: read.size,
            stride: read.stride,
            flags: read.flags,
        })
    }

    pub(super) fn set_chunk(&self, block: usize, new: Chunk) {
        let Some(chunk) = self.datas().get(block).and_then(|data| NonNull::new(data.chunk)) else {
            return;
        };
        let new = spa::spa_chunk {
            offset: new.offset,
            size: new.size,
            stride: new.stride,
            flags: new.flags,
        };
        // SAFETY: as in `chunk`; the producer writes it.
        unsafe { chunk.as_ptr().write_volatile(new) }
    }

    /// The first meta of that kind and its bytes.
    fn meta(&self, kind: u32) -> Option<(NonNull<u8>, usize)> {
        let found = self.metas().iter().find(|meta| meta.type_ == kind)?;
        Some((NonNull::new(found.data.cast())?, found.size as usize))
    }

    fn metas(&self) -> &[spa::spa_meta] {
        let spa = self.spa();
        if spa.metas.is_null() {
            return &[];
        }
        // SAFETY: the library's own skeleton: `n_metas` structs at `metas`, in this process's memory.
        unsafe { std::slice::from_raw_parts(spa.metas, spa.n_metas as usize) }
    }

    /// The place of a meta of type `T`, if there is one and it is large enough.
    fn place<T>(&self, kind: u32) -> Option<NonNull<T>> {
        let (start, size) = self.meta(kind)?;
        let start = start.cast::<T>();
        (size >= size_of::<T>() && start.is_aligned()).then_some(start)
    }

    fn read<T: Copy>(&self, kind: u32) -> Option<T> {
        // SAFETY: large enough and aligned; metas stay mapped while the buffer lives; the types used are plain numbers.
        self.place::<T>(kind)
            .map(|place| unsafe { place.as_ptr().read_volatile() })
    }

    fn write<T: Copy>(&self, kind: u32, value: T) -> bool {
        let place = self.place::<T>(kind);
        if let Some(place) = place {
            // SAFETY: as in `read`.
            unsafe { place.as_ptr().write_volatile(value) }
        }
        place.is_some()
    }

    pub(super) fn header(&self) -> Option<Header> {
        self.read(meta_type::HEADER)
    }

    pub(super) fn set_header(&self, header: Header) {
        self.write(meta_type::HEADER, header);
    }

    pub(super) fn crop(&self) -> Option<Crop> {
        self.read(meta_type::VIDEO_CROP)
    }

    pub(super) fn set_crop(&self, crop: Crop) {
        self.write(meta_type::VIDEO_CROP, crop);
    }

    pub(super) fn transform(&self) -> Option<u32> {
        self.read(meta_type::VIDEO_TRANSFORM)
    }

    pub(super) fn set_transform(&self, transform: u32) {
        self.write(meta_type::VIDEO_TRANSFORM, transform);
    }

    pub(super) fn sync_points(&self) -> Option<SyncPoints> {
        self.read(meta_type::SYNC_TIMELINE)
    }

    pub(super) fn set_sync_points(&self, points: SyncPoints) {
        self.write(meta_type::SYNC_TIMELINE, points);
    }

    /// Whether both sides know of `features` of a meta (1.6).
    pub(super) fn has_feature(&self, kind: u32, features: u32) -> bool {
        let mut metas = self.metas().iter();
        metas.any(|meta| meta.type_ >> 16 == kind && meta.type_ & features == features)
    }

    /// How many users the buffer has (`SPA_META_Busy`).
    pub(super) fn busy(&self) -> Option<&AtomicU32> {
        let (start, size) = self.meta(meta_type::BUSY)?;
        // The count is the second of two words.
        let count = start.cast::<[u32; 2]>();
        if size < 8 || !count.is_aligned() {
            return None;
        }
        // SAFETY: in bounds and aligned; mapped while the buffer lives; every side uses atomic operations on it
        // (`SPA_ATOMIC_INC`).
        Some(unsafe { AtomicU32::from_ptr(count.as_ptr().cast::<u32>().add(1)) })
    }

    /// The damaged parts of a picture of that size, if there is such a meta and it has room for all of them here.
    pub(super) fn damage(&self, picture: Size) -> Option<ArrayVec<Rect, MAX_DAMAGE>> {
        let (start, size) = self.meta(meta_type::VIDEO_DAMAGE)?;
        let start = start.cast::<Crop>();
        if !start.is_aligned() {
            return None;
        }
        let count = size / size_of::<Crop>();
        // SAFETY: inside the meta; as in `read`.
        let regions = (0..count).map(|i| unsafe { start.as_ptr().add(i).read_volatile() });
        rects_of(regions, picture)
    }

    /// What changed in a picture of that size: all of it as one where there is no room for so many parts.
    pub(super) fn set_damage(&self, rects: &[Rect], picture: Size) {
        let Some((start, size)) = self.meta(meta_type::VIDEO_DAMAGE) else {
            return;
        };
        let start = start.cast::<Crop>();
        if !start.is_aligned() {
            return;
        }
        let room = size / size_of::<Crop>();
        let end = std::iter::once(Crop::default());
        let regions = regions_of(rects, room, picture).into_iter().chain(end);
        for (i, region) in regions.take(room).enumerate() {
            // SAFETY: inside the meta; as in `write`.
            unsafe { start.as_ptr().add(i).write_volatile(region) }
        }
    }
}

/// Regions up to the first empty one, which ends them (`spa/buffer/meta.h`), as far as they lie in the picture. `None` where
/// there are too many.
fn rects_of(regions: impl Iterator<Item = Crop>, picture: Size) -> Option<ArrayVec<Rect, MAX_DAMAGE>> {
    let mut rects = ArrayVec::new();
    for region in regions.take_while(|region| !region.is_empty()) {
        if let Some(rect) = region.clip(picture) {
            rects.try_push(rect).ok()?;
        }
    }
    Some(rects)
}

/// The regions of a meta with so much room. Empty ones would end them, and those that are left out would be missed.
fn regions_of(rects: &[Rect], room: usize, picture: Size) -> ArrayVec<Crop, MAX_DAMAGE> {
    let mut regions = ArrayVec::new();
    let full = rects.iter().copied().map(Crop::from);
    for region in full.filter(|region| !region.is_empty()) {
        if regions.len() >= room || regions.try_push(region).is_err() {
            regions.clear();
            regions.push(Rect::full(picture).into());
            break;
        }
    }
    regions
}

impl Crop {
    /// As a rectangle, unless it is empty or reaches into the negative.
    pub(crate) fn rect(self) -> Option<Rect> {
        let (x, y) = (u32::try_from(self.x).ok()?, u32::try_from(self.y).ok()?);
        (!self.is_empty()).then_some(Rect {
            x,
            y,
            width: self.width,
            height: self.height,
        })
    }

    fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// The part of it that lies in a picture of that size.
    fn clip(self, picture: Size) -> Option<Rect> {
        let (x, width) = overlap(self.x, self.width, picture.width)?;
        let (y, height) = overlap(self.y, self.height, picture.height)?;
        Some(Rect { x, y, width, height })
    }
}

/// Start and length of what of a span lies before `end`, and not before 0.
fn overlap(start: i32, len: u32, end: u32) -> Option<(u32, u32)> {
    let (first, last) = (i64::from(start), i64::from(start) + i64::from(len));
    let (first, last) = (first.max(0), last.min(i64::from(end)));
    let len = u32::try_from(last - first).ok().filter(|len| *len != 0)?;
    Some((u32::try_from(first).ok()?, len))
}

impl From<Rect> for Crop {
    fn from(rect: Rect) -> Self {
        let signed = |v: u32| i32::try_from(v).unwrap_or(i32::MAX);
        Self {
            x: signed(rect.x),
            y: signed(rect.y),
            width: rect.width,
            height: rect.height,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: Size = Size::new(64, 48);

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    fn region(x: i32, y: i32, width: u32, height: u32) -> Crop {
        Crop { x, y, width, height }
    }

    #[test]
    fn damage_that_is_told_is_never_less_than_there_was() {
        let part = |n: u32| rect(n, 1, 2, 3);
        let told = |rects: &[Rect], room| {
            let regions = regions_of(rects, room, PICTURE);
            let meta = regions.iter().copied().chain([Crop::default()]).take(room);
            rects_of(meta, PICTURE).unwrap().to_vec()
        };
        // Empty ones end no list.
        let some = [part(1), rect(5, 5, 0, 4), part(2), rect(5, 5, 4, 0), part(3)];
        assert_eq!(told(&some, MAX_DAMAGE), [part(1), part(2), part(3)]);
        let most: Vec<_> = (0..16).map(part).collect();
        assert_eq!(told(&most, MAX_DAMAGE), most);
        // More than there is room for are the whole picture.
        let more: Vec<_> = (0..17).map(part).collect();
        assert_eq!(told(&more, MAX_DAMAGE), [Rect::full(PICTURE)]);
        assert_eq!(told(&more, 64), [Rect::full(PICTURE)]);
        assert_eq!(told(&most[..2], 1), [Rect::full(PICTURE)]);
        assert_eq!(told(&[], MAX_DAMAGE), []);
    }

    #[test]
    fn damage_that_reaches_out_of_the_picture_is_cut_and_ends_nothing() {
        let regions = [
            region(-4, -4, 8, 8),
            region(60, 40, 100, 100),
            region(100, 0, 4, 4),
            region(-8, 0, 8, 8),
            region(i32::MIN, i32::MAX, u32::MAX, u32::MAX),
            region(1, 2, 3, 4),
            region(7, 7, 0, 7),
            region(1, 1, 1, 1),
        ];
        let found = rects_of(regions.into_iter(), PICTURE).unwrap();
        assert_eq!(
            found.as_slice(),
            [rect(0, 0, 4, 4), rect(60, 40, 4, 8), rect(1, 2, 3, 4)]
        );
        // Of a list that is longer than ours nothing is left out: there is none.
        assert_eq!(rects_of([region(1, 2, 3, 4); 17].into_iter(), PICTURE), None);
    }
}
