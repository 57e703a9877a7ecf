//! The guest's end of the command's output: each stream goes through a serial line to the host, byte for byte.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

/// Opens serial line `n` as a raw channel.
pub(crate) fn line(n: usize) -> Result<File> {
    let path = format!("/dev/ttyS{n}");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {path}"))?;
    let mut mode = tcgetattr(&file)?;
    mode.make_raw();
    tcsetattr(&file, OptionalActions::Now, &mode)?;
    Ok(file)
}

/// Copies one stream of the command to a line until the command (and all that hold its output) have closed it.
pub(crate) fn relay(mut from: impl Read + Send + 'static, mut to: File) -> JoinHandle<std::io::Result<u64>> {
    std::thread::spawn(move || {
        let mut written = 0;
        let mut buffer = vec![0; 16 << 10];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            to.write_all(&buffer[..n])?;
            written += n as u64;
        }
        tcdrain(&to)?;
        Ok(written)
    })
}
