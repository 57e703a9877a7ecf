//! `camera list`.

use anyhow::Result;
use dmaframe::alloc::{Chain, Sharing};
use dmaframe::source::Source;

pub(crate) fn list() -> Result<()> {
    let cameras = Source::list();
    println!("cameras:");
    if cameras.is_empty() {
        println!("  none (no /dev/video* that captures; `camera` shows the built-in test picture)");
    }
    for camera in cameras {
        println!("  {}", camera.to_string().replace('\n', "\n  "));
    }
    println!("allocators:");
    for allocator in Chain::standard().allocators() {
        match allocator.probe() {
            Ok(found) => println!("  {}: for {}", allocator.name(), who(found.sharing)),
            Err(reason) => println!("  {}: no ({reason})", allocator.name()),
        }
    }
    Ok(())
}

fn who(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Process => "this process only",
        Sharing::Processes => "the CPUs of other processes",
        Sharing::Devices => "devices and other processes (dma-buf)",
    }
}
