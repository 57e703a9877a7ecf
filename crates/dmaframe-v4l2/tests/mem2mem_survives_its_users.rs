//! Consumers that hold everything, inputs that are no inputs, fences that are late or fail: a mem2mem device goes on, and
//! whatever it does not take comes back with the reason.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::codec::{SIZE, decoder, layout, plain_encoder};
use common::{PATIENCE, coded, picture, pool, rest, shown, through};
use dmaframe_core::{Bitstream, Codec, Fence, Frame, FrameMeta, Size, Starvation, SyncFile};
use dmaframe_testkit::streams::readable;
use dmaframe_testkit::{Device as Kit, Leaks, SwSync, Vgem, need};
use dmaframe_v4l2::{
    Converter, Decoder, Device, Encoder, Error, EventKind, FormatRequest, Output, PixelFormat, Role,
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn whoever_holds_every_output_gets_copies_and_stalls_nothing() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 6);
    let mut encoder = plain_encoder(&enc);
    let (_, buffers) = encoder.slots();
    let mut held = Vec::new();
    for n in 0..20 {
        encoder.submit(picture(&pool, n, n), PATIENCE).unwrap();
        held.push(encoder.next(PATIENCE).unwrap().unwrap().into_item().unwrap());
    }
    let stats = encoder.stats();
    assert_eq!(stats.delivered + stats.detached, 20);
    assert!(
        stats.delivered >= 1 && stats.delivered <= buffers as u64 - 2,
        "{stats:?}"
    );
    assert!(encoder.output_hop().counts().cpu_bytes > 0, "and that was told");
    assert_eq!(pool.outstanding(), 0);
    // What they hold is what was encoded: it decodes, while everything of the decoder is held too.
    let mut decoder = decoder(&dec, SIZE);
    let mut frames = Vec::new();
    let times: Vec<_> = held.iter().map(|unit| unit.timestamp().unwrap().ns).collect();
    through(&mut decoder, held, |output| {
        frames.extend(output.into_item());
        None::<()>
    });
    assert_eq!(times, (0..20).collect::<Vec<_>>());
    assert_eq!(frames.len(), 20);
    assert!(decoder.stats().detached >= 16, "{:?}", decoder.stats());
    let pictures: Vec<_> = frames.iter().map(common::pixels).collect();
    assert!(
        pictures.windows(2).all(|two| two[0] != two[1]),
        "no frame was overwritten by the next"
    );
}

#[test]
fn no_room_is_told_at_once_and_the_descriptor_says_when_there_is_again() {
    let enc = need_m2m!("vicodec", Encoder);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 16);
    let mut encoder = plain_encoder(&enc);
    assert!(!readable(&encoder, ms(0)), "nothing to do yet");
    let mut rejected = None;
    let mut taken = 0;
    for n in 0..16 {
        match encoder.try_submit(picture(&pool, n, n)) {
            Ok(()) => taken += 1,
            Err(full) => {
                rejected = Some(full);
                break;
            }
        }
    }
    // As many as both queues hold: nobody took an output.
    let (inputs, outputs) = encoder.slots();
    assert!(taken >= inputs && taken <= inputs + outputs, "{taken}");
    let rejected = rejected.expect("it took more than it has buffers for");
    assert!(
        matches!(rejected.error, Error::Full { buffers, .. } if buffers == inputs),
        "{}",
        rejected.error
    );
    let again = encoder
        .submit(rejected.value, Duration::from_millis(30))
        .unwrap_err();
    assert!(matches!(again.error, Error::Full { .. }), "the deadline is kept");
    assert!(readable(&encoder, ms(900)), "outputs wait");
    let mut out = 0;
    while encoder.try_next().unwrap().is_some() {
        out += 1;
    }
    assert!(out > 0);
    encoder.submit(again.value, PATIENCE).unwrap();
    taken += 1;
    encoder.drain().unwrap();
    assert_eq!(out + rest(&mut encoder).len(), taken);
    // The units just dropped are taken back.
    assert!(encoder.try_next().unwrap().is_none());
    assert!(!readable(&encoder, ms(20)), "after the end an event loop sleeps");
    encoder.submit(picture(&pool, 0, 99), PATIENCE).unwrap();
    assert!(readable(&encoder, ms(900)), "and wakes again");
}

