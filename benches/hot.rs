//! The hot paths, in seconds of signal per second of work (criterion: elements are samples).
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot unwrap has failed")]

use std::hint::black_box;

use auscult::dsp::{LogMel, MelBank, to_db};
use auscult::extract::{Config, Extractor, Sensor, SpeedConfig};
use auscult::types::{Frame, Origin, SensorKind, Shape, Unit};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Repeatable noise on -0.5..0.5.
fn noise(n: usize) -> Vec<f32> {
    let mut x = 1u32;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x as f32 / 4_294_967_296.0 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

/// Log-mel frames alone: 1024 samples every 512, 128 bands, as the audio models take them.
fn log_mel_16k(c: &mut Criterion) {
    let x = noise(16_000 * 10);
    let mut log_mel = LogMel::new(1024, MelBank::new(16_000.0, 1024, 128));
    let (mut power, mut db) = ([0.0; 128], [0.0; 128]);
    let mut group = c.benchmark_group("extract");
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("log_mel_16k", |b| {
        b.iter(|| {
            for hop in x.windows(1024).step_by(512) {
                log_mel.hop(black_box(hop), 0.0, &mut power);
                to_db(&power, &mut db);
                black_box(&db);
            }
        });
    });
    group.finish();
}

/// Everything an extractor measures, on 8 s of one channel in frames of 0.1 s.
fn extractor(c: &mut Criterion, name: &str, kind: SensorKind, rate_hz: f64, unit: Unit) {
    let sensor = Sensor {
        kind,
        rate_hz,
        unit,
        n_channels: 1,
        shape: Shape::Stream,
        snapshot_samples: None,
        speed: SpeedConfig::default(),
    };
    let mut extractor: Extractor = Config::default().build(&sensor).unwrap();
    let n = (rate_hz * 0.1) as usize;
    let mut frame = Frame::empty(Origin::new("a", "b"), rate_hz, unit, 1);
    frame.samples = noise(n);
    let mut group = c.benchmark_group("extract");
    group.throughput(Throughput::Elements(80 * n as u64));
    group.bench_function(name, |b| {
        b.iter(|| {
            for _ in 0..80 {
                extractor.push(black_box(&frame));
                while let Some(features) = extractor.step() {
                    black_box(features);
                }
            }
        });
    });
    group.finish();
}

fn vibration_25k6(c: &mut Criterion) {
    extractor(c, "vibration_25k6", SensorKind::Vibration, 25_600.0, Unit::G);
}

fn sound_16k(c: &mut Criterion) {
    extractor(c, "sound_16k", SensorKind::Sound, 16_000.0, Unit::FullScale);
}

criterion_group!(extract, log_mel_16k, vibration_25k6, sound_16k);
criterion_main!(extract);
