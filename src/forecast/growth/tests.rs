//! The passage against closed forms and against simulated paths; the filter against exact growth.

use super::*;
use proptest::prelude::*;

const FRAME: Frame = Frame { limit_db: 20.0, error: 1e-4, walk: 0.0, ln_a_last: 0.0 };

/// A track that stands a distance of 1 from its limit, with drift `b`, its variance `bb`, diffusion `q`.
fn track(b: f64, bb: f64, q: f64) -> Track {
    let new = Track::new(Law(0.0), &FRAME, &Point { h: 0.0, db: 10.0 }, 1.0);
    Track { b, bb, q, z: new.limit - 1.0, zz: 1e-12, zb: 0.0, ..new }
}

/// Rise that damage of amplitude e^`ln_a` makes.
fn point(h: f64, ln_a: f64) -> Point {
    Point { h, db: heard(ln_a).0 }
}

#[test]
fn powers_add() {
    // As loud as the machine itself: 3 dB; three times as loud: 10 dB.
    for (db, a) in [(3.0103, 1.0), (10.0, 3.0), (20.0, 99f64.sqrt())] {
        assert!((amplitude(db) - a).abs() < 1e-4 && (heard(a.ln()).0 - db).abs() < 1e-4);
    }
    assert_eq!(amplitude(-2.0), LEAST);
}

#[test]
fn first_passage_is_inverse_gaussian() {
    let known = track(0.01, 1e-12, 0.03 * 0.03);
    for (h, p) in [(59.1, 0.05), (95.7, 0.50), (155.5, 0.95)] {
        let got = known.passed(h);
        assert!((got - p).abs() < 0.002, "P(T < {h}) = {got}, not {p}");
    }
}

#[test]
fn an_uncertain_drift_is_integrated() {
    // Against a sum over the drift's own distribution, cut where the drift is nothing.
    let (b, sd, q) = (0.01, 0.002, 0.02 * 0.02);
    let whole = track(b, sd * sd, q);
    for h in [40.0, 80.0, 120.0, 200.0] {
        let (mut sum, mut weight) = (0.0, 0.0);
        for i in -400..=400 {
            let x = f64::from(i) / 80.0;
            let w = (-0.5 * x * x).exp();
            sum += w * track(b + x * sd, 1e-14, q).crossed(1.0, h);
            weight += w;
        }
        let (got, want) = (whole.crossed(1.0, h), sum / weight);
        assert!((got - want).abs() < 1e-4, "P(T < {h}) = {got}, not {want}");
    }
}

#[test]
fn exact_growth_of_every_law_is_followed() {
    for law in Law::ALL {
        // From a = 1 to 5 in 100 hours, evenly on the law's own scale.
        let (from, to) = (law.z(0.0), law.z(5f64.ln()));
        let at = |h: f64| point(h, law.ln_a(from + (to - from) * h / 100.0, 3.0));
        let mut track = Track::new(law, &FRAME, &at(0.0), 0.03);
        (1..=100).for_each(|h| track.step(&at(f64::from(h))));
        let truth = 100.0 * (track.limit - to) / (to - from);
        assert!(track.passed(0.98 * truth) < 0.1, "{law:?} too early");
        assert!(track.passed(1.02 * truth) > 0.9, "{law:?} too late");
    }
}

#[test]
fn a_spike_moves_little_and_a_turn_lets_go() {
    let at = |h: u32, ln_a: f64| point(f64::from(h), ln_a);
    let frame = Frame { error: 0.25, ..FRAME };
    let mut track = Track::new(Law(0.0), &frame, &at(0, 0.2), 0.01);
    (1..50).for_each(|h| track.step(&at(h, 0.2)));
    let before = track.z;
    track.step(&at(50, 2.0));
    assert!((track.z - before).abs() < 0.1, "{}", track.z);
    track.turn(0.01);
    (51..60).for_each(|h| track.step(&at(h, 2.0)));
    assert!((track.z - 2.0).abs() < 0.1, "{}", track.z);
}

proptest! {
    #[test]
    fn passage_is_a_distribution(
        k in 0..Law::ALL.len(),
        b in -0.1..0.5_f64,
        sd in 1e-6..0.2_f64,
        q in 0.0..0.1_f64,
        h in 0.0..1e4_f64,
        more in 0.0..1e3_f64,
    ) {
        let new = Track::new(Law::ALL[k], &FRAME, &point(0.0, 1.0), 1.0);
        let track = Track { b, bb: sd * sd, q, ..new };
        let (p, later) = (track.passed(h), track.passed(h + more));
        prop_assert!((0.0..=1.0).contains(&p) && (0.0..=1.0).contains(&later));
        prop_assert!(later >= p - 1e-9, "{later} after {p}");
    }
}
