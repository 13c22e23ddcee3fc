//! Closed forms, and the bearing of the shared test vector.

use super::*;
use crate::dsp::{Fft, Moments};
use std::f64::consts::TAU;

/// Bins of the whole record and the squared-envelope spectrum of `lo_hz..=hi_hz`.
fn envelope(x: &[f32], rate: f64, lo_hz: f64, hi_hz: f64) -> (f64, f32, Vec<f32>) {
    let n = x.len();
    let mean = crate::dsp::mean(x) as f32;
    let mut fft = Fft::new(n);
    fft.run(|input| input.iter_mut().zip(x).for_each(|(input, x)| *input = x - mean));
    let df = rate / n as f64;
    let band = (lo_hz / df).ceil() as usize..(hi_hz / df) as usize + 1;
    let mut out = Vec::new();
    let mut demodulator = Demodulator::new(&[band.len()], n);
    let (mean, kurtosis) = demodulator.run(0, &fft.bins()[band], n, false, &mut out);
    (mean, kurtosis, out)
}

#[test]
fn a_modulated_tone_has_the_envelope_of_the_theory() {
    let x: Vec<f32> = (0..20_000)
        .map(|i| i as f64 / 20_000.0)
        .map(|t| (1.0 + 0.5 * (TAU * 100.0 * t).cos()) * (TAU * 3000.0 * t).cos())
        .map(|v| v as f32)
        .collect();
    let moments = Moments::of(&x);
    assert!((moments.rms() - 0.75).abs() < 1e-5 && (moments.kurtosis() - 2.10185).abs() < 1e-4);
    assert!((moments.crest_factor() - 2.0).abs() < 1e-4);
    let (mean, _, ses) = envelope(&x, 20_000.0, 2500.0, 3500.0);
    let amplitude = |k: usize| (2.0 * ses[k] as f64).sqrt();
    assert!((mean - 1.125).abs() < 1e-5, "{mean}");
    assert!((amplitude(100) - 1.0).abs() < 1e-4 && (amplitude(200) - 0.125).abs() < 1e-4);
    let rest: f64 = (1..300).filter(|k| k % 100 != 0).map(amplitude).sum();
    assert!(rest < 1e-3, "{rest}");
}

#[test]
fn a_sine_has_kurtosis_minus_one_and_a_whitened_impulse_train_is_seen() {
    let tone: Vec<f32> = (0..8000).map(|i| (TAU * i as f64 / 8.0).sin() as f32).collect();
    let (_, kurtosis, _) = envelope(&tone, 8000.0, 800.0, 1200.0);
    assert!((kurtosis + 1.0).abs() < 1e-3, "{kurtosis}");
    // 20 knocks a second, not quite regular, under a tone a hundred times stronger.
    let mut x: Vec<f32> = lcg(1).zip(&tone).map(|(u, tone)| u as f32 + 100.0 * tone).collect();
    let mut at = 0.0;
    for slip in lcg(777).take(20) {
        x[at as usize] += 20.0;
        at += 400.0 * (1.0 + 0.02 * slip);
    }
    let mut fft = Fft::new(x.len());
    let bins = fft.run(|input| input.copy_from_slice(&x));
    let mut out = Vec::new();
    let inner = &bins[1..4000];
    Demodulator::new(&[inner.len()], 200).run(0, inner, x.len(), true, &mut out);
    let others: f32 = (1..19).map(|k| out[k]).fold(0.0, f32::max);
    assert!(out[20] > 5.0 * others, "{} {others}", out[20]);
}

#[test]
fn fewer_bins_of_an_envelope_are_the_same_bins() {
    let x: Vec<f32> = lcg(3).take(8000).map(|u| u as f32).collect();
    let mut fft = Fft::new(x.len());
    let bins = fft.run(|input| input.copy_from_slice(&x));
    let band = &bins[100..3800];
    let (mut all, mut few) = (Vec::new(), Vec::new());
    let whole = Demodulator::new(&[band.len()], 3700).run(0, band, 8000, false, &mut all);
    let part = Demodulator::new(&[band.len()], 300).run(0, band, 8000, false, &mut few);
    assert_eq!((all.len(), few.len()), (3700, 300));
    let mean = all.iter().sum::<f32>() / all.len() as f32;
    assert!(all.iter().zip(&few).all(|(a, b)| (a - b).abs() < 1e-4 * mean));
    // Sampled less often, the fourth moment is the same number, estimated from fewer samples.
    assert!((whole.0 / part.0 - 1.0).abs() < 1e-5 && (whole.1 - part.1).abs() < 0.1);
}

