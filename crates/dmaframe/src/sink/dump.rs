//! One picture's planes, as they are.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use dmaframe_core::{Deadline, Frame};

use super::Error;

/// Writes every row of every plane with its stride, unconverted, and beside it a text, FILE.txt, which says where they are
/// and what they mean: for looking at what a camera really gave. Gives the bytes written. What is behind a row's samples is
/// zero in the file: it is nobody's picture.
///
/// Waits for the frame's fences until the deadline, and blocks until the files are written; they are replaced if they exist.
///
/// ```
/// # use dmaframe::{Fourcc, Frame, FrameMeta, Layout, Size};
/// # let layout = Layout::linear(Fourcc::NV12, Size::new(4, 2), 64)?;
/// # let frame = Frame::from_bytes(vec![7; layout.object_len(0) as usize], &layout, FrameMeta::default())?;
/// # let file = std::env::temp_dir().join(format!("dmaframe-dump-{}", std::process::id()));
/// let bytes = dmaframe::sink::dump(&frame, &file, std::time::Duration::from_secs(1))?;
/// let text = std::fs::read_to_string(format!("{}.txt", file.display()))?;
/// assert_eq!(bytes, 3 * 64);
/// assert!(text.starts_with("fourcc NV12\nmodifier LINEAR\nsize 4x2\n"));
/// assert!(text.contains("plane 1 offset 128 stride 64 row 4 rows 1\n"));
/// # std::fs::remove_file(format!("{}.txt", file.display()))?;
/// # std::fs::remove_file(file)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::File`]; [`Error::Core`] for frames that the CPU cannot read: tiled ones, a deadline.
pub fn dump(frame: &Frame, path: impl AsRef<Path>, deadline: impl Into<Deadline>) -> Result<u64, Error> {
    let path = path.as_ref();
    let (layout, meta) = (frame.layout(), frame.meta());
    let view = frame.map_read(deadline)?;
    let failed = || Error::file(path);
    let mut file = BufWriter::new(File::create(path).map_err(failed())?);
    let (rect, color) = (frame.visible(), meta.color);
    let mut text = format!(
        "fourcc {}\nmodifier {}\nsize {}\nvisible {} {} {}x{}\n",
        frame.fourcc(),
        frame.modifier(),
        layout.size(),
        rect.x,
        rect.y,
        rect.width,
        rect.height
    );
    let mut offset = 0;
    let mut row = Vec::new();
    for (index, plane) in layout.planes().iter().enumerate() {
        let (rows, bytes) = (layout.rows(index), layout.row_bytes(index));
        let stride = plane.stride;
        text += &format!("plane {index} offset {offset} stride {stride} row {bytes} rows {rows}\n");
        row.clear();
        row.resize(bytes.max(stride as usize), 0);
        for number in 0..rows {
            view.copy_row(index, number, &mut row)?;
            file.write_all(&row).map_err(failed())?;
            offset += row.len() as u64;
        }
    }
    text += &format!(
        "color primaries {} transfer {} matrix {} range {:?} siting {:?}\norientation {:?}\n",
        color.primaries, color.transfer, color.matrix, color.range, color.siting, meta.orientation
    );
    if let Some(time) = meta.timestamp {
        text += &format!("time {} ns {:?}\n", time.ns, time.clock);
    }
    file.flush().map_err(failed())?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".txt");
    std::fs::write(&beside, text).map_err(Error::file(beside))?;
    Ok(offset)
}
