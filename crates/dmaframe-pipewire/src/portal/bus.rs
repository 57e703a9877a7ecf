//! The portal's side of D-Bus: calls with an end, and requests, whose answers come as signals.

use std::fmt;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use futures_core::Stream;
use serde::Serialize;
use zbus::message::Type;
use zbus::names::OwnedUniqueName;
use zbus::{Connection, DynamicType, MatchRule, MessageStream, OwnedObjectPath, Variant};

use super::{Dict, PortalError};

const NAME: &str = "org.freedesktop.portal.Desktop";
const PATH: &str = "/org/freedesktop/portal/desktop";
const REQUEST: &str = "org.freedesktop.portal.Request";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A connection of our own to the session bus: when its last clone is gone, the portal ends what was asked over it.
#[derive(Clone)]
pub(super) struct Bus {
    connection: Connection,
    tokens: Arc<AtomicU32>,
    patience: Duration,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.connection.unique_name().map(|name| name.as_str());
        f.debug_tuple("Bus").field(&name.unwrap_or("no name")).finish()
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread, for so long. zbus's own work is done by its thread.
fn drive<T>(future: impl Future<Output = T>, timeout: Duration) -> Option<T> {
    // One that no clock reaches is no deadline.
    let deadline = Instant::now().checked_add(timeout);
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(Duration::ZERO) => return None,
            Some(left) => std::thread::park_timeout(left),
            None => std::thread::park(),
        }
    }
}

impl Bus {
    pub(super) fn open(patience: Duration) -> Result<Self, PortalError> {
        let connection = drive(Connection::session(), patience);
        let reason = match connection {
            Some(Ok(connection)) => {
                return Ok(Self {
                    connection,
                    tokens: Arc::default(),
                    patience,
                });
            }
            Some(Err(error)) => error.to_string(),
            None => format!("no answer within {patience:?}"),
        };
        Err(PortalError::NoBus { reason })
    }

    /// A name for the next request or session; the connection's own name stands before it.
    pub(super) fn token(&self) -> Variant<'static> {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        Variant::from(format!("dmaframe{number}"))
    }

    fn call<B: Serialize + DynamicType>(
        &self,
        interface: &'static str,
        (of, method): (&'static str, &'static str),
        body: &B,
    ) -> Result<zbus::Message, PortalError> {
        let call = self
            .connection
            .call_method(Some(NAME), PATH, Some(of), method, body);
        match drive(call, self.patience) {
            Some(reply) => reply.map_err(|error| PortalError::of_call(method, interface, &error)),
            None => Err(PortalError::Silent {
                call: method,
                timeout: self.patience,
            }),
        }
    }

    /// What the interface says of itself.
    pub(super) fn properties(&self, interface: &'static str) -> Result<Dict, PortalError> {
        let reply = self.call(interface, (PROPERTIES, "GetAll"), &(interface,))?;
        let all: Dict = read(&reply, "GetAll")?;
        // GLib answers so for interfaces it has not got, too.
        match all.is_empty() {
            true => Err(PortalError::NoInterface { interface }),
            false => Ok(all),
        }
    }

    /// `OpenPipeWireRemote`.
    pub(super) fn descriptor<B: Serialize + DynamicType>(
        &self,
        interface: &'static str,
        body: &B,
    ) -> Result<OwnedFd, PortalError> {
        let method = "OpenPipeWireRemote";
        let reply = self.call(interface, (interface, method), body)?;
        Ok(read::<zbus::OwnedFd>(&reply, method)?.into())
    }

    /// Calls a method that answers with a Request object, and that object's signal later.
    pub(super) fn request<B: Serialize + DynamicType>(
        &self,
        interface: &'static str,
        method: &'static str,
        body: &B,
    ) -> Result<Pending, PortalError> {
        let failed = |error: zbus::Error| PortalError::failed(method, error);
        // Listens before it calls: the answer may come at once.
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .interface(REQUEST)
            .member("Response")
            .path_namespace(format!("{PATH}/request"))
            .build()
            .map_err(failed)?;
        let listen = MessageStream::for_match_rule(rule, &self.connection, None);
        let Some(signals) = drive(listen, self.patience) else {
            return Err(PortalError::Silent {
                call: "AddMatch",
                timeout: self.patience,
            });
        };
        let signals = signals.map_err(failed)?;
        let reply = self.call(interface, (interface, method), body)?;
        Ok(Pending {
            signals,
            handle: read(&reply, method)?,
            // Signals of anybody else are no answer.
            portal: reply.header().sender().map(|name| name.to_owned().into()),
            method,
            answered: false,
        })
    }
}

fn read<T>(reply: &zbus::Message, call: &'static str) -> Result<T, PortalError>
where
    T: for<'d> zbus::wire::DynamicDeserialize<'d>,
{
    let read = reply.body().deserialize();
    read.map_err(|error| PortalError::failed(call, error))
}

/// A request without its answer.
pub(super) struct Pending {
    signals: MessageStream,
    handle: OwnedObjectPath,
    portal: Option<OwnedUniqueName>,
    method: &'static str,
    answered: bool,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.method, self.handle)
    }
}

impl Pending {
    pub(super) fn wait(&mut self, timeout: Duration) -> Result<Option<Dict>, PortalError> {
        let start = Instant::now();
        loop {
            if self.answered {
                return Err(PortalError::Ended);
            }
            let mut signals = pin!(&mut self.signals);
            let next = std::future::poll_fn(|context| signals.as_mut().poll_next(context));
            let message = match drive(next, timeout.saturating_sub(start.elapsed())) {
                Some(Some(Ok(message))) => message,
                Some(Some(Err(error))) => return Err(PortalError::failed(self.method, error)),
                Some(None) => {
                    return Err(PortalError::NoBus {
                        reason: "it hung up".into(),
                    });
                }
                None => return Ok(None),
            };
            let header = message.header();
            let ours = header
                .path()
                .is_some_and(|path| path.as_str() == self.handle.as_str())
                && header.sender().map(|name| name.as_str())
                    == self.portal.as_ref().map(|name| name.as_str());
            if !ours {
                continue;
            }
            self.answered = true;
            let (response, answer): (u32, Dict) = read(&message, self.method)?;
            return match response {
                0 => Ok(Some(answer)),
                1 => Err(PortalError::Refused),
                _ => Err(PortalError::Ended),
            };
        }
    }

    pub(super) fn answer(mut self, timeout: Duration) -> Result<Dict, PortalError> {
        self.wait(timeout)?.ok_or(PortalError::Silent {
            call: self.method,
            timeout,
        })
    }
}
