//! The formats of both queues, in the order the kernel's documentation asks for.

use dmaframe_core::{Rect, Size};

use super::builder::Choices;
use super::role::{Role, is_stateless};
use crate::device::{Device, Queue};
use crate::error::Error;
use crate::format::{Format, FormatRequest};
use crate::pixelformat::PixelFormat;
use crate::view::{Selection, SelectionTarget};

/// Sets both formats. The input's, the size of what is shown of it, and the output's, which a decoder knows only when
/// it has seen its stream.
pub(super) fn formats(
    device: &Device,
    role: Role,
    choices: &Choices,
) -> Result<(Format, Size, Option<Format>), Error> {
    check_role(device, role, choices)?;
    let asked = choices.input;
    match role {
        Role::Decoder => {
            let input = device.set_format_of(Queue::Output, asked)?;
            let size = input.size;
            Ok((input, size, None))
        }
        Role::Encoder => {
            // The codec first: what it takes may depend on it.
            let coded = choices.output.pixel_format.map_or_else(|| coded_of(device), Ok)?;
            let mut wanted = FormatRequest {
                pixel_format: Some(coded),
                ..choices.output
            };
            wanted.size = wanted.size.or(asked.size);
            device.set_format(wanted)?;
            let (input, size) = raw_input(device, asked)?;
            if let Some(interval) = choices.interval {
                device.set_interval_of(Queue::Output, interval)?;
            }
            for (id, value) in &choices.controls {
                device.set_control(*id, *value)?;
            }
            // As it is now: the input's size decides how large an access unit can be.
            let output = device.format()?;
            if output.pixel_format != coded {
                return Err(Error::FormatRefused {
                    device: device.path().to_owned(),
                    asked: coded,
                    offered: output.pixel_format,
                });
            }
            Ok((input, size, Some(output)))
        }
        Role::Converter | Role::StatelessDecoder => {
            let (input, size) = raw_input(device, asked)?;
            let mut wanted = choices.output;
            wanted.size = wanted.size.or(Some(size));
            let output = device.set_format(wanted)?;
            Ok((input, size, Some(output)))
        }
    }
}

/// A node that cannot do it at all is refused with what it can do.
fn check_role(device: &Device, role: Role, choices: &Choices) -> Result<(), Error> {
    let stateless = |format| Error::Stateless {
        device: device.path().to_owned(),
        format,
    };
    if let Some(format) = choices.input.pixel_format.filter(|format| is_stateless(*format)) {
        return Err(stateless(format));
    }
    let roles = device.roles()?;
    if roles.contains(&role) {
        return Ok(());
    }
    if role == Role::Decoder && roles.contains(&Role::StatelessDecoder) {
        let offered = device.formats_of(Queue::Output)?;
        let format = offered
            .iter()
            .map(|offer| offer.pixel_format)
            .find(|format| is_stateless(*format));
        return Err(stateless(format.unwrap_or(PixelFormat(0))));
    }
    Err(Error::NotRole {
        device: device.path().to_owned(),
        wanted: role,
        found: roles,
    })
}

/// The first codec an encoder has.
fn coded_of(device: &Device) -> Result<PixelFormat, Error> {
    let offered = device.formats()?;
    let coded = offered
        .iter()
        .find(|offer| offer.compressed || offer.pixel_format.codec().is_some());
    coded
        .map(|offer| offer.pixel_format)
        .ok_or_else(|| Error::NotRole {
            device: device.path().to_owned(),
            wanted: Role::Encoder,
            found: Vec::new(),
        })
}

/// The format of pictures that go in. The driver may want more rows and columns than are shown (macroblocks), and is
/// then told what to look at; a driver that wants another picture is refused.
fn raw_input(device: &Device, asked: FormatRequest) -> Result<(Format, Size), Error> {
    let format = device.set_format_of(Queue::Output, asked)?;
    let Some(size) = asked.size.filter(|size| *size != format.size) else {
        let size = format.size;
        // Whoever had the node's default before: all of it.
        let _ = crop(device, size);
        return Ok((format, size));
    };
    let refused = || Error::SizeRefused {
        device: device.path().to_owned(),
        asked: size,
        offered: format.size,
    };
    if !Rect::full(size).fits(format.size) || crop(device, size)? != Some(size) {
        return Err(refused());
    }
    Ok((format, size))
}

/// Sets what of each input buffer is looked at; the size it became, `None` where the driver has no such rectangle.
fn crop(device: &Device, size: Size) -> Result<Option<Size>, Error> {
    let to = Selection {
        left: 0,
        top: 0,
        width: size.width,
        height: size.height,
    };
    match device.set_selection_of(Queue::Output, SelectionTarget::Crop, to) {
        Ok(got) if (got.left, got.top) == (0, 0) => Ok(Some(Size::new(got.width, got.height))),
        Ok(_) | Err(Error::Request { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
