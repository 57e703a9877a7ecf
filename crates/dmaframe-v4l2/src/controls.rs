//! Controls: brightness, exposure, test pattern, whatever the driver has.
//!
//! Source: `Documentation/userspace-api/media/v4l/vidioc-queryctrl.rst`, `vidioc-g-ext-ctrls.rst`.

use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::device::{Device, text};
use crate::error::Error;
use crate::sys;
use crate::sys::abi::{self, Plain};

/// Most controls or menu items that are asked for: a driver that never ends its list does not hang the caller.
const LIST_LIMIT: usize = 4096;

/// What kind of value a control has (`V4L2_CTRL_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlKind {
    /// A number.
    Integer,
    /// On or off.
    Boolean,
    /// One of a list of names.
    Menu,
    /// One of a list of numbers.
    IntegerMenu,
    /// Something to press, without a value.
    Button,
    /// A 64-bit number.
    Integer64,
    /// A set of bits.
    Bitmask,
    /// A heading, no control.
    Class,
    /// Text. Listed, but neither read nor set by this crate.
    Text,
    /// An array or a structure, by the kernel's number. Listed, but neither read nor set by this crate.
    Compound(u32),
}

impl ControlKind {
    fn from_raw(raw: u32, payload: bool) -> Self {
        match raw {
            abi::CTRL_TYPE_STRING => Self::Text,
            _ if payload => Self::Compound(raw),
            abi::CTRL_TYPE_INTEGER => Self::Integer,
            abi::CTRL_TYPE_BOOLEAN => Self::Boolean,
            abi::CTRL_TYPE_MENU => Self::Menu,
            abi::CTRL_TYPE_INTEGER_MENU => Self::IntegerMenu,
            abi::CTRL_TYPE_BUTTON => Self::Button,
            abi::CTRL_TYPE_INTEGER64 => Self::Integer64,
            abi::CTRL_TYPE_BITMASK => Self::Bitmask,
            abi::CTRL_TYPE_CTRL_CLASS => Self::Class,
            other => Self::Compound(other),
        }
    }

    /// Whether the control has one number that this crate reads and sets (a button's press included).
    fn is_scalar(self) -> bool {
        !matches!(self, Self::Class | Self::Text | Self::Compound(_))
    }
}

/// One control of a device. All values are in the control's own unit, which V4L2 documents for standard ids only.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Control {
    /// The id (`V4L2_CID_*`).
    pub id: u32,
    /// The name, for people and for look-up.
    pub name: String,
    /// What kind of value.
    pub kind: ControlKind,
    /// Lowest value; for menus the first index.
    pub minimum: i64,
    /// Highest value; for menus the last index; for bitmasks every bit there is.
    pub maximum: i64,
    /// Distance between values.
    pub step: u64,
    /// The value after a reset.
    pub default: i64,
    /// `V4L2_CTRL_FLAG_*`.
    pub flags: u32,
}

impl Control {
    /// Whether it can never be set (`V4L2_CTRL_FLAG_READ_ONLY`).
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.flags & abi::CTRL_FLAG_READ_ONLY != 0
    }

    /// Whether setting it has no effect at present, because another control rules it (`V4L2_CTRL_FLAG_INACTIVE`).
    #[must_use]
    pub fn is_inactive(&self) -> bool {
        self.flags & abi::CTRL_FLAG_INACTIVE != 0
    }

    /// Whether the hardware changes it by itself (`V4L2_CTRL_FLAG_VOLATILE`).
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        self.flags & abi::CTRL_FLAG_VOLATILE != 0
    }

    fn allows(&self, value: i64) -> bool {
        match self.kind {
            ControlKind::Button => true,
            // The range's upper end is the mask of valid bits; a mask with bit 31 arrives as an i32.
            #[allow(
                clippy::cast_sign_loss,
                clippy::cast_possible_truncation,
                reason = "bits, not numbers"
            )]
            ControlKind::Bitmask => {
                (value as u32) & !(self.maximum as u32) == 0 && u32::try_from(value).is_ok()
            }
            _ => {
                let from_minimum = i128::from(value) - i128::from(self.minimum);
                (self.minimum..=self.maximum).contains(&value)
                    && from_minimum % i128::from(self.step.max(1)) == 0
            }
        }
    }
}

/// One item of a menu control.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MenuItem {
    /// Its index: the control's value.
    pub index: u32,
    /// Its name; for an integer menu the number in decimal.
    pub name: String,
    /// Its number, for an integer menu.
    pub value: Option<i64>,
}

