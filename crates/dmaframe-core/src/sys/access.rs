//! CPU access to a frame's memory: waiting, mapping, bracketing, and the slices that follow from it.

use std::ops::Range;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::dmabuf;
use super::memory::Memory;
use crate::borrows::Hold;
use crate::buffer::Backing;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fence::Waited;
use crate::frame::Frame;
use crate::layout::{Layout, MAX_PLANES};
use crate::object::{Access, Object};

/// An access that has begun; its drop ends it.
#[derive(Debug)]
pub(crate) struct View<'a> {
    layout: &'a Layout,
    memory: ArrayVec<&'a Memory, MAX_PLANES>,
    /// Objects between SYNC_START and SYNC_END.
    open: ArrayVec<&'a Object, MAX_PLANES>,
    /// What keeps other views of the same objects in their place.
    holds: ArrayVec<(&'a Object, Hold), MAX_PLANES>,
    slices: bool,
    access: Access,
}

impl<'a> View<'a> {
    pub(crate) fn begin(frame: &'a Frame, access: Access, deadline: Deadline) -> Result<Self, Error> {
        let buffer = frame.buffer();
        let layout = buffer.layout();
        if !layout.modifier().is_linear() {
            return Err(Error::NotLinear {
                modifier: layout.modifier(),
            });
        }
        if access == Access::Write {
            if let Some(object) = buffer.objects().iter().position(|o| !o.is_writable()) {
                return Err(Error::ReadOnly { object });
            }
        }
        settle(frame.wait(deadline)?, "acquire fence")?;
        let mut view = Self {
            layout,
            memory: ArrayVec::new(),
            open: ArrayVec::new(),
            holds: ArrayVec::new(),
            slices: buffer.is_quiet(),
            access,
        };
        let objects = match buffer.backing() {
            Backing::Objects(objects) => objects,
            Backing::Bytes(memory) => {
                view.memory.push(memory);
                return Ok(view);
            }
        };
        for (_, object) in buffer.distinct() {
            let hold = match access {
                Access::Read => object.borrows().read(view.slices),
                Access::Write => object.borrows().write(),
            };
            let hold = hold.ok_or(Error::Shared {
                reason: "another frame's view has its memory",
            })?;
            view.slices &= hold != Hold::Lent;
            view.holds.push((object, hold));
        }
        for object in objects {
            // A kernel object is one `Object` here, whatever the number of its descriptors, and so has one mapping:
            // overlapping planes cannot alias unseen.
            let same = objects.iter().enumerate().filter(|(_, o)| Arc::ptr_eq(o, object));
            let needed = same.map(|(index, _)| layout.object_len(index)).max();
            view.memory.push(object.memory(needed.unwrap_or(0))?);
        }
        for (_, object) in buffer.distinct() {
            settle(object.wait_idle(access, deadline)?, "implicit fence")?;
            if object.kind() == crate::object::ObjectKind::Dmabuf {
                dmabuf::begin_cpu_access(object.fd(), access.sync_flags())
                    .map_err(Error::os("DMA_BUF_IOCTL_SYNC(START)", "object"))?;
                view.open.push(object);
            }
        }
        Ok(view)
    }

    /// Object index, first byte and length of a row's samples.
    pub(crate) fn row(&self, plane: usize, row: u32) -> Result<(usize, usize, usize), Error> {
        let planes = self.layout.planes();
        let at = planes.get(plane).ok_or(Error::OutOfRange {
            what: "plane",
            index: plane,
            limit: planes.len(),
        })?;
        let rows = self.layout.rows(plane);
        if row >= rows {
            return Err(Error::OutOfRange {
                what: "row",
                index: row as usize,
                limit: rows as usize,
            });
        }
        // Inside the object, and so inside the address space: validation and mapping have seen to that.
        let offset = at.offset + u64::from(at.stride) * u64::from(row);
        Ok((
            at.object,
            usize::try_from(offset).unwrap_or(usize::MAX),
            self.layout.row_bytes(plane),
        ))
    }

    /// Object index, first byte and length from the plane's first to its last sample.
    pub(crate) fn span(&self, plane: usize) -> Result<(usize, usize, usize), Error> {
        let (object, start, _) = self.row(plane, 0)?;
        let (_, last, len) = self.row(plane, self.layout.rows(plane) - 1)?;
        Ok((object, start, last - start + len))
    }

