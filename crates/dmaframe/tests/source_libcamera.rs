//! libcamera's cameras: pictures of each without a copied byte; and one that is unplugged, which must not take the process
//! with it.

use std::time::{Duration, Instant};

use dmaframe::source::{Next, Placeholder, Source, Which, Wish};
use dmaframe::{Frame, Size};

/// A wait that reaches it is a hang.
const LONG: Duration = Duration::from_secs(20);

fn frame(source: &mut Source) -> Frame {
    match source.next(LONG) {
        Next::Frame(frame) => frame,
        other => panic!("{}: {other:?}", source.describe()),
    }
}

/// The id of the first of libcamera's cameras with this in it.
fn id(part: &str) -> Option<String> {
    let found = Source::list();
    let ids = found.iter().filter_map(|found| match &found.which {
        Which::Libcamera(Some(id)) if id.contains(part) => Some(id.clone()),
        _ => None,
    });
    let first = ids.into_iter().next();
    if first.is_none() {
        dmaframe_testkit::skip(&format!("libcamera lists no camera {part}"));
    }
    first
}

// One after the other: there is one camera manager in a process.
#[test]
fn libcameras_cameras_are_sources_and_an_unplugged_one_is_bridged() {
    // The virtual pipeline has two sizes; vimc, which computes each pixel, is made small.
    let cameras = [
        ("Virtual0", Size::new(640, 360), 100),
        ("vimc", Size::new(160, 120), 30),
    ];
    for (part, size, pictures) in cameras {
        let Some(id) = id(part) else { return };
        let mut notes = Vec::new();
        let wish = Wish::new(Which::Libcamera(Some(id.clone()))).size(size);
        let mut source = Source::open(&wish, &mut notes).unwrap();
        for _ in 0..pictures {
            let next = frame(&mut source);
            assert_eq!(next.layout().size(), size);
            assert!(next.as_dmabuf().is_some(), "{next:?}");
        }
        assert!(source.describe().contains(&id), "{}", source.describe());
        let counts = source.hop().counts();
        assert_eq!(
            (counts.zero_copy, counts.cpu_bytes),
            (counts.frames, 0),
            "{counts}"
        );
        assert_eq!(source.stats().delivered, pictures);
    }
    let error = Source::open(&Wish::new("libcamera:nobody".parse().unwrap()), &mut Vec::new());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("no camera 'nobody' in libcamera: there are "),
        "{error}"
    );

    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("unbinding a driver is for the lab alone");
        return;
    }
    let Some(id) = id("vimc") else { return };
    let size = Size::new(160, 120);
    let wish = Wish::new(Which::Libcamera(Some(id)))
        .size(size)
        .fps(50)
        .placeholder(true);
    let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
    let held = frame(&mut source);
    let picture = held.map_read(LONG).unwrap().to_tight().unwrap();
    std::fs::write("/sys/bus/platform/drivers/vimc/unbind", "vimc.0").unwrap();
    let start = Instant::now();
    let reason = loop {
        match source.next(LONG) {
            Next::Gone(reason) => break reason,
            Next::Frame(_) => assert!(start.elapsed() < LONG, "the stream goes on without its camera"),
            other => panic!("{other:?}"),
        }
    };
    assert!(reason.contains("unplugged"), "{reason}");
    for _ in 0..20 {
        let still = frame(&mut source);
        assert!(still.meta().extensions.get::<Placeholder>().is_some());
        assert_eq!(still.layout().size(), size);
    }
    assert_eq!(held.map_read(LONG).unwrap().to_tight().unwrap(), picture);
    // It is not plugged in again here: libcamera 0.7 notices only webcams' going, and aborts the process ("Trying to register a
    // camera with a duplicated ID") when a camera that it believes to have comes back. What stands is that the process, the
    // frames and the source live on.
    drop((held, source));
}
