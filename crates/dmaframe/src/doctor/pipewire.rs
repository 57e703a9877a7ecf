//! PipeWire's version, by its own protocol and without its library: a `Hello`, and the `Info` that answers it.
//!
//! Source: `doc/dox/internals/protocol.dox` (messages: id, opcode and size, sequence, number of descriptors; then a
//! POD), `spa/include/spa/pod/pod.h`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

const HEADER: usize = 16;
/// No message of a core that says hello is nearly as long.
const LIMIT: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

const POD_INT: u32 = 4;
const POD_STRING: u32 = 8;
const POD_STRUCT: u32 = 14;

/// Where the daemon listens.
pub(super) fn socket() -> Result<PathBuf, String> {
    let remote =
        std::env::var_os("PIPEWIRE_REMOTE").map_or_else(|| PathBuf::from("pipewire-0"), PathBuf::from);
    if remote.is_absolute() {
        return Ok(remote);
    }
    let dirs = ["PIPEWIRE_RUNTIME_DIR", "XDG_RUNTIME_DIR"]
        .into_iter()
        .filter_map(std::env::var_os);
    let dir = dirs.map(PathBuf::from).next().or_else(|| {
        let usual = PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
        usual.is_dir().then_some(usual)
    });
    let dir = dir.ok_or("XDG_RUNTIME_DIR is not set, so there is no user session with PipeWire in it")?;
    Ok(dir.join(remote))
}

/// Asks the daemon.
pub(super) fn version(mut stream: UnixStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Core (object 0), Hello (opcode 1), of protocol version 3.
    let body = [16, POD_STRUCT, 4, POD_INT, 3, 0].map(u32::to_ne_bytes).concat();
    let size = body.len() as u32;
    let header = [0, (1 << 24) | size, 0, 0].map(u32::to_ne_bytes).concat();
    stream.write_all(&[header, body].concat())?;
    // Info comes first; other messages may stand before it.
    for _ in 0..16 {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header)?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (id, opcode, size) = (word(0), word(4) >> 24, (word(4) & 0xff_ffff) as usize);
        if size > LIMIT {
            return Err(io::Error::other(format!(
                "a message of {size} bytes, {LIMIT} is the limit"
            )));
        }
        let mut body = vec![0; size];
        stream.read_exact(&mut body)?;
        if (id, opcode) == (0, 0) {
            return info_version(&body).ok_or_else(|| io::Error::other("its Info has no version"));
        }
    }
    Err(io::Error::other("no Info among its first 16 messages"))
}

/// The version in `Struct { Int id, Int cookie, String user, String host, String version, ... }`.
fn info_version(body: &[u8]) -> Option<String> {
    let (kind, fields, _) = pod(body)?;
    if kind != POD_STRUCT {
        return None;
    }
    let mut rest = fields;
    let mut strings = 0;
    while let Some((kind, value, after)) = pod(rest) {
        rest = after;
        if kind == POD_STRING {
            strings += 1;
            if strings == 3 {
                let text = value.split(|byte| *byte == 0).next()?;
                return Some(String::from_utf8_lossy(text).into_owned());
            }
        }
    }
    None
}

/// The first POD of some bytes: its type, its body, and what comes after its padding.
fn pod(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (size, kind) = (word(0)? as usize, word(4)?);
    let body = bytes.get(8..size.checked_add(8)?)?;
    let next = size.checked_next_multiple_of(8)?.checked_add(8)?;
    Some((kind, body, bytes.get(next..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Vec<u8> {
        let size = text.len() + 1;
        let mut pod = [(size as u32).to_ne_bytes(), POD_STRING.to_ne_bytes()].concat();
        pod.extend(text.bytes());
        pod.resize(8 + size.next_multiple_of(8), 0);
        pod
    }

    fn int(value: u32) -> Vec<u8> {
        [4, POD_INT, value, 0].map(u32::to_ne_bytes).concat()
    }

    #[test]
    fn the_version_is_the_third_string_of_an_info() {
        let fields = [
            int(0),
            int(7),
            string("someone"),
            string("host"),
            string("1.4.2"),
            string("pipewire-0"),
        ]
        .concat();
        let mut body = [(fields.len() as u32).to_ne_bytes(), POD_STRUCT.to_ne_bytes()].concat();
        body.extend(&fields);
        assert_eq!(info_version(&body).as_deref(), Some("1.4.2"));
        for cut in 0..body.len() {
            let cut = info_version(&body[..cut]);
            assert!(cut.is_none() || cut.as_deref() == Some("1.4.2"), "{cut:?}");
        }
        assert_eq!(info_version(&string("1.4.2")), None);
    }

    #[test]
    fn a_size_beyond_the_end_is_no_pod() {
        assert_eq!(pod(&[0xff; 16]), None);
        assert_eq!(pod(&[]), None);
    }
}
