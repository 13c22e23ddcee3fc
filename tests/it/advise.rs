//! Alarms of a whole pipeline on a synthetic machine: a broken sensor is the sensor's matter only.

use auscult::acquire::{
    Read, SynthConfig, SynthFault, SynthFaultKind, SynthLaw, SynthSensorFault, SynthSensorFaultKind,
};
use auscult::extract::{Sensor, SpeedConfig};
use auscult::pipeline::{Lane, Pipeline};
use auscult::types::{Alert, Event, Frame, Origin, SensorKind, Shape, Span, Stamp, Unit, What};
use auscult::{advise, assess, detect, extract, forecast};

const RATE_HZ: f64 = 12_800.0;
const LEARN_S: f64 = 120.0;

/// Runs a machine through the six blocks; the events it caused.
fn run(config: &SynthConfig) -> Vec<Alert> {
    let origin = Origin::new("pump-1", "drive-end");
    let mut source = config.build().unwrap().into_source(origin.clone(), Stamp::default());
    let mut frame = Frame::empty(origin.clone(), RATE_HZ, Unit::MetersPerSecond2, 1);
    let sensor = Sensor {
        kind: SensorKind::Vibration,
        rate_hz: RATE_HZ,
        unit: Unit::MetersPerSecond2,
        n_channels: 1,
        shape: Shape::Stream,
        snapshot_samples: None,
        speed: SpeedConfig::default(),
    };
    let learning = detect::Config { learn_s: LEARN_S, ..detect::Config::default() };
    let mut detector = learning.build(origin, None).unwrap();
    detector.set_pace(Span::from_secs(1.0));
    let extractor = extract::Config::default().build(&sensor).unwrap();
    let rules = assess::Config::default();
    let mut pipeline = Pipeline::new(
        1,
        rules.build(&[("drive-end", vec!["radial".to_owned()])]).unwrap(),
        forecast::Config::default().build().unwrap(),
        advise::Config::default().build().unwrap(),
    );
    pipeline.install(0, Lane::new(&frame, extractor, detector)).unwrap();
    let mut told = Vec::new();
    while source.read(&mut frame).unwrap() != Read::End {
        pipeline.step(0, &mut frame, |tick| told.extend(tick.alerts.iter().cloned()));
    }
    told
}

fn healthy(duration_s: f64) -> SynthConfig {
    SynthConfig { rate_hz: RATE_HZ, duration_s, tell_speed: true, ..SynthConfig::default() }
}

fn brief(told: &[Alert]) -> Vec<(i64, Event, What)> {
    told.iter().map(|it| (it.start.as_ms() / 1000, it.event, it.what)).collect()
}

#[test]
fn a_dead_sensor_is_told_within_seconds_and_never_as_a_machines_alarm() {
    let mut machine = healthy(400.0);
    machine.sensor_faults.push(SynthSensorFault {
        fault: SynthSensorFaultKind::Flat,
        start_s: 200.0,
        duration_s: 60.0,
        axis: None,
        amount: 0.0,
    });
    let told = run(&machine);
    let [raised, returned] = &told[..] else { panic!("{:?}", brief(&told)) };
    assert_eq!((raised.event, raised.what), (Event::Raised, What::Sensor));
    assert!((200..205).contains(&(raised.start.as_ms() / 1000)), "{}", raised.start);
    assert_eq!((returned.event, returned.what), (Event::Returned, What::Sensor));
    assert!(returned.start.as_ms() >= 320_000, "{}", returned.start);
}

#[test]
fn the_same_machine_gives_the_same_alerts_and_a_wearing_one_is_told() {
    let mut machine = healthy(400.0);
    machine.faults.push(SynthFault {
        fault: SynthFaultKind::OuterRace,
        start_s: 150.0,
        growth_s: 200.0,
        severity: 1.0,
        law: SynthLaw::Linear,
    });
    let (once, again) = (run(&machine), run(&machine));
    assert_eq!(brief(&once), brief(&again));
    let first = once.first().expect("a bearing that is worn out is told");
    assert_eq!((first.event, first.episode, first.transition), (Event::Raised, 1, 1));
    assert!(first.start.as_ms() >= 150_000, "{}: {}", first.start, first.message);
    assert!(once.iter().all(|alert| alert.what != What::Sensor), "{:?}", brief(&once));
}
