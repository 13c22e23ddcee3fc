//! Shaft speed: told, from a tacho, from the signal within a prior range, or from the nameplate.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, check};
use crate::types::{Spectrum, Speed, SpeedSource};

/// A window or two records whose speeds differ by more than this are not steady.
pub(super) const UNSTEADY: f64 = 0.02;
/// What a told speed may be off by: a display's last digit, a log's age.
const TOLD_TOLERANCE: f64 = 0.01;
/// What a tacho may be off by.
const TACHO_TOLERANCE: f64 = 0.001;
/// A nameplate this exact is not looked for in the signal.
const EXACT: f64 = 0.003;
/// Intervals of a tacho farther than this from their median are missed or false pulses.
const INTERVAL_SPREAD: f64 = 0.1;
/// Harmonics looked at.
const N_HARMONICS: usize = 5;
/// Probability of finding a speed in noise.
const FALSE_FIND: f64 = 1e-3;
/// Minus ln of the p-value from which on one harmonic counts as there: 1e-4.
const PRESENT: f64 = 9.21;
/// What one harmonic may say at the most: minus the logarithm of its p-value.
const SAY_MAX: f64 = 12.0;

/// What is known of a shaft's speed beforehand.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct SpeedConfig {
    /// Speed by the nameplate, r/min.
    pub speed_rpm: Option<f64>,
    /// What that may be off by, as a fraction; the signal is searched within it.
    pub speed_tolerance: f64,
    /// Lowest speed looked for in the signal, r/min; instead of the nameplate's range.
    pub speed_min_rpm: Option<f64>,
    /// Highest speed looked for, r/min; less than twice the lowest, or halves and doubles are
    /// mistaken for it.
    pub speed_max_rpm: Option<f64>,
    /// Channel that carries a tacho signal, counted from 0; it is no axis then.
    pub tacho_channel: Option<usize>,
    /// Pulses of the tacho per turn.
    pub tacho_pulses_per_turn: f64,
}

impl Default for SpeedConfig {
    fn default() -> Self {
        Self {
            speed_rpm: None,
            speed_tolerance: 0.03,
            speed_min_rpm: None,
            speed_max_rpm: None,
            tacho_channel: None,
            tacho_pulses_per_turn: 1.0,
        }
    }
}

impl SpeedConfig {
    /// Whether the values make sense for a sensor of `n_channels`.
    pub(super) fn check(&self, n_channels: usize) -> Result<(), Error> {
        let above_0 = |rpm: Option<f64>| rpm.is_none_or(|rpm| rpm.is_finite() && rpm > 0.0);
        check(above_0(self.speed_rpm), "speed_rpm", || "must be above 0".into())?;
        let tolerance = self.speed_tolerance;
        check(tolerance > 0.0 && tolerance <= 0.3, "speed_tolerance", || {
            format!("{tolerance}; choose a fraction up to 0.3, 0.03 for an induction motor")
        })?;
        let range = (self.speed_min_rpm, self.speed_max_rpm);
        check(range.0.is_some() == range.1.is_some(), "speed_min_rpm", || {
            "speed_min_rpm and speed_max_rpm go together".into()
        })?;
        if let (Some(lo), Some(hi)) = range {
            check(lo > 0.0 && lo < hi && hi < 2.0 * lo, "speed_max_rpm", || {
                format!(
                    "{lo}-{hi} r/min; the highest must be above the lowest and below its double"
                )
            })?;
        }
        let pulses = self.tacho_pulses_per_turn;
        check(pulses.is_finite() && pulses > 0.0, "tacho_pulses_per_turn", || {
            "must be above 0".into()
        })?;
        let tacho_fits = self.tacho_channel.is_none_or(|c| c < n_channels && n_channels > 1);
        check(tacho_fits, "tacho_channel", || {
            format!("no such channel, or none left beside it: the sensor has {n_channels}")
        })
    }

    /// The nameplate's speed.
    pub(super) fn nominal(&self) -> Option<Speed> {
        self.speed_rpm.map(|rpm| Speed {
            hz: rpm / 60.0,
            tolerance: self.speed_tolerance,
            source: SpeedSource::Configured,
        })
    }

    /// Where to look in the signal, Hz.
    fn range_hz(&self) -> Option<(f64, f64)> {
        if let (Some(lo), Some(hi)) = (self.speed_min_rpm, self.speed_max_rpm) {
            return Some((lo / 60.0, hi / 60.0));
        }
        let (hz, by) = (self.speed_rpm? / 60.0, self.speed_tolerance);
        (by > EXACT).then_some((hz * (1.0 - by), hz * (1.0 + by)))
    }
}

