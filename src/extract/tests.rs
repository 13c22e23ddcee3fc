//! The extractor as its callers see it.

use std::f64::consts::TAU;

use proptest::prelude::*;

use super::*;
use crate::types::{Features, Frame, Origin, Quality, SpeedSource, Stamp};

fn sensor(kind: SensorKind, rate_hz: f64, unit: Unit) -> Sensor {
    Sensor {
        kind,
        rate_hz,
        unit,
        n_channels: 1,
        shape: Shape::Stream,
        snapshot_samples: None,
        speed: SpeedConfig::default(),
    }
}

fn frame(sensor: &Sensor, first: usize, samples: &[f32]) -> Frame {
    let mut frame =
        Frame::empty(Origin::new("pump", "de"), sensor.rate_hz, sensor.unit, sensor.n_channels);
    frame.origin.first_sample = first as u64;
    frame.origin.n_samples = (samples.len() / sensor.n_channels) as u64;
    frame.start = Stamp((first as f64 * 1e9 / sensor.rate_hz).round() as i64);
    frame.samples = samples.to_vec();
    frame.shape = sensor.shape;
    frame
}

/// All windows of a recording given in frames of so many samples, in turn.
fn run(config: &Config, sensor: &Sensor, x: &[f32], sizes: &[usize]) -> Vec<Features> {
    let mut extractor = config.build(sensor).expect("a sensible configuration");
    let (mut all, mut at) = (Vec::new(), 0);
    for size in sizes.iter().cycle() {
        let to = (at + size * sensor.n_channels).min(x.len());
        extractor.push(&frame(sensor, at / sensor.n_channels, &x[at..to]));
        while let Some(features) = extractor.step() {
            all.push(features.clone());
        }
        at = to;
        if at == x.len() {
            break;
        }
    }
    all.extend(extractor.finish().cloned());
    assert!(extractor.finish().is_none(), "a recording has one end");
    all
}

