//! Single pictures as files: whole, or an error and nothing lost.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use dmaframe::sink::{Error, Photo};
use dmaframe::{Fourcc, Frame, FrameMeta, Layout, Size};

const LONG: Duration = Duration::from_secs(30);

/// A picture that is larger than a writer's buffer.
fn frame(width: u32, height: u32) -> Frame {
    let layout = Layout::tight(Fourcc::NV12, Size::new(width, height)).unwrap();
    let len = usize::try_from(layout.object_len(0)).unwrap();
    let bytes: Vec<_> = (0..len).map(|n| (n * n / 7) as u8).collect();
    Frame::from_bytes(bytes, &layout, FrameMeta::default()).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("dmaframe-photo-{}-{name}", std::process::id()))
}

#[test]
fn a_photo_is_a_whole_file_of_the_kind_that_its_name_says() {
    for (name, begin, end) in [
        ("a.png", b"\x89PNG".as_slice(), b"IEND\xaeB\x60\x82".as_slice()),
        ("a.JPG", b"\xff\xd8", b"\xff\xd9"),
        ("a.jpeg", b"\xff\xd8", b"\xff\xd9"),
    ] {
        let photo = Photo::of(scratch(name)).unwrap();
        assert_eq!(photo.save(&frame(64, 48), LONG).unwrap(), 64 * 48 * 4);
        let bytes = std::fs::read(photo.path()).unwrap();
        assert!(bytes.starts_with(begin) && bytes.ends_with(end), "{name}");
        std::fs::remove_file(photo.path()).unwrap();
    }
}

#[test]
fn a_full_disk_is_an_error_however_late_it_is_found() {
    let full = PathBuf::from("/dev/full");
    if !full.exists() {
        dmaframe_testkit::skip("no /dev/full");
        return;
    }
    for (extension, width) in [("png", 4), ("png", 640), ("jpg", 4), ("jpg", 640)] {
        // A name with an extension for it.
        let link = scratch(&format!("full-{width}.{extension}"));
        std::os::unix::fs::symlink(&full, &link).unwrap();
        let failed = Photo::of(&link).unwrap().save(&frame(width, width), LONG);
        std::fs::remove_file(&link).unwrap();
        match failed {
            Err(Error::File { error, .. }) => assert_eq!(error.kind(), ErrorKind::StorageFull, "{extension}"),
            other => panic!("{extension} of {width}: {other:?}"),
        }
    }
}

#[test]
fn a_file_that_cannot_become_a_photo_stays_as_it_was() {
    let wrong = scratch("notes.txt");
    std::fs::write(&wrong, "mine").unwrap();
    let error = Photo::of(&wrong).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("pictures are .png, .jpg or .jpeg files"),
        "{error}"
    );
    assert_eq!(std::fs::read(&wrong).unwrap(), b"mine");
    std::fs::remove_file(wrong).unwrap();

    // What a JPEG cannot hold.
    let photo = Photo::of(scratch("large.jpg")).unwrap();
    std::fs::write(photo.path(), "mine").unwrap();
    let error = photo.save(&frame(65536, 2), LONG).unwrap_err();
    assert!(error.to_string().contains("at most 65535 columns"), "{error}");
    assert_eq!(std::fs::read(photo.path()).unwrap(), b"mine");
    std::fs::remove_file(photo.path()).unwrap();
}

#[test]
fn photos_taken_at_once_each_have_a_file_of_their_own() {
    let folder = scratch("numbered");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("photo-2.png"), "mine").unwrap();
    let photo = Photo::of(folder.join("photo.png")).unwrap();
    let frame = frame(64, 48);
    let mut names: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| photo.save_numbered(&frame, LONG).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    names.sort();
    let expected: Vec<_> = [1, 3, 4, 5].map(|n| folder.join(format!("photo-{n}.png"))).into();
    assert_eq!(names, expected);
    assert_eq!(std::fs::read(folder.join("photo-2.png")).unwrap(), b"mine");
    assert!(!photo.path().exists());
    std::fs::remove_dir_all(folder).unwrap();
}
