//! What conversion has to give, in floating point and pixel by pixel.

use dmaframe_core::{ColorInfo, Orientation, Range, Rect, Rotation, Size};

use crate::pack::{Picture, Store};

/// An upright, cropped picture of whatever a pixel is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grid<T> {
    pub(crate) size: Size,
    pub(crate) pixels: Vec<T>,
}

impl<T: Clone> Grid<T> {
    pub(crate) fn new(size: Size, f: impl Fn(u32, u32) -> T) -> Self {
        let pixels = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y)));
        Self {
            size,
            pixels: pixels.map(|(x, y)| f(x, y)).collect(),
        }
    }

    pub(crate) fn at(&self, x: u32, y: u32) -> T {
        self.pixels[(y * self.size.width + x) as usize].clone()
    }

    pub(crate) fn crop(&self, rect: Rect) -> Self {
        Self::new(Size::new(rect.width, rect.height), |x, y| {
            self.at(rect.x + x, rect.y + y)
        })
    }

    fn mirrored(&self) -> Self {
        Self::new(self.size, |x, y| self.at(self.size.width - 1 - x, y))
    }

    /// A quarter turn clockwise: the lower left pixel becomes the upper left one.
    fn turned(&self) -> Self {
        let (w, h) = (self.size.width, self.size.height);
        Self::new(Size::new(h, w), |x, y| self.at(y, h - 1 - x))
    }

    /// First mirrored, then turned, as `Orientation` says.
    pub(crate) fn upright(&self, orientation: Orientation) -> Self {
        let mut grid = if orientation.mirror {
            self.mirrored()
        } else {
            self.clone()
        };
        let turns = match orientation.rotation {
            Rotation::R0 => 0,
            Rotation::R90 => 1,
            Rotation::R180 => 2,
            Rotation::R270 => 3,
        };
        for _ in 0..turns {
            grid = grid.turned();
        }
        grid
    }
}

fn kr_kb(matrix: u8) -> (f64, f64) {
    match matrix {
        1 => (0.2126, 0.0722),
        4 => (0.30, 0.11),
        5 | 6 => (0.299, 0.114),
        7 => (0.212, 0.087),
        9 => (0.2627, 0.0593),
        other => panic!("matrix {other}"),
    }
}

/// Luma 0..=1 and chroma -0.5..=0.5 of code values of `max`.
fn level(value: u32, max: u32, chroma: bool, range: Range) -> f64 {
    let scale = f64::from(max + 1) / 256.0;
    let value = f64::from(value);
    match (chroma, range == Range::Full) {
        (false, true) => value / f64::from(max),
        (true, true) => (value - 128.0 * scale) / f64::from(max),
        (false, false) => (value - 16.0 * scale) / (219.0 * scale),
        (true, false) => (value - 128.0 * scale) / (224.0 * scale),
    }
}

/// 0..=255, not rounded, of one pixel.
pub(crate) fn rgba(picture: &Picture, color: ColorInfo, x: u32, y: u32) -> [f64; 4] {
    let unorm = |name| {
        picture
            .at(name, x, y)
            .map(|(v, max)| f64::from(v) * 255.0 / f64::from(max))
    };
    let eight = |v: f64| (v * 255.0).clamp(0.0, 255.0);
    match picture.store {
        Store::Bayer(first, ..) => {
            let [r, g, b] = bayer(picture, first, x, y);
            return [r, g, b, 255.0];
        }
        Store::HalfFloat(alpha) => {
            let part = |name| f64::from(picture.at(name, x, y).expect("rgba").0) * 255.0 / 1024.0;
            return [
                part('r'),
                part('g'),
                part('b'),
                if alpha { part('a') } else { 255.0 },
            ];
        }
        _ => {}
    }
    let Some((luma, max)) = picture.at('y', x, y) else {
        return ['r', 'g', 'b']
            .map(|c| unorm(c).unwrap_or(0.0))
            .into_iter()
            .chain([unorm('a').unwrap_or(255.0)])
            .collect::<Vec<_>>()
            .try_into()
            .expect("four");
    };
    let luma = level(luma, max, false, color.range);
    let Some((u, _)) = picture.at('u', x, y) else {
        return [eight(luma), eight(luma), eight(luma), 255.0];
    };
    let v = picture.at('v', x, y).expect("v").0;
    let (u, v) = (level(u, max, true, color.range), level(v, max, true, color.range));
    let (kr, kb) = kr_kb(color.matrix);
    let r = luma + 2.0 * (1.0 - kr) * v;
    let b = luma + 2.0 * (1.0 - kb) * u;
    let g = (luma - kr * r - kb * b) / (1.0 - kr - kb);
    [eight(r), eight(g), eight(b), unorm('a').unwrap_or(255.0)]
}

