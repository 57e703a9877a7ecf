//! xdg-desktop-portal, WirePlumber and PipeWire as they are on a desktop; the desktop's backend, which would draw the dialogue,
//! is played by this test.

mod common;

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{PATIENCE, Producer, linear, number};
use dmaframe_core::{Fourcc, Frame, Modifier, Size};
use dmaframe_pipewire::portal::{PortalError, Request};
use dmaframe_pipewire::{CaptureStream, Target, VirtualCamera};
use dmaframe_testkit::{Daemon, Device, PORTAL, Portal, end, need};
use zbus::{ObjectPath, OwnedVariant, Variant};

/// The bus's address stands in the environment: one test at a time.
static ENVIRONMENT: Mutex<()> = Mutex::new(());

type Options<'a> = HashMap<&'a str, Variant<'a>>;
type Results = HashMap<String, OwnedVariant>;

/// What the user does with a dialogue.
#[derive(Clone, Copy, Debug, PartialEq)]
enum User {
    Yes,
    No,
    /// Went for a coffee.
    Away,
}

/// The desktop's backend for dialogues.
#[derive(Clone)]
struct Access {
    user: Arc<Mutex<User>>,
    told: Sender<&'static str>,
}

/// A dialogue on the screen.
struct Dialogue {
    told: Sender<&'static str>,
}

#[zbus::interface(name = "org.freedesktop.impl.portal.Request")]
impl Dialogue {
    fn close(&self) {
        let _ = self.told.send("closed");
    }
}

#[zbus::interface(name = "org.freedesktop.impl.portal.Access")]
impl Access {
    #[allow(clippy::too_many_arguments, reason = "the interface's")]
    async fn access_dialog(
        &self,
        #[zbus(object_server)] server: &zbus::ObjectServer,
        handle: ObjectPath<'_>,
        _app_id: &str,
        _parent: &str,
        _title: &str,
        _subtitle: &str,
        _body: &str,
        _options: Options<'_>,
    ) -> (u32, Results) {
        let _ = self.told.send("asked");
        let told = self.told.clone();
        let _ = server.at(&handle, Dialogue { told }).await;
        let user = *self.user.lock().unwrap();
        match user {
            User::Yes => (0, Results::new()),
            User::No => (1, Results::new()),
            User::Away => std::future::pending().await,
        }
    }
}

/// The desktop's backend for screens: one, which is a node of this test's.
struct Screen {
    user: Arc<Mutex<User>>,
    node: Arc<Mutex<u32>>,
    told: Sender<&'static str>,
}

/// Somebody's share of the screen.
struct Session {
    told: Sender<&'static str>,
}

#[zbus::interface(name = "org.freedesktop.impl.portal.Session")]
impl Session {
    fn close(&self) {
        let _ = self.told.send("session closed");
    }

    #[zbus(property)]
    fn version(&self) -> u32 {
        1
    }
}

#[zbus::interface(name = "org.freedesktop.impl.portal.ScreenCast")]
impl Screen {
    async fn create_session(
        &self,
        #[zbus(object_server)] server: &zbus::ObjectServer,
        _handle: ObjectPath<'_>,
        session: ObjectPath<'_>,
        _app_id: &str,
        _options: Options<'_>,
    ) -> (u32, Results) {
        let told = self.told.clone();
        let _ = server.at(&session, Session { told }).await;
        (0, Results::new())
    }

    fn select_sources(
        &self,
        _handle: ObjectPath<'_>,
        _session: ObjectPath<'_>,
        _app_id: &str,
        options: Options<'_>,
    ) -> (u32, Results) {
        let number = |key| options.get(key).and_then(|v| u32::try_from(v).ok());
        let right = number("types") == Some(3) && number("cursor_mode") == Some(2);
        (if right { 0 } else { 2 }, Results::new())
    }

