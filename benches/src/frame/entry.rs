//! The ways in: descriptors from a peer, and agreeing on a format.

use dmaframe_core::format::all_formats;
use dmaframe_core::negotiate::{FormatSet, negotiate};
use dmaframe_core::{Fourcc, Frame, Modifier};

use crate::memory::{Kind, SIZES, Sender};
use crate::step::{Step, batch, each};

const GROUP: &str = "entry";
const BATCH: usize = 64;

pub(crate) fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    let size = SIZES[0].1;
    for kind in Kind::SHARED {
        let name = format!("FrameParts -> Frame; NV12, one {}", kind.name());
        steps.push(Step::new(GROUP, name, move || {
            let sender = Sender::new(kind, size)?;
            Ok(batch(
                BATCH,
                move |_| sender.parts(),
                Frame::try_from,
                |_, frame| drop(frame),
            ))
        }));
    }
    let step = Step::new(
        GROUP,
        "FrameParts refused (a plane past the end); memfd",
        move || {
            let sender = Sender::new(Kind::Memfd, size)?;
            Ok(batch(
                BATCH,
                move |_| {
                    let mut parts = sender.parts();
                    parts.planes[1].offset = 1 << 40;
                    parts
                },
                Frame::try_from,
                |_, frame| drop(frame),
            ))
        },
    );
    steps.push(step);
    for kind in Kind::SHARED {
        let name = format!("drop of such a frame (closes); {}", kind.name());
        steps.push(Step::new(GROUP, name, move || {
            let sender = Sender::new(kind, size)?;
            Ok(batch(
                BATCH,
                move |_| Frame::try_from(sender.parts()),
                drop,
                |_, ()| {},
            ))
        }));
    }
    steps.push(Step::new(
        GROUP,
        "negotiate: camera, 4 formats; GPU, 40 formats x 8 modifiers",
        || {
            let camera = [Fourcc::YUYV, Fourcc::NV12, Fourcc::YUV420, Fourcc::R8]
                .into_iter()
                .fold(FormatSet::new("camera"), |set, fourcc| {
                    set.with(fourcc, Modifier::LINEAR)
                });
            let gpu = tiled("gpu");
            Ok(each(move || negotiate(&camera, &gpu)))
        },
    ));
    steps.push(Step::new(
        GROUP,
        "negotiate: both sides 40 formats x 8 modifiers",
        || {
            let (one, two) = (tiled("compositor"), tiled("gpu"));
            Ok(each(move || negotiate(&one, &two)))
        },
    ));
    steps
}

fn tiled(name: &str) -> FormatSet {
    let mut set = FormatSet::new(name);
    for info in all_formats().iter().take(40) {
        set.insert(info.fourcc, Modifier::LINEAR);
        for number in 1..8 {
            set.insert(info.fourcc, Modifier(0x0100_0000_0000_0000 | number));
        }
    }
    set
}
