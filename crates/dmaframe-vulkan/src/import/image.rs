//! A frame as images: for tiled layouts, for the texture units' filtering, and as render target.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrayvec::ArrayVec;
use ash::vk;
use dmaframe_core::{Access, Buffer as FrameBuffer, DeviceClaim, Frame, Layout};

use super::barriers::{Barriers, of_image};
use super::make_image::{Want, images};
use crate::error::{Refusal, Route};
use crate::gpu::Gpu;
use crate::sys::context::Context;
use crate::sys::image::BoundImage;

/// One image of a frame: a plane on its own, or all of them.
#[derive(Debug)]
#[non_exhaustive]
pub struct PlaneImage {
    bound: BoundImage,
    format: vk::Format,
    width: u32,
    height: u32,
    padded: u32,
    planes: u32,
    plane_formats: ArrayVec<vk::Format, 3>,
}

impl PlaneImage {
    /// Of one colour plane.
    pub(crate) fn new(
        bound: BoundImage,
        format: vk::Format,
        (width, height): (u32, u32),
        padded: u32,
    ) -> Self {
        Self {
            bound,
            format,
            width,
            height,
            padded,
            planes: 1,
            plane_formats: ArrayVec::new(),
        }
    }

    /// Of several, with the formats that views of each may have.
    pub(super) fn with_planes(mut self, planes: u32, formats: ArrayVec<vk::Format, 3>) -> Self {
        self.planes = planes;
        self.plane_formats = formats;
        self
    }

    /// The image. Valid as long as the import lives; never destroy it.
    #[must_use]
    pub fn handle(&self) -> vk::Image {
        self.bound.handle()
    }

    /// Its format.
    #[must_use]
    pub fn format(&self) -> vk::Format {
        self.format
    }

    /// Texels in a row that carry samples.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The image's width in texels: more than [`Self::width`] where a plain linear image was made as wide as the
    /// frame's stride. Texels beyond the width are padding: crop in the sampler.
    #[must_use]
    pub fn padded_width(&self) -> u32 {
        self.padded
    }

    /// Colour planes in it: 1, or the format's own for a multi-planar image.
    #[must_use]
    pub fn planes(&self) -> u32 {
        self.planes
    }

    /// The formats in which a multi-planar image's planes may be viewed on their own (`VK_IMAGE_ASPECT_PLANE_0_BIT` and so on),
    /// one for each plane: R8 and R8G8 for NV12. Empty for an image of one plane, and where the driver makes no image that
    /// can be viewed so: those views are not legal then, and the planes have to be sampled together, through a Y'CbCr conversion.
    #[must_use]
    pub fn plane_formats(&self) -> &[vk::Format] {
        &self.plane_formats
    }

    pub(crate) fn into_bound(self) -> BoundImage {
        self.bound
    }
}

/// A frame's memory as `VkImage`s: one for each plane, or one multi-planar image.
///
/// It owns the images and the imported memory, and holds no lease (see [`Held`](crate::Held)).
pub struct ImageImport {
    context: Arc<Context>,
    images: ArrayVec<PlaneImage, 4>,
    layout: Layout,
    route: Route,
    access: Access,
    usage: vk::ImageUsageFlags,
    /// The images have been in a layout of ours; matters only where there are no foreign barriers.
    used: AtomicBool,
}

impl ImageImport {
    /// A dma-buf frame, for reading: an image for each plane ([`Route::Image`]), or one for all of them
    /// ([`Route::MultiPlanarImage`]). Without a cache: [`Importer`](crate::Importer) has one.
    ///
    /// `usage` must only read, since views of the frame rely on that. Does not block; does not wait for fences.
    ///
    /// # Errors
    /// Why the route does not take the frame.
    pub fn from_dmabuf(
        gpu: &Gpu,
        frame: &Frame,
        usage: vk::ImageUsageFlags,
        route: Route,
    ) -> Result<Self, Refusal> {
        let want = Want {
            usage,
            access: Access::Read,
            multi_planar: route == Route::MultiPlanarImage,
        };
        Self::new(gpu, frame.buffer(), want)
    }

