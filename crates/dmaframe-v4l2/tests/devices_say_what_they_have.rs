//! Listing, formats, sizes, intervals, controls, selections: what the driver says, typed.

mod common;

use common::{SMALL, alone, still};
use dmaframe_core::{Fourcc, Modifier, Size, negotiate::Pair};
use dmaframe_v4l2::{
    ControlKind, Device, Error, EventKind, FormatRequest, Interval, Intervals, PixelFormat, Selection,
    SelectionTarget, Sizes, list,
};

#[test]
fn the_list_has_capture_devices_only() {
    let path = need_vivid!();
    let all = list().unwrap();
    let vivid: Vec<_> = all
        .iter()
        .filter(|found| found.capabilities.driver == "vivid")
        .collect();
    assert!(vivid.iter().any(|found| found.path == path));
    assert!(all.iter().all(|found| found.capabilities.is_capture()));
    assert!(
        !all.iter()
            .any(|found| ["vim2m", "vicodec"].contains(&found.capabilities.driver.as_str()))
    );
    for found in all {
        assert_eq!(
            Device::open(&found.path).unwrap().capabilities(),
            &found.capabilities
        );
    }
}

#[test]
fn devices_are_found_by_driver() {
    let single = need_vivid!();
    let multi = need_vivid!(multiplanar);
    let both: Vec<_> = (0..2)
        .map(|n| Device::find_by_driver("vivid", n).unwrap())
        .collect();
    assert!(
        both.iter()
            .any(|d| d.path() == single && !d.capabilities().is_multiplanar())
    );
    assert!(
        both.iter()
            .any(|d| d.path() == multi && d.capabilities().is_multiplanar())
    );
    let none = Device::find_by_driver("no-such-driver", 0).unwrap_err();
    assert!(matches!(none, Error::NotFound { found: 0, .. }), "{none}");
}

#[test]
fn formats_sizes_and_intervals_are_the_drivers() {
    let path = need_vivid!();
    let multi = need_vivid!(multiplanar);
    let _alone = alone();
    let device = still(&path);
    let formats = device.formats().unwrap();
    assert!(
        formats
            .iter()
            .any(|offer| offer.pixel_format == PixelFormat::NV12 && !offer.compressed)
    );
    // The ones DRM has no code for are listed all the same, with the code they have.
    assert!(
        formats
            .iter()
            .any(|offer| offer.pixel_format == PixelFormat::new(b"HSV3"))
    );
    assert!(
        formats
            .iter()
            .any(|offer| offer.pixel_format.to_string() == "Y16-BE")
    );
    let set = device.format_set().unwrap();
    assert!(set.contains(Pair {
        fourcc: Fourcc::NV12,
        modifier: Modifier::LINEAR
    }));

    let sizes = device.sizes(PixelFormat::YUYV).unwrap();
    assert!(
        matches!(&sizes, Sizes::Discrete(list) if list.contains(&Size::new(1920, 1080))),
        "{sizes:?}"
    );
    assert!(sizes.contains(SMALL) && !sizes.contains(Size::new(321, 180)));
    let intervals = device.intervals(PixelFormat::YUYV, SMALL).unwrap();
    assert!(
        matches!(&intervals, Intervals::Discrete(list) if list.contains(&Interval::fps(30))),
        "{intervals:?}"
    );
    assert_eq!(
        device.sizes(PixelFormat::MJPEG).unwrap(),
        Sizes::Discrete(Vec::new())
    );

    let formats = Device::open(&multi).unwrap().formats().unwrap();
    assert!(
        formats
            .iter()
            .any(|offer| offer.pixel_format == PixelFormat::NV12M)
    );

    // A TV input takes any size, in steps.
    device.set_input(1).unwrap();
    let stepwise = device.sizes(PixelFormat::YUYV).unwrap();
    device.set_input(0).unwrap();
    assert!(matches!(stepwise, Sizes::Stepwise { .. }), "{stepwise:?}");
}

