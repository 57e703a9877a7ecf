//! CPU conversion through `dmaframe_core::convert`, against nothing but the copy of as many bytes.

use std::time::Duration;

use dmaframe_core::convert::{Assume, Converter};
use dmaframe_core::{Fourcc, Orientation, Rotation};

use crate::memory::{Kind, SIZES};
use crate::step::{Step, each};

const PATIENCE: Duration = Duration::from_secs(1);

/// What cameras and decoders give.
const SOURCES: [Fourcc; 9] = [
    Fourcc::NV12,
    Fourcc::YUYV,
    Fourcc::YUV420,
    Fourcc::P010,
    Fourcc::NV15,
    Fourcc::XRGB8888,
    Fourcc::ABGR8888,
    Fourcc::BGR888,
    Fourcc::SRGGB10P,
];

pub(crate) fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for source in SOURCES {
        for (name, size) in SIZES {
            let turns: &[(&str, Rotation)] = match source {
                Fourcc::NV12 => &[("", Rotation::R0), (", turned 90", Rotation::R90)],
                _ => &[("", Rotation::R0)],
            };
            for (turned, rotation) in turns.iter().copied() {
                let pixels = size.width as usize * size.height as usize;
                let step = Step::new("to RGBA8", format!("{source} {name}{turned}"), move || {
                    let mut frame = Kind::Bytes.frame(source, size)?;
                    let mut meta = frame.meta().clone();
                    meta.orientation = Orientation {
                        rotation,
                        mirror: false,
                    };
                    *frame.meta_mut().map_err(|e| e.to_string())? = meta;
                    let mut converter = Converter::new(Assume::Refuse);
                    let stride = Converter::size(&frame).width as usize * 4;
                    let mut out = vec![0; pixels * 4];
                    converter
                        .to_rgba(&frame, PATIENCE, &mut out, stride)
                        .map_err(|e| e.to_string())?;
                    Ok(each(move || {
                        converter.to_rgba(&frame, PATIENCE, &mut out, stride).is_ok()
                    }))
                });
                steps.push(step.copying(pixels * 4));
            }
        }
    }
    for (to, title) in [(Fourcc::NV12, "to NV12"), (Fourcc::YUV420, "to I420")] {
        for source in SOURCES {
            for (name, size) in SIZES {
                let len = size.width as usize * size.height as usize * 3 / 2;
                let step = Step::new(title, format!("{source} {name}"), move || {
                    let frame = Kind::Bytes.frame(source, size)?;
                    let mut out = Kind::Bytes.frame(to, size)?;
                    let mut converter = Converter::new(Assume::Refuse);
                    converter
                        .to_frame(&frame, &mut out, PATIENCE)
                        .map_err(|e| e.to_string())?;
                    Ok(each(move || {
                        converter.to_frame(&frame, &mut out, PATIENCE).is_ok()
                    }))
                });
                steps.push(step.copying(len));
            }
        }
    }
    steps
}
