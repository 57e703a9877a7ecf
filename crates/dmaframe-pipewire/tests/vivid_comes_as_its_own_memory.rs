//! A V4L2 camera through PipeWire's own node: the driver's dma-bufs, no byte touched by a CPU, and the right picture.

mod common;

use common::set;
use dmaframe_core::{Fourcc, Frame, Modifier, Size};
use dmaframe_pipewire::{CaptureStream, Target};
use dmaframe_testkit::{Daemon, Device, Leaks, need};

/// Luma of vivid's colour bars (75 %, BT.601): white, yellow, cyan, green, magenta, red, blue, black.
const BARS: [u8; 8] = [180, 162, 131, 112, 84, 65, 35, 16];

/// The bars' luma, in a row where vivid writes no text.
fn bars(frame: &Frame) -> Vec<u8> {
    let (size, view) = (frame.layout().size(), frame.map_read(common::PATIENCE).unwrap());
    let mut row = vec![0; frame.layout().row_bytes(0)];
    view.copy_row(0, size.height - 20, &mut row).unwrap();
    let step = if frame.fourcc() == Fourcc::YUYV { 2 } else { 1 };
    (0..8)
        .map(|bar| row[(bar * 2 + 1) * size.width as usize / 16 * step])
        .collect()
}

#[test]
fn vivid_through_pipewires_node_is_a_dmabuf_with_the_right_pixels() {
    need_pipewire!();
    let path = need!(Device::Capture("vivid"));
    let daemon = Daemon::bare();
    let node = format!(
        "{{ factory.name=api.v4l2.source api.v4l2.path={} node.name=vivid media.class=Video/Source object.linger=1 }}",
        path.display()
    );
    let before = Leaks::now();
    for fourcc in [Fourcc::YUYV, Fourcc::NV12] {
        let said = daemon.run("pw-cli", &["create-node", "spa-node-factory", &node]);
        assert!(said.status.success(), "{said:?}");
        let stream = CaptureStream::builder()
            .remote(daemon.remote())
            .name("reader")
            .target(Target::Unlinked)
            .formats(set(fourcc, &[Modifier::LINEAR]))
            .size(Size::new(640, 360))
            .framerate(30, 1)
            .start()
            .unwrap();
        daemon.link("vivid", "reader");
        let mut last = None;
        for _ in 0..15 {
            let frame = common::frame(&stream);
            assert!(matches!(frame, Frame::Dmabuf(_)), "{frame:?}");
            assert_eq!((frame.fourcc(), frame.modifier()), (fourcc, Modifier::LINEAR));
            assert_eq!(frame.layout().size(), Size::new(640, 360));
            let exporter = frame.as_dmabuf().unwrap().objects()[0].exporter();
            assert!(
                exporter.unwrap().contains("videobuf2"),
                "not the driver's own memory"
            );
            let found = bars(&frame);
            let near = found.iter().zip(BARS).all(|(a, b)| a.abs_diff(b) < 12);
            assert!(near, "{fourcc}: luma of the bars {found:?}, not {BARS:?}");
            let sequence = frame.meta().sequence.unwrap();
            assert!(
                last.is_none_or(|last| sequence > last),
                "{sequence} after {last:?}"
            );
            last = Some(sequence);
            assert!(frame.meta().timestamp.is_some());
        }
        let counts = stream.hop().counts();
        assert_eq!(
            (counts.cpu_bytes, counts.zero_copy),
            (0, counts.frames),
            "{counts}"
        );
        drop(stream);
        let id = daemon.output("pw-cli", &["ls", "Node"]);
        let id = id.split("id ").find(|part| part.contains("\"vivid\"")).unwrap();
        daemon.run("pw-cli", &["destroy", id.split(',').next().unwrap()]);
    }
    before.check();
}
