//! Sensors that break at random: any moment, kind and strength, on any machine. Seconds of the machine's own
//! time, so that the same seed gives the same answer anywhere. What capture itself notices (no frames at all, a wrong
//! rate) is tried elsewhere (`returns`, `live`).
//! A case that fails is run again by `AUSCULT_SEED=... cargo test --test it sensor::campaign`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use auscult::acquire::{SynthConfig, SynthSensorFault, SynthSensorFaultKind as Kind};
use auscult::pipeline::Memory;
use auscult::types::{Frame, Quality, State, What};

use crate::rig::{Dice, Seen, Spread, line, tier};

const SEED: &str = "AUSCULT_SEED";
const LEARN_S: f64 = 40.0;
/// Cases on one machine, which learns once.
const N_CASES: u64 = 20;
/// When it breaks: where the zero point usually is takes five seconds to know.
const BREAKS_S: std::ops::Range<f64> = 5.5..9.5;
/// How long a broken sensor is listened to.
const BROKEN_S: f64 = 7.0;
const WINDOW_S: f64 = 1.0;
const BAR: Duration = Duration::from_secs(5);
/// Range of the sensor, m/s2.
const RANGE: f64 = 160.0;

/// What becomes of the sensor.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Fault(Kind, Option<usize>, f64),
    /// The two channels are exchanged.
    Exchange,
    /// No samples at all.
    Unplugged,
}

fn machine(n: u64) -> SynthConfig {
    let mut dice = Dice::new(n);
    let mut pick = |of: &[f64]| of[dice.below(of.len() as u64) as usize];
    let rate_hz = pick(&[6400.0, 12_800.0]);
    let line_hz = pick(&[50.0, 60.0]);
    let gear_teeth = pick(&[0.0, 0.0, 23.0, 41.0]) as u32;
    let blades = pick(&[0.0, 5.0, 7.0]) as u32;
    SynthConfig {
        seed: n,
        rate_hz,
        axes: 2,
        speed_rpm: dice.between(600.0, 3600.0),
        load: dice.between(0.2, 1.0),
        noise: 0.1 * 10f64.powf(dice.unit()),
        line_hz,
        gear_teeth,
        blades,
        range: RANGE,
        tell_speed: true,
        ..SynthConfig::default()
    }
}

/// How much less the second axis hears: two channels that are alike cannot be told apart.
fn weaken(n: u64, frame: &mut Frame) {
    let gain = Dice::new(n ^ 0xa71).between(0.1, 0.25) as f32;
    frame.samples.iter_mut().skip(1).step_by(2).for_each(|x| *x *= gain);
}

/// What is lost with the samples of a loose sensor is above 3 kHz: at a lower rate nobody can tell.
const LOOSE_RATE_HZ: f64 = 12_800.0;

fn trouble(dice: &mut Dice, rate_hz: f64, noise: f64) -> Trouble {
    let axis = [None, Some(0), Some(1)][dice.below(3) as usize];
    let sign = if dice.below(2) == 0 { 1.0 } else { -1.0 };
    match dice.below(9) {
        0 => Trouble::Fault(Kind::Clipping, axis, 1000.0 / noise * 10f64.powf(dice.unit())),
        1 => Trouble::Fault(Kind::BiasStep, axis, sign * RANGE * dice.between(0.1, 0.6)),
        2 => Trouble::Fault(Kind::Flat, axis, 0.0),
        3 => Trouble::Fault(Kind::Dropout, Some(1), 0.0),
        4 => Trouble::Fault(Kind::Zeros, axis, 0.0),
        5 => Trouble::Fault(Kind::Nan, axis, 0.0),
        6 => Trouble::Exchange,
        7 if rate_hz >= LOOSE_RATE_HZ => Trouble::Fault(Kind::LooseMount, axis, 0.0),
        _ => Trouble::Unplugged,
    }
}

