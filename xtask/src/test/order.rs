//! How long each test binary took last time: the long ones are started first, so that none runs alone at the end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::build::TestBinary;
use crate::cache;

/// Seconds by name. Only a hint: a missing or damaged file is an empty one.
#[derive(Debug, Default)]
pub(crate) struct Durations(BTreeMap<String, f32>);

fn file() -> Option<PathBuf> {
    Some(cache::dir().ok()?.join("durations.json"))
}

impl Durations {
    /// What is known.
    pub(crate) fn load() -> Self {
        let text = file().and_then(|file| std::fs::read_to_string(file).ok());
        Self(
            text.and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
        )
    }

    /// Unknown ones first, since they may be long, then by length; names keep the order the same from run to run.
    pub(crate) fn sort(&self, binaries: &mut [TestBinary]) {
        let seconds = |binary: &TestBinary| self.0.get(&binary.name).copied().unwrap_or(f32::INFINITY);
        binaries.sort_by(|a, b| {
            seconds(b)
                .total_cmp(&seconds(a))
                .then_with(|| a.name.cmp(&b.name))
        });
    }

    /// Keeps what was seen now.
    pub(crate) fn keep<'a>(mut self, seen: impl Iterator<Item = (&'a str, f32)>) {
        self.0
            .extend(seen.map(|(name, seconds)| (name.to_owned(), seconds)));
        if let (Some(file), Ok(text)) = (file(), serde_json::to_string_pretty(&self.0)) {
            // A hint that cannot be kept is none.
            std::fs::write(file, text).ok();
        }
    }
}
