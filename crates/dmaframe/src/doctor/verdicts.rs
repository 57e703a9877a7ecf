//! What follows: negotiation's plan for every pair, walked through until a way is met that has been seen to work.

use super::allocators::Working;
use super::cameras::Camera;
use super::gpus::{Examined, Memory, PAGES};
use super::report::{Attempt, Problem, Verdict, VerdictCost};
use crate::alloc::{Allocator, Picture, Ways, plan};
use crate::negotiate::{FormatSet, Route, Takes};

pub(super) fn all(
    cameras: &[Camera],
    working: &[Working],
    gpus: &[Examined],
    problems: &[Problem],
) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (place, camera) in cameras.iter().enumerate() {
        for gpu in gpus {
            verdicts.push(camera_to_gpu(place, camera, working, gpu, problems));
        }
        verdicts.push(camera_to_cpu(camera));
    }
    if cameras.is_empty() {
        verdicts.push(nothing(
            "camera",
            "GPU",
            "there is no camera that can be opened",
            problems,
            &["camera", "/dev/video"],
        ));
    }
    for gpu in gpus {
        verdicts.push(memory_to_gpu(working, gpu, problems));
        verdicts.push(gpu_to_others(gpu, problems));
    }
    if gpus.is_empty() {
        verdicts.push(nothing(
            "any frame",
            "GPU",
            "there is no Vulkan device",
            problems,
            &["Vulkan", "/dev/dri"],
        ));
    }
    verdicts
}

fn nothing(from: &str, to: &str, why: &str, problems: &[Problem], about: &[&str]) -> Verdict {
    Verdict {
        from: from.to_owned(),
        to: to.to_owned(),
        cost: VerdictCost::None,
        way: why.to_owned(),
        reasons: Vec::new(),
        remedies: remedies(problems, about),
    }
}

/// The remedies of problems whose object begins with one of these: `/dev/video` are all cameras, `/dev/video1` is one of them.
fn remedies(problems: &[Problem], about: &[&str]) -> Vec<String> {
    let begins = |problem: &Problem, object: &str| {
        let digit = |c: char| c.is_ascii_digit();
        let rest = problem.object.strip_prefix(object);
        rest.is_some_and(|rest| !(object.ends_with(digit) && rest.starts_with(digit)))
    };
    let related = problems
        .iter()
        .filter(|problem| about.iter().any(|object| begins(problem, object)));
    let mut list: Vec<_> = related
        .map(|problem| format!("{}: {}", problem.object, problem.remedy))
        .collect();
    list.dedup();
    list
}

/// The remedies of what keeps frames from getting to a device without a copy.
fn import_remedies(gpu: &Examined, problems: &[Problem]) -> Vec<String> {
    remedies(problems, &["/dev/udmabuf", "/dev/dma_heap", &gpu.report.name])
}

fn cost(route: Route) -> VerdictCost {
    match route.copies() {
        0 => VerdictCost::ZeroCopy,
        1 => VerdictCost::GpuCopy,
        _ => VerdictCost::CpuCopy,
    }
}

/// How a route is called in a verdict.
fn by(route: Route) -> &'static str {
    match route {
        Route::Buffer => "by buffer import",
        Route::Image => "by image import",
        Route::HostPointer => "by host pointer",
        Route::Copy => "by upload",
        _ => "as dma-buf",
    }
}

fn camera_to_gpu(
    place: usize,
    camera: &Camera,
    working: &[Working],
    gpu: &Examined,
    problems: &[Problem],
) -> Verdict {
    let mut verdict = Verdict {
        from: camera.name(),
        to: gpu.report.name.clone(),
        cost: VerdictCost::None,
        way: String::new(),
        reasons: Vec::new(),
        remedies: Vec::new(),
    };
    let frames = camera
        .own
        .iter()
        .map(|(frame, _)| frame)
        .chain(camera.imported.iter().map(|(_, frame)| frame));
    let Some(frame) = frames.into_iter().next() else {
        let why = camera
            .report
            .export
            .as_ref()
            .map(|attempt| attempt.detail.clone());
        verdict.way = why.unwrap_or_else(|| "it gave no picture".to_owned());
        verdict.remedies = remedies(problems, &[&camera.report.node]);
        return verdict;
    };
    let mut producer = FormatSet::new("camera")
        .with(frame.fourcc(), frame.modifier())
        .takes(Takes::Dmabufs);
    if let Some((_, kind)) = &camera.own {
        producer = producer.with_own_memory(*kind);
    }
    let taken: Vec<usize> = camera.imported.iter().map(|(index, _)| *index).collect();
    let allocators = taken
        .iter()
        .filter_map(|index| working.get(*index))
        .map(|one| &*one.allocator as &dyn Allocator);
    let layout = frame.layout().clone();
    let objects: Vec<_> = frame
        .buffer()
        .objects()
        .iter()
        .map(|object| object.size())
        .collect();
    let picture = Picture::new(layout.size()).fixed(layout, objects);
    let key = |offer: Option<usize>| match offer.and_then(|at| taken.get(at)) {
        Some(index) => Memory::Captured(place, *index),
        None => Memory::Camera(place),
    };
    settle(
        &mut verdict,
        plan(&producer, &gpu.capabilities.consumer(), allocators, &picture),
        gpu,
        key,
    );
    if verdict.cost != VerdictCost::ZeroCopy {
        verdict.remedies = import_remedies(gpu, problems);
    }
    verdict
}

