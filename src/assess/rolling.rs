//! Which part of the rolling bearing: the decision on its families of lines.

use super::Orders;
use super::drive::knocks;
use super::families::{BALL, CAGE, FAMILIES, INNER, Seen, bearing_orders};
use super::family::{Found, Line};
use super::measure::Level;
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

/// Confidence of lines that do not knock, at the most.
const LINES_ONLY: f64 = 0.65;
/// What is left of it where something else knocks.
const BESIDE_KNOCKS: f64 = 0.5;

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
    seen: Seen,
    ln_p: f64,
    persistent: bool,
}

impl Candidate {
    /// Whether it goes before `other`: lines that knock go before lines that do not, then the less likely by chance.
    fn beats(&self, other: &Self) -> bool {
        (self.seen.knocks, -self.ln_p) > (other.seen.knocks, -other.ln_p)
    }
}

/// Names the bearing's fault where a family of lines stands beyond doubt and, where a normal is known, beyond it.
///
/// # Source
/// `domain.md` 3.4 decision (i)-(v).
pub(super) fn rules(case: &Case<'_>, persistence: &mut Persistence, faults: &mut Vec<Fault>) {
    let (Some(orders), Some(_)) = (&case.machine.bearing, case.speed) else { return };
    let n_looked: usize = case.axes().map(|i| case.axes[i].bearing.n_looked).sum();
    let n_families = (0..FAMILIES)
        .filter(|f| case.axes().any(|i| case.axes[i].bearing.best[*f].is_some()))
        .count();
    let limit = (ALPHA / n_families.max(1) as f64).ln();
    let mut best: [Option<Candidate>; FAMILIES] = [None; FAMILIES];
    for family in 0..FAMILIES {
        let candidate = strongest(case, family, n_looked, limit);
        let persistent = persistence.push(family, candidate.is_some());
        best[family] = candidate
            .map(|candidate| Candidate { persistent, ..candidate })
            .filter(|candidate| is_named(case, candidate));
    }
    explain_away(case, orders, &mut best);
    let something_knocks = case.axes().any(|i| knocks(case, i));
    for candidate in best.into_iter().flatten() {
        let peers = best.iter().flatten().filter(|c| c.seen.knocks == candidate.seen.knocks);
        let top = peers.map(|c| -c.ln_p).fold(0.0, f64::max);
        let mut sure = confidence(&candidate, limit) * (-candidate.ln_p / top);
        if something_knocks && !candidate.seen.knocks {
            sure *= BESIDE_KNOCKS;
        }
        let order = bearing_orders(orders)[candidate.family];
        let lines = evidence(case, &candidate, order);
        if candidate.family == CAGE && candidate.seen.knocks {
            // A damaged rolling element comes by with the cage and swells and fades as it does; a broken cage
            // knocks once a turn, which is a comb of even teeth.
            let (first, second) = if is_even_comb(&candidate.seen.found) {
                (FaultCode::Cage, FaultCode::Ball)
            } else {
                (FaultCode::Ball, FaultCode::Cage)
            };
            faults.push(case.fault(first, sure as f32, lines.clone()));
            faults.push(case.fault(second, 0.8 * sure as f32, lines));
            continue;
        }
        faults.push(case.fault(CODES[candidate.family], sure as f32, lines));
    }
}

/// Whether `code` is a fault of the bearing's parts.
pub(super) fn is_bearings(code: FaultCode) -> bool {
    CODES.contains(&code)
}

/// Whether any family stands, named or not.
pub(super) fn has_lines(case: &Case<'_>) -> bool {
    let n_looked: usize = case.axes().map(|i| case.axes[i].bearing.n_looked).sum();
    (0..FAMILIES).any(|f| strongest(case, f, n_looked, (ALPHA / FAMILIES as f64).ln()).is_some())
}