fn noise(i: usize) -> f64 {
    let mut z = (i as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
}

fn signal(n: usize, f: impl Fn(usize) -> f64) -> Vec<f32> {
    (0..n).map(|i| f(i) as f32).collect()
}

#[test]
fn one_g_becomes_velocity_whatever_offset_and_drift() {
    let sensor = sensor(SensorKind::Vibration, 25_600.0, Unit::G);
    let x = signal(25_600 * 4, |i| {
        let t = i as f64 / 25_600.0;
        (TAU * 159.155 * t).sin() + 0.5 + 0.1 * t
    });
    let all = run(&Config::default(), &sensor, &x, &[2560]);
    assert_eq!(all.len(), 4);
    assert!(all[..3].iter().all(|features| features.axes[0].record.is_none()));
    let record = all[3].axes[0].record.as_ref().expect("four seconds");
    let velocity = record.velocity_rms_mm_s.expect("all is known");
    assert!((velocity - 6.9344).abs() < 1e-3, "{velocity}");
    assert_eq!(all[3].unit, Unit::MetersPerSecond2);
    let indicators = all[0].axes[0].indicators;
    assert!((indicators.rms - 6.9343).abs() < 0.01, "{indicators:?}");
    assert!((indicators.mean - 0.55 * 9.80665).abs() < 0.01, "{indicators:?}");
}

#[test]
fn velocity_is_not_given_where_it_cannot_be() {
    let check = |kind, rate: f64, unit, secs: f64, speed_rpm, word: &str| {
        let mut sensor = sensor(kind, rate, unit);
        sensor.speed.speed_rpm = speed_rpm;
        let all = run(&Config::default(), &sensor, &signal((secs * rate) as usize, noise), &[999]);
        let record = all.last().and_then(|f| f.axes[0].record.as_ref()).expect("a record");
        assert_eq!(record.velocity_rms_mm_s, None);
        let reason = record.velocity_reason.expect("a reason");
        assert!(reason.contains(word), "{reason}");
    };
    check(SensorKind::Vibration, 25_600.0, Unit::Volt, 2.0, None, "unit");
    check(SensorKind::Vibration, 1600.0, Unit::G, 2.0, None, "rate");
    check(SensorKind::Vibration, 25_600.0, Unit::G, 0.6, None, "short");
    check(SensorKind::Vibration, 25_600.0, Unit::G, 4.0, Some(300.0), "8 s");
    check(SensorKind::Sound, 16_000.0, Unit::Pascal, 2.0, None, "microphone");
}

#[test]
fn at_a_lower_pace_what_is_measured_is_the_same() {
    let run = |kind, every: u32| {
        let sensor = sensor(kind, 16_000.0, Unit::FullScale);
        let mut extractor = Config::default().build(&sensor).expect("a sensible configuration");
        extractor.set_pace(every);
        let (mut windows, mut records) = (Vec::new(), Vec::new());
        let mut n_left_out = 0;
        for (n, part) in signal(16_000 * 48, noise).chunks(1700).enumerate() {
            extractor.push(&frame(&sensor, n * 1700, part));
            while let Some(features) = extractor.step() {
                let axis = &features.axes[0];
                let numbers = (axis.indicators, axis.mel.db.clone(), axis.mel_hops.clone());
                windows.push((features.origin.first_sample, features.start, numbers));
                n_left_out += features.n_left_out as usize;
                records.extend(axis.record.as_ref().map(|record| record.spectrum.power.clone()));
            }
        }
        (windows, records, n_left_out)
    };
    for kind in [SensorKind::Vibration, SensorKind::Sound] {
        let (windows, records, n_left_out) = run(kind, 1);
        assert_eq!(n_left_out, 0);
        for every in [2, 4] {
            let (some_windows, some_records, n_left_out) = run(kind, every as u32);
            assert_eq!(n_left_out, (some_windows.len() - 1) * (every - 1));
            let wanted: Vec<_> = windows.iter().step_by(every).cloned().collect();
            assert_eq!(some_windows, wanted, "{kind:?}, of {every} windows one");
            assert!(records.len() > 2 * every && some_records.len() >= records.len() / every);
            let wanted = records.iter().step_by(every);
            assert!(some_records.iter().eq(wanted.take(some_records.len())), "{kind:?}, {every}");
        }
    }
}

#[test]
fn windows_and_records_of_recordings_of_any_length() {
    let check = |secs: f64, windows: &[f64], record_secs: f64| {
        let sensor = sensor(SensorKind::Vibration, 1000.0, Unit::G);
        let x = signal((secs * 1000.0) as usize, noise);
        let all = run(&Config::default(), &sensor, &x, &[170]);
        let spans: Vec<f64> = all.iter().map(|features| features.span.as_secs()).collect();
        assert_eq!(spans, windows, "{secs} s");
        let records: Vec<f64> = all
            .iter()
            .filter_map(|features| features.axes[0].record.as_ref())
            .map(|record| record.span.as_secs())
            .collect();
        assert_eq!(records, [record_secs], "{secs} s");
    };
    check(0.5, &[0.5], 0.5);
    check(1.0, &[1.0, 1.0], 1.0);
    check(2.25, &[1.0, 1.0, 1.0], 2.25);
    check(2.5, &[1.0, 1.0, 1.0], 2.5);
    check(4.3, &[1.0, 1.0, 1.0, 1.0], 4.0);
    check(4.5, &[1.0, 1.0, 1.0, 1.0, 1.0], 4.0);
}

#[test]
fn the_last_window_reaches_to_the_end() {
    let sensor = sensor(SensorKind::Vibration, 1000.0, Unit::G);
    let all = run(&Config::default(), &sensor, &signal(4600, noise), &[170]);
    let last = all.last().expect("windows");
    assert_eq!((last.origin.first_sample, last.origin.n_samples), (3600, 1000));
    assert_eq!(last.start, Stamp::from_ms(3600));
}

#[test]
fn a_gap_ends_the_window_and_is_told() {
    let sensor = sensor(SensorKind::Vibration, 1000.0, Unit::G);
    let mut extractor = Config::default().build(&sensor).expect("sensible");
    let x = signal(1500, noise);
    extractor.push(&frame(&sensor, 0, &x));
    let first = extractor.step().expect("a full window").quality;
    assert_eq!(first, Quality::GOOD);
    assert!(extractor.step().is_none());
    let mut after = frame(&sensor, 1600, &x);
    after.n_lost = 100;
    extractor.push(&after);
    let second = extractor.step().expect("a full window");
    assert_eq!(second.origin.first_sample, 1600);
    assert!(second.quality.has(Quality::DROPOUT));
    assert_eq!(extractor.n_dropped(), 500);
}

#[test]
fn a_stream_of_gaps_is_not_silence() {
    let sensor = sensor(SensorKind::Vibration, 1000.0, Unit::G);
    let mut extractor = Config::default().build(&sensor).expect("sensible");
    let (mut n_blind, mut first) = (0, 0);
    for _ in 0..50 {
        let mut frame = frame(&sensor, first, &signal(300, noise));
        frame.n_lost = 200;
        first += 500;
        extractor.push(&frame);
        while let Some(features) = extractor.step() {
            assert!(features.is_blind() && features.axes[0].record.is_none());
            assert_eq!(features.span.0, if n_blind == 0 { 1_200_000_000 } else { 1_000_000_000 });
            n_blind += 1;
        }
    }
    assert!(n_blind >= 23, "{n_blind}");
}

#[test]
fn flags_go_with_their_samples() {
    let mut sensor = sensor(SensorKind::Vibration, 1000.0, Unit::G);
    sensor.n_channels = 2;
    let mut extractor = Config::default().build(&sensor).expect("sensible");
    for i in 0..20 {
        let mut frame = frame(&sensor, i * 100, &signal(200, noise));
        if i == 3 {
            frame.axis_quality[1] = Quality::CLIPPED;
        }
        if i == 12 {
            frame.quality = Quality::HUM;
        }
        extractor.push(&frame);
        let Some(features) = extractor.step() else { continue };
        let flags: Vec<Quality> = features.axes.iter().map(|axis| axis.quality).collect();
        let clipped = if i < 10 { Quality::CLIPPED } else { Quality::GOOD };
        assert_eq!(flags, [Quality::GOOD, clipped]);
        assert_eq!(features.quality, if i < 10 { Quality::GOOD } else { Quality::HUM });
        let kurtosis = features.axes[1].indicators.kurtosis;
        assert_eq!(kurtosis == 3.0, i < 10, "{kurtosis}");
        assert!(features.axes[0].indicators.kurtosis < 2.5);
    }
}

#[test]
fn a_snapshot_is_a_window_and_a_record() {
    let mut sensor = sensor(SensorKind::Vibration, 25_600.0, Unit::G);
    sensor.shape = Shape::Snapshot;
    sensor.snapshot_samples = Some(2560);
    let all = run(&Config::default(), &sensor, &signal(2560 * 3 + 1000, noise), &[2560]);
    let spans: Vec<u64> = all.iter().map(|features| features.origin.n_samples).collect();
    assert_eq!(spans, [2560, 2560, 2560, 1000]);
    for features in &all {
        let axis = &features.axes[0];
        let record = axis.record.as_ref().expect("every snapshot is a record");
        assert_eq!(record.spectrum.df_hz, 25_600.0 / features.origin.n_samples as f64);
        assert!(record.envelopes.last().is_some_and(|envelope| envelope.prewhitened));
        let n_bands = if features.origin.n_samples == 2560 { 128 } else { 32 };
        assert_eq!(axis.mel.db.len(), n_bands);
        assert!(axis.mel.db.iter().all(|&db| db > -60.0));
    }
}

#[test]
fn envelopes_switched_off_change_nothing_else() {
    let sensor = sensor(SensorKind::Vibration, 25_600.0, Unit::G);
    let x = signal(25_600 * 4, noise);
    let record_of = |envelopes| {
        let all = run(&Config { envelopes, ..Config::default() }, &sensor, &x, &[2560]);
        all[3].axes[0].record.clone().expect("four windows are a record")
    };
    let (with, without) = (record_of(true), record_of(false));
    assert!(!with.envelopes.is_empty() && without.envelopes.is_empty());
    assert_eq!(without.spectrum, with.spectrum);
    assert_eq!(without.velocity_rms_mm_s, with.velocity_rms_mm_s);
}

#[test]
fn hops_of_sound_go_on_over_windows() {
    let sensor = sensor(SensorKind::Sound, 16_000.0, Unit::FullScale);
    let x = signal(16_000 * 3 + 9000, noise);
    let all = run(&Config::default(), &sensor, &x, &[1600]);
    let hops: Vec<usize> = all.iter().map(|f| f.axes[0].mel_hops.len() / 128).collect();
    // Hop j ends with sample 512 j + 1024 and belongs to the window that sample is in.
    assert_eq!(hops, [30, 31, 31, 29]);
    let mut one_by_one = Vec::new();
    let bank = crate::dsp::MelBank::new(16_000.0, 1024, 128);
    let mut log_mel = crate::dsp::LogMel::new(1024, bank);
    for hop in x[..48_000].windows(1024).step_by(512) {
        let (mut power, mut db) = ([0.0; 128], [0.0; 128]);
        log_mel.hop(hop, 0.0, &mut power);
        crate::dsp::to_db(&power, &mut db);
        one_by_one.extend(db);
    }
    let joined: Vec<f32> = all[..3].iter().flat_map(|f| f.axes[0].mel_hops.clone()).collect();
    assert_eq!(joined, one_by_one);
}

#[test]
fn a_microphone_in_pascal_reads_the_calibrators_level() {
    let sensor = sensor(SensorKind::Sound, 48_000.0, Unit::Pascal);
    // 94 dB at 1 kHz: 1 Pa RMS.
    let x = signal(48_000, |i| 2f64.sqrt() * (TAU * i as f64 / 48.0).sin());
    let all = run(&Config::default(), &sensor, &x, &[4800]);
    let axis = &all[0].axes[0];
    let dba = axis.indicators.level_dba.expect("sound");
    assert!((dba - 93.98).abs() < 0.02, "{dba}");
    let loudest = (0..axis.third_octaves.db.len())
        .max_by(|&a, &b| axis.third_octaves.db[a].total_cmp(&axis.third_octaves.db[b]))
        .expect("bands");
    let (lo, hi) = axis.third_octaves.edges_hz[loudest];
    assert!(lo < 1000.0 && hi > 1000.0);
    assert!(axis.third_octaves.db[loudest].abs() < 0.02);
}

#[test]
fn every_rate_gives_what_it_can() {
    for rate in [50.0, 200.0, 1000.0, 12_000.0, 20_000.0, 48_828.0, 192_000.0] {
        for kind in [SensorKind::Vibration, SensorKind::Sound] {
            let sensor = sensor(kind, rate, Unit::G);
            let x = signal((rate * 1.7) as usize, |i| 9.0 + noise(i));
            let all = run(&Config::default(), &sensor, &x, &[4096]);
            let axis = &all[0].axes[0];
            let record = all.last().and_then(|f| f.axes[0].record.as_ref()).expect("a record");
            assert!(axis.mel.db.len() >= 8, "{rate}: {}", axis.mel.db.len());
            assert!(axis.mel.db.iter().all(|db| *db > -60.0 && *db < 90.0), "{rate}");
            assert!(axis.third_octaves.edges_hz.iter().all(|edges| edges.1 as f64 <= rate / 2.0));
            let sum: f32 = axis.spectrum.power.iter().sum();
            assert!((sum / axis.indicators.rms.powi(2) - 1.0).abs() < 0.4, "{rate}: {sum}");
            let fine: f32 = record.spectrum.power.iter().sum();
            assert!((fine * 12.0 - if unit_is_g(kind) { 96.17 } else { 1.0 }).abs() < 40.0);
            assert!(
                record.envelopes.iter().all(|e| e.spectrum.power.iter().all(|p| p.is_finite()))
            );
        }
    }
}

fn unit_is_g(kind: SensorKind) -> bool {
    kind == SensorKind::Vibration
}

#[test]
fn impacts_are_demodulated_where_they_ring() {
    let sensor = sensor(SensorKind::Vibration, 20_000.0, Unit::Volt);
    let mut x = signal(80_000, noise);
    let mut at = 0.0;
    for knock in 0..428 {
        for i in at as usize..(at as usize + 180).min(x.len()) {
            let tau = (i as f64 - at) / 20_000.0;
            x[i] += ((-800.0 * tau).exp() * (TAU * 3500.0 * tau).sin()) as f32;
        }
        at += 187.0 * (1.0 + 0.02 * noise(knock));
    }
    let all = run(&Config::default(), &sensor, &x, &[2000]);
    let record = all[3].axes[0].record.as_ref().expect("four seconds");
    assert_eq!(record.envelopes.len(), 4);
    let best = &record.envelopes[0];
    assert!(best.band_hz.0 < 3500.0 && best.band_hz.1 > 3500.0 && best.impulsiveness > 0.5);
    for envelope in [best, &record.envelopes[3]] {
        let line = (20_000.0 / 187.0 / envelope.spectrum.df_hz).round() as usize;
        let power = &envelope.spectrum.power;
        let mut sorted = power[10..line * 2].to_vec();
        sorted.sort_by(f32::total_cmp);
        let peak = power[line - 1..=line + 1].iter().fold(0f32, |a, &b| a.max(b));
        assert!(peak > 100.0 * sorted[sorted.len() / 2], "{:?}", envelope.band_hz);
    }
}

#[test]
fn a_sensor_that_hears_less_than_its_rate_allows_knocks_no_more_for_it() {
    let mut x = signal(80_100, noise);
    for _ in 0..10 {
        x = x.windows(8).map(|near| near.iter().sum::<f32>() / 8.0).collect();
    }
    let sensor = sensor(SensorKind::Vibration, 20_000.0, Unit::G);
    let all = run(&Config::default(), &sensor, &x, &[2000]);
    let record = all.iter().find_map(|features| features.axes[0].record.as_ref());
    let whole = record.and_then(|record| record.envelopes.last()).expect("four seconds");
    assert!(whole.impulsiveness < 1.0, "{}", whole.impulsiveness);
    assert!(whole.band_hz.1 < 2500.0, "{:?}", whole.band_hz);
}

#[test]
fn the_speed_is_the_surest_known() {
    let base = sensor(SensorKind::Vibration, 5000.0, Unit::G);
    let lines = |i: usize| {
        let turn = TAU * 24.6 * i as f64 / 5000.0;
        turn.sin() + 0.5 * (2.0 * turn).sin() + 0.3 * (3.0 * turn).sin() + 0.2 * noise(i)
    };
    let mut nameplate = base.clone();
    nameplate.speed.speed_rpm = Some(1500.0);
    let all = run(&Config::default(), &nameplate, &signal(20_000, lines), &[500]);
    assert_eq!(all[0].speed.map(|s| (s.hz, s.source)), Some((25.0, SpeedSource::Configured)));
    let found = all[3].speed.expect("lines");
    assert_eq!(found.source, SpeedSource::Signal);
    assert!((found.hz - 24.6).abs() < 0.02, "{found:?}");
    let all = run(&Config::default(), &base, &signal(20_000, lines), &[500]);
    assert!(all.iter().all(|features| features.speed.is_none()));

    let mut tacho = base;
    tacho.n_channels = 2;
    tacho.speed.tacho_channel = Some(0);
    let both = signal(10_000, |i| if i % 2 == 0 { lines(i / 2) } else { noise(i) });
    let all = run(&Config::default(), &tacho, &both, &[500]);
    assert_eq!(all[0].axes.len(), 1);
    let speed = all[0].speed.expect("a tacho");
    assert_eq!(speed.source, SpeedSource::Tacho);
    assert!((speed.hz - 24.6).abs() < 0.05, "{speed:?}");
}

#[test]
fn a_settling_sensor_is_flagged_and_a_slow_machine_is_not() {
    let check = |f: fn(f64) -> f64, expect: bool| {
        let sensor = sensor(SensorKind::Vibration, 5000.0, Unit::G);
        let x = signal(20_000, |i| f(i as f64 / 5000.0) + 1e-4 * noise(i));
        let all = run(&Config::default(), &sensor, &x, &[500]);
        assert_eq!(all[3].axes[0].quality.has(Quality::SKI_SLOPE), expect);
    };
    check(|t| (-t / 0.1).exp(), true);
    check(|t| 0.2 * (TAU * 7.0 * t).sin(), false);
    check(|t| 0.2 * (TAU * 50.0 * t).sin(), false);
}

#[test]
fn sound_in_calm_has_its_envelopes_now_and_then() {
    let check = |kind, calm: bool, expect: &[usize]| {
        let sensor = sensor(kind, 1000.0, Unit::G);
        let config = Config { record_ms: 1000.0, ..Config::default() };
        let mut extractor = config.build(&sensor).expect("a sensor as any other");
        let mut frame = Frame::empty(Origin::new("a", "s"), 1000.0, Unit::G, 1);
        frame.samples = signal(1000, noise);
        let mut with_envelopes = Vec::new();
        for second in 0..18 {
            extractor.push(&frame);
            while let Some(features) = extractor.step() {
                let record = features.axes[0].record.as_ref().expect("a record each second");
                assert!(!record.spectrum.power.is_empty());
                if !record.envelopes.is_empty() {
                    with_envelopes.push(second);
                }
            }
            extractor.set_calm(calm);
        }
        assert_eq!(with_envelopes, expect);
    };
    let every: Vec<usize> = (0..18).collect();
    check(SensorKind::Sound, true, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16]);
    check(SensorKind::Sound, false, &every);
    check(SensorKind::Vibration, true, &every);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let check = |key: &str, config: Config, change: fn(&mut Sensor)| {
        let mut sensor = sensor(SensorKind::Vibration, 25_600.0, Unit::G);
        change(&mut sensor);
        let error = config.build(&sensor).err().expect("refused");
        assert_eq!(error.key, key, "{error}");
    };
    let ok = Config::default;
    check("window_ms", Config { window_ms: f64::NAN, ..ok() }, |_| {});
    check("window_ms", Config { window_ms: 0.1, ..ok() }, |_| {});
    check("record_ms", Config { record_ms: 1e12, ..ok() }, |_| {});
    check("mel_bands", Config { mel_bands: 3, ..ok() }, |_| {});
    check("rate_hz", ok(), |sensor| sensor.rate_hz = 0.0);
    check("snapshot_samples", ok(), |sensor| sensor.snapshot_samples = Some(3));
    check("tacho_channel", ok(), |sensor| sensor.speed.tacho_channel = Some(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_sizes_of_the_frames_do_not_matter(
        sizes in prop::collection::vec(1usize..3000, 1..6),
        n in 300usize..9000,
        sound in any::<bool>(),
    ) {
        let kind = if sound { SensorKind::Sound } else { SensorKind::Vibration };
        let mut sensor = sensor(kind, 1000.0, Unit::G);
        sensor.n_channels = 2;
        let x = signal(2 * n, |i| 3.0 + noise(i));
        let whole = run(&Config::default(), &sensor, &x, &[n]);
        let pieces = run(&Config::default(), &sensor, &x, &sizes);
        // Debug prints every bit of a float; NaN would print alike too.
        prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    }
}
