//! One picture, encoded: PNG and JPEG.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::{Deadline, Frame};

use super::Error;

/// How good a JPEG is, of 100.
const QUALITY: u8 = 92;

/// What a single picture is written as: what its file's name says. Asked for before there is a picture, so that a name nobody
/// can write costs neither the picture nor a file that is there.
///
/// ```
/// # use dmaframe::{Fourcc, Frame, FrameMeta, Layout, Size};
/// use dmaframe::sink::Photo;
///
/// # let layout = Layout::tight(Fourcc::NV12, Size::new(4, 2))?;
/// # let frame = Frame::from_bytes(vec![128; layout.object_len(0) as usize], &layout, FrameMeta::default())?;
/// # let file = std::env::temp_dir().join(format!("dmaframe-photo-{}.png", std::process::id()));
/// assert!(Photo::of("picture.txt").is_err());
/// let photo = Photo::of(&file)?; // before the camera is opened, say
/// let converted = photo.save(&frame, std::time::Duration::from_secs(1))?;
/// assert_eq!(converted, 4 * 4 * 2);
/// # std::fs::remove_file(file)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Photo {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Png,
    Jpeg,
}

impl Photo {
    /// By the file's extension: `png`, `jpg` or `jpeg`. Touches nothing.
    ///
    /// # Errors
    /// [`Error::Extension`].
    pub fn of(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        let kind = match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("png") => Kind::Png,
            Some("jpg" | "jpeg") => Kind::Jpeg,
            _ => {
                let known = "pictures are .png, .jpg or .jpeg files";
                return Err(Error::Extension { path, known });
            }
        };
        Ok(Self { path, kind })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Converts the visible part on the CPU, upright, and writes the file, which is replaced if it exists. Gives the bytes
    /// converted. Waits for the frame's fences until the deadline, and blocks until the file is written.
    ///
    /// # Errors
    /// [`Error::File`], also for a disk that is full at the end; [`Error::Convert`] for frames that the CPU cannot read: then
    /// the file is as it was.
    pub fn save(&self, frame: &Frame, deadline: impl Into<Deadline>) -> Result<u64, Error> {
        let create = || Ok((File::create(&self.path)?, self.path.clone()));
        self.write(frame, deadline.into(), create).map(|(_, bytes)| bytes)
    }

    /// [`Photo::save`] into the first file that is not there yet: `photo-1.png`, `photo-2.png` and so on for `photo.png`.
    /// Gives its name. Several at once never write into one file.
    ///
    /// # Errors
    /// As [`Photo::save`].
    pub fn save_numbered(&self, frame: &Frame, deadline: impl Into<Deadline>) -> Result<PathBuf, Error> {
        let create = || {
            let mut number = 1_u64;
            loop {
                let path = self.numbered(number);
                match File::create_new(&path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                    made => return made.map(|file| (file, path)),
                }
            }
        };
        self.write(frame, deadline.into(), create).map(|(path, _)| path)
    }

    fn numbered(&self, number: u64) -> PathBuf {
        let mut name = self.path.file_stem().unwrap_or_default().to_owned();
        name.push(format!("-{number}."));
        name.push(self.path.extension().unwrap_or_default());
        self.path.with_file_name(name)
    }

    fn write(
        &self,
        frame: &Frame,
        deadline: Deadline,
        create: impl FnOnce() -> io::Result<(File, PathBuf)>,
    ) -> Result<(PathBuf, u64), Error> {
        // A camera that does not say its colours gets what its size suggests.
        let (pixels, done) = Converter::new(Assume::Auto).rgba_image(frame, deadline)?;
        let (width, height) = (done.size.width, done.size.height);
        let failed = || Error::file(&self.path);
        if self.kind == Kind::Jpeg && width.max(height) > u32::from(u16::MAX) {
            let most = io::Error::other("a JPEG has at most 65535 columns and rows");
            return Err(failed()(most));
        }
        let (file, path) = create().map_err(failed())?;
        let mut file = BufWriter::new(file);
        let written = match self.kind {
            Kind::Png => png(&mut file, &pixels, width, height),
            Kind::Jpeg => jpeg(&mut file, &pixels, width, height),
        };
        // What is still in the buffer too: a full disk is found here.
        written.and_then(|()| file.flush()).map_err(Error::file(&path))?;
        Ok((path, pixels.len() as u64))
    }
}

fn png(file: impl Write, pixels: &[u8], width: u32, height: u32) -> io::Result<()> {
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    let write = || {
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels)?;
        // The last bytes, which its `Drop` writes as well and says nothing of.
        writer.finish()
    };
    write().map_err(|error| match error {
        png::EncodingError::IoError(error) => error,
        other => io::Error::other(other),
    })
}

fn jpeg(file: impl Write, pixels: &[u8], width: u32, height: u32) -> io::Result<()> {
    let (width, height) = (u16::try_from(width), u16::try_from(height));
    let (width, height) = (
        width.map_err(io::Error::other)?,
        height.map_err(io::Error::other)?,
    );
    jpeg_encoder::Encoder::new(file, QUALITY)
        .encode(pixels, width, height, jpeg_encoder::ColorType::Rgba)
        .map_err(|error| match error {
            jpeg_encoder::EncodingError::IoError(error) => error,
            other => io::Error::other(other),
        })
}
