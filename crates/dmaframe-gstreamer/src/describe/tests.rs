//! What caps and metadata say is read as it is meant, or refused.

use dmaframe_core::{ChromaSiting, ColorInfo, Fourcc, LayoutError, Modifier, Plane, Rect, Size};

use super::*;

fn caps<'a>(format: &'a str, feature: Option<&'a str>) -> CapsFields<'a> {
    CapsFields {
        media_type: "video/x-raw",
        feature,
        format: Some(format),
        width: 640,
        height: 480,
        ..CapsFields::default()
    }
}

#[test]
fn old_dmabuf_caps_do_not_become_linear_by_themselves() {
    let old = caps("NV12", Some("memory:DMABuf"));
    let picture = Picture::from_caps(&old, Modifier::INVALID).unwrap();
    assert_eq!(picture.modifier, Modifier::INVALID);
    let system = Picture::from_caps(&caps("NV12", None), Modifier::INVALID).unwrap();
    assert_eq!(system.modifier, Modifier::LINEAR);
}

#[test]
fn linear_is_the_bare_code_and_comes_back() {
    assert_eq!(
        drm_format(Fourcc::NV12, Modifier::LINEAR).as_deref(),
        Some("NV12")
    );
    assert_eq!(drm_format(Fourcc::NV12, Modifier::INVALID), None);
    let tiled = Modifier(0x0100_0000_0000_0002);
    let text = drm_format(Fourcc::NV12, tiled).unwrap();
    assert_eq!(text, "NV12:0x0100000000000002");
    assert_eq!(parse_drm_format(&text), Ok((Fourcc::NV12, tiled)));
    assert_eq!(parse_drm_format("R8"), Ok((Fourcc::R8, Modifier::LINEAR)));
    for wrong in [
        "",
        "NV12:",
        "NV12:0x",
        "NV12:+1",
        "NV12:0x+1",
        "NV123",
        "NV12:0x00ffffffffffffff",
        "NV1\n",
    ] {
        assert!(parse_drm_format(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn planes_are_found_through_several_memories() {
    let picture = Picture::from_caps(&caps("NV12", None), Modifier::INVALID).unwrap();
    let memories = [MemoryWindow::new(64, 640 * 480), MemoryWindow::new(0, 640 * 240)];
    let placed = picture.planes(None, None, &memories).unwrap();
    assert_eq!(placed.memories.as_slice(), [0, 1]);
    let at = |object, offset| Plane {
        object,
        offset,
        stride: 640,
    };
    assert_eq!(placed.planes.as_slice(), [at(0, 64), at(1, 0)]);
    let short = [
        MemoryWindow::new(0, 640 * 480),
        MemoryWindow::new(0, 640 * 240 - 1),
    ];
    assert!(matches!(
        picture.planes(None, None, &short),
        Err(DescribeError::Layout(LayoutError::PastEnd { plane: 1, .. }))
    ));
}

#[test]
fn the_memorys_window_counts_not_the_descriptors_size() {
    let picture = Picture::from_caps(&caps("GRAY8", None), Modifier::INVALID).unwrap();
    let whole = MemoryWindow::new(0, 640 * 480);
    assert!(picture.planes(None, None, &[whole]).is_ok());
    assert!(
        picture
            .planes(None, None, &[MemoryWindow::new(0, 640 * 480 - 1)])
            .is_err()
    );
}

#[test]
fn metadata_that_lies_is_refused_by_name() {
    let picture = Picture::from_caps(&caps("NV12", None), Modifier::INVALID).unwrap();
    let memory = [MemoryWindow::new(0, 640 * 720)];
    let meta = |strides: [i32; 2], offsets: [u64; 2]| MetaFields {
        size: Size::new(640, 480),
        offsets: offsets.into_iter().collect(),
        strides: strides.into_iter().collect(),
    };
    let refused = |meta: MetaFields| picture.planes(Some(&meta), None, &memory).unwrap_err();
    assert!(matches!(
        refused(meta([-640, 640], [0, 0])),
        DescribeError::Stride { plane: 0, .. }
    ));
    assert!(matches!(
        refused(meta([640, 640], [0, u64::MAX])),
        DescribeError::Offset { plane: 1, .. }
    ));
    assert!(matches!(
        refused(meta([639, 640], [0, 640 * 480])),
        DescribeError::Layout(_)
    ));
    let mut one = meta([640, 640], [0, 640 * 480]);
    one.offsets.pop();
    assert!(matches!(
        refused(one),
        DescribeError::Layout(LayoutError::PlaneCount {
            found: 1,
            expected: 2,
            ..
        })
    ));
    let good = meta([640, 640], [0, 640 * 480]);
    let outside = Rect {
        x: 600,
        y: 0,
        width: 41,
        height: 1,
    };
    assert!(picture.planes(Some(&good), Some(outside), &memory).is_err());
}

#[test]
fn a_coded_size_larger_than_the_caps_shows_only_what_the_caps_say() {
    let picture = Picture::from_caps(&caps("GRAY8", None), Modifier::INVALID).unwrap();
    let meta = MetaFields {
        size: Size::new(704, 512),
        offsets: [0].into_iter().collect(),
        strides: [704].into_iter().collect(),
    };
    let placed = picture
        .planes(Some(&meta), None, &[MemoryWindow::new(0, 704 * 512)])
        .unwrap();
    assert_eq!(
        (placed.coded, placed.visible),
        (meta.size, Some(Rect::full(Size::new(640, 480))))
    );
}

#[test]
fn colours_come_back() {
    for color in [
        ColorInfo::BT709,
        ColorInfo::BT601,
        ColorInfo::SRGB,
        ColorInfo::JFIF,
    ] {
        let text = colorimetry(&color).unwrap();
        let back = parse_colorimetry(&text).unwrap();
        let siting = chroma_site(color.siting)
            .map(parse_chroma_site)
            .unwrap_or_default();
        assert_eq!(ColorInfo { siting, ..back }, color, "{text}");
    }
    for siting in [
        ChromaSiting::Left,
        ChromaSiting::Center,
        ChromaSiting::TopLeft,
        ChromaSiting::Top,
    ] {
        assert_eq!(chroma_site(siting).map(parse_chroma_site), Some(siting));
    }
    // Nothing said is better than something wrong.
    for siting in [
        ChromaSiting::Unspecified,
        ChromaSiting::BottomLeft,
        ChromaSiting::Bottom,
    ] {
        assert_eq!(chroma_site(siting), None);
    }
    assert_eq!(colorimetry(&ColorInfo::UNSPECIFIED), None);
    assert!(parse_colorimetry("1:2:3").is_err() && parse_colorimetry("1:2:3:4:5").is_err());
}

#[test]
fn fields_are_refused() {
    let mut interlaced = caps("NV12", None);
    interlaced.interlace_mode = Some("interleaved");
    assert!(matches!(
        Picture::from_caps(&interlaced, Modifier::INVALID),
        Err(DescribeError::Interlaced { .. })
    ));
    let gl = caps("NV12", Some("memory:GLMemory"));
    assert!(matches!(
        Picture::from_caps(&gl, Modifier::INVALID),
        Err(DescribeError::Feature { .. })
    ));
    let drm = caps("DMA_DRM", None);
    assert_eq!(
        Picture::from_caps(&drm, Modifier::INVALID),
        Err(DescribeError::DrmWithoutFeature)
    );
}