    fn start(
        &self,
        _handle: ObjectPath<'_>,
        _session: ObjectPath<'_>,
        _app_id: &str,
        _parent: &str,
        _options: Options<'_>,
    ) -> (u32, Results) {
        if *self.user.lock().unwrap() != User::Yes {
            return (1, Results::new());
        }
        let more = HashMap::from([("source_type", Variant::from(1_u32))]);
        let streams = vec![(*self.node.lock().unwrap(), more)];
        let streams = OwnedVariant::try_from(Variant::new(streams)).unwrap();
        (0, Results::from([("streams".to_owned(), streams)]))
    }

    #[zbus(property, name = "AvailableSourceTypes")]
    fn kinds(&self) -> u32 {
        1 | 2
    }

    #[zbus(property)]
    fn available_cursor_modes(&self) -> u32 {
        1 | 2
    }

    #[zbus(property, name = "version")]
    fn version(&self) -> u32 {
        5
    }
}

struct Desktop {
    user: Arc<Mutex<User>>,
    node: Arc<Mutex<u32>>,
    told: Receiver<&'static str>,
    _bus: zbus::Connection,
}

impl Desktop {
    fn start(daemon: &Daemon) -> Self {
        let (tell, told) = channel();
        let (user, node) = (Arc::new(Mutex::new(User::Away)), Arc::default());
        let access = Access {
            user: Arc::clone(&user),
            told: tell.clone(),
        };
        let screen = Screen {
            user: Arc::clone(&user),
            node: Arc::clone(&node),
            told: tell,
        };
        let path = "/org/freedesktop/portal/desktop";
        let bus = zbus::connection::Builder::address(daemon.bus())
            .name(Portal::BACKEND)
            .serve_at(path, access)
            .serve_at(path, screen)
            .build();
        Self {
            user,
            node,
            told,
            _bus: zbus::block_on(bus).unwrap(),
        }
    }

    fn user(&self, does: User) {
        *self.user.lock().unwrap() = does;
    }

    fn expect(&self, what: &str) {
        assert_eq!(self.told.recv_timeout(PATIENCE).as_deref(), Ok(what));
    }

    /// Nobody was asked anything.
    fn expect_nothing(&self) {
        assert_eq!(self.told.try_recv().ok(), None);
    }
}

/// Luma of the first bars that vivid draws (75 %, BT.601), from NV12 or YUYV.
fn bars(frame: &Frame) -> Vec<u8> {
    let (size, view) = (frame.layout().size(), frame.map_read(PATIENCE).unwrap());
    let mut row = vec![0; frame.layout().row_bytes(0)];
    view.copy_row(0, size.height - 20, &mut row).unwrap();
    (0..8)
        .map(|bar| row[(bar * 2 + 1) * size.width as usize / 16])
        .collect()
}

const BARS: [u8; 8] = [180, 162, 131, 112, 84, 65, 35, 16];

