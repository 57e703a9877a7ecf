//! Bind groups that are kept while the same picture comes back in the same way.
//!
//! Parameters lie in a small buffer of their own beside each group and never change: so any number of conversions may
//! stand in one submission, or in encoders that are submitted in another order, without ever seeing each other's. A
//! camera's few buffers shown at a fixed size need nothing new per frame; a window that is being resized needs one
//! small buffer and one bind group.

use super::super::wgpu;
use super::source::{Bound, Plane};
use crate::convert::Params;
use wgpu::util::DeviceExt as _;

/// Most groups of sources that are kept.
const SOURCES: usize = 64;
/// Conversions after which a group that was not used is let go.
const IDLE: u64 = 256;
/// Targets are large, and may be new each frame: few of them are kept.
const TARGETS: usize = 4;

#[derive(Default)]
pub(super) struct Groups {
    sources: Vec<Kept<(Params, Bound)>>,
    targets: Vec<Kept<wgpu::TextureView>>,
    /// Conversions so far.
    clock: u64,
}

struct Kept<K> {
    key: K,
    group: wgpu::BindGroup,
    used: u64,
}

impl Groups {
    pub(super) fn source(
        &mut self,
        device: &wgpu::Device,
        layout: &wgpu::BindGroupLayout,
        bound: &Bound,
        params: &Params,
    ) -> wgpu::BindGroup {
        self.clock += 1;
        let clock = self.clock;
        let same =
            |kept: &&mut Kept<(Params, Bound)>| kept.key.1 == *bound && same_params(&kept.key.0, params);
        if let Some(kept) = self.sources.iter_mut().find(same) {
            kept.used = clock;
            return kept.group.clone();
        }
        self.sources.retain(|kept| kept.used + IDLE > clock);
        make_room(&mut self.sources, SOURCES);
        let group = bind(device, layout, bound, params);
        self.sources.push(Kept {
            key: (*params, bound.clone()),
            group: group.clone(),
            used: clock,
        });
        group
    }

    pub(super) fn target(
        &mut self,
        device: &wgpu::Device,
        layout: &wgpu::BindGroupLayout,
        view: &wgpu::TextureView,
    ) -> wgpu::BindGroup {
        let clock = self.clock;
        if let Some(kept) = self.targets.iter_mut().find(|kept| kept.key == *view) {
            kept.used = clock;
            return kept.group.clone();
        }
        make_room(&mut self.targets, TARGETS);
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("dmaframe target"),
            layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::TextureView(view),
            }],
        });
        self.targets.push(Kept {
            key: view.clone(),
            group: group.clone(),
            used: clock,
        });
        group
    }
}

/// Bit by bit: what the shader sees is what counts.
fn same_params(a: &Params, b: &Params) -> bool {
    bytemuck::bytes_of(a) == bytemuck::bytes_of(b)
}

/// Drops the one that was not used for longest, if the list is full.
fn make_room<K>(list: &mut Vec<Kept<K>>, most: usize) {
    while list.len() >= most {
        let oldest = list.iter().enumerate().min_by_key(|(_, kept)| kept.used);
        let Some((index, _)) = oldest else { return };
        list.swap_remove(index);
    }
}

fn bind(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    bound: &Bound,
    params: &Params,
) -> wgpu::BindGroup {
    let uniform = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: Some("dmaframe parameters"),
        contents: bytemuck::bytes_of(params),
        usage: wgpu::BufferUsages::UNIFORM,
    });
    // Views first: entries borrow them.
    let views = bound.planes.iter().map(|plane| match plane {
        Plane::Texture { texture, .. } => Some(texture.create_view(&wgpu::TextureViewDescriptor::default())),
        Plane::Buffer { .. } => None,
    });
    let views: Vec<_> = views.collect();
    let mut entries = vec![wgpu::BindGroupEntry {
        binding: 0,
        resource: uniform.as_entire_binding(),
    }];
    for (i, (plane, view)) in bound.planes.iter().zip(&views).enumerate() {
        let resource = match (plane, view) {
            (Plane::Buffer { buffer, start, len }, _) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer,
                offset: *start,
                size: wgpu::BufferSize::new(*len),
            }),
            (Plane::Texture { .. }, Some(view)) => wgpu::BindingResource::TextureView(view),
            // Every texture has its view.
            (Plane::Texture { .. }, None) => continue,
        };
        entries.push(wgpu::BindGroupEntry {
            binding: i as u32 + 1,
            resource,
        });
    }
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("dmaframe source"),
        layout,
        entries: &entries,
    })
}
