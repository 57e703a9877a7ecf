//! A toolkit's device, which has two of the extensions and nothing else, is enough for the base path.

mod common;

use std::sync::Arc;

use ash::{ext, khr, vk};
use common::open;
use dmaframe_core::{Fourcc, Size};
use dmaframe_testkit::frames::{Shape, TIGHT, same, udmabuf_frame};
use dmaframe_vulkan::{Error, Extensions, Gpu, Importer, OpenOptions, Readback, ash, raw};

const PADDED: Shape = Shape {
    padding: 20,
    offset: 8,
    objects: 1,
};

/// What wgpu 28 and 29 leave off.
fn plain() -> OpenOptions {
    OpenOptions::new()
        .without(khr::external_semaphore_fd::NAME)
        .without(ext::queue_family_foreign::NAME)
        .without(ext::image_drm_format_modifier::NAME)
        .without(ext::external_memory_host::NAME)
}

#[test]
fn a_plain_device_reads_buffers_and_linear_images_without_a_validation_error() {
    let Some(bench) = open(&plain()) else { return };
    if !bench.gpu.extensions().dmabuf() {
        dmaframe_testkit::skip("the Vulkan device imports no dma-bufs");
        return;
    }
    let importer = Importer::new(&bench.gpu);
    for fourcc in [Fourcc::NV12, Fourcc::YUYV, Fourcc::XRGB8888] {
        let Some((frame, bytes)) = udmabuf_frame(fourcc, Size::new(321, 123), PADDED, 1) else {
            return;
        };
        let held = importer.buffer(&frame).unwrap();
        let acquire = held.acquire(vk::AccessFlags::SHADER_READ);
        assert!(
            acquire.is_empty(),
            "naming the foreign family would be an error here"
        );
        same(&bench.read(&held), &bytes, &fourcc.to_string());
    }
    let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, Size::new(320, 120), TIGHT, 2) else {
        return;
    };
    let held = importer.image(&frame).unwrap();
    for _ in 0..3 {
        same(&bench.read_image(&held), &bytes, "linear images, again and again");
    }
    drop((importer, held, frame));
    bench.done();
}

/// What a toolkit does: an instance and a device of its own, destroyed by itself.
struct Toolkit {
    _entry: ash::Entry,
    instance: ash::Instance,
    physical: vk::PhysicalDevice,
    device: ash::Device,
}

impl Toolkit {
    fn new() -> Result<Self, String> {
        // SAFETY: running the loader's initialisers is what loading it means.
        let entry = unsafe { ash::Entry::load() }.map_err(|e| e.to_string())?;
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_2);
        let info = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: `info` lives until the call returns; the handles are destroyed in `drop`.
        let instance = unsafe { entry.create_instance(&info, None) }.map_err(|e| e.to_string())?;
        // SAFETY: a live instance.
        let physical = unsafe { instance.enumerate_physical_devices() }.map_err(|e| e.to_string())?;
        let physical = *physical.first().ok_or("no Vulkan device")?;
        let queues = [vk::DeviceQueueCreateInfo::default()
            .queue_family_index(0)
            .queue_priorities(&[1.0])];
        let names = [
            khr::external_memory_fd::NAME.as_ptr(),
            ext::external_memory_dma_buf::NAME.as_ptr(),
        ];
        let mut timeline = vk::PhysicalDeviceTimelineSemaphoreFeatures::default().timeline_semaphore(true);
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&names)
            .push_next(&mut timeline);
        // SAFETY: as above.
        let device = unsafe { instance.create_device(physical, &info, None) }.map_err(|e| e.to_string())?;
        Ok(Self {
            _entry: entry,
            instance,
            physical,
            device,
        })
    }
}

impl Drop for Toolkit {
    fn drop(&mut self) {
        // SAFETY: this is dropped by the last user of the adopted device.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

#[test]
fn an_adopted_device_is_used_and_left_as_it_was() {
    let toolkit = match Toolkit::new() {
        Ok(toolkit) => Arc::new(toolkit),
        Err(reason) => return dmaframe_testkit::skip(&reason),
    };
    let adopted = raw::RawDevice {
        instance: toolkit.instance.clone(),
        physical_device: toolkit.physical,
        device: toolkit.device.clone(),
        queue_family: 0,
        extensions: Extensions::from_names([
            khr::external_memory_fd::NAME,
            ext::external_memory_dma_buf::NAME,
        ]),
        owner: Box::new(Arc::clone(&toolkit)),
    };
    // SAFETY: made together just now, with these extensions and family 0, and kept by `owner`.
    let gpu: Gpu = unsafe { raw::adopt(adopted) }.unwrap();
    assert!(
        matches!(gpu.queue(), Err(Error::Busy { .. })),
        "its queue is the toolkit's"
    );
    let importer = Importer::new(&gpu);
    let Some((frame, bytes)) = udmabuf_frame(Fourcc::NV12, Size::new(321, 123), PADDED, 1) else {
        return;
    };
    let held = importer.buffer(&frame).unwrap();
    {
        // SAFETY: the "toolkit" of this test submits nothing itself.
        let queue = unsafe { raw::queue(&gpu, 0) }.unwrap();
        let mut back = Readback::new(&gpu, Fourcc::NV12, Size::new(321, 123)).unwrap();
        let work = queue.submit(common::SOON, |commands| {
            commands.reads(&held.frame)?;
            commands.copy(&held.import, back.target())
        });
        assert!(work.unwrap().wait(common::SOON).unwrap().is_signaled());
        same(back.bytes().unwrap(), &bytes, "on the toolkit's device");
    }
    // Handles can be handed to the toolkit for good.
    drop(held);
    importer.trim();
    drop(importer);
    drop(frame);
    assert_eq!(gpu.live().buffers, 0);
    let Some((frame, _)) = udmabuf_frame(Fourcc::NV12, Size::new(64, 64), TIGHT, 1) else {
        return;
    };
    let importer = Importer::new(&gpu);
    let held = importer.buffer(&frame).unwrap();
    let shared = Arc::clone(&held.import);
    drop((held, importer));
    let import = Arc::into_inner(shared).expect("the only handle");
    for owned in import.into_owned() {
        // SAFETY: ours now, and unused.
        unsafe {
            toolkit.device.destroy_buffer(owned.buffer, None);
            toolkit.device.free_memory(owned.memory, None);
        }
    }
    assert_eq!(gpu.live(), dmaframe_vulkan::LiveObjects::default());
    assert_eq!(Arc::strong_count(&toolkit), 2);
    drop(gpu);
    assert_eq!(Arc::strong_count(&toolkit), 1, "let go of, not destroyed");
}
