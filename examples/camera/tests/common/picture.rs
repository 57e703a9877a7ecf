//! Pictures as a screen shows them, to be compared.

/// RGB, three bytes a pixel.
#[derive(Clone)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) rgb: Vec<u8>,
}

impl Picture {
    /// Pixel by pixel of another.
    pub(super) fn made(width: usize, height: usize, pixel: impl Fn(usize, usize) -> [u8; 3]) -> Self {
        let at = |i: usize| pixel(i % width, i / width);
        let rgb = (0..width * height).flat_map(at).collect();
        Self { width, height, rgb }
    }

    pub(crate) fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    pub(crate) fn mirrored(&self) -> Self {
        Self::made(self.width, self.height, |x, y| self.pixel(self.width - 1 - x, y))
    }

    /// A quarter clockwise.
    pub(crate) fn turned(&self) -> Self {
        Self::made(self.height, self.width, |x, y| self.pixel(y, self.height - 1 - x))
    }

    /// In the middle of black.
    pub(crate) fn within(&self, (width, height): (usize, usize)) -> Self {
        let (left, top) = ((width - self.width) / 2, (height - self.height) / 2);
        Self::made(width, height, |x, y| {
            let inside = (left..left + self.width).contains(&x) && (top..top + self.height).contains(&y);
            if inside {
                self.pixel(x - left, y - top)
            } else {
                [0; 3]
            }
        })
    }

    /// The largest difference; 255 where the sizes differ.
    pub(crate) fn worst(&self, other: &Self) -> u8 {
        if (self.width, self.height) != (other.width, other.height) {
            return 255;
        }
        let each = self.rgb.iter().zip(&other.rgb).map(|(a, b)| a.abs_diff(*b));
        each.max().unwrap_or(0)
    }

    /// Where a camera's picture is, whatever is beside it.
    pub(crate) fn is_black(&self) -> bool {
        let middle = self.pixel(self.width / 2, self.height / 3);
        middle.iter().all(|value| *value <= 2)
    }

    pub(crate) fn is_grey(&self) -> bool {
        let same = |p: &[u8]| p[0].abs_diff(p[1]).max(p[1].abs_diff(p[2])) <= 2;
        self.rgb.chunks(3).all(same)
    }

    /// Where they differ, in words.
    pub(crate) fn sketch(&self, other: &Self) -> String {
        let (size, wanted) = ((self.width, self.height), (other.width, other.height));
        if size != wanted {
            return format!("{size:?} instead of {wanted:?}");
        }
        let all = (0..self.width * self.height).map(|i| (i % self.width, i / self.width));
        let differs = |(x, y): &(usize, usize)| self.pixel(*x, *y) != other.pixel(*x, *y);
        let places: Vec<_> = all.filter(differs).collect();
        let first = places.first().copied().unwrap_or_default();
        let (seen, wanted) = (self.pixel(first.0, first.1), other.pixel(first.0, first.1));
        format!(
            "{} pixels, the first at {first:?}: {seen:?} instead of {wanted:?}",
            places.len()
        )
    }
}

pub(crate) fn read_png(bytes: &[u8]) -> Picture {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::STRIP_16 | png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let (width, height) = (info.width as usize, info.height as usize);
    let channels = info.color_type.samples();
    let rgb = bytes.chunks(channels).flat_map(|p| [p[0], p[1], p[2]]).collect();
    Picture { width, height, rgb }
}
