//! Whether what is being learned stands still: a new bearing runs in, a machine warms up, a fault grows.
//!
//! What settles changes ever less, towards a level: learning waits for it and forgets how it began. A machine
//! that grows quieter shows no fault, so it is waited for while it does; one that grows louder only if it clearly
//! slows down, and however that ends, louder by more than a machine may change while it is learned is suspect.
//! What grows evenly or ever faster is never waited for.

use super::fit::{Point, sketch};
use super::layout::Layout;
use super::learning::Learning;
use crate::stats::median_of;

/// A change of the median level within the learning that makes it suspect, dB.
const DRIFT_DB: f64 = 3.0;
/// A machine that changes by less is settled: levels differ as much from one day to the next, dB.
const SETTLED_DB: f64 = 0.6;
/// A fall by more within the first learning time may be settling, dB; loads of the day may hide most of it.
const HINT_DB: f64 = 0.5 * SETTLED_DB;
/// What grows louder has slowed down where the later change is at most this share of the earlier: an even
/// rise has 1, half a time constant of a decay 0.85, two of them 0.5.
const SLOWED: f64 = 0.5;
/// Times the learning time is waited for once more, at the most.
const WAITS_MAX: u32 = 3;
/// Blocks in a third of the learning, at the least; more where it was heard in pieces, which differ anyway.
const THIRD_MIN: usize = 1;
const THIRD_OF_PIECES_MIN: usize = 3;
/// A block this far under the median of its place is of a machine at rest, dB.
const REST_DB: f64 = 12.0;

/// How the levels of one operating point went, dB: from the first third of the learning to the second, and
/// from there to the last.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Trend {
    early_db: f64,
    late_db: f64,
}

/// How long a learning has waited for the machine to settle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settling {
    n_waits: u32,
    last_db: f64,
    risen_db: f64,
}

impl Trend {
    fn whole_db(self) -> f64 {
        self.early_db + self.late_db
    }

    /// Whether this may be on its way to a level, and not there yet.
    fn may_settle(self) -> bool {
        let is_slowing = self.late_db <= SLOWED * self.early_db;
        self.whole_db() < -HINT_DB || (self.whole_db() > SETTLED_DB && is_slowing)
    }
}

impl Settling {
    /// Learning times to be heard before the next look: one, and then two, of which the second is held
    /// against the first, so that what comes and goes with the day is no trend.
    pub(super) fn n_times(&self) -> f64 {
        if self.n_waits == 0 { 1.0 } else { 2.0 }
    }

    /// Whether a change from one learning time to the next goes on as before, towards a level.
    fn goes_on(&self, change_db: f64) -> bool {
        if self.last_db < 0.0 {
            change_db < -SETTLED_DB
        } else {
            (SETTLED_DB..=SLOWED * self.last_db).contains(&change_db)
        }
    }

    /// Whether to wait on for what changed most of all that settles.
    fn waits(&mut self, settling_db: impl Iterator<Item = f64>) -> bool {
        let most = settling_db.max_by(|a, b| a.abs().total_cmp(&b.abs()));
        let Some(change_db) = most.filter(|_| self.n_waits < WAITS_MAX) else { return false };
        self.n_waits += 1;
        self.last_db = change_db;
        self.risen_db += change_db.max(0.0);
        true
    }

    /// What the levels did at the last look, dB; `None` where nothing was waited for.
    pub(super) fn db(&self) -> Option<f32> {
        (self.n_waits > 0).then_some(self.last_db as f32)
    }
}

/// Whether the machine is still settling; from the second time on, `learning` then forgets its first half.
pub(super) fn waits(learning: &mut Learning, layout: &Layout) -> bool {
    if !learning.is_one_session() {
        return false;
    }
    let (baseline, points) = sketch(learning, layout);
    let places = places(learning, &points, baseline.covariate.same());
    let mut settling = learning.settling;
    let is_first = settling.n_waits == 0;
    let waits = if is_first {
        let trends = places.iter().filter_map(|own| trend(layout, own, THIRD_MIN));
        settling.waits(trends.filter(|trend| trend.may_settle()).map(Trend::whole_db))
    } else {
        let is_early =
            |p: &&&Point| learning.windows[p.block.range.start].at_s < 0.5 * learning.secs;
        let changes = places.iter().filter_map(|own| {
            let n_early = own.iter().take_while(is_early).count();
            let (early, late) = own.split_at(n_early);
            (!early.is_empty() && !late.is_empty()).then(|| change(layout, early, late))
        });
        settling.waits(changes.filter(|&change_db| learning.settling.goes_on(change_db)))
    };
    learning.settling = settling;
    if waits && !is_first {
        learning.forget_first_half();
    }
    waits
}

/// Why the levels' way through the learning is suspect, if it is.
pub(super) fn drift(
    learning: &Learning,
    layout: &Layout,
    points: &[Point],
    same: f64,
) -> Option<String> {
    let third_min = if learning.is_one_session() { THIRD_MIN } else { THIRD_OF_PIECES_MIN };
    let places = places(learning, points, same);
    let changes = places.iter().filter_map(|own| trend(layout, own, third_min));
    let change = changes.map(Trend::whole_db).max_by(|a, b| a.abs().total_cmp(&b.abs()));
    let change = change.unwrap_or(0.0);
    let risen = learning.settling.risen_db + change.max(0.0);
    let told = if change.abs() > DRIFT_DB { change } else { risen };
    (told.abs() > DRIFT_DB).then(|| format!("levels changed by {told:+.1} dB while learning"))
}

