//! Every fault is found where it is, and nothing is found where nothing is.

use super::*;
use crate::acquire::synth::{
    Config, Fault, FaultKind, Kind, Law, SensorFault, SensorFaultKind, Stop,
};
use crate::acquire::{Options, Read, Source, open_recording};
use crate::types::{Origin, Stamp};

fn frame(rate_hz: f64, first_sample: u64, samples: Vec<f32>) -> Frame {
    let mut frame = Frame::empty(Origin::new("a", "s"), rate_hz, Unit::MetersPerSecond2, 1);
    frame.origin.first_sample = first_sample;
    frame.origin.n_samples = samples.len() as u64;
    frame.samples = samples;
    frame
}

/// The flags of each frame of a source, by axis.
fn flags(mut source: Box<dyn Source>) -> Vec<Vec<Quality>> {
    let info = source.info().clone();
    let mut frame = Frame::empty(Origin::new("a", "s"), info.rate_hz, info.unit, info.n_channels);
    let mut sense = Sense::new(info.rate_hz, info.n_channels);
    let mut all = Vec::new();
    while source.read(&mut frame).unwrap() == Read::Frame {
        sense.check(&mut frame);
        all.push(frame.axis_quality.iter().map(|axis| axis.with(frame.quality)).collect());
    }
    all
}

fn synth(config: &Config) -> Vec<Vec<Quality>> {
    flags(config.build().unwrap().into_source(Origin::new("a", "s"), Stamp::default()))
}

fn union(flags: &[Vec<Quality>]) -> Quality {
    flags.iter().flatten().fold(Quality::GOOD, |all, one| all.with(*one))
}

fn ordered(fault: SensorFaultKind, amount: f64) -> Config {
    let fault = SensorFault { fault, start_s: 4.0, duration_s: 0.0, axis: Some(1), amount };
    Config { axes: 2, duration_s: 8.0, sensor_faults: vec![fault], ..Config::default() }
}

/// Flags of the healthy and the broken axis, before and after the fault begins.
fn before_and_after(config: &Config) -> (Quality, Quality, Quality) {
    let all = synth(config);
    let begin = (4.0 * config.rate_hz / 4096.0) as usize;
    let broken: Vec<Vec<Quality>> = all[begin..].iter().map(|axes| vec![axes[1]]).collect();
    let other: Vec<Vec<Quality>> = all[begin..].iter().map(|axes| vec![axes[0]]).collect();
    (union(&all[..begin]), union(&other), union(&broken))
}

#[test]
fn each_fault_of_the_sensor_is_named_on_its_axis_alone() {
    let check = |fault: SensorFaultKind, amount: f64, expect: Quality| {
        let (before, other, broken) = before_and_after(&ordered(fault, amount));
        assert_eq!((before, other), (Quality::GOOD, Quality::GOOD), "{fault:?}");
        assert_eq!(broken, expect, "{fault:?}");
    };
    check(SensorFaultKind::Flat, 0.0, Quality::FLAT);
    check(SensorFaultKind::Zeros, 0.0, Quality::DROPOUT);
    check(SensorFaultKind::Nan, 0.0, Quality::GARBAGE);
    check(SensorFaultKind::BiasStep, 0.0, Quality::BIAS);
    check(SensorFaultKind::Spikes, 0.0, Quality::SPIKES);
    check(SensorFaultKind::Clipping, 2000.0, Quality::CLIPPED.with(Quality::SATURATED));
}

#[test]
fn a_zero_point_that_jumps_is_named_whenever_it_jumps() {
    for k in 0..64 {
        let mut config = ordered(SensorFaultKind::BiasStep, 60.0);
        config.rate_hz = 12_800.0;
        config.noise = 1.0;
        config.sensor_faults[0].start_s = 3.0 + f64::from(k) / 64.0;
        let broken = synth(&config).iter().fold(Quality::GOOD, |all, axes| all.with(axes[1]));
        assert_eq!(broken, Quality::BIAS, "after {k}/64 s");
    }
}

