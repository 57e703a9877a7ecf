//! What holds for every plan, whatever the endpoints say.

use std::collections::BTreeSet;

use dmaframe_core::negotiate::{
    FormatSet, MemoryKind, MemoryOffer, Pair, Plan, Reason, Route, Takes, Usage, negotiate, plan,
};
use dmaframe_core::quirks::{self, Case, Driver, Effect};
use dmaframe_core::{Fourcc, Modifier};
use proptest::prelude::*;

const FOURCCS: [Fourcc; 5] = [
    Fourcc::NV12,
    Fourcc::YUYV,
    Fourcc::XRGB8888,
    Fourcc::P010,
    Fourcc(0x3030_5858),
];
const MODIFIERS: [Modifier; 4] = [
    Modifier::LINEAR,
    Modifier::INVALID,
    Modifier(0x0300_0000_0060_6010),
    Modifier(0x0200_0000_0000_0001),
];
const KINDS: [MemoryKind; 7] = [
    MemoryKind::Pages,
    MemoryKind::Vmalloc,
    MemoryKind::Contiguous,
    MemoryKind::Device,
    MemoryKind::Unknown,
    MemoryKind::Shared,
    MemoryKind::Private,
];
const USAGES: [Usage; 6] = [
    Usage::Any,
    Usage::Cpu,
    Usage::Sample,
    Usage::Render,
    Usage::Scanout,
    Usage::Encode,
];
const DRIVERS: [Driver; 6] = [
    Driver::Nvidia,
    Driver::Amd,
    Driver::V3d,
    Driver::Vc4,
    Driver::Mali,
    Driver::Other,
];
const TAKES: [Takes; 3] = [Takes::Nothing, Takes::Dmabufs, Takes::Anything];

fn pick<T: Copy + std::fmt::Debug + 'static>(list: &'static [T]) -> impl Strategy<Value = T> {
    (0..list.len()).prop_map(|index| list[index])
}

fn entries() -> impl Strategy<Value = Vec<(Fourcc, Modifier, Route)>> {
    proptest::collection::vec((pick(&FOURCCS), pick(&MODIFIERS), pick(&Route::ALL)), 0..12)
}

fn set(name: &'static str) -> impl Strategy<Value = FormatSet> {
    let extras = (
        pick(&USAGES),
        proptest::option::of(1u64..3),
        proptest::option::of((pick(&DRIVERS), any::<bool>())),
        any::<bool>(),
        proptest::option::of(pick(&KINDS)),
        pick(&TAKES),
    );
    (entries(), extras).prop_map(move |(entries, (usage, device, driver, alike, own, takes))| {
        let mut set = FormatSet::new(name).with_usage(usage).takes(takes);
        for (fourcc, modifier, route) in entries {
            set = set.by(route).with(fourcc, modifier);
        }
        set = device.map_or(set.clone(), |device| set.with_device(device));
        set = driver.map_or(set.clone(), |(driver, discrete)| {
            set.with_driver(driver, discrete)
        });
        set = own.map_or(set.clone(), |kind| set.with_own_memory(kind));
        if alike { set.likes_all() } else { set }
    })
}

fn allocators() -> impl Strategy<Value = Vec<MemoryOffer>> {
    let one =
        (pick(&KINDS), set("allocator")).prop_map(|(kind, set)| MemoryOffer::new("allocator", kind, set));
    proptest::collection::vec(one, 0..3)
}

/// Every way there could be: pairs both have, by each route, in each memory.
fn ways(producer: &FormatSet, consumer: &FormatSet, allocators: &[MemoryOffer]) -> usize {
    let memories = allocators.len() + usize::from(producer.own_memory().is_some());
    let Ok(offers) = negotiate(producer, consumer) else {
        return 0;
    };
    offers
        .remaining()
        .iter()
        .map(|pair| consumer.routes(*pair).count() * memories)
        .sum()
}

