// Included once for each version of wgpu; `dw` is this crate's module for it.

use dmaframe_core::{Fourcc, Size};
use dmaframe_wgpu::{ImportOptions, Route, Routes};

use crate::common::{Shape, TIGHT, same, udmabuf_frame};

/// Odd offsets and strides, not multiples of a page or of 4.
const ODD: Shape = Shape {
    objects: 1,
    offset: 4097,
    padding: 3,
};
const TWO: Shape = Shape {
    objects: 2,
    offset: 0,
    padding: 16,
};

fn only(gpu: &Gpu, route: Route) -> Importer {
    Importer::with_options(gpu, ImportOptions::default().routes(Routes::only(&[route])))
}

#[test]
fn a_plain_device_reads_every_format_as_buffers() {
    let Some(bench) = Bench::plain() else { return };
    if !bench.dmabufs() {
        return;
    }
    let importer = only(&bench.gpu, Route::Buffer);
    for fourcc in formats() {
        for shape in [TIGHT, ODD, TWO] {
            let Some((frame, bytes)) = udmabuf_frame(fourcc, Size::new(21, 11), shape, 1) else {
                return;
            };
            let imported = importer.import(&frame).unwrap();
            assert_eq!(imported.route(), Route::Buffer);
            same(&bench.read(&imported), &bytes, &format!("{fourcc} {shape:?}"));
        }
    }
    drop(importer);
    bench.done();
}

fn formats() -> impl Iterator<Item = Fourcc> {
    dmaframe_core::format::all_formats()
        .iter()
        .map(|info| info.fourcc)
}
