//! `camera preview`: what the camera sees, in a window.

use anyhow::{Context, Result};
use dmaframe::sink::Latest;
use dmaframe::{Orientation, Rotation};

use crate::args;
use crate::run::Job;
use crate::window::{Preview, show};

pub(crate) fn run(args: &args::Args, how: &args::Preview) -> Result<()> {
    let rotation = Rotation::from_degrees(how.rotate)
        .with_context(|| format!("--rotate {}: only quarter turns, for example 90", how.rotate))?;
    let mirror = how.mirror;
    let mut job = Job::open(args)?;
    let preview = Preview {
        name: job.source.camera.describe().to_owned(),
        size: args.size,
        path: job.path.clone(),
        turned: Orientation { rotation, mirror },
        info: !how.no_info,
        frames: args.frames(),
        stop: job.stop.clone(),
    };
    let (counts, job, ended) = show(preview, move |slot| {
        let ended = feed(&mut job, slot);
        (job, ended)
    })?;
    say!(
        "shown {}, replaced before shown {}, refreshes missed by us {}, for want of a CPU {} ({:.1?} of work a picture, {:.1?} for the slowest)",
        counts.shown,
        counts.replaced,
        counts.timing.missed,
        counts.timing.starved,
        counts.timing.worked / u32::try_from(counts.timing.presented.max(1)).unwrap_or(u32::MAX),
        counts.timing.slowest,
    );
    for reason in counts.reasons {
        say!("note: {reason}");
    }
    job.finish(&ended)
}

/// Until the job or the window has ended.
fn feed(job: &mut Job, slot: &Latest) -> Result<()> {
    let mut told = 0;
    while let Some(frame) = job.next()? {
        for failed in &job.failed[told..] {
            slot.warn(failed.to_string());
        }
        told = job.failed.len();
        // Over the last picture, which says more than a placeholder.
        let open = match &job.source.gone {
            Some(reason) => slot.say(format!("{reason}\nplug it in again, or quit with q")),
            None => slot.put(frame),
        };
        if !open {
            break;
        }
    }
    Ok(())
}
