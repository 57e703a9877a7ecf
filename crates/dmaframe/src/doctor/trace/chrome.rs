//! The trace event format that Perfetto and `chrome://tracing` read ("Trace Event Format", JSON object format).

use serde_json::json;

use super::{Hop, Trace};
use crate::doctor::Error;

const PROCESS: u32 = 1;

/// The lane of a hop: what runs at the same time has lanes of its own.
fn lane(hop: Hop) -> (u32, &'static str) {
    match hop {
        Hop::Delivered => (1, "source"),
        Hop::Imported | Hop::Submitted | Hop::Released => (2, "application"),
        Hop::Gpu => (3, "GPU"),
    }
}

pub(super) fn text(trace: &Trace) -> Result<String, Error> {
    let start = trace
        .frames
        .iter()
        .flat_map(|frame| &frame.spans)
        .map(|span| span.start)
        .min()
        .unwrap_or(0);
    let micros = |ns: u64| ns as f64 / 1e3;
    let name = |thread: u32, name: &str| json!({"ph": "M", "name": "thread_name", "pid": PROCESS, "tid": thread, "args": {"name": name}});
    let mut events = vec![
        json!({"ph": "M", "name": "process_name", "pid": PROCESS, "args": {"name": trace.source}}),
        name(1, "source"),
        name(2, "application"),
        name(3, &trace.gpu),
    ];
    for frame in &trace.frames {
        for span in &frame.spans {
            let (thread, category) = lane(span.hop);
            events.push(json!({
                "ph": "X",
                "name": span.hop.to_string(),
                "cat": category,
                "pid": PROCESS,
                "tid": thread,
                "ts": micros(span.start - start),
                "dur": micros(span.end - span.start),
                "args": {"frame": frame.sequence},
            }));
        }
    }
    Ok(serde_json::to_string(&json!({
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"gpu": trace.gpu, "route": trace.route, "path": trace.path.to_string()},
    }))?)
}
