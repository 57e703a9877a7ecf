//! Single pictures: PNG, JPEG, or the planes as they are.

use std::fmt::Write as _;
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
    let mut file = BufWriter::new(create(path)?);
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

/// Writes every row of every plane with its stride, and beside it FILE.txt, which says where they are. Gives the bytes.
pub(crate) fn write_raw(frame: &Frame, path: &Path) -> Result<u64> {
    let (layout, meta) = (frame.layout(), frame.meta());
    let view = frame.map_read(Deadline::NEVER)?;
    let mut file = BufWriter::new(create(path)?);
    let (size, rect, color) = (layout.size(), frame.visible(), meta.color);
    let mut text = format!(
        "fourcc {}\nmodifier {}\nsize {size}\nvisible {} {} {}x{}\n",
        frame.fourcc(),
        frame.modifier(),
        rect.x,
        rect.y,
        rect.width,
        rect.height
    );
    let mut offset = 0;
    for (index, plane) in layout.planes().iter().enumerate() {
        let (rows, bytes) = (layout.rows(index), layout.row_bytes(index));
        writeln!(
            text,
            "plane {index} offset {offset} stride {} row {bytes} rows {rows}",
            plane.stride
        )?;
        // What is behind a row is nobody's picture.
        let padding = vec![0; (plane.stride as usize).saturating_sub(bytes)];
        for row in view.rows(index)? {
            file.write_all(row)?;
            file.write_all(&padding)?;
            offset += (row.len() + padding.len()) as u64;
        }
    }
    writeln!(
        text,
        "color primaries {} transfer {} matrix {} range {:?} siting {:?}",
        color.primaries, color.transfer, color.matrix, color.range, color.siting
    )?;
    writeln!(text, "orientation {:?}", meta.orientation)?;
    if let Some(time) = meta.timestamp {
        writeln!(text, "time {} ns {:?}", time.ns, time.clock)?;
    }
    file.flush()?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".txt");
    create(Path::new(&beside))?.write_all(text.as_bytes())?;
    Ok(offset)
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("{} cannot be written", path.display()))
}
