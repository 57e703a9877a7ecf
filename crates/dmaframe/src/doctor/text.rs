//! The report for people.

use std::fmt::{self, Display, Formatter};

use super::report::{Attempt, CameraReport, GpuReport, Report};

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "dmaframe {}, Linux {} on {}",
            self.version, self.system.kernel, self.system.machine
        )?;
        let sandbox = &self.sandbox;
        write!(f, "user {}, groups {}", sandbox.uid, sandbox.groups.join(" "))?;
        match (&*sandbox.kind, &sandbox.app) {
            ("none", _) => writeln!(f)?,
            (kind, Some(app)) => writeln!(
                f,
                "; inside {kind} {app}, devices {}",
                sandbox.devices.as_deref().unwrap_or("?")
            )?,
            (kind, None) => writeln!(f, "; inside a {kind}")?,
        }
        title(f, "memory")?;
        for one in &self.allocators {
            match (&one.problem, &one.memory, one.max_object_len) {
                (Some(why), ..) => writeln!(f, "  no   {:<24} {why}", one.name)?,
                (None, memory, limit) => {
                    write!(
                        f,
                        "  yes  {:<24} {}",
                        one.name,
                        memory.as_deref().unwrap_or_default()
                    )?;
                    match limit {
                        Some(limit) => writeln!(f, ", at most {} MiB a buffer", limit >> 20)?,
                        None => writeln!(f)?,
                    }
                }
            }
        }
        title(f, "cameras")?;
        self.cameras.iter().try_for_each(|camera| one_camera(f, camera))?;
        if self.cameras.is_empty() {
            writeln!(f, "  none")?;
        }
        title(f, "DRM nodes")?;
        for node in &self.drm {
            writeln!(
                f,
                "  {:<24} {}",
                node.node,
                node.driver.as_deref().unwrap_or("may not be opened")
            )?;
        }
        title(f, "GPUs (Vulkan)")?;
        self.gpus.iter().try_for_each(|gpu| one_gpu(f, gpu))?;
        if self.gpus.is_empty() {
            writeln!(f, "  none")?;
        }
        title(f, "fences")?;
        for fence in &self.fences {
            writeln!(f, "  {:<4} {}: {}", yes(fence.works), fence.kind, fence.detail)?;
        }
        title(f, "media")?;
        for daemon in &self.daemons {
            let version = daemon.version.as_deref().unwrap_or_default();
            writeln!(
                f,
                "  {:<4} {} {version} ({})",
                yes(daemon.found),
                daemon.name,
                daemon.detail
            )?;
        }
        if !self.problems.is_empty() {
            title(f, "what is missing, and what would help")?;
            for problem in &self.problems {
                writeln!(
                    f,
                    "  {}: {}\n       -> {}",
                    problem.object, problem.reason, problem.remedy
                )?;
            }
        }
        title(f, "verdicts")?;
        for verdict in &self.verdicts {
            writeln!(
                f,
                "  {} -> {}: {} {}",
                verdict.from, verdict.to, verdict.cost, verdict.way
            )?;
            for reason in &verdict.reasons {
                writeln!(f, "       not {reason}")?;
            }
            for remedy in &verdict.remedies {
                writeln!(f, "       -> {remedy}")?;
            }
        }
        Ok(())
    }
}

fn title(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    writeln!(f, "\n{text}")
}

fn yes(works: bool) -> &'static str {
    if works { "yes" } else { "no" }
}

fn attempt(f: &mut Formatter<'_>, prefix: &str, attempt: &Attempt) -> fmt::Result {
    writeln!(
        f,
        "{prefix}{:<4} {}: {}",
        yes(attempt.works),
        attempt.what,
        attempt.detail
    )
}

fn one_camera(f: &mut Formatter<'_>, camera: &CameraReport) -> fmt::Result {
    let api = if camera.multiplanar {
        "multi-planar"
    } else {
        "single-planar"
    };
    writeln!(
        f,
        "  {} {} ({}, {api}, {})",
        camera.node, camera.card, camera.driver, camera.bus
    )?;
    writeln!(f, "    offers {}", camera.formats.join(" "))?;
    if let Some(tried) = &camera.tried {
        writeln!(f, "    tried {tried}")?;
    }
    camera
        .export
        .iter()
        .try_for_each(|tried| attempt(f, "    ", tried))?;
    for tried in &camera.imports {
        writeln!(
            f,
            "    {:<4} import of {}: {}",
            yes(tried.works),
            tried.what,
            tried.detail
        )?;
    }
    Ok(())
}

fn one_gpu(f: &mut Formatter<'_>, gpu: &GpuReport) -> fmt::Result {
    writeln!(
        f,
        "  {} ({}), {}, Vulkan {}",
        gpu.name, gpu.driver, gpu.kind, gpu.api
    )?;
    if !gpu.missing_extensions.is_empty() {
        writeln!(f, "    without {}", gpu.missing_extensions.join(" "))?;
    }
    let waits = if gpu.waits_for_fences {
        "waits for sync_files"
    } else {
        "cannot wait for sync_files"
    };
    writeln!(f, "    {waits}")?;
    for import in &gpu.imports {
        writeln!(f, "    {} ({})", import.memory, import.format)?;
        for route in &import.routes {
            attempt(f, "      ", route)?;
        }
    }
    for export in &gpu.exports {
        writeln!(
            f,
            "    {:<4} export of {}: {}",
            yes(export.works),
            export.what,
            export.detail
        )?;
    }
    writeln!(
        f,
        "    format x modifier (planes; s sampled, r rendered, i imported)"
    )?;
    for row in gpu.formats.iter().filter(|row| !row.modifiers.is_empty()) {
        write!(f, "      {:<6}", row.fourcc)?;
        for entry in &row.modifiers {
            let flag = |on: bool, letter: &'static str| if on { letter } else { "-" };
            let flags = [
                flag(entry.sampled, "s"),
                flag(entry.rendered, "r"),
                flag(entry.imported, "i"),
            ]
            .concat();
            write!(f, " {} ({}{flags})", entry.modifier, entry.planes)?;
        }
        writeln!(f)?;
    }
    Ok(())
}