/// Mean of the nearest samples of each colour; outside the picture, those of the mirrored picture.
fn bayer(picture: &Picture, first: &'static str, x: u32, y: u32) -> [f64; 3] {
    let (w, h) = (i64::from(picture.size.width), i64::from(picture.size.height));
    let fold = |i: i64, n: i64| {
        let i = if i < 0 { -i } else { i };
        (if i >= n { 2 * (n - 1) - i } else { i }).clamp(0, n - 1) as u32
    };
    // What stands at a place is told by parity, as a mirrored sample has its own place's colour.
    let colour = |x: i64, y: i64| {
        let at = (y.rem_euclid(2) * 2 + x.rem_euclid(2)) as usize;
        first.as_bytes()[at] as char
    };
    let value = |x: i64, y: i64| {
        let (v, max) = picture.at('m', fold(x, w), fold(y, h)).expect("mosaic");
        f64::from(v) * 255.0 / f64::from(max)
    };
    let (x, y) = (i64::from(x), i64::from(y));
    ['R', 'G', 'B'].map(|wanted| {
        if colour(x, y) == wanted {
            return value(x, y);
        }
        let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy)));
        let mut near: Vec<_> = around
            .filter(|(dx, dy)| colour(x + dx, y + dy) == wanted)
            .collect();
        // Green at the corners of a green pixel's neighbours never counts: only the closest do.
        let closest = near.iter().map(|(dx, dy)| dx * dx + dy * dy).min().unwrap_or(0);
        near.retain(|(dx, dy)| dx * dx + dy * dy == closest);
        near.iter().map(|(dx, dy)| value(x + dx, y + dy)).sum::<f64>() / near.len() as f64
    })
}

/// A YUV picture's samples as 8 bits: nearest chroma.
pub(crate) fn yuv8(picture: &Picture, range: Range, x: u32, y: u32) -> [f64; 3] {
    ['y', 'u', 'v'].map(|name| {
        let Some((value, max)) = picture.at(name, x, y) else {
            return 128.0;
        };
        let level = level(value, max, name != 'y', range);
        let code = match (name == 'y', range == Range::Full) {
            (true, true) => level * 255.0,
            (false, true) => level * 255.0 + 128.0,
            (true, false) => level * 219.0 + 16.0,
            (false, false) => level * 224.0 + 128.0,
        };
        // Halves stay halves.
        (code.min(255.0) * 1e6).round() / 1e6
    })
}

/// RGB (0..=255) to YUV code values of 8 bits.
pub(crate) fn encode(rgb: [f64; 3], color: ColorInfo) -> [f64; 3] {
    let [r, g, b] = rgb.map(|c| c / 255.0);
    let (kr, kb) = kr_kb(color.matrix);
    let y = kr * r + (1.0 - kr - kb) * g + kb * b;
    let (u, v) = ((b - y) / (2.0 * (1.0 - kb)), (r - y) / (2.0 * (1.0 - kr)));
    if color.range == Range::Full {
        [y * 255.0, u * 255.0 + 128.0, v * 255.0 + 128.0]
    } else {
        [y * 219.0 + 16.0, u * 224.0 + 128.0, v * 224.0 + 128.0]
    }
}

/// 4:2:0 of an upright picture: luma, then the mean chroma of each 2x2 block's pixels that exist.
pub(crate) fn halve(grid: &Grid<[f64; 3]>) -> (Grid<f64>, Grid<[f64; 2]>) {
    let size = grid.size;
    let luma = Grid::new(size, |x, y| grid.at(x, y)[0]);
    let half = Size::new(size.width.div_ceil(2), size.height.div_ceil(2));
    let chroma = Grid::new(half, |x, y| {
        let block = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| (2 * x + dx, 2 * y + dy));
        let there: Vec<_> = block
            .into_iter()
            .filter(|(x, y)| *x < size.width && *y < size.height)
            .collect();
        [1, 2].map(|c| there.iter().map(|(x, y)| grid.at(*x, *y)[c]).sum::<f64>() / there.len() as f64)
    });
    (luma, chroma)
}
