//! What the tests share: the validation layer's silence, and frames with a known picture.
//!
//! `common/device.rs` is included once for each version of wgpu, in a module where `dw` is this crate's module for it.
#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each test binary uses its part"
)]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dmaframe_core::Frame;
pub(crate) use dmaframe_testkit::frames::{
    Shape, TIGHT, frame_in, memfd_frame, picture, planes, same, tight_len, udmabuf_frame,
};
pub(crate) use dmaframe_testkit::now;

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// False errors for every image with a modifier on lavapipe 25.0, which does not fill `DrmFormatModifierPropertiesList2EXT`
/// (see `dmaframe_vulkan`): allowed by their exact names, in the tests that make such images.
pub(crate) const FALSE_ERRORS: [&str; 2] = [
    "VUID-VkImageViewCreateInfo-None-02273",
    "VUID-vkCmdCopyImageToBuffer-srcImage-01998",
];

/// Errors of wgpu and the validation layer, which wgpu hands to `log`, and warnings that the layer is missing.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Listener;

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        let deaf = text.contains("VK_LAYER_KHRONOS_validation") && dmaframe_testkit::in_lab();
        // The lines after an error's first name its objects.
        if (record.level() == log::Level::Error && !text.starts_with('\t')) || deaf {
            SAID.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }
    }

    fn flush(&self) {}
}

pub(crate) fn listen() {
    // The second time it is there already.
    let _ = log::set_logger(&Listener);
    log::set_max_level(log::LevelFilter::Warn);
}

/// What has been said since the last call, but for messages of these exact names.
pub(crate) fn said(allowed: &[&str]) -> Vec<String> {
    let mut said = std::mem::take(&mut *SAID.lock().unwrap_or_else(PoisonError::into_inner));
    said.retain(|text| {
        let id = text
            .split_once('[')
            .and_then(|(_, rest)| rest.split([' ', ']']).next());
        !id.is_some_and(|id| allowed.contains(&id))
    });
    said
}

/// Includes a file of tests for one version, where `dw` is this crate's module for it, and further files in modules of their
/// own, which see what is in the first. Before the files: what the version does its own way.
macro_rules! version {
    (
        $feature:literal $version:ident, $instance:ident!, $buffer:ident => $mapped:expr;
        $file:literal $(, $part:ident: $path:literal)* $(,)?
    ) => {
        #[cfg(feature = $feature)]
        mod $version {
            use dmaframe_wgpu::$version as dw;
            #[allow(dead_code)]
            fn mapped($buffer: &dw::wgpu::Buffer) -> Vec<u8> {
                $mapped.to_vec()
            }
            $crate::common::$instance!();
            include!("common/device.rs");
            include!($file);
            $(mod $part {
                use super::*;
                include!($path);
            })*
        }
    };
}

macro_rules! instance_28 {
    () => {
        fn instance_with(flags: dw::wgpu::InstanceFlags) -> dw::wgpu::Instance {
            let backends = dw::wgpu::Backends::VULKAN;
            dw::wgpu::Instance::new(&dw::wgpu::InstanceDescriptor {
                backends,
                flags,
                ..Default::default()
            })
        }
    };
}

/// The same from 29 on.
macro_rules! instance {
    () => {
        fn instance_with(flags: dw::wgpu::InstanceFlags) -> dw::wgpu::Instance {
            let mut descriptor = dw::wgpu::InstanceDescriptor::new_without_display_handle();
            descriptor.flags = flags;
            descriptor.backends = dw::wgpu::Backends::VULKAN;
            dw::wgpu::Instance::new(descriptor)
        }
    };
}

macro_rules! version_28 {
    ($($files:tt)*) => {
        $crate::common::version!(
            "wgpu-28" v28, instance_28!, buffer => buffer.slice(..).get_mapped_range();
            $($files)*
        );
    };
}

macro_rules! version_29 {
    ($($files:tt)*) => {
        $crate::common::version!(
            "wgpu-29" v29, instance!, buffer => buffer.slice(..).get_mapped_range();
            $($files)*
        );
    };
}

macro_rules! version_30 {
    ($($files:tt)*) => {
        $crate::common::version!(
            "wgpu-30" v30, instance!, buffer => buffer.slice(..).get_mapped_range().unwrap();
            $($files)*
        );
    };
}

macro_rules! each_version {
    ($($files:tt)*) => {
        $crate::common::version_28!($($files)*);
        $crate::common::version_29!($($files)*);
        $crate::common::version_30!($($files)*);
    };
}

#[allow(unused_imports)]
pub(crate) use {each_version, instance, instance_28, version, version_28, version_29, version_30};

/// Writes without waiting for anybody's fences: the producer's own are what others wait for.
pub(crate) fn write_now(camera: &Frame, bytes: &[u8]) {
    raw::write(camera, bytes);
}

/// A camera's own mapping.
mod raw {
    use super::*;

    pub(super) fn write(camera: &Frame, bytes: &[u8]) {
        use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
        let fd = camera.buffer().objects()[0].lend(0).unwrap();
        // SAFETY: a fresh mapping of the dma-buf, which is at least as long, written by nobody else and unmapped here.
        unsafe {
            let to = mmap(
                std::ptr::null_mut(),
                bytes.len(),
                ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )
            .unwrap();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast(), bytes.len());
            munmap(to, bytes.len()).unwrap();
        }
    }
}
