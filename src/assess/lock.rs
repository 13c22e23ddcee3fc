//! The shaft's speed, made exact by its own harmonics.

use super::family::{Tester, ln_chi2_tail, p_line};
use super::measure::{Machine, bearing_orders};
use crate::types::{Features, Spectrum, Speed};

/// Harmonics a lock looks at.
const HARMONICS: usize = 24;
/// Spectra a lock looks at: one per axis. Envelopes carry a bearing's side lines next to the shaft's and mislead.
const SPECTRA_MAX: usize = 6;
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
/// Two dozen harmonics in the axes' spectra are summed over a grid of scale factors within the
/// speed's uncertainty; the best is taken if so much would come about by chance less than once in a million.
pub(super) fn refined_speed(
    tester: &mut Tester,
    features: &Features,
    machine: &Machine,
) -> Option<Speed> {
    let speed = features.speed?;
    let tolerance = speed.tolerance.max(machine.config.speed_tolerance).min(SEARCH_MAX);
    let told = Speed { tolerance, ..speed };
    let mut spectra: [Option<&Spectrum>; SPECTRA_MAX] = [None; SPECTRA_MAX];
    let trusted = features.axes.iter().filter(|axis| !axis.quality.is_blind());
    let records = trusted.filter_map(|axis| axis.record.as_ref());
    let all = records.map(|record| &record.spectrum);
    let usable = all.filter(|s| s.df_hz > 0.0 && speed.hz > 4.0 * s.df_hz);
    for (slot, spectrum) in spectra.iter_mut().zip(usable) {
        *slot = Some(spectrum);
    }
    let Some(df) = spectra.iter().flatten().map(|s| s.df_hz).reduce(f64::max) else {
        return Some(told);
    };
    let reach = tolerance + machine.config.slip_tolerance;
    let mut ground = [[None; HARMONICS]; SPECTRA_MAX];
    for (ground, spectrum) in ground.iter_mut().zip(spectra.iter().flatten()) {
        for (k, slot) in ground.iter_mut().enumerate() {
            let hz = (k + 1) as f64 * speed.hz;
            if is_bearings((k + 1) as f64, machine, reach) {
                continue;
            }
            *slot = tester.background(spectrum, hz, (tolerance * hz).max(2.0 * df));
        }
    }
    let step = 0.25 * df / (HARMONICS as f64 * speed.hz);
    let n_steps = (tolerance / step).ceil() as i64;
    let (mut best, mut best_scale, mut n_lines) = (0.0, 1.0, 0);
    for i in -n_steps..=n_steps {
        let scale = 1.0 + (i as f64 * step).clamp(-tolerance, tolerance);
        let (say, n) = said(&spectra, &ground, speed.hz * scale);
        if say > best {
            (best, best_scale, n_lines) = (say, scale, n);
        }
    }
    let n_scales = 1.0 + 2.0 * tolerance * HARMONICS as f64 * speed.hz / df;
    // The best at the rim of the search is the flank of something outside.
    let is_at_rim = (best_scale - 1.0).abs() > tolerance - 2.0 * step;
    if is_at_rim || ln_chi2_tail(2.0 * best, n_lines.max(1)) + n_scales.ln() > LOCK_LN_P {
        return Some(told);
    }
    let left = (0.5 * df / (HARMONICS as f64 * speed.hz)).max(LEFT_MIN);
    Some(Speed { hz: speed.hz * best_scale, tolerance: left.min(tolerance), ..speed })
}

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
fn said(
    spectra: &[Option<&Spectrum>; SPECTRA_MAX],
    ground: &[[Option<(f64, usize)>; HARMONICS]; SPECTRA_MAX],
    hz: f64,
) -> (f64, usize) {
    let (mut say, mut n) = (0.0, 0);
    for (spectrum, ground) in spectra.iter().flatten().zip(ground) {
        for (k, ground) in ground.iter().enumerate() {
            let Some((median, n_background)) = *ground else { continue };
            let at = (k + 1) as f64 * hz / spectrum.df_hz;
            let (below, share) = (at.floor() as usize, at.fract());
            let Some(pair) = spectrum.power.get(below..below + 2) else { continue };
            // Between two bins the line is shared by both: interpolation makes the grid finer than the bins.
            let power = (1.0 - share) * f64::from(pair[0]) + share * f64::from(pair[1]);
            say += (-p_line(power / median, 1, n_background as f64).ln()).min(SAY_MAX);
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
