//! Reading and setting controls.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{Control, ControlKind, ControlRef, LIST_LIMIT, MenuItem};
use crate::device::{Device, text};
use crate::error::Error;
use crate::sys;
use crate::sys::abi::{self, Plain};

impl Device {
    /// One control by id or name.
    ///
    /// # Errors
    /// [`Error::NoControl`], [`Error::Request`], [`Error::Unplugged`].
    pub fn control<'a>(&self, which: impl Into<ControlRef<'a>>) -> Result<Control, Error> {
        let which = which.into();
        let found = match which {
            ControlRef::Id(id) => self.query_control(id)?,
            ControlRef::Name(name) => self.controls()?.into_iter().find(|control| control.name == name),
        };
        found.ok_or_else(|| Error::NoControl {
            device: self.path().to_owned(),
            control: which.to_string(),
        })
    }

    /// The items of a menu control; holes, and items that the device fails to tell of, are left out. Empty for other
    /// controls.
    ///
    /// # Errors
    /// [`Error::NoControl`], [`Error::Unplugged`].
    pub fn menu<'a>(&self, which: impl Into<ControlRef<'a>>) -> Result<Vec<MenuItem>, Error> {
        let control = self.control(which)?;
        self.menu_of(&control)
    }

    fn menu_of(&self, control: &Control) -> Result<Vec<MenuItem>, Error> {
        let numbers = control.kind == ControlKind::IntegerMenu;
        if control.kind != ControlKind::Menu && !numbers {
            return Ok(Vec::new());
        }
        let mut items = Vec::new();
        let first = u32::try_from(control.minimum.max(0)).unwrap_or(u32::MAX);
        let last = u32::try_from(control.maximum.max(0)).unwrap_or(u32::MAX);
        for index in (first..=last).take(LIST_LIMIT) {
            let mut item = abi::QueryMenu {
                id: control.id,
                index,
                ..abi::QueryMenu::zeroed()
            };
            match sys::querymenu(self.as_fd(), &mut item) {
                Ok(()) => {
                    let value = numbers.then(|| {
                        let mut bytes = [0; 8];
                        bytes.copy_from_slice(&item.item[..8]);
                        i64::from_ne_bytes(bytes)
                    });
                    let name = value.map_or_else(|| text(&item.item), |value| value.to_string());
                    items.push(MenuItem { index, name, value });
                }
                Err(errno @ Errno::NODEV) => return Err(self.fail("VIDIOC_QUERYMENU")(errno)),
                // A hole, or an item that a camera fails to tell of: that hides no other.
                Err(_) => {}
            }
        }
        Ok(items)
    }

    /// A control's value: the number, 0 or 1 for a boolean, the index for a menu, the bits for a mask.
    ///
    /// # Errors
    /// [`Error::NoControl`]; [`Error::ControlKind`] for text, compound controls and buttons; [`Error::ControlLocked`]
    /// for write-only ones; [`Error::Request`], [`Error::Unplugged`].
    pub fn get_control<'a>(&self, which: impl Into<ControlRef<'a>>) -> Result<i64, Error> {
        let control = self.control(which)?;
        if !control.kind.is_scalar() || control.kind == ControlKind::Button {
            return Err(self.kind_error(control, "readable"));
        }
        if control.flags & (abi::CTRL_FLAG_WRITE_ONLY | abi::CTRL_FLAG_DISABLED) != 0 {
            return Err(self.locked(control, "read"));
        }
        let wide = control.kind == ControlKind::Integer64;
        let value =
            sys::control(self.as_fd(), control.id, wide, None).map_err(self.fail("VIDIOC_G_EXT_CTRLS"))?;
        // A mask's bit 31 is no sign.
        #[allow(
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "bits, not a number"
        )]
        let bits = value as u32;
        Ok(if control.kind == ControlKind::Bitmask {
            i64::from(bits)
        } else {
            value
        })
    }

    /// Sets a control: a number, 0 or 1 for a boolean, the index for a menu, the bits for a mask, anything for a
    /// button (which presses it). The range is checked here, so that a value off by one is not silently rounded by
    /// the driver.
    ///
    /// # Errors
    /// [`Error::NoControl`]; [`Error::ControlRange`] with the range; [`Error::NoMenuItem`] for a hole in a menu;
    /// [`Error::ControlKind`] for text and compound controls; [`Error::ControlLocked`] for read-only ones and those
    /// grabbed while streaming; [`Error::Request`], [`Error::Unplugged`].
    pub fn set_control<'a>(&self, which: impl Into<ControlRef<'a>>, value: i64) -> Result<(), Error> {
        let control = self.control(which)?;
        if !control.kind.is_scalar() {
            return Err(self.kind_error(control, "writable"));
        }
        if control.flags & (abi::CTRL_FLAG_READ_ONLY | abi::CTRL_FLAG_DISABLED) != 0 {
            return Err(self.locked(control, "set"));
        }
        if !control.allows(value) {
            return Err(self.range(control, value));
        }
        let wide = control.kind == ControlKind::Integer64;
        // The kernel's 32-bit field holds a mask's bit 31 as a sign.
        #[allow(
            clippy::cast_possible_truncation,
            reason = "bits, not a number; the range was checked"
        )]
        let raw = if control.kind == ControlKind::Bitmask {
            i64::from(value as i32)
        } else {
            value
        };
        sys::control(self.as_fd(), control.id, wide, Some(raw))
            .map(drop)
            .map_err(|errno| match errno {
                Errno::RANGE => self.range(control, value),
                Errno::INVAL if matches!(control.kind, ControlKind::Menu | ControlKind::IntegerMenu) => {
                    Error::NoMenuItem {
                        device: self.path().to_owned(),
                        control: control.name,
                        index: value,
                    }
                }
                Errno::BUSY | Errno::ACCESS => {
                    // Looked up again: what forbade it may have become true since.
                    let flags = self
                        .query_control(control.id)
                        .ok()
                        .flatten()
                        .map_or(control.flags, |now| now.flags);
                    self.locked(
                        Control {
                            flags: flags | abi::CTRL_FLAG_GRABBED,
                            ..control
                        },
                        "set",
                    )
                }
                errno => self.fail("VIDIOC_S_EXT_CTRLS")(errno),
            })
    }

    /// Presses a button control.
    ///
    /// # Errors
    /// As [`Device::set_control`].
    pub fn press_control<'a>(&self, which: impl Into<ControlRef<'a>>) -> Result<(), Error> {
        self.set_control(which, 0)
    }

    /// Sets a menu control to the item of this name.
    ///
    /// # Errors
    /// As [`Device::set_control`]; [`Error::NoControl`] names the item when the menu has none of that name.
    pub fn set_menu<'a>(&self, which: impl Into<ControlRef<'a>>, item: &str) -> Result<(), Error> {
        let control = self.control(which)?;
        let items = self.menu_of(&control)?;
        let Some(found) = items.iter().find(|candidate| candidate.name == item) else {
            let control = format!("{}: {item}", control.name);
            return Err(Error::NoControl {
                device: self.path().to_owned(),
                control,
            });
        };
        self.set_control(control.id, i64::from(found.index))
    }

    fn range(&self, control: Control, value: i64) -> Error {
        Error::ControlRange {
            device: self.path().to_owned(),
            control: control.name,
            value,
            minimum: control.minimum,
            maximum: control.maximum,
            step: control.step,
        }
    }

    fn kind_error(&self, control: Control, access: &'static str) -> Error {
        Error::ControlKind {
            device: self.path().to_owned(),
            control: control.name,
            kind: control.kind,
            access,
        }
    }

    fn locked(&self, control: Control, access: &'static str) -> Error {
        let state = if control.flags & abi::CTRL_FLAG_DISABLED != 0 {
            "disabled"
        } else if access == "read" {
            "write-only"
        } else if control.flags & abi::CTRL_FLAG_READ_ONLY != 0 {
            "read-only"
        } else {
            "grabbed (in use while the device streams, or by another program)"
        };
        Error::ControlLocked {
            device: self.path().to_owned(),
            control: control.name,
            access,
            state,
        }
    }
}
