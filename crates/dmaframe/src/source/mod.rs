//! One source of frames, whatever the camera: V4L2, libcamera, PipeWire, the portal, a file through GStreamer, or a moving test picture.
//!
//! ```
//! use std::time::Duration;
//! use dmaframe::source::{Next, Source, Wish};
//! use dmaframe::{Size, report::PathReport};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wish = Wish::new("test".parse()?).size(Size::new(640, 360)); // or "/dev/video0", "libcamera", "portal", "a.mkv"
//! let mut notes = Vec::new();
//! let mut source = Source::open(&wish, &mut notes)?;
//! let path = PathReport::new();
//! source.report(&path);
//! for _ in 0..3 {
//!     match source.next(Duration::from_secs(1)) {
//!         Next::Frame(frame) => println!("{frame:?}"),
//!         Next::Gone(reason) => println!("{reason}; waiting for it to come back"),
//!         Next::Back => println!("{} is back", source.describe()),
//!         Next::Quiet => println!("no picture for a second"),
//!         Next::End => break,
//!         _ => {}
//!     }
//! }
//! println!("{path}"); // test picture(udmabuf)   CPU bytes/frame: 0
//! # Ok(())
//! # }
//! ```
//!
//! **Choice.** The camera's formats and the consumer's ([`Wish::consumer`]) go into [`plan`](dmaframe_alloc::plan()), with the
//! allocators that [`Wish::memory`] allows; what cannot be started is refused there and the next way tried. A camera that has
//! the size and rate only as Motion JPEG is decoded into a pool (feature `jpeg`), and the second [hop](Source::hops) says
//! what that costs. PipeWire and GStreamer negotiate themselves, from the same set.
//!
//! **Holding frames.** A frame shows its picture for as long as it is held, and holding frames stops no camera: when consumers
//! have nearly all of its buffers, further pictures are in fresh memory ([`Stats::detached`]). PipeWire's own
//! nodes for cameras do not look who holds a buffer before they fill it again: their pictures are copied for that, unless
//! [`Wish::unguarded`] says that the consumer is quick.
//!
//! **Unplugging.** A camera that goes away is one [`Next::Gone`]. From then on the source looks for it about once a second,
//! while it is asked for pictures: the same node or id, a camera of the same name or model elsewhere, and, for a V4L2 camera that
//! a wish for any had found, after some seconds another V4L2 camera. When it is there,
//! [`Next::Back`] is given, and its pictures after that. Frames still held stay readable throughout. With
//! [`Wish::placeholder`] there are still pictures meanwhile. A file that cannot be played further does not come back: after
//! [`Next::Gone`] it has ended.
//!
//! **Threads.** Nothing here has a thread of its own (libcamera, PipeWire and GStreamer have theirs); a source may move
//! between threads, and its frames go anywhere.

mod backend;
mod error;
mod found;
mod glyphs;
mod library;
#[cfg(feature = "gstreamer")]
mod media;
mod motion;
mod node;
#[cfg(feature = "pipewire")]
mod pipewire;
mod placeholder;
mod synthetic;
mod wish;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dmaframe_core::report::{Followed, Hop, PathReport};
use dmaframe_core::{Deadline, Frame};

pub use error::Error;
pub use found::{Found, Offered};
pub use placeholder::Placeholder;
pub use wish::{Memory, Remote, Unguarded, Which, Wish, readable};

use backend::{Backend, Event, Known};
use placeholder::Still;

/// How often a camera that is gone is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What a source gives.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Next {
    /// A picture. Its format and size may change after [`Next::Back`], and with some sources at any time.
    Frame(Frame),
    /// None until the deadline.
    Quiet,
    /// The camera is gone, and why. Said once; it is looked for from now on.
    Gone(String),
    /// It is there again.
    Back,
    /// The file has ended, or failed before its end. Said each time.
    End,
}

impl Next {
    /// The picture, if it is one.
    #[must_use]
    pub fn into_frame(self) -> Option<Frame> {
        match self {
            Self::Frame(frame) => Some(frame),
            _ => None,
        }
    }
}

