//! Frames that end inside of a lock, and are to end outside.
//!
//! An appsrc that pushes its oldest buffer out drops it under its own lock, on the thread that pushes. The frame's lease is
//! somebody else's code, which may ask the very same appsrc how much it has queued.

use std::cell::RefCell;

type PutOff = Vec<Box<dyn FnOnce()>>;

thread_local! {
    /// What this thread has put off; `None` while it puts nothing off.
    static PUT_OFF: RefCell<Option<PutOff>> = const { RefCell::new(None) };
}

/// Runs `locked`, and then, when it has let its locks go, what called [`outside`] meanwhile on this thread.
pub(crate) fn after<T>(locked: impl FnOnce() -> T) -> T {
    // Also while unwinding: what is put off gives buffers back.
    struct Catch;
    impl Drop for Catch {
        fn drop(&mut self) {
            let put_off = PUT_OFF.try_with(|put_off| put_off.take());
            put_off.ok().flatten().into_iter().flatten().for_each(|end| end());
        }
    }
    let begun = PUT_OFF.try_with(|put_off| {
        let mut put_off = put_off.borrow_mut();
        let begun = put_off.is_none();
        put_off.get_or_insert_default();
        begun
    });
    // Of one inside another, the outer one knows when all locks are gone.
    let _catch = begun.unwrap_or(false).then(|| Catch);
    locked()
}

/// Runs `end` now, or, inside of [`after`], after it.
pub(crate) fn outside(end: impl FnOnce() + 'static) {
    let mut end = Some(end);
    let _ = PUT_OFF.try_with(|put_off| {
        if let Some(put_off) = put_off.borrow_mut().as_mut() {
            put_off.extend(end.take().map(|end| Box::new(end) as Box<dyn FnOnce()>));
        }
    });
    if let Some(end) = end {
        end();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn what_ends_inside_runs_after_the_outermost_and_else_at_once() {
        let ran = Rc::new(RefCell::new(Vec::new()));
        let end = |name: &'static str| {
            let ran = Rc::clone(&ran);
            outside(move || ran.borrow_mut().push(name));
        };
        end("at once");
        assert_eq!(*ran.borrow(), ["at once"]);
        after(|| {
            end("first");
            after(|| end("second"));
            assert_eq!(ran.borrow().len(), 1, "inside of the outer one");
        });
        assert_eq!(*ran.borrow(), ["at once", "first", "second"]);
        end("at once again");
        assert_eq!(ran.borrow().len(), 4);
    }
}