fn settle(
    verdict: &mut Verdict,
    ways: Result<Ways<'_>, crate::alloc::Error>,
    gpu: &Examined,
    key: impl Fn(Option<usize>) -> Memory,
) {
    let ways = match ways {
        Ok(ways) => ways,
        Err(error) => {
            verdict.way = error.to_string();
            return;
        }
    };
    match walk(ways, |offer, route| gpu.attempt(key(offer), route)) {
        Ok((route, way, reasons)) => {
            verdict.cost = cost(route);
            verdict.way = format!("{} ({way})", by(route));
            verdict.reasons = reasons;
        }
        Err(reasons) => {
            verdict.way = "no way worked".to_owned();
            verdict.reasons = reasons;
        }
    }
}

/// Refuses what did not work when it was tried until something did: that, and what was refused before it.
fn walk<'a>(
    mut ways: Ways<'_>,
    tried: impl Fn(Option<usize>, Route) -> Option<&'a Attempt>,
) -> Result<(Route, String, Vec<String>), Vec<String>> {
    let mut refused = Vec::new();
    loop {
        let Some(way) = ways.current() else {
            return Err(refused);
        };
        let (route, name) = (way.route(), way.to_string());
        let refusal = match tried(way.candidate.memory.offer(), route) {
            Some(attempt) if attempt.works => return Ok((route, name, refused)),
            Some(attempt) => attempt.detail.clone(),
            None => "it could not be tried".to_owned(),
        };
        refused.push(format!("{name}: {refusal}"));
        if ways.refuse(refusal).is_err() {
            return Err(refused);
        }
    }
}

fn camera_to_cpu(camera: &Camera) -> Verdict {
    let given = camera
        .own
        .as_ref()
        .map(|(frame, _)| frame)
        .or(camera.imported.first().map(|(_, frame)| frame));
    let read = given.map(|frame| {
        frame
            .map_read(std::time::Duration::from_secs(1))
            .map(|view| view.has_slices())
    });
    let (cost, way) = match read {
        Some(Ok(true)) => (VerdictCost::ZeroCopy, "by mapping, rows in place".to_owned()),
        Some(Ok(false)) => (
            VerdictCost::CpuCopy,
            "by mapping, rows copied out: somebody else may write them".to_owned(),
        ),
        Some(Err(error)) => (VerdictCost::None, error.to_string()),
        None => (VerdictCost::None, "it gave no picture".to_owned()),
    };
    Verdict {
        from: camera.name(),
        to: "CPU".to_owned(),
        cost,
        way,
        reasons: Vec::new(),
        remedies: Vec::new(),
    }
}

/// Frames of a pool: what decoders, test sources and other processes fill.
fn memory_to_gpu(working: &[Working], gpu: &Examined, problems: &[Problem]) -> Verdict {
    let fourcc = crate::Fourcc::NV12;
    let producer = FormatSet::new("pool").with(fourcc, crate::Modifier::LINEAR);
    let allocators = working.iter().map(|one| &*one.allocator as &dyn Allocator);
    let mut verdict = Verdict {
        from: "frame pool".to_owned(),
        to: gpu.report.name.clone(),
        cost: VerdictCost::None,
        way: String::new(),
        reasons: Vec::new(),
        remedies: Vec::new(),
    };
    let picture = Picture::new(super::allocators::SIZE);
    let ways = plan(&producer, &gpu.capabilities.consumer(), allocators, &picture);
    settle(&mut verdict, ways, gpu, |offer| {
        Memory::Allocator(offer.unwrap_or(usize::MAX))
    });
    if verdict.cost != VerdictCost::ZeroCopy {
        verdict.remedies = import_remedies(gpu, problems);
    }
    verdict
}