/// What became of the pictures, since the source was opened and over all replugs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Handed out.
    pub delivered: u64,
    /// Of those, copies or pictures in fresh memory, because consumers held nearly all buffers, or the camera does not wait for
    /// them ([`Unguarded`]).
    pub detached: u64,
    /// Thrown away because consumers held nearly all buffers, or took none in time.
    pub dropped: u64,
    /// Lost by the camera: numbers that never came.
    pub gaps: u64,
    /// Damaged, incomplete or not decodable: not handed out.
    pub damaged: u64,
    /// Pictures that the camera wrote into a buffer of which a frame was still held: not handed out, but that frame shows them.
    /// Only with [`Unguarded::InPlace`].
    pub overwritten: u64,
    /// How often the camera came back.
    pub replugs: u64,
    /// Placeholders handed out; they are not in `delivered`.
    pub placeholders: u64,
}

impl Stats {
    /// Pictures that never arrived, whatever the reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped + self.gaps + self.damaged + self.overwritten
    }

    fn plus(mut self, other: Self) -> Self {
        self.delivered += other.delivered;
        self.detached += other.detached;
        self.dropped += other.dropped;
        self.gaps += other.gaps;
        self.damaged += other.damaged;
        self.overwritten += other.overwritten;
        self
    }

    fn minus(mut self, other: Self) -> Self {
        self.delivered = self.delivered.saturating_sub(other.delivered);
        self.detached = self.detached.saturating_sub(other.detached);
        self.dropped = self.dropped.saturating_sub(other.dropped);
        self.gaps = self.gaps.saturating_sub(other.gaps);
        self.damaged = self.damaged.saturating_sub(other.damaged);
        self.overwritten = self.overwritten.saturating_sub(other.overwritten);
        self
    }
}

#[derive(Debug)]
enum State {
    Live(Box<dyn Backend>),
    /// Since when it is not looked for any more, and what was.
    Gone {
        look: Instant,
        known: Known,
    },
}

/// An open source.
#[derive(Debug)]
pub struct Source {
    wish: Wish,
    state: State,
    /// Whether the present backend has given a picture.
    gave: bool,
    description: String,
    hops: Vec<Arc<Hop>>,
    /// Of the present backend, how far its hops were counted.
    followed: Vec<Followed>,
    /// Of backends that are gone.
    past: Stats,
    still: Still,
}

impl Source {
    /// Opens what is wished for. `notes` gets a line, for people, for each thing that was tried and did not work or works
    /// worse than it might.
    ///
    /// # Errors
    /// [`Error`], whose message says what to do. Never for [`Which::Any`] without a [format](Wish::format), as long as there is
    /// memory for a test picture.
    pub fn open(wish: &Wish, notes: &mut Vec<String>) -> Result<Self, Error> {
        let backend = backend::open(wish, notes)?;
        let hops: Vec<_> = backend
            .hops()
            .iter()
            .map(|hop| Hop::new(hop.counts().name))
            .collect();
        Ok(Self {
            wish: wish.clone(),
            description: backend.describe(),
            followed: vec![Followed::default(); hops.len()],
            hops,
            state: State::Live(backend),
            gave: false,
            past: Stats::default(),
            still: Still::new(wish),
        })
    }

    /// Every camera there is, as far as the features are there, and why some cannot be used. Opens each for a moment.
    #[must_use]
    pub fn list() -> Vec<Found> {
        found::list()
    }

    /// The next picture, or what happened instead, waiting until the deadline. While the camera is gone, looking for it and
    /// opening it may take longer: as long as the driver does, some 10 ms for most.
    pub fn next(&mut self, deadline: impl Into<Deadline>) -> Next {
        let deadline = deadline.into();
        match &mut self.state {
            State::Live(backend) => {
                let event = backend.next(deadline);
                follow(&self.hops, &mut self.followed, &**backend);
                match event {
                    Ok(Event::Frame(frame)) => {
                        self.gave = true;
                        self.still.like(&frame);
                        Next::Frame(frame)
                    }
                    Ok(Event::Quiet) => Next::Quiet,
                    Ok(Event::End) => Next::End,
                    Err(reason) => self.lose(reason),
                }
            }
            State::Gone { .. } => self.wait(deadline),
        }
    }

