//! Which numbers of `Features` are compared with the learned normal, in what order, and what
//! physics knows of their spread before anything is learned.

use serde::{Deserialize, Serialize};

use super::lines;
use crate::types::{Axis, Bands, Features, Quality, SensorKind, Speed};

/// The ways of looking at one window; the order is that of [`View::NAMES`].
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum View {
    /// RMS, crest factor, kurtosis.
    Indicators,
    /// Log-mel levels.
    Bands,
    /// Third-octave levels: finer at the low end, where the shaft is.
    Octaves,
    /// Levels at multiples of the shaft speed.
    Orders,
    /// Impulsiveness of the demodulated bands and the strongest line of their envelope.
    Envelope,
    /// Residual of the model by band.
    Model,
    /// How much levels vary within the window, by groups of bands: rattle, hammering, hunting.
    Fluctuation,
    /// Pattern of lines: never scored, it tells one speed from another.
    Lines,
}

impl View {
    /// Views that are scored.
    pub(super) const N: usize = 7;
    pub(super) const NAMES: [&'static str; Self::N] =
        ["indicators", "bands", "third_octaves", "orders", "envelope", "model", "fluctuation"];
}

/// RMS, crest factor, kurtosis.
const N_INDICATORS: usize = 3;
/// Orders looked at: 1 to this.
const N_ORDERS: usize = 10;
/// Equivalent noise bandwidth of a Hann window, bins: neighbouring bins say the same.
const HANN_ENBW: f64 = 1.5;
/// Half-width of an order's band, in orders.
const ORDER_HALF_WIDTH: f64 = 0.15;
/// A level this far under the axis' own RMS is the converter's business, not the machine's, dB.
const FLOOR_DB: f32 = -90.0;
/// RMS under which an axis is silent whatever its unit, dB.
const SILENCE_DB: f32 = -200.0;
/// Rate over the highest frequency an accelerometer's record is good for: above it the anti-alias
/// filter rolls off and what folds back has not died away (`domain.md` 9.2).
const RATE_PER_USABLE_HZ: f32 = 2.56;
/// Standard deviation of a crest factor or kurtosis of Gaussian noise from window to window, dB:
/// a few tenths for the lengths in use, taken generously until the learning knows better.
const SHAPE_NOISE_DB: f32 = 0.5;

/// Bands of the log-mel whose mean level is watched from hop to hop: one alone is mostly noise.
const FLUCTUATION_BANDS: usize = 8;
/// Hops that tell how much a level varies, at the least.
const FLUCTUATION_HOPS_MIN: usize = 8;

/// One number of the vector.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Slot {
    pub(super) view: View,
    pub(super) axis_idx: usize,
    /// Hz; orders for [`View::Orders`].
    pub(super) band: (f32, f32),
    /// Expected standard deviation from window to window, dB.
    pub(super) noise_db: f32,
}

/// The plan of one vector, made from the first window.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    pub(super) slots: Vec<Slot>,
    n_axes: usize,
    mel: Vec<(f32, f32)>,
    octaves: Vec<(f32, f32)>,
    n_model: usize,
    n_fluctuation: usize,
    /// Frequencies of the line pattern.
    grid: Vec<f32>,
    /// Length of the windows, seconds.
    span_s: f64,
    /// Bands that reach above this say nothing, Hz; `None` for sound.
    usable_hz: Option<f32>,
}

