//! The accounting against a model of it, and under threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32};

use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_secs(1_000);

fn scope() -> Scope {
    Scope::new("000000000000", "us-east-1")
}

/// What is done to one of a few functions.
#[derive(Debug, Clone)]
enum Step {
    Admit(usize, bool),
    /// Ends one of those under way.
    End(usize),
    Reserve(usize, Option<u32>),
    Allocate(usize),
    Release(usize),
}

const FUNCTIONS: usize = 3;
const LIMIT: u32 = 8;

fn step() -> impl Strategy<Value = Step> {
    let function = 0..FUNCTIONS;
    prop_oneof![
        6 => (function.clone(), any::<bool>()).prop_map(|(function, ahead)| Step::Admit(function, ahead)),
        4 => any::<usize>().prop_map(Step::End),
        1 => (function.clone(), proptest::option::of(0..6u32)).prop_map(|(f, r)| Step::Reserve(f, r)),
        1 => function.clone().prop_map(Step::Allocate),
        1 => function.prop_map(Step::Release),
    ]
}

/// The rules, written down a second time.
#[derive(Debug, Default, Clone)]
struct Model {
    on_demand: u32,
    ahead: u32,
    reserved: Option<u32>,
    allocated: u32,
}

proptest! {
    #[test]
    fn admission_follows_the_model(steps in proptest::collection::vec(step(), 1..200)) {
        let limits = Limits::new(LIMIT, 1_000);
        let names = ["a", "b", "c"];
        let functions: Vec<_> = names.iter().map(|name| limits.function(&scope(), name)).collect();
        let mut models = vec![Model::default(); FUNCTIONS];
        let mut under_way: Vec<(usize, bool, bool, Running<'_>)> = Vec::new();
        for step in steps {
            match step {
                Step::Admit(at, ahead) => {
                    let claimed: u32 =
                        models.iter().map(|m| m.reserved.unwrap_or(m.allocated)).sum();
                    let in_room = under_way.iter().filter(|(_, _, in_room, _)| *in_room).count();
                    let room = LIMIT.saturating_sub(claimed) as usize;
                    let m = &mut models[at];
                    let expected = match m.reserved {
                        Some(reserved) if m.on_demand + m.ahead >= reserved => Err(RESERVED),
                        Some(reserved) if !ahead && m.on_demand >= reserved.saturating_sub(m.allocated) => {
                            Err(RESERVED)
                        }
                        None if !ahead && in_room >= room => Err(ACCOUNT),
                        _ => Ok(()),
                    };
                    let kind = if ahead { Kind::Provisioned } else { Kind::OnDemand };
                    let admitted = functions[at].admit(kind);
                    prop_assert_eq!(admitted.as_ref().map(|_| ()).map_err(|reason| *reason), expected);
                    if let Ok(running) = admitted {
                        let shares = m.reserved.is_none() && !ahead;
                        *(if ahead { &mut m.ahead } else { &mut m.on_demand }) += 1;
                        under_way.push((at, ahead, shares, running));
                    }
                }
                Step::End(which) if !under_way.is_empty() => {
                    let which = which % under_way.len();
                    let (at, ahead, ..) = under_way.swap_remove(which);
                    *(if ahead { &mut models[at].ahead } else { &mut models[at].on_demand }) -= 1;
                }
                Step::End(_) => {}
                Step::Reserve(at, reserved) => {
                    limits.reserve(&scope(), names[at], reserved);
                    models[at].reserved = reserved;
                }
                Step::Allocate(at) => {
                    functions[at].allocated(1);
                    models[at].allocated += 1;
                }
                Step::Release(at) if models[at].allocated > 0 => {
                    functions[at].released(1);
                    models[at].allocated -= 1;
                }
                Step::Release(_) => {}
            }
        }
        let shown: BTreeMap<_, _> = limits.usage().into_iter().map(|u| (u.name.to_string(), u)).collect();
        for (name, m) in names.iter().zip(&models) {
            let usage = &shown[*name];
            prop_assert_eq!((usage.on_demand, usage.provisioned), (m.on_demand, m.ahead));
            prop_assert_eq!((usage.reserved, usage.allocated), (m.reserved, m.allocated));
        }
        drop(under_way);
        for (at, name) in names.iter().enumerate() {
            limits.reserve(&scope(), name, None);
            functions[at].released(models[at].allocated);
        }
        prop_assert!(limits.usage().iter().all(|usage| usage.on_demand == 0 && usage.provisioned == 0));
        // All of it is there again.
        let all: Vec<_> = (0..LIMIT).map(|_| functions[0].admit(Kind::OnDemand).unwrap()).collect();
        prop_assert_eq!(functions[1].admit(Kind::OnDemand).unwrap_err(), ACCOUNT);
        drop(all);
        drop(functions);
        limits.forget();
        prop_assert!(limits.usage().is_empty());
    }

    #[test]
    fn starts_never_exceed_the_rate(rate in 1..50u32, gaps in proptest::collection::vec(0..2_000u64, 1..300)) {
        let mut bucket = Bucket::new(rate);
        let mut now = NOW;
        let mut starts: Vec<Duration> = Vec::new();
        for gap in gaps {
            now += Duration::from_millis(gap);
            if bucket.take(now) {
                starts.push(now);
            }
            // A full bucket, and what refills in the meantime.
            let lately = starts.iter().filter(|start| now - **start < WINDOW).count();
            prop_assert!(lately <= 2 * rate as usize);
        }
    }
}

#[test]
fn threads_never_exceed_a_limit() {
    let limits = Limits::new(5, 1_000);
    limits.reserve(&scope(), "reserved", Some(2));
    let functions = ["reserved", "one", "two"].map(|name| limits.function(&scope(), name));
    let (shared, own) = (AtomicU32::new(0), AtomicU32::new(0));
    let exceeded = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for worker in 0..6 {
            let (functions, shared, own, exceeded) = (&functions, &shared, &own, &exceeded);
            threads.spawn(move || {
                for round in 0..5_000 {
                    let at = (worker + round) % 3;
                    let (count, most) = if at == 0 { (own, 2) } else { (shared, 3) };
                    if let Ok(running) = functions[at].admit(Kind::OnDemand) {
                        if count.fetch_add(1, Ordering::SeqCst) >= most {
                            exceeded.store(true, Ordering::SeqCst);
                        }
                        count.fetch_sub(1, Ordering::SeqCst);
                        drop(running);
                    }
                }
            });
        }
    });
    assert!(!exceeded.load(Ordering::SeqCst));
    let usage = limits.usage();
    assert!(usage.iter().all(|usage| (usage.on_demand, usage.provisioned) == (0, 0)), "{usage:?}");
}

#[test]
fn the_bucket_refills_evenly_and_survives_the_clock() {
    let mut bucket = Bucket::new(10);
    assert!((0..10).all(|_| bucket.take(NOW)) && !bucket.take(NOW));
    bucket.give_back();
    assert!(bucket.take(NOW) && !bucket.take(NOW));
    let second = Duration::from_secs(1);
    assert!(bucket.take(NOW + second) && !bucket.take(NOW + second));
    assert!((0..10).all(|_| bucket.take(NOW + 100 * second)));
    let before = NOW - 500 * second;
    assert!(bucket.take(before), "a clock that was put back stops nothing");
}

#[test]
fn zero_reserved_lets_nothing_in() {
    let limits = Limits::default();
    limits.reserve(&scope(), "f", Some(0));
    let function = limits.function(&scope(), "f");
    assert_eq!(function.admit(Kind::OnDemand).unwrap_err(), RESERVED);
    assert_eq!(function.throttles.get(), 1);
    limits.reserve(&scope(), "f", None);
    assert!(function.admit(Kind::OnDemand).is_ok());
    limits.reserve(&scope(), "unknown", None);
    assert_eq!(limits.usage().len(), 1);
}
