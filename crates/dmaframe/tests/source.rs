//! Every kind of source that needs no daemon gives pictures of the size asked for without a copied byte, through one type.

use std::time::Duration;

use dmaframe::source::{Error, Memory, Next, Source, Which, Wish};
use dmaframe::v4l2::{Device as Camera, PixelFormat};
use dmaframe::{Fourcc, Frame, Size};
use dmaframe_testkit::{Device, Leaks, need};

/// A wait that reaches it is a hang.
const LONG: Duration = Duration::from_secs(20);
const SIZE: Size = Size::new(320, 180);

fn open(wish: &Wish) -> Source {
    let mut notes = Vec::new();
    Source::open(wish, &mut notes).unwrap_or_else(|error| panic!("{wish:?}: {error}; {notes:?}"))
}

fn frame(source: &mut Source) -> Frame {
    match source.next(LONG) {
        Next::Frame(frame) => frame,
        other => panic!("{}: {other:?}", source.describe()),
    }
}

/// So many pictures, all of one size, in dma-bufs, and nothing copied.
fn hundred(wish: &Wish) -> Frame {
    let before = Leaks::now();
    let mut source = open(wish);
    let mut last = None;
    for _ in 0..100 {
        let next = frame(&mut source);
        assert_eq!(next.layout().size(), SIZE, "{}", source.describe());
        assert!(next.as_dmabuf().is_some(), "{}: {next:?}", source.describe());
        last = Some(next);
    }
    let counts = source.hop().counts();
    assert_eq!(
        (counts.frames, counts.zero_copy, counts.cpu_bytes),
        (100, 100, 0),
        "{counts}"
    );
    let stats = source.stats();
    assert_eq!((stats.delivered, stats.detached, stats.replugs), (100, 0, 0));
    assert!(source.is_there());
    drop(source);
    let last = last.unwrap();
    assert!(
        !last.map_read(LONG).unwrap().to_tight().unwrap().is_empty(),
        "outlives its source"
    );
    let copy = last.detach(LONG).unwrap();
    drop(last);
    before.check();
    copy
}

// One after the other: leaks are counted, and there is one vivid.
#[test]
fn a_hundred_pictures_of_each_source_cost_the_cpu_nothing() {
    need!(Device::Udmabuf);
    let vivid = need!(Device::Capture("vivid"));
    let _ = hundred(&Wish::new(Which::Synthetic).size(SIZE).fps(500));
    for memory in [Memory::Best, Memory::Own, Memory::Udmabuf, Memory::Heap] {
        let wish = Wish::new(Which::V4l2(vivid.clone()))
            .size(SIZE)
            .fps(60)
            .memory(memory);
        let asked = hundred(&wish.clone().format(PixelFormat::YUYV));
        assert_eq!(asked.fourcc(), Fourcc::YUYV);
    }
    // By itself what the consumer likes best.
    let liked = dmaframe::negotiate::FormatSet::new("encoder").with(Fourcc::NV12, dmaframe::Modifier::LINEAR);
    let chosen = hundred(&Wish::new(Which::V4l2(vivid)).size(SIZE).fps(60).consumer(liked));
    assert_eq!(chosen.fourcc(), Fourcc::NV12);
    no_way_explains_itself();
    a_reader_in_a_hurry_is_told_that_it_is_quiet();
    any_finds_a_camera_and_list_has_it();
}

/// A consumer who takes nothing that the camera has.
fn no_way_explains_itself() {
    let vivid = need!(Device::Capture("vivid"));
    let consumer =
        dmaframe::negotiate::FormatSet::new("printer").with(Fourcc::P010, dmaframe::Modifier::LINEAR);
    let wish = Wish::new(Which::V4l2(vivid.clone())).consumer(consumer);
    let error = Source::open(&wish, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Plan(_)));
    let text = error.to_string();
    assert!(
        text.contains("printer has P010") && text.contains("vivid has "),
        "{text}"
    );
    let wish = Wish::new(Which::V4l2(vivid)).format(PixelFormat::H264);
    let text = Source::open(&wish, &mut Vec::new()).unwrap_err().to_string();
    assert!(
        text.contains("gives no H264") && text.contains("it has YUYV"),
        "{text}"
    );
}

