//! The loop's thread: libpipewire's objects are bound to one, ours are not.

use std::cell::RefCell;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use pipewire::context::ContextRc;
use pipewire::link::{Link, LinkListener};
use pipewire::main_loop::MainLoopRc;
use pipewire::properties::PropertiesBox;
use pipewire::registry::{GlobalObject, RegistryRc};
use pipewire::spa::support::system::IoFlags;
use pipewire::spa::utils::dict::DictRef;
use pipewire::types::ObjectType;

use crate::error::Error;
use crate::sys::{self, Handler, Stream, Version};
use crate::wake::{Signal, WakeSet};

/// The thread's half of a stream.
pub(crate) trait Worker: Handler {
    /// The daemon has answered: connects the stream.
    fn connect(&self, stream: &Stream, daemon: Version) -> Result<(), Error>;
    /// Something in the wake set is readable.
    fn wake(&self, stream: &Stream);
    /// The daemon is gone.
    fn disconnected(&self, message: String);
    /// A link from `output` to `input` exists now, or no longer.
    fn link(&self, stream: &Stream, id: u32, output: u32, input: u32);
    /// A link has failed: what it says.
    fn link_failed(&self, stream: &Stream, output: u32, input: u32, message: &str);
    /// An object is gone.
    fn removed(&self, stream: &Stream, id: u32);
    /// What [`Worker::wake`] is called for.
    fn wake_set(&self) -> &WakeSet;
}

/// How to reach the daemon and what the node is called.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) remote: Option<OwnedFd>,
    pub(crate) name: String,
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) timeout: Duration,
}

impl Connection {
    /// To the default daemon.
    pub(crate) fn new(name: String) -> Self {
        Self {
            remote: None,
            name,
            properties: Vec::new(),
            timeout: Duration::from_secs(5),
        }
    }

    /// Refuses what would move the stream to another thread, or have the library follow a pointer of its user's.
    fn check(&self) -> Result<(), Error> {
        let mut keys = self.properties.iter().map(|(key, _)| key);
        let own = |key: &&String| ["node.loop.", "adapt."].iter().any(|own| key.starts_with(own));
        match keys.find(own) {
            Some(key) => Err(Error::Property { key: key.clone() }),
            None => Ok(()),
        }
    }

    /// What a stream says of its node, in front of what its user says: the last word counts.
    pub(crate) fn say<'a>(&mut self, ours: impl IntoIterator<Item = (&'a str, String)>) {
        let ours = ours.into_iter().map(|(key, value)| (key.to_owned(), value));
        drop(self.properties.splice(0..0, ours));
    }
}

/// What the builders of both kinds of streams let their user say of the connection.
macro_rules! connection_setters {
    () => {
        /// Another daemon than the default one; takes the descriptor of its socket.
        pub fn remote(mut self, remote: std::os::fd::OwnedFd) -> Self {
            self.connection.remote = Some(remote);
            self
        }

        /// How long the daemon may take to answer in `start`. 5 s unless said otherwise.
        pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
            self.connection.timeout = timeout;
            self
        }

        /// A property of the node, beside or in place of ours. Those that start with `node.loop.` or `adapt.` are the
        /// library's own: `start` refuses them ([`Error::Property`]).
        pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
            self.connection.properties.push((key.into(), value.into()));
            self
        }
    };
}
pub(crate) use connection_setters;

/// The running thread; stopped and joined when dropped (by itself: only stopped).
#[derive(Debug)]
pub(crate) struct LoopThread {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    signal: Arc<Signal>,
}

impl LoopThread {
    /// Starts it and waits until the daemon has answered and the stream is connected.
    pub(crate) fn spawn<W: Worker + 'static>(
        connection: Connection,
        signal: Arc<Signal>,
        make: impl FnOnce() -> Result<Rc<W>, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        connection.check()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, answer) = mpsc::channel();
        let timeout = connection.timeout;
        let remote = remote_name(&connection);
        let thread = std::thread::Builder::new().name("dmaframe-pw".into()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                if let Err(error) = run(connection, &ready, &stop, make) {
                    let _ = ready.send(Err(error));
                }
            }
        });
        let thread = thread.map_err(|e| {
            Error::os(
                "clone",
                rustix::io::Errno::from_io_error(&e).unwrap_or(rustix::io::Errno::AGAIN),
            )
        })?;
        let this = Self {
            thread: Some(thread),
            stop,
            signal,
        };
        match answer.recv_timeout(timeout) {
            Ok(result) => result.map(|()| this),
            Err(_) => Err(Error::Connect {
                remote,
                reason: format!("no answer within {timeout:?}"),
            }),
        }
    }
}

impl Drop for LoopThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.signal.set();
        let Some(thread) = self.thread.take() else { return };
        // The stream's last owner can be a frame's lease, which runs on the loop's own thread: that one ends by itself when
        // it comes back to its loop.
        if thread.thread().id() != std::thread::current().id() {
            // It never blocks on anybody: every call it makes returns.
            let _ = thread.join();
        }
    }
}

fn remote_name(connection: &Connection) -> &'static str {
    match connection.remote {
        Some(_) => "the descriptor given",
        None => "its default socket",
    }
}

/// For `add_io`, which wants something with a descriptor that it owns.
struct Watched(RawFd);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

