// Included once for each version of wgpu; `dw` is this crate's module for it.

use dmaframe_core::{Fourcc, Size};
use dmaframe_wgpu::{Error, ImportOptions, Refusal, Route, Routes};

use crate::common::{FALSE_ERRORS, Shape, memfd_frame, same, udmabuf_frame};

const SHAPE: Shape = Shape {
    objects: 1,
    offset: 64,
    padding: 64,
};
const SIZE: Size = Size::new(64, 32);

#[test]
fn each_route_that_is_off_leaves_the_next_with_the_same_bytes() {
    let Some(bench) = Bench::ours().filter(Bench::dmabufs) else {
        return;
    };
    let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, SIZE, SHAPE, 1) else {
        return;
    };
    let mut options = ImportOptions::default();
    for route in [Route::Buffer, Route::Image, Route::Upload] {
        let importer = Importer::with_options(&bench.gpu, options.clone());
        let imported = importer.import(&frame).unwrap();
        assert_eq!(imported.route(), route);
        same(&bench.read(&imported), &bytes, &route.to_string());
        for verdict in importer.verdicts() {
            println!("{}: {verdict}", options.routes);
        }
        let host = importer
            .verdicts()
            .into_iter()
            .find(|v| v.route == Route::HostPointer);
        assert_eq!(host.is_some(), route == Route::Upload);
        assert!(host.is_none_or(|v| v.refusal == Some(Refusal::IsDmabuf) && v.lasting));
        options = options.without(route);
    }
    // Only the host pointer is left, which takes no dma-buf.
    let importer = Importer::with_options(&bench.gpu, options.clone());
    let Err(Error::NoRoute(reasons)) = importer.import(&frame) else {
        panic!("taken by {}", options.routes)
    };
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    for (route, why) in reasons {
        let off = route != Route::HostPointer;
        assert_eq!(
            why,
            if off {
                Refusal::SwitchedOff
            } else {
                Refusal::IsDmabuf
            }
        );
    }
    let (memfd, memfd_bytes) = memfd_frame(Fourcc::NV12, SIZE, SHAPE, 2);
    let imported = importer.import(&memfd).unwrap();
    assert_eq!(imported.route(), Route::HostPointer);
    same(&bench.read(&imported), &memfd_bytes, "host pointer");
    drop((imported, importer, frame, memfd));
    bench.done_but(&FALSE_ERRORS);
}

#[test]
fn a_lasting_verdict_is_not_asked_for_again_and_the_order_is_the_users() {
    let Some(bench) = Bench::plain().filter(Bench::dmabufs) else {
        return;
    };
    let routes: Routes = "image,upload".parse().unwrap();
    let importer = Importer::with_options(&bench.gpu, ImportOptions::default().routes(routes));
    // No image has samples that share bytes.
    for seed in 0..3 {
        let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV15, SIZE, SHAPE, seed) else {
            return;
        };
        let imported = importer.import(&frame).unwrap();
        assert_eq!(imported.route(), Route::Upload);
        same(&bench.read(&imported), &bytes, "NV15");
    }
    let verdicts = importer.verdicts();
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
    assert!(
        verdicts[0].lasting && verdicts[0].refusal.is_some(),
        "{}",
        verdicts[0]
    );
    assert_eq!(verdicts[0].exporter, "udmabuf");
    drop(importer);
    bench.done();
}