/// What the device renders or computes, for encoders, PipeWire and other processes.
fn gpu_to_others(gpu: &Examined, problems: &[Problem]) -> Verdict {
    let made: Vec<_> = gpu
        .report
        .exports
        .iter()
        .filter(|attempt| attempt.works)
        .collect();
    let refused = gpu.report.exports.iter().filter(|attempt| !attempt.works);
    let exported = made.iter().any(|attempt| attempt.what != PAGES);
    let fence = match gpu.fences.works {
        true => "with a fence",
        false => "the CPU waits for it",
    };
    let exports = format!("exports of {}", gpu.report.name);
    let names: Vec<_> = made.iter().map(|attempt| attempt.what.as_str()).collect();
    let (cost, way) = match (exported, made.is_empty()) {
        (true, _) => (
            VerdictCost::ZeroCopy,
            format!("by dma-buf export of {}, {fence}", names.join(" and ")),
        ),
        (false, false) => (
            VerdictCost::GpuCopy,
            "by the GPU's copy into memory that the CPU and other processes map".to_owned(),
        ),
        (false, true) => (VerdictCost::CpuCopy, "by reading back".to_owned()),
    };
    Verdict {
        from: gpu.report.name.clone(),
        to: "encoder, PipeWire, another process".to_owned(),
        cost,
        way,
        reasons: refused
            .map(|attempt| format!("{}: {}", attempt.what, attempt.detail))
            .collect(),
        remedies: match exported {
            true => Vec::new(),
            false => remedies(problems, &["/dev/udmabuf", &gpu.report.name, &exports]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::{Error, Memfd};
    use crate::{Fourcc, Modifier, Size};

    /// A pool in a memfd, for a device with three routes of which `works` is one.
    fn walked(works: Option<Route>) -> Result<(Route, String, Vec<String>), Vec<String>> {
        let (fourcc, linear) = (Fourcc::NV12, Modifier::LINEAR);
        let producer = FormatSet::new("pool").with(fourcc, linear);
        let consumer = [Route::Buffer, Route::HostPointer, Route::Copy]
            .into_iter()
            .fold(FormatSet::new("gpu"), |set, route| {
                set.by(route).with(fourcc, linear)
            });
        let memfd = Memfd::new();
        let allocators = [&memfd as &dyn Allocator];
        let ways = plan(&producer, &consumer, allocators, &Picture::new(Size::new(64, 64)));
        let ways = ways.map_err(|error| vec![error.to_string()])?;
        let good = Attempt::of("", Ok::<_, Error>("every byte right".to_owned()));
        let bad = Attempt::of("", Err("other bytes"));
        walk(ways, |_, route| match route {
            Route::Copy if works.is_none() => None,
            route if works == Some(route) => Some(&good),
            _ => Some(&bad),
        })
    }

    #[test]
    fn a_way_that_was_seen_to_work_is_taken_and_what_failed_before_it_is_told() {
        let (route, way, reasons) = walked(Some(Route::Copy)).unwrap();
        assert_eq!((route, &*way), (Route::Copy, "NV12 LINEAR in memfd, by copy"));
        assert_eq!(reasons, ["NV12 LINEAR in memfd, by host pointer: other bytes"]);
        let (route, _, reasons) = walked(Some(Route::HostPointer)).unwrap();
        assert!(route == Route::HostPointer && reasons.is_empty());
    }

    #[test]
    fn a_cameras_remedies_are_not_those_of_another_whose_number_begins_alike() {
        let problem = |object: &str| Problem {
            object: object.to_owned(),
            reason: String::new(),
            remedy: "help".to_owned(),
        };
        let problems = [
            "/dev/video1",
            "/dev/video1 (vivid)",
            "/dev/video10",
            "/dev/video2",
        ]
        .map(problem);
        let found = |about: &str| remedies(&problems, &[about]);
        assert_eq!(
            found("/dev/video1"),
            ["/dev/video1: help", "/dev/video1 (vivid): help"]
        );
        assert_eq!(found("/dev/video10"), ["/dev/video10: help"]);
        assert_eq!(found("/dev/video").len(), 4);
    }

    #[test]
    fn when_nothing_worked_every_reason_is_told() {
        let reasons = walked(None).unwrap_err();
        assert_eq!(
            reasons,
            [
                "NV12 LINEAR in memfd, by host pointer: other bytes",
                "NV12 LINEAR in memfd, by copy: it could not be tried"
            ]
        );
    }
}
