//! Why a portal gives nothing.

use std::time::Duration;

/// Why the portal gives no camera or screen, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortalError {
    /// No session bus.
    #[error(
        "no D-Bus session bus, over which portals are asked ({reason}): is DBUS_SESSION_BUS_ADDRESS set? Outside of a desktop's \
         session `dbus-run-session PROGRAM` starts one; outside of a sandbox `pipewire` needs none"
    )]
    NoBus {
        /// What D-Bus says.
        reason: String,
    },
    /// Nobody on the bus is the portal, and none could be started.
    #[error(
        "no portal on the session bus ({reason}): install xdg-desktop-portal and the desktop's backend for it \
         (xdg-desktop-portal-gtk, -gnome, -kde, -wlr); outside of a sandbox `pipewire` reaches the same cameras"
    )]
    NoPortal {
        /// What D-Bus says.
        reason: String,
    },
    /// The portal does not do this.
    #[error(
        "the portal has no {interface}: it needs PipeWire, and a backend with {} (see its portals.conf, and `systemctl --user \
         status xdg-desktop-portal`)",
        backend(interface)
    )]
    NoInterface {
        /// The interface asked for.
        interface: &'static str,
    },
    /// The portal knows of no camera.
    #[error(
        "the portal shows no camera: none is plugged in, or PipeWire's session manager (WirePlumber) does not run; `pw-cli ls \
         Node` lists what PipeWire has"
    )]
    NoCamera,
    /// The user says no, or has said so before.
    #[error(
        "the user refused: now, or before, which the portal remembers (the desktop's privacy settings, or `flatpak permissions` \
         and `flatpak permission-remove devices camera APP`)"
    )]
    Refused,
    /// The portal gave the question up, or was asked twice for its answer.
    #[error("the portal ended the request without an answer: ask again")]
    Ended,
    /// No answer from the user in time.
    #[error("nobody answered the portal's dialogue within {timeout:?}: ask again, with more time")]
    Unanswered {
        /// How long was waited.
        timeout: Duration,
    },
    /// The program that is the portal does not answer.
    #[error(
        "the portal did not answer {call} within {timeout:?}: `systemctl --user restart xdg-desktop-portal`"
    )]
    Silent {
        /// The call.
        call: &'static str,
        /// How long was waited.
        timeout: Duration,
    },
    /// What was granted is no longer.
    #[error("the portal gives no access any more ({message}): ask for it again")]
    Revoked {
        /// What the portal says.
        message: String,
    },
    /// A call failed for another reason.
    #[error("the portal's {call} failed: {message}")]
    Failed {
        /// The call.
        call: &'static str,
        /// What the portal or D-Bus says.
        message: String,
    },
}

/// What the portal itself needs a backend for.
fn backend(interface: &str) -> &'static str {
    match interface {
        super::CAMERA => "org.freedesktop.impl.portal.Access",
        _ => "org.freedesktop.impl.portal.ScreenCast",
    }
}

impl PortalError {
    pub(super) fn failed(call: &'static str, message: impl ToString) -> Self {
        let message = message.to_string();
        Self::Failed { call, message }
    }

    /// A call's error, told apart.
    pub(super) fn of_call(call: &'static str, interface: &'static str, error: &zbus::Error) -> Self {
        use zbus::fdo::Error as Fdo;
        let reason = error.to_string();
        match error {
            zbus::Error::FDO(fdo) => match &**fdo {
                Fdo::UnknownMethod(_)
                | Fdo::UnknownInterface(_)
                | Fdo::UnknownObject(_)
                | Fdo::InvalidArgs(_) => Self::NoInterface { interface },
                Fdo::ServiceUnknown(_)
                | Fdo::NameHasNoOwner(_)
                | Fdo::NoReply(_)
                | Fdo::Disconnected(_)
                | Fdo::TimedOut(_)
                | Fdo::SpawnExecFailed(_)
                | Fdo::SpawnForkFailed(_)
                | Fdo::SpawnChildExited(_)
                | Fdo::SpawnChildSignaled(_)
                | Fdo::SpawnFailed(_)
                | Fdo::SpawnServiceNotValid(_)
                | Fdo::SpawnServiceNotFound(_)
                | Fdo::SpawnConfigInvalid(_) => Self::NoPortal { reason },
                _ => Self::failed(call, reason),
            },
            zbus::Error::MethodError(name, message, _) if name.as_str().ends_with(".Error.NotAllowed") => {
                let message = message.clone().unwrap_or(reason);
                Self::Revoked { message }
            }
            _ => Self::failed(call, reason),
        }
    }
}
