//! The list of a device's controls, which a broken one does not end.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{Control, ControlKind, LIST_LIMIT};
use crate::device::{Device, text};
use crate::error::Error;
use crate::sys;
use crate::sys::abi::{self, Plain};

const NEXT: u32 = abi::CTRL_FLAG_NEXT_CTRL | abi::CTRL_FLAG_NEXT_COMPOUND;

/// The bits of an id that say its class (`V4L2_CTRL_ID2CLASS`).
const CLASS: u32 = 0x0fff_0000;
/// Where a class's standard controls begin (`V4L2_CID_BASE` of `V4L2_CTRL_CLASS_USER`), and the driver's own.
const BASES: [u32; 2] = [0x0900, 0x1000];
/// How many ids are tried from each base, and after a control: no class of the kernel's has gaps as large.
const TRIED: u32 = 256;
/// Most broken controls that are gone past: a device that answers nothing may take seconds for each.
const BROKEN_LIMIT: usize = 16;
/// The classes there are (`V4L2_CTRL_CLASS_USER` to `V4L2_CTRL_CLASS_COLORIMETRY`).
const CLASSES: std::ops::RangeInclusive<u32> = 0x0098..=0x00a5;

impl Device {
    /// Every control, headings and disabled ones left out (`VIDIOC_QUERY_EXT_CTRL`, Linux 3.17).
    ///
    /// A control that the driver itself stumbles over (webcams have such) is left out, and the others are listed.
    ///
    /// # Errors
    /// [`Error::Unplugged`]; [`Error::Request`] when nothing could be listed at all.
    pub fn controls(&self) -> Result<Vec<Control>, Error> {
        walk(|id| self.query_control(id))
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
}

/// All controls by `query`, which is given an id, or with [`NEXT`] the id before the one that is wanted.
fn walk(mut query: impl FnMut(u32) -> Result<Option<Control>, Error>) -> Result<Vec<Control>, Error> {
    let mut list = Vec::new();
    let mut id = 0;
    let mut first: Option<Error> = None;
    let mut skipped = 0;
    for _ in 0..LIST_LIMIT {
        let control = match query(id | NEXT) {
            Ok(Some(control)) => control,
            Ok(None) => break,
            Err(error @ Error::Unplugged { .. }) => return Err(error),
            Err(error) => {
                first.get_or_insert(error);
                skipped += 1;
                match broken(id, &mut query)? {
                    Some(broken) if skipped <= BROKEN_LIMIT => id = broken,
                    _ => break,
                }
                continue;
            }
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
    match first {
        Some(error) if list.is_empty() => Err(error),
        _ => Ok(list),
    }
}

/// The first id after `id` that the driver stumbles over. With the next flags it does not say which that is; asked for by
/// its own id a control that is not there is told from one that is broken.
fn broken(
    id: u32,
    query: &mut impl FnMut(u32) -> Result<Option<Control>, Error>,
) -> Result<Option<u32>, Error> {
    let class = id & CLASS;
    let rest = CLASSES
        .map(|number| number << 16)
        .filter(|other| *other >= class)
        .flat_map(|class| BASES.map(|base| class | base));
    let starts = (id != 0).then_some(id).into_iter().chain(rest);
    for candidate in starts.flat_map(|start| (0..TRIED).map(move |n| start + n)) {
        if candidate <= id || candidate & !CLASS == 0 {
            continue;
        }
        match query(candidate) {
            Ok(None) => {}
            // The one that `NEXT` should have found.
            Ok(Some(_)) => return Ok(None),
            Err(error @ Error::Unplugged { .. }) => return Err(error),
            Err(_) => return Ok(Some(candidate)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Brightness and contrast, a driver's own of the same class, focus of the camera's class.
    const IDS: [u32; 4] = [0x0098_0900, 0x0098_0901, 0x0098_1005, 0x009a_090a];

    fn request(errno: Errno) -> Error {
        Error::request(&PathBuf::from("/dev/video-test"), "VIDIOC_QUERY_EXT_CTRL", errno)
    }

    fn control(id: u32) -> Control {
        Control {
            id,
            name: format!("{id:#x}"),
            kind: ControlKind::Integer,
            minimum: 0,
            maximum: 1,
            step: 1,
            default: 0,
            flags: 0,
        }
    }

    /// A driver with these controls, of which those of `bad` give an error.
    fn listed(bad: &[(u32, Errno)]) -> Result<Vec<u32>, Error> {
        let answer = |id: u32| match bad.iter().find(|(broken, _)| *broken == id) {
            Some((_, errno)) => Err(request(*errno)),
            None => Ok(Some(control(id))),
        };
        let list = walk(|asked| {
            let id = asked & !NEXT;
            let found = if asked & NEXT == 0 {
                IDS.into_iter().find(|there| *there == id)
            } else {
                IDS.into_iter().find(|there| *there > id)
            };
            found.map_or(Ok(None), answer)
        });
        Ok(list?.into_iter().map(|control| control.id).collect())
    }

    #[test]
    fn one_broken_control_hides_no_other() {
        assert_eq!(listed(&[]).unwrap(), IDS);
        for broken in IDS {
            for errno in [Errno::IO, Errno::PIPE, Errno::TIMEDOUT, Errno::BUSY] {
                let rest: Vec<u32> = IDS.into_iter().filter(|id| *id != broken).collect();
                assert_eq!(listed(&[(broken, errno)]).unwrap(), rest, "{broken:#x}");
            }
        }
        assert_eq!(
            listed(&[(IDS[0], Errno::IO), (IDS[1], Errno::IO), (IDS[3], Errno::IO)]).unwrap(),
            [IDS[2]]
        );
    }

    #[test]
    fn a_device_that_goes_away_is_no_broken_control() {
        for id in IDS {
            assert!(matches!(
                listed(&[(id, Errno::NODEV)]),
                Err(Error::Unplugged { .. })
            ));
        }
    }

    #[test]
    fn a_list_that_cannot_be_had_at_all_is_an_error_and_an_endless_one_ends() {
        let mut asked = 0;
        let all = walk(|_| {
            asked += 1;
            Err(request(Errno::IO))
        });
        assert!(matches!(all, Err(Error::Request { .. })));
        assert!(asked < 100, "{asked} times");
        let only_next = |asked: u32| {
            if asked & NEXT == 0 {
                Ok(None)
            } else {
                Err(request(Errno::IO))
            }
        };
        assert!(matches!(walk(only_next), Err(Error::Request { .. })));
        let same = |_| Ok(Some(control(IDS[0])));
        assert_eq!(walk(same).unwrap().len(), 1);
    }
}
