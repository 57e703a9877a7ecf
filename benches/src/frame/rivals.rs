//! Other crates' types, for the steps they have too.

use dma_buf::DmaBuf;

use crate::memory::{Kind, SIZES, Sender};
use crate::step::{Step, batch, each};

const DMA_BUF: &str = "dma-buf 0.5";
const BATCH: usize = 64;

pub(crate) fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    let (name, size) = SIZES[0];
    for kind in Kind::DMABUF {
        let kind_name = kind.name();
        steps.push(Step::new(
            DMA_BUF,
            format!("memory_map and drop; {kind_name} {name}"),
            move || {
                let sender = Sender::new(kind, size)?;
                Ok(batch(
                    BATCH,
                    move |_| DmaBuf::from(sender.descriptor()),
                    |buffer| drop(buffer.memory_map()),
                    |_, ()| {},
                ))
            },
        ));
        steps.push(Step::new(
            DMA_BUF,
            format!("read with an empty closure, mapping kept; {kind_name} {name}"),
            move || {
                let sender = Sender::new(kind, size)?;
                let mapped = DmaBuf::from(sender.descriptor())
                    .memory_map()
                    .map_err(|e| e.to_string())?;
                Ok(each(move || mapped.read(|_, _: Option<()>| Ok(()), None).is_ok()))
            },
        ));
        let len = size.width as usize * size.height as usize * 3 / 2;
        let copy = Step::new(
            DMA_BUF,
            format!("read that copies the picture, mapping kept; {kind_name} {name}"),
            move || {
                let sender = Sender::new(kind, size)?;
                let mapped = DmaBuf::from(sender.descriptor())
                    .memory_map()
                    .map_err(|e| e.to_string())?;
                // `read` takes an `Fn`, so what the closure writes has to come in from the side.
                let to = std::cell::RefCell::new(vec![0; len]);
                Ok(each(move || {
                    let copy = |bytes: &[u8], _: Option<()>| {
                        to.borrow_mut().copy_from_slice(&bytes[..len]);
                        Ok(())
                    };
                    mapped.read(copy, None).is_ok()
                }))
            },
        );
        steps.push(copy.copying(len));
    }
    #[cfg(feature = "rivals")]
    steps.extend(smithay::steps());
    #[cfg(not(feature = "rivals"))]
    steps.push(Step::new("smithay 0.7", "Dmabuf", || {
        Err("not built: --features rivals (links libxkbcommon)".into())
    }));
    steps
}

#[cfg(feature = "rivals")]
mod smithay {
    use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufFlags, DmabufMappingMode, DmabufSyncFlags};
    use smithay::backend::allocator::{Fourcc, Modifier};

    use super::BATCH;
    use crate::memory::{Kind, SIZES, Sender};
    use crate::step::{Step, batch, each};

    const GROUP: &str = "smithay 0.7";

    pub(crate) fn steps() -> Vec<Step> {
        let mut steps = Vec::new();
        let (name, size) = SIZES[0];
        for kind in Kind::SHARED {
            let kind_name = kind.name();
            steps.push(Step::new(
                GROUP,
                format!("builder, two planes, build (nothing is checked); {kind_name}"),
                move || {
                    let sender = Sender::new(kind, size)?;
                    let layout = sender.layout().clone();
                    Ok(batch(
                        BATCH,
                        move |_| [sender.descriptor(), sender.descriptor()],
                        move |fds| build(fds, &layout),
                        |_, dmabuf| drop(dmabuf),
                    ))
                },
            ));
            steps.push(Step::new(
                GROUP,
                format!("clone and drop; {kind_name}"),
                move || {
                    let dmabuf = one(kind)?;
                    Ok(each(move || drop(dmabuf.clone())))
                },
            ));
            steps.push(Step::new(
                GROUP,
                format!("map_plane(0, READ) and drop; {kind_name} {name}"),
                move || {
                    let dmabuf = one(kind)?;
                    Ok(each(move || drop(dmabuf.map_plane(0, DmabufMappingMode::READ))))
                },
            ));
        }
        for kind in Kind::DMABUF {
            steps.push(Step::new(
                GROUP,
                format!("sync_plane(0) start and end; {}", kind.name()),
                move || {
                    let dmabuf = one(kind)?;
                    Ok(each(move || {
                        let start = dmabuf.sync_plane(0, DmabufSyncFlags::READ | DmabufSyncFlags::START);
                        let end = dmabuf.sync_plane(0, DmabufSyncFlags::READ | DmabufSyncFlags::END);
                        start.is_ok() && end.is_ok()
                    }))
                },
            ));
        }
        steps
    }

    fn one(kind: Kind) -> Result<Dmabuf, String> {
        let sender = Sender::new(kind, SIZES[0].1)?;
        Ok(build([sender.descriptor(), sender.descriptor()], sender.layout()))
    }

    fn build(fds: [std::os::fd::OwnedFd; 2], layout: &dmaframe_core::Layout) -> Dmabuf {
        let size = (1920, 1080);
        let mut builder = Dmabuf::builder(size, Fourcc::Nv12, Modifier::Linear, DmabufFlags::empty());
        for (index, (fd, plane)) in fds.into_iter().zip(layout.planes()).enumerate() {
            let offset = u32::try_from(plane.offset).expect("small");
            builder.add_plane(fd, index as u32, offset, plane.stride);
        }
        builder.build().expect("it has planes")
    }
}