    pub(crate) fn slice(&self, (object, offset, len): (usize, usize, usize)) -> Result<&[u8], Error> {
        if !self.slices {
            return Err(Error::Foreign { object });
        }
        // SAFETY: private memory (the producer's promise, `raw::private_buffer`), claimed by one frame, its descriptor
        // not lent, and no writer among the object's other views (`holds`); a writer through this frame would need its
        // only handle mutably, which this view borrows.
        let slice = unsafe { self.memory[object].slice(offset, len) };
        slice.ok_or(Error::OutOfRange {
            what: "byte",
            index: offset + len,
            limit: self.memory[object].len(),
        })
    }

    /// Copies rows, one after the other and without padding, to the front of `to`, and gives their length.
    pub(crate) fn copy(&self, plane: usize, rows: Range<u32>, to: &mut [u8]) -> Result<usize, Error> {
        let runs = self.runs(plane, rows)?;
        let (found, needed) = (to.len(), runs.total());
        let mut rest = to.get_mut(..needed).ok_or(Error::TooSmall {
            what: "row destination",
            found,
            needed,
        })?;
        for (object, offset, len) in runs {
            let (now, later) = rest.split_at_mut(len);
            self.copy_from(object, offset, now)?;
            rest = later;
        }
        Ok(needed)
    }

    /// The samples of rows as stretches of memory: one where no padding lies between them.
    fn runs(&self, plane: usize, rows: Range<u32>) -> Result<Runs, Error> {
        let count = rows.len();
        // An empty range at the end is inside, as a slice's is.
        let first = rows.start.min(rows.end.saturating_sub(1));
        let (object, offset, row) = self.row(plane, first)?;
        if count > 0 {
            self.row(plane, rows.end - 1)?;
        }
        let stride = self.layout.planes()[plane].stride as usize;
        let whole = stride == row && count > 0;
        Ok(Runs {
            object,
            next: offset,
            // A picture's samples are inside its object, whose length is a usize once it is mapped.
            len: if whole { row * count } else { row },
            step: stride,
            left: if whole { 1 } else { count },
        })
    }

    /// Copies the beginning of the first row.
    pub(crate) fn copy_part(&self, to: &mut [u8]) -> Result<(), Error> {
        let (object, offset, len) = self.row(0, 0)?;
        if to.len() > len {
            return Err(Error::OutOfRange {
                what: "byte",
                index: to.len(),
                limit: len,
            });
        }
        self.copy_from(object, offset, to)
    }

    fn copy_from(&self, object: usize, offset: usize, to: &mut [u8]) -> Result<(), Error> {
        let len = to.len();
        if self.slices {
            to.copy_from_slice(self.slice((object, offset, len))?);
        } else if !self.memory[object].copy_out(offset, to) {
            return Err(Error::OutOfRange {
                what: "byte",
                index: offset + len,
                limit: self.memory[object].len(),
            });
        }
        Ok(())
    }
}

/// Stretches of one object's memory ([`View::runs`]): object index, first byte, length.
#[derive(Clone)]
struct Runs {
    object: usize,
    next: usize,
    len: usize,
    step: usize,
    left: usize,
}

impl Runs {
    fn total(&self) -> usize {
        self.len * self.left
    }
}

impl Iterator for Runs {
    type Item = (usize, usize, usize);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let run = (self.object, self.next, self.len);
        if self.left > 0 {
            self.next += self.step;
        }
        Some(run)
    }
}

