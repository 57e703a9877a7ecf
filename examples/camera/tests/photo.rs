//! Photos: through the filter, as the file's name says; and the planes as the camera gave them, with where they are.

use std::path::PathBuf;
use std::process::{Command, Output};

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("camera-photo-{}-{name}", std::process::id()))
}

fn photo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command
        .args(["photo", "--device", "test", "--size", "318x180"])
        .args(arguments);
    command.output().unwrap()
}

#[test]
fn a_photo_is_what_its_name_says_and_the_raw_file_is_the_cameras_planes() {
    let (png, jpeg, raw) = (scratch("a.png"), scratch("a.jpg"), scratch("a.raw"));
    let mut filtered = true;
    for file in [&png, &jpeg] {
        let arguments = [
            file.to_str().unwrap(),
            "--filter",
            "mono",
            "--raw",
            raw.to_str().unwrap(),
        ];
        let output = photo(&arguments);
        assert!(output.status.success(), "{output:?}");
        filtered &= String::from_utf8_lossy(&output.stdout).contains("filters on ");
    }
    // The GPU gives colours, not NV12, so that none is lost; without a GPU the picture is not filtered.
    let bytes = std::fs::read(&png).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (318, 180));
    let start = std::fs::read(&jpeg).unwrap()[..3].to_vec();
    assert_eq!(start, [0xff, 0xd8, 0xff]);

    // Where each plane is, as the text says: white bars on the left, the planes behind each other.
    let text = std::fs::read_to_string(format!("{}.txt", raw.display())).unwrap();
    let value = |line: &str, key: &str| -> usize {
        let mut words = line.split(' ');
        words.find(|word| *word == key).unwrap();
        words.next().unwrap().parse().unwrap()
    };
    let planes: Vec<_> = text.lines().filter(|line| line.starts_with("plane ")).collect();
    assert!(
        text.starts_with("fourcc NV12\nmodifier LINEAR\nsize 318x180\n"),
        "{text}"
    );
    assert_eq!(planes.len(), 2, "{text}");
    let bytes = std::fs::read(&raw).unwrap();
    let mut end = 0;
    for (index, line) in planes.iter().enumerate() {
        let (offset, stride) = (value(line, "offset"), value(line, "stride"));
        let (row, rows) = (value(line, "row"), value(line, "rows"));
        assert_eq!((offset, row, rows), (end, 318, [180, 90][index]), "{text}");
        assert!(stride >= row, "{text}");
        end += stride * rows;
        // The bars are the same in every row.
        let first = &bytes[offset..offset + row];
        assert!(
            (1..rows).all(|y| &bytes[offset + y * stride..][..row] == first),
            "{line}"
        );
        assert!(first.iter().any(|byte| *byte != first[0]));
    }
    assert_eq!(bytes.len(), end);
    if !filtered {
        dmaframe_testkit::skip("no GPU with Vulkan: nothing is filtered");
        return;
    }
    let grey = pixels
        .chunks(4)
        .all(|p| p[0].abs_diff(p[1]).max(p[1].abs_diff(p[2])) <= 1);
    assert!(grey, "filtered, and not through 4:2:0");
}

#[test]
fn a_name_that_says_nothing_is_refused_before_the_camera_is_opened_and_the_file_kept() {
    let file = scratch("a.gif");
    std::fs::write(&file, "mine").unwrap();
    let output = photo(&[file.to_str().unwrap(), "--frames", "1"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("pictures are .png, .jpg or .jpeg files"),
        "{said}"
    );
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains("source:"),
        "{output:?}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_full_disk_is_told_and_is_no_success() {
    let file = scratch("full.png");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let output = photo(&[file.to_str().unwrap(), "--frames", "1"]);
    std::fs::remove_file(&file).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("full.png cannot be written: No space left"),
        "{said}"
    );
}

#[test]
fn a_picture_that_cannot_be_written_costs_neither_the_other_outputs_nor_the_report() {
    let (full, stream) = (scratch("full-beside.png"), scratch("beside.nv12"));
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command
        .args([
            "--device", "test", "--size", "318x180", "--frames", "3", "--stream",
        ])
        .arg(&stream)
        .arg("--out")
        .arg(&full);
    let output = command.output().unwrap();
    std::fs::remove_file(&full).unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (said, failed) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{failed}");
    assert!(failed.contains("full-beside.png cannot be written: "), "{failed}");
    for part in ["file: ", "(3 frames, ", "3 frames in ", "CPU bytes/frame: "] {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    assert_eq!(std::fs::metadata(&stream).unwrap().len(), 3 * 318 * 180 * 3 / 2);
    std::fs::remove_file(stream).unwrap();
}

#[test]
fn an_output_that_fails_with_the_first_picture_does_not_cost_the_picture() {
    let (full, out) = (scratch("full.nv12"), scratch("first.png"));
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera"));
    command
        .args([
            "--device", "test", "--size", "318x180", "--frames", "3", "--stream",
        ])
        .arg(&full)
        .arg("--out")
        .arg(&out);
    let output = command.output().unwrap();
    std::fs::remove_file(&full).unwrap();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{failed}");
    assert!(
        failed.contains("full.nv12 cannot be written: No space left"),
        "{failed}"
    );
    std::fs::remove_file(out).unwrap();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_panic() {
    let mut list = Command::new(env!("CARGO_BIN_EXE_camera"));
    let mut running = list
        .arg("list")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(running.stdout.take());
    let output = running.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