/// The mean of told speeds, and whether they are steady.
pub(super) fn told(speeds_hz: impl Iterator<Item = f64>) -> Option<(Speed, bool)> {
    let (mut lo, mut hi, mut sum, mut n) = (f64::MAX, 0f64, 0.0, 0u32);
    for hz in speeds_hz.filter(|hz| hz.is_finite() && *hz > 0.0) {
        (lo, hi, sum, n) = (lo.min(hz), hi.max(hz), sum + hz, n + 1);
    }
    let hz = sum / n.max(1) as f64;
    let speed = Speed { hz, tolerance: TOLD_TOLERANCE, source: SpeedSource::Told };
    (n > 0).then_some((speed, hi - lo <= UNSTEADY * hz))
}

/// Reads a tacho channel.
pub(super) struct Tacho {
    pub(super) channel: usize,
    pulses_per_turn: f64,
    intervals: Vec<f64>,
    sorted: Vec<f64>,
}

impl Tacho {
    pub(super) fn new(config: &SpeedConfig) -> Option<Self> {
        config.tacho_channel.map(|channel| Self {
            channel,
            pulses_per_turn: config.tacho_pulses_per_turn,
            intervals: Vec::new(),
            sorted: Vec::new(),
        })
    }

    /// Speed by the rising edges in `x`, interpolated between samples, and whether it is steady.
    ///
    /// `None` without three edges, or where the pulses do not agree.
    pub(super) fn read(&mut self, x: &[f32], rate_hz: f64) -> Option<(Speed, bool)> {
        let (lo, hi) = x.iter().fold((f32::MAX, f32::MIN), |(lo, hi), &v| (lo.min(v), hi.max(v)));
        let (middle, arm) = (f32::midpoint(lo, hi), lo + 0.25 * (hi - lo));
        let (mut armed, mut before) = (false, None);
        self.intervals.clear();
        for (i, pair) in x.windows(2).enumerate() {
            armed |= pair[0] < arm;
            if armed && pair[0] < middle && pair[1] >= middle {
                let at = i as f64 + ((middle - pair[0]) / (pair[1] - pair[0])) as f64;
                self.intervals.extend(before.map(|before| at - before));
                (before, armed) = (Some(at), false);
            }
        }
        self.sorted.clone_from(&self.intervals);
        self.sorted.sort_unstable_by(f64::total_cmp);
        let median = *self.sorted.get(self.sorted.len() / 2)?;
        let good = |v: &&f64| (**v - median).abs() <= INTERVAL_SPREAD * median;
        let (n, sum) = self.intervals.iter().filter(good).fold((0, 0.0), |a, v| (a.0 + 1, a.1 + v));
        if n < 2 || 2 * n < self.intervals.len() {
            return None;
        }
        let hz = rate_hz * n as f64 / (sum * self.pulses_per_turn);
        // Drift over the window, by its halves: a single interval jitters by the sampling.
        let half = self.intervals.len() / 2;
        let mean = |part: &[f64]| {
            let (n, sum) = part.iter().filter(good).fold((0, 0.0), |a, v| (a.0 + 1, a.1 + v));
            if n > 0 { sum / n as f64 } else { median }
        };
        let drift = (mean(&self.intervals[..half]) / mean(&self.intervals[half..]) - 1.0).abs();
        let speed = Speed { hz, tolerance: TACHO_TOLERANCE, source: SpeedSource::Tacho };
        Some((speed, 2.0 * drift <= UNSTEADY))
    }
}

/// Finds the speed in a fine spectrum by its harmonics, within a range narrower than an octave.
///
/// Every harmonic's line over the local median has a p-value against noise (bins are exponential);
/// the p-values are combined by Fisher's method, and a find must be too good for chance among all
/// candidates.
pub(super) struct Finder {
    range_hz: (f64, f64),
    sorted: Vec<f32>,
}

impl Finder {
    pub(super) fn new(config: &SpeedConfig) -> Option<Self> {
        config.range_hz().map(|range_hz| Self { range_hz, sorted: Vec::new() })
    }

