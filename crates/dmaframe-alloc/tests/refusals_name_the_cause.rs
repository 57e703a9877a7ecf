//! A refusal names the device, the number and the limit, and says what would help; a chain keeps all of them.

use std::os::unix::process::CommandExt;
use std::process::Command;

use dmaframe_alloc::{
    Allocator, Bytes, Chain, DmaHeap, Error, FramePool, MAX_SLOTS, Memfd, Request, Udmabuf,
};
use dmaframe_core::{Fourcc, Modifier, Size, next_generation};
use dmaframe_testkit::{Device, need, skip};

fn request() -> Request {
    Request::new(Fourcc::NV12, Size::new(64, 64))
}

#[test]
fn a_missing_node_names_its_kernel_option() {
    let error = Udmabuf::at("/nowhere/udmabuf").probe().unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("/nowhere/udmabuf") && text.contains("CONFIG_UDMABUF"),
        "{text}"
    );
    assert!(text.contains("modprobe udmabuf"), "{text}");

    let error = DmaHeap::named("no-such-heap").probe().unwrap_err().to_string();
    assert!(
        error.contains("/dev/dma_heap/no-such-heap does not exist"),
        "{error}"
    );
    if DmaHeap::list().is_empty() {
        assert!(error.contains("CONFIG_DMABUF_HEAPS"), "{error}");
    } else {
        assert!(
            error.contains("the heaps of this machine are") && error.contains("system"),
            "{error}"
        );
    }
}

