//! A consumer that holds every frame it gets, or dies with some, takes nothing from the others.

mod common;

use std::time::Duration;

use common::{Other, camera, capture, capture_of, number, play};
use dmaframe_core::report::PathReport;
use dmaframe_core::{Frame, Starvation};
use dmaframe_testkit::{Daemon, end};

/// A consumer that keeps everything it gets, and one that only looks on.
fn hoard(policy: Starvation) -> (dmaframe_pipewire::Stats, PathReport, Option<&'static str>) {
    let daemon = Daemon::bare();
    let hoarder = capture(&daemon, "hoarder").budget(3, policy).start().unwrap();
    let (_cam, other, producer) = play(&daemon, camera(&daemon).buffers(6), capture(&daemon, "reader"));
    daemon.link("cam", "hoarder");
    let mut held: Vec<Frame> = Vec::new();
    let wanted = if policy == Starvation::Detach { 20 } else { 3 };
    while held.len() < wanted {
        held.push(common::frame(&hoarder));
    }
    let report = PathReport::new();
    report.add(hoarder.hop().clone());
    let reason = report.counts()[0].reason;
    // The camera goes on for everybody else, long after all that was to be had is held.
    for _ in 0..30 {
        assert!(number(&common::frame(&other)).is_some());
    }
    let numbers: Vec<_> = held
        .iter()
        .map(|frame| number(frame).expect("a held frame was overwritten"))
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    producer.stop();
    (hoarder.stats(), report, reason)
}

#[test]
fn holding_every_frame_turns_into_copies_and_stalls_nobody() {
    need_pipewire!();
    let (stats, report, reason) = hoard(Starvation::Detach);
    assert!(stats.detached > 0 && stats.delivered >= 3, "{stats:?}");
    let reason = reason.unwrap();
    assert!(reason.contains("consumers hold all buffers"), "{reason}");
    assert!(report.cpu_bytes_per_frame() > 0, "{report}");
}

#[test]
fn holding_every_frame_turns_into_drops_where_that_is_the_policy() {
    need_pipewire!();
    let (stats, report, _) = hoard(Starvation::Drop);
    assert!(stats.dropped > 0 && stats.detached == 0, "{stats:?}");
    assert_eq!(report.cpu_bytes_per_frame(), 0, "{report}");
}

/// Takes frames and never gives them back: another process of this test.
#[test]
fn the_other_process() {
    let Some((name, remote)) = common::role() else {
        return;
    };
    let stream = capture_of(remote, &name)
        .budget(0, Starvation::Drop)
        .start()
        .unwrap();
    let held: Vec<_> = (0..4).map(|_| common::frame(&stream)).collect();
    println!("tell: holding {}", held.len());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_consumer_that_dies_with_buffers_takes_them_from_nobody_else() {
    need_pipewire!();
    let daemon = Daemon::bare();
    let (cam, stream, producer) = play(&daemon, camera(&daemon).buffers(6), capture(&daemon, "reader"));
    for name in ["first", "second"] {
        let mut other = Other::start(&daemon, name);
        daemon.link("cam", name);
        other.wait_for("holding");
        end(&mut other.child);
        for _ in 0..30 {
            assert!(number(&common::frame(&stream)).is_some());
        }
    }
    eprintln!("{:?}", cam.stats());
    assert_eq!(cam.stats().consumers, 1);
    producer.stop();
}
