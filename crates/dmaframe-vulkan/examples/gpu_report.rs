//! What this machine's Vulkan devices can do with frames: `cargo run --example gpu_report [part of a device's name]`.

use dmaframe_vulkan::OpenOptions;

fn main() -> std::process::ExitCode {
    let options = match std::env::args().nth(1) {
        Some(name) => OpenOptions::new().name(name),
        None => OpenOptions::new(),
    };
    match options.open() {
        Ok(gpu) => {
            print!("{}", gpu.capabilities());
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
