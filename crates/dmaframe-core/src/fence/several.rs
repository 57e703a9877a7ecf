//! Fences that stay several.

use std::ops::ControlFlow;

use rustix::io::Errno;

use super::{Fence, SyncFile, Waited};
use crate::deadline::Deadline;
use crate::error::Error;

/// Two or more fences that the kernel could not make one sync_file of: no work was submitted for a timeline point yet, the
/// descriptor table was full, or one has failed and the others are pending. None of them is [`Fence::Signaled`] or
/// [`Fence::All`].
#[derive(Debug)]
pub struct Fences(Vec<Fence>);

impl Fences {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fence> {
        self.0.iter()
    }

    /// One fence for two that are pending.
    pub(super) fn pending(first: Fence, second: Fence) -> Fence {
        match (first, second) {
            (Fence::All(list), Fence::All(more)) => more.0.into_iter().fold(Fence::All(list), Self::pending),
            (Fence::All(list), one) | (one, Fence::All(list)) => list.with(one),
            (first, second) => {
                one(first, second).unwrap_or_else(|(first, second)| Self::beside(first, second))
            }
        }
    }

    /// Both, as they are.
    pub(super) fn beside(first: Fence, second: Fence) -> Fence {
        let mut list = Vec::with_capacity(2);
        for fence in [first, second] {
            match fence {
                Fence::All(more) => list.extend(more.0),
                one => list.push(one),
            }
        }
        Fence::All(Self(list))
    }

    /// One more that is pending. What has signalled meanwhile goes, so that the list does not grow with time.
    fn with(self, mut fence: Fence) -> Fence {
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for old in self.0 {
            match old.state() {
                Waited::Signaled => {}
                Waited::Failed(_) => kept.push(old),
                Waited::TimedOut => match one(old, fence) {
                    Ok(both) => fence = both,
                    Err((old, new)) => {
                        kept.push(old);
                        fence = new;
                    }
                },
            }
        }
        if kept.is_empty() {
            return fence;
        }
        kept.push(fence);
        Fence::All(Self(kept))
    }

    /// The deadline is for all of them. An error of one counts when all are done: the others are still at work.
    pub(super) fn wait(&self, deadline: Deadline) -> Result<Waited, Error> {
        let all = self.0.iter().try_fold(Ok(Waited::Signaled), |found, fence| {
            and(found, fence.wait(deadline))
        });
        match all {
            ControlFlow::Continue(found) | ControlFlow::Break(found) => found,
        }
    }

    pub(super) fn to_sync_file(&self) -> Result<Option<SyncFile>, Error> {
        let mut all: Option<SyncFile> = None;
        for fence in &self.0 {
            let Some(file) = fence.to_sync_file()? else {
                continue;
            };
            all = Some(match all {
                Some(all) => all.merge(&file)?,
                None => file,
            });
        }
        Ok(all)
    }

    pub(super) fn try_clone(&self) -> Result<Self, Error> {
        self.0
            .iter()
            .map(Fence::try_clone)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// How several are, with one more. Breaks off where that one is not known to be done: so nor are all.
pub(super) fn and(
    found: Result<Waited, Error>,
    next: Result<Waited, Error>,
) -> ControlFlow<Result<Waited, Error>, Result<Waited, Error>> {
    match next {
        Ok(Waited::Signaled) => ControlFlow::Continue(found),
        // Its work ended badly, or its device is gone: either way it is done, and the others may be at work.
        Ok(Waited::Failed(_))
        | Err(Error::Os {
            errno: Errno::NODEV, ..
        }) => ControlFlow::Continue(match found {
            Ok(Waited::Signaled) => next,
            first => first,
        }),
        Ok(Waited::TimedOut) | Err(_) => ControlFlow::Break(next),
    }
}

/// One fence for two that are not lists, or both back.
fn one(first: Fence, second: Fence) -> Result<Fence, (Fence, Fence)> {
    if let (Fence::Point(a), Fence::Point(b)) = (&first, &second) {
        if a.timeline().is(b.timeline()) {
            return Ok(if a.point() < b.point() { second } else { first });
        }
    }
    match merged(&first, &second) {
        Some(both) => Ok(Fence::SyncFile(both)),
        None => Err((first, second)),
    }
}

/// By the kernel, if it can.
fn merged(first: &Fence, second: &Fence) -> Option<SyncFile> {
    // A point is turned into a sync_file only to be merged: by itself it says more.
    let made = |fence: &Fence| match fence {
        Fence::SyncFile(_) => None,
        other => other.to_sync_file().ok().flatten(),
    };
    let (first_made, second_made) = (made(first), made(second));
    file(first, first_made.as_ref())?
        .merge(file(second, second_made.as_ref())?)
        .ok()
}

fn file<'a>(fence: &'a Fence, made: Option<&'a SyncFile>) -> Option<&'a SyncFile> {
    match fence {
        Fence::SyncFile(file) => Some(file),
        _ => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No device of the lab can be pulled out from under a timeline: so by what the kernel answers.
    #[test]
    fn a_device_that_is_gone_says_nothing_of_the_work_of_others() {
        let gone = || Err(Error::os("ioctl", "timeline point")(Errno::NODEV));
        let unknown = || Err(Error::os("ioctl", "timeline point")(Errno::NOMEM));
        let failed = || Ok(Waited::Failed(Errno::IO));
        let all = |answers: [Result<Waited, Error>; 3]| {
            let mut answers = answers.into_iter();
            match answers.try_fold(Ok(Waited::Signaled), and) {
                ControlFlow::Continue(found) | ControlFlow::Break(found) => found,
            }
        };
        for (answers, expected) in [
            ([gone(), Ok(Waited::TimedOut), failed()], Ok(Waited::TimedOut)),
            (
                [Ok(Waited::Signaled), gone(), Ok(Waited::TimedOut)],
                Ok(Waited::TimedOut),
            ),
            // Whoever is not told must not count one that may be at work as done.
            ([gone(), unknown(), failed()], unknown()),
            ([gone(), failed(), Ok(Waited::Signaled)], gone()),
            ([failed(), gone(), Ok(Waited::Signaled)], failed()),
        ] {
            assert_eq!(all(answers), expected);
        }
    }
}
