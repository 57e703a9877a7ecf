//! wgpu's errors as values: without a scope they go to the application's handler, which panics unless it was replaced.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::wgpu;
use crate::Error;

/// Runs `work` and gives the first error that wgpu reported in it. Does not block.
pub(super) fn scoped<T>(
    device: &wgpu::Device,
    call: &'static str,
    work: impl FnOnce() -> T,
) -> Result<T, Error> {
    let internal = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let value = work();
    let (validation, memory, internal) = (
        ready(validation.pop()),
        ready(memory.pop()),
        ready(internal.pop()),
    );
    match validation.or(memory).or(internal) {
        None => Ok(value),
        Some(error) => Err(Error::Wgpu {
            call,
            text: error.to_string(),
        }),
    }
}

/// A future that is ready at once: wgpu's are, on every native backend.
pub(super) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(found) => Some(found),
        Poll::Pending => None,
    }
}

fn ready(future: impl Future<Output = Option<wgpu::Error>>) -> Option<wgpu::Error> {
    now(future).flatten()
}
