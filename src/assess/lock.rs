//! The shaft's speed, made exact by its own harmonics.

use super::families::bearing_orders;
use super::family::{Tester, ln_chi2_tail, ln_p_bin, p_line};
use super::measure::Machine;
use crate::types::{Features, Spectrum, Speed};

/// Harmonics a lock looks at.
const HARMONICS: usize = 24;
/// Spectra a lock looks at, the axes' own first.
const SPECTRA_MAX: usize = 24;
/// What one line may say at the most, minus the logarithm of its probability.
const SAY_MAX: f64 = 12.0;
/// How sure a lock must be (1e-6).
const LOCK_LN_P: f64 = -13.8;
/// Largest uncertainty searched, relative.
const SEARCH_MAX: f64 = 0.05;
/// Least uncertainty left, relative.
const LEFT_MIN: f64 = 0.0005;

/// The shaft's speed as its own harmonics have it, where they stand out; else as told.
///
/// Harmonics in the axes' spectra and the first few in their envelopes' are summed over a grid of scale factors
/// within the speed's uncertainty; the best is taken if so much would come about by chance less than once in a million.
pub(super) fn refined_speed(
    tester: &mut Tester,
    features: &Features,
    machine: &Machine,
) -> Option<Speed> {
    let speed = features.speed?;
    let tolerance = speed.tolerance.max(machine.config.speed_tolerance).min(SEARCH_MAX);
    let told = Speed { tolerance, ..speed };
    let mut combs = [const { None }; SPECTRA_MAX];
    let trusted = features.axes.iter().filter(|axis| !axis.quality.is_blind());
    let records = || trusted.clone().filter_map(|axis| axis.record.as_ref());
    let all = records().map(|record| (&record.spectrum, HARMONICS)).chain(
        records().flat_map(|r| r.envelopes.iter().map(|e| (&e.spectrum, ENVELOPE_HARMONICS))),
    );
    let usable = all.filter(|(s, _)| s.df_hz > 0.0 && speed.hz > 4.0 * s.df_hz);
    for (slot, (spectrum, depth)) in combs.iter_mut().zip(usable) {
        *slot = Some(Comb::new(tester, spectrum, depth, told, machine));
    }
    let df = combs.iter().flatten().map(|comb| comb.spectrum.df_hz).reduce(f64::max);
    let Some(df) = df else { return Some(told) };
    DEPTHS
        .iter()
        .filter_map(|depth| Some((*depth, locked(&combs, told, df, *depth)?)))
        .min_by(|a, b| a.1.1.total_cmp(&b.1.1))
        .filter(|(_, (_, ln_p))| ln_p + (DEPTHS.len() as f64).ln() <= LOCK_LN_P)
        .map(|(depth, (scale, _))| centred(&combs, told, scale, depth))
        .or(Some(told))
}

/// A spectrum and the medians around its harmonics of the shaft.
struct Comb<'a> {
    spectrum: &'a Spectrum,
    ground: [Option<(f64, usize)>; HARMONICS],
}

impl<'a> Comb<'a> {
    fn new(
        tester: &mut Tester,
        spectrum: &'a Spectrum,
        depth: usize,
        told: Speed,
        machine: &Machine,
    ) -> Self {
        let reach = told.tolerance + machine.config.slip_tolerance;
        let mut ground = [None; HARMONICS];
        for (k, slot) in ground.iter_mut().enumerate().take(depth) {
            let order = (k + 1) as f64;
            if !is_bearings(order, machine, reach) {
                let hz = order * told.hz;
                let gap_hz = (told.tolerance * hz).max(2.0 * spectrum.df_hz);
                *slot = tester.background(spectrum, hz, gap_hz);
            }
        }
        Self { spectrum, ground }
    }
}

/// The combs a lock looks at.
type Combs<'a> = [Option<Comb<'a>>; SPECTRA_MAX];

/// Depths of harmonics tried: of some machines only the first few stand.
const DEPTHS: [usize; 3] = [4, 10, HARMONICS];

/// The best scale factor on the first `depth` harmonics and the logarithm of its probability under nothing, the
/// search counted; `None` at the rim of the search, which is the flank of something outside.
fn locked(combs: &Combs<'_>, told: Speed, df: f64, depth: usize) -> Option<(f64, f64)> {
    let step = 0.25 * df / (depth as f64 * told.hz);
    let n_steps = (told.tolerance / step).ceil() as i64;
    let (mut best, mut best_scale, mut n_lines) = (0.0, 1.0, 0);
    for i in -n_steps..=n_steps {
        let scale = 1.0 + (i as f64 * step).clamp(-told.tolerance, told.tolerance);
        let (say, n) = said(combs, told.hz * scale, depth);
        if say > best {
            (best, best_scale, n_lines) = (say, scale, n);
        }
    }
    let n_scales = 1.0 + 2.0 * told.tolerance * depth as f64 * told.hz / df;
    let is_at_rim = (best_scale - 1.0).abs() > told.tolerance - 2.0 * step;
    (!is_at_rim).then(|| (best_scale, ln_chi2_tail(2.0 * best, n_lines.max(1)) + n_scales.ln()))
}