#[test]
fn a_healthy_sensor_on_any_machine_is_never_flagged() {
    for seed in 0..4 {
        for (kind, rate_hz) in [(Kind::Vibration, 25_600.0), (Kind::Sound, 16_000.0)] {
            let fault = |fault, start_s| Fault {
                fault,
                start_s,
                growth_s: 4.0,
                severity: 1.0,
                law: Law::Linear,
            };
            let config = Config {
                duration_s: 9.0,
                stops: vec![Stop { start_s: 3.0, duration_s: 1.0, ramp_s: 0.5 }],
                faults: vec![fault(FaultKind::OuterRace, 5.0), fault(FaultKind::Imbalance, 0.0)],
                ..Config::random(seed, kind, rate_hz)
            };
            assert_eq!(union(&synth(&config)), Quality::GOOD, "{seed} {kind:?}");
        }
    }
}

#[test]
fn a_square_wave_between_the_rails_is_saturated_in_every_frame() {
    // A gain far too high leaves, of every frame, next to nothing between the rails.
    for gain in [2e3_f64, 2e4, 2e5, 2e6] {
        let fault = SensorFault {
            fault: SensorFaultKind::Clipping,
            start_s: 0.0,
            duration_s: 0.0,
            axis: None,
            amount: gain,
        };
        let config = Config { duration_s: 20.0, sensor_faults: vec![fault], ..Config::default() };
        let blind = |axes: &Vec<Quality>| axes.iter().all(|axis| axis.is_blind());
        assert!(synth(&config).iter().all(blind), "{gain}");
    }
    for n_between in 0..8 {
        let wave = |n: usize| if (n / 37).is_multiple_of(2) { 160.0 } else { -160.0 };
        let mut samples: Vec<f32> = (0..1024).map(wave).collect();
        (0..n_between).for_each(|k| samples[37 * (k + 1)] = 33.0 * k as f32 - 120.0);
        let mut frame = frame(12_800.0, 0, samples);
        Sense::new(12_800.0, 1).check(&mut frame);
        assert!(frame.quality.is_blind(), "{n_between}: {:?}", frame.quality);
        assert!(n_between < 2 || frame.quality.has(Quality::SATURATED), "{n_between}");
    }
}

#[test]
fn clipping_is_told_from_a_round_top_at_any_gain_and_pitch() {
    let sine = |period: f64, limit: f32, step: f32| -> Quality {
        let wave = |n: u32| (std::f64::consts::TAU * f64::from(n) / period).sin() as f32;
        let quantised = |x: f32| (x.clamp(-limit, limit) / step).round() * step;
        let mut frame = frame(25_600.0, 0, (0..4096).map(|n| quantised(wave(n))).collect());
        Sense::new(25_600.0, 1).check(&mut frame);
        frame.quality
    };
    for period in [2.7, 7.3, 20.37, 51.21, 200.7, 911.0] {
        for step in [1.0 / 128.0, 1.0 / 32_768.0, 1e-7] {
            assert_eq!(sine(period, 1.1, step), Quality::GOOD, "period {period}, step {step}");
        }
        if (20.0..=201.0).contains(&period) {
            let clipped = Quality::CLIPPED.with(Quality::SATURATED);
            for limit in [0.9, 0.5, 0.1] {
                assert_eq!(sine(period, limit, 1.0 / 32_768.0), clipped, "{period} at {limit}");
            }
        }
    }
}

#[test]
fn a_dead_channel_with_a_restless_last_bit_is_flat_and_a_quiet_one_is_not() {
    let noise = |steps: f64| -> Quality {
        let mut samples = Vec::new();
        let config = Config { noise: steps, bits: 0, ..Config::default() };
        config.build().unwrap().snapshot(0.0, 4096, &mut samples);
        let lsb = 0.25_f32;
        for x in &mut samples {
            *x = x.round() * lsb;
        }
        // In one piece and in small ones.
        let mut whole = frame(25_600.0, 0, samples.clone());
        Sense::new(25_600.0, 1).check(&mut whole);
        let mut sense = Sense::new(25_600.0, 1);
        let mut last = Quality::GOOD;
        for (n, part) in samples.chunks(100).enumerate() {
            let mut part = frame(25_600.0, n as u64 * 100, part.to_vec());
            sense.check(&mut part);
            last = part.quality;
        }
        assert_eq!(last, whole.quality);
        last
    };
    assert_eq!(noise(0.15), Quality::FLAT);
    assert_eq!(noise(2.0), Quality::LOW_SIGNAL);
    assert_eq!(noise(8.0), Quality::GOOD);
}

