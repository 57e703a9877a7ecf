//! What wakes whoever waits at an endpoint: callbacks of its element, messages on the pipeline's bus.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::task::Waker;

use dmaframe_core::Deadline;
use gst::prelude::*;

use crate::error::{Error, Fault, PipelineError};
use crate::sys;

/// What is known about the pipeline around an endpoint.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The first error of the running stream.
    pub(crate) failure: Option<PipelineError>,
    /// The element was running and no longer is.
    pub(crate) stopped: bool,
    /// The end of the stream has come.
    pub(crate) eos: bool,
    /// Flushes since the element was made.
    pub(crate) flushes: u64,
    /// Between a flush's start and its stop.
    pub(crate) flushing: bool,
    /// Times that the element has run and was stopped.
    pub(crate) stops: u64,
    ticket: u64,
    wakers: Vec<Waker>,
}

/// One endpoint's condition variable.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    state: Mutex<State>,
    changed: Condvar,
}

impl Signals {
    /// Looks at the state.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&sys::lock(&self.state))
    }

    /// Changes the state and wakes everybody.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = sys::lock(&self.state);
        change(&mut state);
        state.ticket = state.ticket.wrapping_add(1);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// To be taken before looking, and waited with afterwards: what happens in between is not missed.
    pub(crate) fn ticket(&self) -> u64 {
        self.with(|state| state.ticket)
    }

    /// Waits until something has changed since `ticket`, or the deadline. `false` at the deadline.
    pub(crate) fn wait(&self, ticket: u64, deadline: Deadline) -> bool {
        let mut state = sys::lock(&self.state);
        while state.ticket == ticket {
            state = match deadline.remaining() {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// Wakes `waker` at the next change, unless there was one since `ticket`: then it says `false` and look again.
    pub(crate) fn wake(&self, ticket: u64, waker: &Waker) -> bool {
        let mut state = sys::lock(&self.state);
        if state.ticket != ticket {
            return false;
        }
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        true
    }

    /// A `STREAM_START` event passed the endpoint: what was said about the stream before is over.
    pub(crate) fn started(&self) {
        self.change(|state| {
            state.eos = false;
            if std::mem::take(&mut state.stopped) {
                (state.failure, state.flushing) = (None, false);
            }
        });
    }

    /// The failure, as an error.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.with(|state| state.failure.clone().map(Error::Pipeline))
    }
}

/// Keeps an ear on the bus of the pipeline an element is in, wherever the element is put.
///
/// Messages are heard as they are posted, on the thread that posts them, and not taken from the bus: the application
/// reads them as ever.
#[derive(Debug)]
pub(crate) struct Watch {
    element: gst::Element,
    signals: Arc<Signals>,
    heard: Mutex<Option<Heard>>,
    linked: Mutex<Option<(gst::Pad, gst::glib::SignalHandlerId, Option<gst::PadProbeId>)>>,
}

#[derive(Debug)]
struct Heard {
    bus: gst::Bus,
    handler: Option<gst::glib::SignalHandlerId>,
}

impl Drop for Heard {
    fn drop(&mut self) {
        if let Some(handler) = self.handler.take() {
            self.bus.disconnect(handler);
        }
        self.bus.disable_sync_message_emission();
    }
}

impl Watch {
    pub(crate) fn new(element: &gst::Element, pad: &gst::Pad, signals: &Arc<Signals>) -> Arc<Self> {
        let watch = Arc::new(Self {
            element: element.clone(),
            signals: Arc::clone(signals),
            heard: Mutex::default(),
            linked: Mutex::default(),
        });
        // An element is not told when it is put into a pipeline; its pad is told when it is linked, and, if the bin it is
        // in was put somewhere else after that, it sees the stream start.
        let weak = Arc::downgrade(&watch);
        let handler = pad.connect_linked(move |_, _| {
            if let Some(watch) = Weak::upgrade(&weak) {
                watch.listen();
            }
        });
        let weak = Arc::downgrade(&watch);
        let probe = pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if let Some(watch) = Weak::upgrade(&weak)
                && info
                    .event()
                    .is_some_and(|event| event.type_() == gst::EventType::StreamStart)
            {
                watch.listen();
            }
            gst::PadProbeReturn::Ok
        });
        *sys::lock(&watch.linked) = Some((pad.clone(), handler, probe));
        watch.listen();
        watch
    }

    /// Whether the element has run and is down now. One that is on its way up again is not.
    pub(crate) fn is_stopped(&self) -> bool {
        if !self.signals.with(|state| state.stopped) {
            return false;
        }
        let (_, current, pending) = self.element.state(gst::ClockTime::ZERO);
        let down = current < gst::State::Paused && pending < gst::State::Paused;
        if !down {
            self.signals.started();
        }
        down
    }

    /// Finds the bus, if it is another one than last time. Cheap when it is not.
    pub(crate) fn listen(&self) {
        let Some(bus) = top(&self.element).bus() else {
            return;
        };
        let mut heard = sys::lock(&self.heard);
        if heard.as_ref().is_some_and(|heard| heard.bus == bus) {
            return;
        }
        bus.enable_sync_message_emission();
        let (signals, element) = (Arc::downgrade(&self.signals), self.element.downgrade());
        let handler = bus.connect_sync_message(None, move |_, message| {
            if let (Some(signals), Some(element)) = (Weak::upgrade(&signals), element.upgrade()) {
                hear(&signals, &element, message);
            }
        });
        let handler = Some(handler);
        let before = heard.replace(Heard { bus, handler });
        drop(heard);
        drop(before);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some((pad, handler, probe)) = sys::lock(&self.linked).take() {
            pad.disconnect(handler);
            probe.into_iter().for_each(|probe| pad.remove_probe(probe));
        }
    }
}

