//! `camera list`.

use anyhow::Result;
use dmaframe::alloc::{Chain, Sharing};
use dmaframe::source::Source;

pub(crate) fn list() -> Result<()> {
    let cameras = Source::list();
    say!("cameras:");
    if cameras.is_empty() {
        say!("  none (no /dev/video* that captures; `camera` shows the built-in test picture)");
    }
    for camera in cameras {
        say!("  {}", camera.to_string().replace('\n', "\n  "));
    }
    say!("allocators:");
    for allocator in Chain::standard().allocators() {
        match allocator.probe() {
            Ok(found) => say!("  {}: for {}", allocator.name(), who(found.sharing)),
            Err(reason) => say!("  {}: no ({reason})", allocator.name()),
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