    fn lose(&mut self, reason: String) -> Next {
        let gone = State::Gone {
            look: Instant::now(),
            known: Known::Nothing,
        };
        if let State::Live(backend) = std::mem::replace(&mut self.state, gone) {
            self.past = self.past.plus(backend.stats());
            // What starts and gives nothing would start again at once, and so on.
            let rest = if self.gave { Duration::ZERO } else { LOOK };
            let look = Instant::now() + rest;
            let known = backend.known();
            self.state = State::Gone { look, known };
        }
        Next::Gone(reason)
    }

    fn wait(&mut self, deadline: Deadline) -> Next {
        loop {
            let State::Gone { look, known } = &mut self.state else {
                return Next::Quiet;
            };
            if let Known::Nothing = known {
                return Next::End;
            }
            let now = Instant::now();
            if *look <= now {
                *look = now + LOOK;
                if let Some(backend) = known.find(&self.wish) {
                    self.description = backend.describe();
                    if backend.counts_on() {
                        self.past = self.past.minus(backend.stats());
                    } else {
                        self.followed = vec![Followed::default(); backend.hops().len()];
                    }
                    self.state = State::Live(backend);
                    self.gave = false;
                    self.past.replugs += 1;
                    return Next::Back;
                }
                continue;
            }
            let until = *look - now;
            let left = deadline.remaining();
            if self.wish.placeholder {
                if let Some(frame) = self.still.next(left.map_or(until, |left| left.min(until))) {
                    self.past.placeholders += 1;
                    // It goes on to whoever takes the camera's, who counts it: a frame of this hop too, drawn where they read it.
                    self.hop().zero_copy();
                    return Next::Frame(frame);
                }
            } else {
                std::thread::sleep(left.map_or(until, |left| left.min(until)));
            }
            if deadline.remaining().is_some_and(|left| left.is_zero()) {
                return Next::Quiet;
            }
        }
    }

