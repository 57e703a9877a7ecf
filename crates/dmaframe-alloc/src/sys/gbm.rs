//! Export of GBM buffer objects. No `unsafe` here: see [`Fresh`].

use gbm::BufferObject;

use super::Fresh;

/// One descriptor per plane. The buffer object is destroyed: the dma-bufs keep the memory.
///
/// `None` when the driver will not export.
pub(crate) fn export(object: BufferObject<()>) -> Option<Vec<Fresh>> {
    let planes = i32::try_from(object.plane_count()).ok()?.max(1);
    let fds = (0..planes).map(|plane| match object.fd_for_plane(plane) {
        Ok(fd) => Some(Fresh(fd)),
        // Backends without the per-plane call keep all planes in one object.
        Err(_) => object.fd().ok().map(Fresh),
    });
    fds.collect()
}