    /// A dma-buf that the device is about to render into. From here on CPU views of its frames copy rows out
    /// ([`Object::lend`](dmaframe_core::Object::lend)).
    ///
    /// # Errors
    /// Why the route does not take the buffer.
    pub fn for_writing(gpu: &Gpu, claim: &DeviceClaim, usage: vk::ImageUsageFlags) -> Result<Self, Refusal> {
        let want = Want {
            usage,
            access: Access::Write,
            multi_planar: false,
        };
        Self::new(gpu, claim.buffer(), want)
    }

    fn new(gpu: &Gpu, frame: &FrameBuffer, want: Want) -> Result<Self, Refusal> {
        let (images, route) = images(gpu, frame, want)?;
        let how = (want.access, want.usage);
        Ok(Self::assemble(gpu, images, frame.layout(), route, how))
    }

    pub(crate) fn assemble(
        gpu: &Gpu,
        images: ArrayVec<PlaneImage, 4>,
        layout: &Layout,
        route: Route,
        (access, usage): (Access, vk::ImageUsageFlags),
    ) -> Self {
        Self {
            context: Arc::clone(&gpu.0),
            images,
            layout: layout.clone(),
            route,
            access,
            usage,
            used: AtomicBool::new(false),
        }
    }

    /// The images, in the order of the format's planes.
    #[must_use]
    pub fn images(&self) -> &[PlaneImage] {
        &self.images
    }

    /// The frame's layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// [`Route::Image`], [`Route::MultiPlanarImage`] or [`Route::Export`].
    #[must_use]
    pub fn route(&self) -> Route {
        self.route
    }

    /// Whether work may write it.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// What the images may be used for.
    #[must_use]
    pub fn usage(&self) -> vk::ImageUsageFlags {
        self.usage
    }

    /// Takes ownership from whoever wrote the memory and brings the images into `layout`, for accesses `access`.
    ///
    /// The contents are kept: what is foreign is in `GENERAL`. On a device without `VK_EXT_queue_family_foreign` the
    /// first acquire of an import has to start from `UNDEFINED`, which by the letter may discard contents; no driver does
    /// without compression (with it such imports are refused), and importing buffers before they are first filled makes it
    /// safe by the letter too.
    #[must_use]
    pub fn acquire(&self, layout: vk::ImageLayout, access: vk::AccessFlags) -> Barriers {
        let (families, from) = match self.context.foreign() {
            Some(foreign) => ((foreign, self.context.family), vk::ImageLayout::GENERAL),
            None if self.used.swap(true, Ordering::Relaxed) => (KEEP, vk::ImageLayout::GENERAL),
            None => (KEEP, vk::ImageLayout::UNDEFINED),
        };
        self.barriers(families, (from, layout), (vk::AccessFlags::empty(), access))
    }

    /// Takes ownership without keeping the contents: for a render target that is written whole.
    #[must_use]
    pub fn discard(&self, layout: vk::ImageLayout, access: vk::AccessFlags) -> Barriers {
        self.used.store(true, Ordering::Relaxed);
        self.barriers(
            KEEP,
            (vk::ImageLayout::UNDEFINED, layout),
            (vk::AccessFlags::empty(), access),
        )
    }

    /// Gives the images back from `layout` after accesses `access`.
    #[must_use]
    pub fn release(&self, layout: vk::ImageLayout, access: vk::AccessFlags) -> Barriers {
        let families = match self.context.foreign() {
            Some(foreign) => (self.context.family, foreign),
            None => KEEP,
        };
        self.barriers(
            families,
            (layout, vk::ImageLayout::GENERAL),
            (access, vk::AccessFlags::empty()),
        )
    }

    fn barriers(
        &self,
        families: (u32, u32),
        layouts: (vk::ImageLayout, vk::ImageLayout),
        access: (vk::AccessFlags, vk::AccessFlags),
    ) -> Barriers {
        let images = self.images.iter();
        Barriers {
            images: images
                .map(|i| of_image(i.handle(), vk::ImageAspectFlags::COLOR, families, layouts, access))
                .collect(),
            ..Barriers::default()
        }
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(crate) fn into_images(self) -> ArrayVec<PlaneImage, 4> {
        self.images
    }
}

/// No ownership transfer.
const KEEP: (u32, u32) = (vk::QUEUE_FAMILY_IGNORED, vk::QUEUE_FAMILY_IGNORED);

impl std::fmt::Debug for ImageImport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageImport")
            .field("route", &self.route)
            .field("images", &self.images)
            .finish_non_exhaustive()
    }
}