    /// What it is, for people: `HD Webcam (uvcvideo, /dev/video0)`. Of a camera that is gone, what it was.
    #[must_use]
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Whether the camera is there. `false` between [`Next::Gone`] and [`Next::Back`].
    #[must_use]
    pub fn is_there(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    /// The hop from the camera to its first consumer. It goes on counting over replugs.
    #[must_use]
    pub fn hop(&self) -> &Arc<Hop> {
        // `open` puts one for each of a backend's, of which there is always one.
        &self.hops[0]
    }

    /// All hops: the camera's, and the decoder's where it sends Motion JPEG.
    #[must_use]
    pub fn hops(&self) -> &[Arc<Hop>] {
        &self.hops
    }

    /// Adds its hops to a report.
    pub fn report(&self, path: &PathReport) {
        self.hops.iter().for_each(|hop| path.add(Arc::clone(hop)));
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match &self.state {
            State::Live(backend) => self.past.plus(backend.stats()),
            State::Gone { .. } => self.past,
        }
    }

    /// What it was opened for.
    #[must_use]
    pub fn wish(&self) -> &Wish {
        &self.wish
    }
}

/// Counts in our hops what the backend's have counted. One that has more (opened with frames, the camera is back with Motion
/// JPEG) has its last in the last of ours: a picture is one frame there, and what it costs is the decoder's. Of the others what
/// they lost is counted.
fn follow(hops: &[Arc<Hop>], followed: &mut [Followed], backend: &dyn Backend) {
    let inner = backend.hops();
    let surplus = inner.len().saturating_sub(hops.len());
    for (index, (inner, seen)) in inner.iter().zip(followed).enumerate() {
        let Some(ours) = hops.get(index).or(hops.last()) else {
            return;
        };
        if (hops.len()..hops.len() + surplus).contains(&(index + 1)) {
            let new = Hop::new("");
            new.follow(inner, seen);
            let new = new.counts();
            (0..new.dropped).for_each(|_| ours.dropped(new.reason.unwrap_or("lost before")));
        } else {
            ours.follow(inner, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_moves_between_threads() {
        fn send<T: Send>() {}
        send::<Source>();
        send::<Next>();
        send::<Error>();
    }

    /// Gives one picture or none, and fails.
    #[derive(Debug)]
    struct Failing {
        hops: Vec<Arc<Hop>>,
        gives: Option<Frame>,
        known: Known,
    }

    impl Backend for Failing {
        fn next(&mut self, _: Deadline) -> Result<Event, String> {
            let frame = self.gives.take().ok_or("it broke")?;
            Ok(Event::Frame(frame))
        }

        fn describe(&self) -> String {
            "failing".into()
        }

        fn hops(&self) -> &[Arc<Hop>] {
            &self.hops
        }

        fn stats(&self) -> Stats {
            Stats::default()
        }

        fn known(self: Box<Self>) -> Known {
            self.known
        }
    }

    /// A source in which such a one is; found again is the test picture.
    fn failing(gives: bool, known: Known) -> Source {
        let wish = Wish::new(Which::Synthetic);
        let mut source = Source::open(&wish, &mut Vec::new()).unwrap();
        let gives = gives.then(|| source.next(LOOK).into_frame().unwrap());
        let hops = vec![Hop::new("failing")];
        source.gave = false;
        source.state = State::Live(Box::new(Failing { hops, gives, known }));
        source
    }

    #[test]
    fn a_camera_that_starts_and_gives_nothing_is_not_tried_again_at_once() {
        let mut source = failing(false, Known::Wish);
        let start = Instant::now();
        assert!(matches!(source.next(LOOK), Next::Gone(reason) if reason == "it broke"));
        assert!(matches!(source.next(LOOK * 5), Next::Back));
        assert!(start.elapsed() >= LOOK, "{:?}", start.elapsed());

        // One that gave pictures may be back already.
        let mut source = failing(true, Known::Wish);
        assert!(matches!(source.next(LOOK), Next::Frame(_)));
        assert!(matches!(source.next(LOOK), Next::Gone(_)));
        assert!(matches!(source.next(Duration::ZERO), Next::Back));
    }

    #[test]
    fn placeholders_are_frames_of_the_sources_hop_as_they_are_of_its_consumers() {
        // It gives nothing, so that it is not looked for at once.
        let mut source = failing(false, Known::Wish);
        source.still = Still::new(&source.wish.clone().placeholder(true));
        source.wish.placeholder = true;
        let path = PathReport::new();
        source.report(&path);
        let sink = path.hop("sink");
        assert!(matches!(source.next(LOOK), Next::Gone(_)));
        for _ in 0..3 {
            let still = source.next(LOOK).into_frame().unwrap();
            assert!(still.meta().extensions.get::<Placeholder>().is_some());
            sink.cpu_copy(1000, "written");
        }
        let counts = source.hop().counts();
        assert_eq!(
            (counts.frames, counts.zero_copy, source.stats().placeholders),
            (3, 3, 3),
            "{counts}"
        );
        assert_eq!(path.cpu_bytes_per_frame(), 1000);
    }

    #[test]
    fn a_camera_that_is_back_with_a_decoder_counts_each_picture_once() {
        let (camera, decoder) = (Hop::new("camera"), Hop::new("jpeg"));
        let back = Failing {
            hops: vec![Arc::clone(&camera), Arc::clone(&decoder)],
            gives: None,
            known: Known::Wish,
        };
        let ours = [Hop::new("camera")];
        let mut followed = vec![Followed::default(); 2];
        for _ in 0..3 {
            camera.zero_copy();
            decoder.cpu_copy(500, "decoded");
            follow(&ours, &mut followed, &back);
        }
        camera.dropped("damaged");
        follow(&ours, &mut followed, &back);
        follow(&ours, &mut followed, &back);
        let counts = ours[0].counts();
        assert_eq!(
            (counts.frames, counts.cpu_bytes, counts.dropped),
            (3, 1500, 1),
            "{counts}"
        );
        assert_eq!(counts.reason, Some("damaged"));

        // As many of ours as of its: each in its own. More of ours: the last one stands still.
        let ours = [Hop::new("camera"), Hop::new("jpeg"), Hop::new("none")];
        let mut followed = vec![Followed::default(); 2];
        follow(&ours, &mut followed, &back);
        assert_eq!(ours.each_ref().map(|hop| hop.counts().frames), [3, 3, 0]);
    }

    #[test]
    fn what_cannot_come_back_has_ended_after_it_was_said_why() {
        let mut source = failing(true, Known::Nothing);
        assert!(matches!(source.next(LOOK), Next::Frame(_)));
        assert!(matches!(source.next(LOOK), Next::Gone(_)));
        assert!(matches!(source.next(LOOK), Next::End));
        assert!(matches!(source.next(LOOK), Next::End));
    }
}
