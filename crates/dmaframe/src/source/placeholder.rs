//! What is shown while there is no camera.

use std::time::{Duration, Instant};

use dmaframe_alloc::{Chain, FramePool, Request};
use dmaframe_core::{
    Clock, ColorInfo, Fourcc, Frame, FrameMeta, Orientation, Rect, Rotation, Size, Timestamp, WriteView,
};

use super::Wish;
use super::{glyphs, synthetic};

/// Marks a picture that no camera took, in its [`extensions`](dmaframe_core::FrameMeta::extensions).
///
/// A still picture that says "NO CAMERA", in the format, size and orientation of the last real one (NV12 where nothing here
/// writes that format) and at the rate asked for, in a pool's memory: so that a virtual camera or a recording goes on while
/// somebody looks for the plug. It has a time, by the clock of the last real picture, and no sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placeholder;

/// The pictures, made when the first is wanted.
#[derive(Debug)]
pub(super) struct Still {
    wanted: bool,
    fourcc: Fourcc,
    size: Size,
    visible: Option<Rect>,
    orientation: Orientation,
    color: ColorInfo,
    clock: Clock,
    period: Duration,
    due: Option<Instant>,
    pool: Option<FramePool>,
}

impl Still {
    pub(super) fn new(wish: &Wish) -> Self {
        Self {
            wanted: wish.placeholder,
            fourcc: Fourcc::NV12,
            size: wish.size,
            visible: None,
            orientation: Orientation::IDENTITY,
            color: ColorInfo::BT709,
            clock: Clock::Monotonic,
            period: synthetic::period(wish),
            due: None,
            pool: None,
        }
    }

    /// What real pictures are like.
    pub(super) fn like(&mut self, frame: &Frame) {
        if !self.wanted {
            return;
        }
        // Of the coded size too: encoders and virtual cameras go by it.
        self.size = frame.layout().size();
        self.visible = frame.meta().visible;
        // Who turns pictures upright would have one of another size.
        self.orientation = frame.meta().orientation;
        (self.fourcc, self.color) = match pixel(frame.fourcc(), 0) {
            Some(_) => (frame.fourcc(), frame.meta().color),
            None => (Fourcc::NV12, ColorInfo::BT709),
        };
        if let Some(time) = frame.meta().timestamp {
            self.clock = time.clock;
        }
        self.due = None;
    }

    /// The next one when its time comes within `limit`; otherwise sleeps that long. Also when there is no memory for one,
    /// or consumers hold all.
    pub(super) fn next(&mut self, limit: Duration) -> Option<Frame> {
        let now = Instant::now();
        let due = *self.due.get_or_insert(now);
        let wait = due.saturating_duration_since(now);
        if wait > limit {
            std::thread::sleep(limit);
            return None;
        }
        std::thread::sleep(wait);
        let now = Instant::now();
        self.due = Some(due.max(now.checked_sub(self.period).unwrap_or(now)) + self.period);
        self.frame()
    }

    fn frame(&mut self) -> Option<Frame> {
        let request = || Request::new(self.fourcc, self.size);
        let outdated = self
            .pool
            .as_ref()
            .is_some_and(|pool| (pool.layout().fourcc(), pool.layout().size()) != (self.fourcc, self.size));
        if outdated {
            self.pool = None;
        }
        let pool = match &mut self.pool {
            Some(pool) => pool,
            empty => {
                let builder = FramePool::builder(request())
                    .slots(4)
                    .allocator(Chain::standard());
                empty.insert(builder.build().ok()?)
            }
        };
        let mut frame = pool.try_acquire().ok()?;
        let mut meta = FrameMeta::default();
        meta.timestamp = Some(Timestamp::now(self.clock));
        meta.color = self.color;
        meta.visible = self.visible;
        meta.orientation = self.orientation;
        meta.extensions.insert(Placeholder);
        *frame.meta_mut().ok()? = meta;
        // Anew each time: who had the slot last may have drawn on it.
        let mut view = frame.map_write(Duration::from_secs(1)).ok()?;
        draw(&mut view, self.size, self.orientation).ok()?;
        drop(view);
        Some(frame)
    }
}

