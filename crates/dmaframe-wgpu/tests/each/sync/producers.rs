// The GPU waits for the producer where it can, the CPU with a deadline where not.

const LATE: Duration = Duration::from_millis(200);

/// Writes the picture at 150 ms and signals at 200 ms, from another thread.
fn late<T: Send + 'static>(
    camera: Frame,
    bytes: Vec<u8>,
    signal: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    later(LATE - Duration::from_millis(50), move || {
        crate::common::write_now(&camera, &bytes);
        std::thread::sleep(Duration::from_millis(50));
        signal()
    })
}

/// Imports the frame, whose producer is late, and copies it on the GPU.
fn read_late(bench: &Bench, frame: &Frame, wanted: &[u8], begin: Instant) {
    let importer = Importer::with_options(&bench.gpu, ImportOptions::default().wait(SOON));
    let imported = importer.import(frame).unwrap();
    assert_eq!(imported.route(), Route::Buffer);
    let (commands, readback) = bench.copy_out(&imported);
    let called = Instant::now();
    let work = bench.gpu.submit(&[&imported], [commands]).unwrap();
    let (took, submitted) = (called.elapsed(), begin.elapsed());
    assert!(work.wait(SOON).unwrap().is_signaled());
    let done = begin.elapsed();
    println!(
        "{}: submitted after {submitted:?}, done after {done:?}",
        bench.gpu.level()
    );
    assert!(
        done >= LATE - Duration::from_millis(20),
        "nobody waited: {done:?}"
    );
    if bench.gpu.level() == Level::Explicit {
        assert!(took < Duration::from_millis(100), "the CPU waited: {took:?}");
    } else {
        assert!(
            submitted >= LATE - Duration::from_millis(20),
            "who waits? {submitted:?}"
        );
    }
    same(
        &bench.tight(&imported, &readback),
        wanted,
        "what the late producer wrote",
    );
}

#[test]
fn a_pending_acquire_fence_is_waited_for_on_the_gpu_or_else_on_the_cpu() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    for bench in both() {
        let timeline = SwSync::open(&sw_sync).unwrap();
        let (frame, camera) = shared_frame(&udmabuf, SIZE, pending(&timeline));
        let bytes = picture(LEN, 9);
        let begin = Instant::now();
        let camera = late(camera, bytes.clone(), move || {
            timeline.advance(1).unwrap();
            timeline
        });
        read_late(&bench, &frame, &bytes, begin);
        drop((camera.join().unwrap(), frame));
        bench.done();
    }
}

#[test]
fn a_fence_on_the_dma_buf_is_waited_for_too() {
    let udmabuf = need!(Device::Udmabuf);
    let vgem = need!(Device::VgemRender);
    for bench in both() {
        let vgem = Vgem::open(&vgem).unwrap();
        let (frame, camera) = shared_frame(&udmabuf, SIZE, Fence::Signaled);
        let fence = vgem
            .attach_write(frame.as_dmabuf().unwrap().lend(0).unwrap())
            .unwrap();
        let bytes = picture(LEN, 10);
        let begin = Instant::now();
        let camera = late(camera, bytes.clone(), move || vgem.signal(fence).unwrap());
        read_late(&bench, &frame, &bytes, begin);
        camera.join().unwrap();
        drop(frame);
        bench.done();
    }
}

#[test]
fn a_plain_device_waits_no_longer_than_it_was_told() {
    let udmabuf = need!(Device::Udmabuf);
    let sw_sync = need!(Device::SwSync);
    let Some(bench) = Bench::plain().filter(Bench::dmabufs) else {
        return;
    };
    let timeline = SwSync::open(&sw_sync).unwrap();
    let (frame, camera) = shared_frame(&udmabuf, SIZE, pending(&timeline));
    let wait = Duration::from_millis(50);
    let importer = Importer::with_options(&bench.gpu, ImportOptions::default().wait(wait));
    let imported = importer.import(&frame).unwrap();
    let (commands, _) = bench.copy_out(&imported);
    let begin = Instant::now();
    let refused = bench.gpu.submit(&[&imported], [commands]).unwrap_err();
    assert!(
        matches!(refused, Error::Timeout { waited, .. } if waited == wait),
        "{refused}"
    );
    assert!(begin.elapsed() >= wait);
    assert_eq!(bench.gpu.outstanding(), 0);
    timeline.advance(1).unwrap();
    let bytes = bench.read(&imported);
    same(&bytes, &vec![0; LEN], "after the fence");
    drop((imported, importer, frame, camera));
    bench.done();
}
