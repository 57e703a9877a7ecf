//! libcamera's cameras.

#[cfg(feature = "libcamera")]
pub(super) use with::{Known, ids, list, open};
#[cfg(not(feature = "libcamera"))]
pub(super) use without::open;

#[cfg(not(feature = "libcamera"))]
mod without {
    use super::super::backend::{Backend, not_built};
    use super::super::{Error, Wish};

    pub(in super::super) fn open(
        id: Option<&str>,
        _: &Wish,
        _: &mut Vec<String>,
    ) -> Result<Box<dyn Backend>, Error> {
        let name = match id {
            Some(id) => format!("libcamera's camera {id}"),
            None => "libcamera".to_owned(),
        };
        Err(not_built(&name, "libcamera"))
    }
}

#[cfg(feature = "libcamera")]
mod with {
    use std::sync::Arc;

    use dmaframe_alloc::{Picture, plan};
    use dmaframe_core::Deadline;
    use dmaframe_core::negotiate::{FormatSet, MemoryKind, Takes, Usage};
    use dmaframe_core::report::Hop;
    use dmaframe_libcamera::{
        Camera, Cameras, Capture, Error as Failed, OfferedFormat, PixelFormat, Role, StreamRequest,
    };
    use dmaframe_v4l2::Sizes;

    use super::super::backend::{Backend, Event, Known as AnyKnown};
    use super::super::motion::{self, Pictures};
    use super::super::{Error, Found, Offered, Stats, Which, Wish};

    /// A running camera.
    #[derive(Debug)]
    pub(in super::super) struct Library {
        capture: Capture,
        pictures: Pictures,
        hops: Vec<Arc<Hop>>,
        known: Known,
        model: String,
        way: String,
    }

    /// Opens a camera by its id, or the first there is.
    pub(in super::super) fn open(
        id: Option<&str>,
        wish: &Wish,
        notes: &mut Vec<String>,
    ) -> Result<Box<dyn Backend>, Error> {
        let cameras = Cameras::new()?;
        Ok(Box::new(Library::open(&cameras, id, wish, notes)?))
    }

