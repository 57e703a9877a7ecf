//! Cameras: finding and acquiring them.

use dmaframe_core::Orientation;
use libcamera::control::{Control, ControlInfoMap};
use libcamera::properties;

use crate::error::{Error, errno_of};
use crate::format::{OfferedFormat, PixelFormat, Role};
use crate::sys::{Active, ManagerRef};

/// libcamera, started. One camera manager serves the whole process: further handles, cameras and captures share it, and
/// the last of them to drop stops it.
///
/// libcamera aborts a process that makes a second manager, so nothing else in it may use libcamera at the same time by a
/// manager of its own (GStreamer's `libcamerasrc` in the same process does).
#[derive(Clone, Debug)]
pub struct Cameras {
    manager: ManagerRef,
}

/// A camera, as [`Cameras::list`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its id, the same from one start to the next: what [`Cameras::open`] takes. Often the path of a device.
    pub id: String,
    /// Its name for people, if it has one.
    pub model: Option<String>,
    /// Where it is built in.
    pub location: Option<properties::Location>,
    /// How its sensor is mounted: degrees by which a picture has to be turned counter-clockwise to be upright.
    pub rotation: Option<i32>,
}

impl Cameras {
    /// Starts libcamera, which looks at every media device: some 100 ms.
    ///
    /// # Errors
    /// [`Error::Manager`].
    pub fn new() -> Result<Self, Error> {
        let manager = ManagerRef::get().map_err(|error| Error::Manager {
            errno: errno_of(&error),
        })?;
        Ok(Self { manager })
    }

    /// libcamera's version, as the library that is loaded says.
    #[must_use]
    pub fn version(&self) -> String {
        self.manager.version()
    }

    /// The cameras that are there now.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let cameras = self.manager.cameras();
        cameras
            .iter()
            .map(|camera| {
                let properties = camera.properties();
                Listed {
                    id: camera.id().to_owned(),
                    model: properties.get::<properties::Model>().ok().map(|model| model.0),
                    location: properties.get::<properties::Location>().ok(),
                    rotation: properties.get::<properties::Rotation>().ok().map(|r| r.0),
                }
            })
            .collect()
    }

    /// Acquires a camera for this handle alone.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Busy`], [`Error::Unplugged`].
    pub fn open(&self, id: &str) -> Result<Camera, Error> {
        let not_found = || Error::NotFound {
            camera: id.to_owned(),
            known: self.list().into_iter().map(|camera| camera.id).collect(),
        };
        let camera = self.manager.camera(id).ok_or_else(not_found)?;
        let active =
            Active::acquire(camera, self.manager.clone()).map_err(Error::call(id, "Camera::acquire"))?;
        Ok(Camera {
            id: id.to_owned(),
            active,
        })
    }
}

/// An acquired camera: nobody else can stream from it. Dropping it releases it.
#[derive(Debug)]
pub struct Camera {
    id: String,
    pub(crate) active: Active,
}

impl Camera {
    pub(crate) fn from_active(id: String, active: Active) -> Self {
        Self { id, active }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The controls it has, with their limits. Some cameras change them when they are configured.
    #[must_use]
    pub fn controls(&self) -> &ControlInfoMap {
        self.active.controls()
    }

    /// Whether it has this control.
    #[must_use]
    pub fn has_control<C: Control>(&self) -> bool {
        self.active.controls().find(C::ID).is_ok()
    }

    /// The formats and sizes it offers for `role`, in libcamera's order; none where it has no stream for it.
    #[must_use]
    pub fn formats(&self, role: Role) -> Vec<OfferedFormat> {
        let Some(config) = self.active.generate_configuration(&[role.into()]) else {
            return Vec::new();
        };
        let Some(stream) = config.get(0) else {
            return Vec::new();
        };
        let formats = stream.formats();
        let pixel_formats = formats.pixel_formats();
        pixel_formats
            .into_iter()
            .map(|format| OfferedFormat {
                format: PixelFormat::from_libcamera(format),
                sizes: formats
                    .sizes(format)
                    .into_iter()
                    .map(|size| dmaframe_core::Size::new(size.width, size.height))
                    .collect(),
            })
            .collect()
    }

    /// A property, as its model or its sensor's size; `None` when the camera does not say.
    #[must_use]
    pub fn property<P: libcamera::control::Property>(&self) -> Option<P> {
        self.active.properties().get::<P>().ok()
    }

    /// How pictures lie in memory when nothing is asked, as the turn that makes them upright.
    pub(crate) fn orientation_of(config: &libcamera::camera::CameraConfiguration) -> Orientation {
        crate::orientation::upright(config.orientation())
    }
}
