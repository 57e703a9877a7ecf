//! What tests of sources share.
#![allow(dead_code, reason = "each test binary uses some of it")]

pub(crate) mod sys;

/// GStreamer, with its list of plugins in a file that outlives the machine the test runs on: making the list takes
/// seconds, and every test binary has a machine of its own. Another kernel makes another file.
#[cfg(feature = "gstreamer")]
pub(crate) fn init_gstreamer() {
    use std::hash::{Hash, Hasher};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let mut key = std::hash::DefaultHasher::new();
        std::fs::read("/proc/version").unwrap_or_default().hash(&mut key);
        let name = format!("gst-registry-{:x}.bin", key.finish());
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if file.exists() {
            sys::set_env("GST_REGISTRY_UPDATE", "no".as_ref());
        }
        sys::set_env("GST_REGISTRY", file.as_os_str());
        gst::init().unwrap();
    });
}
