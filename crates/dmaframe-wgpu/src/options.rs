//! Which routes frames may take, and how long the CPU may wait for them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use arrayvec::ArrayVec;
use dmaframe_vulkan::Route;

use crate::Error;

/// The routes a frame may take, in the order they are tried.
///
/// As text, parted by commas: `buffer`, `image`, `host`, `upload`. Names alone are the whole list, in that order;
/// names with a minus before them are taken out of the usual one. `image,upload` tries these two;
/// `-buffer,-image` leaves host pointer and upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes(ArrayVec<Route, 4>);

const USUAL: [Route; 4] = [Route::Buffer, Route::Image, Route::HostPointer, Route::Upload];

fn name(route: Route) -> &'static str {
    match route {
        Route::Buffer => "buffer",
        Route::Image => "image",
        Route::HostPointer => "host",
        _ => "upload",
    }
}

impl Default for Routes {
    /// All four: buffer, image, host pointer, upload.
    fn default() -> Self {
        Self(USUAL.into_iter().collect())
    }
}

impl Routes {
    /// In this order. Routes that are no import are passed over, as is the second of two equal ones.
    #[must_use]
    pub fn only(routes: &[Route]) -> Self {
        let mut list = ArrayVec::new();
        for route in routes {
            if USUAL.contains(route) && !list.contains(route) {
                list.push(*route);
            }
        }
        Self(list)
    }

    /// Without this one.
    #[must_use]
    pub fn without(mut self, route: Route) -> Self {
        self.0.retain(|r| *r != route);
        self
    }

    /// The list.
    #[must_use]
    pub fn as_slice(&self) -> &[Route] {
        &self.0
    }

    /// Those that are not in the list, in the usual order.
    pub(crate) fn off(&self) -> impl Iterator<Item = Route> + '_ {
        USUAL.into_iter().filter(|route| !self.0.contains(route))
    }
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, route) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}", name(*route))?;
        }
        Ok(())
    }
}

impl FromStr for Routes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || Error::Routes { text: text.into() };
        let find = |word: &str| USUAL.into_iter().find(|route| name(*route) == word);
        let words: Vec<_> = text.split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
        let minus = words.iter().filter(|word| word.starts_with('-')).count();
        if minus != 0 && minus != words.len() {
            return Err(refuse());
        }
        if minus == 0 {
            let routes = words.iter().map(|word| find(word).ok_or_else(refuse));
            let routes = routes.collect::<Result<Vec<_>, _>>()?;
            return Ok(match routes.is_empty() {
                true => Self::default(),
                false => Self::only(&routes),
            });
        }
        let mut routes = Self::default();
        for word in words {
            routes = routes.without(find(word.trim_start_matches('-')).ok_or_else(refuse)?);
        }
        Ok(routes)
    }
}

/// How frames are imported.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// The routes.
    pub routes: Routes,
    /// How long the CPU may wait for a frame's fences, where the GPU cannot wait itself. 250 ms unless told.
    pub wait: Duration,
    /// How many imports are kept: the slots of all pools in use. 64 unless told.
    pub capacity: usize,
    /// How many uploaded frames of one format and size can be in use at a time. 8 unless told.
    pub slots: usize,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            routes: Routes::default(),
            wait: Duration::from_millis(250),
            capacity: 64,
            slots: 8,
        }
    }
}

impl ImportOptions {
    /// The defaults, with the [`Routes`] that the environment variable `DMAFRAME_ROUTES` names, if it is set: for
    /// finding out on a user's machine whether a route is what is wrong. No other constructor reads it.
    ///
    /// # Errors
    /// [`Error::Routes`] when the variable's text is not a list of routes.
    pub fn from_env() -> Result<Self, Error> {
        let options = Self::default();
        match std::env::var_os("DMAFRAME_ROUTES") {
            Some(text) => Ok(options.routes(text.to_string_lossy().parse()?)),
            None => Ok(options),
        }
    }

    /// Which routes.
    #[must_use]
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes = routes;
        self
    }

    /// Switches a route off: it refuses with [`Refusal::SwitchedOff`](crate::Refusal::SwitchedOff).
    #[must_use]
    pub fn without(mut self, route: Route) -> Self {
        self.routes = self.routes.without(route);
        self
    }

    /// How long the CPU may wait for a frame's fences.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How many imports are kept.
    #[must_use]
    pub fn capacity(mut self, imports: usize) -> Self {
        self.capacity = imports;
        self
    }

    /// How many uploaded frames of one format and size can be in use at a time.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots.max(1);
        self
    }
}

/// Where the fence of submitted work is taken out of the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FenceExport {
    /// On a thread of this crate for drivers that block in it until the work is done (lavapipe); otherwise inline.
    #[default]
    Auto,
    /// In the call that submits: frames have gone home when it returns.
    Inline,
    /// On a thread of this crate.
    Thread,
}

/// How a wgpu device is used.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GpuOptions {
    /// Whether to look for the Vulkan device inside. Without, everything goes as on another backend: by upload.
    pub vulkan: bool,
    /// Where fences are exported.
    pub export: FenceExport,
    /// Whether shaders read uploads where the CPU wrote them, if the device's memory is one with the CPU's
    /// ([`has_unified_memory`](dmaframe_vulkan::Gpu::has_unified_memory)). Without, the GPU copies them on as on any other.
    pub in_place: bool,
    /// Exports fail as if descriptors had run out: for tests.
    #[doc(hidden)]
    pub broken_exports: bool,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            vulkan: true,
            export: FenceExport::Auto,
            in_place: true,
            broken_exports: false,
        }
    }
}

impl GpuOptions {
    /// As on another backend.
    #[must_use]
    pub fn without_vulkan(mut self) -> Self {
        self.vulkan = false;
        self
    }

    /// Has the GPU copy uploads on, whatever its memory.
    #[must_use]
    pub fn without_in_place(mut self) -> Self {
        self.in_place = false;
        self
    }

    /// Where fences are exported.
    #[must_use]
    pub fn export(mut self, export: FenceExport) -> Self {
        self.export = export;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_a_list_or_as_what_is_taken_away() {
        let read = |text: &str| text.parse::<Routes>().map(|routes| routes.to_string());
        assert_eq!(read("").unwrap(), "buffer,image,host,upload");
        assert_eq!(read("-buffer, -image").unwrap(), "host,upload");
        assert_eq!(read("upload,image").unwrap(), "upload,image");
        for wrong in ["-buffer,image", "bufer", "--", "-"] {
            assert!(matches!(read(wrong), Err(Error::Routes { text }) if text == wrong));
        }
        let off: Vec<_> = "-host".parse::<Routes>().unwrap().off().collect();
        assert_eq!(off, [Route::HostPointer]);
    }
}
