//! The machine against the physics it claims.

use super::*;
use crate::acquire::{Read, Source};
use crate::types::{Frame, Quality, Shape};

fn quiet(config: Config) -> Config {
    Config { noise: 1e-6, ambient: 0.0, drift_db: 0.0, speed_wander: 0.0, bits: 0, ..config }
}

fn signal(config: &Config, t_s: f64, n: usize) -> Vec<f32> {
    let mut out = Vec::new();
    config.build().unwrap().snapshot(t_s, n, &mut out);
    out
}

fn rms(samples: &[f32]) -> f64 {
    (samples.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}

fn kurtosis(samples: &[f32]) -> f64 {
    let mean = |power: i32| {
        samples.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / samples.len() as f64
    };
    mean(4) / mean(2).powi(2)
}

/// Amplitude of the tone at `hz` by correlation; whole periods are the caller's care.
fn tone(samples: &[f32], rate_hz: f64, hz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, x) in samples.iter().enumerate() {
        let (sin, cos) = (std::f64::consts::TAU * hz * n as f64 / rate_hz).sin_cos();
        re += f64::from(*x) * cos;
        im += f64::from(*x) * sin;
    }
    2.0 * re.hypot(im) / samples.len() as f64
}

fn fault(fault: FaultKind, severity: f64) -> Vec<Fault> {
    vec![Fault { fault, start_s: 0.0, growth_s: 0.0, severity, law: Law::Linear }]
}