impl<'a> View<'a> {
    pub(crate) fn layout(&self) -> &'a Layout {
        self.layout
    }

    pub(crate) fn has_slices(&self) -> bool {
        self.slices
    }

    /// For a view made with [`Access::Write`] on a frame's only handle.
    pub(crate) fn slice_mut(
        &mut self,
        (object, offset, len): (usize, usize, usize),
    ) -> Result<&mut [u8], Error> {
        self.exclusive(object)?;
        let memory = self.memory[object];
        // SAFETY: as in `slice`, and `exclusive` has made sure that the view is one for writing, of which a frame can
        // have only one and no other view beside it; `&mut self` keeps other slices of this view away.
        let slice = unsafe { memory.slice_mut(offset, len) };
        slice.ok_or(Error::OutOfRange {
            what: "byte",
            index: offset + len,
            limit: memory.len(),
        })
    }

    /// Writes rows' samples that lie one after the other, with or without slices; for a view made with
    /// [`Access::Write`].
    pub(crate) fn write(&mut self, plane: usize, rows: Range<u32>, from: &[u8]) -> Result<(), Error> {
        let runs = self.runs(plane, rows)?;
        let (found, needed) = (from.len(), runs.total());
        let mut rest = from.get(..needed).ok_or(Error::TooSmall {
            what: "row source",
            found,
            needed,
        })?;
        for (object, offset, len) in runs {
            let (now, later) = rest.split_at(len);
            self.copy_to(object, offset, now)?;
            rest = later;
        }
        Ok(())
    }

    fn copy_to(&mut self, object: usize, offset: usize, from: &[u8]) -> Result<(), Error> {
        if self.slices {
            self.slice_mut((object, offset, from.len()))?
                .copy_from_slice(from);
        } else if self.access != Access::Write || !self.memory[object].copy_in(offset, from) {
            return Err(Error::OutOfRange {
                what: "byte",
                index: offset + from.len(),
                limit: self.memory[object].len(),
            });
        }
        Ok(())
    }

    /// Copies a plane from another view whose plane has as many rows, as long.
    pub(crate) fn copy_plane(&mut self, from: &View<'_>, plane: usize) -> Result<(), Error> {
        let rows = self.layout.rows(plane);
        let (mine, theirs) = (self.runs(plane, 0..rows)?, from.runs(plane, 0..rows)?);
        if mine.left == theirs.left {
            return self.copy_runs(from, mine, theirs);
        }
        (0..rows).try_for_each(|row| {
            let (mine, theirs) = (self.runs(plane, row..row + 1)?, from.runs(plane, row..row + 1)?);
            self.copy_runs(from, mine, theirs)
        })
    }

    fn copy_runs(&mut self, from: &View<'_>, mine: Runs, theirs: Runs) -> Result<(), Error> {
        for ((to, at, len), (source, start, _)) in mine.zip(theirs) {
            if self.slices {
                from.copy_from(source, start, self.slice_mut((to, at, len))?)?;
            } else if from.slices {
                self.copy_to(to, at, from.slice((source, start, len))?)?;
            } else {
                // Others may write the one and read the other meanwhile: over memory that nobody else has.
                let mut between = [0; 4096];
                for done in (0..len).step_by(between.len()) {
                    let between = &mut between[..(len - done).min(4096)];
                    from.copy_from(source, start + done, between)?;
                    self.copy_to(to, at + done, between)?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn planes_mut(&mut self) -> Result<ArrayVec<&mut [u8], MAX_PLANES>, Error> {
        let count = self.layout.planes().len();
        let mut spans = ArrayVec::<_, MAX_PLANES>::new();
        for plane in 0..count {
            let (object, offset, len) = self.span(plane)?;
            self.exclusive(object)?;
            let memory = self.memory[object];
            let overlaps = spans
                .iter()
                .any(|&(other, start, other_len): &(&Memory, usize, usize)| {
                    std::ptr::eq(other, memory) && offset < start + other_len && start < offset + len
                });
            if overlaps {
                return Err(Error::Unsupported {
                    operation: "borrowing all planes",
                    object: format!("a layout whose plane {plane} shares bytes with another"),
                });
            }
            spans.push((memory, offset, len));
        }
        let mut slices = ArrayVec::new();
        for (memory, offset, len) in spans {
            // SAFETY: as in `slice_mut`; the spans do not overlap (just checked), and planes of one kernel object go
            // through one mapping.
            let slice = unsafe { memory.slice_mut(offset, len) };
            slices.push(slice.ok_or(Error::OutOfRange {
                what: "byte",
                index: offset + len,
                limit: memory.len(),
            })?);
        }
        Ok(slices)
    }

    fn exclusive(&self, object: usize) -> Result<(), Error> {
        if self.access == Access::Write && self.slices {
            Ok(())
        } else {
            Err(Error::Foreign { object })
        }
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        for object in &self.open {
            // The access is over whatever the kernel answers.
            let _ = dmabuf::end_cpu_access(object.fd(), self.access.sync_flags());
        }
        for (object, hold) in &self.holds {
            object.borrows().end(*hold);
        }
    }
}

fn settle(waited: Waited, what: &'static str) -> Result<(), Error> {
    match waited {
        Waited::Signaled => Ok(()),
        Waited::Failed(errno) => Err(Error::FenceFailed { errno }),
        Waited::TimedOut => Err(Error::Timeout { what }),
    }
}