/// The locked speed, centred on the lines that stand: their centroids, least squares over the harmonics.
fn centred(combs: &Combs<'_>, told: Speed, scale: f64, depth: usize) -> Speed {
    let hz = told.hz * scale;
    let (mut sum_kf, mut sum_kk, mut df) = (0.0, 0.0, 0.0);
    for comb in combs.iter().flatten() {
        df = comb.spectrum.df_hz;
        for (k, ground) in comb.ground.iter().enumerate().take(depth) {
            let Some((median, n)) = *ground else { continue };
            let order = (k + 1) as f64;
            let at = (order * hz / df).round() as usize;
            let around = at.saturating_sub(1)..at + 2;
            let Some(bins) = comb.spectrum.power.get(around) else { continue };
            let over = |i: usize| (f64::from(bins[i]) - median).max(0.0);
            let (below, mid, above) = (over(0), over(1), over(2));
            if p_line(mid.max(below).max(above) / median, 3, n as f64) > LINE_P {
                continue;
            }
            let f = (at as f64 + (above - below) / (below + mid + above)) * df;
            sum_kf += order * f;
            sum_kk += order * order;
        }
    }
    let refined = if sum_kk > 0.0 { sum_kf / sum_kk } else { hz };
    let is_near = (refined / hz - 1.0).abs() <= 0.5 * df / hz;
    // A centroid of a line that stands is good to a quarter of a bin.
    let left = (0.25 * df / (sum_kk.sqrt().max(1.0) * hz)).max(LEFT_MIN);
    let hz = if is_near { refined } else { hz };
    Speed { hz, tolerance: left.min(told.tolerance), ..told }
}

/// Probability by chance of a line that the centring counts, at the most.
const LINE_P: f64 = 1e-3;
/// Harmonics looked at in envelopes: higher ones stand among a bearing's side lines.
const ENVELOPE_HARMONICS: usize = 2;

/// Whether a line near this order may be the bearing's, so that it tells nothing of the shaft.
fn is_bearings(order: f64, machine: &Machine, reach: f64) -> bool {
    machine.bearing.as_ref().map(bearing_orders).is_some_and(|families| {
        families.into_iter().any(|family| {
            let k = (order / family).round();
            k >= 1.0 && k * family < order * (1.0 + reach) && k * family > order * (1.0 - reach)
        })
    })
}

/// Minus the logarithms of the lines' probabilities at one speed, each capped, and how many lines.
fn said(combs: &Combs<'_>, hz: f64, depth: usize) -> (f64, usize) {
    let (mut say, mut n) = (0.0, 0);
    for Comb { spectrum, ground } in combs.iter().flatten() {
        for (k, ground) in ground.iter().enumerate().take(depth) {
            let Some((median, n_background)) = *ground else { continue };
            let at = (k + 1) as f64 * hz / spectrum.df_hz;
            let (below, share) = (at.floor() as usize, at.fract());
            let Some(pair) = spectrum.power.get(below..below + 2) else { continue };
            // Between two bins the line is shared by both: interpolation makes the grid finer than the bins.
            let power = (1.0 - share) * f64::from(pair[0]) + share * f64::from(pair[1]);
            say += (-ln_p_bin(power / median, n_background as f64)).min(SAY_MAX);
            n += 1;
        }
    }
    (say, n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::Config;
    use crate::types::{
        Axis, Bands, Indicators, Origin, Quality, Record, SensorKind, Shape, Span, SpeedSource,
        Stamp, Unit,
    };

    fn features(spectrum: Spectrum, told_hz: f64) -> Features {
        let none = Bands { edges_hz: Vec::new().into(), db: Vec::new() };
        let record = Record { span: Span::from_secs(2.0), spectrum, ..Record::default() };
        let axis = Axis {
            quality: Quality::GOOD,
            indicators: Indicators::default(),
            mel: none.clone(),
            mel_hops: Vec::new(),
            third_octaves: none,
            spectrum: Spectrum::default(),
            record: Some(record),
        };
        Features {
            origin: Origin::new("m", "s"),
            start: Stamp::default(),
            span: Span::from_secs(1.0),
            kind: SensorKind::Vibration,
            rate_hz: 4000.0,
            unit: Unit::MetersPerSecond2,
            shape: Shape::Stream,
            quality: Quality::GOOD,
            n_left_out: 0,
            speed: Some(Speed { hz: told_hz, tolerance: 0.01, source: SpeedSource::Told }),
            axes: vec![axis],
        }
    }

    fn lock(true_hz: Option<f64>) -> Speed {
        let mut seed = 5u32;
        let mut power: Vec<f32> = (0..4000)
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                -((f64::from(seed) + 1.0) / 4_294_967_297.0).ln() as f32
            })
            .collect();
        for k in 1..=8 {
            let Some(hz) = true_hz else { break };
            let at = k as f64 * hz / 0.5;
            power[at as usize] += 300.0 * (1.0 - at.fract()) as f32;
            power[at as usize + 1] += 300.0 * at.fract() as f32;
        }
        let machine = Machine { bearing: None, config: Config::default() };
        let features = features(Spectrum { df_hz: 0.5, power }, 40.0);
        refined_speed(&mut Tester::new(), &features, &machine).unwrap()
    }

    #[test]
    fn a_speed_told_half_a_per_cent_wrong_is_put_right() {
        for hz in [39.7, 40.0, 40.17] {
            let locked = lock(Some(hz));
            assert!((locked.hz / hz - 1.0).abs() <= locked.tolerance, "{locked:?} for {hz}");
            assert!(locked.tolerance < 0.002);
        }
    }

    #[test]
    fn a_speed_out_of_reach_is_not_taken_for_the_nearest() {
        assert_eq!(lock(Some(41.5)).hz, 40.0);
    }

    #[test]
    fn noise_locks_nothing() {
        assert_eq!(lock(None), Speed { hz: 40.0, tolerance: 0.01, source: SpeedSource::Told });
    }
}
