//! With a hand in the place of upstream, which pushes on the test's own thread: what the queue has dropped is known.

use std::sync::{Arc, Mutex};

use dmaframe_core::{Deadline, Orientation, Rotation};
use gst::prelude::*;

use super::{FrameSink, Received};
use crate::tags;

const R90: Orientation = turned(Rotation::R90);
const R180: Orientation = turned(Rotation::R180);

const fn turned(rotation: Rotation) -> Orientation {
    Orientation {
        rotation,
        mirror: false,
    }
}

struct Hand {
    pad: gst::Pad,
    element: gst::Element,
}

impl Hand {
    /// In front of a sink as it is built without any choice: two pictures wait, the oldest is dropped.
    fn and_sink() -> (Self, FrameSink) {
        let sink = FrameSink::builder().build().unwrap();
        // No bin is there that would take it on to PLAYING after a flush.
        sink.element().set_property("async", false);
        let hand = Self {
            pad: gst::Pad::builder(gst::PadDirection::Src).name("hand").build(),
            element: sink.element().clone(),
        };
        hand.pad
            .link(&sink.element().static_pad("sink").unwrap())
            .unwrap();
        hand.start();
        (hand, sink)
    }

    fn start(&self) {
        self.element.set_state(gst::State::Playing).unwrap();
        self.pad.set_active(true).unwrap();
    }

    fn stop(&self) {
        self.pad.set_active(false).unwrap();
        self.element.set_state(gst::State::Null).unwrap();
    }

    fn event(&self, event: gst::Event) {
        assert!(self.pad.push_event(event));
    }

    fn stream(&self, id: &str) {
        self.event(gst::event::StreamStart::new(id));
        let caps = gst::Caps::builder("video/x-raw").field("format", "NV12");
        let caps = caps.field("width", 16).field("height", 16);
        let caps = caps.field("framerate", gst::Fraction::new(0, 1)).build();
        self.event(gst::event::Caps::new(&caps));
        self.segment();
    }

    fn segment(&self) {
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.event(gst::event::Segment::new(&segment));
    }

    fn tag(&self, orientation: Orientation) {
        self.event(gst::event::Tag::new(tags::tag_list(orientation)));
    }

    fn flush(&self) {
        self.event(gst::event::FlushStart::new());
        self.event(gst::event::FlushStop::new(true));
        self.segment();
    }

    fn push(&self, pictures: std::ops::Range<u64>) {
        for index in pictures {
            self.pad.push(picture(index)).unwrap();
        }
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let _ = self.element.set_state(gst::State::Null);
    }
}

fn picture(index: u64) -> gst::Buffer {
    let mut buffer = gst::Buffer::with_size(16 * 16 * 3 / 2).unwrap();
    let fields = buffer.get_mut().unwrap();
    fields.set_pts(gst::ClockTime::from_mseconds(index));
    fields.set_offset(index);
    buffer
}

