// Included once for each version of wgpu; `dw` is this crate's module for it.

use dmaframe_core::{Fourcc, Frame, ReturnQueue, Size};
use dmaframe_testkit::producer::leased;
use dmaframe_wgpu::{Error, GpuOptions, ImportOptions, Level, Route, Routes};

use crate::common::{FALSE_ERRORS, SOON, Shape, TIGHT, memfd_frame, said, same, udmabuf_frame};

/// A stride that drivers like.
const SIZE: Size = Size::new(128, 16);
const TWO: Shape = Shape { objects: 2, ..TIGHT };
/// Routes by which the memory is other devices' too.
const SHARED: [Route; 2] = [Route::Buffer, Route::Image];

fn only(gpu: &Gpu, route: Route) -> Importer {
    Importer::with_options(gpu, ImportOptions::default().routes(Routes::only(&[route])))
}

/// Whether memory is taken over and given back.
fn takes_over(bench: &Bench) -> bool {
    bench.gpu.level() >= Level::Release
}

/// What an application may do with what it is lent: here with its last plane, whatever becomes of the others.
fn destroy(imported: &Imported) {
    match imported.lend().unwrap() {
        Source::Buffers(planes) => planes.last().unwrap().buffer.destroy(),
        Source::Textures(planes) => planes.last().unwrap().texture.destroy(),
    }
}