impl Layout {
    /// For windows like `features`; `n_model` bands of model residual per axis.
    pub(super) fn new(features: &Features, n_model: usize) -> Self {
        let first = &features.axes[0];
        let mut slots = Vec::new();
        let span_s = features.span.as_secs();
        let whole = (0.0, features.rate_hz as f32 / 2.0);
        let order_hz = features.speed.map_or(0.0, |speed| 2.0 * ORDER_HALF_WIDTH * speed.hz);
        let order_db = sampling_db(order_hz.max(3.0 * first.spectrum.df_hz) * span_s / HANN_ENBW);
        let n_hops = first.mel_hops.len() / first.mel.db.len().max(1);
        let tells_fluctuation = n_hops >= FLUCTUATION_HOPS_MIN;
        let n_fluctuation =
            if tells_fluctuation { first.mel.edges_hz.len() / FLUCTUATION_BANDS } else { 0 };
        // Of a standard deviation from n values, Gaussian ones: 1 / sqrt(2 (n - 1)), relative.
        let fluctuation_db =
            20.0 / std::f32::consts::LN_10 / (2.0 * n_hops.saturating_sub(1) as f32).sqrt();
        for axis_idx in 0..features.axes.len() {
            let mut push = |view, band: (f32, f32), noise_db| {
                slots.push(Slot { view, axis_idx, band, noise_db });
            };
            for _ in 0..N_INDICATORS {
                push(View::Indicators, whole, SHAPE_NOISE_DB);
            }
            for &band in first.mel.edges_hz.iter() {
                push(View::Bands, band, sampling_db(f64::from(band.1 - band.0) / 2.0 * span_s));
            }
            for &band in first.third_octaves.edges_hz.iter() {
                push(View::Octaves, band, sampling_db(f64::from(band.1 - band.0) * span_s));
            }
            for order in 1..=N_ORDERS {
                let (centre, half) = (order as f32, ORDER_HALF_WIDTH as f32);
                push(View::Orders, (centre - half, centre + half), order_db);
            }
            push(View::Envelope, whole, SHAPE_NOISE_DB);
            push(View::Envelope, whole, 2.0 * SHAPE_NOISE_DB);
            for band_idx in 0..n_model {
                let band = first.mel.edges_hz.get(band_idx).copied().unwrap_or(whole);
                push(View::Model, band, sampling_db(f64::from(band.1 - band.0) / 2.0 * span_s));
            }
            for group in first.mel.edges_hz.chunks_exact(FLUCTUATION_BANDS).take(n_fluctuation) {
                let band = (group[0].0, group[FLUCTUATION_BANDS - 1].1);
                push(View::Fluctuation, band, fluctuation_db);
            }
        }
        let grid = lines::grid(features);
        let line =
            |&hz: &f32| Slot { view: View::Lines, axis_idx: 0, band: (hz, hz), noise_db: 1.0 };
        slots.extend(grid.iter().map(line));
        Self {
            slots,
            n_axes: features.axes.len(),
            mel: first.mel.edges_hz.to_vec(),
            octaves: first.third_octaves.edges_hz.to_vec(),
            n_model,
            n_fluctuation,
            grid,
            span_s,
            usable_hz: match features.kind {
                SensorKind::Vibration => Some(features.rate_hz as f32 / RATE_PER_USABLE_HZ),
                SensorKind::Sound => None,
            },
        }
    }

    /// Whether `features` can be laid out so; shorter windows and other bands can, other axes and another
    /// kind of sensor cannot.
    pub(super) fn fits(&self, features: &Features) -> bool {
        let is_sound = features.kind == SensorKind::Sound;
        features.axes.len() == self.n_axes && is_sound == self.is_sound()
    }

    /// Whether a microphone is behind it.
    pub(super) fn is_sound(&self) -> bool {
        self.usable_hz.is_none()
    }

    /// How much more a window like this scatters than those this was planned for.
    pub(super) fn noise_scale(&self, features: &Features) -> f64 {
        (self.span_s / features.span.as_secs().max(1e-6)).max(1.0)
    }

    /// The number that lies where number `j` is after all frequencies moved up by `octaves`, as the one
    /// before and the share of the next; `None` where there is none, or where `j` has no frequency.
    pub(super) fn moved(&self, j: usize, octaves: f64) -> (Option<usize>, f64) {
        let slot = self.slots[j];
        if !matches!(slot.view, View::Bands | View::Octaves | View::Model) {
            return (None, 0.0);
        }
        let middle = |slot: &Slot| f64::from(slot.band.0 + slot.band.1) / 2.0;
        let wanted = middle(&slot) * (-octaves).exp2();
        let own = |k: &usize| {
            let other = self.slots.get(*k);
            other.filter(|o| o.view == slot.view && o.axis_idx == slot.axis_idx)
        };
        let mut low = j;
        while own(&low).is_some_and(|slot| middle(slot) > wanted) {
            let Some(below) = low.checked_sub(1) else { return (None, 0.0) };
            low = below;
        }
        while own(&(low + 1)).is_some_and(|slot| middle(slot) <= wanted) {
            low += 1;
        }
        match (own(&low), own(&(low + 1))) {
            (Some(a), Some(b)) => (Some(low), (wanted - middle(a)) / (middle(b) - middle(a))),
            _ => (None, 0.0),
        }
    }

