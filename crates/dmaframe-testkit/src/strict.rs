//! Work that must make no system call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{SecureComputingMode, set_secure_computing_mode};

/// Does the work 1000 times in seccomp's strict mode, under which the kernel kills a thread at its first system call but
/// `read`, `write` and `exit`.
///
/// # Panics
/// When the thread was killed, when the work was not done (`false`) each time, or when 20 seconds did not do.
pub fn without_system_calls(mut work: impl FnMut() -> bool + Send + 'static) {
    const TIMES: u64 = 1000;
    const DONE: u64 = 1_000_000;
    let well = Arc::new(AtomicU64::new(0));
    let (ready, begun) = std::sync::mpsc::channel();
    let counts = Arc::clone(&well);
    std::thread::spawn(move || {
        ready.send(()).unwrap();
        let mode = set_secure_computing_mode(SecureComputingMode::Strict);
        for _ in 0..TIMES {
            counts.fetch_add(u64::from(work() && mode.is_ok()), Ordering::Relaxed);
        }
        // What the work holds must cost no system call when it is dropped either.
        drop(work);
        counts.fetch_add(DONE, Ordering::Release);
        // The kernel ends this thread at a call that holds no lock. A thread's usual end makes calls that may.
        loop {
            std::thread::yield_now();
        }
    });
    begun.recv().unwrap();
    let begin = Instant::now();
    while well.load(Ordering::Acquire) < DONE && begin.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let well = well.load(Ordering::Acquire);
    assert_eq!(well, DONE + TIMES, "killed at a system call");
}
