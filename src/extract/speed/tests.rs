//! Speeds that are there are found, and no others.

use super::*;
use std::f64::consts::TAU;

fn noise(i: usize) -> f64 {
    let mut z = (i as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

fn spectrum(x: &[f32], rate_hz: f64) -> Spectrum {
    let mut power = Vec::new();
    let mut fft = crate::dsp::Fft::new(x.len());
    let bins = fft.run(|input| input.copy_from_slice(x));
    crate::dsp::hann_power(bins, x.len(), &mut power);
    Spectrum { df_hz: rate_hz / x.len() as f64, power }
}

fn machine(hz: f64, amplitude: f64, seed: usize) -> Spectrum {
    let x: Vec<f32> = (0..20_000)
        .map(|i| {
            let angle = TAU * hz * i as f64 / 5000.0;
            let lines: f64 = [1.0, 0.5, 0.7, 0.2]
                .iter()
                .zip(1..)
                .map(|(a, h)| a * (angle * h as f64).sin())
                .sum();
            (amplitude * lines + noise(i + seed)) as f32
        })
        .collect();
    spectrum(&x, 5000.0)
}

fn config(min: f64, max: f64) -> SpeedConfig {
    SpeedConfig { speed_min_rpm: Some(min), speed_max_rpm: Some(max), ..SpeedConfig::default() }
}

#[test]
fn the_speed_is_found_within_its_tolerance() {
    for hz in [20.3, 24.71, 29.95, 37.77] {
        let mut finder = Finder::new(&config(1200.0, 2390.0)).expect("a range");
        let (speed, _) = finder.find(&machine(hz, 0.3, 0)).expect("strong lines");
        assert!((speed.hz / hz - 1.0).abs() < speed.tolerance, "{hz}: {speed:?}");
        assert!(speed.tolerance < 0.003, "{speed:?}");
    }
}

#[test]
fn no_speed_is_found_in_noise() {
    let mut finder = Finder::new(&config(1200.0, 2390.0)).expect("a range");
    for seed in 0..20 {
        assert_eq!(finder.find(&machine(25.0, 0.0, seed * 1_000_000)), None);
    }
}

#[test]
fn a_tacho_is_read_between_its_samples() {
    let check = |hz: f64, pulses: f64| {
        let x: Vec<f32> = (0..5000)
            .map(|i| (40.0 * (TAU * hz * pulses * i as f64 / 5000.0).sin()).clamp(0.0, 5.0) as f32)
            .collect();
        let config = SpeedConfig {
            tacho_channel: Some(1),
            tacho_pulses_per_turn: pulses,
            ..SpeedConfig::default()
        };
        let mut tacho = Tacho::new(&config).expect("a channel");
        let (speed, steady) = tacho.read(&x, 5000.0).expect("edges");
        assert!((speed.hz / hz - 1.0).abs() < speed.tolerance && steady, "{speed:?}");
    };
    check(24.7, 1.0);
    check(9.1, 4.0);
    let mut tacho = Tacho::new(&SpeedConfig { tacho_channel: Some(1), ..SpeedConfig::default() });
    assert!(tacho.as_mut().expect("a channel").read(&[1.0; 500], 5000.0).is_none());
}

#[test]
fn a_run_up_is_not_steady() {
    let x: Vec<f32> = (0..5000)
        .map(|i| i as f64 / 5000.0)
        .map(|t| (TAU * (25.0 * t + 2.0 * t * t)).sin() as f32)
        .collect();
    let config = SpeedConfig { tacho_channel: Some(1), ..SpeedConfig::default() };
    let (speed, steady) = Tacho::new(&config).expect("a channel").read(&x, 5000.0).expect("edges");
    assert!(!steady && (speed.hz - 27.0).abs() < 0.5, "{speed:?}");
    let (_, steady) = told([24.0, 25.0].into_iter()).expect("two");
    assert!(!steady);
}

#[test]
fn an_octave_is_too_wide_a_range() {
    let check = |config: SpeedConfig, key: &str| {
        assert_eq!(
            config.check(2).map_err(|error| error.key).err(),
            Some(key).filter(|k| !k.is_empty())
        );
    };
    check(config(1000.0, 2000.0), "speed_max_rpm");
    check(config(1000.0, 1999.0), "");
    check(SpeedConfig { tacho_channel: Some(2), ..SpeedConfig::default() }, "tacho_channel");
    check(SpeedConfig { speed_min_rpm: Some(3.0), ..SpeedConfig::default() }, "speed_min_rpm");
}
