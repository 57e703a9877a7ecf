//! Which cameras the daemon has.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use pipewire::context::ContextRc;
use pipewire::main_loop::MainLoopRc;
use pipewire::types::ObjectType;

use crate::error::Error;

/// Longer than anybody waits: a hundred years.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A node that gives video: a camera, or somebody's virtual one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its id, until it is removed: for [`Target::Node`](crate::Target::Node).
    pub id: u32,
    /// Its `node.name`: for [`Target::Name`](crate::Target::Name).
    pub name: String,
    /// Its `object.serial`, never given to two nodes of one daemon.
    pub serial: Option<String>,
    /// Its name for people.
    pub description: Option<String>,
}

/// The nodes that give video (`media.class` `Video/Source`, also of portals and virtual cameras), in the daemon's order.
/// `remote` is another daemon's socket, or a portal's descriptor.
///
/// Runs on the calling thread until the daemon has answered.
///
/// # Errors
/// [`Error::Connect`]; so also when the answer takes longer than `timeout`.
pub fn video_sources(remote: Option<OwnedFd>, timeout: Duration) -> Result<Vec<Node>, Error> {
    pipewire::init();
    let place = match remote {
        Some(_) => "the descriptor given",
        None => "its default socket",
    };
    let refused = |error: pipewire::Error| Error::Connect {
        remote: place,
        reason: error.to_string(),
    };
    let main = MainLoopRc::new(None).map_err(refused)?;
    let context = ContextRc::new(&main, None).map_err(refused)?;
    let core = match remote {
        Some(fd) => context.connect_fd_rc(fd, None),
        None => context.connect_rc(None),
    }
    .map_err(refused)?;
    let registry = core.get_registry_rc().map_err(refused)?;
    let nodes: Rc<RefCell<Vec<Node>>> = Rc::default();
    let _registry = registry
        .add_listener_local()
        .global({
            let nodes = Rc::clone(&nodes);
            move |global| {
                let Some(properties) = global.props.filter(|_| global.type_ == ObjectType::Node) else {
                    return;
                };
                let text = |key: &str| properties.get(key).map(str::to_owned);
                let class = properties.get("media.class").unwrap_or_default();
                if class != "Video/Source" && class != "Video/Source/Virtual" {
                    return;
                }
                nodes.borrow_mut().push(Node {
                    id: global.id,
                    name: text("node.name").unwrap_or_else(|| global.id.to_string()),
                    serial: text("object.serial"),
                    description: text("node.description").or_else(|| text("node.nick")),
                });
            }
        })
        .register();
    // The answer to this comes after everything that was there before.
    let sent = core.sync(0).map_err(refused)?;
    let outcome: Rc<RefCell<Option<Result<(), String>>>> = Rc::default();
    let end = |result: Result<(), String>| {
        let (outcome, main) = (Rc::clone(&outcome), main.downgrade());
        let result = Cell::new(Some(result));
        move || {
            if let (Some(result), Some(main)) = (result.take(), main.upgrade()) {
                outcome.borrow_mut().get_or_insert(result);
                main.quit();
            }
        }
    };
    let done = end(Ok(()));
    let gone = end(Err("it hung up".into()));
    let _core = core
        .add_listener_local()
        .done(move |_, seq| {
            if seq == sent {
                done();
            }
        })
        .error(move |id, _, _, _| {
            if id == 0 {
                gone();
            }
        })
        .register();
    let late = end(Err(format!("no answer within {timeout:?}")));
    let timer = main.loop_().add_timer(move |_| late());
    // The timer counts in 64 bits, and 0 would be never.
    let span = timeout.clamp(Duration::from_millis(1), LONGEST);
    let _ = timer.update_timer(Some(span), None);
    main.run();
    let outcome = outcome.borrow_mut().take();
    match outcome {
        Some(Err(reason)) => Err(Error::Connect {
            remote: place,
            reason,
        }),
        _ => Ok(nodes.take()),
    }
}