    /// The speed, and how sure it is: Fisher's statistic.
    pub(super) fn find(&mut self, spectrum: &Spectrum) -> Option<(Speed, f64)> {
        let (lo, hi) = self.range_hz;
        let df = spectrum.df_hz;
        let top_hz = spectrum.hz(spectrum.power.len().saturating_sub(3));
        let n_harmonics = N_HARMONICS.min((top_hz / hi) as usize);
        if n_harmonics < 2 || lo < 3.0 * df {
            return None;
        }
        let mut floors = [0f32; N_HARMONICS];
        for h in 1..=n_harmonics {
            floors[h - 1] = self.floor(spectrum, h as f64 * lo, h as f64 * hi);
        }
        let step = df / (2.0 * n_harmonics as f64);
        let n_steps = ((hi - lo) / step).ceil() as usize;
        let say = |hz: f64, h: usize| {
            let k = (h as f64 * hz / df).round() as usize;
            let peak = spectrum.power[k - 1..=k + 1].iter().fold(0f32, |a, &b| a.max(b));
            let floor = floors[h - 1];
            if floor > 0.0 {
                minus_ln_p(std::f64::consts::LN_2 * (peak / floor) as f64)
            } else {
                0.0
            }
        };
        let total = |hz: f64| (1..=n_harmonics).map(|h| say(hz, h)).sum::<f64>();
        let (best, sum) = (0..=n_steps)
            .map(|i| lo + i as f64 * step)
            .map(|hz| (hz, total(hz)))
            .fold((0.0, 0.0), |best, next| if next.1 > best.1 { next } else { best });
        let by_chance = fisher(2.0 * sum, n_harmonics) * (n_steps + 1) as f64;
        let present = |h: &usize| say(best, *h) > PRESENT;
        if by_chance > FALSE_FIND || (1..=n_harmonics).filter(present).count() < 2 {
            return None;
        }
        let top = (1..=n_harmonics).filter(present).max()?;
        let hz = refine(spectrum, best, (1..=n_harmonics).filter(present));
        let tolerance = 0.5 * df / (top as f64 * hz) + TACHO_TOLERANCE;
        Some((Speed { hz, tolerance, source: SpeedSource::Signal }, 2.0 * sum))
    }

    /// Median power around a stretch of the spectrum.
    fn floor(&mut self, spectrum: &Spectrum, lo_hz: f64, hi_hz: f64) -> f32 {
        let margin = (0.1 * lo_hz).max(10.0 * spectrum.df_hz);
        let bin = |hz: f64| (hz / spectrum.df_hz).max(1.0) as usize;
        let last = bin(hi_hz + margin).min(spectrum.power.len() - 1);
        self.sorted.clear();
        self.sorted.extend_from_slice(&spectrum.power[bin(lo_hz - margin)..=last]);
        let middle = self.sorted.len() / 2;
        *self.sorted.select_nth_unstable_by(middle, f32::total_cmp).1
    }
}

/// Minus ln of the chance that the largest of three exponential bins reaches `u`.
fn minus_ln_p(u: f64) -> f64 {
    let p = 1.0 - (1.0 - (-u).exp()).powi(3);
    if u > 30.0 { SAY_MAX } else { (-p.ln()).min(SAY_MAX) }
}

/// Chance of a chi-square with `2 n` degrees of freedom beyond `t`.
fn fisher(t: f64, n: usize) -> f64 {
    let half = t / 2.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for i in 1..n {
        term *= half / i as f64;
        sum += term;
    }
    (-half).exp() * sum
}

/// The speed that fits the peaks of all given harmonics best, from the lowest up: each tells where to
/// look for the next, which tells the speed more exactly.
fn refine(spectrum: &Spectrum, hz: f64, harmonics: impl Iterator<Item = usize>) -> f64 {
    let (mut hz, mut sum, mut weights) = (hz, 0.0, 0.0);
    for h in harmonics {
        let near = (h as f64 * hz / spectrum.df_hz).round() as usize;
        let reach = if weights > 0.0 { 1 } else { 2 };
        let k = (near - reach..=near + reach)
            .max_by(|&a, &b| spectrum.power[a].total_cmp(&spectrum.power[b]))
            .unwrap_or(near);
        let ln = |k: usize| (spectrum.power[k].max(f32::MIN_POSITIVE) as f64).ln();
        let (a, b, c) = (ln(k - 1), ln(k), ln(k + 1));
        let bend = a - 2.0 * b + c;
        let shift = if bend < 0.0 { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) } else { 0.0 };
        let weight = (h * h) as f64;
        sum += weight * (k as f64 + shift) * spectrum.df_hz / h as f64;
        weights += weight;
        hz = sum / weights;
    }
    hz
}

#[cfg(test)]
mod tests;
