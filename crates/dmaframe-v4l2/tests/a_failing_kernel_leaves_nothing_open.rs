//! Every memory allocation and user copy the kernel makes for a start, a look for frames and a stop fails once, in turn: each
//! ends in an error or is survived, and never in a leak.
//!
//! Runs on a kernel with `CONFIG_FAILSLAB` and its debugfs (the lab's second kernel); says that it does nothing on any
//! other.

mod common;

use std::fs;
use std::io::Write;

use common::{SMALL, fast, still};
use dmaframe_core::{Layout, Size};
use dmaframe_testkit::Leaks;
use dmaframe_v4l2::{Device, Encoder, Error, FormatRequest, PixelFormat};
use rustix::io::Errno;

const SWITCH: &str = "/sys/kernel/debug/failslab";
const NTH: &str = "/proc/thread-self/fail-nth";

fn switch(on: bool) -> std::io::Result<()> {
    for (name, value) in [
        ("task-filter", "Y"),
        ("ignore-gfp-wait", "N"),
        ("verbose", "0"),
        ("space", "0"),
        ("times", "-1"),
        ("probability", if on { "100" } else { "0" }),
    ] {
        fs::write(format!("{SWITCH}/{name}"), value)?;
    }
    Ok(())
}

/// Runs `work` with the kernel's `nth` fault point failing; `true` when there were as many as that.
fn with_fault(nth: u32, work: impl FnOnce()) -> bool {
    // Opened and sized before, so that arming is the last thing the kernel does for us.
    let mut arm = fs::OpenOptions::new().read(true).write(true).open(NTH).unwrap();
    let text = nth.to_string();
    arm.write_all(text.as_bytes()).unwrap();
    work();
    let left = fs::read_to_string(NTH);
    // Disarms; an armed point may still hit this very write.
    while fs::write(NTH, "0").is_err() {}
    // 0 once it has struck; an error reading it means that it struck there.
    left.map_or(true, |left| left.trim() == "0")
}

/// Has each fault point of `work` strike once. `work` gets everything ready and hands what is to be struck to its
/// argument.
fn walk(mut work: impl FnMut(&mut dyn FnMut(&mut dyn FnMut() -> Result<(), Error>))) {
    let mut before = Leaks::now();
    let (mut failed, mut survived) = (0, 0);
    for nth in 1..5000 {
        let (mut outcome, mut struck) = (Ok(()), false);
        work(&mut |struck_work| {
            struck = with_fault(nth, || outcome = struck_work());
        });
        if matches!(
            &outcome,
            Err(Error::Request {
                request: "VIDIOC_EXPBUF",
                errno: Errno::FAULT,
                ..
            })
        ) {
            // The copy of the answer failed, behind the installed descriptor: nobody can know its number. It takes an
            // unmapped page where our structure is, so only fault injection sees it.
            let now = Leaks::now();
            assert!(now.fds.len() <= before.fds.len() + 1);
            before = now;
        }
        before.check();
        match outcome {
            Err(_) => failed += 1,
            Ok(()) => survived += 1,
        }
        if !struck {
            eprintln!("{nth} faults: {failed} errors, {survived} survived");
            assert!(failed > 20, "{failed} faults were felt: the test tests something");
            return;
        }
    }
    panic!("the kernel's faults never end");
}

/// `false`, and a word about it, where the kernel has no fault injection.
fn armed() -> bool {
    let armed = switch(true).is_ok() && fs::exists(NTH).unwrap_or(false);
    if !armed {
        eprintln!("no fault injection in this kernel: nothing tested");
    }
    armed
}

#[test]
fn each_fault_in_turn_is_an_error_or_survived_and_never_a_leak() {
    let path = need_vivid!();
    let _alone = common::alone();
    if !armed() {
        return;
    }
    walk(|strike| {
        let mut builder = Some(fast(still(&path), PixelFormat::NV12, SMALL).buffers(3));
        strike(&mut || {
            let Some(builder) = builder.take() else {
                return Ok(());
            };
            let mut capture = builder.start()?;
            // Not `next`: its deadline reads the clock, and the standard library panics when that fails.
            for _ in 0..3 {
                drop(capture.try_next()?);
            }
            capture.stop()
        });
    });
}

/// The same for an encoder: its start, two pictures in, a look for what came out, its end. Pictures come back.
#[test]
fn an_encoder_survives_each_fault_too() {
    let path = need_m2m!("vicodec", Encoder);
    let _alone = common::alone();
    if !armed() {
        return;
    }
    let size = Size::new(640, 480);
    let layout = Layout::tight(PixelFormat::NV12.frame().unwrap().fourcc, size).unwrap();
    let pool = common::pool(&layout, 2);
    // Each buffer's mapping is made once and kept.
    drop([0, 1].map(|n| common::picture(&pool, n, n)));
    // Into the driver's own buffers: where an import fails for want of memory, the kernel warns (`dma_buf_vmap`).
    walk(|strike| {
        let mut pictures = [1, 2].map(|n| Some(common::picture(&pool, n, n)));
        let mut builder = Some(
            Encoder::builder(Device::open_m2m(&path).unwrap())
                .input(FormatRequest::new(PixelFormat::NV12, size))
                .copy_input(),
        );
        strike(&mut || {
            let Some(builder) = builder.take() else {
                return Ok(());
            };
            // A wait's deadline reads the clock, and the standard library panics when that fails: what is unwound then
            // has to be given back as well.
            let run = std::panic::AssertUnwindSafe(|| {
                let mut encoder = builder.start()?;
                for picture in pictures.iter_mut().filter_map(Option::take) {
                    encoder.try_submit(picture).map_err(|rejected| rejected.error)?;
                    drop(encoder.try_next()?);
                }
                encoder.flush()
            });
            std::panic::catch_unwind(run).unwrap_or_else(|_| {
                Err(Error::Request {
                    device: path.clone(),
                    request: "clock_gettime",
                    errno: Errno::FAULT,
                })
            })
        });
        drop(pictures);
        assert_eq!(pool.outstanding(), 0, "every picture came back");
    });
}