#[test]
fn bytes_that_are_no_stream_are_told_and_the_next_stream_decodes() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 6);
    let units = through(
        &mut plain_encoder(&enc),
        (0..4).map(|n| picture(&pool, n, n)),
        coded,
    );
    let unit =
        |bytes: Vec<u8>, codec| Bitstream::from_bytes(bytes, codec, true, FrameMeta::default()).unwrap();

    let mut decoder = decoder(&dec, SIZE);
    let wrong = decoder.try_submit(unit(vec![0; 100], Codec::H264)).unwrap_err();
    assert!(matches!(&wrong.error, Error::InputMismatch { reason, .. } if reason.contains("H264")));
    let limit = decoder.input_format().memory_planes()[0].size as usize;
    let long = decoder
        .try_submit(unit(vec![0; limit + 1], Codec::FWHT))
        .unwrap_err();
    assert!(
        matches!(long.error, Error::UnitSize { found, limit: l, .. } if found == limit + 1 && l == limit),
        "{}",
        long.error
    );
    assert_eq!(long.value.len(), limit + 1, "given back");

    // No header in it at all: the driver drops it.
    decoder
        .submit(unit(vec![0x55; 1000], Codec::FWHT), PATIENCE)
        .unwrap();
    // A stream whose second unit claims four components in a format of three.
    let mut damaged = units[1].map_read(PATIENCE).unwrap().to_vec().unwrap();
    damaged[21] = damaged[21] & !7 | 3;
    let inputs = [units[0].clone(), unit(damaged, Codec::FWHT), units[0].clone()];
    let (mut pictures, mut errors) = (0, 0);
    for input in inputs {
        decoder.submit(input, PATIENCE).unwrap();
    }
    decoder.drain().unwrap();
    loop {
        match decoder.next(PATIENCE).unwrap().expect("it went on") {
            Output::Item(_) => pictures += 1,
            Output::Damaged(_) => errors += 1,
            Output::Drained => break,
            _ => {}
        }
    }
    assert_eq!((pictures, errors, decoder.stats().errors), (2, 1, 1));
    let pictures = through(&mut decoder, units, shown);
    assert_eq!(pictures.len(), 4);
}

#[test]
fn devices_that_do_something_else_are_refused_by_name() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let visl = need_m2m!("visl", StatelessDecoder);
    let stateless = need_m2m!("vicodec", StatelessDecoder);
    let camera = need_vivid!();
    let open = |path: &Path| Device::open_m2m(path).unwrap();
    let error = Decoder::builder(open(&enc)).start().unwrap_err();
    assert!(
        matches!(&error, Error::NotRole { wanted: Role::Decoder, found, .. } if *found == [Role::Encoder]),
        "{error}"
    );
    assert!(Encoder::builder(open(&dec)).start().is_err() && Converter::builder(open(&dec)).start().is_err());
    for path in [visl, stateless] {
        let error = Decoder::builder(open(&path)).start().unwrap_err();
        assert!(
            matches!(&error, Error::Stateless { device, .. } if *device == path),
            "{error}"
        );
        assert!(error.to_string().contains("request API"), "{error}");
    }
    let named = Decoder::builder(open(&dec))
        .input(FormatRequest::new(PixelFormat::new(b"S264"), SIZE))
        .start()
        .unwrap_err();
    assert!(matches!(named, Error::Stateless { format, .. } if format == PixelFormat::new(b"S264")));
    assert!(matches!(Device::open_m2m(&camera), Err(Error::NotM2m { .. })));
    let error = Device::open(&enc).unwrap_err();
    assert!(error.to_string().contains("mem2mem"), "{error}");
    let refused = Encoder::builder(open(&enc))
        .input(FormatRequest::new(PixelFormat::new(b"RG10"), SIZE))
        .start()
        .unwrap_err();
    assert!(matches!(refused, Error::FormatRefused { .. }), "{refused}");
    let small = Encoder::builder(open(&enc))
        .input(FormatRequest::new(PixelFormat::NV12, Size::new(320, 180)))
        .start()
        .unwrap_err();
    assert!(
        matches!(small, Error::SizeRefused { asked, .. } if asked == Size::new(320, 180)),
        "{small}"
    );
}