/// Everything there is now: a picture's number and orientation, `None` for a flush.
fn there(sink: &mut FrameSink) -> Vec<Option<(u64, Orientation)>> {
    let mut all = Vec::new();
    loop {
        match sink.next(Deadline::now()).unwrap() {
            Received::Frame(frame) => {
                all.push(Some((frame.meta().sequence.unwrap(), frame.meta().orientation)));
            }
            Received::Flushed => all.push(None),
            Received::TimedOut => return all,
            other @ Received::EndOfStream => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_orientation_outlives_the_pictures_dropped_with_its_tag() {
    let (hand, mut sink) = Hand::and_sink();
    hand.stream("a");
    hand.tag(R90);
    hand.push(0..5);
    assert_eq!(there(&mut sink), [Some((3, R90)), Some((4, R90))]);
    // And of pictures that come as a list, which the queue takes apart.
    hand.tag(R180);
    let list: gst::BufferList = (5..9).map(picture).collect();
    hand.pad.push_list(list).unwrap();
    assert_eq!(there(&mut sink), [Some((7, R180)), Some((8, R180))]);
}

#[test]
fn a_change_of_orientation_comes_with_its_first_picture_whatever_is_dropped() {
    let (hand, mut sink) = Hand::and_sink();
    hand.stream("a");
    hand.push(0..2);
    hand.tag(R90);
    hand.push(2..3);
    assert_eq!(
        there(&mut sink),
        [Some((1, Orientation::IDENTITY)), Some((2, R90))]
    );
    // The tag goes with what is dropped, or with what a flush throws away.
    hand.tag(R180);
    hand.push(3..6);
    assert_eq!(there(&mut sink), [Some((4, R180)), Some((5, R180))]);
    hand.push(6..7);
    hand.tag(R90);
    hand.push(7..8);
    hand.flush();
    hand.push(8..9);
    assert_eq!(there(&mut sink), [None, Some((8, R90))]);
}

#[test]
fn the_orientation_of_one_stream_is_not_the_nexts() {
    const PLAIN: Orientation = Orientation::IDENTITY;
    let (hand, mut sink) = Hand::and_sink();
    hand.stream("a");
    hand.tag(R90);
    hand.push(0..1);
    assert_eq!(there(&mut sink), [Some((0, R90))]);
    // Said again, as after a new link, it is the same stream.
    hand.stream("a");
    hand.push(1..2);
    assert_eq!(there(&mut sink), [Some((1, R90))]);
    hand.stream("b");
    hand.push(2..3);
    assert_eq!(there(&mut sink), [Some((2, PLAIN))], "one after another");
    for id in ["c", "b"] {
        hand.tag(R90);
        hand.push(3..4);
        assert_eq!(there(&mut sink), [Some((3, R90))]);
        hand.stop();
        hand.start();
        hand.stream(id);
        hand.push(4..5);
        assert_eq!(there(&mut sink), [Some((4, PLAIN))], "after a stop");
        hand.stream("b");
    }
}

#[test]
fn a_flush_is_told_between_the_pictures_it_came_between() {
    // What comes out when something happens after the look for flushes: before a picture is taken from the queue, or after.
    fn poll(sink: &mut FrameSink, before: impl Fn(), after: impl Fn()) -> Option<u64> {
        let received = sink.poll_with(Deadline::now(), |appsink| {
            let object = appsink.try_pull_object(gst::ClockTime::ZERO);
            let Some(object) = object else {
                before();
                return appsink.try_pull_object(gst::ClockTime::ZERO);
            };
            if object.downcast_ref::<gst::Sample>().is_some() {
                after();
            }
            Some(object)
        });
        match received.unwrap() {
            Some(Received::Frame(frame)) => frame.meta().sequence,
            Some(Received::Flushed) => None,
            other => panic!("{other:?}"),
        }
    }
    let (hand, mut sink) = Hand::and_sink();
    hand.stream("a");
    for start in [0, 10] {
        // Three, so that those that wait have no events of the flush before them.
        let flush = || {
            hand.flush();
            hand.push(start..start + 3);
        };
        assert_eq!(poll(&mut sink, flush, || ()), None, "the flush first");
        assert_eq!(poll(&mut sink, || (), || ()), Some(start + 1));
        let flush = || {
            hand.flush();
            hand.push(start + 3..start + 6);
        };
        assert_eq!(
            poll(&mut sink, || (), flush),
            Some(start + 2),
            "it was taken before the flush"
        );
        let rest: Vec<_> = there(&mut sink).into_iter().map(|one| Some(one?.0)).collect();
        assert_eq!(rest, [None, Some(start + 4), Some(start + 5)]);
    }
}

#[test]
fn no_picture_from_before_a_flush_comes_after_it_is_told() {
    let (hand, sink) = Hand::and_sink();
    let pad = sink.element().static_pad("sink").unwrap();
    let sink = Arc::new(Mutex::new(sink));
    // Behind the sink's own probe and in front of the queue, which the flush has not emptied yet.
    let (seen, taker) = (Arc::new(Mutex::new(Vec::new())), Arc::downgrade(&sink));
    let see = Arc::clone(&seen);
    pad.add_probe(gst::PadProbeType::EVENT_FLUSH, move |_, info| {
        if info
            .event()
            .is_some_and(|event| event.type_() == gst::EventType::FlushStop)
        {
            let sink = taker.upgrade().unwrap();
            see.lock().unwrap().push(there(&mut sink.lock().unwrap()));
        }
        gst::PadProbeReturn::Ok
    });
    hand.stream("a");
    for start in [0, 10] {
        hand.push(start..start + 2);
        hand.flush();
        hand.push(start + 2..start + 3);
        assert_eq!(
            there(&mut sink.lock().unwrap()),
            [Some((start + 2, Orientation::IDENTITY))]
        );
    }
    assert_eq!(*seen.lock().unwrap(), [[None], [None]]);
}
