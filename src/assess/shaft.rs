//! The shaft's own faults: unbalance, misalignment, bent shaft, looseness, and a hint at resonance.

use super::drive::knocks;
use super::measure::{Level, SHAFT_ORDERS};
use super::rules::{Case, RISE_DB};
use crate::types::{Evidence, Fault, FaultCode};

/// Share of the shaft's added velocity energy that the first order has in unbalance.
const UNBALANCE_SHARE: f64 = 0.5;
/// Second order over first, in amplitude of velocity, that speaks for misalignment.
const TWICE_OVER_ONCE: f64 = 0.5;
/// Axial over radial first order, in amplitude, that speaks for a bent shaft or misalignment.
const AXIAL_OVER_RADIAL: f64 = 0.5;
/// Orders above a fifth of the first, in amplitude, that speak for looseness.
const LOOSE_ORDERS: usize = 5;
const LOOSE_SHARE: f64 = 0.2;
/// Share of all velocity energy the first order has in unbalance, where nothing is learned.
const UNBALANCE_SHARE_ALONE: f64 = 0.8;
/// What a resonance gains over both neighbouring speeds, dB.
const RESONANCE_DB: f64 = 10.0;

/// Power of each order in units of velocity (power of acceleration over order squared), summed over axes.
#[derive(Default)]
struct Added {
    radial: [f64; SHAFT_ORDERS],
    axial: [f64; SHAFT_ORDERS],
    n_axial: usize,
}

impl Added {
    /// What the axes have beyond the largest learned; all they have where nothing is learned.
    fn of(case: &Case<'_>) -> Self {
        let mut added = Self::default();
        for i in case.axes() {
            let is_axial = case.is_axial(i);
            added.n_axial += usize::from(is_axial);
            let side = if is_axial { &mut added.axial } else { &mut added.radial };
            for k in 1..=SHAFT_ORDERS {
                let place = Level::Shaft as usize + k - 1;
                let now = case.axes[i].levels[place];
                if !now.is_finite() {
                    continue;
                }
                let learned = case.normal(i, place).map_or(0.0, |n| 10f64.powf(0.1 * n.max));
                side[k - 1] += (10f64.powf(0.1 * now) - learned).max(0.0) / (k * k) as f64;
            }
        }
        added
    }

    fn order(&self, k: usize) -> f64 {
        self.radial[k - 1] + self.axial[k - 1]
    }

    fn total(&self) -> f64 {
        (1..=SHAFT_ORDERS).map(|k| self.order(k)).sum()
    }

    /// Orders at least a fifth of the first in amplitude of velocity, itself counted.
    fn n_tall(&self) -> usize {
        let floor = LOOSE_SHARE * LOOSE_SHARE * self.order(1);
        (1..=SHAFT_ORDERS).filter(|k| self.order(*k) >= floor && self.order(*k) > 0.0).count()
    }
}

/// The shaft's faults, surest first as the rules go; nothing where the speed is unknown.
///
/// With a learned normal the *added* energy is judged; without one only a machine in zone C or D is, by its
/// absolute ratios.
///
/// # Source
/// `domain.md` 4.1; ISO 13373-3:2015 annex tables.
pub(super) fn rules(case: &Case<'_>, faults: &mut Vec<Fault>) {
    if case.speed.is_none() {
        return;
    }
    if case.is_learned() {
        changed(case, faults);
    } else if case.is_severe() {
        absolute(case, faults);
    }
}

fn evidence(case: &Case<'_>, k: usize) -> Vec<Evidence> {
    let place = Level::Shaft as usize + k - 1;
    let rise = case.largest_rise(place);
    let loudest = || {
        case.axes()
            .max_by(|a, b| case.axes[*a].levels[place].total_cmp(&case.axes[*b].levels[place]))
    };
    let axis = rise.map(|(i, _)| i).or_else(loudest);
    let what = format!("level at {k} x shaft speed");
    axis.map(|i| case.line(&what, i, place, Some(k as f64))).into_iter().collect()
}