/// Something knocks out of step with either race: a rolling element that turns its spot now here, now there.
///
/// A hint only, against a learned normal, and only where both races could have been seen.
pub(super) fn out_of_step(case: &Case<'_>, faults: &mut Vec<Fault>) {
    if case.machine.bearing.is_none() || !case.is_learned() {
        return;
    }
    let place = Level::Impulsive as usize;
    let loudest = case
        .axes()
        .filter(|i| {
            knocks(case, *i) && (0..=INNER).all(|f| case.axes[*i].bearing.best[f].is_some())
        })
        .max_by(|a, b| case.axes[*a].levels[place].total_cmp(&case.axes[*b].levels[place]));
    let Some(i) = loudest else { return };
    let mut lines = vec![case.line("impulsiveness of the most impulsive band", i, place, None)];
    for (family, name) in NAMES[..=INNER].iter().enumerate() {
        if let Some(seen) = &case.axes[i].bearing.best[family] {
            lines.push(Evidence {
                feature: format!("{name} in the envelope, axis {}", i + 1),
                value: seen.found.level_db(),
                unit: "dB",
                expected: Some(0.0),
                order: None,
            });
        }
    }
    faults.push(case.fault(FaultCode::Ball, OUT_OF_STEP, lines));
}

/// Confidence of the hint at a rolling element.
const OUT_OF_STEP: f32 = 0.3;

/// Drops a family whose lines are the harmonics and side lines of one that stands out more.
fn explain_away(case: &Case<'_>, orders: &Orders, best: &mut [Option<Candidate>; FAMILIES]) {
    let Some(fr) = case.speed.map(|speed| speed.hz) else { return };
    let before = *best;
    for slot in best.iter_mut() {
        let Some(weak) = *slot else { continue };
        let is_explained = before.iter().flatten().any(|strong| {
            let is_slow = strong.family == CAGE && !is_even_comb(&strong.seen.found);
            if !strong.beats(&weak) || is_slow {
                return false;
            }
            let spacing = match strong.family {
                BALL | CAGE => orders.ftf * fr,
                _ => fr,
            };
            let weak_found = &weak.seen.found;
            let base = strong.seen.found.scale * bearing_orders(orders)[strong.family] * fr;
            let slack = 1.0 / case.axes[weak.axis].record_s.max(1e-3);
            let standing = || weak_found.lines.iter().flatten().filter(|line| line.p < 1e-2);
            let n_theirs = standing().filter(|l| on_comb(l.hz, base, spacing, slack)).count();
            2 * n_theirs > standing().count()
        });
        if is_explained {
            *slot = None;
        }
    }
}

/// A tooth of an even comb is at most so much lower than the tallest, power.
const EVEN: f64 = 4.0;

/// Whether all harmonics looked at stand about as tall: one short knock a period, and not a slow swell.
fn is_even_comb(found: &Found) -> bool {
    let tallest = found.lines.iter().flatten().map(|line| line.ratio).fold(0.0, f64::max);
    found.lines.iter().all(|line| line.is_some_and(|l| l.p < 1e-2 && EVEN * l.ratio >= tallest))
}

/// Side lines looked for on either side of a harmonic.
const SIDES: i32 = 2;

/// Whether `hz` is a harmonic of `base` or one of its side lines, within `slack` and 0.3 %.
fn on_comb(hz: f64, base: f64, spacing: f64, slack: f64) -> bool {
    (-SIDES..=SIDES).any(|j| {
        let centre = hz - f64::from(j) * spacing;
        let k = (centre / base).round();
        k >= 1.0 && (centre - k * base).abs() <= slack.max(0.003 * hz)
    })
}

