//! Single pictures: PNG and JPEG.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use dmaframe::convert::{Assume, Converter};
use dmaframe::{Deadline, Frame};

/// Converts the visible part on the CPU, turned upright, and writes it, as the file's extension says. Gives the bytes
/// converted.
pub(crate) fn write(frame: &Frame, path: &Path) -> Result<u64> {
    // A camera that does not say its colours gets what its size suggests.
    let mut converter = Converter::new(Assume::Auto);
    let (pixels, done) = converter
        .rgba_image(frame, Deadline::NEVER)
        .context("the last frame as RGBA")?;
    let (width, height) = (done.size.width, done.size.height);
    let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    let mut file = BufWriter::new(file);
    match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("png") => {
            let mut encoder = png::Encoder::new(file, width, height);
            encoder.set_color(png::ColorType::Rgba);
            encoder.set_depth(png::BitDepth::Eight);
            encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
            encoder.write_header()?.write_image_data(&pixels)?;
        }
        Some("jpg" | "jpeg") => {
            let encoder = jpeg_encoder::Encoder::new(&mut file, 92);
            let fits = |side: u32| u16::try_from(side).context("a JPEG has at most 65535 columns and rows");
            encoder.encode(
                &pixels,
                fits(width)?,
                fits(height)?,
                jpeg_encoder::ColorType::Rgba,
            )?;
            file.flush()?;
        }
        _ => bail!("{}: pictures are .png, .jpg or .jpeg files", path.display()),
    }
    Ok(pixels.len() as u64)
}
