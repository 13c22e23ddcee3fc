//! What the rules look at: one record of one axis, boiled down to levels in dB and families of lines.

use super::config::Config;
use super::families::{FAMILIES, Families};
use super::family::Tester;
use super::{Orders, reference};
use crate::types::{Axis, Record, Spectrum, Speed};

/// Harmonics of the shaft that are measured.
pub(super) const SHAFT_ORDERS: usize = 10;

/// Levels kept of each axis, by place in the vector; all in dB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Whole signal, re 1 unit RMS.
    Rms,
    /// Kurtosis over 3.
    Kurtosis,
    /// Band impulsiveness, re 1.
    Impulsive,
    /// Velocity RMS, re 1 mm/s.
    Velocity,
    /// Power below the high band.
    Low,
    /// Power from a fifth of the highest frequency up, at least 1 kHz.
    High,
    /// Mean density of power from 2 to 5 kHz, where bubbles are heard and rubbing metal is not, re 1/Hz.
    Bubbles,
    /// Mean density of power from 5 kHz up, where both are heard, re 1/Hz.
    Rubbing,
    /// Half the shaft's order.
    Half,
    /// First of the shaft's orders; the others follow.
    Shaft,
    /// First of the bearing families, lines over background.
    Family = 9 + SHAFT_ORDERS as isize,
    /// Gear mesh, strongest wheel.
    Gear = 9 + (SHAFT_ORDERS + FAMILIES) as isize,
    /// Sidebands of the gear mesh.
    GearSide,
    /// Blade pass.
    Blade,
    /// Belt.
    Belt,
    /// Twice the line frequency.
    Electrical,
    /// Length of the record, re 1 s.
    Length,
}

/// How many levels an axis has.
pub(super) const LEVELS: usize = Level::Length as usize + 1;

/// Whether a level is that of a line in the spectrum.
fn is_line(place: usize) -> bool {
    (Level::Half as usize..Level::Family as usize).contains(&place)
        || (Level::Gear as usize..=Level::Electrical as usize).contains(&place)
}

/// One record of one axis, measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// By [`Level`]; NaN where it cannot be measured.
    pub(super) levels: [f64; LEVELS],
    /// The bearing's families of lines.
    pub(super) bearing: Families,
    /// Length of the record, s.
    pub(super) record_s: f64,
    /// Lines that stand out of their surroundings, one bit per [`Level`].
    standing: u32,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            levels: [f64::NAN; LEVELS],
            bearing: Families::default(),
            record_s: 0.0,
            standing: 0,
        }
    }
}

impl Measured {
    /// A level, dB; NaN where absent.
    pub(super) fn level(&self, level: Level) -> f64 {
        self.levels[level as usize]
    }

    /// Whether a level is one of a line that stands out of its surroundings, or no line's at all.
    pub(super) fn stands(&self, place: usize) -> bool {
        !is_line(place) || self.standing >> place & 1 == 1
    }

    fn set_line(&mut self, level: usize, (db, stands): (f64, bool)) {
        // Of several lines behind one level the loudest counts.
        let now = self.levels[level];
        if now.is_nan() || db > now {
            self.levels[level] = db;
            self.standing = self.standing & !(1 << level) | u32::from(stands) << level;
        }
    }

    /// Level of order `k` (from 1) of the shaft, dB.
    pub(super) fn shaft(&self, k: usize) -> f64 {
        self.levels[Level::Shaft as usize + k - 1]
    }
}

/// What of the machine the measuring needs.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    /// The bearing, resolved.
    pub(super) bearing: Option<Orders>,
    /// The nameplate.
    pub(super) config: Config,
}

/// 10 log10, with silence at a floor instead of minus infinity.
pub(super) fn db(power: f64) -> f64 {
    10.0 * power.max(1e-30).log10()
}

/// Numbers every window has, also without a record: RMS and kurtosis.
pub(super) fn window(axis: &Axis, out: &mut Measured) {
    out.levels[Level::Rms as usize] = 20.0 * f64::from(axis.indicators.rms).max(1e-15).log10();
    out.levels[Level::Kurtosis as usize] = db(f64::from(axis.indicators.kurtosis) / 3.0);
}

/// The one number of a record that wear needs.
pub(super) fn velocity(record: &Record, out: &mut Measured) {
    out.levels[Level::Velocity as usize] =
        record.velocity_rms_mm_s.map_or(f64::NAN, |v| 20.0 * v.max(1e-9).log10());
}

/// The part of the frequency range called high, and the least it begins at.
const HIGH_SHARE: f64 = 0.2;
const HIGH_HZ: f64 = 1000.0;
/// From here on cavitation is heard, and from there on a dry bearing too (`domain.md` 4.1).
const BUBBLES_HZ: f64 = 2000.0;
const RUBBING_HZ: f64 = 5000.0;

