//! What programs do without this crate: a frame is bytes behind an `Arc`, filled by a copy.

use std::sync::Arc;

use crate::memory::{SIZES, SLOTS, picture};
use crate::step::{Step, each};

const GROUP: &str = "Arc<[u8]> frames";

pub(crate) fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, size) in SIZES {
        let len = size.width as usize * size.height as usize * 3 / 2;
        // As a camera has them: the copy reads another buffer each time, and what it reads is not in the cache.
        let sources = move || -> Vec<_> { (0..SLOTS).map(|seed| picture(len, seed)).collect() };
        for (ring, what) in [(1, "one reused buffer"), (SLOTS, "a ring of 4 reused buffers")] {
            let name = format!("memcpy into {what}, clone, drop; NV12 {name}");
            let step = Step::new(GROUP, name, move || {
                let sources = sources();
                let mut ring: Vec<Arc<[u8]>> = (0..ring).map(|_| vec![0; len].into()).collect();
                let mut at = 0;
                Ok(each(move || {
                    at += 1;
                    let slot = at % ring.len();
                    if let Some(frame) = Arc::get_mut(&mut ring[slot]) {
                        frame.copy_from_slice(&sources[at % SLOTS]);
                    }
                    drop(Arc::clone(&ring[slot]));
                }))
            });
            steps.push(step.copying(len));
        }
        steps.push(
            Step::new(
                GROUP,
                format!("fresh allocation for each frame, clone, drops; NV12 {name}"),
                move || {
                    let sources = sources();
                    let mut at = 0;
                    Ok(each(move || {
                        at = (at + 1) % SLOTS;
                        let frame: Arc<[u8]> = Arc::from(sources[at].as_slice());
                        drop(Arc::clone(&frame));
                    }))
                },
            )
            .copying(len),
        );
    }
    steps
}
