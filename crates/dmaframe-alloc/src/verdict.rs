//! Which allocator was taken, and why not the ones before it.

use std::fmt;

use crate::error::Error;

/// An allocator that was not taken.
#[derive(Clone, Debug)]
pub struct PassedOver {
    /// Its name.
    pub allocator: String,
    /// Why.
    pub reason: Error,
}

/// The outcome of the last allocation, kept for logs and reports.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// The allocator that made the memory; `None` when none could, or before the first allocation.
    pub chosen: Option<String>,
    /// Those asked before it, in order.
    pub passed_over: Vec<PassedOver>,
}

impl fmt::Display for Verdict {
    /// `udmabuf passed over (...); memfd` on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, passed) in self.passed_over.iter().enumerate() {
            let comma = if i == 0 { "" } else { "; " };
            write!(f, "{comma}{} passed over ({})", passed.allocator, passed.reason)?;
        }
        match (&self.chosen, self.passed_over.is_empty()) {
            (Some(name), true) => f.write_str(name),
            (Some(name), false) => write!(f, "; {name} taken"),
            (None, true) => f.write_str("nothing asked for yet"),
            (None, false) => Ok(()),
        }
    }
}
