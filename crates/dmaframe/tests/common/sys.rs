//! The environment, before libraries read it.

/// Sets a variable.
pub(crate) fn set_env(name: &str, value: &std::ffi::OsStr) {
    // SAFETY: called at a test's beginning, before any library that reads the environment is used; the other threads
    // are libtest's, which do not touch it.
    unsafe { std::env::set_var(name, value) };
}
