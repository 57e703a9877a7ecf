//! The live window. Pictures go from the camera through the GPU to the screen: the CPU touches none of them.
//!
//! The camera has a thread of its own and never waits for the window: [`Latest`] is all that is between them.

mod overlay;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use dmaframe::report::PathReport;
use dmaframe::sink::{Latest, Photo};
use dmaframe::{Deadline, Orientation, Rotation, Size};
use dmaframe_wgpu::v30::{Overlay, Presenter};
use dmaframe_wgpu::{ImportOptions, Timing};
use winit::application::ApplicationHandler;
use winit::dpi::LogicalSize;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, EventLoop};
use winit::keyboard::{Key, NamedKey};
use winit::window::{Window, WindowId};

use crate::filter;
use overlay::{Info, Text};

/// Times between pictures kept for the graph.
const KEPT: usize = 100;

const KEYS: &str = "q quit  m mirror  r rotate  f filter  p photo  i info  space freeze";

/// What is shown, and how.
pub(crate) struct Preview {
    /// For the title.
    pub(crate) name: String,
    pub(crate) size: Size,
    pub(crate) path: PathReport,
    pub(crate) turned: Orientation,
    pub(crate) info: bool,
    /// How many pictures, before the window closes by itself.
    pub(crate) frames: Option<u64>,
    /// Ctrl-C; also set when the window has gone.
    pub(crate) stop: Arc<AtomicBool>,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Counts {
    /// Pictures of the camera that were on the screen.
    pub(crate) shown: u64,
    /// Pictures that were not, because a newer one was there before the screen could take them.
    pub(crate) replaced: u64,
    /// How regular it went, and whether because of us.
    pub(crate) timing: Timing,
    /// Why the way is not better than it is.
    pub(crate) reasons: Vec<String>,
}

/// Opens a window and shows what `camera` puts into the slot, on a thread of its own, until either ends. Gives what it
/// gave, and how both have ended.
pub(crate) fn show<T: Send + 'static>(
    preview: Preview,
    camera: impl FnOnce(&Latest) -> (T, Result<()>) + Send + 'static,
) -> Result<(Counts, T, [Result<()>; 2])> {
    let events = EventLoop::<Wake>::with_user_event().build().map_err(|error| {
        anyhow!(
            "there is no display to open a window on ({error}): run `camera preview` in a terminal of the desktop, \
             or with WAYLAND_DISPLAY or DISPLAY set; `camera` without `preview` needs none"
        )
    })?;
    let proxy = events.create_proxy();
    // An error means that the window is gone.
    let slot = Latest::new(move || drop(proxy.send_event(Wake)));
    let putting = slot.clone();
    let (stop, stays) = (Arc::clone(&preview.stop), preview.frames.is_none());
    let camera = std::thread::Builder::new().name("camera".into()).spawn(move || {
        let (given, ended) = camera(&putting);
        if let Err(error) = &ended {
            say!("note: {error:#}");
            // The window may be looked at later than the terminal, and stays until somebody closes it.
            while stays && putting.say(format!("{error:#}")) && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        putting.end();
        (given, ended)
    })?;
    let camera = Rc::new(Cell::new(Some(camera)));
    let (stop, closing, ending) = (Arc::clone(&preview.stop), slot.clone(), Rc::clone(&camera));
    LAST_WORDS.set(LastWords(Some(Box::new(move || {
        stop.store(true, Ordering::Relaxed);
        closing.close();
        let camera = ending.take();
        let _ = std::thread::spawn(move || drop(camera.map(JoinHandle::join))).join();
    }))));
    let mut app = App {
        preview,
        slot,
        screen: None,
        frozen: false,
        counts: Counts::default(),
        intervals: VecDeque::new(),
        last: None,
        photos: Vec::new(),
        failed: None,
    };
    // An error is a display that has gone; the files are ended all the same.
    let ran = events.run_app(&mut app);
    // A camera that gives nothing looks only there.
    app.preview.stop.store(true, Ordering::Relaxed);
    app.slot.close();
    let _: Vec<_> = app.photos.drain(..).map(JoinHandle::join).collect();
    app.counts.replaced = app.slot.replaced();
    if let Some(screen) = &app.screen {
        app.counts.timing = screen.presenter.timing();
        app.counts.reasons = screen.presenter.viewer().reasons();
    }
    let ended = camera.take().and_then(|camera| camera.join().ok());
    let (given, ended) = ended.context("the camera's thread panicked")?;
    let ran = app.failed.map_or(ran.context("the display has gone"), Err);
    Ok((app.counts, given, [ended, ran]))
}

thread_local! {
    /// Xlib ends the process when its server has gone: with `exit`, which drops this thread's variables first (glibc's does). So
    /// the files are whole then too.
    static LAST_WORDS: RefCell<LastWords> = const { RefCell::new(LastWords(None)) };
}

struct LastWords(Option<Box<dyn FnOnce()>>);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|say| say());
    }
}

