//! What a frame costs, step by step.

mod copies;
mod entry;
mod life;
mod rivals;
mod view;

use crate::step::Step;

/// All steps, group after group.
pub(crate) fn steps() -> Vec<Step> {
    let mut steps = copies::steps();
    steps.extend(life::steps());
    steps.extend(view::steps());
    steps.extend(entry::steps());
    steps.extend(rivals::steps());
    steps
}