fn with_fence(pool: &dmaframe_alloc::FramePool, fence: Fence) -> Frame {
    let mut frame = picture(pool, 1, 1);
    frame.acquire_after(fence).unwrap();
    frame
}

#[test]
fn the_driver_reads_nothing_before_the_pictures_fences_have_signalled() {
    let enc = need_m2m!("vicodec", Encoder);
    let sync = need!(Kit::SwSync);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 4);
    let mut encoder = plain_encoder(&enc);
    let timeline = SwSync::open(&sync).unwrap();
    let fence = |at| Fence::from(SyncFile::new(timeline.fence(at).unwrap()).unwrap());

    let pending = encoder.try_submit(with_fence(&pool, fence(1))).unwrap_err();
    let timeout = |error: &Error| {
        matches!(
            error,
            Error::Core {
                error: dmaframe_core::Error::Timeout {
                    what: "acquire fence"
                },
                ..
            }
        )
    };
    assert!(timeout(&pending.error), "{}", pending.error);
    let late = encoder
        .submit(pending.value, Duration::from_millis(20))
        .unwrap_err();
    assert!(timeout(&late.error), "{}", late.error);
    assert_eq!(encoder.queued(), 0);
    timeline.advance(1).unwrap();
    encoder.try_submit(late.value).unwrap();

    let waiting = with_fence(&pool, fence(2));
    let helper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        timeline.advance(1).unwrap();
        timeline
    });
    encoder.submit(waiting, PATIENCE).unwrap();
    let timeline = helper.join().unwrap();

    let failing = with_fence(
        &pool,
        Fence::from(SyncFile::new(timeline.fence(9).unwrap()).unwrap()),
    );
    drop(timeline);
    let failed = encoder.submit(failing, PATIENCE).unwrap_err();
    assert!(
        matches!(
            failed.error,
            Error::Core {
                error: dmaframe_core::Error::FenceFailed { .. },
                ..
            }
        ),
        "{}",
        failed.error
    );
    encoder.drain().unwrap();
    assert_eq!(rest(&mut encoder).len(), 2);
}

/// A renderer that only knows implicit sync has put its fence on the dma-buf: V4L2 would not look.
#[test]
fn a_fence_on_the_dma_buf_itself_is_waited_for_too() {
    let enc = need_m2m!("vicodec", Encoder);
    let vgem = need!(Kit::VgemRender);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 2);
    let mut encoder = plain_encoder(&enc);
    let vgem = Vgem::open(&vgem).unwrap();
    let frame = picture(&pool, 1, 1);
    let number = vgem
        .attach_write(frame.as_dmabuf().unwrap().lend(0).unwrap())
        .unwrap();
    let early = encoder.try_submit(frame).unwrap_err();
    assert!(
        matches!(
            early.error,
            Error::Core {
                error: dmaframe_core::Error::Timeout { .. },
                ..
            }
        ),
        "{}",
        early.error
    );
    vgem.signal(number).unwrap();
    encoder.submit(early.value, PATIENCE).unwrap();
    assert_eq!(encoder.input_hop().counts().zero_copy, 1);
}

#[test]
fn dropping_it_in_full_flight_gives_everything_back() {
    let enc = need_m2m!("vicodec", Encoder);
    let dec = need_m2m!("vicodec", Decoder);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 8);
    drop(picture(&pool, 0, 0));
    let before = Leaks::now();
    let mut encoder = plain_encoder(&enc);
    for n in 0..4 {
        encoder.submit(picture(&pool, n, n), PATIENCE).unwrap();
    }
    let unit = encoder.next(PATIENCE).unwrap().unwrap().into_item().unwrap();
    let mut decoder = decoder(&dec, SIZE);
    decoder.submit(unit.clone(), PATIENCE).unwrap();
    drop((encoder, decoder));
    assert_eq!(pool.outstanding(), 0);
    assert!(
        !unit.map_read(PATIENCE).unwrap().to_vec().unwrap().is_empty(),
        "it outlives its encoder"
    );
    drop(unit);
    let after = Leaks::now();
    assert_eq!(before.fds, after.fds);
}

