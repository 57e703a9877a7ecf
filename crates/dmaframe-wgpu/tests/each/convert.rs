// What the files of `convert/` share. Included once for each version of wgpu.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use dmaframe_core::format::all_formats;
use dmaframe_core::{ChromaSiting, Orientation, Range, Rotation};
use dmaframe_testkit::skip;
use dmaframe_wgpu::{Area, Assume, ChromaFilter, ConvertError, Filter, HighRange, Light};
use dw::PassTarget;

use crate::common::{SOON, listen, said};

include!("rig.rs");

/// The least device there is. One for all tests: pipelines are slow to make on a software renderer.
static SHARED: LazyLock<Option<Mutex<Rig>>> =
    LazyLock::new(|| rig_with(wgpu::Limits::downlevel_defaults(), wgpu::Features::empty()).map(Mutex::new));

fn rig() -> Option<MutexGuard<'static, Rig>> {
    let rig = SHARED.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
    // Of a test that failed.
    rig.encoder.borrow_mut().take();
    Some(rig)
}

fn rig_with(limits: wgpu::Limits, features: wgpu::Features) -> Option<Rig> {
    listen();
    let rig = Rig::open(limits, features);
    if rig.is_none() {
        skip("no Vulkan device for wgpu");
    }
    rig
}

#[track_caller]
fn silent() {
    let said = said(&[]);
    assert!(said.is_empty(), "errors of wgpu or the validation layer: {said:#?}");
}

/// An RGBA picture from a function.
fn painted(rig: &Rig, size: Size, f: impl Fn(u32, u32) -> [u8; 4]) -> (Source, Vec<[u8; 4]>) {
    let pixels: Vec<_> = (0..size.height).flat_map(|y| (0..size.width).map(move |x| (x, y))).collect();
    let pixels: Vec<_> = pixels.into_iter().map(|(x, y)| f(x, y)).collect();
    let layout = Layout::tight(Fourcc::ABGR8888, size).unwrap();
    (rig.buffers(&layout, pixels.as_flattened()), pixels)
}

fn srgb<'a>(source: &'a Source, size: Size) -> Picture<'a> {
    let mut picture = Picture::new(source, Fourcc::ABGR8888, size);
    picture.color = ColorInfo::SRGB;
    picture
}