fn ratio(feature: &str, value: f64, expected: f64) -> Evidence {
    Evidence { feature: feature.into(), value, unit: "x", expected: Some(expected), order: None }
}

fn changed(case: &Case<'_>, faults: &mut Vec<Fault>) {
    let risen = |k: usize| case.largest_rise(Level::Shaft as usize + k - 1);
    let n_risen = (1..=SHAFT_ORDERS).filter(|k| risen(*k).is_some()).count();
    let added = Added::of(case);
    let amplitude = |of: f64, over: f64| (of / over.max(1e-30)).sqrt();
    if let Some((i, _)) = case.largest_rise(Level::Half as usize) {
        let line = case.line("level at half shaft speed", i, Level::Half as usize, Some(0.5));
        faults.push(case.fault(FaultCode::Looseness, 0.5, vec![line]));
    }
    let (once, twice) = (risen(1), risen(2));
    if n_risen >= LOOSE_ORDERS && added.n_tall() >= LOOSE_ORDERS {
        let mut lines = evidence(case, 1);
        lines.push(ratio("orders above a fifth of the first", added.n_tall() as f64, 1.0));
        faults.push(case.fault(FaultCode::Looseness, 0.6, lines));
    }
    let whole = amplitude(whole_order(case, 2), whole_order(case, 1));
    let is_added = amplitude(added.order(2), added.order(1)) >= TWICE_OVER_ONCE;
    if let Some((_, rise)) = twice
        && is_added
        && whole >= TWICE_OVER_ONCE
        && is_covered(case)
    {
        let mut lines = evidence(case, 2);
        lines.push(ratio("2 x over 1 x, velocity", whole, 0.2));
        faults.push(case.fault(FaultCode::Misalignment, beside_knocking(case, 0.6, rise), lines));
        return;
    }
    let Some((_, rise)) = once.filter(|_| added.order(1) >= UNBALANCE_SHARE * added.total()) else {
        return;
    };
    let axial = amplitude(added.axial[0], added.radial[0]);
    let mut lines = evidence(case, 1);
    if added.n_axial > 0 && axial >= AXIAL_OVER_RADIAL {
        lines.push(ratio("added axial over radial 1 x", axial, 0.2));
        // A coupling at an angle pushes along the shaft twice a turn as well, a bend once.
        let axial_twice = amplitude(added.axial[1], added.axial[0]);
        let is_coupling = twice.is_some() && axial_twice >= TWICE_OVER_ONCE;
        let code = if is_coupling { FaultCode::Misalignment } else { FaultCode::BentShaft };
        lines.push(ratio("added 2 x over 1 x, axial", axial_twice, 0.2));
        faults.push(case.fault(code, beside_knocking(case, 0.45, rise), lines));
        return;
    }
    lines.push(ratio(
        "share of 1 x in the shaft's added energy",
        added.order(1) / added.total(),
        0.0,
    ));
    let resonant = resonance_db(case);
    // Twice the amplitude may be a change of load, six times is not.
    let sure = 0.6 + 0.3 * ((rise - RISE_DB) / 15.0).clamp(0.0, 1.0) as f32;
    faults.push(case.fault(FaultCode::Unbalance, beside_knocking(case, sure, rise), lines));
    if let Some((db, i)) = resonant {
        let line = Evidence {
            feature: format!("1 x over the square law of neighbouring speeds, axis {}", i + 1),
            value: db,
            unit: "dB",
            expected: Some(0.0),
            order: Some(1.0),
        };
        faults.push(case.fault(FaultCode::Resonance, 0.4, vec![line]));
    }
}

/// Rise of an order that speaks for itself, whatever else is wrong, dB.
const CLEAR_DB: f64 = 12.0;
/// What is left of a shaft fault's confidence beside something that knocks: impacts shake the shaft's orders too.
const BESIDE_KNOCKING: f32 = 0.4;

/// Confidence in a fault told by an order that rose by `rise` dB.
fn beside_knocking(case: &Case<'_>, confidence: f32, rise: f64) -> f32 {
    let something_knocks = case.axes().any(|i| knocks(case, i));
    if rise < CLEAR_DB && something_knocks { BESIDE_KNOCKING * confidence } else { confidence }
}