    /// Whether number `j` follows the overall level.
    pub(super) fn is_level(&self, j: usize) -> bool {
        match self.slots[j].view {
            View::Bands | View::Octaves | View::Orders => true,
            View::Indicators => j == 0 || self.slots[j - 1].axis_idx != self.slots[j].axis_idx,
            View::Envelope | View::Model | View::Fluctuation | View::Lines => false,
        }
    }

    /// Whether level `j` of a window lies at the floor: its sensor hears nothing there.
    pub(super) fn is_at_floor(&self, j: usize, values: &[f32]) -> bool {
        let rms_db = values[self.slots[j].axis_idx * (self.lines().start / self.n_axes)];
        self.is_level(j) && values[j] <= rms_db + FLOOR_DB
    }

    /// Where the pattern of lines lies in the vector.
    pub(super) fn lines(&self) -> std::ops::Range<usize> {
        self.slots.len() - self.grid.len()..self.slots.len()
    }

    /// Writes the vector of one window, `[slots]`, all in dB; NaN where there is nothing to say.
    /// `residual` is the model's, dB: `[n_axes, n_model]` or empty.
    pub(super) fn fill(
        &self,
        features: &Features,
        residual: &[f32],
        scratch: &mut Vec<f32>,
        out: &mut Vec<f32>,
    ) {
        out.clear();
        for (axis_idx, axis) in features.axes.iter().enumerate() {
            if axis.quality.is_blind() {
                let n = self.lines().start / self.n_axes;
                out.extend(std::iter::repeat_n(f32::NAN, n));
                continue;
            }
            let rms_db = level_db(axis);
            let floor = rms_db + FLOOR_DB;
            indicators(axis, rms_db, out);
            let limits = (floor, self.usable_hz.unwrap_or(f32::INFINITY));
            levels(&self.mel, &axis.mel, limits, out);
            levels(&self.octaves, &axis.third_octaves, limits, out);
            orders(axis, features.speed, floor, out);
            envelope(axis, out);
            let own = axis_idx * self.n_model..(axis_idx + 1) * self.n_model;
            match residual.get(own) {
                Some(residual) => out.extend_from_slice(residual),
                None => out.extend(std::iter::repeat_n(f32::NAN, self.n_model)),
            }
            fluctuation(axis, self.n_fluctuation, out);
        }
        lines::pattern(features, &self.grid, scratch, out);
    }
}

/// Levels of the planned bands, no lower than the floor; NaN for those this window does not have, and
/// for those above the usable frequency.
fn levels(planned: &[(f32, f32)], bands: &Bands, (floor, usable): (f32, f32), out: &mut Vec<f32>) {
    let level = |band: &(f32, f32), db: f32| {
        if band.1 > usable { f32::NAN } else { db.max(floor) }
    };
    if planned == &*bands.edges_hz {
        out.extend(planned.iter().zip(&bands.db).map(|(band, &db)| level(band, db)));
        return;
    }
    let is_same = |a: f32, b: f32| (a - b).abs() <= 0.01 * a.abs().max(b.abs());
    out.extend(planned.iter().map(|want| {
        let mut found = bands.edges_hz.iter().zip(&bands.db);
        let own = found.find(|(has, _)| is_same(want.0, has.0) && is_same(want.1, has.1));
        own.map_or(f32::NAN, |(_, &db)| level(want, db))
    }));
}

/// RMS of one axis, dB re 1 unit.
pub(super) fn level_db(axis: &Axis) -> f32 {
    (20.0 * axis.indicators.rms.log10()).max(SILENCE_DB)
}

/// Standard deviation in dB of a level averaged over `bt` = bandwidth times duration: Gaussian noise
/// gives a chi-squared variable of 2 bt degrees of freedom, whose logarithm has variance
/// `trigamma(bt)` (Abramowitz and Stegun 6.4.12).
fn sampling_db(bt: f64) -> f32 {
    let x = bt.max(1.0);
    let trigamma = 1.0 / x + 0.5 / (x * x) + 1.0 / (6.0 * x * x * x);
    (10.0 / std::f64::consts::LN_10 * trigamma.sqrt()) as f32
}