/// Uniform noise on -0.5..0.5 by a linear congruential generator.
fn lcg(seed: u32) -> impl Iterator<Item = f64> {
    let mut x = seed;
    std::iter::repeat_with(move || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x as f64 / 4_294_967_296.0 - 0.5
    })
}

const RATE: f64 = 20_000.0;
/// Outer race of a 6205 at 29.95 Hz: 3.5848 orders, the digits the vector is made with.
const BPFO_HZ: f64 = 3.5848 * 29.95;

/// An outer-race fault of strength `force` in noise, with a shaft line: 4 s at 20 kHz.
/// The first impact comes after the first period, as `domain.md` 3.4 leaves unsaid.
fn bearing(force: f64) -> Vec<f32> {
    let shaft = |i: usize| 0.5 * (TAU * 29.95 * i as f64 / RATE).sin();
    let mut x: Vec<f64> =
        lcg(12345).take(80_000).enumerate().map(|(i, u)| 2.0 * u + shaft(i)).collect();
    let mut at = 0.0;
    for slip in lcg(777) {
        at += (1.0 + 0.02 * slip) / BPFO_HZ;
        let first = (at * RATE).ceil() as usize;
        if first >= x.len() {
            break;
        }
        for i in first..(first + 200).min(x.len()) {
            let tau = i as f64 / RATE - at;
            x[i] += force * (-800.0 * tau).exp() * (TAU * 3500.0 * tau).sin();
        }
    }
    x.into_iter().map(|v| v as f32).collect()
}

/// Largest bin within 1 % of `hz` over the median within 30 Hz (less 2 % about the line).
fn line_over_median(ses: &[f32], df: f64, hz: f64) -> f64 {
    let within =
        |half: f64| ((hz - half) / df).ceil() as usize..((hz + half) / df).floor() as usize + 1;
    let peak = within(0.01 * hz).map(|k| ses[k]).fold(0.0, f32::max);
    let line = within(0.02 * hz);
    let mut floor: Vec<f32> = within(30.0).filter(|k| !line.contains(k)).map(|k| ses[k]).collect();
    floor.sort_by(f32::total_cmp);
    let middle = f32::midpoint(floor[floor.len() / 2], floor[(floor.len() - 1) / 2]);
    peak as f64 / middle as f64
}

#[test]
fn the_bearing_of_the_test_vector() {
    // The table's own digits end at half a unit of the last place.
    let near = |got: f64, expect: f64, relative: f64, place: f64| {
        assert!((got - expect).abs() < relative * expect + 0.5 * place, "{got} for {expect}");
    };
    for (force, [rms, kurtosis, crest_factor], ratios) in [
        (0.0, [0.677087, 2.25441, 2.2151], [1.9, 13.6, 8.2]),
        (0.3, [0.679206, 2.26717, 2.5200], [7.7, 13.2, 5.8]),
        (0.5, [0.683069, 2.28786, 2.7564], [55.8, 49.8, 11.2]),
        (1.0, [0.701035, 2.39720, 3.3456], [541.0, 601.0, 160.0]),
        (2.0, [0.769007, 2.97439, 4.2548], [2304.0, 3919.0, 1071.0]),
    ] {
        let x = bearing(force);
        let m = Moments::of(&x);
        // The table's RMS and peak are from zero, ours from the mean.
        let from_zero = m.rms().hypot(m.mean);
        let peak = (m.max + m.mean).max(-(m.min + m.mean));
        near(from_zero, rms, 1e-5, 0.0);
        near(m.kurtosis(), kurtosis, 1e-5, 0.0);
        near(peak / from_zero, crest_factor, 1e-5, 1e-4);
        let (_, _, ses) = envelope(&x, RATE, 2500.0, 4500.0);
        for (h, expect) in (1..).zip(ratios) {
            let place = if expect < 100.0 { 0.1 } else { 1.0 };
            near(line_over_median(&ses, 0.25, BPFO_HZ * f64::from(h)), expect, 0.01, place);
        }
    }
}
