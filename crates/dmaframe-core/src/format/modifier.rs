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

    /// Whether pixels may lie compressed, which is what whoever sees only some of the memory, or begins its metadata anew,
    /// destroys. By `include/uapi/drm/drm_fourcc.h`; `true` for what is not known from there, and for the implicit one.
    #[must_use]
    pub const fn may_be_compressed(self) -> bool {
        let value = self.0 & 0x00ff_ffff_ffff_ffff;
        if self.is_linear() {
            return false;
        }
        match self.vendor() {
            // Intel: the X, Y, Yf and 4 tilings; all others have CCS.
            0x01 => !matches!(value, 1 | 2 | 3 | 9),
            // AMD: DCC.
            0x02 => value & (1 << 13) != 0,
            // NVIDIA: the compression of block-linear kinds.
            0x03 => value & (7 << 23) != 0,
            // Samsung: tiles.
            0x04 => !matches!(value, 1 | 2),
            // Qualcomm: tiles without compression.
            0x05 => !matches!(value, 2 | 3),
            // Vivante: tile status and compression.
            0x06 => value & (0xff << 48) != 0,
            // Broadcom's tilings, and Allwinner's.
            0x07 | 0x09 => false,
            // Arm: AFBC and AFRC; of the others there is one, 16 x 16 blocks.
            0x08 => (value >> 52) & 0xf != 1,
            _ => true,
        }
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
    fn compression_is_known_by_its_bits_and_suspected_where_nothing_is_known() {
        use drm_fourcc::DrmModifier as Drm;
        // AFBC of 16 x 16 blocks, DCC of GFX12, block-linear with compression, an unknown vendor.
        for value in [
            0x0800_0000_0000_0001,
            0x0200_0000_0000_2001,
            0x0300_0000_00e0_6014,
            0x7f00_0000_0000_0001,
        ] {
            assert!(Modifier(value).may_be_compressed(), "{value:#x}");
        }
        for compressed in [
            Drm::I915_y_tiled_ccs,
            Drm::I915_y_tiled_gen12_rc_ccs,
            Drm::Qcom_compressed,
            Drm::Invalid,
        ] {
            assert!(Modifier::from(compressed).may_be_compressed(), "{compressed:?}");
        }
        for plain in [
            Drm::Linear,
            Drm::I915_x_tiled,
            Drm::I915_y_tiled,
            Drm::Broadcom_uif,
            Drm::Vivante_tiled,
            Drm::Allwinner_tiled,
        ] {
            assert!(!Modifier::from(plain).may_be_compressed(), "{plain:?}");
        }
        // The last is Arm's blocks of 16 x 16.
        for value in [
            0x0300_0000_0060_6014,
            0x0200_0000_0000_0a01,
            0x0810_0000_0000_0001,
        ] {
            assert!(!Modifier(value).may_be_compressed(), "{value:#x}");
        }
    }

    #[test]
    fn implicit_is_never_linear() {
        assert!(!Modifier::INVALID.is_linear());
        assert_ne!(Modifier::INVALID, Modifier::LINEAR);
        let through = Modifier::from(drm_fourcc::DrmModifier::from(Modifier::INVALID));
        assert_eq!(through, Modifier::INVALID);
    }
}
