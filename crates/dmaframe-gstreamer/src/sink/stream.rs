//! Frames as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use dmaframe_core::{Deadline, Frame};
use futures_core::Stream;

use super::{FrameSink, Received};
use crate::error::Error;
use crate::fences;

/// The frames of a [`FrameSink`], one after another; made by [`FrameSink::stream`].
///
/// Ends at the end of the pipeline's stream and after an error. Flushes are passed over. Needs no runtime: it is woken
/// from the pipeline's own threads.
#[derive(Debug)]
pub struct FrameStream<'a> {
    sink: &'a mut FrameSink,
    ended: bool,
}

impl<'a> FrameStream<'a> {
    pub(super) fn new(sink: &'a mut FrameSink) -> Self {
        Self { sink, ended: false }
    }
}

impl Stream for FrameStream<'_> {
    type Item = Result<Frame, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        this.sink.watch.listen();
        fences::tend();
        loop {
            let ticket = this.sink.signals.ticket();
            // Copies wait for fences no longer than not at all: a stream must not block its executor.
            match this.sink.poll_now(Deadline::now()) {
                Ok(Some(Received::Frame(frame))) => return Poll::Ready(Some(Ok(frame))),
                Ok(Some(Received::EndOfStream)) => {
                    this.ended = true;
                    return Poll::Ready(None);
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    if this.sink.signals.wake(ticket, cx.waker()) {
                        return Poll::Pending;
                    }
                }
                Err(error) => {
                    this.ended = matches!(error, Error::Pipeline(_) | Error::NotRunning { .. });
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
