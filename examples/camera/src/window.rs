//! The live window. Pictures go from the camera through the GPU to the screen: the CPU touches none of them.
//!
//! The camera has a thread of its own and never waits for the window: [`Slot`] is all that is between them.

mod overlay;
mod screen;
mod slot;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use dmaframe::report::PathReport;
use dmaframe::{Orientation, Rotation, Size};
use winit::application::ApplicationHandler;
use winit::dpi::LogicalSize;
use winit::event::{ElementState, KeyEvent, WindowEvent};
use winit::event_loop::{ActiveEventLoop, EventLoop};
use winit::keyboard::{Key, NamedKey};
use winit::window::{Window, WindowId};

use overlay::Info;
use screen::Screen;
pub(crate) use slot::{Slot, Wake};

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
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Counts {
    /// Pictures of the camera that were on the screen.
    pub(crate) shown: u64,
    /// Pictures that were not, because a newer one was there before the screen could take them.
    pub(crate) replaced: u64,
    /// Refreshes of the screen that went by while the picture begun for the first of them was being made.
    pub(crate) missed: u64,
    /// Why the way is not better than it is.
    pub(crate) reasons: Vec<String>,
}

/// Opens a window and shows what `camera` puts into the slot, on a thread of its own, until either ends. Gives what it
/// gave.
pub(crate) fn show<T: Send + 'static>(
    preview: Preview,
    camera: impl FnOnce(&Slot) -> Result<T> + Send + 'static,
) -> Result<(Counts, T)> {
    let events = EventLoop::<Wake>::with_user_event().build().map_err(|error| {
        anyhow!(
            "there is no display to open a window on ({error}): run `camera preview` in a terminal of the desktop, \
             or with WAYLAND_DISPLAY or DISPLAY set; `camera` without `preview` needs none"
        )
    })?;
    let slot = Slot::new(events.create_proxy());
    let putting = slot.clone();
    let camera = std::thread::Builder::new().name("camera".into()).spawn(move || {
        let ended = camera(&putting);
        if let Err(error) = &ended {
            putting.say(format!("{error:#}"));
        }
        putting.end();
        ended
    })?;
    let mut app = App {
        preview,
        slot,
        screen: None,
        frozen: false,
        counts: Counts::default(),
        intervals: VecDeque::new(),
        last: None,
        failed: None,
    };
    events.run_app(&mut app)?;
    app.slot.close();
    app.counts.replaced = app.slot.replaced();
    app.counts.reasons = app.screen.iter().flat_map(Screen::reasons).collect();
    let ended = camera
        .join()
        .map_err(|_| anyhow!("the camera's thread panicked"))?;
    match app.failed {
        Some(error) => Err(error),
        None => Ok((app.counts, ended?)),
    }
}

struct App {
    preview: Preview,
    slot: Slot,
    screen: Option<Screen>,
    frozen: bool,
    counts: Counts,
    intervals: VecDeque<Duration>,
    last: Option<Instant>,
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
        // An error stays on the screen; whoever ended it himself has seen enough.
        if self.slot.has_ended() && (self.preview.frames.is_some() || self.slot.message().is_none()) {
            events.exit();
        }
        self.redraw();
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested => events.exit(),
            WindowEvent::KeyboardInput {
                event:
                    KeyEvent {
                        logical_key,
                        state: ElementState::Pressed,
                        repeat: false,
                        ..
                    },
                ..
            } => self.key(events, logical_key),
            WindowEvent::Resized(size) => {
                if let Some(screen) = &mut self.screen {
                    screen.resize(size);
                }
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
        self.screen = Some(Screen::open(window, &self.preview.path)?);
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

    /// Once for each picture, when the screen is ready for it.
    fn draw(&mut self, events: &ActiveEventLoop, screen: &mut Screen) -> Result<()> {
        let begin = Instant::now();
        let behind = screen.is_behind();
        let Some(turn) = screen.turn()? else {
            return Ok(());
        };
        let waited = turn.waited;
        // As late as can be, so that it is the newest.
        let frame = match self.frozen {
            true => None,
            false => self.slot.take(),
        };
        let info = self.info(screen);
        screen.show(turn, frame.as_ref(), self.preview.turned, &info)?;
        let now = Instant::now();
        let rate = screen
            .window
            .current_monitor()
            .and_then(|monitor| monitor.refresh_rate_millihertz());
        let refresh = Duration::from_secs_f64(1000.0 / f64::from(rate.unwrap_or(60_000).max(1)));
        let worked = (now - begin).saturating_sub(waited);
        self.counts.missed += (worked.as_nanos() / refresh.as_nanos()) as u64 + u64::from(behind);
        if frame.is_some() {
            self.counts.shown += 1;
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

    fn info(&self, screen: &Screen) -> Info {
        let mut lines = Vec::new();
        if self.preview.info {
            let sum = self.intervals.iter().sum::<Duration>().as_secs_f64();
            let Counts { shown, missed, .. } = self.counts;
            lines.push(format!("{} on {}", self.preview.path, screen.describe()));
            lines.push(format!(
                "{:.1} pictures/s; {shown} shown, {} replaced before shown, {missed} refreshes missed by us{}",
                self.intervals.len() as f64 / sum.max(1e-9),
                self.slot.replaced(),
                if self.frozen { "; frozen" } else { "" },
            ));
            lines.extend(screen.reasons());
            lines.push(KEYS.into());
        }
        Info {
            lines,
            intervals: self.intervals.iter().copied().collect(),
            message: self.slot.message(),
        }
    }
}

fn rotated(rotation: Rotation, degrees: i64) -> Rotation {
    Rotation::from_degrees(i64::from(rotation.degrees()) + degrees).unwrap_or_default()
}
