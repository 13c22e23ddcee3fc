//! Faults of the sensor, injected: told as the sensor's within seconds, never as the machine's.

use auscult::acquire::{
    SynthConfig, SynthFault, SynthFaultKind, SynthLaw, SynthSensorFault,
    SynthSensorFaultKind as Kind,
};
use auscult::pipeline::Memory;
use auscult::types::{Alert, FaultCode, Frame, State, What};

use crate::rig::{Seen, line};

mod campaign;

const LEARN_S: f64 = 40.0;
/// When the sensor breaks, s after the learned machine is met again, and when that run ends.
const BREAKS_S: f64 = 5.0;
const DURATION_S: f64 = 14.0;

fn machine(duration_s: f64) -> SynthConfig {
    SynthConfig {
        rate_hz: 12_800.0,
        axes: 2,
        duration_s,
        tell_speed: true,
        ..SynthConfig::default()
    }
}

/// The second axis hears less, as on most machines.
fn weaken(frame: &mut Frame) {
    frame.samples.iter_mut().skip(1).step_by(2).for_each(|x| *x *= 0.3);
}

/// The two channels are exchanged once the sensor breaks.
fn exchange(frame: &mut Frame) {
    weaken(frame);
    if frame.start.as_ms() as f64 >= BREAKS_S * 1000.0 {
        frame.samples.as_chunks_mut::<2>().0.iter_mut().for_each(|pair| pair.swap(0, 1));
    }
}

fn learned() -> Memory {
    line::run(&machine(LEARN_S + 5.0), LEARN_S, None, weaken).memory
}

fn broken(fault: Kind, axis: Option<usize>) -> SynthSensorFault {
    SynthSensorFault { fault, start_s: BREAKS_S, duration_s: 0.0, axis, amount: 0.0 }
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
    let learned = learned();
    let well = line::run(&machine(DURATION_S), LEARN_S, Some(&learned), weaken);
    assert!(well.alerts.is_empty(), "{:?}", well.told());
    let of_one_axis = [
        Kind::Clipping,
        Kind::Flat,
        Kind::Dropout,
        Kind::Zeros,
        Kind::LooseMount,
        Kind::Nan,
        Kind::BiasStep,
        Kind::Spikes,
    ];
    let one = of_one_axis.into_iter().map(|kind| (kind, Some(1)));
    for (kind, axis) in one.chain([(Kind::Flat, None), (Kind::LooseMount, None)]) {
        let mut machine = machine(DURATION_S);
        machine.sensor_faults.push(broken(kind, axis));
        let seen = line::run(&machine, LEARN_S, Some(&learned), weaken);
        assert!(is_told(&seen), "{kind:?} {axis:?}: {:?}", seen.told());
    }
    let seen = line::run(&machine(DURATION_S), LEARN_S, Some(&learned), exchange);
    assert!(is_told(&seen), "exchanged channels: {:?}", seen.told());
}

#[test]
fn a_fault_is_found_on_the_axis_that_still_hears() {
    let mut machine = machine(45.0);
    machine.sensor_faults.push(broken(Kind::Flat, Some(1)));
    machine.faults.push(SynthFault {
        fault: SynthFaultKind::OuterRace,
        start_s: 15.0,
        growth_s: 10.0,
        severity: 0.6,
        law: SynthLaw::Linear,
    });
    let seen = line::run(&machine, LEARN_S, Some(&learned()), weaken);
    let is_named = |alert: &Alert| {
        alert.fault.as_ref().is_some_and(|fault| fault.code == FaultCode::OuterRace)
    };
    assert!(seen.alerts.iter().any(is_named), "{:?}", seen.told());
}