/// A window that is there.
struct Screen {
    window: Arc<Window>,
    presenter: Presenter,
    text: Text,
    /// Which filter, among those built in.
    filter: usize,
}

/// There is something new in the slot.
#[derive(Debug)]
struct Wake;

struct App {
    preview: Preview,
    slot: Latest,
    screen: Option<Screen>,
    frozen: bool,
    counts: Counts,
    intervals: VecDeque<Duration>,
    last: Option<Instant>,
    photos: Vec<JoinHandle<()>>,
    failed: Option<anyhow::Error>,
}

impl ApplicationHandler<Wake> for App {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        if self.screen.is_none() {
            let opened = self.open(events);
            self.done(events, opened);
        }
    }

    fn user_event(&mut self, events: &ActiveEventLoop, _: Wake) {
        if self.slot.has_ended() {
            events.exit();
        }
        self.redraw();
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested => events.exit(),
            WindowEvent::KeyboardInput { event, .. } if event.state.is_pressed() && !event.repeat => {
                self.key(events, event.logical_key);
            }
            WindowEvent::Resized(size) => {
                let size = Size::new(size.width, size.height);
                let resized = self.screen.as_mut().map(|screen| screen.presenter.resize(size));
                self.done(events, resized.unwrap_or(Ok(())).map_err(Into::into));
                self.redraw();
            }
            WindowEvent::RedrawRequested => {
                if let Some(mut screen) = self.screen.take() {
                    let drawn = self.draw(events, &mut screen);
                    self.screen = Some(screen);
                    self.done(events, drawn);
                }
            }
            _ => {}
        }
    }
}

impl App {
    fn open(&mut self, events: &ActiveEventLoop) -> Result<()> {
        let Size { width, height } = self.preview.size;
        let attributes = Window::default_attributes()
            .with_title(format!("camera: {}", self.preview.name))
            .with_inner_size(LogicalSize::new(width, height));
        let window = Arc::new(events.create_window(attributes).context("opening a window")?);
        let size = window.inner_size();
        let size = Size::new(size.width, size.height);
        let options = ImportOptions::from_env()?;
        let presenter = Presenter::open(Arc::clone(&window), size, options, &self.preview.path).context(
            "no GPU with Vulkan can draw into a window here: install its driver (on Debian: mesa-vulkan-drivers, \
             which also brings one that needs no GPU), or run `camera` without `preview`",
        )?;
        self.screen = Some(Screen {
            text: Text::new(presenter.gpu(), presenter.format()),
            window,
            presenter,
            filter: 0,
        });
        self.redraw();
        Ok(())
    }

    fn done(&mut self, events: &ActiveEventLoop, result: Result<()>) {
        if let Err(error) = result {
            self.failed = Some(error);
            events.exit();
        }
    }

    fn redraw(&self) {
        if let Some(screen) = &self.screen {
            screen.window.request_redraw();
        }
    }

    fn key(&mut self, events: &ActiveEventLoop, key: Key) {
        let turned = &mut self.preview.turned;
        match key.as_ref() {
            Key::Named(NamedKey::Escape) | Key::Character("q") => events.exit(),
            Key::Named(NamedKey::Space) | Key::Character(" ") => self.frozen = !self.frozen,
            Key::Character("i") => self.preview.info = !self.preview.info,
            Key::Character("f") => {
                let next = self.screen.as_mut().map_or(Ok(()), Screen::next_filter);
                self.done(events, next);
            }
            Key::Character("p") => self.photo(),
            Key::Character("r") => turned.rotation = rotated(turned.rotation, 90),
            // As it is seen now: the mirror comes before the turn, so that goes the other way round.
            Key::Character("m") => {
                turned.mirror = !turned.mirror;
                turned.rotation = rotated(Rotation::R0, -i64::from(turned.rotation.degrees()));
            }
            _ => return,
        }
        self.redraw();
    }

