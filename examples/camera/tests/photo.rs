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
    if String::from_utf8_lossy(&photo(&[png.to_str().unwrap(), "--filter", "mono"]).stdout)
        .contains("filters on ")
    {
        let grey = pixels
            .chunks(4)
            .all(|p| p[0].abs_diff(p[1]).max(p[1].abs_diff(p[2])) <= 1);
        assert!(grey, "filtered, and not through 4:2:0");
    }
}

#[test]
fn a_name_that_says_nothing_is_refused() {
    let output = photo(&[scratch("a.gif").to_str().unwrap(), "--frames", "1"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && said.contains("pictures are .png, .jpg or .jpeg files"),
        "{said}"
    );
}
