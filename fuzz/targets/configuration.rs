//! Any bytes as `auscult.toml`: refused with every mistake in words, or all that runs is built from them.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use auscult::acquire;
use auscult::config::{Config, Error, Sensor};
use auscult::daemon::SystemClock;
use auscult::publish::ClockQuality;
use auscult::types::{Clock, Frame, Origin, Shape, Unit};

/// The file's folder.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.get_or_init(folder).join("auscult.toml");
    fs::write(&path, bytes).expect("memory for a file");
    match Config::load(&path) {
        Err(error @ Error::Wrong(_)) => assert!(!error.to_string().is_empty()),
        Err(error) => panic!("it is a short file: {error}"),
        Ok(config) => build(&config),
    }
});

/// A folder in memory, with a model that may be named and a file too long for one.
fn folder() -> PathBuf {
    let folder = Path::new("/dev/shm").join(format!("auscult-fuzz-{}-config", std::process::id()));
    fs::create_dir_all(&folder).expect("memory for a folder");
    let model = include_bytes!("../seeds/model_file/every_kind.safetensors");
    fs::write(folder.join("small.safetensors"), model).expect("memory for a file");
    let big = fs::File::create(folder.join("big")).expect("memory for a file");
    big.set_len(1 << 40).expect("a hole takes no memory");
    folder
}

/// What runs, without opening a device.
fn build(config: &Config) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let office = config.office(ClockQuality::default(), Arc::clone(&clock));
    assert_eq!(office.assets.len(), config.assets.len());
    let is_alone = config.assets.len() == 1 && config.assets[0].sensors.len() == 1;
    assert_eq!(config.find(None).is_ok(), is_alone);
    let machines = config.machines(&clock).expect("its models were there a moment ago");
    for ((asset_idx, asset), machine) in config.assets.iter().enumerate().zip(machines) {
        (machine.make_pipeline)();
        assert!(!asset.sensors.is_empty());
        for ((sensor_idx, sensor), ear) in asset.sensors.iter().enumerate().zip(machine.ears) {
            let name = format!("{}/{}", asset.id, sensor.id);
            assert_eq!(config.find(Some(&name)), Ok((asset_idx, sensor_idx)));
            let file = sensor.reading(PathBuf::from("a.csv"));
            assert!(matches!(file, acquire::Config::Recording(_)));
            for shape in [Shape::Stream, Shape::Snapshot] {
                let frame = Frame { shape, ..frame(sensor, asset.origin(sensor)) };
                let measures = [sensor.extractor(&frame).is_ok(), sensor.views(&frame).is_ok()];
                let lane = (ear.make_lane)(&frame);
                assert!(lane.is_err() || measures == [true; 2]);
            }
        }
    }
}

/// A tenth of a second of silence, as the sensor's device may give it.
fn frame(sensor: &Sensor, origin: Origin) -> Frame {
    let expect = sensor.source.expect().unwrap_or((1000.0, 1, Unit::FullScale));
    let (rate_hz, n_channels, unit) = expect;
    let mut frame = Frame::empty(origin, rate_hz, unit, n_channels);
    frame.samples.resize((rate_hz / 10.0) as usize * n_channels, 0.0);
    frame
}
