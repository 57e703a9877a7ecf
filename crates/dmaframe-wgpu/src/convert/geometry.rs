//! From target pixels to source pixels.

use dmaframe_core::{ChromaSiting, Orientation, Rect, Rotation, Size};

use super::kind::Kind;
use super::params::Params;
use super::shader::Sampling;
use super::{ChromaFilter, Filter};

/// Most source pixels along an axis that one target pixel looks at. A larger footprint is looked at in steps, so that
/// no size of a picture keeps a GPU busy for long: aliasing from 64 places is far below a code value.
const MOST_TAPS: f32 = 64.0;

/// Where a picture goes in its target, in the target's pixels; fractions place it between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl Area {
    /// All of a target of this size.
    #[must_use]
    pub fn full(size: Size) -> Self {
        Self {
            x: 0.0,
            y: 0.0,
            width: size.width as f32,
            height: size.height as f32,
        }
    }

    /// As large as a picture of `size` can be within a target, in proportion and in the middle, on whole pixels.
    #[must_use]
    pub fn fitting(size: Size, within: Size) -> Self {
        let (width, height) = (size.width.max(1) as f32, size.height.max(1) as f32);
        let all = Self::full(within);
        let scale = (all.width / width).min(all.height / height);
        let width = (width * scale).round().clamp(1.0, all.width.max(1.0));
        let height = (height * scale).round().clamp(1.0, all.height.max(1.0));
        Self {
            x: ((all.width - width) / 2.0).floor().max(0.0),
            y: ((all.height - height) / 2.0).floor().max(0.0),
            width,
            height,
        }
    }

    /// The part that lies in the largest target there can be, `limit` columns and rows: GPUs take no larger viewports. `None`
    /// where there is no such part, and nothing to draw.
    pub(crate) fn within(&self, limit: u32) -> Option<Self> {
        let limit = limit as f32;
        let (left, top) = (self.x.clamp(0.0, limit), self.y.clamp(0.0, limit));
        let right = (self.x + self.width).clamp(0.0, limit);
        let bottom = (self.y + self.height).clamp(0.0, limit);
        let part = Self {
            x: left,
            y: top,
            width: right - left,
            height: bottom - top,
        };
        (part.width > 0.0 && part.height > 0.0).then_some(part)
    }

    pub(crate) fn is_sane(&self) -> bool {
        let all = [self.x, self.y, self.width, self.height];
        all.iter().all(|v| v.is_finite() && v.abs() <= 65536.0) && self.width > 0.0 && self.height > 0.0
    }
}

/// Size of `crop` turned upright.
pub(crate) fn upright(crop: Rect, orientation: Orientation) -> Size {
    if orientation.swaps_axes() {
        Size::new(crop.height, crop.width)
    } else {
        Size::new(crop.width, crop.height)
    }
}

/// Fills in what places `crop` of a picture of `coded` size, turned, into `area`, and says how it is sampled.
pub(crate) fn place(
    params: &mut Params,
    (coded, crop): (Size, Rect),
    orientation: Orientation,
    area: Area,
    filter: Filter,
) -> Sampling {
    let (w, h) = (crop.width as i32, crop.height as i32);
    let (x0, y0) = (crop.x as i32, crop.y as i32);
    // Upright (i, j) to the picture before the turn: x, y as (per i, per j, constant), constants for pixels; edges
    // have one more where a coefficient is negative.
    let (mut x, y) = match orientation.rotation {
        Rotation::R0 => ([1, 0, 0], [0, 1, 0]),
        Rotation::R90 => ([0, 1, 0], [-1, 0, h - 1]),
        Rotation::R180 => ([-1, 0, w - 1], [0, -1, h - 1]),
        Rotation::R270 => ([0, -1, w - 1], [1, 0, 0]),
    };
    if orientation.mirror {
        x = [-x[0], -x[1], w - 1 - x[2]];
    }
    params.steps = [x[0], y[0], x[1], y[1]];
    params.base = [x[2] + x0, y[2] + y0];
    params.extent = [area.width.ceil() as i32, area.height.ceil() as i32];
    params.window = [x0, y0, x0 + w - 1, y0 + h - 1];
    params.last = [coded.width as i32 - 1, coded.height as i32 - 1];
    params.origin = [area.x, area.y];

    let size = upright(crop, orientation);
    let ratio = [size.width as f32 / area.width, size.height as f32 / area.height];
    let steps = params.steps.map(|s| s as f32);
    params.scale = [
        steps[0] * ratio[0],
        steps[1] * ratio[0],
        steps[2] * ratio[1],
        steps[3] * ratio[1],
    ];
    let reversed = |axis: [i32; 3]| i32::from(axis[0] + axis[1] < 0);
    params.shift = [
        (params.base[0] + reversed(x)) as f32,
        (params.base[1] + reversed(y)) as f32,
    ];
    // Along the source's axes.
    let along = |axis: [i32; 3]| if axis[0] == 0 { ratio[1] } else { ratio[0] };
    let radius = [along(x).max(1.0), along(y).max(1.0)];
    params.radius = radius;
    params.stride = radius.map(|r| ((2.0 * r / MOST_TAPS).ceil() as i32).max(1));

    let whole = |v: f32| v.fract() == 0.0;
    let same = size.width as f32 == area.width && size.height as f32 == area.height;
    if same && whole(area.x) && whole(area.y) {
        return Sampling::Direct;
    }
    match filter {
        Filter::Nearest => Sampling::Nearest,
        Filter::Smooth => Sampling::Smooth,
    }
}

