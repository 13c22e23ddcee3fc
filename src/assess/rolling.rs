//! Which part of the rolling bearing: the decision on its families of lines.

use super::drive::knocks;
use super::measure::{BALL, FAMILIES, INNER, Level, bearing_orders};
use super::rules::Case;
use crate::types::{Evidence, Fault, FaultCode};

/// Chance of a family where there is nothing, all families and places looked at together.
const ALPHA: f64 = 1e-4;
/// The same for a record that stands alone, without a normal and without others before it.
const ALPHA_ALONE: f64 = 1e-9;
/// Rise of a family over its learned level, dB.
const RISE_DB: f64 = 6.0;
/// Of the last so many records, this many must agree where no normal is known.
const MEMORY: u32 = 5;
const AGREE: u32 = 3;

const CODES: [FaultCode; FAMILIES] =
    [FaultCode::OuterRace, FaultCode::InnerRace, FaultCode::Ball, FaultCode::Cage];
const NAMES: [&str; FAMILIES] = ["BPFO", "BPFI", "2 BSF", "FTF"];

/// In which of the last records each family stood, newest in the lowest bit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Persistence([u8; FAMILIES]);

impl Persistence {
    fn push(&mut self, family: usize, stood: bool) -> bool {
        let ring = &mut self.0[family];
        *ring = (*ring << 1 | u8::from(stood)) & ((1 << MEMORY) - 1);
        ring.count_ones() >= AGREE
    }
}

/// One family on its best axis.
#[derive(Clone, Copy)]
struct Candidate {
    family: usize,
    axis: usize,
    ln_p: f64,
    persistent: bool,
}

/// Names the bearing's fault where a family of lines stands beyond doubt and, where a normal is known, beyond it.
///
/// # Source
/// `domain.md` 3.4 decision (i)-(v).
pub(super) fn rules(case: &Case<'_>, persistence: &mut Persistence, faults: &mut Vec<Fault>) {
    let (Some(orders), Some(_)) = (&case.machine.bearing, case.speed) else { return };
    let n_looked: usize = case.axes().map(|i| case.axes[i].n_looked).sum();
    let n_families =
        (0..FAMILIES).filter(|f| case.axes().any(|i| case.axes[i].families[*f].is_some())).count();
    let limit = (ALPHA / n_families.max(1) as f64).ln();
    let mut best: [Option<Candidate>; FAMILIES] = [None; FAMILIES];
    for family in 0..FAMILIES {
        let candidate = strongest(case, family, n_looked, limit);
        let persistent = persistence.push(family, candidate.is_some());
        best[family] = candidate
            .map(|candidate| Candidate { persistent, ..candidate })
            .filter(|candidate| is_named(case, candidate));
    }
    let top = best.iter().flatten().map(|c| -c.ln_p).fold(0.0, f64::max);
    for candidate in best.into_iter().flatten() {
        let sure = confidence(case, &candidate, limit) * (-candidate.ln_p / top).sqrt();
        let order = bearing_orders(orders)[candidate.family];
        let lines = evidence(case, &candidate, order);
        faults.push(case.fault(CODES[candidate.family], sure as f32, lines));
    }
}

/// The axis on which a family stands out most, all places looked at paid for; `None` where it does not stand.
fn strongest(case: &Case<'_>, family: usize, n_looked: usize, limit: f64) -> Option<Candidate> {
    let place = Level::Family as usize + family;
    let mut best: Option<Candidate> = None;
    for axis in case.axes() {
        let measured = &case.axes[axis];
        let Some((found, _)) = &measured.families[family] else { continue };
        let ln_p = found.ln_p + (n_looked.max(1) as f64).ln();
        let rises = case
            .normal(axis, place)
            .is_none_or(|normal| normal.rise(measured.levels[place]) >= RISE_DB);
        if ln_p < limit
            && found.n_standing() >= 2
            && rises
            && best.is_none_or(|best| ln_p < best.ln_p)
        {
            best = Some(Candidate { family, axis, ln_p, persistent: false });
        }
    }
    best
}

fn is_named(case: &Case<'_>, candidate: &Candidate) -> bool {
    if case.normal(candidate.axis, Level::Family as usize + candidate.family).is_some() {
        return true;
    }
    // Healthy bearings have faint lines of their own: without a normal to compare with, they must also knock.
    knocks(case, candidate.axis) && (candidate.persistent || candidate.ln_p < ALPHA_ALONE.ln())
}

fn confidence(case: &Case<'_>, candidate: &Candidate, limit: f64) -> f64 {
    let decades = (limit - candidate.ln_p) / std::f64::consts::LN_10;
    let sides = case.axes[candidate.axis].sidebands[candidate.family];
    let sided = match candidate.family {
        INNER | BALL => 0.1 * f64::from(sides.min(1)),
        _ => 0.1,
    };
    let persistent = if candidate.persistent { 0.1 } else { 0.0 };
    (0.5 + 0.25 * (decades / 10.0).min(1.0) + sided + persistent).min(0.95)
}

fn evidence(case: &Case<'_>, candidate: &Candidate, order: f64) -> Vec<Evidence> {
    let measured = &case.axes[candidate.axis];
    let Some((found, band_hz)) = &measured.families[candidate.family] else { return Vec::new() };
    let name = NAMES[candidate.family];
    let mut lines = Vec::new();
    for (h, line) in found.lines.iter().enumerate() {
        let Some(line) = line.filter(|line| line.p < 1e-2) else { continue };
        lines.push(Evidence {
            feature: format!(
                "envelope line at {} x {name}, {:.1} Hz, axis {}, band {:.0}-{:.0} Hz",
                h + 1,
                line.hz,
                candidate.axis + 1,
                band_hz.0,
                band_hz.1
            ),
            value: 10.0 * line.ratio.max(1e-3).log10(),
            unit: "dB",
            expected: Some(0.0),
            order: case.speed.map(|speed| line.hz / speed.hz),
        });
    }
    lines.push(Evidence {
        feature: format!("{name} found over expected"),
        value: found.scale,
        unit: "x",
        expected: Some(1.0),
        order: Some(order),
    });
    if measured.sidebands[candidate.family] > 0 {
        let spacing = if candidate.family == INNER { "shaft speed" } else { "cage speed" };
        lines.push(Evidence {
            feature: format!("harmonics with side lines at {spacing}"),
            value: f64::from(measured.sidebands[candidate.family]),
            unit: "x",
            expected: Some(0.0),
            order: None,
        });
    }
    lines
}
