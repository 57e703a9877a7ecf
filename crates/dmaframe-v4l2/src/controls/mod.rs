//! Controls: brightness, exposure, test pattern, whatever the driver has.
//!
//! Source: `Documentation/userspace-api/media/v4l/vidioc-queryctrl.rst`, `vidioc-g-ext-ctrls.rst`.

mod list;
mod values;

use crate::sys::abi;

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
