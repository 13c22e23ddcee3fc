//! Alarms of a whole pipeline on a synthetic machine: a broken sensor is the sensor's matter only.

use auscult::acquire::{
    SynthConfig, SynthFault, SynthFaultKind, SynthLaw, SynthSensorFault, SynthSensorFaultKind,
};
use auscult::types::{Event, What};

use crate::rig::{Seen, line};

const LEARN_S: f64 = 60.0;

fn run(config: &SynthConfig) -> Seen {
    line::run(config, LEARN_S, None, |_| ())
}

fn healthy(duration_s: f64) -> SynthConfig {
    SynthConfig { rate_hz: 6400.0, duration_s, tell_speed: true, ..SynthConfig::default() }
}

#[test]
fn a_dead_sensor_is_told_within_seconds_and_never_as_a_machines_alarm() {
    let mut machine = healthy(300.0);
    machine.sensor_faults.push(SynthSensorFault {
        fault: SynthSensorFaultKind::Flat,
        start_s: 100.0,
        duration_s: 60.0,
        axis: None,
        amount: 0.0,
    });
    let seen = run(&machine);
    let [raised, returned] = &seen.alerts[..] else { panic!("{:?}", seen.told()) };
    assert_eq!((raised.event, raised.what), (Event::Raised, What::Sensor));
    assert!((100..105).contains(&(raised.start.as_ms() / 1000)), "{}", raised.start);
    assert_eq!((returned.event, returned.what), (Event::Returned, What::Sensor));
    assert!(returned.start.as_ms() >= 219_000, "{}", returned.start);
}

#[test]
fn the_same_machine_gives_the_same_alerts_and_a_wearing_one_is_told() {
    let mut machine = healthy(180.0);
    machine.faults.push(SynthFault {
        fault: SynthFaultKind::OuterRace,
        start_s: 80.0,
        growth_s: 80.0,
        severity: 1.0,
        law: SynthLaw::Linear,
    });
    let (once, again) = (run(&machine), run(&machine));
    assert_eq!(once.told(), again.told());
    let first = once.alerts.first().expect("a bearing that is worn out is told");
    assert_eq!((first.event, first.episode, first.transition), (Event::Raised, 1, 1));
    assert!(first.start.as_ms() >= 80_000, "{}: {}", first.start, first.message);
    assert!(once.alerts.iter().all(|alert| alert.what != What::Sensor), "{:?}", once.told());
}