/// The outermost bin, whose bus hears of everything.
fn top(element: &gst::Element) -> gst::Element {
    let mut top = element.clone();
    while let Some(parent) = top
        .parent()
        .and_then(|parent| parent.downcast::<gst::Element>().ok())
    {
        top = parent;
    }
    top
}

fn hear(signals: &Signals, element: &gst::Element, message: &gst::MessageRef) {
    match message.view() {
        gst::MessageView::Error(error) => {
            let failure = failure(message, error);
            signals.change(|state| {
                // The first is the cause. One from before a stop has had its time.
                if state.failure.is_none() || state.stopped {
                    state.failure = Some(failure);
                }
            });
        }
        gst::MessageView::StateChanged(change) => {
            if message
                .src()
                .is_none_or(|from| from.as_ptr().cast() != element.as_ptr())
            {
                return;
            }
            // The way up is told by the stream's start: a sink is PAUSED only when the first picture, or an error, has
            // come already.
            if change.old() >= gst::State::Paused && change.current() < gst::State::Paused {
                signals.change(|state| {
                    state.stopped = true;
                    state.stops += 1;
                });
            }
        }
        _ => {}
    }
}

/// What an error message says.
pub(crate) fn failure(message: &gst::MessageRef, error: &gst::message::Error) -> PipelineError {
    let from = message
        .src()
        .map_or_else(|| "a pipeline".into(), |from| from.path_string());
    PipelineError {
        element: from.to_string(),
        fault: fault(&error.error(), error.debug().as_deref()),
        message: error.error().message().to_owned(),
        debug: error.debug().map(|debug| debug.to_string()),
    }
}

fn fault(error: &gst::glib::Error, debug: Option<&str>) -> Fault {
    // A source that cannot go on says so in general terms, and why in the text for developers.
    let negotiation = error.matches(gst::CoreError::Negotiation)
        || error.matches(gst::CoreError::Caps)
        || error.matches(gst::StreamError::Format)
        || debug.is_some_and(|debug| debug.contains("not-negotiated"));
    if negotiation {
        Fault::Negotiation
    } else if error.is::<gst::ResourceError>() {
        Fault::Resource
    } else if error.is::<gst::StreamError>() {
        Fault::Stream
    } else {
        Fault::Other
    }
}