#[test]
fn a_node_of_something_else_is_told_from_a_missing_one() {
    for allocator in [
        &Udmabuf::at("/dev/null") as &dyn Allocator,
        &DmaHeap::at("/dev/null"),
    ] {
        let layout = allocator.plan(&request()).unwrap();
        let error = allocator.allocate(&layout, 0).unwrap_err();
        assert!(matches!(error, Error::NoDriver { .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .starts_with("/dev/null is there, but its driver is not"),
            "{error}"
        );
    }
}

#[test]
fn udmabufs_size_limit_is_told_with_the_parameter_that_sets_it() {
    need!(Device::Udmabuf);
    let udmabuf = Udmabuf::new();
    let Some(limit) = udmabuf.probe().unwrap().max_object_len else {
        return skip("/sys/module/udmabuf/parameters/size_limit_mb cannot be read");
    };
    // One row more than the limit holds.
    let width = 1 << 14;
    let rows = u32::try_from(limit / u64::from(width)).unwrap();
    let fits = Request::new(Fourcc::R8, Size::new(width, rows));
    assert!(udmabuf.plan(&fits).is_ok());
    let error = udmabuf
        .plan(&Request::new(Fourcc::R8, Size::new(width, rows + 1)))
        .unwrap_err();
    let Error::TooLarge {
        found, limit: told, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((found, told), (limit + u64::from(width), limit));
    assert!(
        error
            .to_string()
            .contains(&format!("size_limit_mb is {}", limit >> 20)),
        "{error}"
    );
    // And the chain goes on to a heap, which has no such limit.
    need!(Device::SystemHeap);
    let chain = Chain::new(udmabuf).or(DmaHeap::system());
    chain
        .plan(&Request::new(Fourcc::R8, Size::new(width, rows + 1)))
        .unwrap();
    let verdict = chain.verdict();
    assert_eq!(verdict.chosen.as_deref(), Some("dma_heap/system"));
    assert!(
        matches!(verdict.passed_over[0].reason, Error::TooLarge { .. }),
        "{verdict}"
    );
}

/// Runs itself again as a user who may not open the node.
#[test]
fn a_forbidden_node_names_its_mode_and_group() {
    const CHILD: &str = "DMAFRAME_TEST_FORBIDDEN";
    if std::env::var_os(CHILD).is_some() {
        let error = Udmabuf::new().probe().unwrap_err();
        let Error::Denied { mode, .. } = error else {
            panic!("{error:?}")
        };
        let text = error.to_string();
        assert!(
            text.contains(&format!(
                "/dev/udmabuf may not be opened by this process: mode {mode:04o}, uid 0"
            )),
            "{text}"
        );
        assert!(text.contains("(gid "), "{text}");
        return;
    }
    need!(Device::Udmabuf);
    if !rustix::process::geteuid().is_root() {
        return skip("only root can become another user");
    }
    // The other user may not reach the build folder (a home of mode 0700).
    let binary = std::env::temp_dir().join(format!("forbidden-{}", std::process::id()));
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let child = Command::new(&binary)
        .current_dir("/")
        .args([
            "--exact",
            "a_forbidden_node_names_its_mode_and_group",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    std::fs::remove_file(binary).unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stderr)
    );
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

#[test]
fn a_chain_asks_in_order_and_explains_all() {
    let chain = Chain::new(Udmabuf::at("/nowhere/udmabuf"))
        .or(DmaHeap::at("/nowhere/system"))
        .or(Memfd::new())
        .or(Bytes::new());
    let buffers = chain.allocate_set(&request(), 3, next_generation()).unwrap();
    assert_eq!(buffers.len(), 3);
    assert!(
        buffers.iter().all(|b| b.objects().len() == 1),
        "all from one allocator"
    );
    let verdict = chain.verdict();
    assert_eq!(verdict.chosen.as_deref(), Some("memfd"));
    let over: Vec<_> = verdict.passed_over.iter().map(|p| &*p.allocator).collect();
    assert_eq!(over, ["udmabuf", "dma_heap/system"]);
    let text = verdict.to_string();
    assert!(
        text.contains("/nowhere/udmabuf does not exist") && text.ends_with("; memfd taken"),
        "{text}"
    );
}

#[test]
fn a_chain_that_fails_names_every_reason() {
    let chain = Chain::new(Udmabuf::at("/nowhere/udmabuf")).or(Memfd::new());
    let tiled = request().modifiers([Modifier(0x0100_0000_0000_0001)]);
    let error = chain.plan(&tiled).unwrap_err();
    let Error::NoAllocator(verdict) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(verdict.passed_over.len(), 2);
    let text = error.to_string();
    assert!(
        text.starts_with("no allocator can do it: udmabuf passed over"),
        "{text}"
    );
    assert!(
        text.contains("memfd makes NV12 in none of the modifiers asked for (INTEL:"),
        "{text}"
    );
    assert!(text.contains("it makes LINEAR only"), "{text}");
}

#[test]
fn implicit_is_not_taken_for_linear() {
    let request = request().modifiers([Modifier::INVALID]);
    assert!(matches!(Memfd::new().plan(&request), Err(Error::Modifier { .. })));
}

#[test]
fn sizes_nobody_has_are_errors_and_not_aborts() {
    // More than an address can point at, and more than any machine has.
    for size in [Size::new(500_000_000, u32::MAX), Size::new(1 << 20, 1 << 24)] {
        for allocator in [&Memfd::new() as &dyn Allocator, &Bytes::new(), &DmaHeap::system()] {
            let huge = Request::new(Fourcc::ABGR16161616F, size);
            let error = allocator
                .plan(&huge)
                .and_then(|layout| allocator.allocate(&layout, 0))
                .unwrap_err();
            assert!(
                matches!(error, Error::TooLarge { .. }),
                "{} {error:?}",
                allocator.name()
            );
        }
    }
    assert!(
        Memfd::new()
            .plan(&Request::new(Fourcc::NV12, Size::new(0, 1)))
            .is_err()
    );
    assert!(
        Memfd::new()
            .plan(&Request::new(Fourcc(1), Size::new(1, 1)))
            .is_err()
    );
}

#[test]
fn a_builder_that_failed_comes_back() {
    let rejected = FramePool::builder(request())
        .slots(0)
        .allocator(Bytes::new())
        .build()
        .unwrap_err();
    assert_eq!(
        rejected.to_string(),
        format!("a pool of 0 slots was asked for; 1 to {MAX_SLOTS} are possible")
    );
    let pool = rejected.value.slots(2).build().unwrap();
    assert_eq!(pool.slots(), 2);
    assert!(FramePool::builder(request()).slots(usize::MAX).build().is_err());
}