/// All outputs are with consumers and all inputs with the driver: what makes room is that a consumer gives one back, or
/// that its work on one it gave back is done.
#[test]
fn whoever_waits_for_room_is_woken_by_an_output_that_comes_back() {
    let enc = need_m2m!("vicodec", Encoder);
    let sync = need!(Kit::SwSync);
    let timeline = SwSync::open(&sync).unwrap();
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 8);
    let mut encoder = Encoder::builder(Device::open_m2m(&enc).unwrap())
        .input(FormatRequest::new(PixelFormat::NV12, SIZE))
        .budget(0, Starvation::Drop)
        .buffers(2, 2)
        .start()
        .unwrap();
    let (inputs, outputs) = encoder.slots();
    let mut held = Vec::new();
    let mut number = 0;
    let mut next = |pool| {
        number += 1;
        picture(pool, number, number)
    };
    for _ in 0..outputs {
        encoder.submit(next(&pool), PATIENCE).unwrap();
        held.push(encoder.next(PATIENCE).unwrap().unwrap().into_item().unwrap());
    }
    for _ in 0..inputs {
        encoder.try_submit(next(&pool)).unwrap();
    }
    let soon = Duration::from_millis(50);
    for fenced in [false, true] {
        let full = encoder.submit(next(&pool), soon).unwrap_err();
        assert!(matches!(full.error, Error::Full { .. }), "{}", full.error);
        let one = held.pop().unwrap();
        if fenced {
            one.release_after(SyncFile::new(timeline.fence(1).unwrap()).unwrap().into());
        }
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(soon);
                drop(one);
                std::thread::sleep(soon);
                timeline.advance(1).unwrap();
            });
            encoder.submit(full.value, PATIENCE).unwrap();
        });
        assert!(start.elapsed() < PATIENCE / 2, "woken by the deadline alone");
        // The room that this made is taken, and its output held.
        held.insert(0, encoder.next(PATIENCE).unwrap().unwrap().into_item().unwrap());
    }
}

/// Nothing is on its way, so no device is going to say that nothing is left.
#[test]
fn the_end_of_an_empty_drain_makes_the_descriptor_readable() {
    let dec = need_m2m!("vicodec", Decoder);
    let conv = need_m2m!("vim2m", Converter);
    let mut converter = Converter::builder(Device::open_m2m(&conv).unwrap())
        .input(FormatRequest::new(PixelFormat::RGB24, Size::new(64, 48)))
        .start()
        .unwrap();
    let mut decoder = decoder(&dec, SIZE);
    for round in 0..3 {
        assert!(
            !readable(&converter, ms(0)) && !readable(&decoder, ms(0)),
            "round {round}"
        );
        converter.drain().unwrap();
        decoder.drain().unwrap();
        assert!(
            readable(&converter, ms(0)) && readable(&decoder, ms(0)),
            "round {round}"
        );
        assert!(matches!(converter.try_next(), Ok(Some(Output::Drained))));
        assert!(matches!(decoder.try_next(), Ok(Some(Output::Drained))));
        assert!(converter.try_next().unwrap().is_none() && decoder.try_next().unwrap().is_none());
    }
    assert!(
        !readable(&converter, ms(20)) && !readable(&decoder, ms(20)),
        "told once"
    );
}

/// Whoever subscribed to an encoder's events takes them from the device; until then they do not keep an event loop busy.
#[test]
fn events_that_the_caller_subscribed_to_do_not_make_the_descriptor_readable() {
    let enc = need_m2m!("vicodec", Encoder);
    let pool = pool(&layout(PixelFormat::NV12, SIZE), 4);
    let mut encoder = plain_encoder(&enc);
    encoder.device().subscribe(EventKind::EndOfStream).unwrap();
    encoder.submit(picture(&pool, 0, 0), PATIENCE).unwrap();
    encoder.drain().unwrap();
    assert_eq!(rest(&mut encoder).len(), 1);
    encoder.submit(picture(&pool, 1, 1), PATIENCE).unwrap();
    drop(encoder.next(PATIENCE).unwrap().unwrap());
    while encoder.try_next().unwrap().is_some() {}
    assert!(!readable(&encoder, ms(50)), "an event loop would spin");
    let event = encoder.device().next_event().unwrap().expect("it is still there");
    assert_eq!(event.kind, Some(EventKind::EndOfStream));
}
