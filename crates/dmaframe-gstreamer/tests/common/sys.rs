//! The environment, before GStreamer reads it.

/// Sets a variable.
pub fn set_env(name: &str, value: &std::ffi::OsStr) {
    // SAFETY: called under a `Once` before GStreamer is used in this process; the other threads are libtest's, which
    // wait in the same `Once` or do not touch the environment.
    unsafe { std::env::set_var(name, value) };
}
