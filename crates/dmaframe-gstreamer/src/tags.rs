//! The orientation tag.

use dmaframe_core::{Orientation, Rotation};

/// What a tag list says about orientation: `None` when it says nothing, or something unknown.
pub(crate) fn orientation(tags: &gst::TagListRef) -> Option<Orientation> {
    let text = tags.get::<gst::tags::ImageOrientation>()?;
    let text = text.get();
    let (mirror, turn) = match text.strip_prefix("flip-") {
        Some(turn) => (true, turn),
        None => (false, text),
    };
    let degrees = turn.strip_prefix("rotate-")?.parse().ok()?;
    Some(Orientation {
        rotation: Rotation::from_degrees(degrees)?,
        mirror,
    })
}

/// The tag for an orientation.
pub(crate) fn tag_list(orientation: Orientation) -> gst::TagList {
    let flip = if orientation.mirror { "flip-" } else { "" };
    let text = format!("{flip}rotate-{}", orientation.rotation.degrees());
    let mut tags = gst::TagList::new();
    if let Some(tags) = tags.get_mut() {
        tags.add::<gst::tags::ImageOrientation>(&text.as_str(), gst::TagMergeMode::Replace);
        tags.set_scope(gst::TagScope::Stream);
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_eight_orientations_come_back() {
        gst::init().unwrap();
        for known in Orientation::all() {
            assert_eq!(orientation(&tag_list(known)), Some(known));
        }
        assert_eq!(orientation(&gst::TagList::new()), None);
    }
}
