//! Tables.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use crate::step::{Cost, Step};

/// One line.
pub(crate) struct Row {
    group: &'static str,
    name: String,
    copied: u64,
    cost: Result<Cost, String>,
    calls: Option<String>,
}

impl Row {
    pub(crate) fn new(step: &Step, cost: Result<Cost, String>, calls: Option<&str>) -> Self {
        Self {
            group: step.group,
            name: step.name.clone(),
            copied: step.copied,
            cost,
            calls: calls.map(str::to_owned),
        }
    }
}

/// Prints a table for each group.
pub(crate) fn print(rows: &[Row]) {
    let mut notes = Vec::new();
    for group in rows.chunk_by(|a, b| a.group == b.group) {
        let calls = group.iter().any(|row| row.calls.is_some());
        let mut table = Table::new();
        table
            .load_preset(presets::ASCII_MARKDOWN)
            .set_content_arrangement(ContentArrangement::Disabled);
        let mut header = vec![group[0].group, "median", "min", "bytes copied", "allocations"];
        header.extend(calls.then_some("system calls"));
        table.set_header(header);
        for row in group {
            let mut cells = vec![Cell::new(&row.name)];
            match &row.cost {
                Ok(cost) => {
                    cells.push(right(time(cost.median_ns)));
                    cells.push(right(time(cost.min_ns)));
                    cells.push(right(row.copied.to_string()));
                    cells.push(right(number(cost.allocations)));
                    cells.extend(row.calls.as_ref().filter(|_| calls).map(Cell::new));
                }
                Err(why) => cells.push(Cell::new(note(&mut notes, why))),
            }
            table.add_row(cells);
        }
        println!("\n{table}");
    }
    println!();
    for (number, why) in notes.iter().enumerate() {
        println!("({}) {why}", number + 1);
    }
}

/// The number under which a reason stands below the tables.
fn note<'a>(notes: &mut Vec<&'a str>, why: &'a str) -> String {
    let number = notes.iter().position(|note| *note == why).unwrap_or_else(|| {
        notes.push(why);
        notes.len() - 1
    });
    format!("not run ({})", number + 1)
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns < 9.95 => format!("{ns:.1} ns"),
        ns if ns < 9_995.0 => format!("{ns:.0} ns"),
        ns if ns < 999_500.0 => format!("{:.1} us", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

fn number(n: f64) -> String {
    // A stray allocation in a thousand is the process, not the step.
    if (n - n.round()).abs() < 0.01 {
        format!("{n:.0}")
    } else {
        format!("{n:.2}")
    }
}
