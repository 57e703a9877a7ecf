//! Export of dumb buffers. No `unsafe` here: see [`Fresh`].

use std::io;

use drm::control::Device;
use drm::control::dumbbuffer::DumbBuffer;

use super::Fresh;

/// `DRM_RDWR | DRM_CLOEXEC`, which are the open flags.
fn flags() -> u32 {
    (rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC).bits()
}

/// The buffer as a dma-buf. Its handle is destroyed in either case: the dma-buf keeps the memory.
pub(crate) fn export(card: &impl Device, buffer: DumbBuffer) -> io::Result<Fresh> {
    let handle = drm::buffer::Buffer::handle(&buffer);
    let fd = card.buffer_to_prime_fd(handle, flags());
    // Nothing is left to be done about a refusal: the card closes its handles with its descriptor.
    let _ = card.destroy_dumb_buffer(buffer);
    fd.map(Fresh)
}
