//! One frame's way as a picture that needs nothing else: no script, no font, no style sheet.

use std::fmt::Write;

use super::{Hop, Trace};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 56.0;
const ROW: f64 = 34.0;

fn color(hop: Hop) -> &'static str {
    match hop {
        Hop::Delivered => "#4e79a7",
        Hop::Imported => "#59a14f",
        Hop::Submitted => "#f28e2b",
        Hop::Gpu => "#b07aa1",
        Hop::Released => "#9c755f",
    }
}

pub(super) fn text(trace: &Trace) -> String {
    let height = TOP + ROW * Hop::ALL.len() as f64 + 46.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let Some(frame) = trace.typical() else {
        svg.push_str("</svg>\n");
        return svg;
    };
    let start = frame.spans.iter().map(|span| span.start).min().unwrap_or(0);
    let total = frame.total().max(1);
    let x = |at: u64| LEFT + (WIDTH - LEFT - RIGHT) * (at - start) as f64 / total as f64;
    // A `String` takes everything.
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = svg.write_fmt(text);
        svg.push('\n');
    };
    line(format_args!(
        "<text x=\"12\" y=\"22\" font-weight=\"bold\">Frame {} of {}: {:.3} ms</text>",
        frame.sequence,
        escaped(&trace.source),
        total as f64 / 1e6
    ));
    line(format_args!(
        "<text x=\"12\" y=\"40\" fill=\"#555555\">to {} by {}; the median of {} frames</text>",
        escaped(&trace.gpu),
        escaped(&trace.route),
        trace.frames.len()
    ));
    for (row, span) in frame.spans.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let (from, to) = (x(span.start), x(span.end));
        line(format_args!(
            "<text x=\"12\" y=\"{:.1}\">{}</text>",
            y + 20.0,
            span.hop
        ));
        line(format_args!(
            "<rect x=\"{from:.2}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{:.1}\" rx=\"2\" fill=\"{}\"/>",
            y + 5.0,
            (to - from).max(1.0),
            ROW - 10.0,
            color(span.hop)
        ));
        line(format_args!(
            "<text x=\"{:.2}\" y=\"{:.1}\" fill=\"#333333\">{:.1} us</text>",
            to + 6.0,
            y + 20.0,
            (span.end - span.start) as f64 / 1e3
        ));
    }
    let base = TOP + ROW * Hop::ALL.len() as f64 + 6.0;
    line(format_args!(
        "<line x1=\"{LEFT}\" y1=\"{base}\" x2=\"{}\" y2=\"{base}\" stroke=\"#888888\"/>",
        WIDTH - RIGHT
    ));
    for tick in 0..=4u64 {
        let at = start + total * tick / 4;
        // A GPU's copy takes microseconds, a camera's exposure milliseconds.
        let (value, unit) = match total {
            0..10_000_000 => ((at - start) as f64 / 1e3, "us"),
            _ => ((at - start) as f64 / 1e6, "ms"),
        };
        line(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{value:.0} {unit}</text>",
            x(at),
            base + 18.0,
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

/// Names come from drivers.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