/// wgpu says what it refuses; the layer must have said nothing.
fn only_wgpu_spoke() {
    let said = said(&FALSE_ERRORS);
    let errors: Vec<_> = said.iter().filter(|text| text.contains("VUID")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

/// NV12 in one object, and in two where images are taken over.
fn frames(bench: &Bench) -> Option<Vec<(Frame, Vec<u8>)>> {
    let shapes = if takes_over(bench) { &[TIGHT, TWO][..] } else { &[TIGHT] };
    shapes.iter().map(|shape| udmabuf_frame(Fourcc::NV12, SIZE, *shape, 1)).collect()
}

#[test]
fn a_destroyed_import_is_refused_and_the_next_of_its_frame_is_a_new_one() {
    for bench in Bench::both() {
        let Some(frames) = frames(&bench) else { return };
        for route in SHARED {
            let importer = only(&bench.gpu, route);
            for (frame, bytes) in &frames {
                for _ in 0..3 {
                    let imported = importer.import(frame).unwrap();
                    destroy(&imported);
                    if takes_over(&bench) {
                        let refused = bench.gpu.submit(&[&imported], []);
                        assert!(matches!(refused, Err(Error::Destroyed)), "{route}: {refused:?}");
                        let refused = bench.gpu.acquire(&imported);
                        assert!(matches!(refused, Err(Error::Destroyed)), "{route}: {refused:?}");
                    }
                    assert!(!imported.is_taken_over());
                    let anew = importer.import(frame).unwrap();
                    assert_eq!(anew.route(), route);
                    same(&bench.read(&anew), bytes, "imported anew");
                    drop(imported);
                    same(&bench.read(&importer.import(frame).unwrap()), bytes, "and kept");
                }
            }
            assert_eq!(importer.kept(), frames.len(), "none that is destroyed");
        }
        bench.done_but(&FALSE_ERRORS);
    }
}

fn is_home(bench: &Bench, queue: &ReturnQueue) -> bool {
    assert!(bench.gpu.settle(SOON));
    queue.next().is_some_and(|returned| returned.fence.wait(SOON).unwrap().is_signaled())
}

#[test]
fn what_is_destroyed_while_it_is_taken_over_is_not_given_back_and_its_frame_goes_home() {
    for bench in Bench::both() {
        for (route, way) in SHARED.into_iter().flat_map(|route| (0..3).map(move |way| (route, way))) {
            let importer = only(&bench.gpu, route);
            let Some((queue, frame)) = leased(SIZE, 1) else { return };
            let imported = importer.import(&frame).unwrap();
            let acquired = bench.gpu.acquire(&imported).unwrap();
            // The GPU may not have come to it yet.
            destroy(&imported);
            match way {
                0 => drop(bench.gpu.track(acquired).unwrap()),
                1 => drop(acquired),
                _ => {
                    let encoder = bench.gpu.device().create_command_encoder(&Default::default());
                    bench.gpu.track_encoder(&encoder, acquired);
                    bench.gpu.queue().submit([encoder.finish()]);
                }
            }
            assert!(bench.gpu.settle(SOON));
            assert!(!imported.is_taken_over(), "{route}, way {way}");
            let anew = importer.import(&frame).unwrap();
            assert_eq!(bench.read(&anew).len(), 128 * 16, "{route}, way {way}");
            drop((imported, anew, frame));
            assert!(is_home(&bench, &queue), "{route}, way {way}");
        }
        bench.done_but(&FALSE_ERRORS);
    }
}

#[test]
fn the_objects_that_are_left_of_a_destroyed_import_are_given_back() {
    for bench in Bench::both() {
        let Some(frames) = frames(&bench) else { return };
        for (route, (frame, bytes)) in SHARED.into_iter().flat_map(|route| frames.iter().map(move |f| (route, f))) {
            let importer = only(&bench.gpu, route);
            let imported = importer.import(frame).unwrap();
            let acquired = bench.gpu.acquire(&imported).unwrap();
            destroy(&imported);
            assert!(bench.gpu.track(acquired).unwrap().wait(SOON).unwrap().is_signaled());
            same(&bench.read(&importer.import(frame).unwrap()), bytes, "imported anew");
        }
        bench.done_but(&FALSE_ERRORS);
    }
}

#[test]
fn wgpu_refuses_what_is_destroyed_in_the_middle_of_its_submission() {
    for bench in Bench::both().into_iter().filter(takes_over) {
        let Some(frames) = frames(&bench) else { return };
        for (route, (frame, bytes)) in SHARED.into_iter().flat_map(|route| frames.iter().map(move |f| (route, f))) {
            let importer = only(&bench.gpu, route);
            let imported = importer.import(frame).unwrap();
            let in_the_middle = std::iter::from_fn(|| {
                destroy(&imported);
                None
            });
            let refused = bench.gpu.submit(&[&imported], in_the_middle);
            assert!(matches!(refused, Err(Error::Wgpu { .. })), "{route}: {refused:?}");
            assert!(!imported.is_taken_over());
            only_wgpu_spoke();
            same(&bench.read(&importer.import(frame).unwrap()), bytes, "imported anew");
        }
        bench.done_but(&FALSE_ERRORS);
    }
}

/// Devices on which the GPU copies what it is given, and the routes by which it does.
fn copying() -> Vec<(Bench, Vec<Route>)> {
    let mut found = vec![];
    for bench in [Bench::plain(), Bench::ours()].into_iter().flatten() {
        // As on a GPU with memory of its own.
        let options = GpuOptions::default().without_in_place();
        let gpu = Gpu::with_options(bench.gpu.device(), bench.gpu.queue(), options);
        let pins = dmaframe_wgpu::vulkan::ash::ext::external_memory_host::NAME;
        let pins = gpu.vulkan().is_some_and(|gpu| gpu.extensions().has(pins));
        let routes = if pins { &[Route::Upload, Route::HostPointer][..] } else { &[Route::Upload] };
        found.push((Bench { gpu, ..bench }, routes.to_vec()));
    }
    found
}

#[test]
fn a_copy_that_was_destroyed_is_not_copied_into_again() {
    for (bench, routes) in copying() {
        for route in routes {
            let options = ImportOptions::default().routes(Routes::only(&[route])).slots(2);
            let importer = Importer::with_options(&bench.gpu, options);
            for seed in 0..6 {
                let (frame, bytes) = memfd_frame(Fourcc::NV12, SIZE, TIGHT, seed);
                let imported = importer.import(&frame).unwrap();
                assert_eq!(imported.route(), route);
                same(&bench.read(&imported), &bytes, "a copy");
                // Sometimes it has been written only just now, and sometimes two are in use.
                let other = (seed % 2 == 0).then(|| importer.import(&frame).unwrap());
                destroy(&imported);
                drop(imported);
                other.iter().for_each(destroy);
            }
        }
        bench.done();
    }
}

#[test]
fn a_copy_that_is_destroyed_before_it_is_submitted_is_an_error_and_the_next_is_none() {
    for (bench, routes) in copying() {
        for route in routes {
            let importer = only(&bench.gpu, route);
            let (frame, bytes) = memfd_frame(Fourcc::NV12, SIZE, TIGHT, 1);
            let Source::Buffers(lent) = importer.import(&frame).unwrap().lend().unwrap().clone() else {
                panic!("a copy in textures");
            };
            // It is planned for the first frame when the second is asked for.
            let mut asked = 0;
            let frames = std::iter::from_fn(|| {
                asked += 1;
                match asked {
                    1 => Some(&frame),
                    _ => {
                        lent[0].buffer.destroy();
                        None
                    }
                }
            });
            let refused = importer.import_all(frames);
            assert!(matches!(refused, Err(Error::Destroyed)), "{route}: {refused:?}");
            same(&bench.read(&importer.import(&frame).unwrap()), &bytes, "the next");
        }
        bench.done();
    }
}