/// Measures one record of one axis.
pub(super) fn record(
    tester: &mut Tester,
    machine: &Machine,
    record: &Record,
    speed: Option<Speed>,
    out: &mut Measured,
) {
    let spectrum = &record.spectrum;
    out.record_s = record.span.as_secs();
    out.bearing = Families::default();
    out.standing = 0;
    let levels = &mut out.levels;
    levels[Level::Impulsive as usize..].fill(f64::NAN);
    levels[Level::Length as usize] = db(record.span.as_secs().max(1e-3));
    if let Some(impulsive) =
        record.envelopes.iter().map(|e| f64::from(e.impulsiveness)).reduce(f64::max)
    {
        levels[Level::Impulsive as usize] = db(impulsive.max(0.01));
    }
    velocity(record, out);
    let levels = &mut out.levels;
    let top_hz = spectrum.hz(spectrum.power.len());
    let high_hz = (HIGH_SHARE * top_hz).max(HIGH_HZ);
    levels[Level::Low as usize] = db(power_between(spectrum, spectrum.df_hz, high_hz.min(top_hz)));
    if high_hz < 0.8 * top_hz {
        levels[Level::High as usize] = db(power_between(spectrum, high_hz, top_hz));
    }
    if top_hz >= 2.0 * RUBBING_HZ {
        let density =
            |from_hz, to_hz| db(power_between(spectrum, from_hz, to_hz) / (to_hz - from_hz));
        levels[Level::Bubbles as usize] = density(BUBBLES_HZ, RUBBING_HZ);
        levels[Level::Rubbing as usize] = density(RUBBING_HZ, top_hz);
    }
    if let Some(line_hz) = machine.config.line_hz {
        out.set_line(Level::Electrical as usize, line(tester, spectrum, 2.0 * line_hz, 0.001));
    }
    let Some(speed) = speed else { return };
    shaft_levels(tester, machine, spectrum, speed, out);
    if let Some(orders) = &machine.bearing {
        out.bearing = Families::measure(tester, machine, orders, record, speed);
        for (level, best) in out.levels[Level::Family as usize..].iter_mut().zip(&out.bearing.best)
        {
            *level = best.map_or(f64::NAN, |seen| seen.found.level_db());
        }
    }
}

fn power_between(spectrum: &Spectrum, from_hz: f64, to_hz: f64) -> f64 {
    let last = ((to_hz / spectrum.df_hz) as usize).min(spectrum.power.len());
    let first = ((from_hz / spectrum.df_hz).ceil() as usize).min(last);
    spectrum.power[first..last].iter().map(|p| f64::from(*p)).sum()
}

/// Power a line must have over what its surroundings would put in its place.
const STANDS: f64 = 4.0;

/// Level of a line with the bins a window smears it over, dB, and whether it stands out of its surroundings.
///
/// NaN where it is out of range or nothing surrounds it.
fn line(tester: &mut Tester, spectrum: &Spectrum, hz: f64, tolerance: f64) -> (f64, bool) {
    let df = spectrum.df_hz;
    let half = (2.0 * df).max(tolerance * hz);
    let first = ((hz - half) / df).round();
    let last = ((hz + half) / df).round();
    if !(df > 0.0 && first >= 1.0 && (last as usize) < spectrum.power.len()) {
        return (f64::NAN, false);
    }
    let Some((median, _)) = tester.background(spectrum, hz, half + df) else {
        return (f64::NAN, false);
    };
    let bins = &spectrum.power[first as usize..=last as usize];
    let power: f64 = bins.iter().map(|p| f64::from(*p)).sum();
    let around = median * bins.len() as f64 / std::f64::consts::LN_2;
    // What is not there is at the level of its surroundings.
    (db((power - around).max(around)), power > STANDS * around)
}

/// Bins a shaft order needs to itself.
const ORDER_BINS: f64 = 4.0;

fn shaft_levels(
    tester: &mut Tester,
    machine: &Machine,
    spectrum: &Spectrum,
    speed: Speed,
    out: &mut Measured,
) {
    let (fr, config) = (speed.hz, &machine.config);
    if fr < ORDER_BINS * spectrum.df_hz {
        return;
    }
    let mut set = |level: usize, order: f64| {
        out.set_line(level, line(tester, spectrum, order * fr, speed.tolerance));
    };
    for k in 1..=SHAFT_ORDERS {
        set(Level::Shaft as usize + k - 1, k as f64);
    }
    if fr >= 2.0 * ORDER_BINS * spectrum.df_hz {
        set(Level::Half as usize, 0.5);
    }
    for gear in &config.gears {
        let (mesh, own) = (f64::from(gear.teeth) * gear.ratio, gear.ratio);
        for order in [mesh, 2.0 * mesh] {
            set(Level::Gear as usize, order);
        }
        for order in [mesh - own, mesh + own] {
            set(Level::GearSide as usize, order);
        }
    }
    if let Some(blades) = config.blades {
        set(Level::Blade as usize, f64::from(blades));
    }
    if let Some(belt) = config.belt {
        for k in [1.0, 2.0] {
            set(Level::Belt as usize, k * belt.order());
        }
    }
}

/// Whether `a` and `b` are one speed to the reference.
pub(super) fn same_speed(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a / b).ln().abs() < reference::SPEED_STEP,
        (None, None) => true,
        _ => false,
    }
}
