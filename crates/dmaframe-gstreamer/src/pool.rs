//! The pool that upstream elements are offered: what would have been system memory becomes dma-bufs, written in place.

use std::sync::{Arc, Mutex, OnceLock};

use arrayvec::ArrayVec;
use dmaframe_alloc::{Allocator, Chain, Request};
use dmaframe_core::{Layout, MAX_PLANES, Plane, Rect};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::caps;
use crate::describe::{self, Picture};
use crate::export::add_video_meta;
use crate::sys::{self, Tag};

/// udmabuf, then the system heap. One for the process: it keeps the device nodes open.
fn allocator() -> &'static Chain {
    static CHAIN: OnceLock<Chain> = OnceLock::new();
    CHAIN.get_or_init(Chain::dmabuf)
}

/// Whether dma-bufs can be had here at all.
fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| allocator().probe().is_ok())
}

mod imp {
    use super::*;

    #[derive(Debug, Default)]
    pub(crate) struct DmabufPool {
        pub(super) state: Mutex<Option<State>>,
    }

    #[derive(Clone, Debug)]
    pub(super) struct State {
        pub(super) layout: Layout,
        /// Bytes of the one memory of a buffer.
        pub(super) size: u32,
        pub(super) generation: u64,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for DmabufPool {
        const NAME: &'static str = "DmaframeDmabufPool";
        const ALLOW_NAME_CONFLICT: bool = true;
        type Type = super::DmabufPool;
        type ParentType = gst::BufferPool;
    }

    impl ObjectImpl for DmabufPool {}
    impl GstObjectImpl for DmabufPool {}

    impl BufferPoolImpl for DmabufPool {
        fn options() -> &'static [&'static str] {
            &["GstBufferPoolOptionVideoMeta"]
        }

        fn set_config(&self, config: &mut gst::BufferPoolConfigRef) -> bool {
            let Some((Some(caps), _, min, max)) = config.params() else {
                return false;
            };
            let Ok(picture) = caps::picture(&caps, caps::unnamed()) else {
                return false;
            };
            // An element that does not look at strides gets GStreamer's own.
            let free = config.has_option("GstBufferPoolOptionVideoMeta");
            let Some((layout, size)) = layout(&picture, free) else {
                return false;
            };
            config.set_params(Some(&caps), size, min, max);
            *sys::lock(&self.state) = Some(State {
                layout,
                size,
                generation: dmaframe_core::next_generation(),
            });
            self.parent_set_config(config)
        }

        fn alloc_buffer(
            &self,
            _: Option<&gst::BufferPoolAcquireParams>,
        ) -> Result<gst::Buffer, gst::FlowError> {
            let state = sys::lock(&self.state)
                .clone()
                .ok_or(gst::FlowError::NotNegotiated)?;
            allocate(&state).ok_or(gst::FlowError::Error)
        }
    }

    fn allocate(state: &State) -> Option<gst::Buffer> {
        let core = allocator().allocate(&state.layout, state.generation).ok()?;
        let object = Arc::clone(core.objects().first()?);
        let size = usize::try_from(state.size).ok()?;
        let mut buffer = gst::Buffer::new();
        {
            let buffer = buffer.get_mut()?;
            let memory = sys::memory_of(&object, 0, size, false).ok()?;
            sys::tag_or(&memory, || Ok::<_, ()>(Tag::new(object))).ok()?;
            buffer.append_memory(memory);
            let visible = Rect::full(state.layout.size());
            add_video_meta(buffer, &state.layout, visible, |_| Some(0)).ok()?;
        }
        Some(buffer)
    }
}

/// The layout for pictures as caps say, and the bytes of a buffer.
fn layout(picture: &Picture, free: bool) -> Option<(Layout, u32)> {
    if !picture.modifier.is_linear() {
        return None;
    }
    if free {
        let layout = allocator()
            .plan(&Request::new(picture.fourcc, picture.size))
            .ok()?;
        let size = u32::try_from(layout.object_len(0)).ok()?;
        return Some((layout, size));
    }
    let default = describe::default_planes(picture.fourcc, picture.size).ok()?;
    let planes = default.offsets.iter().zip(&default.strides);
    let planes: Option<ArrayVec<Plane, MAX_PLANES>> = planes
        .map(|(offset, stride)| {
            Some(Plane {
                object: 0,
                offset: *offset,
                stride: u32::try_from(*stride).ok()?,
            })
        })
        .collect();
    let layout = Layout::check(
        picture.fourcc,
        picture.modifier,
        picture.size,
        &planes?,
        &[default.size],
    )
    .ok()?;
    // An allocator makes what the layout needs, in whole pages: enough for what GStreamer adds for odd heights?
    let size = u32::try_from(default.size).ok()?;
    (layout.object_len(0).next_multiple_of(4096) >= default.size).then_some((layout, size))
}

glib::wrapper! {
    pub(crate) struct DmabufPool(ObjectSubclass<imp::DmabufPool>) @extends gst::BufferPool, gst::Object;
}

/// A pool for buffers of these caps, with the bytes of one. `None` where there is nothing to offer: no dma-bufs on this
/// machine, a format without a table entry, tiled layouts.
pub(crate) fn offer(caps: &gst::CapsRef, min: u32) -> Option<(DmabufPool, u32)> {
    if !available() {
        return None;
    }
    let picture = caps::picture(caps, caps::unnamed()).ok()?;
    let (_, size) = layout(&picture, true)?;
    let pool: DmabufPool = glib::Object::new();
    let mut config = pool.config();
    config.set_params(Some(&caps.to_owned()), size, min, 0);
    config.add_option("GstBufferPoolOptionVideoMeta");
    pool.set_config(config).ok()?;
    Some((pool, size))
}
