//! A trace has every frame's way through every hop, and its picture needs nothing else.

use std::collections::BTreeMap;
use std::process::Command;

use dmaframe_testkit::{Device, need};
use serde_json::Value;

const FRAMES: usize = 20;
const HOPS: [&str; 5] = ["delivered", "imported", "submitted", "GPU copy", "released"];

#[test]
fn a_trace_follows_every_frame_through_every_hop() {
    need!(Device::Udmabuf);
    need!(Device::Capture("vivid"));
    let folder = std::env::temp_dir().join(format!("dmaframe-trace-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dmaframe"))
        .args(["doctor", "--trace", "--frames", &FRAMES.to_string(), "--out"])
        .arg(&folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains(&format!("{FRAMES} frames of vivid")), "{text}");
    assert!(
        text.contains("by buffer") && text.contains("CPU bytes/frame: 0"),
        "{text}"
    );

    let json = std::fs::read_to_string(folder.join("dmaframe-trace.json")).unwrap();
    let trace: Value = serde_json::from_str(&json).unwrap();
    let mut frames = BTreeMap::<u64, Vec<(String, f64, f64)>>::new();
    for event in trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["ph"] == "X")
    {
        let (start, length) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
        let name = event["name"].as_str().unwrap().to_owned();
        frames
            .entry(event["args"]["frame"].as_u64().unwrap())
            .or_default()
            .push((name, start, start + length));
    }
    assert_eq!(frames.len(), FRAMES);
    for (frame, spans) in &frames {
        let names: Vec<_> = spans.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, HOPS, "frame {frame}");
        for two in spans.windows(2) {
            assert!(
                (two[0].2 - two[1].1).abs() < 1.0,
                "frame {frame}: a gap between {two:?}"
            );
        }
        assert!(
            spans.iter().all(|(_, start, end)| *start >= 0.0 && end >= start),
            "frame {frame}"
        );
    }

    // Each of these does something, and a clock with nanoseconds sees it.
    for hop in ["delivered", "imported", "submitted", "GPU copy"] {
        let took: f64 = frames
            .values()
            .flatten()
            .filter(|(name, ..)| name == hop)
            .map(|(_, start, end)| end - start)
            .sum();
        assert!(took > 0.0, "{hop} took no time in any frame");
    }

    let svg = std::fs::read_to_string(folder.join("dmaframe-frame.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("http").count(), 1, "only its own name space");
    assert!(
        ["<script", "<style", "<image", "href"]
            .iter()
            .all(|word| !svg.contains(word))
    );
    assert!(
        HOPS.iter().all(|hop| svg.contains(&format!(">{hop}</text>"))),
        "{svg}"
    );
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_that_takes_no_files_is_refused_before_the_first_frame() {
    let doctor = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmaframe"));
        command.arg("doctor").args(arguments).output().unwrap()
    };
    // So many frames that nobody waits for them.
    let many = u64::MAX.to_string();
    let output = doctor(&["--trace", "--frames", &many, "--out", "/nonexistent"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nonexistent: No such file"), "{said}");
}

#[test]
fn a_trace_as_json_is_refused_and_not_written_as_text() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dmaframe"));
    let output = command.args(["doctor", "--json", "--trace"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--json") && said.contains("--trace"), "{said}");
}
