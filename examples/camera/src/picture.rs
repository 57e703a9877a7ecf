//! `camera.png`.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use dmaframe::convert::{Assume, Converter};
use dmaframe::{Deadline, Frame};

/// Converts the visible part on the CPU, turned upright, and writes it. Gives the bytes converted.
pub(crate) fn write_png(frame: &Frame, path: &Path) -> Result<u64> {
    // A camera that does not say its colours gets what its size suggests.
    let mut converter = Converter::new(Assume::Auto);
    let (pixels, done) = converter
        .rgba_image(frame, Deadline::NEVER)
        .context("the last frame as RGBA")?;
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), done.size.width, done.size.height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(pixels.len() as u64)
}