    /// Written on a thread of its own: a PNG takes longer than a refresh.
    fn photo(&mut self) {
        let turned = self.preview.turned;
        let screen = self.screen.as_ref();
        let taken = screen.map(|screen| screen.presenter.snapshot(turned));
        self.photos.push(std::thread::spawn(move || {
            let save = || {
                let frame = taken.transpose()?.flatten().context("there is none yet")?;
                Ok::<_, anyhow::Error>(Photo::of("photo.png")?.save_numbered(&frame, Deadline::NEVER)?)
            };
            match save() {
                Ok(file) => say!("picture: {}", file.display()),
                Err(error) => say!("note: no picture: {error:#}"),
            }
        }));
    }

    /// Once for each picture, when the screen is ready for it.
    fn draw(&mut self, events: &ActiveEventLoop, screen: &mut Screen) -> Result<()> {
        // A window that is on no screen yet misses none of its refreshes.
        let refresh = screen.window.current_monitor().map_or(Duration::MAX, |monitor| {
            let rate = monitor.refresh_rate_millihertz().unwrap_or(60_000);
            Duration::from_secs_f64(1000.0 / f64::from(rate.max(1)))
        });
        screen.presenter.set_refresh(refresh);
        let Some(turn) = screen.presenter.turn()? else {
            // Not now, or not seen: the next picture asks again.
            drop(self.slot.try_next());
            return Ok(());
        };
        // As late as can be, so that it is the newest.
        let slot = &self.slot;
        let frame = if self.frozen { None } else { slot.try_next() };
        screen.text.info = self.info(&screen.presenter);
        screen.text.scale = screen.window.scale_factor() as f32;
        let text: Option<&mut dyn Overlay> = match screen.text.is_empty() {
            true => None,
            false => Some(&mut screen.text),
        };
        screen.window.pre_present_notify();
        let turned = self.preview.turned;
        screen.presenter.show(turn, frame.as_ref(), turned, text)?;
        if frame.is_some() {
            self.counts.shown += 1;
            let now = Instant::now();
            if let Some(last) = self.last.replace(now) {
                self.intervals.truncate(KEPT - 1);
                self.intervals.push_front(now - last);
            }
            if self.preview.frames == Some(self.counts.shown) {
                events.exit();
            }
        }
        Ok(())
    }

    fn info(&self, presenter: &Presenter) -> Info {
        let mut lines = self.slot.warnings();
        if self.preview.info {
            let sum = self.intervals.iter().sum::<Duration>().as_secs_f64();
            let missed = presenter.timing().missed;
            lines.push(format!("{} on {}", self.preview.path, presenter.describe()));
            lines.push(format!(
                "{:.1} pictures/s; {} shown, {} replaced before shown, {missed} refreshes missed by us{}",
                self.intervals.len() as f64 / sum.max(1e-9),
                self.counts.shown,
                self.slot.replaced(),
                if self.frozen { "; frozen" } else { "" },
            ));
            lines.extend(presenter.viewer().reasons());
            lines.push(KEYS.into());
        }
        Info {
            lines,
            intervals: self.intervals.iter().copied().collect(),
            message: self.slot.message(),
        }
    }
}

impl Screen {
    fn next_filter(&mut self) -> Result<()> {
        self.filter = (self.filter + 1) % filter::BUILT_IN.len();
        let (name, _) = filter::BUILT_IN[self.filter];
        let effect = filter::open(self.presenter.gpu(), name)?;
        let effect = Some(effect).filter(|_| self.filter != 0);
        self.presenter.viewer_mut().set_effect(effect);
        Ok(())
    }
}

fn rotated(rotation: Rotation, degrees: i64) -> Rotation {
    Rotation::from_degrees(i64::from(rotation.degrees()) + degrees).unwrap_or_default()
}
