//! What is on the screen is the picture that the CPU converts.

use std::time::Duration;

use dmaframe::v4l2::Device as Camera;
use dmaframe_testkit::{Device, need};

use crate::common::picture::read_png;
use crate::common::screens::{Sway, Weston, Xvfb};
use crate::common::{changes, interrupt};
use crate::preview::{Preview, SIZE, comes, expected, number, turn};

#[test]
fn on_wayland_the_screen_shows_the_cpus_picture_at_every_size_and_scale() {
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(sway) = Sway::start(SIZE, 30) else { return };
    let preview = Preview::start(&device, |command| sway.environment(command));
    comes("whole screen", &picture, || sway.shot());

    // While it runs: bars above and below, bars beside, and turned by the desktop's idea of a scale.
    for size in [(320, 240), (400, 180)] {
        sway.command(&format!(
            "output HEADLESS-1 mode --custom {}x{}@30Hz",
            size.0, size.1
        ));
        comes(&format!("{size:?}"), &picture.within(size), || sway.shot());
    }
    sway.command("output HEADLESS-1 mode --custom 320x180@30Hz");
    sway.command("output HEADLESS-1 scale 1.25");
    comes("scale 1.25", &picture, || sway.shot());
    sway.command("output HEADLESS-1 scale 1");

    // Hidden, nobody asks for pictures: the camera's come and go all the same, and the one of now is shown afterwards.
    sway.command("workspace 2");
    std::thread::sleep(Duration::from_secs(2));
    let camera = Camera::open(&device).unwrap();
    camera.set_menu("Test Pattern", "100% Black").unwrap();
    sway.command("workspace 1");
    changes("black picture", || sway.shot().is_black());
    camera.set_menu("Test Pattern", "75% Colorbar").unwrap();
    comes("seen again", &picture, || sway.shot());
    sway.command("[app_id=\".*\"] kill");
    let report = preview.report();
    print!("{report}");
    assert!(number(&report, "replaced before shown") >= 1, "{report}");
    assert!(report.contains("wgpu:buffer"), "{report}");
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
}

/// Another compositor, whose renderer is OpenGL.
#[test]
fn on_westons_gl_renderer_the_screen_shows_the_cpus_picture() {
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(weston) = Weston::start(SIZE) else { return };
    let preview = Preview::start(&device, |command| weston.environment(command));
    comes("whole screen", &picture, || weston.shot());
    let camera = Camera::open(&device).unwrap();
    camera.set_menu("Test Pattern", "100% Black").unwrap();
    changes("black picture", || weston.shot().is_black());
    interrupt(&preview.0);
    let report = preview.report();
    print!("{report}");
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
}

#[test]
fn on_x11_keys_turn_mirror_and_freeze_what_is_seen_also_after_the_display_hung() {
    let device = need!(Device::Capture("vivid"));
    let _turn = turn();
    let picture = expected(&device);
    let Some(screen) = Xvfb::start((400, 400)) else {
        return;
    };
    let folder = std::env::temp_dir().join(format!("window-photos-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let preview = Preview::start(&device, |command| {
        screen.environment(command);
        command.current_dir(&folder);
    });
    let window = screen.window();
    comes("as it is", &picture, || screen.shot(SIZE));
    let mirrored = picture.mirrored();
    screen.key('m');
    comes("mirrored", &mirrored, || screen.shot(SIZE));
    // A window of that shape, so that it is pixel for pixel again.
    screen.resize(window, (180, 320));
    screen.key('r');
    let turned = mirrored.turned();
    comes("turned", &turned, || screen.shot((180, 320)));
    // What is seen is mirrored left to right, also when it was turned before.
    screen.key('m');
    comes("mirrored again", &turned.mirrored(), || screen.shot((180, 320)));
    screen.key('m');
    comes("and back", &turned, || screen.shot((180, 320)));

    screen.key('i');
    changes("text over the picture", || {
        screen.shot((180, 320)).worst(&turned) > 100
    });
    screen.key('i');
    comes("without text", &turned, || screen.shot((180, 320)));

    // The next filter is grey, and so is the photo of it.
    screen.key('f');
    changes("grey picture", || screen.shot((180, 320)).is_grey());
    let grey = screen.shot((180, 320));
    screen.key('p');
    let photo = folder.join("photo-1.png");
    changes("photo", || {
        std::fs::read(&photo).is_ok_and(|file| file.ends_with(b"IEND\xaeB\x60\x82"))
    });
    let photo = read_png(&std::fs::read(&photo).unwrap());
    assert!(photo.worst(&grey) <= 2, "{}", photo.sketch(&grey));
    for _ in 0..8 {
        screen.key('f');
    }
    comes("colours again", &turned, || screen.shot((180, 320)));

    // Frozen, the picture stays, whatever the camera sees and the window's shape is.
    screen.key(' ');
    std::thread::sleep(Duration::from_millis(300));
    let camera = Camera::open(&device).unwrap();
    camera.set_menu("Test Pattern", "100% Black").unwrap();
    screen.resize(window, (180, 360));
    let frozen = turned.within((180, 360));
    comes("frozen", &frozen, || screen.shot((180, 360)));
    std::thread::sleep(Duration::from_secs(1));
    comes("still frozen", &frozen, || screen.shot((180, 360)));
    screen.key(' ');
    changes("black picture", || screen.shot((180, 360)).is_black());

    // A display that answers nobody for a while; pictures go on when it does.
    screen.hang(Duration::from_secs(3));
    camera.set_menu("Test Pattern", "75% Colorbar").unwrap();
    comes("pictures again", &frozen, || screen.shot((180, 360)));
    screen.key('q');
    let report = preview.report();
    std::fs::remove_dir_all(folder).unwrap();
    print!("{report}");
    assert!(report.contains("CPU bytes/frame: 0\n"), "{report}");
}
