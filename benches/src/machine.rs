//! Which machine a table came from.

use std::fs::read_to_string;

/// Prints it.
pub(crate) fn print() {
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    println!(
        "{} {} {}; {}",
        text(system.sysname()),
        text(system.release()),
        text(system.machine()),
        cpu()
    );
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown").to_owned();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{cpus} CPU(s), load {load}; dmaframe {}, {} build",
        env!("CARGO_PKG_VERSION"),
        if cfg!(debug_assertions) {
            "DEBUG"
        } else {
            "release"
        }
    );
}

/// Bytes of memory that nobody uses.
#[cfg(feature = "gpu")]
pub(crate) fn free_memory() -> u64 {
    let info = rustix::system::sysinfo();
    // Both are C's unsigned long, whose width differs.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "on 64 bits")]
    (info.freeram as u64).saturating_mul(u64::from(info.mem_unit))
}

fn cpu() -> String {
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split(": ").nth(1).map(|value| value.trim().to_owned())
    };
    match (field("model name"), field("vendor_id")) {
        (Some(model), _) if model != "UML" => model,
        // A User Mode Linux guest knows its host, not its CPU.
        (_, Some(vendor)) => format!("{vendor}, host: {}", field("host").unwrap_or_default()),
        (model, _) => model.unwrap_or_default(),
    }
}