fn refused_from_the_start(plan: &Plan) -> usize {
    plan.passed_over()
        .filter(|(_, why)| !matches!(why, Reason::Refused(_)))
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn candidates_are_what_both_sides_take_and_no_row_forbids(
        producer in set("producer"), consumer in set("consumer"), offers in allocators(),
    ) {
        let Ok(plan) = plan(&producer, &consumer, &offers) else { return Ok(()) };
        for candidate in plan.remaining() {
            let Pair { modifier, .. } = candidate.pair;
            prop_assert!(producer.contains(candidate.pair) && consumer.contains(candidate.pair));
            prop_assert!(consumer.routes(candidate.pair).any(|route| route == candidate.route));
            let kind = candidate.memory.kind();
            prop_assert_eq!(candidate.route.refuses(kind), None);
            prop_assert!(modifier.is_linear() || !candidate.route.wants_linear());
            let made = candidate.memory.offer().map(|index| &offers[index]);
            if let Some(offer) = made {
                prop_assert!(offer.formats.contains(candidate.pair) && producer.takes_memory().accepts(kind));
            }
            let from = made.and_then(|offer| offer.formats.device()).or(producer.device());
            if modifier.is_implicit() {
                prop_assert!(from.is_none() || consumer.device().is_none() || from == consumer.device());
            }
            let case = Case {
                driver: consumer.driver(),
                discrete: consumer.is_discrete(),
                usage: consumer.usage(),
                pair: candidate.pair,
                route: candidate.route,
                memory: kind,
            };
            prop_assert!(quirks::of(&case).all(|quirk| quirk.effect != Effect::Never));
            prop_assert_eq!(candidate.needs, quirks::needs(&case));
        }
    }

    #[test]
    fn cheaper_comes_first_and_copies_come_last(
        producer in set("producer"), consumer in set("consumer"), offers in allocators(),
    ) {
        let Ok(plan) = plan(&producer, &consumer, &offers) else { return Ok(()) };
        for two in plan.remaining().windows(2) {
            prop_assert!(two[0].cost() <= two[1].cost());
            prop_assert!(two[0].route.copies() <= two[1].route.copies());
        }
    }

    #[test]
    fn every_way_is_offered_once_or_says_why_not(
        producer in set("producer"), consumer in set("consumer"), offers in allocators(),
    ) {
        let all = ways(&producer, &consumer, &offers);
        match plan(&producer, &consumer, &offers) {
            Ok(plan) => {
                prop_assert_eq!(plan.remaining().len() + refused_from_the_start(&plan), all);
                let distinct = |c: &dmaframe_core::negotiate::Candidate| (c.pair, c.memory.offer(), c.route);
                let set: BTreeSet<_> = plan.remaining().iter().map(distinct).collect();
                prop_assert_eq!(set.len(), plan.remaining().len());
            }
            Err(why) => {
                prop_assert_eq!(why.ways.len(), all);
                let text = why.to_string();
                prop_assert!(text.contains("producer") || text.contains("consumer"));
                for (way, reason) in &why.ways {
                    let told = [way.as_str(), &reason.to_string()].join(": ");
                    prop_assert!(text.contains(&told));
                }
            }
        }
    }

    #[test]
    fn refusing_walks_through_all_and_then_tells_every_reason(
        producer in set("producer"), consumer in set("consumer"), offers in allocators(),
    ) {
        let Ok(mut plan) = plan(&producer, &consumer, &offers) else { return Ok(()) };
        let expected: Vec<_> = plan.remaining().to_vec();
        let all = ways(&producer, &consumer, &offers);
        for (index, candidate) in expected.iter().enumerate() {
            prop_assert_eq!(plan.current(), Some(candidate));
            match plan.refuse(format!("reason {index}")) {
                Ok(next) => prop_assert_eq!(Some(next), expected.get(index + 1)),
                Err(why) => {
                    prop_assert_eq!(index + 1, expected.len());
                    prop_assert_eq!(why.ways.len(), all);
                    let text = why.to_string();
                    for (index, candidate) in expected.iter().enumerate() {
                        let told = [candidate.to_string(), index.to_string()].join(": reason ");
                        prop_assert!(text.contains(&told));
                    }
                }
            }
        }
        prop_assert!(plan.current().is_none() && plan.remaining().is_empty());
        prop_assert!(plan.refuse("once more").is_err());
    }

    #[test]
    fn merging_sets_keeps_every_pair_and_route(one in set("one"), other in set("other")) {
        let mut both = one.clone();
        both.merge(&other);
        for pair in one.iter().chain(other.iter()) {
            let expected: BTreeSet<_> = one.routes(pair).chain(other.routes(pair)).collect();
            prop_assert_eq!(both.routes(pair).collect::<BTreeSet<_>>(), expected);
        }
        prop_assert_eq!(both.iter().filter(|pair| !one.contains(*pair) && !other.contains(*pair)).count(), 0);
    }
}
