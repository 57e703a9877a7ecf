//! A camera that is pulled out is told in the window, which shows it again when it is back.

use std::time::{Duration, Instant};

use dmaframe_testkit::{Device, need};

use crate::common::picture::Picture;
use crate::common::screens::Sway;
use crate::common::{PATIENCE, Plug, changes, interrupt};
use crate::preview::{Preview, SIZE, comes, expected, stills, turn};

/// Whether all that differs is a dark box in the middle with white letters on it, of two lines or more, and everything else
/// is the picture; else what is wrong.
fn says_something_over(seen: &Picture, picture: &Picture) -> Result<(), String> {
    let (width, height) = SIZE;
    if (seen.width, seen.height) != SIZE {
        return Err(format!("{} x {}", seen.width, seen.height));
    }
    let all = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let far = |a: [u8; 3], b: [u8; 3]| (0..3).map(|i| a[i].abs_diff(b[i])).max().unwrap_or(0);
    let changed: Vec<_> = all
        .clone()
        .filter(|&(x, y)| far(seen.pixel(x, y), picture.pixel(x, y)) > 2)
        .collect();
    let range = |values: &mut dyn Iterator<Item = usize>| {
        values.fold((usize::MAX, 0), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let (left, right) = range(&mut changed.iter().map(|at| at.0));
    let (top, bottom) = range(&mut changed.iter().map(|at| at.1));
    if changed.len() < 2000 || bottom - top > height / 2 {
        return Err(format!(
            "{} pixels differ, {left}..{right} x {top}..{bottom}",
            changed.len()
        ));
    }
    let (across, down) = (
        (left + right).abs_diff(width - 1),
        (top + bottom).abs_diff(height - 1),
    );
    // egui puts it on whole points; black parts of the picture do not change.
    if across > 30 || down > 8 {
        return Err(format!("not in the middle: {left}..{right} x {top}..{bottom}"));
    }
    // Through black of 170 in 255 the picture shines.
    let dark = |(x, y): (usize, usize)| {
        picture
            .pixel(x, y)
            .map(|value| (u16::from(value) * 85 / 255) as u8)
    };
    let behind = changed
        .iter()
        .filter(|&&(x, y)| far(seen.pixel(x, y), dark((x, y))) <= 3)
        .count();
    let white = |&&(x, y): &&(usize, usize)| seen.pixel(x, y).iter().all(|value| *value >= 200);
    let letters: Vec<_> = changed.iter().filter(white).collect();
    if behind * 2 < changed.len() || letters.len() < 100 {
        return Err(format!(
            "{behind} dark and {} white of {}",
            letters.len(),
            changed.len()
        ));
    }
    let rows: std::collections::BTreeSet<_> = letters.iter().map(|at| at.1).collect();
    let lines = rows.iter().filter(|row| !rows.contains(&(**row + 1))).count();
    match lines >= 2 {
        true => Ok(()),
        false => Err(format!("{lines} lines of letters")),
    }
}

#[test]
fn the_preview_says_when_the_camera_is_gone_and_shows_it_when_it_is_back() {
    let Some(plug) = Plug::find() else { return };
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(sway) = Sway::start(SIZE, 30) else { return };
    let preview = Preview::start(&device, |command| sway.environment(command));
    comes("before", &picture, || sway.shot());
    plug.pull();
    let start = Instant::now();
    while let Err(wrong) = says_something_over(&sway.shot(), &picture) {
        assert!(start.elapsed() < PATIENCE, "no message: {wrong}");
        std::thread::sleep(Duration::from_millis(50));
    }
    // It stays until there is a camera.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(says_something_over(&sway.shot(), &picture), Ok(()));
    plug.push();
    // A camera that is plugged in is set to what it begins with: so this is seen to be live, and not the last picture.
    changes("camera", || {
        let seen = sway.shot();
        seen.worst(&picture) > 100 && says_something_over(&seen, &picture).is_err()
    });
    stills();
    comes("back", &picture, || sway.shot());
    sway.command("[app_id=\".*\"] kill");
    let report = preview.report();
    print!("{report}");
    for line in ["was unplugged", "plug it in again", "note: back: vivid"] {
        assert!(report.contains(line), "{line:?} is not in\n{report}");
    }
}

#[test]
fn ctrl_c_and_the_end_of_its_time_end_a_preview_whose_camera_is_unplugged() {
    let Some(plug) = Plug::find() else { return };
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(sway) = Sway::start(SIZE, 30) else { return };
    for more in [&[][..], &["--seconds", "8"]] {
        stills();
        // Its number is another one after it was plugged in.
        let device = need!(Device::Capture("vivid"));
        let preview = Preview::start(&device, |command| {
            sway.environment(command);
            command.args(more);
        });
        comes("before", &picture, || sway.shot());
        plug.pull();
        changes("message", || says_something_over(&sway.shot(), &picture).is_ok());
        if more.is_empty() {
            interrupt(&preview.0);
        }
        let report = preview.report();
        print!("{report}");
        assert!(report.contains("was unplugged"), "{report}");
        plug.push();
        changes("camera", || {
            dmaframe_testkit::find(Device::Capture("vivid")).is_ok()
        });
    }
}
