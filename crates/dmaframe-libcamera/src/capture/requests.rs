//! Requests: put together from a free buffer of each stream, queued, and taken apart when they are back.

use std::os::fd::OwnedFd;

use dmaframe_core::Fence;
use libcamera::request::{Request, RequestStatus, ReuseFlag};

use super::stream::Stream;
use super::{Capture, Completed};
use crate::error::Error;
use crate::metadata::CameraMetadata;
use crate::sys::Handle;

impl Capture {
    /// A request is back: its slot of each stream.
    pub(super) fn land(&mut self, request: Request) -> Vec<usize> {
        let cookie = usize::try_from(request.cookie()).unwrap_or(usize::MAX);
        let cooled = self.cooling.replace(request);
        self.shelve(cooled);
        self.flights
            .get_mut(cookie)
            .and_then(Option::take)
            .unwrap_or_default()
    }

    /// A request without anything in it, to be used again.
    pub(super) fn shelve(&mut self, request: Option<Request>) {
        if let Some(mut request) = request {
            request.reuse(ReuseFlag::empty());
            self.idle.push(request);
        }
    }

    pub(super) fn complete(&mut self, request: Request) -> Result<Option<Completed>, Error> {
        let mut meta = self.meta.clone();
        let completed = (request.status() == RequestStatus::Complete).then(|| request.sequence());
        if completed.is_some() {
            let metadata = CameraMetadata::read(request.sequence(), request.metadata(), &mut self.names);
            meta.extensions.insert(metadata);
        }
        let metadata = meta.extensions.clone();
        let slots = self.land(request);
        let mut pictures = Vec::with_capacity(self.streams.len());
        let mut failed = Ok(());
        for (stream, slot) in self.streams.iter_mut().zip(slots) {
            match stream.deliver(&self.id, &self.watcher, slot, completed, meta.clone()) {
                Ok(picture) => pictures.push(picture),
                // The others' buffers have to be taken from libcamera all the same.
                Err(error) => failed = Err(error),
            }
        }
        failed?;
        let any = pictures.iter().any(Option::is_some);
        Ok(any.then_some(Completed { pictures, metadata }))
    }

    /// Takes back what came, and queues as many requests as there are and buffers for them.
    pub(super) fn reclaim(&mut self) -> Result<(), Error> {
        for stream in &mut self.streams {
            stream.reclaim(&self.watcher);
        }
        while self.streaming && self.streams.iter().all(Stream::has_free) {
            let Some(request) = self.idle.pop() else { break };
            if !self.queue(request)? {
                break;
            }
        }
        Ok(())
    }

    /// Queues a request with a free buffer of each stream; `false` when a stream has none after all.
    fn queue(&mut self, mut request: Request) -> Result<bool, Error> {
        let mut taken: Vec<(usize, Handle, Option<Fence>)> = Vec::with_capacity(self.streams.len());
        let mut failed = Ok(true);
        for stream in &mut self.streams {
            match stream.take_free() {
                Ok(Some(free)) => taken.push(free),
                Ok(None) => failed = Ok(false),
                Err(error) => failed = Err(Error::core(&self.id)(error)),
            }
            if !matches!(failed, Ok(true)) {
                break;
            }
        }
        if matches!(failed, Ok(true)) {
            failed = self.fill(&mut request, &taken).map(|()| true);
        }
        let request = match failed {
            Ok(true) => {
                let cookie = usize::try_from(request.cookie()).unwrap_or(usize::MAX);
                let slots = taken.iter().map(|(slot, ..)| *slot).collect();
                if let Some(flight) = self.flights.get_mut(cookie) {
                    *flight = Some(slots);
                }
                match self.active().queue_request(request) {
                    Ok(()) => return Ok(true),
                    Err((request, error)) => {
                        if let Some(flight) = self.flights.get_mut(cookie) {
                            *flight = None;
                        }
                        failed = Err(Error::call(&self.id, "Camera::queueRequest")(error));
                        request
                    }
                }
            }
            _ => request,
        };
        self.shelve(Some(request));
        for (stream, (slot, _, fence)) in self.streams.iter_mut().zip(taken) {
            stream.put_back(&self.watcher, slot, fence);
        }
        failed
    }

    /// Puts buffers, their fences and the pending controls into a request.
    fn fill(&mut self, request: &mut Request, taken: &[(usize, Handle, Option<Fence>)]) -> Result<(), Error> {
        for (stream, (_, handle, fence)) in self.streams.iter().zip(taken) {
            let fence = match fence {
                Some(fence) => {
                    // A duplicate, so that a request that is not taken loses nothing.
                    let file = fence.to_sync_file();
                    let file = file.map_err(Error::core(&self.id))?.map(OwnedFd::from);
                    file.map(libcamera::fence::Fence::from_fd)
                        .transpose()
                        .map_err(Error::call(&self.id, "Fence"))?
                }
                None => None,
            };
            request
                .add_buffer_with_fence(&stream.handle, *handle, fence)
                .map_err(Error::call(&self.id, "Request::addBuffer"))?;
        }
        for (id, value) in self.controls.drain(..) {
            // The binding never fails here.
            let _ = request.controls_mut().set_raw(id, value);
        }
        Ok(())
    }
}
