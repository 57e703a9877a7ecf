//! The streams' starts, stops and end.

use libcamera::control::ControlList;
use rustix::io::Errno;

use super::Capture;
use super::stream::Stream;
use crate::camera::Camera;
use crate::error::Error;

impl Capture {
    /// Starts the streams again after [`Capture::stop`]; nothing when they run. Buffers that consumers still hold join when
    /// they come back.
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::Unplugged`]; the streams are then stopped.
    pub fn start(&mut self) -> Result<(), Error> {
        if self.streaming {
            return Ok(());
        }
        self.unless_gone("Camera::start", true)?;
        let mut list = ControlList::new();
        for (id, value) in self.controls.iter().cloned() {
            // The binding never fails here.
            let _ = list.set_raw(id, value);
        }
        let started = self.active_mut().start(Some(&list));
        started.map_err(Error::call(&self.id, "Camera::start"))?;
        self.controls.clear();
        self.streaming = true;
        self.streams.iter_mut().for_each(Stream::restart);
        if let Err(error) = self.reclaim() {
            // What was queued comes back; that this fails too adds nothing.
            let _ = self.stop();
            return Err(error);
        }
        Ok(())
    }

    /// Stops the streams; nothing when they are stopped. Pictures not yet taken are lost. Frames that consumers hold stay
    /// valid, and their buffers come back as before.
    ///
    /// # Errors
    /// [`Error::Call`], [`Error::Unplugged`]; the streams count as stopped all the same.
    pub fn stop(&mut self) -> Result<(), Error> {
        if !self.streaming {
            return Ok(());
        }
        self.streaming = false;
        if !self.inbox.is_camera_gone() {
            self.unless_gone("Camera::stop", true)?;
        }
        let stopped = self.active_mut().stop();
        // libcamera completes every request before it returns.
        self.land_all();
        stopped.map_err(Error::call(&self.id, "Camera::stop"))?;
        let cooled = self.cooling.take();
        self.shelve(cooled);
        self.unless_gone("Camera::stop", false)
    }

    /// Takes back what libcamera has completed, without a look at it: its buffers are at home.
    pub(super) fn land_all(&mut self) {
        while let Some(request) = self.inbox.pop() {
            let slots = self.land(request);
            for (stream, slot) in self.streams.iter_mut().zip(slots) {
                stream.unfilled(&self.watcher, slot);
            }
        }
    }

    /// Whether libcamera has requests that it did not complete, and so knows our buffers.
    pub(super) fn is_in_flight(&self) -> bool {
        self.flights.iter().any(Option::is_some)
    }

    /// Stops, frees the buffers and gives the camera back.
    ///
    /// # Errors
    /// As [`Capture::stop`], and [`Error::Unplugged`] for a camera that is gone, whether or not it streamed; the camera is
    /// then released.
    pub fn into_camera(mut self) -> Result<Camera, Error> {
        self.stop()?;
        // A stop that failed before says nothing the second time.
        self.unless_gone("Camera::stop", true)?;
        if self.is_in_flight() {
            return Err(Error::Call {
                camera: self.id.clone(),
                call: "Camera::stop",
                errno: Errno::BUSY,
            });
        }
        self.idle.clear();
        self.cooling = None;
        match self.active.take() {
            Some(active) => Ok(Camera::from_active(self.id.clone(), active)),
            None => unreachable!("only this function takes it out"),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if self.active.is_none() {
            return;
        }
        // While the callback is connected: libcamera gives every request back, and none is destroyed on its thread.
        let _ = self.stop();
        self.land_all();
        if self.is_in_flight() {
            // libcamera goes on believing in the camera and in the requests it has. What it may look at stays.
            std::mem::forget(self.active.take());
            self.streams.iter_mut().for_each(Stream::abandon);
        }
    }
}
