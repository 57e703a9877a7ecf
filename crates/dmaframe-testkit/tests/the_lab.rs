//! What tests may count on in the lab.

/// More than 65530, which is a host's usual limit on the mappings of a process: a page that stands alone is one.
const TOUCHED: usize = 80_000;
/// A power of two, so that an odd factor visits each once.
const PAGES: usize = 1 << 17;
const PAGE: usize = 4096;

#[test]
fn a_process_can_have_more_scattered_pages_than_its_host_has_mappings() {
    if !dmaframe_testkit::in_lab() {
        dmaframe_testkit::skip("a promise of the lab's kernel");
        return;
    }
    let page = |n: usize, factor: usize| n.wrapping_mul(factor) % PAGES * PAGE;
    let value = |at: usize| (at / PAGE) as u64 | 1 << 32;
    let mut memory = vec![0_u8; PAGES * PAGE];
    for at in (0..TOUCHED).map(|n| page(n, 40_503)) {
        memory[at..at + 8].copy_from_slice(&value(at).to_ne_bytes());
    }
    // All of them again, and then in the order of the addresses, with those between that were never written.
    for at in (0..TOUCHED).map(|n| page(n, 40_503)) {
        assert_eq!(memory[at..at + 8], value(at).to_ne_bytes(), "page {}", at / PAGE);
    }
    let written = (0..PAGES).filter(|n| memory[n * PAGE..n * PAGE + 8] == value(n * PAGE).to_ne_bytes());
    assert_eq!(written.count(), TOUCHED);
    let others = memory
        .chunks_exact(PAGE)
        .filter(|page| page.iter().all(|byte| *byte == 0));
    assert_eq!(others.count(), PAGES - TOUCHED);
}