/// Fills in where chroma samples lie.
pub(crate) fn site(params: &mut Params, kind: Kind, siting: ChromaSiting, filter: ChromaFilter) {
    let (sx, sy) = kind.sub();
    let [left, top, right, bottom] = params.window;
    params.chroma_window = [left >> sx, top >> sy, right >> sx, bottom >> sy];
    if filter == ChromaFilter::Nearest {
        return;
    }
    // How far before luma's first sample chroma's would be counted from, in chroma samples.
    const FIRST: f32 = 0.0;
    const BETWEEN: f32 = -0.25;
    const LAST: f32 = -0.5;
    let (columns, rows) = match siting {
        ChromaSiting::Center => (BETWEEN, BETWEEN),
        ChromaSiting::TopLeft => (FIRST, FIRST),
        ChromaSiting::Top => (BETWEEN, FIRST),
        ChromaSiting::BottomLeft => (FIRST, LAST),
        ChromaSiting::Bottom => (BETWEEN, LAST),
        // H.273: type 0 unless said otherwise.
        _ => (FIRST, BETWEEN),
    };
    params.siting = [
        if sx == 1 { columns } else { 0.0 },
        if sy == 1 { rows } else { 0.0 },
    ];
}

/// Whether rows can be converted in pairs that share their chroma, and if so fills in where pairs begin.
pub(crate) fn pair_rows(params: &mut Params, kind: Kind, sampling: Sampling, chroma: ChromaFilter) -> bool {
    let shares = kind.is_yuv() && kind.sub().1 == 1 && chroma == ChromaFilter::Nearest;
    let [xi, _, _, yj] = params.steps;
    if !shares || sampling != Sampling::Direct || xi == 0 {
        return false;
    }
    // A pair is rows 2k and 2k + 1 of the source, in whichever order.
    let first_is_odd = params.base[1] & 1 == 1;
    params.pair = [0, i32::from(first_is_odd == (yj > 0))];
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_beyond_the_largest_target_is_drawn_as_far_as_it_lies_in_it() {
        let area = |x, y, width, height| Area { x, y, width, height };
        let inside = area(3.5, 0.0, 100.25, 2048.0);
        assert_eq!(inside.within(2048), Some(inside));
        assert_eq!(
            area(-1000.0, 48.0, 5000.0, 4000.0).within(2048),
            Some(area(0.0, 48.0, 2048.0, 2000.0))
        );
        for gone in [area(-50.0, 0.0, 50.0, 10.0), area(0.0, 2048.0, 10.0, 10.0)] {
            assert_eq!(gone.within(2048), None);
        }
    }

    #[test]
    fn one_to_one_is_direct_and_anything_else_filtered() {
        let (coded, crop) = (
            Size::new(8, 6),
            Rect {
                x: 1,
                y: 2,
                width: 4,
                height: 3,
            },
        );
        let mut params = Params::default();
        for orientation in Orientation::all() {
            let size = upright(crop, orientation);
            let mut area = Area::full(size);
            let mut sampled = |area| place(&mut params, (coded, crop), orientation, area, Filter::Smooth);
            assert_eq!(sampled(area), Sampling::Direct);
            area.x = 0.5;
            assert_eq!(sampled(area), Sampling::Smooth);
            area.x = 0.0;
            area.width += 1.0;
            assert_eq!(sampled(area), Sampling::Smooth);
        }
    }

    #[test]
    fn every_turn_takes_each_pixel_of_the_crop_once() {
        let (coded, crop) = (
            Size::new(9, 9),
            Rect {
                x: 2,
                y: 3,
                width: 4,
                height: 3,
            },
        );
        for orientation in Orientation::all() {
            let size = upright(crop, orientation);
            let mut params = Params::default();
            place(
                &mut params,
                (coded, crop),
                orientation,
                Area::full(size),
                Filter::Nearest,
            );
            let mut seen = std::collections::BTreeSet::new();
            for (i, j) in (0..size.height as i32).flat_map(|j| (0..size.width as i32).map(move |i| (i, j))) {
                let s = params.steps;
                let at = [
                    s[0] * i + s[2] * j + params.base[0],
                    s[1] * i + s[3] * j + params.base[1],
                ];
                assert!(
                    at[0] >= params.window[0] && at[0] <= params.window[2],
                    "{orientation:?}"
                );
                assert!(
                    at[1] >= params.window[1] && at[1] <= params.window[3],
                    "{orientation:?}"
                );
                seen.insert(at);
                // The scaled way leads to the same pixel.
                let p = [i as f32 + 0.5, j as f32 + 0.5];
                let point = [0, 1].map(|k| {
                    (params.scale[k] * p[0] + params.scale[2 + k] * p[1] + params.shift[k]).floor() as i32
                });
                assert_eq!(point, at, "{orientation:?}");
            }
            assert_eq!(seen.len(), 12);
        }
    }
}
