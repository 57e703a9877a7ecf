//! What can go wrong.

use std::time::Duration;

use dmaframe_vulkan::{Refusal, Route};

/// What can go wrong. Imports and submissions borrow the frame: it is as before.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No route takes the frame; each with its reason.
    #[error("no route takes the frame: {}", list(.0))]
    NoRoute(Vec<(Route, Refusal)>),
    /// One of several frames to be imported together failed.
    #[error("frame {index}: {error}")]
    OneOf {
        /// Which, from 0.
        index: usize,
        /// Why.
        error: Box<Error>,
    },
    /// The wgpu device was destroyed or lost: everything made from it has to be dropped.
    #[error("the wgpu device is gone: {text}")]
    DeviceLost {
        /// What wgpu says.
        text: String,
    },
    /// wgpu refused a call.
    #[error("{call}: {text}")]
    Wgpu {
        /// The call.
        call: &'static str,
        /// What wgpu says.
        text: String,
    },
    /// The application has destroyed a buffer or texture that it was lent. The frame can be imported anew.
    #[error("the import's buffers or textures were destroyed")]
    Destroyed,
    /// An import of one device was given to another.
    #[error("the import belongs to another wgpu device")]
    OtherDevice,
    /// A frame's fences had not signalled.
    #[error("{what} was not ready after {waited:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// Everything of a kind is in use.
    #[error("all {limit} {what} are in use: drop imports that are no longer needed")]
    Busy {
        /// Of what.
        what: &'static str,
        /// How many there are.
        limit: usize,
    },
    /// A list of routes that is none.
    #[error("{text:?} is no list of routes: buffer, image, host, upload, or all with a minus before them")]
    Routes {
        /// The text.
        text: String,
    },
    /// An effect's text was refused.
    #[error("{name}:{} {text}", .line.map_or_else(String::new, |line| format!("{line}:")))]
    Effect {
        /// The effect's name.
        name: String,
        /// The line of its text, from 1, where there is one.
        line: Option<u32>,
        /// What the compiler says.
        text: String,
    },
    /// An effect's file cannot be read.
    #[error("{}: {text}", .file.display())]
    EffectFile {
        /// The file.
        file: std::path::PathBuf,
        /// What the system says.
        text: String,
    },
    /// The export pool writes no such format.
    #[error("no export of {fourcc}: only of XR24, AR24, XB24, AB24, NV12, NV21, YU12, YV12 and YUYV")]
    ExportFormat {
        /// The format asked for.
        fourcc: dmaframe_core::Fourcc,
    },
    /// The export pool writes no such matrix.
    #[error("no export of {fourcc} with H.273 matrix {matrix}: only 1, 4, 5, 6, 7 and 9")]
    ExportMatrix {
        /// The format asked for.
        fourcc: dmaframe_core::Fourcc,
        /// The matrix asked for.
        matrix: u8,
    },
    /// A list of kinds of memory that is none.
    #[error(
        "{text:?} is no list of memory to leave out: -exported, -imported, -host, -readback, parted by commas"
    )]
    ExportNames {
        /// The text.
        text: String,
    },
    /// An export pool without slots.
    #[error("an export pool needs at least one slot")]
    NoSlots,
    /// No memory for an export pool; each kind with its reason.
    #[error("no memory to export from: {}", texts(.0))]
    NoExportMemory(Vec<crate::PassedOver>),
    /// All slots of an export pool are in use.
    #[error("all {slots} slots are in use: {held} in frames, {waiting} wait for fences or for the GPU")]
    Starved {
        /// Slots there are.
        slots: usize,
        /// Slots in frames.
        held: usize,
        /// Slots that came back and are still read or written.
        waiting: usize,
    },
    /// The GPU had not finished the picture at the deadline.
    #[error("the GPU had not finished the picture at the deadline")]
    NotReady,
    /// The GPU's work on a picture failed, or its result could not be read.
    #[error("the picture is lost: its work failed")]
    Lost,
    /// The Vulkan half refused or failed.
    #[error(transparent)]
    Vulkan(dmaframe_vulkan::Error),
    /// A frame was not converted.
    #[error(transparent)]
    Convert(#[from] crate::ConvertError),
    /// The core refused.
    #[error(transparent)]
    Frame(#[from] dmaframe_core::Error),
}

impl From<dmaframe_vulkan::Error> for Error {
    /// A lost device is one error, whichever half finds out.
    fn from(error: dmaframe_vulkan::Error) -> Self {
        match error {
            dmaframe_vulkan::Error::DeviceLost { call } => Self::DeviceLost {
                text: format!("{call} says VK_ERROR_DEVICE_LOST"),
            },
            error => Self::Vulkan(error),
        }
    }
}

fn list(refusals: &[(Route, Refusal)]) -> String {
    let texts: Vec<_> = refusals
        .iter()
        .map(|(route, why)| format!("{route}: {why}"))
        .collect();
    texts.join("; ")
}

fn texts(passed_over: &[crate::PassedOver]) -> String {
    let texts: Vec<_> = passed_over.iter().map(|passed| passed.to_string()).collect();
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_is_the_same_error_from_either_half() {
        let lost = |error: Error| match error {
            Error::DeviceLost { text } => text,
            other => panic!("{other}"),
        };
        let call = "vkQueueSubmit";
        let text = "vkQueueSubmit says VK_ERROR_DEVICE_LOST";
        assert_eq!(lost(dmaframe_vulkan::Error::DeviceLost { call }.into()), text);
        let result = dmaframe_vulkan::ash::vk::Result::ERROR_DEVICE_LOST;
        assert_eq!(lost(Refusal::Vk { call, result }.by(Route::Export).into()), text);
        let other = Refusal::NotVulkan.by(Route::Export).into();
        assert!(matches!(other, Error::Vulkan(_)), "{other}");
    }
}