/// The axis and envelope in which a family stands out most beyond its normal, or knocks as it did not before.
///
/// All places looked at are paid for; `None` where it does not stand.
fn strongest(case: &Case<'_>, family: usize, n_looked: usize, limit: f64) -> Option<Candidate> {
    let mut best: Option<Candidate> = None;
    for axis in case.axes() {
        let bearing = &case.axes[axis].bearing;
        let rises = family_rise(case, axis, family)
            .is_none_or(|rise| rise >= RISE_DB || knocks(case, axis));
        for seen in [bearing.best[family], bearing.knocking[family]].into_iter().flatten() {
            let ln_p = seen.found.ln_p + (n_looked.max(1) as f64).ln();
            let candidate = Candidate { family, axis, seen, ln_p, persistent: false };
            if ln_p < limit
                && is_whole(family, &seen.found)
                && rises
                && best.is_none_or(|best| candidate.beats(&best))
            {
                best = Some(candidate);
            }
        }
    }
    best
}

/// A learned level above this is of lines and not of noise, dB.
const NOISE_DB: f64 = 10.0;

/// Rise of a family over its learned level, dB; `None` where none was learned.
///
/// Lines that were there already gain 3 dB with every doubling of the record, noise gains nothing.
fn family_rise(case: &Case<'_>, axis: usize, family: usize) -> Option<f64> {
    let place = Level::Family as usize + family;
    let normal = case.normal(axis, place)?;
    let longer = case
        .normal(axis, Level::Length as usize)
        .map_or(0.0, |length| length.above_mean(case.axes[axis].level(Level::Length)).max(0.0));
    let gain = if normal.max > NOISE_DB { longer } else { 0.0 };
    Some(normal.rise(case.axes[axis].levels[place]) - gain)
}

/// Whether enough harmonics stand by themselves: two of the first three; of the slow cage's the first or three of all.
fn is_whole(family: usize, found: &Found) -> bool {
    let stands = |line: &Line| line.p < 1e-2;
    let first_stands = found.lines[0].as_ref().is_some_and(stands);
    let n_all = found.lines.iter().flatten().filter(|line| stands(line)).count();
    found.n_standing() >= 2 && (family != CAGE || first_stands || n_all >= 3)
}

fn is_named(case: &Case<'_>, candidate: &Candidate) -> bool {
    // One source shakes all axes: it need not knock most where its lines are clearest.
    let knocks = case.axes().any(|axis| knocks(case, axis));
    let normal = case.normal(candidate.axis, Level::Family as usize + candidate.family);
    if normal.is_some_and(|normal| normal.covered) {
        // Another load makes a sound bearing's lines visible: lines that do not knock must last.
        return candidate.persistent
            || (knocks && (candidate.family != CAGE || candidate.seen.knocks));
    }
    // Healthy bearings have faint lines of their own: without a normal of this speed, they must also knock.
    knocks && (candidate.persistent || candidate.ln_p < ALPHA_ALONE.ln())
}

fn confidence(candidate: &Candidate, limit: f64) -> f64 {
    let decades = (limit - candidate.ln_p) / std::f64::consts::LN_10;
    let sides = candidate.seen.sidebands;
    let sided = match candidate.family {
        INNER | BALL => 0.1 * f64::from(sides.min(1)),
        _ => 0.1,
    };
    let persistent = if candidate.persistent { 0.1 } else { 0.0 };
    let sure = 0.5 + 0.25 * (decades / 10.0).min(1.0) + sided + persistent;
    // A rotating load makes a sound bearing's lines visible; a defect also knocks.
    sure.min(if candidate.seen.knocks { 0.95 } else { LINES_ONLY })
}

fn evidence(case: &Case<'_>, candidate: &Candidate, order: f64) -> Vec<Evidence> {
    let Seen { found, band_hz, sidebands, .. } = candidate.seen;
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
    if sidebands > 0 {
        let spacing = if candidate.family == INNER { "shaft speed" } else { "cage speed" };
        lines.push(Evidence {
            feature: format!("harmonics with side lines at {spacing}"),
            value: f64::from(sidebands),
            unit: "x",
            expected: Some(0.0),
            order: None,
        });
    }
    lines
}
