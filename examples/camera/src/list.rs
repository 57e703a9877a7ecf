//! `camera list`.

use anyhow::Result;
use dmaframe::alloc::{Chain, Sharing};
use dmaframe::v4l2::{self, Device, Sizes};

pub(crate) fn list() -> Result<()> {
    let cameras = v4l2::list()?;
    println!("cameras:");
    if cameras.is_empty() {
        println!("  none (no /dev/video* that captures; `camera` shows the built-in test picture)");
    }
    for camera in cameras {
        let caps = &camera.capabilities;
        println!("  {}  {} ({})", camera.path.display(), caps.card, caps.driver);
        if let Err(error) = formats(&Device::open(&camera.path)?) {
            println!("      {error}");
        }
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

fn formats(device: &Device) -> Result<(), v4l2::Error> {
    for offered in device.formats()? {
        let what = match offered.pixel_format.frame() {
            Some(frame) if frame.memory_planes > 1 => {
                format!("{} in {} dma-bufs", frame.fourcc, frame.memory_planes)
            }
            Some(frame) => frame.fourcc.to_string(),
            None if offered.compressed => "encoded".into(),
            None => "no frame format".into(),
        };
        let sizes = match device.sizes(offered.pixel_format)? {
            Sizes::Discrete(list) => list.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(" "),
            Sizes::Stepwise { min, max, .. } => format!("{min} to {max}"),
        };
        println!(
            "      {:<6} {:<24} {sizes}",
            offered.pixel_format.to_string(),
            what
        );
    }
    Ok(())
}
