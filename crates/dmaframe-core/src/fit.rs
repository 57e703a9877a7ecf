//! Whether memory is what a device is going to write.

use crate::buffer::Buffer;
use crate::format::{Fourcc, Modifier};
use crate::layout::{Layout, Plane, Size};

/// Why a buffer cannot be given to a device that writes one layout and no other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// Devices take dma-bufs only.
    #[error("it is no dma-buf")]
    NotDmabuf,
    /// Another number of memory objects.
    #[error("{found} memory objects, the device writes {wanted}")]
    ObjectCount {
        /// Objects the buffer has.
        found: usize,
        /// Objects the device writes.
        wanted: usize,
    },
    /// Another format, size or modifier.
    #[error(
        "{found} {found_size} {found_modifier}, the device writes {wanted} {wanted_size} {wanted_modifier}"
    )]
    Picture {
        /// The buffer's format.
        found: Fourcc,
        /// The buffer's size.
        found_size: Size,
        /// The buffer's modifier.
        found_modifier: Modifier,
        /// The device's format.
        wanted: Fourcc,
        /// The device's size.
        wanted_size: Size,
        /// The device's modifier.
        wanted_modifier: Modifier,
    },
    /// Another number of planes: a modifier may add some.
    #[error("{found} planes, the device writes {wanted}")]
    PlaneCount {
        /// Planes the buffer has.
        found: usize,
        /// Planes the device writes.
        wanted: usize,
    },
    /// A plane that lies elsewhere.
    #[error(
        "plane {plane} lies in object {} at byte {} with stride {}, the device writes it in object {} at byte {} with stride {}",
        found.object, found.offset, found.stride, wanted.object, wanted.offset, wanted.stride
    )]
    Plane {
        /// The first plane that differs.
        plane: usize,
        /// Where the buffer has it.
        found: Plane,
        /// Where the device writes it.
        wanted: Plane,
    },
    /// An object that ends before what the device writes.
    #[error("object {object} has {found} bytes, the device writes {needed}")]
    TooSmall {
        /// The object.
        object: usize,
        /// Its true size in bytes.
        found: u64,
        /// Bytes the device writes.
        needed: u64,
    },
}

impl Buffer {
    /// Checks that a device which writes pictures of `layout`, and `sizes` bytes of each memory object with whatever
    /// padding it needs, can write them here. To the byte: camera interfaces can be told of no stride or offset but
    /// their own.
    ///
    /// # Errors
    /// [`Misfit`]: the first thing that differs, with both values.
    pub fn check_for_device(&self, layout: &Layout, sizes: &[u64]) -> Result<(), Misfit> {
        if !self.is_dmabuf() {
            return Err(Misfit::NotDmabuf);
        }
        let objects = self.objects();
        if objects.len() != sizes.len() {
            return Err(Misfit::ObjectCount {
                found: objects.len(),
                wanted: sizes.len(),
            });
        }
        let (found, wanted) = (self.layout(), layout);
        if (found.fourcc(), found.size(), found.modifier())
            != (wanted.fourcc(), wanted.size(), wanted.modifier())
        {
            return Err(Misfit::Picture {
                found: found.fourcc(),
                found_size: found.size(),
                found_modifier: found.modifier(),
                wanted: wanted.fourcc(),
                wanted_size: wanted.size(),
                wanted_modifier: wanted.modifier(),
            });
        }
        let (found, wanted) = (found.planes(), wanted.planes());
        if found.len() != wanted.len() {
            return Err(Misfit::PlaneCount {
                found: found.len(),
                wanted: wanted.len(),
            });
        }
        let mut planes = found.iter().zip(wanted).enumerate();
        if let Some((plane, (found, wanted))) = planes.find(|(_, (found, wanted))| found != wanted) {
            return Err(Misfit::Plane {
                plane,
                found: *found,
                wanted: *wanted,
            });
        }
        let mut lengths = objects.iter().map(|object| object.size()).zip(sizes).enumerate();
        match lengths.find(|(_, (found, needed))| found < *needed) {
            Some((object, (found, needed))) => Err(Misfit::TooSmall {
                object,
                found,
                needed: *needed,
            }),
            None => Ok(()),
        }
    }
}