fn run<W: Worker + 'static>(
    connection: Connection,
    ready: &mpsc::Sender<Result<(), Error>>,
    stop: &Arc<AtomicBool>,
    make: impl FnOnce() -> Result<Rc<W>, Error>,
) -> Result<(), Error> {
    pipewire::init();
    let remote = remote_name(&connection);
    let refused = |error: pipewire::Error| Error::Connect {
        remote,
        reason: error.to_string(),
    };
    let worker = make()?;
    let main = MainLoopRc::new(None).map_err(refused)?;
    let context = ContextRc::new(&main, None).map_err(refused)?;
    let core = match connection.remote {
        Some(fd) => context.connect_fd_rc(fd, None),
        None => context.connect_rc(None),
    }
    .map_err(refused)?;
    let mut properties = PropertiesBox::new();
    for (key, value) in &connection.properties {
        if key.contains('\0') || value.contains('\0') {
            return Err(Error::Name {
                name: format!("{key} = {value}"),
            });
        }
        properties.insert(key.as_str(), value.as_str());
    }
    let stream = Stream::new(
        &core,
        &connection.name,
        properties,
        Rc::clone(&worker) as Rc<dyn Handler>,
    )?;

    let daemon = Rc::new(std::cell::Cell::new(Version::default()));
    let connected = std::cell::Cell::new(false);
    let sent = core.sync(0).map_err(refused)?;
    let _core = core
        .add_listener_local()
        .info({
            let daemon = Rc::clone(&daemon);
            move |info| daemon.set(Version::parse(info.version()))
        })
        .done({
            let (worker, stream, ready) = (Rc::clone(&worker), Rc::clone(&stream), ready.clone());
            move |_, seq| {
                if seq == sent && !connected.replace(true) {
                    let _ = ready.send(worker.connect(&stream, daemon.get().min(sys::library_version())));
                }
            }
        })
        .error({
            let worker = Rc::clone(&worker);
            move |id, _, res, message| {
                // The core's own errors are the connection's; those of other objects come with their streams.
                if id == 0 && res == -rustix::io::Errno::PIPE.raw_os_error() {
                    worker.disconnected(message.to_owned());
                }
            }
        })
        .register();
    let registry = core.get_registry_rc().map_err(refused)?;
    // Links tell why they fail only to those who listen to them.
    let watched: Rc<RefCell<Vec<Watch>>> = Rc::default();
    let _registry = registry
        .add_listener_local()
        .global({
            let (worker, stream) = (Rc::clone(&worker), Rc::clone(&stream));
            let (registry, watched) = (registry.clone(), Rc::clone(&watched));
            move |global| {
                if let (ObjectType::Link, Some(properties)) = (&global.type_, global.props) {
                    if let (Some(output), Some(input)) = (end(properties, "output"), end(properties, "input"))
                    {
                        worker.link(&stream, global.id, output, input);
                        if [Some(output), Some(input)].contains(&stream.node_id()) {
                            let ends = (output, input);
                            let watch =
                                Watch::new(&registry, global, ends, Rc::clone(&worker), Rc::clone(&stream));
                            watched.borrow_mut().extend(watch);
                        }
                    }
                }
            }
        })
        .global_remove({
            let (worker, stream) = (Rc::clone(&worker), Rc::clone(&stream));
            let watched = Rc::clone(&watched);
            move |id| {
                worker.removed(&stream, id);
                watched.borrow_mut().retain(|watch| watch.id != id);
            }
        })
        .register();
    let wake = std::os::fd::AsFd::as_fd(worker.wake_set()).as_raw_fd();
    let _io = main.loop_().add_io(Watched(wake), IoFlags::IN, {
        let (worker, stream, stop, main) = (
            Rc::clone(&worker),
            Rc::clone(&stream),
            Arc::clone(stop),
            main.downgrade(),
        );
        move |_| {
            if stop.load(Ordering::Acquire) {
                if let Some(main) = main.upgrade() {
                    main.quit();
                }
                return;
            }
            worker.wake(&stream);
        }
    });
    main.run();
    watched.borrow_mut().clear();
    stream.disconnect();
    Ok(())
}

/// A link of ours, listened to.
struct Watch {
    id: u32,
    // Before the proxy it belongs to.
    _listener: LinkListener,
    _proxy: Link,
}

impl Watch {
    /// `None` where the daemon does not let us have it: then nobody tells why the link fails.
    fn new<W: Worker + 'static>(
        registry: &RegistryRc,
        global: &GlobalObject<&DictRef>,
        (output, input): (u32, u32),
        worker: Rc<W>,
        stream: Rc<Stream>,
    ) -> Option<Self> {
        let proxy: Link = registry.bind(global).ok()?;
        let listener = proxy
            .add_listener_local()
            .info(move |info| {
                if let Some(message) = sys::link_error(info) {
                    worker.link_failed(&stream, output, input, &message);
                }
            })
            .register();
        Some(Self {
            id: global.id,
            _listener: listener,
            _proxy: proxy,
        })
    }
}

/// A link's end, by the daemon's own property.
fn end(properties: &DictRef, which: &str) -> Option<u32> {
    properties.get(&format!("link.{which}.node"))?.parse().ok()
}