fn indicators(axis: &Axis, rms_db: f32, out: &mut Vec<f32>) {
    out.push(rms_db);
    let told = !axis.quality.has(Quality::CLIPPED) && axis.indicators.crest_factor > 0.0;
    out.push(if told { 20.0 * axis.indicators.crest_factor.log10() } else { f32::NAN });
    out.push(if told { 10.0 * axis.indicators.kurtosis.max(1.0).log10() } else { f32::NAN });
}

/// Standard deviation from hop to hop of the mean level of each group of bands, dB re 1 dB.
fn fluctuation(axis: &Axis, n_groups: usize, out: &mut Vec<f32>) {
    let hops = axis.mel_hops.chunks_exact(axis.mel.db.len().max(1));
    let n = hops.len();
    for group in 0..n_groups {
        let bands = group * FLUCTUATION_BANDS..(group + 1) * FLUCTUATION_BANDS;
        if n < FLUCTUATION_HOPS_MIN || bands.end > axis.mel.db.len() {
            out.push(f32::NAN);
            continue;
        }
        let level = |hop: &[f32]| hop[bands.clone()].iter().sum::<f32>() / FLUCTUATION_BANDS as f32;
        let mean = hops.clone().map(level).sum::<f32>() / n as f32;
        let squares: f32 = hops.clone().map(|hop| (level(hop) - mean).powi(2)).sum();
        out.push(10.0 * (squares / (n - 1) as f32).max(1e-6).log10());
    }
}

/// Power around each order, where the spectrum is fine enough to tell one from the next.
fn orders(axis: &Axis, speed: Option<Speed>, floor: f32, out: &mut Vec<f32>) {
    let spectrum = &axis.spectrum;
    let last = spectrum.hz(spectrum.power.len().saturating_sub(1));
    for order in 1..=N_ORDERS {
        let level = speed.and_then(|speed| {
            let centre = speed.hz * order as f64;
            let half = (ORDER_HALF_WIDTH * speed.hz).max(1.5 * spectrum.df_hz);
            if 2.0 * half > speed.hz || centre + half > last {
                return None;
            }
            let low = ((centre - half) / spectrum.df_hz).round().max(1.0) as usize;
            let high = ((centre + half) / spectrum.df_hz).round() as usize;
            let power: f32 = spectrum.power[low..=high].iter().sum();
            Some((10.0 * power.max(1e-20).log10()).max(floor))
        });
        out.push(level.unwrap_or(f32::NAN));
    }
}

/// Sum and largest of powers; by lanes, so that the loop becomes vector code.
fn sum_and_max(power: &[f32]) -> (f32, f32) {
    let (mut sums, mut most) = ([0f32; 16], [0f32; 16]);
    let (rows, rest) = power.as_chunks::<16>();
    for row in rows {
        for i in 0..16 {
            sums[i] += row[i];
            most[i] = if row[i] > most[i] { row[i] } else { most[i] };
        }
    }
    let max = most.iter().chain(rest).copied().fold(0.0, f32::max);
    (sums.iter().chain(rest).sum(), max)
}

/// Impulsiveness of the most impulsive band, and how far the strongest line of any envelope spectrum
/// stands over its mean, both in dB.
fn envelope(axis: &Axis, out: &mut Vec<f32>) {
    let envelopes = axis.record.as_ref().map_or(&[][..], |record| &record.envelopes);
    let (mut impulsive, mut line) = (f32::NAN, f32::NAN);
    for envelope in envelopes {
        impulsive = impulsive.max(10.0 * (1.0 + envelope.impulsiveness.max(0.0) / 2.0).log10());
        let power = envelope.spectrum.power.get(1..).unwrap_or(&[]);
        let (sum, max) = sum_and_max(power);
        let mean = sum / power.len().max(1) as f32;
        if mean > 0.0 {
            // The largest of n exponential bins is about ln n + 0.58 times their mean.
            let expected = (power.len() as f32).ln() + 0.58;
            line = line.max(10.0 * (max / mean / expected).log10());
        }
    }
    out.extend([impulsive, line]);
}