/// A pixel of this grey in a format's first plane; the others are without colour. `None` for formats that nothing here can
/// write, for which NV12 is shown.
fn pixel(fourcc: Fourcc, grey: u8) -> Option<Vec<u8>> {
    Some(match fourcc {
        Fourcc::NV12 | Fourcc::NV21 | Fourcc::NV16 | Fourcc::NV61 | Fourcc::NV24 | Fourcc::NV42 => vec![grey],
        Fourcc::YUV420 | Fourcc::YVU420 | Fourcc::YUV422 | Fourcc::YUV444 | Fourcc::R8 => vec![grey],
        Fourcc::YUYV | Fourcc::YVYU => vec![grey, 128],
        Fourcc::UYVY | Fourcc::VYUY => vec![128, grey],
        Fourcc::RGB888 | Fourcc::BGR888 => vec![grey; 3],
        Fourcc::XRGB8888 | Fourcc::XBGR8888 | Fourcc::ARGB8888 | Fourcc::ABGR8888 => {
            vec![grey, grey, grey, 255]
        }
        _ => return None,
    })
}

/// The letters' cells as the picture has them before it is turned upright.
#[derive(Clone, Copy)]
struct Cells {
    orientation: Orientation,
    columns: u32,
    rows: u32,
}

impl Cells {
    fn new(orientation: Orientation) -> Self {
        let (columns, rows) = match orientation.swaps_axes() {
            true => (glyphs::ROWS, glyphs::COLUMNS),
            false => (glyphs::COLUMNS, glyphs::ROWS),
        };
        Self {
            orientation,
            columns,
            rows,
        }
    }

    fn covers(self, column: u32, row: u32) -> bool {
        if column >= self.columns || row >= self.rows {
            return false;
        }
        let (last_column, last_row) = (self.columns - 1, self.rows - 1);
        // As who shows it does: mirrored, then turned.
        let column = match self.orientation.mirror {
            true => last_column - column,
            false => column,
        };
        let (column, row) = match self.orientation.rotation {
            Rotation::R0 => (column, row),
            Rotation::R90 => (last_row - row, column),
            Rotation::R180 => (last_column - column, last_row - row),
            Rotation::R270 => (row, last_column - column),
        };
        glyphs::covers(column, row)
    }
}