#[test]
fn numbers_that_do_not_follow_on_are_a_dropout_and_going_back_is_another_recording() {
    let mut sense = Sense::new(8000.0, 1);
    let mut check = |first: u64, n_lost: u64, expect: Quality| {
        let wave = |n: u32| (f64::from(n) * 0.7).sin() as f32;
        let mut frame = frame(8000.0, first, (0..512).map(wave).collect());
        frame.n_lost = n_lost;
        sense.check(&mut frame);
        assert_eq!(frame.quality, expect, "at {first}");
    };
    check(100, 0, Quality::GOOD);
    check(612, 0, Quality::GOOD);
    check(1200, 0, Quality::DROPOUT);
    check(1712, 0, Quality::GOOD);
    check(2224, 5, Quality::DROPOUT);
    check(0, 0, Quality::GOOD);
}

#[test]
fn a_stuck_value_is_noticed_over_short_frames() {
    let mut sense = Sense::new(1000.0, 1);
    let mut stuck = (0..6).map(|n| {
        let mut frame = frame(1000.0, n * 16, vec![0.5; 16]);
        sense.check(&mut frame);
        frame.quality
    });
    assert_eq!(stuck.by_ref().take(3).collect::<Vec<_>>(), [Quality::GOOD; 3]);
    assert_eq!(stuck.next(), Some(Quality::FLAT));
}

#[test]
fn absurd_values_are_taken_out() {
    let wave = |n: u32| if n == 7 { 3e30 } else { (f64::from(n) * 0.7).sin() as f32 };
    let mut frame = frame(8000.0, 0, (0..512).map(wave).collect());
    Sense::new(8000.0, 1).check(&mut frame);
    assert_eq!((frame.samples[7], frame.quality), (0.0, Quality::GARBAGE));
}

#[test]
fn recordings_of_real_machines_are_not_flagged() {
    let Some(data) = std::env::var_os("AUSCULT_DATA").map(std::path::PathBuf::from) else {
        return println!("skipped: AUSCULT_DATA does not say where the recordings are");
    };
    let mut n = 0;
    let mut wrong = Vec::new();
    for set in ["adi_cbm", "bldc_audio", "ceiling_fan", "cwru", "mfpt", "mimii", "femto"] {
        let Ok(folder) = std::fs::read_dir(data.join(set)) else { continue };
        for path in folder.map(|entry| entry.unwrap().path()) {
            if path.extension().is_none_or(|kind| kind != "wav") {
                continue;
            }
            let snapshot_samples = (set == "femto").then_some(2560);
            let options = Options { snapshot_samples, ..Options::default() };
            let source = open_recording(&path, Origin::new("a", "s"), None, options).unwrap();
            let found = flags(source);
            // A fan that stands still is below what its sensor can tell from nothing.
            let still = path.file_name().is_some_and(|name| name == "fan_0_off_0_weight.wav");
            let expect = if still { Quality::LOW_SIGNAL } else { Quality::GOOD };
            if union(&found) != expect {
                let names: Vec<_> = union(&found).names().collect();
                wrong.push(format!("{}: {names:?}", path.display()));
            }
            n += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{n} recordings");
}

/// A spike alone is noted, several stand for one trouble until it is over, and another axis is not touched.
#[test]
fn spikes_are_told_while_they_come() {
    let rate_hz = 10_000.0;
    let mut sense = Sense::new(rate_hz, 2);
    let mut told = Vec::new();
    for second in 0..40_u64 {
        let quiet = |i: usize| ((i * i * 7919) % 10_007) as f32 / 10_007.0;
        let mut frame = frame(rate_hz, second * 10_000, (0..20_000).map(quiet).collect());
        frame.n_channels = 2;
        frame.axis_quality = vec![Quality::GOOD; 2];
        if [3, 20, 23].contains(&second) {
            frame.samples[2 * 5000 + 1] = 50.0;
        }
        sense.check(&mut frame);
        assert!(frame.samples.iter().all(|x| x.abs() < 2.0), "second {second}");
        assert_eq!((frame.quality, frame.axis_quality[0]), (Quality::GOOD, Quality::GOOD));
        if frame.axis_quality[1] == Quality::SPIKES {
            told.push(second);
        }
    }
    let expect: Vec<u64> = [3, 20].into_iter().chain(23..=33).collect();
    assert_eq!(told, expect);
}
