//! Command buffers and the queue.

use std::sync::{Arc, Mutex, PoisonError};

use ash::vk;

use super::context::Context;
use super::semaphore::Semaphore;
use super::timeline::Timeline;
use crate::error::Error;

/// A pool with one command buffer; destroyed when dropped.
pub(crate) struct CommandBuffer {
    context: Arc<Context>,
    pool: vk::CommandPool,
    handle: vk::CommandBuffer,
}

impl CommandBuffer {
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, Error> {
        let info = vk::CommandPoolCreateInfo::default()
            .queue_family_index(context.family)
            .flags(vk::CommandPoolCreateFlags::TRANSIENT);
        // SAFETY: the family is one of the device's.
        let pool = unsafe { context.device.create_command_pool(&info, None) }
            .map_err(Error::vk("vkCreateCommandPool"))?;
        let mut made = Self {
            context: Arc::clone(context),
            pool,
            handle: vk::CommandBuffer::null(),
        };
        let info = vk::CommandBufferAllocateInfo::default()
            .command_pool(pool)
            .level(vk::CommandBufferLevel::PRIMARY)
            .command_buffer_count(1);
        // SAFETY: a live pool, which this value alone uses.
        let buffers = unsafe { context.device.allocate_command_buffers(&info) };
        made.handle = buffers.map_err(Error::vk("vkAllocateCommandBuffers"))?[0];
        Ok(made)
    }

