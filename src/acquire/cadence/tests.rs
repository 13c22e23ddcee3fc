//! Rates and stamps against a clock that tells what it is told.

use std::sync::Mutex;

use super::*;
use crate::types::{Origin, Unit};

struct Set(Mutex<Span>);

impl Clock for Set {
    fn now(&self) -> Stamp {
        Stamp(1_000_000_000_000 + self.monotonic().0)
    }
    fn monotonic(&self) -> Span {
        *self.0.lock().unwrap()
    }
}

fn run(true_hz: f64, secs: f64) -> Cadence {
    let mut pace = Cadence::new(48_000.0);
    let n_blocks = (secs / 0.1) as u64;
    for k in 0..n_blocks {
        // Arrival jitter of up to 4 ms, from a fixed pattern.
        let jitter = (k * 7919 % 41) as f64 * 1e-4;
        pace.mark(Span::from_secs(k as f64 * 4800.0 / true_hz + jitter), k * 4800);
    }
    pace
}

#[test]
fn a_rate_half_a_percent_off_is_seen_and_a_smaller_one_is_only_measured() {
    let check = |true_hz: f64, off: bool| assert_eq!(run(true_hz, 25.0).is_off(), off, "{true_hz}");
    check(48_000.0, false);
    check(48_100.0, false);
    check(48_500.0, true);
    check(47_500.0, true);
    check(44_100.0, true);
}

#[test]
fn the_clock_error_is_known_within_20_ppm_after_an_hour() {
    for truth in [-500.0, -100.0, 0.0, 100.0, 500.0] {
        let ppm = run(48_000.0 * (1.0 + truth * 1e-6), 3700.0).ppm().unwrap();
        assert!((ppm - truth).abs() < 20.0, "{ppm} for {truth}");
    }
}

#[test]
fn frames_are_numbered_without_a_hole_and_stamped_within_a_few_milliseconds() {
    let clock = Arc::new(Set(Mutex::new(Span(0))));
    let mut timeline = Timeline::new(clock.clone(), 1000.0);
    let mut frame = Frame::empty(Origin::new("a", "s"), 1000.0, Unit::G, 1);
    let mut next = 0;
    for k in (1..50).chain(51..200_u64) {
        let at = Span::from_secs(k as f64 * 0.1 + (k * 31 % 7) as f64 * 1e-3);
        *clock.0.lock().unwrap() = at;
        let n_lost = if k == 51 { 100 } else { 0 };
        frame.samples = vec![0.0; 100];
        frame.quality = Quality::GOOD;
        timeline.stamp(&mut frame, n_lost, at);
        assert_eq!(frame.origin.first_sample, next + n_lost);
        next += n_lost + 100;
        assert_eq!(frame.quality.has(Quality::DROPOUT), k == 51);
        let truth = 1000.0 + (k as f64 - 1.0) * 0.1;
        let error = frame.start.0 as f64 * 1e-9 - truth;
        assert!(error.abs() < 0.008, "frame {k} is {error} s off");
    }
}

#[test]
fn a_wrong_rate_is_flagged_however_wrong_and_a_standstill_is_not_a_wrong_rate() {
    let check = |secs_per_frame: f64, standstill: f64, off: bool| {
        let clock = Arc::new(Set(Mutex::new(Span(0))));
        let mut timeline = Timeline::new(clock.clone(), 1000.0);
        let mut frame = Frame::empty(Origin::new("a", "s"), 1000.0, Unit::G, 1);
        frame.samples = vec![0.0; 100];
        for k in 0..(25.0 / secs_per_frame) as u64 {
            let late = if k as f64 * secs_per_frame > 5.0 { standstill } else { 0.0 };
            timeline.stamp(&mut frame, 0, Span::from_secs(k as f64 * secs_per_frame + late));
        }
        assert_eq!(frame.quality.has(Quality::RATE), off, "{secs_per_frame} {standstill}");
    };
    check(0.1, 0.0, false);
    check(0.1, 1.5, false);
    check(0.102, 0.0, true);
    check(0.2, 0.0, true);
    check(0.02, 0.0, true);
}
