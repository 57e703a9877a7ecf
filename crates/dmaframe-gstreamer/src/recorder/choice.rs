//! Which elements write which file.

use std::path::Path;

/// What a file's extension asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container {
    pub(super) extension: &'static str,
    /// The muxer; none for a bare stream.
    muxer: Option<&'static str>,
    codecs: &'static [Codec],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    H264,
    Vp8,
    Vp9,
    /// The codec of Linux' `vicodec`, a software device that shows what hardware would do.
    Fwht,
}

const CONTAINERS: &[Container] = &[
    container("mkv", Some("matroskamux"), &[Codec::H264, Codec::Vp8, Codec::Vp9]),
    container("mp4", Some("mp4mux"), &[Codec::H264]),
    container("mov", Some("qtmux"), &[Codec::H264]),
    container("webm", Some("webmmux"), &[Codec::Vp8, Codec::Vp9]),
    container("h264", None, &[Codec::H264]),
    container("fwht", None, &[Codec::Fwht]),
];

const fn container(
    extension: &'static str,
    muxer: Option<&'static str>,
    codecs: &'static [Codec],
) -> Container {
    Container {
        extension,
        muxer,
        codecs,
    }
}

/// How an encoder gets its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It reads the frames' memory with the CPU.
    Software,
    /// A V4L2 mem2mem driver: imports dma-bufs when it is told to.
    V4l2,
    /// Other hardware: imports dma-bufs where its caps name them.
    Other,
}

/// An encoder that may be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) element: &'static str,
    codec: Codec,
    pub(super) kind: Kind,
    /// Properties; `{kbit}`, `{bits}` and `{gop}` are filled in.
    properties: &'static str,
}

/// Best liked first among those for one codec.
const CANDIDATES: &[Candidate] = &[
    candidate(
        "v4l2h264enc",
        Codec::H264,
        Kind::V4l2,
        "extra-controls=encode,video_bitrate={bits}",
    ),
    candidate(
        "vah264enc",
        Codec::H264,
        Kind::Other,
        "bitrate={kbit} key-int-max={gop}",
    ),
    candidate(
        "vah264lpenc",
        Codec::H264,
        Kind::Other,
        "bitrate={kbit} key-int-max={gop}",
    ),
    candidate(
        "nvh264enc",
        Codec::H264,
        Kind::Other,
        "bitrate={kbit} gop-size={gop} zerolatency=true",
    ),
    candidate(
        "x264enc",
        Codec::H264,
        Kind::Software,
        // Without a look ahead: each picture held would be one slot less for the camera.
        "tune=zerolatency speed-preset=superfast bitrate={kbit} key-int-max={gop}",
    ),
    candidate(
        "openh264enc",
        Codec::H264,
        Kind::Software,
        "complexity=low bitrate={bits} gop-size={gop}",
    ),
    candidate(
        "v4l2vp8enc",
        Codec::Vp8,
        Kind::V4l2,
        "extra-controls=encode,video_bitrate={bits}",
    ),
    candidate(
        "vp8enc",
        Codec::Vp8,
        Kind::Software,
        "deadline=1 cpu-used=8 threads=4 target-bitrate={bits} keyframe-max-dist={gop}",
    ),
    candidate(
        "v4l2vp9enc",
        Codec::Vp9,
        Kind::V4l2,
        "extra-controls=encode,video_bitrate={bits}",
    ),
    candidate(
        "vp9enc",
        Codec::Vp9,
        Kind::Software,
        "deadline=1 cpu-used=8 threads=4 row-mt=true target-bitrate={bits} keyframe-max-dist={gop}",
    ),
    candidate("v4l2fwhtenc", Codec::Fwht, Kind::V4l2, ""),
];

const fn candidate(element: &'static str, codec: Codec, kind: Kind, properties: &'static str) -> Candidate {
    Candidate {
        element,
        codec,
        kind,
        properties,
    }
}

/// What all candidates are told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) bits: u64,
    /// Frames from one that stands alone to the next.
    pub(super) gop: u64,
}

impl Container {
    pub(super) fn of(file: &Path) -> Option<Self> {
        let extension = file.extension()?.to_str()?.to_ascii_lowercase();
        let found = CONTAINERS.iter().find(|c| c.extension == extension);
        found.copied()
    }

    /// The extensions there are.
    pub(super) fn extensions() -> String {
        let list: Vec<_> = CONTAINERS.iter().map(|c| c.extension).collect();
        list.join(", ")
    }

    /// Hardware before software, and within each in the order of the codecs.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> + use<> {
        let codecs = self.codecs;
        let of = move |software: bool| {
            codecs.iter().flat_map(move |codec| {
                let list = CANDIDATES.iter().copied();
                list.filter(move |c| c.codec == *codec && (c.kind == Kind::Software) == software)
            })
        };
        of(false).chain(of(true))
    }

    /// From the source's pad to the file; the encoder is called `encoder`, the file `file`.
    pub(super) fn description(&self, candidate: &Candidate, import: bool, rates: Rates) -> String {
        let parser = match candidate.codec {
            Codec::H264 => "h264parse ! ",
            _ => "",
        };
        let muxer = self.muxer.map_or_else(String::new, |muxer| format!("{muxer} ! "));
        let encoder = candidate.description(import, rates);
        format!("{encoder} ! {parser}{muxer}filesink name=file")
    }

    pub(super) fn elements(&self) -> impl Iterator<Item = &'static str> {
        self.muxer.into_iter().chain(["filesink"])
    }
}

impl Candidate {
    /// Up to and with the encoder.
    pub(super) fn description(&self, import: bool, rates: Rates) -> String {
        let properties = self
            .properties
            .replace("{bits}", &rates.bits.to_string())
            .replace("{kbit}", &(rates.bits / 1000).max(1).to_string())
            .replace("{gop}", &rates.gop.to_string());
        let (before, mode) = match self.kind {
            // The converter passes on what the encoder takes; 4:2:0 is what every player has.
            Kind::Software => ("videoconvert ! video/x-raw,format=(string){NV12,I420} ! ", ""),
            Kind::V4l2 if import => ("", "output-io-mode=dmabuf-import "),
            Kind::V4l2 | Kind::Other => ("", ""),
        };
        format!("{before}{} name=encoder {mode}{properties}", self.element)
    }

    /// The codec's name, for people.
    pub(super) fn codec(&self) -> &'static str {
        match self.codec {
            Codec::H264 => "H.264",
            Codec::Vp8 => "VP8",
            Codec::Vp9 => "VP9",
            Codec::Fwht => "FWHT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_comes_before_software_and_every_extension_has_an_encoder() {
        for container in CONTAINERS {
            let list: Vec<_> = container.candidates().collect();
            assert!(!list.is_empty(), "{}", container.extension);
            assert!(list.is_sorted_by_key(|c| c.kind == Kind::Software));
        }
        let mkv = Container::of(Path::new("a.b/c.MKV")).unwrap();
        let names: Vec<_> = mkv.candidates().map(|c| c.element).collect();
        assert_eq!(names.first(), Some(&"v4l2h264enc"));
        assert!(Container::of(Path::new("mkv")).is_none());
    }
}