/// A control by id or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRef<'a> {
    /// `V4L2_CID_*`: one request.
    Id(u32),
    /// The name as the driver spells it: walks the list.
    Name(&'a str),
}

impl From<u32> for ControlRef<'_> {
    fn from(id: u32) -> Self {
        Self::Id(id)
    }
}

impl<'a> From<&'a str> for ControlRef<'a> {
    fn from(name: &'a str) -> Self {
        Self::Name(name)
    }
}

impl From<&Control> for ControlRef<'_> {
    fn from(control: &Control) -> Self {
        Self::Id(control.id)
    }
}

impl std::fmt::Display for ControlRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id:#010x}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Device {
    /// Every control, headings and disabled ones left out (`VIDIOC_QUERY_EXT_CTRL`, Linux 3.17).
    ///
    /// # Errors
    /// [`Error::Request`], [`Error::Unplugged`].
    pub fn controls(&self) -> Result<Vec<Control>, Error> {
        let mut list = Vec::new();
        let mut id = 0;
        while list.len() < LIST_LIMIT {
            let next = id | abi::CTRL_FLAG_NEXT_CTRL | abi::CTRL_FLAG_NEXT_COMPOUND;
            let Some(control) = self.query_control(next)? else {
                break;
            };
            // A driver that does not move on would have us here for ever.
            if control.id <= id {
                break;
            }
            id = control.id;
            if control.kind != ControlKind::Class && control.flags & abi::CTRL_FLAG_DISABLED == 0 {
                list.push(control);
            }
        }
        Ok(list)
    }

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

    /// The items of a menu control; holes are left out. Empty for other controls.
    ///
    /// # Errors
    /// [`Error::NoControl`], [`Error::Request`], [`Error::Unplugged`].
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
                // A hole.
                Err(Errno::INVAL) => {}
                Err(errno) => return Err(self.fail("VIDIOC_QUERYMENU")(errno)),
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

    /// `None` when there is none, or none after it with the next flags.
    pub(crate) fn query_control(&self, id: u32) -> Result<Option<Control>, Error> {
        let mut query = abi::QueryExtCtrl {
            id,
            ..abi::QueryExtCtrl::zeroed()
        };
        match sys::query_ext_ctrl(self.as_fd(), &mut query) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOTTY) => return Ok(None),
            Err(errno) => return Err(self.fail("VIDIOC_QUERY_EXT_CTRL")(errno)),
        }
        Ok(Some(Control {
            id: query.id,
            name: text(&query.name),
            kind: ControlKind::from_raw(query.kind, query.flags & abi::CTRL_FLAG_HAS_PAYLOAD != 0),
            minimum: query.minimum,
            maximum: query.maximum,
            step: query.step,
            default: query.default_value,
            flags: query.flags,
        }))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn control(kind: ControlKind, minimum: i64, maximum: i64, step: u64) -> Control {
        Control {
            id: 1,
            name: "c".into(),
            kind,
            minimum,
            maximum,
            step,
            default: 0,
            flags: 0,
        }
    }

    #[test]
    fn values_off_the_step_or_outside_the_range_are_known_before_the_driver_is_asked() {
        let c = control(ControlKind::Integer, -10, 10, 5);
        assert!(c.allows(-10) && c.allows(-5) && c.allows(10));
        assert!(!c.allows(-11) && !c.allows(11) && !c.allows(1));
        let wide = control(ControlKind::Integer64, i64::MIN, i64::MAX, 1);
        assert!(wide.allows(i64::MIN) && wide.allows(i64::MAX));
        assert!(control(ControlKind::Button, 0, 0, 0).allows(7));
    }

    #[test]
    fn a_bitmask_takes_the_bits_of_its_maximum_and_no_sign() {
        let c = control(ControlKind::Bitmask, 0, i64::from(0x8000_0003_u32), 0);
        assert!(c.allows(0x8000_0001) && c.allows(0));
        assert!(!c.allows(4) && !c.allows(-1) && !c.allows(1 << 32));
    }

    #[test]
    fn a_scalar_type_with_a_payload_is_an_array() {
        assert_eq!(
            ControlKind::from_raw(abi::CTRL_TYPE_INTEGER, true),
            ControlKind::Compound(1)
        );
        assert_eq!(
            ControlKind::from_raw(abi::CTRL_TYPE_INTEGER, false),
            ControlKind::Integer
        );
        assert_eq!(ControlKind::from_raw(0x300, false), ControlKind::Compound(0x300));
    }
}
