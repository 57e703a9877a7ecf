//! Copying a picture with several threads: one core copies at a quarter of what memory and bus can take.

use std::sync::{Mutex, OnceLock, PoisonError};

use arrayvec::ArrayVec;
use dmaframe_core::{Error, ReadView};

use crate::sys::crew::Crew;

/// On a server of 16 cores, in GB/s: one 12, two 18, four 34, eight 45 to 58. More than half of a machine's cores are not
/// taken.
const MOST: usize = 8;
/// What one thread copies at a time, at least: less is not worth asking for.
const PIECE: usize = 128 * 1024;
/// Pieces of a picture, at most, so that they are listed without an allocation.
const PIECES: usize = 64;

/// The picture without padding into `to`, plane after plane, as [`ReadView::copy_tight`] does.
///
/// Allocates nothing once the threads are there. They are made for the first large picture, and sleep between frames.
pub(crate) fn copy_tight(view: &ReadView<'_>, to: &mut [u8]) -> Result<(), Error> {
    let needed = usize::try_from(view.layout().tight_len()).unwrap_or(usize::MAX);
    match crew().filter(|_| needed >= 8 * PIECE && to.len() >= needed) {
        Some(crew) => copy_with(crew, view, to),
        None => view.copy_tight(to),
    }
}

/// Rows of a plane, and where they go.
struct Piece<'a> {
    plane: usize,
    first: u32,
    to: &'a mut [u8],
}

/// `to` has room.
fn copy_with(crew: &Crew, view: &ReadView<'_>, to: &mut [u8]) -> Result<(), Error> {
    let layout = view.layout();
    let planes = layout.planes().len();
    // Each plane may have one piece that is not full.
    let len = (to.len().div_ceil(PIECES - planes)).max(PIECE);
    let mut pieces = ArrayVec::<Mutex<Piece<'_>>, PIECES>::new();
    let mut rest = to;
    for plane in 0..planes {
        let row = layout.row_bytes(plane);
        let (mine, others) = rest.split_at_mut(row * layout.rows(plane) as usize);
        rest = others;
        let rows = len.div_ceil(row.max(1));
        // A picture's rows are counted in 32 bits.
        for (first, to) in (0u32..).step_by(rows).zip(mine.chunks_mut((rows * row).max(1))) {
            pieces.push(Mutex::new(Piece { plane, first, to }));
        }
    }
    let failed = OnceLock::new();
    crew.work(pieces.len(), &|index| {
        let mut piece = pieces[index].lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = copy_rows(view, &mut piece) {
            let _ = failed.set(error);
        }
    });
    failed.into_inner().map_or(Ok(()), Err)
}

fn copy_rows(view: &ReadView<'_>, piece: &mut Piece<'_>) -> Result<(), Error> {
    let row = view.layout().row_bytes(piece.plane).max(1);
    // A picture's rows are counted in 32 bits.
    let rows = piece.first..piece.first + (piece.to.len() / row) as u32;
    view.copy_rows(piece.plane, rows, piece.to).map(drop)
}

/// One for the process, and none where half the cores are one, or no threads can be had.
fn crew() -> Option<&'static Crew> {
    static CREW: OnceLock<Option<Crew>> = OnceLock::new();
    CREW.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // The caller is one of them.
        let helpers = (cores / 2).min(MOST).saturating_sub(1);
        Crew::new(helpers, "dmaframe-copy")
    })
    .as_ref()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use dmaframe_core::{Fourcc, Frame, FrameMeta, Layout, Size};

    #[test]
    fn several_threads_copy_what_one_copies() {
        let crew = Crew::new(2, "test").unwrap();
        for (fourcc, size) in [
            (Fourcc::NV12, Size::new(1001, 1003)),
            (Fourcc::YUV422, Size::new(1920, 1080)),
            (Fourcc::XRGB8888, Size::new(7, 100_003)),
            (Fourcc::R8, Size::new(3_000_000, 1)),
        ] {
            let layout = Layout::linear(fourcc, size, 64).unwrap();
            let len = usize::try_from(layout.object_len(0)).unwrap();
            let bytes: Vec<u8> = (0..len).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
            let frame = Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap();
            let view = frame.map_read(Duration::ZERO).unwrap();
            let mut one = vec![0; usize::try_from(layout.tight_len()).unwrap()];
            let mut several = vec![0xee; one.len() + 9];
            view.copy_tight(&mut one).unwrap();
            copy_with(&crew, &view, &mut several).unwrap();
            assert!(several[..one.len()] == one[..], "{fourcc} {size}");
            assert_eq!(several[one.len()..], [0xee; 9], "not beyond the picture");
        }
    }
}
