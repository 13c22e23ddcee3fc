//! Weeks of a box's life in a blink: session, outbox, disk, clock and broker under chance from a seed.
//!
//! A seed that fails is run again by `AUSCULT_SEED=... cargo test --test it publish::sim`; `AUSCULT_SEEDS=FROM..TO` runs
//! any part of them.

mod disk;
mod faults;
mod world;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::rig::tier;
use world::{Planted, Sometimes, World};

/// Days each life takes before the faults stop.
const DAYS: f64 = 7.0;

fn live(seed: u64, planted: Planted) -> (Result<(), String>, Sometimes) {
    let mut world = World::new(seed, DAYS, planted);
    let outcome = world.run(DAYS);
    (outcome, world.sometimes)
}

/// The lives that were asked for.
fn seeds() -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a seed is a number");
    if let Ok(seed) = std::env::var("AUSCULT_SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match std::env::var("AUSCULT_SEEDS") {
        Ok(seeds) => {
            let (from, to) = seeds.split_once("..").expect("AUSCULT_SEEDS is FROM..TO");
            number(from)..number(to)
        }
        Err(_) => 0..tier(1_000, 20_000, 1_000_000),
    }
}

#[test]
fn whatever_happens_in_a_week_every_alert_is_told_once_and_in_order() {
    let seeds = seeds();
    let (next, sums) = (AtomicU64::new(seeds.start), Mutex::new(Sometimes::new()));
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let (outcome, sometimes) = live(seed, Planted::Nothing);
            if let Err(why) = outcome {
                println!("AUSCULT_SEED={seed} cargo test --test it publish::sim: {why}");
                failed.lock().unwrap().push(seed);
            }
            let mut sums = sums.lock().unwrap();
            for (what, n) in sometimes {
                *sums.entry(what).or_default() += n;
            }
        }
    };
    std::thread::scope(|scope| {
        for thread in [scope.spawn(work), scope.spawn(work)] {
            thread.join().unwrap();
        }
    });
    let sums = sums.into_inner().unwrap();
    println!("{} weeks: {sums:?}", seeds.end - seeds.start);
    assert_eq!(failed.into_inner().unwrap(), [0; 0], "seeds whose promises were broken");
    if seeds.end - seeds.start < 100 {
        return;
    }
    // What never happened was not tried.
    for what in [
        "acknowledgement of an older connection",
        "ask failed",
        "connected",
        "crash",
        "given up",
        "kept twice",
        "parked",
        "put back",
        "sent again",
    ] {
        assert!(sums.contains_key(what), "'{what}' never happened");
    }
}

#[test]
fn each_planted_mistake_is_noticed() {
    for planted in [
        Planted::ClearAtBrokersWord,
        Planted::ClearWhenSent,
        Planted::BelieveOldAcks,
        Planted::RowAfterState,
        Planted::RandomIds,
        Planted::NoBackOff,
    ] {
        let noticed = (0..500).find_map(|seed| {
            let why = live(seed, planted).0.err()?;
            Some((seed, why))
        });
        let (seed, why) = noticed.unwrap_or_else(|| panic!("{planted:?} goes unnoticed"));
        println!("{planted:?}: life {seed}: {why}");
    }
}