fn a_reader_in_a_hurry_is_told_that_it_is_quiet() {
    let mut source = open(&Wish::new(Which::Synthetic).size(SIZE).fps(1));
    // Who has waited for the picture has it. One try is enough, unless somebody else had the machine for a second.
    let quiet = (0..5).any(|_| {
        drop(frame(&mut source));
        matches!(source.next(Duration::from_millis(20)), Next::Quiet)
    });
    assert!(quiet, "it waited for the next picture");
    drop(frame(&mut source));
}

fn any_finds_a_camera_and_list_has_it() {
    let vivid = need!(Device::Capture("vivid"));
    let found = Source::list();
    let listed = found
        .iter()
        .find(|found| matches!(&found.which, Which::V4l2(path) if *path == vivid))
        .unwrap();
    assert_eq!(
        (&*listed.name, &*listed.driver, &listed.problem),
        ("vivid", "vivid", &None)
    );
    let yuyv = listed
        .formats
        .iter()
        .find(|format| format.fourcc == Some(Fourcc::YUYV))
        .unwrap();
    assert_eq!((&*yuyv.code, yuyv.objects, yuyv.encoded), ("YUYV", 1, false));
    assert!(listed.to_string().contains("YUYV"), "{listed}");

    let mut notes = Vec::new();
    let source = Source::open(&Wish::default().size(SIZE), &mut notes).unwrap();
    assert!(
        source.describe().contains("/dev/video"),
        "{}, {notes:?}",
        source.describe()
    );
    // vimc's nodes stream only when a media graph was set up.
    assert!(notes.iter().all(|note| note.contains("not used")), "{notes:?}");
    let card = Camera::find_by_driver("vivid", 0).unwrap();
    assert_eq!(card.capabilities().card, "vivid");
}

#[test]
fn what_was_not_built_or_is_not_there_is_said() {
    let fail = |text: &str| {
        let wish = Wish::new(text.parse().unwrap());
        Source::open(&wish, &mut Vec::new()).unwrap_err().to_string()
    };
    assert!(
        fail("/dev/video99").contains("/dev/video99"),
        "{}",
        fail("/dev/video99")
    );
    assert!(
        fail("/dev/null").contains("no V4L2 device"),
        "{}",
        fail("/dev/null")
    );
    let file = fail("/nowhere/at/all.mkv");
    assert!(file.contains("no such file"), "{file}");
    #[cfg(not(feature = "libcamera"))]
    assert!(
        fail("libcamera").contains("--features libcamera"),
        "{}",
        fail("libcamera")
    );
    #[cfg(not(feature = "pipewire"))]
    assert!(
        fail("pipewire").contains("--features pipewire"),
        "{}",
        fail("pipewire")
    );
}

#[test]
fn the_test_picture_has_the_format_asked_for_or_says_which_it_has() {
    let wish = Wish::new(Which::Synthetic).size(SIZE);
    let mut source = open(&wish.clone().format(PixelFormat::NV12));
    assert_eq!(frame(&mut source).fourcc(), Fourcc::NV12);
    let error = Source::open(&wish.format(PixelFormat::YUYV), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Format { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("gives no YUYV here: it has NV12"), "{text}");
}

#[test]
fn holding_test_pictures_stops_them_not() {
    let mut source = open(&Wish::new(Which::Synthetic).size(SIZE).fps(100));
    // More than its pool has, each one held by who asks for more.
    let held: Vec<_> = (0..12).map(|_| frame(&mut source)).collect();
    let stats = source.stats();
    assert_eq!((stats.delivered, stats.lost()), (12, 0), "{stats:?}");
    assert!(stats.detached >= 8, "{stats:?}");
    for (number, frame) in held.iter().enumerate() {
        assert_eq!(frame.meta().sequence, Some(number as u64));
        assert_eq!(frame.as_dmabuf().is_some(), held[0].as_dmabuf().is_some());
    }
    drop(held);
    let before = source.stats().detached;
    drop(frame(&mut source));
    assert_eq!(source.stats().detached, before, "slots are used again");
}