/// Light letters in the middle of a dark grey picture, upright when it is turned as its metadata say.
fn draw(view: &mut WriteView<'_>, size: Size, orientation: Orientation) -> Result<(), dmaframe_core::Error> {
    let fourcc = view.layout().fourcc();
    let (Some(dark), Some(light)) = (pixel(fourcc, 40), pixel(fourcc, 180)) else {
        return Ok(());
    };
    let cells = Cells::new(orientation);
    let along = match orientation.swaps_axes() {
        true => size.height,
        false => size.width,
    };
    // A margin of three columns on each side.
    let scale = (along / (glyphs::COLUMNS + 6)).max(1);
    let (left, top) = (
        size.width.saturating_sub(cells.columns * scale) / 2,
        size.height.saturating_sub(cells.rows * scale) / 2,
    );
    // Rows of formats whose pixels come in pairs are a pair longer than an odd width.
    let wide = u32::try_from(view.layout().row_bytes(0) / dark.len()).unwrap_or(size.width);
    let line = |row: Option<u32>| -> Vec<u8> {
        let lit = |x: u32| {
            let column = x.checked_sub(left).map(|x| x / scale);
            row.zip(column)
                .is_some_and(|(row, column)| cells.covers(column, row))
        };
        (0..wide)
            .flat_map(|x| if lit(x) { &light } else { &dark })
            .copied()
            .collect()
    };
    let lines: Vec<_> = (0..cells.rows).map(|row| line(Some(row))).collect();
    let blank = line(None);
    for y in 0..view.layout().rows(0) {
        let row = y.checked_sub(top).and_then(|y| lines.get((y / scale) as usize));
        view.write_row(0, y, row.unwrap_or(&blank))?;
    }
    for plane in 1..view.layout().planes().len() {
        let grey = vec![128; view.layout().row_bytes(plane)];
        for y in 0..view.layout().rows(plane) {
            view.write_row(plane, y, &grey)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmaframe_core::convert::{Assume, Converter};
    use dmaframe_core::{FrameMeta, Layout};

    #[test]
    fn it_is_in_the_cameras_own_format_wherever_that_can_be_written() {
        let mut pictures = Vec::new();
        for fourcc in [
            Fourcc::NV12,
            Fourcc::YUYV,
            Fourcc::UYVY,
            Fourcc::YUV422,
            Fourcc::XRGB8888,
            Fourcc::R8,
        ] {
            let layout = Layout::tight(fourcc, Size::new(121, 31)).unwrap();
            let bytes = vec![0; usize::try_from(layout.object_len(0)).unwrap()];
            let real = Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap();
            let mut still = Still::new(&Wish::default().placeholder(true));
            still.like(&real);
            let frame = still.next(Duration::from_secs(1)).unwrap();
            assert_eq!(
                (frame.fourcc(), frame.layout().size()),
                (fourcc, Size::new(121, 31))
            );
            assert!(frame.meta().extensions.get::<Placeholder>().is_some());
            let (rgba, _) = Converter::new(Assume::Auto)
                .rgba_image(&frame, Duration::from_secs(1))
                .unwrap();
            let lit: Vec<bool> = rgba.chunks(4).map(|pixel| pixel[0] > 100).collect();
            assert!(
                rgba.chunks(4)
                    .all(|p| p[0].abs_diff(p[1]) < 4 && p[1].abs_diff(p[2]) < 4 && p[3] == 255)
            );
            pictures.push(lit);
        }
        assert!(pictures[0].iter().filter(|lit| **lit).count() > 100);
        assert!(
            pictures.iter().all(|lit| *lit == pictures[0]),
            "the same letters in each"
        );

        let layout = Layout::tight(Fourcc::P010, Size::new(64, 32)).unwrap();
        let bytes = vec![0; usize::try_from(layout.object_len(0)).unwrap()];
        let real = Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap();
        let mut still = Still::new(&Wish::default().placeholder(true));
        still.like(&real);
        assert_eq!(still.next(Duration::from_secs(1)).unwrap().fourcc(), Fourcc::NV12);
    }

    #[test]
    fn it_has_the_orientation_of_the_last_picture_and_is_upright_when_it_is_turned() {
        let still = |orientation: Orientation| {
            let size = match orientation.swaps_axes() {
                true => Size::new(30, 120),
                false => Size::new(120, 30),
            };
            let layout = Layout::tight(Fourcc::R8, size).unwrap();
            let bytes = vec![0; usize::try_from(layout.object_len(0)).unwrap()];
            let mut meta = FrameMeta::default();
            meta.orientation = orientation;
            let real = Frame::from_bytes(bytes, &layout, meta).unwrap();
            let mut still = Still::new(&Wish::default().placeholder(true));
            still.like(&real);
            let frame = still.next(Duration::from_secs(1)).unwrap();
            assert_eq!(
                (frame.layout().size(), frame.meta().orientation),
                (size, orientation)
            );
            let bytes = frame
                .map_read(Duration::from_secs(1))
                .unwrap()
                .to_tight()
                .unwrap();
            let rows = bytes.chunks(size.width as usize).map(<[u8]>::to_vec);
            rows.collect::<Vec<_>>()
        };
        let upright = still(Orientation::IDENTITY);
        assert!(upright.iter().flatten().filter(|grey| **grey > 100).count() > 100);
        for orientation in Orientation::all() {
            let mut rows = still(orientation);
            if orientation.mirror {
                rows.iter_mut().for_each(|row| row.reverse());
            }
            for _ in 0..orientation.rotation.degrees() / 90 {
                // Clockwise: the left column, from below, is the first row.
                let columns = 0..rows[0].len();
                rows = columns
                    .map(|x| rows.iter().rev().map(|row| row[x]).collect())
                    .collect();
            }
            assert!(rows == upright, "{orientation:?}");
        }
    }
}
