//! Buffers that wait for the next picture of the memory they are wrapped around.
//!
//! A `GstBufferPool`, because that is how a buffer's last owner gives it back: GStreamer calls
//! [`imp::ShellPool::release_buffer`] from whichever thread dropped it. It allocates nothing and is never activated; each
//! buffer is put in ([`ShellPool::send`]) with the frame it is to carry, and comes out of `acquire_buffer` at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dmaframe_core::{Buffer, Frame, Rect};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use crate::error::Error;
use crate::export::let_go;
use crate::{later, sys};

/// Most buffers kept: more slots than any pool here has had, and a bound where every frame is in new memory.
const KEPT: usize = 64;

/// A buffer without a picture.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) buffer: gst::Buffer,
    /// The memory it is wrapped around: keeps its descriptors open.
    pub(crate) core: Arc<Buffer>,
    pub(crate) visible: Rect,
}

mod imp {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    pub(crate) struct ShellPool {
        pub(super) idle: Mutex<Vec<Shell>>,
        /// Buffers that are with GStreamer: what they are wrapped around, by their address.
        pub(super) out: Mutex<Vec<(usize, Arc<Buffer>, Rect)>>,
        /// Handed from `send` to `acquire_buffer`.
        pub(super) next: Mutex<Option<gst::Buffer>>,
        pub(super) sending: Mutex<()>,
        pub(super) ignore_fences: AtomicBool,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for ShellPool {
        const NAME: &'static str = "DmaframeShellPool";
        // Another version of this crate in the process has a type of its own.
        const ALLOW_NAME_CONFLICT: bool = true;
        type Type = super::Pool;
        type ParentType = gst::BufferPool;
    }

    impl ObjectImpl for ShellPool {}
    impl GstObjectImpl for ShellPool {}

    impl BufferPoolImpl for ShellPool {
        fn acquire_buffer(
            &self,
            _: Option<&gst::BufferPoolAcquireParams>,
        ) -> Result<gst::Buffer, gst::FlowError> {
            sys::lock(&self.next).take().ok_or(gst::FlowError::NotSupported)
        }

        /// Not the parent's: it would cut the buffer to the size of a configuration there is none of.
        fn reset_buffer(&self, buffer: &mut gst::BufferRef) {
            buffer.foreach_meta_mut(|meta| {
                let keep = meta.flags().contains(gst::MetaFlags::POOLED);
                std::ops::ControlFlow::Continue(if keep {
                    gst::buffer::BufferMetaForeachAction::Keep
                } else {
                    gst::buffer::BufferMetaForeachAction::Remove
                })
            });
        }

        fn release_buffer(&self, buffer: gst::Buffer) {
            let pool = self.obj().clone();
            later::outside(move || pool.imp().take_back(buffer));
        }
    }

    impl ShellPool {
        fn take_back(&self, mut buffer: gst::Buffer) {
            let address = buffer.as_ptr() as usize;
            let mut out = sys::lock(&self.out);
            let entry = out
                .iter()
                .position(|entry| entry.0 == address)
                .map(|at| out.swap_remove(at));
            drop(out);
            let Some((_, core, visible)) = entry else { return };
            let look = !self.ignore_fences.load(Ordering::Relaxed);
            let whole = is_whole(&buffer, &core);
            if !whole {
                // An element took it apart, or has a memory in another buffer still: each memory carries the frame until
                // it is freed itself.
                return drop(buffer);
            }
            let mut frames = arrayvec::ArrayVec::<Frame, { dmaframe_core::MAX_PLANES }>::new();
            for memory in buffer.iter_memories() {
                frames.extend(sys::tag(memory).and_then(|tag| sys::lock(&tag.keeper).take()));
            }
            if let Some(buffer) = buffer.get_mut() {
                sys::clear_buffer(buffer);
            }
            let shell = Shell {
                buffer,
                core,
                visible,
            };
            let surplus = {
                let mut idle = sys::lock(&self.idle);
                let surplus = (idle.len() >= KEPT).then(|| idle.remove(0));
                idle.push(shell);
                surplus
            };
            // The frame last, and no lock held: its lease runs the producer's code.
            drop(surplus);
            for frame in frames {
                let_go(frame, look);
            }
        }
    }

    /// Whether the buffer still is what went out: our memories, all of them, and nobody else's.
    fn is_whole(buffer: &gst::BufferRef, core: &Buffer) -> bool {
        !buffer.flags().contains(gst::BufferFlags::TAG_MEMORY)
            && buffer.n_memory() == core.objects().len()
            && buffer
                .iter_memories()
                .zip(core.objects())
                .all(|(memory, object)| {
                    sys::is_sole_owner(memory)
                        && memory.offset() == 0
                        && memory.size() == memory.maxsize()
                        && sys::tag(memory).is_some_and(|tag| {
                            Arc::ptr_eq(&tag.object, object) && sys::lock(&tag.keeper).is_some()
                        })
                })
    }
}

glib::wrapper! {
    pub(crate) struct Pool(ObjectSubclass<imp::ShellPool>) @extends gst::BufferPool, gst::Object;
}

#[derive(Debug)]
pub(crate) struct ShellPool(Pool);

impl ShellPool {
    pub(crate) fn new() -> Self {
        Self(glib::Object::new())
    }

    pub(crate) fn look_for_fences(&self, look: bool) {
        self.0.imp().ignore_fences.store(!look, Ordering::Relaxed);
    }

    /// A buffer kept for this memory and visible rect.
    pub(crate) fn take(&self, core: &Arc<Buffer>, visible: Rect) -> Option<Shell> {
        let mut idle = sys::lock(&self.0.imp().idle);
        let at = idle
            .iter()
            .position(|shell| Arc::ptr_eq(&shell.core, core) && shell.visible == visible)?;
        Some(idle.swap_remove(at))
    }

    /// Sends a buffer off with a frame.
    pub(crate) fn send(&self, shell: Shell, frame: &Frame) -> Result<gst::Buffer, Error> {
        let Shell {
            buffer,
            core,
            visible,
        } = shell;
        for memory in buffer.iter_memories() {
            if let Some(tag) = sys::tag(memory) {
                *sys::lock(&tag.keeper) = Some(frame.clone());
            }
        }
        let imp = self.0.imp();
        let _sending = sys::lock(&imp.sending);
        sys::lock(&imp.out).push((buffer.as_ptr() as usize, core, visible));
        *sys::lock(&imp.next) = Some(buffer);
        // The pool's own code does the rest: it makes the buffer come back here.
        self.0.acquire_buffer(None).map_err(|_| {
            drop(sys::lock(&imp.next).take());
            Error::Memory {
                index: 0,
                reason: "GStreamer's buffer pool is flushing".to_owned(),
            }
        })
    }

    /// Forgets the kept buffers whose memory is not wanted any more.
    pub(crate) fn retain(&self, wanted: impl Fn(&Buffer) -> bool) {
        let mut gone = Vec::new();
        let mut idle = sys::lock(&self.0.imp().idle);
        let mut index = 0;
        while index < idle.len() {
            if wanted(&idle[index].core) {
                index += 1;
            } else {
                gone.push(idle.swap_remove(index));
            }
        }
        drop(idle);
    }
}

impl Drop for ShellPool {
    /// Buffers that are still out hold the pool; what they bring back is not wanted any more.
    fn drop(&mut self) {
        self.retain(|_| false);
    }
}
