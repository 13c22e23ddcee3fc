//! Faults of the sensor, injected: told as the sensor's within seconds, never as the machine's.

use auscult::acquire::{
    Read, SynthConfig, SynthFault, SynthFaultKind, SynthLaw, SynthSensorFault,
    SynthSensorFaultKind as Kind,
};
use auscult::extract::{Sensor, SpeedConfig};
use auscult::pipeline::{Lane, Memory, Pipeline};
use auscult::types::{
    Alert, FaultCode, Frame, Origin, SensorKind, Shape, Span, Stamp, State, Unit, What,
};
use auscult::{advise, assess, detect, extract, forecast};

const RATE_HZ: f64 = 12_800.0;
const LEARN_S: f64 = 40.0;
/// When the sensor breaks, s after the learned machine is met again.
const BREAKS_S: f64 = 5.0;
const DURATION_S: f64 = 14.0;

/// What a run showed.
struct Seen {
    alerts: Vec<Alert>,
    /// The machine's state after each window.
    states: Vec<State>,
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

/// Runs a machine through the six blocks, which remember `memory`; its two channels are exchanged when
/// the sensor breaks if `is_swapped`.
fn run(config: &SynthConfig, memory: Option<&Memory>, is_swapped: bool) -> (Seen, Memory) {
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
        pipeline.restore(memory.clone());
    }
    pipeline.install(0, Lane::new(&frame, extractor, detector)).unwrap();
    let mut seen = Seen { alerts: Vec::new(), states: Vec::new() };
    while source.read(&mut frame).unwrap() != Read::End {
        // The second axis hears less, as on most machines.
        frame.samples.iter_mut().skip(1).step_by(2).for_each(|x| *x *= 0.3);
        if is_swapped && frame.start.as_ms() as f64 >= BREAKS_S * 1000.0 {
            frame.samples.as_chunks_mut::<2>().0.iter_mut().for_each(|pair| pair.swap(0, 1));
        }
        pipeline.step(0, &mut frame, |tick| {
            seen.states.push(tick.finding.state);
            seen.alerts.extend(tick.alerts.iter().cloned());
        });
    }
    (seen, pipeline.memory())
}

fn broken(fault: Kind, axis: Option<usize>) -> SynthSensorFault {
    SynthSensorFault { fault, start_s: BREAKS_S, duration_s: 0.0, axis, amount: 0.0 }
}

/// Time, kind and words of each alert, for people.
fn told(alerts: &[Alert]) -> Vec<String> {
    let line = |it: &Alert| format!("{} {:?} {}", it.start, it.what, it.message);
    alerts.iter().map(line).collect()
}

/// Whether the sensor's trouble, and nothing of the machine, was told within five seconds.
fn is_told(seen: &Seen) -> bool {
    let by_ms = ((BREAKS_S + 5.0) * 1000.0) as i64;
    let is_in_time = |alert: &Alert| alert.start.as_ms() <= by_ms;
    seen.alerts.first().is_some_and(is_in_time)
        && seen.alerts.iter().all(|alert| alert.what == What::Sensor)
        && !seen.states.contains(&State::Alarm)
}

#[test]
fn every_fault_of_the_sensor_is_told_in_five_seconds_and_never_as_the_machines() {
    let (_, learned) = run(&machine(LEARN_S + 5.0), None, false);
    let (well, _) = run(&machine(DURATION_S), Some(&learned), false);
    assert!(well.alerts.is_empty(), "{:?}", told(&well.alerts));
    let of_one_axis =
        [Kind::Clipping, Kind::Flat, Kind::Zeros, Kind::LooseMount, Kind::Nan, Kind::BiasStep];
    let one = of_one_axis.into_iter().map(|kind| (kind, Some(1)));
    let all = [(Kind::Flat, None), (Kind::LooseMount, None), (Kind::Dropout, Some(1))];
    for (kind, axis) in one.chain(all) {
        let mut machine = machine(DURATION_S);
        machine.sensor_faults.push(broken(kind, axis));
        let (seen, _) = run(&machine, Some(&learned), false);
        assert!(is_told(&seen), "{kind:?} {axis:?}: {:?}", told(&seen.alerts));
    }
    let (seen, _) = run(&machine(DURATION_S), Some(&learned), true);
    assert!(is_told(&seen), "exchanged channels: {:?}", told(&seen.alerts));
}

#[test]
fn a_fault_is_found_on_the_axis_that_still_hears() {
    let (_, learned) = run(&machine(LEARN_S + 5.0), None, false);
    let mut machine = machine(45.0);
    machine.sensor_faults.push(broken(Kind::Flat, Some(1)));
    machine.faults.push(SynthFault {
        fault: SynthFaultKind::OuterRace,
        start_s: 15.0,
        growth_s: 10.0,
        severity: 0.6,
        law: SynthLaw::Linear,
    });
    let (seen, _) = run(&machine, Some(&learned), false);
    let is_named = |alert: &Alert| {
        alert.fault.as_ref().is_some_and(|fault| fault.code == FaultCode::OuterRace)
    };
    assert!(seen.alerts.iter().any(is_named), "{:?}", told(&seen.alerts));
}
