//! What the shaft drives and is driven by: gears, belt, blades, the motor's field, flow noise, the film of oil.

use super::families::KNOCKS;
use super::measure::Level;
use super::rules::{Case, RISE_DB};
use crate::types::{Fault, FaultCode};

/// Rise of the high band that speaks for a failing oil film, dB.
const DRY_DB: f64 = 8.0;
/// The high band rises by so much more than the low one, dB.
const OVER_LOW_DB: f64 = 3.0;
/// Density of power gained above 5 kHz over that below it that speaks for rubbing.
const THINNER: f64 = 2.0;
/// Spread of a machine's learned level from which it was heard at several speeds or loads, dB.
const SEVERAL_DB: f64 = 3.0;
/// A rise of impulsiveness beyond this is knocking, not a carpet, dB.
const KNOCK_DB: f64 = 3.0;

/// Faults told by one risen line, all only against a learned normal.
///
/// # Source
/// `domain.md` 4.1, with its confidences.
pub(super) fn rules(case: &Case<'_>, faults: &mut Vec<Fault>) {
    if !case.is_learned() {
        return;
    }
    let line = |code, level: Level, order, confidence: f32, what: &str, faults: &mut Vec<Fault>| {
        if let Some((i, _)) = case.largest_rise(level as usize) {
            let evidence = vec![case.line(what, i, level as usize, order)];
            faults.push(case.fault(code, confidence, evidence));
        }
    };
    let config = &case.machine.config;
    let mesh = config.gears.first().map(|gear| f64::from(gear.teeth) * gear.ratio);
    let sides = case.largest_rise(Level::GearSide as usize).is_some();
    let gear_confidence = if sides { 0.7 } else { 0.5 };
    line(FaultCode::GearMesh, Level::Gear, mesh, gear_confidence, "gear mesh line", faults);
    let blades = config.blades.map(f64::from);
    line(FaultCode::BladePass, Level::Blade, blades, 0.6, "blade pass line", faults);
    let belt = config.belt.map(|belt| belt.order());
    line(FaultCode::Belt, Level::Belt, belt, 0.6, "belt line", faults);
    if !shaft_meets_field(case) {
        line(
            FaultCode::Electrical,
            Level::Electrical,
            None,
            0.6,
            "line at twice the mains",
            faults,
        );
    }
}

/// Whether a shaft harmonic sits so close to twice the line frequency that neither can be blamed.
fn shaft_meets_field(case: &Case<'_>) -> bool {
    let (Some(speed), Some(line_hz)) = (case.speed, case.machine.config.line_hz) else {
        return false;
    };
    let order = (2.0 * line_hz / speed.hz).round();
    (order * speed.hz - 2.0 * line_hz).abs() < 0.02 * line_hz
}

/// Whether something knocks on axis `i`: against its normal, or for sure where there is none.
pub(super) fn knocks(case: &Case<'_>, i: usize) -> bool {
    let now = case.axes[i].level(Level::Impulsive);
    let strong = now > 10.0 * f64::from(KNOCKS).log10();
    match case.normal(i, Level::Impulsive as usize) {
        Some(normal) => strong && normal.rise(now) >= KNOCK_DB && case.rise_of_any(i, KNOCK_DB),
        None => strong,
    }
}

/// A carpet of noise without lines and without knocking: cavitation where there are blades, else the oil film.
/// Of a machine that was heard at several speeds, only where the speed is known: it may just run faster.
pub(super) fn carpet(case: &Case<'_>, faults: &mut Vec<Fault>) {
    let high = Level::High as usize;
    let Some((i, rise)) = case.largest_rise(high) else { return };
    let learned = case.normal(i, Level::Rms as usize);
    if case.speed.is_none() && learned.is_some_and(|normal| normal.spread > SEVERAL_DB) {
        return;
    }
    let low = case.largest_rise(Level::Low as usize).map_or(0.0, |(_, rise)| rise);
    if rise < DRY_DB || low > rise - OVER_LOW_DB || case.axes().any(|i| knocks(case, i)) {
        return;
    }
    let has_blades = case.machine.config.blades.is_some();
    let has_bearing = case.machine.bearing.is_some();
    let code = if has_bearing && (!has_blades || is_rubbing(case, i)) {
        FaultCode::Lubrication
    } else if has_blades {
        FaultCode::Cavitation
    } else {
        return;
    };
    let evidence = vec![case.line("broadband level of the high band, no lines", i, high, None)];
    faults.push(case.fault(code, 0.5, evidence));
}

/// Whether what axis `i` gained is thinner where only bubbles are heard: rubbing metal begins at 5 kHz.
fn is_rubbing(case: &Case<'_>, i: usize) -> bool {
    let gained = |level: Level| {
        let power = |db: f64| 10f64.powf(0.1 * db);
        let normal = case.normal(i, level as usize)?;
        Some(power(case.axes[i].level(level)) - power(normal.max))
    };
    let (Some(below), Some(above)) = (gained(Level::Bubbles), gained(Level::Rubbing)) else {
        return false;
    };
    THINNER * below < above
}

/// Something knocks and no family of the bearing tells what.
pub(super) fn unknown(case: &Case<'_>, faults: &mut Vec<Fault>) {
    let place = Level::Impulsive as usize;
    let loudest = case
        .axes()
        .filter(|i| knocks(case, *i))
        .max_by(|a, b| case.axes[*a].levels[place].total_cmp(&case.axes[*b].levels[place]));
    if let Some(i) = loudest {
        let evidence = vec![case.line("impulsiveness of the most impulsive band", i, place, None)];
        faults.push(case.fault(FaultCode::ImpulsiveUnknown, 0.25, evidence));
    }
}

impl Case<'_> {
    /// Whether any level of power on axis `i` rose by `db`, so that knocking is not a rattle in silence.
    fn rise_of_any(&self, i: usize, db: f64) -> bool {
        let risen = |level: Level| {
            let now = self.axes[i].level(level);
            self.normal(i, level as usize).is_some_and(|n| n.rise(now) >= db.min(RISE_DB))
        };
        risen(Level::High) || risen(Level::Rms) || risen(Level::Kurtosis)
    }
}