    impl Library {
        fn open(
            cameras: &Cameras,
            id: Option<&str>,
            wish: &Wish,
            notes: &mut Vec<String>,
        ) -> Result<Self, Error> {
            let listed = cameras.list();
            let found = match id {
                Some(id) => listed.iter().find(|camera| camera.id == id),
                None => listed.first(),
            };
            let Some(found) = found else {
                return Err(Error::NotFound {
                    what: match id {
                        Some(id) => format!("camera '{id}' in libcamera"),
                        None => "camera in libcamera".to_owned(),
                    },
                    known: listed.into_iter().map(|camera| camera.id).collect(),
                });
            };
            let known = Known {
                id: found.id.clone(),
                model: found.model.clone(),
                cameras: cameras.clone(),
            };
            let choices = choose(&cameras.open(&found.id)?, wish)?;
            let mut last = None;
            for (format, way) in choices {
                let request = StreamRequest::new(Role::ViewFinder)
                    .size(wish.size)
                    .format(format);
                let started = Capture::builder(cameras.open(&found.id)?)
                    .stream(request)
                    .configure()
                    .and_then(|configured| configured.fps(wish.fps).start());
                match started {
                    Ok(capture) => {
                        let model = found.model.clone().unwrap_or_else(|| found.id.clone());
                        return Ok(Self::new(capture, format, known, model, way));
                    }
                    // A format that is offered and cannot be started: pipelines offer what their devices do not always do.
                    Err(
                        error @ (Failed::Call { .. } | Failed::FormatRefused { .. } | Failed::Roles { .. }),
                    ) => {
                        notes.push(format!("{way} not used: {error}"));
                        last = Some(error);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Err(last.map_or_else(
                || Error::Format {
                    camera: found.id.clone(),
                    format: "picture".into(),
                    offered: Vec::new(),
                },
                Error::from,
            ))
        }

        fn new(capture: Capture, format: PixelFormat, known: Known, model: String, way: String) -> Self {
            let pictures = match format.codec() {
                Some(_) => Pictures::decoded(),
                None => Pictures::default(),
            };
            let mut hops: Vec<_> = capture.hop(0).map(Arc::clone).into_iter().collect();
            if hops.is_empty() {
                hops.push(Hop::new("libcamera"));
            }
            hops.extend(pictures.hop());
            Self {
                capture,
                pictures,
                hops,
                known,
                model,
                way,
            }
        }
    }

    /// The formats that camera and consumer share, cheapest first, or Motion JPEG.
    fn choose(camera: &Camera, wish: &Wish) -> Result<Vec<(PixelFormat, String)>, Error> {
        let offered = camera.formats(Role::ViewFinder);
        if let Some(asked) = wish.format {
            let format = match wish.fourcc() {
                Some(fourcc) => PixelFormat::linear(fourcc),
                None => PixelFormat::encoded(dmaframe_core::Codec(asked.0)),
            };
            let usable = format.frame().is_some() || motion::DECODED;
            if usable && offered.iter().any(|offer| offer.format == format) {
                return Ok(vec![(format, asked.to_string())]);
            }
            return Err(refused(camera, asked.to_string(), &offered));
        }
        let has = |offer: &&OfferedFormat| {
            offer.sizes.is_empty()
                || offer
                    .sizes
                    .iter()
                    .any(|size| size.width >= wish.size.width && size.height >= wish.size.height)
        };
        let frames = |offer: &&OfferedFormat| offer.format.frame().is_some();
        let mut raw: Vec<_> = offered.iter().filter(frames).collect();
        let large: Vec<_> = raw.iter().copied().filter(|offer| has(offer)).collect();
        let codec = offered.iter().find(|offer| offer.format.codec().is_some());
        match codec {
            Some(offer) if motion::DECODED && large.is_empty() && (has(&offer) || raw.is_empty()) => {
                return Ok(vec![(offer.format, format!("{}, decoded", offer.format))]);
            }
            _ => {}
        }
        if !large.is_empty() {
            raw = large;
        }
        if raw.is_empty() {
            return Err(refused(camera, "frames".into(), &offered));
        }
        let mut set = FormatSet::new(camera.id())
            .with_usage(Usage::Capture)
            .with_own_memory(MemoryKind::Unknown)
            .takes(Takes::Dmabufs);
        for (fourcc, modifier) in raw.iter().filter_map(|offer| offer.format.frame()) {
            set.insert(fourcc, modifier);
        }
        let ways = plan(&set, &wish.consumer, [], &Picture::new(wish.size))?;
        let mut choices: Vec<(PixelFormat, String)> = Vec::new();
        for way in ways.plan().remaining() {
            let (fourcc, modifier) = (way.pair.fourcc, way.pair.modifier);
            let offered = raw
                .iter()
                .find(|offer| offer.format.frame() == Some((fourcc, modifier)));
            // The routes differ for the consumer alone.
            if let Some(format) = offered.map(|offer| offer.format)
                && !choices.iter().any(|(chosen, _)| *chosen == format)
            {
                choices.push((format, way.to_string()));
            }
        }
        Ok(choices)
    }

    fn refused(camera: &Camera, format: String, offered: &[OfferedFormat]) -> Error {
        Error::Format {
            camera: camera.id().to_owned(),
            format,
            offered: offered.iter().map(|offer| offer.format.to_string()).collect(),
        }
    }

    impl Backend for Library {
        fn next(&mut self, deadline: Deadline) -> Result<Event, String> {
            loop {
                let completed = self.capture.next(deadline).map_err(|error| error.to_string())?;
                let Some(mut completed) = completed else {
                    return Ok(Event::Quiet);
                };
                // Damaged or dropped ones are not there, and counted.
                let frame = match completed.take(0) {
                    Some(captured) => self.pictures.frame(captured, deadline)?,
                    None => None,
                };
                if let Some(frame) = frame {
                    return Ok(Event::Frame(frame));
                }
            }
        }

        fn describe(&self) -> String {
            format!("{} (libcamera, {}; {})", self.model, self.known.id, self.way)
        }

        fn hops(&self) -> &[Arc<Hop>] {
            &self.hops
        }

        fn stats(&self) -> Stats {
            self.pictures.stats(self.capture.stats(0))
        }

        fn known(self: Box<Self>) -> AnyKnown {
            AnyKnown::Library(self.known)
        }
    }

    /// A camera that was. Keeps libcamera running, which notices by itself what is plugged in.
    #[derive(Clone, Debug)]
    pub(in super::super) struct Known {
        id: String,
        model: Option<String>,
        cameras: Cameras,
    }

    impl Known {
        /// The same id, then one of the same model.
        pub(in super::super) fn find(&mut self, wish: &Wish) -> Option<Box<dyn Backend>> {
            let listed = self.cameras.list();
            let same = listed.iter().find(|camera| camera.id == self.id);
            let alike = || {
                listed
                    .iter()
                    .find(|camera| camera.model.is_some() && camera.model == self.model)
            };
            let id = &same.or_else(alike)?.id;
            let opened = Library::open(&self.cameras, Some(id), wish, &mut Vec::new()).ok()?;
            Some(Box::new(opened))
        }
    }

    /// The ids there are; none where libcamera does not start.
    pub(in super::super) fn ids() -> Vec<String> {
        let Ok(cameras) = Cameras::new() else {
            return Vec::new();
        };
        cameras.list().into_iter().map(|camera| camera.id).collect()
    }

    /// Every camera, each acquired for a moment.
    pub(in super::super) fn list() -> Vec<Found> {
        let Ok(cameras) = Cameras::new() else {
            return Vec::new();
        };
        let listed = cameras.list();
        listed
            .into_iter()
            .map(|listed| {
                let opened = cameras.open(&listed.id);
                let (formats, problem) = match &opened {
                    Ok(camera) => (camera.formats(Role::ViewFinder), None),
                    Err(error) => (Vec::new(), Some(error.to_string())),
                };
                let offer = |offer: OfferedFormat| Offered {
                    code: offer.format.to_string(),
                    fourcc: offer.format.frame().map(|(fourcc, _)| fourcc),
                    objects: 1,
                    encoded: offer.format.codec().is_some(),
                    sizes: Sizes::Discrete(offer.sizes),
                };
                Found {
                    name: listed.model.unwrap_or_else(|| listed.id.clone()),
                    which: Which::Libcamera(Some(listed.id)),
                    driver: "libcamera".into(),
                    formats: formats.into_iter().map(offer).collect(),
                    problem,
                }
            })
            .collect()
    }
}