#[test]
fn any_part_is_bit_for_bit_the_part_of_the_whole() {
    let sensor_fault =
        |fault| SensorFault { fault, start_s: 1.0, duration_s: 0.0, axis: None, amount: 0.0 };
    for kind in [Kind::Vibration, Kind::Sound] {
        let config = Config {
            axes: 3,
            gear_teeth: 21,
            blades: 7,
            faults: [
                FaultKind::OuterRace,
                FaultKind::Ball,
                FaultKind::Cavitation,
                FaultKind::Looseness,
            ]
            .map(|fault| Fault {
                fault,
                start_s: 0.5,
                growth_s: 3.0,
                severity: 1.0,
                law: Law::Linear,
            })
            .to_vec(),
            stops: vec![Stop { start_s: 2.0, duration_s: 0.2, ramp_s: 0.3 }],
            sensor_faults: vec![
                sensor_fault(SensorFaultKind::LooseMount),
                sensor_fault(SensorFaultKind::Spikes),
            ],
            ..Config::random(5, kind, 16_000.0)
        };
        let machine = config.build().unwrap();
        let (mut all, mut part) = (Vec::new(), Vec::new());
        machine.snapshot(0.0, 64_000, &mut all);
        for (first, n) in [(0, 1), (1, 31), (7777, 333), (30_001, 4096), (50_000, 14_000)] {
            machine.snapshot(first as f64 / 16_000.0, n, &mut part);
            assert!(part == all[first * 3..(first + n) * 3], "{n} samples from {first}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_every_computer() {
    let config =
        Config { gear_teeth: 21, faults: fault(FaultKind::InnerRace, 0.3), ..Config::default() };
    let bytes: Vec<u8> = signal(&config, 3.0, 4096).iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(&blake3::hash(&bytes).to_hex()[..16], "83271738723c78d5");
}

#[test]
fn unbalance_shakes_at_shaft_speed_with_its_square() {
    let check = |rpm: f64| {
        let config = quiet(Config {
            schedule: vec![[0.0, rpm]],
            speed_rpm: 1500.0,
            line_hz: 0.0,
            faults: fault(FaultKind::Imbalance, 1.0),
            ..Config::default()
        });
        tone(&signal(&config, 0.0, 25_600), 25_600.0, rpm / 60.0)
    };
    let (slow, fast) = (check(1500.0), check(3000.0));
    assert!((fast / slow - 4.0).abs() < 0.01, "{slow} {fast}");
    // 9.4 mm/s RMS at 25 Hz, times this machine's own 0.6 to 1.6.
    let velocity = slow / (std::f64::consts::TAU * 25.0) * 1e3 / 2_f64.sqrt();
    assert!((9.4 * 0.6..9.4 * 1.6).contains(&velocity), "{velocity} mm/s");
}

#[test]
fn a_stopped_machine_is_still_and_only_the_hall_is_heard() {
    let config = Config {
        stops: vec![Stop { start_s: 1.0, duration_s: 5.0, ramp_s: 0.5 }],
        faults: fault(FaultKind::OuterRace, 0.5),
        ..Config::default()
    };
    let level = rms(&signal(&config, 2.0, 25_600));
    assert!((level / config.ambient - 1.0).abs() < 0.1, "{level}");
    assert_eq!(config.build().unwrap().truth(3.0).speed_hz, 0.0);
}

#[test]
fn bearing_damage_knocks_at_its_own_order() {
    let strikes = |kind: FaultKind, hz: f64| {
        let config = quiet(Config {
            speed_rpm: 1500.0,
            line_hz: 0.0,
            slip: 0.01,
            faults: fault(kind, 0.3),
            ..Config::default()
        });
        let samples = signal(&config, 0.0, 256_000);
        assert!(kurtosis(&samples) > 6.0, "{kind:?}: kurtosis {}", kurtosis(&samples));
        // Energy by milliseconds: its strongest line near the expected one.
        let energy: Vec<f32> = samples.chunks(16).map(|c| c.iter().map(|x| x * x).sum()).collect();
        let mean = energy.iter().sum::<f32>() / energy.len() as f32;
        let energy: Vec<f32> = energy.iter().map(|x| x - mean).collect();
        let best = (0..400)
            .map(|n| hz * (0.98 + 0.0001 * f64::from(n)))
            .max_by(|a, b| tone(&energy, 1600.0, *a).total_cmp(&tone(&energy, 1600.0, *b)));
        (best.unwrap() / hz - 1.0).abs()
    };
    let bearing = Bearing::default();
    for (kind, order) in [
        (FaultKind::OuterRace, bearing.bpfo),
        (FaultKind::InnerRace, bearing.bpfi),
        (FaultKind::Ball, 2.0 * bearing.bsf),
    ] {
        let off = strikes(kind, order * 25.0 * 0.99);
        assert!(off < 0.005, "{kind:?}: {off} off");
    }
}

#[test]
fn wear_grows_by_its_law() {
    let fault = Fault {
        fault: FaultKind::OuterRace,
        start_s: 100.0,
        growth_s: 1000.0,
        severity: 0.8,
        law: Law::Exponential,
    };
    let at = |t_s: f64| fault.at(t_s);
    assert_eq!((at(0.0), at(100.0)), (0.0, 0.0));
    assert!((at(1100.0) - 0.8).abs() < 1e-12 && (at(9999.0) - 0.8).abs() < 1e-12);
    let half = 0.8 * (2_f64.exp() - 1.0) * (2_f64.exp() - 1.0) / (4_f64.exp() - 1.0);
    let quarter = 0.8 * (1_f64.exp() - 1.0) / (4_f64.exp() - 1.0);
    assert!((at(350.0) - quarter).abs() < 1e-12, "{}", at(350.0));
    assert!(at(600.0) > at(350.0) * 2.0 && at(600.0) < half, "{}", at(600.0));
}

#[test]
fn random_machines_build_differ_and_are_healthy() {
    let mut levels = Vec::new();
    for seed in 0..40 {
        for kind in [Kind::Vibration, Kind::Sound] {
            let config = Config::random(seed, kind, 16_000.0);
            let samples = signal(&config, 0.0, 16_000);
            assert!((1.2..4.5).contains(&kurtosis(&samples)), "{seed}: {}", kurtosis(&samples));
            let b = config.bearing;
            assert!((b.bpfo + b.bpfi - b.bpfo / b.ftf).abs() < 1e-9);
            levels.push(rms(&samples));
        }
        Machine::random(seed);
    }
    levels.sort_by(f64::total_cmp);
    assert!(levels.windows(2).all(|two| two[0] < two[1]));
}

fn frames(config: &Config) -> Vec<Frame> {
    let mut source = Synth::new(config.build().unwrap(), Origin::new("a", "s"), Stamp::from_ms(5));
    let mut frame = Frame::empty(Origin::new("", ""), 1.0, crate::types::Unit::Volt, 1);
    let mut frames = Vec::new();
    while source.read(&mut frame).unwrap() == Read::Frame {
        frames.push(frame.clone());
    }
    frames
}

#[test]
fn as_a_source_it_numbers_stamps_and_loses_as_ordered() {
    let sensor_fault =
        |fault, start_s| SensorFault { fault, start_s, duration_s: 0.5, axis: None, amount: 0.0 };
    let config = Config {
        rate_hz: 8192.0,
        duration_s: 4.25,
        sensor_faults: vec![
            sensor_fault(SensorFaultKind::Dropout, 1.0),
            sensor_fault(SensorFaultKind::Nan, 2.0),
        ],
        ..Config::default()
    };
    let frames = frames(&config);
    let numbers: Vec<u64> = frames.iter().map(|frame| frame.origin.first_sample / 4096).collect();
    assert_eq!(numbers, [0, 1, 3, 4, 5, 6, 7, 8]);
    assert_eq!(frames.last().unwrap().len(), 2048);
    assert_eq!(
        frames.iter().map(|frame| frame.n_lost).collect::<Vec<_>>(),
        [0, 0, 4096, 0, 0, 0, 0, 0]
    );
    assert_eq!(frames[2].quality, Quality::DROPOUT);
    assert_eq!(frames[2].start, Stamp(1_505_000_000));
    assert_eq!(frames[3].quality, Quality::GARBAGE);
    assert!(frames.iter().flat_map(|frame| &frame.samples).all(|x| x.is_finite()));
}

#[test]
fn years_pass_in_snapshots() {
    let config = Config {
        snapshot_samples: 2560,
        snapshot_every_s: 3600.0,
        duration_s: 86_400.0 * 365.0 * 5.0,
        ..Config::default()
    };
    let mut source = Synth::new(config.build().unwrap(), Origin::new("a", "s"), Stamp::default());
    let mut frame = Frame::empty(Origin::new("", ""), 1.0, crate::types::Unit::Volt, 1);
    source.frame_idx = 24 * 365 * 5 - 1;
    assert_eq!(source.read(&mut frame).unwrap(), Read::Frame);
    assert_eq!((frame.len(), frame.shape), (2560, Shape::Snapshot));
    assert_eq!(frame.start.to_string(), "1974-12-30T23:00:00.000Z");
    assert!((rms(&frame.samples) / 0.25 - 1.0).abs() < 0.6, "{}", rms(&frame.samples));
    assert_eq!(source.read(&mut frame).unwrap(), Read::End);
}

#[test]
fn what_cannot_be_is_refused_with_its_range() {
    let check = |config: Config, expect: &str| {
        assert_eq!(config.build().unwrap_err().to_string(), format!("synth: {expect}"));
    };
    let default = Config::default;
    check(Config { rate_hz: f64::NAN, ..default() }, "rate_hz must be 10 to 200000, not NaN");
    check(Config { axes: 4, ..default() }, "axes must be 1 to 3, not 4");
    let stop = Stop { start_s: 1.0, duration_s: 1.0, ramp_s: 2.0 };
    check(
        Config { stops: vec![stop], ..default() },
        "stops need duration and ramp above 0, and must not overlap",
    );
    check(
        Config { start: "today".into(), ..default() },
        "start `today` is not RFC 3339 (2026-01-31T12:00:00Z)",
    );
}
