//! Frames by the routes of this library: ready for a shader on the GPU, and out of it again.

use std::collections::VecDeque;
use std::time::Duration;

use dmaframe_core::{ColorInfo, Frame, FrameMeta};
use dmaframe_wgpu::v30::{ExportPool, Exporting, Importer};
use dmaframe_wgpu::{ExportMemory, ImportOptions, Route, Routes};

use super::{Bench, Picture, clock};
use crate::memory::Kind;

const PATIENCE: Duration = Duration::from_secs(5);

/// As many as a camera may have.
pub(crate) const SLOTS: usize = 6;

/// As a camera's buffers, but as many as the CPU's caches do not hold.
pub(crate) fn in_turn(bench: &Bench, picture: &Picture, kind: Kind) -> Result<Vec<Frame>, String> {
    let count = bench.in_turn(picture);
    let pool = kind.pool(picture.fourcc, picture.size, count)?;
    (0..count)
        .map(|_| pool.try_acquire().map_err(|e| e.to_string()))
        .collect()
}

/// Pictures in memory of that kind, so many together, by that route alone.
fn import(
    bench: &Bench,
    picture: &Picture,
    kind: Kind,
    route: Route,
    together: usize,
) -> Result<f64, String> {
    let frames = in_turn(bench, picture, kind)?;
    let options = ImportOptions::default()
        .routes(Routes::only(&[route]))
        .capacity(frames.len());
    let importer = Importer::with_options(&bench.gpu, options);
    let mut next = 0;
    let all = clock::seconds(bench.round, |count| {
        for _ in 0..count {
            let some = (next..next + together).map(|index| &frames[index % frames.len()]);
            next += together;
            drop(importer.import_all(some).map_err(|e| e.to_string())?);
            // As a camera's buffers do: a few submissions under way, and the next when one is back.
            if !bench.gpu.settle_to(bench.ahead, PATIENCE) {
                return Err("the GPU does not go on".into());
            }
        }
        match bench.gpu.settle(PATIENCE) {
            true => Ok(()),
            false => Err("the GPU does not come to an end".into()),
        }
    })?;
    Ok(all / together as f64)
}

/// A dma-buf, where the GPU takes any: nothing is moved.
pub(crate) fn buffer(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    import(bench, picture, Kind::Udmabuf, Route::Buffer, 1)
}

/// A memfd's pages: the GPU fetches them.
pub(crate) fn host_pointer(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    import(bench, picture, Kind::Memfd, Route::HostPointer, 1)
}

/// The same for four pictures at a time, as several cameras' or a burst's come: with one submission.
pub(crate) fn host_pointer_together(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    import(bench, picture, Kind::Memfd, Route::HostPointer, 4)
}

/// The CPU copies into memory that the GPU fetches from.
pub(crate) fn upload(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    import(bench, picture, Kind::Memfd, Route::Upload, 1)
}

/// What was rendered, as a frame in a memfd: the GPU copies it there.
pub(crate) fn export(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    exporting(bench, picture, &[ExportMemory::Exported])
}

/// The same with the CPU's copy, where neither a dma-buf nor a memfd can be written by the GPU.
pub(crate) fn read_back(bench: &Bench, picture: &Picture) -> Result<f64, String> {
    exporting(
        bench,
        picture,
        &[ExportMemory::Exported, ExportMemory::HostPointer],
    )
}

/// In the best kind of memory that is not `off`, which is the one after the last of these.
fn exporting(bench: &Bench, picture: &Picture, off: &[ExportMemory]) -> Result<f64, String> {
    let builder = ExportPool::builder(&bench.gpu, picture.fourcc, picture.size)
        .color(ColorInfo::BT709)
        .slots(SLOTS);
    let builder = off
        .iter()
        .fold(builder, |builder, memory| builder.without(*memory));
    let pool = builder.build().map_err(|e| e.to_string())?;
    let wanted = match off {
        [ExportMemory::Exported] => ExportMemory::HostPointer,
        _ => ExportMemory::Readback,
    };
    if pool.memory() != wanted {
        let reasons: Vec<_> = pool.passed_over().iter().map(ToString::to_string).collect();
        return Err(format!("it is {}; {}", pool.memory(), reasons.join("; ")));
    }
    let view = pool.try_acquire().map_err(|e| e.to_string())?.view();
    let mut flying = VecDeque::new();
    let meta = FrameMeta::default();
    clock::seconds(bench.round, |count| {
        let finish = |flying: &mut VecDeque<Exporting>, leave| {
            while flying.len() > leave {
                if let Some(oldest) = flying.pop_front() {
                    drop(oldest.frame(PATIENCE).map_err(|e| e.to_string())?);
                }
            }
            Ok::<_, String>(())
        };
        for _ in 0..count {
            finish(&mut flying, bench.ahead)?;
            let mut target = pool.acquire(PATIENCE).map_err(|e| e.to_string())?;
            target.set_source(&view);
            flying.push_back(target.submit([], &meta).map_err(|e| e.to_string())?);
        }
        finish(&mut flying, 0)
    })
}