/// The machine is met again, and its sensor breaks.
fn run(n: u64, learned: &Memory) -> (Trouble, f64, Seen) {
    let n_machine = n / N_CASES;
    let mut dice = Dice::new(n ^ 0x5e_4501);
    let breaks_s = dice.between(BREAKS_S.start, BREAKS_S.end);
    let mut machine = SynthConfig { duration_s: breaks_s + BROKEN_S, ..machine(n_machine) };
    let trouble = trouble(&mut dice, machine.rate_hz, machine.noise);
    if let Trouble::Fault(fault, axis, amount) = trouble {
        let fault = SynthSensorFault { fault, start_s: breaks_s, duration_s: 0.0, axis, amount };
        machine.sensor_faults.push(fault);
    }
    let touch = |frame: &mut Frame| {
        weaken(n_machine, frame);
        let from = (breaks_s - frame.start.as_ms() as f64 / 1000.0) * frame.rate_hz;
        let from = (from.max(0.0) as usize).min(frame.len());
        let broken = &mut frame.samples[2 * from..];
        match trouble {
            Trouble::Exchange => {
                broken.as_chunks_mut::<2>().0.iter_mut().for_each(|it| it.swap(0, 1));
            }
            Trouble::Unplugged if !broken.is_empty() => {
                broken.fill(0.0);
                frame.quality = frame.quality.with(Quality::DROPOUT).with(Quality::FLAT);
            }
            _ => {}
        }
    };
    (trouble, breaks_s, line::run(&machine, LEARN_S, Some(learned), touch))
}

/// How long after it broke the sensor's trouble was told.
///
/// # Errors
/// If it was not, or taken for the machine's, or told before there was any.
fn told(breaks_s: f64, seen: &Seen) -> Result<Duration, String> {
    let is_sensors = seen.alerts.iter().all(|alert| alert.what == What::Sensor);
    if !is_sensors || seen.states.contains(&State::Alarm) {
        return Err(format!("taken for the machine's: {:?}", seen.told()));
    }
    let first = seen.alerts.first().ok_or("taken for health")?;
    let took_s = first.start.as_ms() as f64 / 1000.0 + WINDOW_S - breaks_s;
    Duration::try_from_secs_f64(took_s).map_err(|_| format!("told before: {:?}", seen.told()))
}

#[test]
fn a_sensor_that_breaks_at_random_is_told_and_never_taken_for_health_or_for_the_machine() {
    let one: Option<u64> = std::env::var(SEED).ok().map(|seed| seed.parse().expect(SEED));
    let n_machines = tier(1, 2, 250);
    let next = AtomicU64::new(one.map_or(0, |n| n / N_CASES));
    let end = one.map_or(n_machines, |n| n / N_CASES + 1);
    let (took, wrong) = (Mutex::new(Spread::default()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let n_machine = next.fetch_add(1, Ordering::Relaxed);
            if n_machine >= end {
                return;
            }
            let learning = SynthConfig { duration_s: LEARN_S + 5.0, ..machine(n_machine) };
            let touch = |frame: &mut Frame| weaken(n_machine, frame);
            let learned = line::run(&learning, LEARN_S, None, touch).memory;
            let cases = n_machine * N_CASES..(n_machine + 1) * N_CASES;
            for n in cases.filter(|n| one.is_none_or(|one| one == *n)) {
                let (trouble, breaks_s, seen) = run(n, &learned);
                let say = |why: &str| {
                    println!(
                        "{SEED}={n} cargo test --test it sensor::campaign: {trouble:?}: {why}"
                    );
                };
                match told(breaks_s, &seen) {
                    Ok(span) => {
                        if span > BAR {
                            say(&format!("told after {:.1} s", span.as_secs_f64()));
                        }
                        took.lock().unwrap().add(span);
                    }
                    Err(why) => {
                        say(&why);
                        wrong.lock().unwrap().push(n);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..n_threads).for_each(|_| drop(scope.spawn(work)));
    });
    let wrong = wrong.into_inner().unwrap();
    let took = took.into_inner().unwrap();
    if one.is_none() {
        took.judge("a sensor's fault, to its being told, on the machine's clock", BAR);
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), n_machines * N_CASES);
}
