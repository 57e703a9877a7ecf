//! Futures that are ready at once, as wgpu's are.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What the future gives. Of one that is not ready it asks again until it is.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