#[test]
fn trying_changes_nothing_and_setting_says_what_it_became() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    device
        .set_format(FormatRequest::new(PixelFormat::YUYV, SMALL))
        .unwrap();
    let tried = device
        .try_format(FormatRequest::new(PixelFormat::NV12, Size::new(650, 365)))
        .unwrap();
    assert_eq!(
        (tried.pixel_format, tried.size),
        (PixelFormat::NV12, Size::new(640, 360))
    );
    assert_eq!(device.format().unwrap().pixel_format, PixelFormat::YUYV);
    let refused = device
        .set_format(FormatRequest::new(PixelFormat::MJPEG, SMALL))
        .unwrap_err();
    assert!(
        matches!(
            refused,
            Error::FormatRefused {
                asked: PixelFormat::MJPEG,
                ..
            }
        ),
        "{refused}"
    );
    assert!(refused.to_string().contains("MJPG"), "{refused}");
    let set = device.set_interval(Interval::fps(25)).unwrap();
    assert_eq!(
        (set, device.interval().unwrap()),
        (Some(Interval::fps(25)), Some(Interval::fps(25)))
    );
}

/// HSV has no DRM code: the format can be set, but what it captures is no frame, and that is said before anything is
/// allocated.
#[test]
fn a_format_no_frame_describes_is_refused_by_name() {
    let path = need_vivid!();
    let _alone = alone();
    let request = FormatRequest::new(PixelFormat::new(b"HSV3"), SMALL);
    let error = dmaframe_v4l2::Capture::builder(still(&path))
        .format(request)
        .start()
        .expect_err("refused");
    assert!(matches!(error, Error::UnmappedFormat { .. }), "{error}");
    assert!(error.to_string().contains("HSV3"), "{error}");
}

