//! What all allocators of plain memory share: linear layouts, and buffers of one object after another.

use dmaframe_core::negotiate::{FormatSet, Usage};
use dmaframe_core::{Buffer, Layout, Modifier};

use crate::error::Error;
use crate::request::Request;
use crate::sys::{self, Fresh};

/// Every format of the table, linear: plain memory does not care.
pub(crate) fn formats(name: &str, usage: Usage) -> FormatSet {
    let mut set = FormatSet::new(name).with_usage(usage);
    for info in dmaframe_core::format::all_formats() {
        set.insert(info.fourcc, Modifier::LINEAR);
    }
    set
}

/// The layout for `request`: the one it fixes, or rows of its alignment.
pub(crate) fn plan(name: &str, request: &Request) -> Result<Layout, Error> {
    if !request.modifiers_asked().contains(&Modifier::LINEAR) {
        return Err(Error::Modifier {
            device: name.to_owned(),
            fourcc: request.fourcc(),
            asked: request.modifiers_asked().to_vec(),
            makes: "LINEAR only",
        });
    }
    match request.fixed() {
        Some(layout) => Ok(layout.clone()),
        None => Ok(Layout::linear(
            request.fourcc(),
            request.size(),
            request.alignment(),
        )?),
    }
}

/// How many objects the planes lie in.
pub(crate) fn objects(layout: &Layout) -> usize {
    layout
        .planes()
        .iter()
        .map(|plane| plane.object + 1)
        .max()
        .unwrap_or(0)
}

/// Refuses a layout that is not linear.
pub(crate) fn require(name: &str, layout: &Layout) -> Result<(), Error> {
    plan(name, &Request::exact(layout.clone())).map(drop)
}

/// Bytes of the largest object.
pub(crate) fn largest(layout: &Layout) -> u64 {
    (0..objects(layout))
        .map(|object| layout.object_len(object))
        .max()
        .unwrap_or(0)
}

/// `len` rounded up to whole pages.
///
/// More than the machine has is refused here: the kernel would hand out pages until its out-of-memory killer ends
/// somebody. The system heap has the same rule.
pub(crate) fn pages(name: &str, len: u64) -> Result<u64, Error> {
    let page = rustix::param::page_size() as u64;
    let limit = machine_memory().min(isize::MAX as u64);
    len.checked_next_multiple_of(page)
        .filter(|len| *len <= limit)
        .ok_or_else(|| Error::TooLarge {
            device: name.to_owned(),
            found: len,
            limit,
            setting: "this machine's memory, or the address space".to_owned(),
        })
}

/// Bytes of RAM.
fn machine_memory() -> u64 {
    let info = rustix::system::sysinfo();
    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the field's type differs by target"
    )]
    let total = info.totalram as u64;
    total.saturating_mul(u64::from(info.mem_unit))
}

/// A buffer of `layout`, each of its objects made by `make`, which gets its length in bytes.
pub(crate) fn assemble(
    name: &str,
    layout: &Layout,
    generation: u64,
    mut make: impl FnMut(u64) -> Result<Fresh, Error>,
) -> Result<Buffer, Error> {
    require(name, layout)?;
    let mut list = Vec::with_capacity(objects(layout));
    for index in 0..objects(layout) {
        let fresh = make(pages(name, layout.object_len(index))?)?;
        list.push(fresh.into_object(index)?);
    }
    let (fourcc, modifier, size) = (layout.fourcc(), layout.modifier(), layout.size());
    Ok(sys::private_buffer(
        fourcc,
        modifier,
        size,
        list,
        layout.planes(),
        generation,
    )?)
}
