// What is seen.

#[test]
fn every_format_is_as_by_the_gpus_copy_shown_and_lent() {
    for bench in [Bench::plain(), Bench::ours()] {
        let Some(bench) = unified(bench) else { return };
        let (gpu, converter) = (&bench.gpu, Converter::new(&bench.gpu));
        for info in dmaframe_core::format::all_formats() {
            let what = info.fourcc.to_string();
            for shape in [ODD, Shape { objects: 2, ..TIGHT }] {
                let importer = uploads(gpu, ImportOptions::default());
                let (frame, bytes) = memfd_frame(info.fourcc, SIZE, shape, 1);
                let imported = importer.import(&frame).unwrap();
                assert_eq!((imported.route(), imported.is_in_place()), (Route::Upload, true));
                let in_place = shown(gpu, &converter, &imported);
                // The first picture that is lent is the last in place.
                same(&bench.read(&imported), &bytes, &format!("{what} lent"));
                let copied = importer.import(&frame).unwrap();
                assert_eq!((copied.route(), copied.is_in_place()), (Route::Upload, false));
                match (in_place, shown(gpu, &converter, &copied)) {
                    (Ok(found), Ok(wanted)) => same(&found, &wanted, &what),
                    (found, wanted) => panic!("{what}: {:?} in place, {:?} copied", found.err(), wanted.err()),
                }
            }
        }
        drop(converter);
        bench.done();
    }
}

#[test]
fn what_is_lent_is_a_copy_and_the_importer_makes_copies_from_then_on() {
    for bench in [Bench::plain(), Bench::ours()] {
        let Some(bench) = unified(bench) else { return };
        let (gpu, converter) = (&bench.gpu, Converter::new(&bench.gpu));
        let importer = uploads(gpu, ImportOptions::default());
        let (frame, bytes) = plain_frame(SIZE, 1);
        let first = importer.import(&frame).unwrap();
        assert!(first.is_in_place());
        same(&bench.read(&first), &bytes, "lent");
        // It is the application's to do with as it likes.
        let Source::Buffers(planes) = first.lend().unwrap() else { panic!() };
        let lent = planes[0].buffer.clone();
        lent.destroy();
        for (seed, size) in [(2, SIZE), (3, Size::new(64, 8)), (4, SIZE)] {
            let (frame, bytes) = plain_frame(size, seed);
            let imported = importer.import(&frame).unwrap();
            assert!(!imported.is_in_place(), "its application has shaders of its own");
            same(&bench.read(&imported), &bytes, "a later one");
        }
        same(&shown(gpu, &converter, &first).unwrap(), &bytes, "in place");
        assert!(gpu.settle(SOON));
        drop((first, importer, converter, lent));
        bench.done();
    }
}