/// The blocks of each operating point in the order of time; points within `same` of each other are one.
///
/// Where nobody says the speed, what was left for good is no operating point but part of the way. Blocks of a
/// machine at rest are left out.
fn places<'a>(learning: &Learning, points: &'a [Point], same: f64) -> Vec<Vec<&'a Point>> {
    let is_way =
        learning.is_one_session() && points.windows(2).all(|pair| pair[0].regime <= pair[1].regime);
    let is_here = |a: &Point, b: &Point| {
        if same.is_infinite() { is_way || a.regime == b.regime } else { a.is_near(b, same) }
    };
    let is_first = |i: usize| !points[..i].iter().any(|point| is_here(&points[i], point));
    let each = (0..points.len()).filter(|&i| is_first(i)).map(|i| {
        let here = || points.iter().filter(|point| is_here(&points[i], point));
        let level_db = median_of(here().map(|point| point.level_db), &mut Vec::new());
        here().filter(|point| point.level_db > level_db - REST_DB).collect()
    });
    each.collect()
}

/// How one operating point went; `None` where its blocks are too few.
fn trend(layout: &Layout, own: &[&Point], third_min: usize) -> Option<Trend> {
    let third = own.len() / 3;
    let (first, rest) = own.split_at(third);
    let (middle, last) = rest.split_at(own.len() - 2 * third);
    (third >= third_min).then(|| Trend {
        early_db: change(layout, first, middle),
        late_db: change(layout, middle, last),
    })
}

/// The median change of the levels from one part of the learning to another, dB.
fn change(layout: &Layout, from: &[&Point], to: &[&Point]) -> f64 {
    let mean = |part: &[&Point], j: usize| {
        let windows = |p: &&Point| p.block.range.len() as f64;
        let sum: f64 = part.iter().map(|p| windows(p) * f64::from(p.mean[j])).sum();
        sum / part.iter().map(windows).sum::<f64>()
    };
    let levels = (0..layout.slots.len()).filter(|&j| layout.is_level(j));
    let changes = levels.map(|j| mean(to, j) - mean(from, j));
    median_of(changes.filter(|d| !d.is_nan()), &mut Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean of a level from one time to another.
    fn mean(level: &impl Fn(f64) -> f64, from: f64, to: f64) -> f64 {
        (0..100).map(|k| level(from + (to - from) * f64::from(k) / 100.0)).sum::<f64>() / 100.0
    }

    /// How often a way is waited for, in learning times, and what is counted as risen.
    fn n_waits(level: impl Fn(f64) -> f64) -> (u32, f64) {
        let third = |k: f64| mean(&level, k / 3.0, (k + 1.0) / 3.0);
        let trend = Trend { early_db: third(1.0) - third(0.0), late_db: third(2.0) - third(1.0) };
        let mut settling = Settling::default();
        let first = Some(trend.whole_db()).filter(|_| trend.may_settle());
        let mut waits = settling.waits(first.into_iter());
        for n in 1..9 {
            let n = f64::from(n);
            let change_db = mean(&level, n, n + 1.0) - mean(&level, n - 1.0, n);
            let goes_on = waits && settling.goes_on(change_db);
            waits = goes_on && settling.waits(std::iter::once(change_db));
        }
        (settling.n_waits, settling.risen_db)
    }

    #[test]
    fn a_decay_is_waited_for_until_it_is_over() {
        for tau in [0.1, 0.3, 0.7, 1.0, 1.3] {
            let decay = |t: f64| 6.0 * (-t / tau).exp();
            let (n, _) = n_waits(decay);
            let end = f64::from(n) + 1.0;
            let left = mean(&decay, end - 2.0, end);
            assert!(n > 0 && left < 1.0, "{tau}: {n} more, {left} dB too loud");
        }
        assert_eq!(n_waits(|t| 6.0 * (-t / 50.0).exp()).0, 0, "what hardly moves");
        assert_eq!(n_waits(|t| 60.0 * (-t / 3.0).exp()).0, WAITS_MAX);
    }

    #[test]
    fn a_ramp_up_is_never_waited_for_and_a_cycle_not_twice() {
        for db in [0.7, 2.0, 5.0, 30.0] {
            assert_eq!(n_waits(|t| db * t).0, 0, "{db} dB up");
            assert_eq!(n_waits(|t| db * t * t).0, 0, "ever faster");
        }
        for phase in 0..24 {
            let day = |t: f64| 2.0 * (std::f64::consts::TAU * (t + f64::from(phase) / 24.0)).sin();
            assert!(n_waits(day).0 <= 1, "phase {phase}");
        }
    }

    #[test]
    fn what_rose_and_levelled_off_is_waited_for_and_counted() {
        let (n, risen) = n_waits(|t| 8.0 * (1.0 - (-t / 0.25).exp()));
        assert!(n > 0 && risen > DRIFT_DB, "{n}, {risen}");
    }
}
