//! `FormatSet` algebra: what is offered, what never is, and that every way ends in an explanation.
#![no_main]

use std::collections::BTreeSet;

use dmaframe_core::negotiate::{FormatSet, Pair, Usage, negotiate};
use dmaframe_core::{Fourcc, Modifier};
use dmaframe_fuzz::{Code, Modified};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Side {
    name: String,
    usage: u8,
    device: Option<bool>,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Insert(Code, Modified),
    /// One that the other side is likely to have too.
    Common(u8, u8),
    Remove(Code, Modified),
    RemoveCommon(u8, u8),
}

#[derive(Arbitrary, Debug)]
struct Input {
    producer: Side,
    consumer: Side,
    reasons: Vec<String>,
}

fuzz_target!(|input: Input| {
    let (producer, consumer) = (set(&input.producer), set(&input.consumer));
    let devices = input.producer.device.zip(input.consumer.device);
    let expected = meeting(&producer, &consumer, devices.is_some_and(|(a, b)| a != b));
    let mut offers = match negotiate(&producer, &consumer) {
        Ok(offers) => offers,
        Err(why) => {
            assert!(expected.is_empty(), "{why} but these meet: {expected:?}");
            assert!(why.refused.is_empty());
            let text = why.to_string();
            assert!(text.contains(producer.name()) && text.contains(consumer.name()));
            return;
        }
    };

    let all = offers.remaining().to_vec();
    let distinct: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(distinct.len(), all.len(), "no pair is offered twice");
    assert_eq!(
        distinct, expected,
        "exactly what both have, whatever is liked better"
    );
    liking(&consumer, &all);

    let reason = |i: usize| {
        input
            .reasons
            .get(i % input.reasons.len().max(1))
            .map_or("", String::as_str)
    };
    for (index, pair) in all.iter().enumerate() {
        assert_eq!(offers.current(), Some(*pair));
        assert_eq!(offers.remaining(), &all[index..]);
        match offers.refuse(reason(index)) {
            Ok(next) => assert_eq!(Some(&next), all.get(index + 1)),
            Err(why) => {
                assert_eq!(index + 1, all.len(), "the last refusal explains");
                let refused: Vec<_> = why.refused.iter().map(|(pair, _)| *pair).collect();
                assert_eq!(refused, all);
                let text = why.to_string();
                for (i, pair) in all.iter().enumerate() {
                    assert!(text.contains(&format!("{pair}: {}", reason(i))));
                }
            }
        }
    }
    assert_eq!(offers.current(), None);
    assert!(offers.remaining().is_empty());
    let again = offers.refuse("once more").expect_err("nothing is left");
    assert_eq!(again.refused.len(), all.len(), "nothing was refused twice");
});

fn set(side: &Side) -> FormatSet {
    let usages = [
        Usage::Any,
        Usage::Cpu,
        Usage::Sample,
        Usage::Render,
        Usage::Scanout,
        Usage::Encode,
        Usage::Capture,
    ];
    let mut set =
        FormatSet::new(side.name.as_str()).with_usage(usages[usize::from(side.usage) % usages.len()]);
    if let Some(device) = side.device {
        set = set.with_device(device.into());
    }
    let mut model = BTreeSet::new();
    for step in side.steps.iter().take(64) {
        let (pair, insert) = match step {
            Step::Insert(code, modifier) => (pair(code.get(), modifier.get()), true),
            Step::Remove(code, modifier) => (pair(code.get(), modifier.get()), false),
            Step::Common(code, modifier) => (common(*code, *modifier), true),
            Step::RemoveCommon(code, modifier) => (common(*code, *modifier), false),
        };
        if insert {
            assert_eq!(set.insert(pair.fourcc, pair.modifier), model.insert(pair));
        } else {
            assert_eq!(set.remove(pair), model.remove(&pair));
        }
    }
    assert_eq!(set.iter().collect::<BTreeSet<_>>(), model);
    assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
    let through: BTreeSet<_> = set
        .fourccs()
        .flat_map(|f| set.modifiers(f).map(move |m| pair(f, m)))
        .collect();
    assert_eq!(through, model, "the formats and their modifiers are the pairs");
    assert_eq!(
        set.fourccs().count(),
        model.iter().map(|p| p.fourcc).collect::<BTreeSet<_>>().len()
    );
    set
}

fn pair(fourcc: Fourcc, modifier: Modifier) -> Pair {
    Pair { fourcc, modifier }
}

fn common(code: u8, modifier: u8) -> Pair {
    let codes = [
        Fourcc::NV12,
        Fourcc::YUYV,
        Fourcc::XRGB8888,
        Fourcc::P010,
        Fourcc::SRGGB10P,
        Fourcc(7),
    ];
    let modifiers = [
        Modifier::LINEAR,
        Modifier::INVALID,
        Modifier(1 << 56 | 1),
        Modifier(2 << 56 | 5),
    ];
    pair(
        codes[usize::from(code) % codes.len()],
        modifiers[usize::from(modifier) % modifiers.len()],
    )
}

/// The rules a second time: `Invalid` meets `Invalid` only, the CPU reads `Linear` only, an implicit layout means
/// something on one device only.
fn meeting(producer: &FormatSet, consumer: &FormatSet, apart: bool) -> BTreeSet<Pair> {
    let cpu = [producer, consumer].iter().any(|s| s.usage() == Usage::Cpu);
    let theirs: BTreeSet<_> = consumer.iter().collect();
    producer
        .iter()
        .filter(|pair| theirs.contains(pair))
        .filter(|pair| !cpu || pair.modifier == Modifier::LINEAR)
        .filter(|pair| !(apart && pair.modifier == Modifier::INVALID))
        .collect()
}

/// What the consumer named first comes first, and of one format `Invalid` comes last.
fn liking(consumer: &FormatSet, all: &[Pair]) {
    let order: Vec<_> = consumer.fourccs().collect();
    let rank = |pair: &Pair| order.iter().position(|f| *f == pair.fourcc);
    assert!(all.is_sorted_by_key(rank), "{all:?} against {order:?}");
    for two in all.windows(2).filter(|two| two[0].fourcc == two[1].fourcc) {
        assert!(
            !two[0].modifier.is_implicit(),
            "an implicit modifier is the last resort"
        );
    }
}
