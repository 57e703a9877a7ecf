//! A table of what a device takes: each format by each route.

use std::error::Error;
use std::fmt::Display;

use dmaframe_core::format::{FormatInfo, all_formats};

/// Tries each format by each route and prints a line for each format. `exact` means that `attempt` found every byte as it
/// was; a number names a reason below the table.
pub fn print_routes<R: Copy + Display>(
    routes: &[R],
    mut attempt: impl FnMut(&'static FormatInfo, R) -> Result<(), Box<dyn Error>>,
) {
    let mut reasons: Vec<String> = Vec::new();
    print!("{:<14}", "format");
    for route in routes {
        print!("{:<14}", route.to_string());
    }
    println!();
    for info in all_formats() {
        print!("{:<14}", info.name);
        for route in routes {
            let cell = match attempt(info, *route) {
                Ok(()) => "exact".to_owned(),
                Err(why) => {
                    // The format's own name would make every reason a different one.
                    let why = why.to_string().replace(&info.fourcc.to_string(), "the format");
                    let at = reasons.iter().position(|r| *r == why).unwrap_or_else(|| {
                        reasons.push(why);
                        reasons.len() - 1
                    });
                    format!("({})", at + 1)
                }
            };
            print!("{cell:<14}");
        }
        println!();
    }
    for (at, reason) in reasons.iter().enumerate() {
        println!("({}) {reason}", at + 1);
    }
}
