//! Faults of the sensor, injected: told as the sensor's within seconds, never as the machine's.

use auscult::acquire::{
    Read, SynthConfig, SynthFault, SynthFaultKind, SynthLaw, SynthSensorFault,
    SynthSensorFaultKind as Kind,
};
use auscult::extract::{Sensor, SpeedConfig};
use auscult::pipeline::{Lane, Memory, Pipeline};
use auscult::types::{Alert, Frame, Origin, SensorKind, Shape, Span, Stamp, State, Unit, What};
use auscult::{advise, assess, detect, extract, forecast};

const RATE_HZ: f64 = 12_800.0;
const LEARN_S: f64 = 40.0;
/// When the sensor breaks, s after the learned machine is met again.
const BREAKS_S: f64 = 10.0;

/// What a run showed.
struct Seen {
    alerts: Vec<Alert>,
    /// Worst state of each window, by its end in seconds.
    states: Vec<(f64, State)>,
}

fn machine(duration_s: f64) -> SynthConfig {
    SynthConfig {
        rate_hz: RATE_HZ,
        axes: 2,
        duration_s,
        tell_speed: true,
        ..SynthConfig::default()
    }
}

/// Runs a machine through the six blocks, which remember `memory`.
fn run(config: &SynthConfig, memory: Option<Memory>) -> (Seen, Memory) {
    let origin = Origin::new("pump-1", "drive-end");
    let mut source = config.build().unwrap().into_source(origin.clone(), Stamp::default());
    let mut frame = Frame::empty(origin.clone(), RATE_HZ, Unit::MetersPerSecond2, 2);
    let sensor = Sensor {
        kind: SensorKind::Vibration,
        rate_hz: RATE_HZ,
        unit: Unit::MetersPerSecond2,
        n_channels: 2,
        shape: Shape::Stream,
        snapshot_samples: None,
        speed: SpeedConfig::default(),
    };
    let learning = detect::Config { learn_s: LEARN_S, ..detect::Config::default() };
    let mut detector = learning.build(origin, None).unwrap();
    detector.set_pace(Span::from_secs(1.0));
    let extractor = extract::Config::default().build(&sensor).unwrap();
    let rules = assess::Config {
        bearing: Some(assess::Orders { ftf: 0.3983, bpfo: 3.5848, bpfi: 5.4152, bsf: 2.3567 }),
        ..assess::Config::default()
    };
    let axes = vec!["horizontal".to_owned(), "vertical".to_owned()];
    let mut pipeline = Pipeline::new(
        1,
        rules.build(&[("drive-end", axes)]).unwrap(),
        forecast::Config::default().build().unwrap(),
        advise::Config::default().build().unwrap(),
    );
    if let Some(memory) = memory {
        pipeline.restore(memory);
    }
    pipeline.install(0, Lane::new(&frame, extractor, detector)).unwrap();
    let mut seen = Seen { alerts: Vec::new(), states: Vec::new() };
    while source.read(&mut frame).unwrap() != Read::End {
        pipeline.step(0, &mut frame, |tick| {
            let end = (tick.features.start + tick.features.span).as_ms() as f64 / 1000.0;
            seen.states.push((end, tick.finding.state));
            seen.alerts.extend(tick.alerts.iter().cloned());
        });
    }
    (seen, pipeline.memory())
}

fn broken(fault: Kind, axis: Option<usize>) -> SynthSensorFault {
    SynthSensorFault { fault, start_s: BREAKS_S, duration_s: 0.0, axis, amount: 0.0 }
}

fn told(alerts: &[Alert]) -> Vec<(f64, What, String)> {
    alerts
        .iter()
        .map(|it| (it.start.as_ms() as f64 / 1000.0, it.what, it.message.to_string()))
        .collect()
}

#[test]
fn every_fault_of_the_sensor_is_told_in_five_seconds_and_never_as_the_machines() {
    let (_, learned) = run(&machine(LEARN_S + 5.0), None);
    let (well, _) = run(&machine(20.0), Some(learned.clone()));
    assert!(well.alerts.is_empty(), "{:?}", told(&well.alerts));
    let kinds = [
        Kind::Clipping,
        Kind::Flat,
        Kind::Dropout,
        Kind::Zeros,
        Kind::LooseMount,
        Kind::Spikes,
        Kind::Nan,
        Kind::BiasStep,
    ];
    for kind in kinds {
        for axis in [None, Some(1)] {
            let mut machine = machine(30.0);
            machine.sensor_faults.push(broken(kind, axis));
            let (seen, _) = run(&machine, Some(learned.clone()));
            println!("{kind:?} {axis:?}: {:?}", told(&seen.alerts));
            for (at, s) in &seen.states {
                print!("{at}:{s:?} ");
            }
            println!();
        }
    }
}

#[test]
fn a_fault_is_found_on_the_axis_that_still_hears() {
    let (_, learned) = run(&machine(LEARN_S + 5.0), None);
    let mut machine = machine(60.0);
    machine.sensor_faults.push(broken(Kind::Flat, Some(1)));
    machine.faults.push(SynthFault {
        fault: SynthFaultKind::OuterRace,
        start_s: 20.0,
        growth_s: 10.0,
        severity: 1.0,
        law: SynthLaw::Linear,
    });
    let (seen, _) = run(&machine, Some(learned));
    println!("{:?}", told(&seen.alerts));
}