    /// Begins recording anew. The caller knows that the last submission of it is done.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        let device = &self.context.device;
        // SAFETY: nothing recorded in the pool is pending (the caller's knowledge), and `&mut self` is its only user.
        unsafe { device.reset_command_pool(self.pool, vk::CommandPoolResetFlags::empty()) }
            .map_err(Error::vk("vkResetCommandPool"))?;
        let info = vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        // SAFETY: the buffer is in the initial state after the reset.
        unsafe { device.begin_command_buffer(self.handle, &info) }.map_err(Error::vk("vkBeginCommandBuffer"))
    }

    pub(crate) fn end(&mut self) -> Result<(), Error> {
        // SAFETY: the buffer is recording.
        unsafe { self.context.device.end_command_buffer(self.handle) }
            .map_err(Error::vk("vkEndCommandBuffer"))
    }

    pub(crate) fn handle(&self) -> vk::CommandBuffer {
        self.handle
    }

    /// Everything before is visible to everything after, host reads included.
    pub(crate) fn full_barrier(&mut self) {
        let memory = [vk::MemoryBarrier::default()
            .src_access_mask(vk::AccessFlags::MEMORY_WRITE)
            .dst_access_mask(vk::AccessFlags::MEMORY_READ | vk::AccessFlags::MEMORY_WRITE)];
        self.barrier(&memory, &[], &[]);
    }

    /// Makes device writes visible to the CPU once the submission is done.
    pub(crate) fn host_barrier(&mut self) {
        let memory = [vk::MemoryBarrier::default()
            .src_access_mask(vk::AccessFlags::MEMORY_WRITE)
            .dst_access_mask(vk::AccessFlags::HOST_READ)];
        // SAFETY: the buffer is recording.
        unsafe {
            self.context.device.cmd_pipeline_barrier(
                self.handle,
                vk::PipelineStageFlags::ALL_COMMANDS,
                vk::PipelineStageFlags::HOST,
                vk::DependencyFlags::empty(),
                &memory,
                &[],
                &[],
            );
        }
    }

    /// Ownership transfers and layout changes. Their resources are held by the caller until the submission is done.
    pub(crate) fn barrier(
        &mut self,
        memory: &[vk::MemoryBarrier<'_>],
        buffers: &[vk::BufferMemoryBarrier<'_>],
        images: &[vk::ImageMemoryBarrier<'_>],
    ) {
        // SAFETY: the buffer is recording.
        unsafe {
            self.context.device.cmd_pipeline_barrier(
                self.handle,
                vk::PipelineStageFlags::ALL_COMMANDS,
                vk::PipelineStageFlags::ALL_COMMANDS,
                vk::DependencyFlags::empty(),
                memory,
                buffers,
                images,
            );
        }
    }

    /// The caller has checked the region against both buffers and their usage.
    pub(crate) fn copy_buffer(&mut self, from: vk::Buffer, to: vk::Buffer, regions: &[vk::BufferCopy]) {
        // SAFETY: recording; live buffers of this device; regions inside.
        unsafe {
            self.context
                .device
                .cmd_copy_buffer(self.handle, from, to, regions)
        };
    }

    /// As [`Self::copy_buffer`]; the image is in `GENERAL`.
    pub(crate) fn copy_image_to_buffer(
        &mut self,
        image: vk::Image,
        buffer: vk::Buffer,
        regions: &[vk::BufferImageCopy],
    ) {
        // SAFETY: as in `copy_buffer`.
        unsafe {
            self.context.device.cmd_copy_image_to_buffer(
                self.handle,
                image,
                vk::ImageLayout::GENERAL,
                buffer,
                regions,
            );
        }
    }

    /// As [`Self::copy_buffer`]; the image is in `GENERAL`.
    pub(crate) fn copy_buffer_to_image(
        &mut self,
        buffer: vk::Buffer,
        image: vk::Image,
        regions: &[vk::BufferImageCopy],
    ) {
        // SAFETY: as in `copy_buffer`.
        unsafe {
            self.context.device.cmd_copy_buffer_to_image(
                self.handle,
                buffer,
                image,
                vk::ImageLayout::GENERAL,
                regions,
            );
        }
    }

    /// Clears a colour image that is in `GENERAL`.
    pub(crate) fn clear(&mut self, image: vk::Image, color: [f32; 4]) {
        let value = vk::ClearColorValue { float32: color };
        let range = [whole(vk::ImageAspectFlags::COLOR)];
        // SAFETY: recording; a live colour image of this device.
        unsafe {
            self.context.device.cmd_clear_color_image(
                self.handle,
                image,
                vk::ImageLayout::GENERAL,
                &value,
                &range,
            );
        }
    }
}

/// The only level and layer there is.
pub(crate) fn whole(aspect: vk::ImageAspectFlags) -> vk::ImageSubresourceRange {
    vk::ImageSubresourceRange {
        aspect_mask: aspect,
        base_mip_level: 0,
        level_count: 1,
        base_array_layer: 0,
        layer_count: 1,
    }
}

impl Drop for CommandBuffer {
    fn drop(&mut self) {
        // SAFETY: the queue drops its slots only when their submissions are done.
        unsafe { self.context.device.destroy_command_pool(self.pool, None) };
    }
}

/// The queue's handle, one thread at a time.
pub(crate) struct RawQueue {
    context: Arc<Context>,
    handle: Mutex<vk::Queue>,
}

impl RawQueue {
    /// # Safety
    /// Nobody else submits to or presents on this queue of the context's family while this value lives.
    pub(crate) unsafe fn new(context: &Arc<Context>, index: u32) -> Self {
        // SAFETY: the device was made with this family, and with this queue of it (the caller's knowledge).
        let handle = unsafe { context.device.get_device_queue(context.family, index) };
        Self {
            context: Arc::clone(context),
            handle: Mutex::new(handle),
        }
    }

    /// Submits; `done` comes to `value` when the work is finished. Does not block.
    pub(crate) fn submit(
        &self,
        commands: &CommandBuffer,
        waits: &[Semaphore],
        signal: Option<&Semaphore>,
        done: &Timeline,
        value: u64,
    ) -> Result<(), Error> {
        let buffers = [commands.handle];
        let wait_handles: arrayvec::ArrayVec<_, MAX_WAITS> = waits.iter().map(Semaphore::handle).collect();
        let stages = [vk::PipelineStageFlags::ALL_COMMANDS; MAX_WAITS];
        let ignored = [0; MAX_WAITS];
        let mut signals = arrayvec::ArrayVec::<_, 2>::new();
        signals.push(done.handle());
        signals.extend(signal.map(Semaphore::handle));
        let values = [value, 0];
        let mut timeline = vk::TimelineSemaphoreSubmitInfo::default()
            .wait_semaphore_values(&ignored[..wait_handles.len()])
            .signal_semaphore_values(&values[..signals.len()]);
        let info = [vk::SubmitInfo::default()
            .command_buffers(&buffers)
            .wait_semaphores(&wait_handles)
            .wait_dst_stage_mask(&stages[..wait_handles.len()])
            .signal_semaphores(&signals)
            .push_next(&mut timeline)];
        let queue = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the lock and the promise of `new` make this the only use of the queue; what is submitted lives until
        // `done` says it is finished, which the caller sees to.
        unsafe { self.context.device.queue_submit(*queue, &info, vk::Fence::null()) }
            .map_err(Error::vk("vkQueueSubmit"))
    }
}

/// Most fences one submission waits for.
pub(crate) const MAX_WAITS: usize = 16;
