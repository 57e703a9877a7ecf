//! Fences: each kind is made, waited for and put on a dma-buf.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::allocators::{self, Working};
use super::nodes;
use super::report::{DrmNode, FenceReport, Problem, Sandbox};
use super::sys;
use crate::{Access, Frame, Object, SyncFile, TimelineDevice, Waited};

const SW_SYNC: &str = "/sys/kernel/debug/sync/sw_sync";
const SHORT: Duration = Duration::from_millis(5);

pub(super) fn examine(
    working: &[Working],
    drm: &[DrmNode],
    sandbox: &Sandbox,
    problems: &mut Vec<Problem>,
) -> Vec<FenceReport> {
    let dmabuf = working.iter().filter(|one| one.kind.is_dmabuf()).find_map(|one| {
        let (frame, _) = allocators::frame(&*one.allocator).ok()?;
        object(&frame)
    });
    let implicit = implicit(dmabuf.as_deref());
    if let (Err(why), Some(_)) = (&implicit, &dmabuf) {
        problems.push(Problem {
            object: "dma-buf fences".to_owned(),
            reason: why.clone(),
            remedy:
                "Linux 6.0 has EXPORT_SYNC_FILE and IMPORT_SYNC_FILE; before it, waits are polls on the CPU"
                    .to_owned(),
        });
    }
    vec![
        report("dma-buf EXPORT_SYNC_FILE, IMPORT_SYNC_FILE, poll", implicit),
        report("drm_syncobj timeline", syncobj(drm, sandbox, dmabuf.as_deref())),
        report("sw_sync (for tests only)", sw_sync(sandbox, dmabuf.as_deref())),
    ]
}

fn object(frame: &Frame) -> Option<Arc<Object>> {
    frame.buffer().objects().first().cloned()
}

fn report(kind: &str, result: Result<String, String>) -> FenceReport {
    let (works, detail) = match result {
        Ok(detail) => (true, detail),
        Err(why) => (false, why),
    };
    FenceReport {
        kind: kind.to_owned(),
        works,
        detail,
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The fences of a dma-buf taken out, one put in, and poll asked.
fn implicit(dmabuf: Option<&Object>) -> Result<String, String> {
    let dmabuf = dmabuf.ok_or("there is no dma-buf to ask")?;
    let fence = dmabuf.export_fence(Access::Write).map_err(text)?;
    if let Some(file) = fence.to_sync_file().map_err(text)? {
        dmabuf.import_fence(&file, Access::Read).map_err(text)?;
    }
    match dmabuf.wait_idle(Access::Write, SHORT).map_err(text)? {
        Waited::Signaled => Ok("exported, imported and polled".to_owned()),
        other => Err(format!("an idle dma-buf polls as {other:?}")),
    }
}

/// A point of a new timeline, signalled and seen as a sync_file on a dma-buf.
fn syncobj(drm: &[DrmNode], sandbox: &Sandbox, dmabuf: Option<&Object>) -> Result<String, String> {
    let mut why = "there is no DRM node that can be opened".to_owned();
    for node in drm.iter().filter(|node| node.driver.is_some()) {
        let tried = (|| {
            let file = nodes::open(Path::new(&node.node), sandbox, "").map_err(|problem| problem.reason)?;
            let timeline = TimelineDevice::new(file.into())
                .and_then(|device| device.create())
                .map_err(text)?;
            timeline.signal(1).map_err(text)?;
            let file = timeline.point(1).to_sync_file().map_err(text)?;
            if let Some(dmabuf) = dmabuf {
                dmabuf.import_fence(&file, Access::Read).map_err(text)?;
            }
            let driver = node.driver.as_deref().unwrap_or("?");
            Ok(format!("of {} ({driver})", node.node))
        })();
        match tried {
            Ok(found) => return Ok(found),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// A pending fence: it times out, holds a dma-buf back, and ends with its timeline.
fn sw_sync(sandbox: &Sandbox, dmabuf: Option<&Object>) -> Result<String, String> {
    let timeline = nodes::open(Path::new(SW_SYNC), sandbox, "")
        .map_err(|_| "it needs CONFIG_SW_SYNC and debugfs, which is root's; no product does".to_owned())?;
    let file = SyncFile::new(sys::sw_sync_fence(&timeline).map_err(text)?).map_err(text)?;
    let fence = crate::Fence::from(file.try_clone().map_err(text)?);
    if fence.wait(SHORT).map_err(text)? != Waited::TimedOut {
        return Err("a pending fence did not time out".to_owned());
    }
    if let Some(dmabuf) = dmabuf {
        dmabuf.import_fence(&file, Access::Write).map_err(text)?;
        if dmabuf.wait_idle(Access::Read, SHORT).map_err(text)? != Waited::TimedOut {
            return Err("a pending fence on a dma-buf does not hold readers back".to_owned());
        }
    }
    drop(timeline);
    match fence.wait(Duration::from_secs(1)).map_err(text)? {
        Waited::TimedOut => Err("the fence outlived its timeline".to_owned()),
        _ => Ok("pending, waited for with a deadline, and ended".to_owned()),
    }
}
