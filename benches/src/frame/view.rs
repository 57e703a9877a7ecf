//! The CPU looks at a frame.

use std::time::Duration;

use dmaframe_core::{Fourcc, Frame, Size};

use crate::memory::{Kind, SIZES, Sender};
use crate::step::{Step, each};

const GROUP: &str = "CPU view";
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    let (name, size) = SIZES[0];
    for kind in Kind::ALL {
        steps.push(Step::new(
            GROUP,
            format!("map_read and drop, mapping kept; {} {name}", kind.name()),
            move || {
                let frame = kind.frame(Fourcc::NV12, size)?;
                Ok(each(move || drop(frame.map_read(PATIENCE))))
            },
        ));
    }
    for kind in Kind::SHARED {
        steps.push(Step::new(
            GROUP,
            format!(
                "new frame, map_read, drop, no mapping kept; {} {name}",
                kind.name()
            ),
            move || {
                let sender = Sender::new(kind, size)?;
                Ok(each(move || {
                    let frame = Frame::try_from(sender.parts()).expect("valid parts");
                    drop(frame.map_read(PATIENCE));
                }))
            },
        ));
    }
    for kind in Kind::ALL {
        steps.push(copying(kind, name, size, true));
    }
    for kind in Kind::SHARED {
        steps.push(copying(kind, name, size, false));
    }
    for kind in Kind::ALL {
        for (name, size) in SIZES {
            let len = size.width as usize * size.height as usize * 3 / 2;
            let step = Step::new(GROUP, format!("detach; {} NV12 {name}", kind.name()), move || {
                let frame = kind.frame(Fourcc::NV12, size)?;
                Ok(each(move || drop(frame.detach(PATIENCE))))
            });
            steps.push(step.copying(len));
        }
    }
    steps
}

/// Reads every byte once into a reused buffer.
fn copying(kind: Kind, name: &str, size: Size, kept: bool) -> Step {
    let len = size.width as usize * size.height as usize * 3 / 2;
    let how = if kept { "mapping kept" } else { "no mapping kept" };
    let name = format!("copy_tight of the picture, {how}; {} {name}", kind.name());
    let step = Step::new(GROUP, name, move || {
        let mut to = vec![0; len];
        if kept {
            let frame = kind.frame(Fourcc::NV12, size)?;
            return Ok(each(move || {
                frame.map_read(PATIENCE).and_then(|view| view.copy_tight(&mut to))
            }));
        }
        let sender = Sender::new(kind, size)?;
        Ok(each(move || {
            let frame = Frame::try_from(sender.parts()).expect("valid parts");
            frame.map_read(PATIENCE).and_then(|view| view.copy_tight(&mut to))
        }))
    });
    step.copying(len)
}
