//! libcamera's orientation, which says how the picture lies in memory, as the turn that makes it upright.

use dmaframe_core::{Orientation, Rotation};
use libcamera::camera::Orientation as Found;

/// libcamera numbers them as EXIF does (`include/libcamera/orientation.h`): a picture that lies turned by 270 degrees
/// clockwise is EXIF's 6, which has to be turned by 90 to be upright.
pub(crate) fn upright(found: Found) -> Orientation {
    let (mirror, rotation) = match found {
        Found::Rotate0 => (false, Rotation::R0),
        Found::Rotate0Mirror => (true, Rotation::R0),
        Found::Rotate180 => (false, Rotation::R180),
        Found::Rotate180Mirror => (true, Rotation::R180),
        // EXIF 5: mirror, then 270 clockwise.
        Found::Rotate90Mirror => (true, Rotation::R270),
        // EXIF 6: 90 clockwise.
        Found::Rotate270 => (false, Rotation::R90),
        // EXIF 7: mirror, then 90 clockwise.
        Found::Rotate270Mirror => (true, Rotation::R90),
        // EXIF 8: 270 clockwise.
        Found::Rotate90 => (false, Rotation::R270),
    };
    Orientation { rotation, mirror }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_eight_are_different_and_the_turn_undoes_libcameras() {
        let all = [
            Found::Rotate0,
            Found::Rotate0Mirror,
            Found::Rotate180,
            Found::Rotate180Mirror,
            Found::Rotate90Mirror,
            Found::Rotate270,
            Found::Rotate270Mirror,
            Found::Rotate90,
        ]
        .map(upright);
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{one:?} twice");
        }
        assert_eq!(upright(Found::Rotate90).rotation.degrees(), 270);
        assert_eq!(upright(Found::Rotate270).rotation.degrees(), 90);
    }
}