#[test]
fn the_portals_camera_comes_as_frames() {
    need_pipewire!();
    need!(Device::Program(PORTAL));
    need!(Device::Program("gdbus"));
    need!(Device::Capture("vivid"));
    let _alone = ENVIRONMENT.lock().unwrap();
    let daemon = Daemon::with_session_manager();
    common::sys::set_env("DBUS_SESSION_BUS_ADDRESS", daemon.bus());
    let desktop = Desktop::start(&daemon);
    let portal = Portal::start(&daemon);
    portal.remember(None);

    // The user is away: a bounded wait, in steps; and given up, the dialogue goes.
    let mut request = Request::camera(PATIENCE).unwrap();
    desktop.expect("asked");
    let start = Instant::now();
    for _ in 0..3 {
        assert!(request.wait(Duration::from_millis(100)).unwrap().is_none());
    }
    assert!(start.elapsed() >= Duration::from_millis(300));
    desktop.expect_nothing();
    drop(request);
    desktop.expect("closed");
    let unanswered = Request::camera(PATIENCE)
        .unwrap()
        .answer(Duration::from_millis(200));
    assert!(
        matches!(unanswered, Err(PortalError::Unanswered { timeout }) if timeout.as_millis() == 200),
        "{unanswered:?}"
    );
    desktop.expect("asked");
    desktop.expect("closed");

    // No; which the portal remembers, and asks nobody.
    desktop.user(User::No);
    for dialogues in [1, 0] {
        let mut request = Request::camera(PATIENCE).unwrap();
        let refused = request.wait(PATIENCE);
        assert!(matches!(refused, Err(PortalError::Refused)), "{refused:?}");
        let twice = request.wait(PATIENCE);
        assert!(matches!(twice, Err(PortalError::Ended)), "{twice:?}");
        (0..dialogues).for_each(|_| desktop.expect("asked"));
        desktop.expect_nothing();
    }

    // Yes.
    desktop.user(User::Yes);
    portal.remember(None);
    let access = Request::camera(PATIENCE).unwrap().answer(PATIENCE).unwrap();
    desktop.expect("asked");
    let nodes = access.nodes().unwrap();
    let vivid = nodes.iter().find(|node| node.name.contains("vivid"));
    let vivid = vivid.unwrap_or_else(|| panic!("{nodes:?}"));
    // Twice: each stream has a connection of its own, and nobody is asked again.
    for _ in 0..2 {
        let stream = CaptureStream::builder()
            .remote(access.remote().unwrap())
            .target(Target::Node(vivid.id))
            .formats(common::set(Fourcc::NV12, &[Modifier::LINEAR]))
            .size(Size::new(640, 360))
            .start()
            .unwrap();
        for _ in 0..10 {
            let frame = common::frame(&stream);
            assert!(matches!(frame, Frame::Dmabuf(_)), "{frame:?}");
            assert_eq!(
                (frame.fourcc(), frame.layout().size()),
                (Fourcc::NV12, Size::new(640, 360))
            );
            let exporter = frame.as_dmabuf().unwrap().objects()[0].exporter();
            assert!(exporter.unwrap().contains("videobuf2"), "not the driver's memory");
            let found = bars(&frame);
            let near = found.iter().zip(BARS).all(|(a, b)| a.abs_diff(b) < 12);
            assert!(near, "luma of the bars {found:?}, not {BARS:?}");
        }
        assert_eq!(stream.hop().counts().cpu_bytes, 0);
    }
    desktop.expect_nothing();

    // Taken back.
    portal.remember(Some(false));
    let revoked = access.remote();
    assert!(matches!(revoked, Err(PortalError::Revoked { .. })), "{revoked:?}");
    drop(access);
    screens(&daemon, &desktop);
}

/// A screen, which is a picture of ours.
fn screens(daemon: &Daemon, desktop: &Desktop) {
    let camera = VirtualCamera::builder("a screen")
        .remote(daemon.remote())
        .formats(linear())
        .size(common::SMALL);
    let camera = Arc::new(camera.start().unwrap());
    let producer = Producer::start(Arc::clone(&camera), Duration::from_millis(8));
    let start = Instant::now();
    let id = loop {
        let nodes = dmaframe_pipewire::video_sources(Some(daemon.remote()), PATIENCE).unwrap();
        if let Some(node) = nodes.iter().find(|node| node.name == "a screen") {
            break node.id;
        }
        assert!(start.elapsed() < PATIENCE);
    };
    *desktop.node.lock().unwrap() = id;
    desktop.user(User::No);
    let refused = Request::screen(PATIENCE).unwrap().answer(PATIENCE);
    assert!(matches!(refused, Err(PortalError::Refused)), "{refused:?}");
    desktop.expect("session closed");
    desktop.user(User::Yes);
    let access = Request::screen(PATIENCE).unwrap().answer(PATIENCE).unwrap();
    let nodes = access.nodes().unwrap();
    assert_eq!(nodes.iter().map(|node| node.id).collect::<Vec<_>>(), [id]);
    let stream = CaptureStream::builder()
        .remote_fd(access.remote().unwrap(), id)
        .formats(linear())
        .start()
        .unwrap();
    for _ in 0..5 {
        assert!(number(&common::frame(&stream)).is_some());
    }
    drop((stream, access));
    desktop.expect("session closed");
    assert!(producer.stop() > 0);
}