#[test]
fn interlaced_video_is_refused_with_its_field_order() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    // S-Video: vivid gives fields there.
    device.set_input(2).unwrap();
    let request = FormatRequest::new(PixelFormat::YUYV, Size::new(720, 480));
    let error = dmaframe_v4l2::Capture::builder(device)
        .format(request)
        .start()
        .expect_err("refused");
    drop(still(&path));
    assert!(
        matches!(
            error,
            Error::Interlaced {
                field: dmaframe_v4l2::Field::Interlaced(4),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn controls_of_every_scalar_kind_are_read_and_set() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    let all = device.controls().unwrap();
    let kind = |name: &str| {
        all.iter()
            .find(|control| control.name == name)
            .map(|control| control.kind)
    };
    assert_eq!(kind("Boolean"), Some(ControlKind::Boolean));
    assert_eq!(kind("Menu"), Some(ControlKind::Menu));
    assert_eq!(kind("Integer Menu"), Some(ControlKind::IntegerMenu));
    assert_eq!(kind("Button"), Some(ControlKind::Button));
    assert_eq!(kind("Integer 64 Bits"), Some(ControlKind::Integer64));
    assert_eq!(kind("Bitmask"), Some(ControlKind::Bitmask));
    assert_eq!(kind("String"), Some(ControlKind::Text));
    assert!(matches!(kind("U8 2x3x4x5 Array"), Some(ControlKind::Compound(_))));
    assert_eq!(kind("Vivid Controls"), None, "headings are left out");

    for (name, value) in [
        ("Boolean", 0),
        ("Integer 32 Bits", i64::from(i32::MIN)),
        ("Integer 64 Bits", i64::MAX),
        ("Integer 64 Bits", i64::MIN),
        ("Menu", 3),
        ("Integer Menu", 5),
        ("Bitmask", 0x8000_2000),
        ("Brightness", 17),
    ] {
        let before = device.get_control(name).unwrap();
        device.set_control(name, value).unwrap();
        let id = device.control(name).unwrap().id;
        assert_eq!(device.get_control(id).unwrap(), value, "{name}");
        device.set_control(name, before).unwrap();
    }
    device.press_control("Button").unwrap();

    let items = device.menu("Menu").unwrap();
    assert!(items.iter().all(|item| item.value.is_none()) && items.len() > 2);
    let numbers = device.menu("Integer Menu").unwrap();
    assert!(numbers.iter().any(|item| item.value == Some(42)), "{numbers:?}");
    assert!(device.menu("Brightness").unwrap().is_empty());
}

#[test]
fn what_a_control_refuses_is_told_with_its_range() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    let range = device.set_control("Brightness", 256).unwrap_err();
    assert!(
        matches!(
            range,
            Error::ControlRange {
                value: 256,
                minimum: 0,
                maximum: 255,
                ..
            }
        ),
        "{range}"
    );
    assert!(range.to_string().contains("Brightness"), "{range}");
    let hole = device.set_control("Menu", 0).unwrap_err();
    assert!(
        matches!(hole, Error::ControlRange { .. } | Error::NoMenuItem { .. }),
        "{hole}"
    );
    let read_only = device.set_control("Read-Only Integer 32 Bits", 1).unwrap_err();
    assert!(
        matches!(
            read_only,
            Error::ControlLocked {
                state: "read-only",
                ..
            }
        ),
        "{read_only}"
    );
    assert!(matches!(
        device.get_control("Button"),
        Err(Error::ControlKind {
            kind: ControlKind::Button,
            ..
        })
    ));
    assert!(matches!(
        device.get_control("String"),
        Err(Error::ControlKind {
            kind: ControlKind::Text,
            ..
        })
    ));
    assert!(matches!(
        device.set_control("U8 2x3x4x5 Array", 1),
        Err(Error::ControlKind { .. })
    ));
    assert!(matches!(
        device.control("No Such Thing"),
        Err(Error::NoControl { .. })
    ));
    assert!(matches!(device.control(0x1234), Err(Error::NoControl { .. })));
    assert!(matches!(
        device.set_menu("Menu", "nothing of the kind"),
        Err(Error::NoControl { .. })
    ));
}

#[test]
fn a_composed_picture_is_visible_where_the_driver_put_it() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    // A TV input, because vivid's webcam does not compose; progressive by asking for half the lines.
    device.set_input(1).unwrap();
    let full = device
        .set_format(FormatRequest::new(PixelFormat::YUYV, Size::new(720, 288)))
        .unwrap();
    let part = Selection {
        left: 16,
        top: 8,
        width: 320,
        height: 200,
    };
    let set = device.set_selection(SelectionTarget::Compose, part);
    let visible = device.visible(full.size).unwrap();
    let outcome = (set, visible);
    device.set_input(0).unwrap();
    let (Ok(set), Some(visible)) = outcome else {
        panic!("vivid composes: {outcome:?}")
    };
    assert_eq!(
        (visible.x, visible.y),
        (set.left.unsigned_abs(), set.top.unsigned_abs())
    );
    assert_eq!((visible.width, visible.height), (set.width, set.height));
    assert!(visible.fits(full.size));
    assert!(device.selection(SelectionTarget::ComposePadded).is_ok());
}

#[test]
fn a_control_somebody_else_moves_is_an_event() {
    let path = need_vivid!();
    let _alone = alone();
    let device = still(&path);
    let other = Device::open(&path).unwrap();
    let id = device.control("Brightness").unwrap().id;
    assert_eq!(device.next_event().unwrap(), None);
    device.subscribe(EventKind::Control(id)).unwrap();
    let before = other.get_control(id).unwrap();
    other.set_control(id, (before + 1) % 256).unwrap();
    let event = device.next_event().unwrap().expect("an event");
    assert_eq!(event.kind, Some(EventKind::Control(id)));
    assert!(event.timestamp_ns > 0);
    device.unsubscribe(EventKind::Control(id)).unwrap();
    other.set_control(id, before).unwrap();
    assert_eq!(device.next_event().unwrap(), None);
    device.subscribe(EventKind::SourceChange).unwrap();
    let signal = device.input().unwrap().is_some_and(|input| input.has_signal());
    assert!(signal);
}