/// Power of an order in units of velocity, all axes, learned part and all.
fn whole_order(case: &Case<'_>, k: usize) -> f64 {
    let levels = case.axes().map(|i| case.axes[i].shaft(k)).filter(|level| level.is_finite());
    levels.map(|level| 10f64.powf(0.1 * level)).sum::<f64>() / (k * k) as f64
}

/// Whether this very speed was learned: away from it, resonances move the orders against one another.
fn is_covered(case: &Case<'_>) -> bool {
    case.axes().any(|i| case.normal(i, Level::Shaft as usize).is_some_and(|n| n.covered))
}

/// How far the first order, freed of the square law, stands above the learned speeds on both sides; the axis.
fn resonance_db(case: &Case<'_>) -> Option<(f64, usize)> {
    let hz = case.speed?.hz;
    let mut best: Option<(f64, usize)> = None;
    for i in case.axes() {
        let freed = |level: f64, at_hz: f64| level - 40.0 * at_hz.log10();
        let now = freed(case.axes[i].shaft(1), hz);
        let learned = case.reference?.by_speed(case.sensor, i, Level::Shaft);
        let side = |slower: bool| {
            let on_side = learned
                .iter()
                .filter(|(at, _)| if slower { *at < 0.9 * hz } else { *at > 1.1 * hz });
            on_side.map(|(at, level)| freed(*level, *at)).reduce(f64::max)
        };
        let (Some(below), Some(above)) = (side(true), side(false)) else { continue };
        let here = learned.iter().find(|(at, _)| (at / hz).ln().abs() < 0.05);
        let (_, level) = here?;
        let gain = (now - below.max(above)).min(freed(*level, hz) - below.max(above));
        if gain >= RESONANCE_DB && best.is_none_or(|(db, _)| gain > db) {
            best = Some((gain, i));
        }
    }
    best
}

fn absolute(case: &Case<'_>, faults: &mut Vec<Fault>) {
    let Some(speed) = case.speed else { return };
    let added = Added::of(case);
    let amplitude = |of: f64, over: f64| (of / over.max(1e-30)).sqrt();
    // Only axes whose velocity is known tell how much of all vibration the shaft's orders are.
    let mut all = 0.0;
    for i in case.axes() {
        let velocity = case.axes[i].level(Level::Velocity);
        if velocity.is_finite() {
            all += 10f64.powf(0.1 * velocity);
        }
    }
    let to_mm_s = (1e3 / (std::f64::consts::TAU * speed.hz)).powi(2);
    let share = |k: usize| added.order(k) * to_mm_s / all.max(1e-30);
    let axial = amplitude(added.axial[0], added.radial[0]);
    let side_by_side = added.n_axial > 0 && added.n_axial < case.axes().count();
    let mut lines = evidence(case, 1);
    if added.n_tall() >= LOOSE_ORDERS {
        lines.push(ratio("orders above a fifth of the first", added.n_tall() as f64, 1.0));
        faults.push(case.fault(FaultCode::Looseness, 0.5, lines));
    } else if amplitude(added.order(2), added.order(1)) >= TWICE_OVER_ONCE && share(2) > 0.1 {
        lines.push(ratio("2 x over 1 x, velocity", amplitude(added.order(2), added.order(1)), 0.2));
        faults.push(case.fault(FaultCode::Misalignment, 0.5, lines));
    } else if side_by_side && axial >= AXIAL_OVER_RADIAL && share(1) > 0.5 {
        lines.push(ratio("axial over radial 1 x", axial, 0.2));
        faults.push(case.fault(FaultCode::BentShaft, 0.3, lines));
    } else if share(1) >= UNBALANCE_SHARE_ALONE {
        lines.push(ratio("share of 1 x in all velocity energy", share(1).min(1.0), 0.5));
        faults.push(case.fault(FaultCode::Unbalance, 0.5, lines));
    }
}