/// A session bus that can start nothing.
fn bare_bus() -> (Child, String) {
    let config = "<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><policy context=\"default\">\
                  <allow send_destination=\"*\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>";
    let file = std::env::temp_dir().join(format!("dmaframe-bus-{}.conf", std::process::id()));
    std::fs::write(&file, config).unwrap();
    let mut bus = Command::new("dbus-daemon")
        .args(["--nofork", "--print-address=1", "--config-file"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    let out = bus.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut address).unwrap();
    (bus, address.trim().to_owned())
}

/// Something that has the portal's name.
fn impostor(address: &str) -> zbus::connection::Builder<'_> {
    zbus::connection::Builder::address(address).name("org.freedesktop.portal.Desktop")
}

/// A portal that has a camera and gives it to nobody: at once, or by never answering.
struct Broken {
    at_once: bool,
}

const REQUEST: &str = "/org/freedesktop/portal/desktop/request/a/b";

#[zbus::interface(name = "org.freedesktop.portal.Camera")]
impl Broken {
    fn access_camera(&self, _options: Options<'_>) -> zbus::fdo::Result<ObjectPath<'static>> {
        match self.at_once {
            true => Err(zbus::fdo::Error::Failed("not today".into())),
            false => Ok(ObjectPath::try_from(REQUEST).unwrap()),
        }
    }

    #[zbus(property)]
    fn is_camera_present(&self) -> bool {
        true
    }
}

#[test]
fn without_a_portal_the_error_says_what_to_do() {
    need!(Device::Program("dbus-daemon"));
    let _alone = ENVIRONMENT.lock().unwrap();
    let camera = |patience| Request::camera(patience).unwrap_err();
    let remedied = |error: PortalError, remedy: &str| {
        let said = error.to_string();
        assert!(said.contains(remedy), "{said}");
    };

    common::sys::set_env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/bus");
    let error = camera(PATIENCE);
    assert!(matches!(error, PortalError::NoBus { .. }), "{error}");
    remedied(error, "DBUS_SESSION_BUS_ADDRESS");

    let (mut child, address) = bare_bus();
    common::sys::set_env("DBUS_SESSION_BUS_ADDRESS", &address);
    let error = camera(PATIENCE);
    assert!(matches!(error, PortalError::NoPortal { .. }), "{error}");
    remedied(error, "install xdg-desktop-portal");

    // One that never says a word.
    let silent = zbus::block_on(impostor(&address).build()).unwrap();
    let start = Instant::now();
    let error = camera(Duration::from_millis(300));
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < PATIENCE);
    assert!(
        matches!(error, PortalError::Silent { call: "GetAll", timeout } if timeout.as_millis() == 300),
        "{error}"
    );
    remedied(error, "restart xdg-desktop-portal");
    zbus::block_on(silent.close()).unwrap();

    let broken = impostor(&address).serve_at("/org/freedesktop/portal/desktop", Broken { at_once: true });
    let broken = zbus::block_on(broken.build()).unwrap();
    let error = camera(PATIENCE);
    assert!(
        matches!(&error, PortalError::Failed { call: "AccessCamera", message } if message.contains("not today")),
        "{error}"
    );
    let error = Request::screen(PATIENCE).unwrap_err();
    assert!(matches!(error, PortalError::NoInterface { .. }), "{error}");
    remedied(error, "org.freedesktop.impl.portal.ScreenCast");
    zbus::block_on(broken.close()).unwrap();

    // An answer counts from the portal, and from nobody else on the bus.
    let portal = impostor(&address).serve_at("/org/freedesktop/portal/desktop", Broken { at_once: false });
    let portal = zbus::block_on(portal.build()).unwrap();
    let stranger = zbus::block_on(zbus::connection::Builder::address(address.as_str()).build()).unwrap();
    let mut request = Request::camera(PATIENCE).unwrap();
    for (who, heard) in [(&stranger, false), (&portal, true)] {
        let yes = (0_u32, Results::new());
        let interface = "org.freedesktop.portal.Request";
        let said = who.emit_signal(None::<&str>, REQUEST, interface, "Response", &yes);
        zbus::block_on(said).unwrap();
        let answer = request.wait(Duration::from_millis(500)).unwrap();
        assert_eq!(answer.is_some(), heard, "{answer:?}");
    }
    end(&mut child);
}
