//! Layout modifiers.

use std::fmt;

/// How the pixels lie inside a plane (`DRM_FORMAT_MOD_*`).
///
/// [`Modifier::INVALID`] means *implicit*: the layout is known to the driver pair only. It is never turned into
/// [`Modifier::LINEAR`] (`Documentation/userspace-api/dma-buf-alloc-exchange.rst`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Modifier(pub u64);

impl Modifier {
    /// Rows one after another, `stride` bytes apart.
    pub const LINEAR: Self = Self(0);
    /// No modifier given: the exporter's driver knows the layout, nobody else may guess.
    pub const INVALID: Self = Self(0x00ff_ffff_ffff_ffff);

    /// Whether the CPU can address this layout by offset and stride.
    #[must_use]
    pub const fn is_linear(self) -> bool {
        self.0 == Self::LINEAR.0
    }

    /// Whether this is the implicit modifier.
    #[must_use]
    pub const fn is_implicit(self) -> bool {
        self.0 == Self::INVALID.0
    }

    /// The vendor byte (`DRM_FORMAT_MOD_VENDOR_*`).
    #[must_use]
    pub const fn vendor(self) -> u8 {
        (self.0 >> 56) as u8
    }
}

impl fmt::Display for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_linear() {
            return f.write_str("LINEAR");
        }
        if self.is_implicit() {
            return f.write_str("INVALID (implicit)");
        }
        let vendor = match self.vendor() {
            0x01 => "INTEL",
            0x02 => "AMD",
            0x03 => "NVIDIA",
            0x04 => "SAMSUNG",
            0x05 => "QCOM",
            0x06 => "VIVANTE",
            0x07 => "BROADCOM",
            0x08 => "ARM",
            0x09 => "ALLWINNER",
            0x0a => "AMLOGIC",
            0x0b => "MTK",
            0x0c => "APPLE",
            _ => "vendor",
        };
        write!(f, "{vendor}:{:#018x}", self.0)
    }
}

impl fmt::Debug for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Modifier({self})")
    }
}

impl From<drm_fourcc::DrmModifier> for Modifier {
    fn from(modifier: drm_fourcc::DrmModifier) -> Self {
        Self(modifier.into())
    }
}

impl From<Modifier> for drm_fourcc::DrmModifier {
    fn from(modifier: Modifier) -> Self {
        Self::from(modifier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implicit_is_never_linear() {
        assert!(!Modifier::INVALID.is_linear());
        assert_ne!(Modifier::INVALID, Modifier::LINEAR);
        let through = Modifier::from(drm_fourcc::DrmModifier::from(Modifier::INVALID));
        assert_eq!(through, Modifier::INVALID);
    }
}
