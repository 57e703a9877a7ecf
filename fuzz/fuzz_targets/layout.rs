//! `Layout::check` and `Layout::linear` against the same rules written down a second time, in 128 bits.
#![no_main]

use dmaframe_core::format::PlaneFormat;
use dmaframe_core::{Layout, LayoutError, MAX_PLANES, Modifier, Plane, Size};
use dmaframe_fuzz::{Code, Length, Modified, Offset};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    code: Code,
    modifier: Modified,
    size: (Length, Length),
    align: Length,
    /// Start from planes that fit, and change what `planes` says.
    fitting: bool,
    planes: Vec<(u8, Offset, Length)>,
    objects: Vec<Offset>,
}

fuzz_target!(|input: Input| {
    let size = Size::new(input.size.0.get(), input.size.1.get());
    let code = input.code.get();
    let made = made(&input, size);
    let (planes, objects) = proposal(&input, made.as_ref());
    let modifier = input.modifier.get();

    let verdict = Layout::check(code, modifier, size, &planes, &objects);
    let expected = holds(&input, size, modifier, &planes, &objects);
    assert_eq!(
        verdict.is_ok(),
        expected,
        "{verdict:?}: {planes:?} in {objects:?}"
    );
    match verdict {
        Ok(layout) => accepted(&layout, &planes, &objects),
        Err(error) => drop(error.to_string()),
    }
});

/// `Layout::linear` must be what the rules make of it, pass `Layout::check` in exactly the bytes it needs, and fail in
/// one less.
fn made(input: &Input, size: Size) -> Option<Layout> {
    let (code, align) = (input.code.get(), input.align.get());
    let layout = Layout::linear(code, size, align);
    let Some(info) = code.info() else {
        assert!(matches!(layout, Err(LayoutError::UnknownFormat { .. })));
        return None;
    };
    if size.width == 0 || size.height == 0 || !align.is_power_of_two() {
        assert!(layout.is_err());
        return None;
    }
    let (mut offset, mut fits) = (0u128, true);
    let mut planes = Vec::new();
    for format in info.planes() {
        let stride = row_bytes(format, size).next_multiple_of(align.into());
        fits &= u32::try_from(stride).is_ok();
        planes.push((offset, stride));
        offset += stride * rows(format, size);
        fits &= u64::try_from(offset).is_ok();
    }
    assert_eq!(layout.is_ok(), fits, "{layout:?}");
    let layout = layout.ok()?;
    let found: Vec<_> = layout
        .planes()
        .iter()
        .map(|p| (p.offset.into(), p.stride.into()))
        .collect();
    assert_eq!(planes, found);
    assert_eq!(u128::from(layout.object_len(0)), offset);

    let tight: u128 = info
        .planes()
        .iter()
        .map(|f| row_bytes(f, size) * rows(f, size))
        .sum();
    assert_eq!(u128::from(layout.tight_len()), tight);

    let end = info
        .planes()
        .iter()
        .zip(layout.planes())
        .map(|(f, p)| end(f, p, size));
    let needed = u64::try_from(end.max()?).ok()?;
    let again = |len| Layout::check(code, Modifier::LINEAR, size, layout.planes(), &[len]);
    assert_eq!(again(layout.object_len(0)).as_ref(), Ok(&layout));
    assert_eq!(again(needed).as_ref(), Ok(&layout));
    assert!(matches!(again(needed - 1), Err(LayoutError::PastEnd { .. })));
    Some(layout)
}

fn proposal(input: &Input, made: Option<&Layout>) -> (Vec<Plane>, Vec<u64>) {
    let changes = input.planes.iter().take(6).map(|(object, offset, stride)| Plane {
        object: usize::from(*object),
        offset: offset.get(),
        stride: stride.get(),
    });
    let mut objects: Vec<_> = input.objects.iter().take(6).map(|o| o.get()).collect();
    let Some(layout) = made.filter(|_| input.fitting) else {
        return (changes.collect(), objects);
    };
    let mut planes = layout.planes().to_vec();
    for change in changes {
        // The high bits of the object's number say what to change, the low ones where and to what.
        let at = change.object & 3;
        let Some(plane) = planes.get_mut(at) else {
            planes.push(change);
            continue;
        };
        match change.object >> 5 {
            0 | 1 => plane.object = change.object >> 2 & 7,
            2 => plane.offset = change.offset,
            3 => plane.offset = plane.offset.wrapping_add(change.offset),
            4 => plane.offset = plane.offset.wrapping_sub(change.offset),
            5 => plane.stride = plane.stride.wrapping_add(change.stride),
            6 => plane.stride = plane.stride.wrapping_sub(change.stride),
            _ => drop(planes.pop()),
        }
    }
    objects.insert(0, layout.object_len(0));
    (planes, objects)
}

/// The rules of `Layout::check`.
fn holds(input: &Input, size: Size, modifier: Modifier, planes: &[Plane], objects: &[u64]) -> bool {
    let Some(info) = input.code.get().info() else {
        return false;
    };
    let linear = modifier.is_linear();
    let count = if linear {
        planes.len() == info.planes().len()
    } else {
        (info.planes().len()..=MAX_PLANES).contains(&planes.len())
    };
    let inside = |(index, plane): (usize, &Plane)| {
        let Some(&len) = objects.get(plane.object) else {
            return false;
        };
        match info.planes().get(index).filter(|_| linear) {
            Some(format) => {
                u128::from(plane.stride) >= row_bytes(format, size) && end(format, plane, size) <= len.into()
            }
            None => plane.offset < len,
        }
    };
    size.width > 0
        && size.height > 0
        && count
        && (1..=MAX_PLANES).contains(&objects.len())
        && planes.iter().enumerate().all(inside)
        && (0..objects.len()).all(|object| planes.iter().any(|p| p.object == object))
}

/// What every user of a layout relies on.
fn accepted(layout: &Layout, planes: &[Plane], objects: &[u64]) {
    assert_eq!(layout.planes(), planes);
    if !layout.modifier().is_linear() {
        return;
    }
    for (index, plane) in layout.planes().iter().enumerate() {
        let rows = layout.rows(index);
        assert!(rows > 0);
        for row in [0, rows / 2, rows - 1] {
            let last = u128::from(plane.offset)
                + u128::from(plane.stride) * u128::from(row)
                + layout.row_bytes(index) as u128;
            assert!(
                last <= u128::from(objects[plane.object]),
                "plane {index} row {row} ends at {last}"
            );
        }
        assert!(layout.object_len(plane.object) > 0);
    }
    assert_eq!(layout.rows(planes.len()), 0);
    assert_eq!(layout.row_bytes(planes.len()), 0);
    assert!(
        u128::from(layout.tight_len()) <= objects.iter().map(|o| u128::from(*o)).sum::<u128>() * 4,
        "a tight copy is never larger than the planes' memory"
    );
}

fn rows(format: &PlaneFormat, size: Size) -> u128 {
    u128::from(size.height).div_ceil(format.v_sub.into())
}

fn row_bytes(format: &PlaneFormat, size: Size) -> u128 {
    u128::from(size.width)
        .div_ceil(format.h_sub.into())
        .div_ceil(format.block_width.into())
        * u128::from(format.block_bytes)
}

fn end(format: &PlaneFormat, plane: &Plane, size: Size) -> u128 {
    u128::from(plane.offset) + u128::from(plane.stride) * (rows(format, size) - 1) + row_bytes(format, size)
}
