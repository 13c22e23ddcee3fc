//! From samples of a machine with a fault to order, through `extract` and `assess`, to the fault's name.

use auscult::assess::{Assessor, Config, Orders, Reference};
use auscult::extract::{self, Sensor, SpeedConfig};
use auscult::types::{
    FaultCode, Finding, Frame, Origin, Score, SensorKind, Shape, State, Unit, Verdict, Zone,
};

const RATE_HZ: f64 = 20_000.0;
const FR_HZ: f64 = 29.6;
const SECONDS: f64 = 8.0;
const ORDERS: Orders = Orders { ftf: 0.3983, bpfo: 3.5848, bpfi: 5.4152, bsf: 2.3567 };

/// What is wrong with the machine.
#[derive(Clone, Copy)]
enum Wrong {
    Nothing,
    Impacts { order: f64, at_shaft: f64, at_cage: f64 },
    Order { k: f64, m_s2: f64 },
}

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let mut uniform = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }
}

/// Noise of 1 m/s2, a shaft that always turns a little unround, and the fault.
fn samples(wrong: Wrong, seed: u64) -> Vec<f32> {
    let mut noise = Noise(seed);
    let n = (SECONDS * RATE_HZ) as usize;
    let turn = |k: f64, t: f64| (std::f64::consts::TAU * k * FR_HZ * t).sin();
    let mut x: Vec<f64> = (0..n)
        .map(|i| {
            let t = i as f64 / RATE_HZ;
            noise.next() + 0.3 * turn(1.0, t) + 0.1 * turn(2.0, t)
        })
        .collect();
    match wrong {
        Wrong::Nothing => {}
        Wrong::Order { k, m_s2 } => {
            x.iter_mut().enumerate().for_each(|(i, x)| *x += m_s2 * turn(k, i as f64 / RATE_HZ));
        }
        Wrong::Impacts { order, at_shaft, at_cage } => {
            let mut t = 0.0;
            while t < SECONDS {
                let load = (1.0 + at_shaft * turn(1.0, t)) * (1.0 + at_cage * turn(ORDERS.ftf, t));
                let first = (t * RATE_HZ).ceil() as usize;
                for (i, x) in x.iter_mut().enumerate().skip(first).take(200) {
                    let tau = i as f64 / RATE_HZ - t;
                    *x += 8.0
                        * load
                        * (-800.0 * tau).exp()
                        * (std::f64::consts::TAU * 3500.0 * tau).sin();
                }
                t += (1.0 + 0.005 * noise.next()) / (order * FR_HZ);
            }
        }
    }
    x.into_iter().map(|x| x as f32).collect()
}

fn config() -> Config {
    Config { bearing: Some(ORDERS), ..Config::default() }
}

fn assessor(config: &Config) -> Assessor {
    config.build(&[("bearing", vec!["radial".into()])]).unwrap()
}

/// Runs a recording through extraction and assessment; the last finding.
fn run(
    assessor: &mut Assessor,
    samples: &[f32],
    unit: Unit,
    told_hz: impl Into<Option<f64>>,
    state: State,
) -> Finding {
    let sensor = Sensor {
        kind: SensorKind::Vibration,
        rate_hz: RATE_HZ,
        unit,
        n_channels: 1,
        shape: Shape::Stream,
        snapshot_samples: None,
        speed: SpeedConfig::default(),
    };
    let mut extractor = extract::Config::default().build(&sensor).unwrap();
    let mut frame = Frame::empty(Origin::new("pump-1", "bearing"), RATE_HZ, unit, 1);
    frame.samples = samples.to_vec();
    frame.speed_hz = told_hz.into();
    extractor.push(&frame);
    let mut last = None;
    while let Some(features) = extractor.step() {
        let mut score = Score::new(features.origin.clone());
        score.state = state;
        score.verdict = match state {
            State::Learning => Verdict::NotLearned,
            State::Normal => Verdict::Normal,
            _ => Verdict::Fault,
        };
        last = Some(assessor.step(features, &score).clone());
    }
    last.expect("a window")
}

fn first(finding: &Finding) -> Option<FaultCode> {
    finding.faults.first().map(|fault| fault.code)
}

const FAULTS: [(Wrong, FaultCode); 5] = [
    (Wrong::Impacts { order: ORDERS.bpfo, at_shaft: 0.0, at_cage: 0.0 }, FaultCode::OuterRace),
    (
        Wrong::Impacts { order: 0.99 * ORDERS.bpfo, at_shaft: 0.0, at_cage: 0.0 },
        FaultCode::OuterRace,
    ),
    (Wrong::Impacts { order: ORDERS.bpfi, at_shaft: 0.8, at_cage: 0.0 }, FaultCode::InnerRace),
    (Wrong::Impacts { order: 2.0 * ORDERS.bsf, at_shaft: 0.0, at_cage: 0.8 }, FaultCode::Ball),
    (Wrong::Order { k: 1.0, m_s2: 3.0 }, FaultCode::Unbalance),
];

#[test]
fn faults_are_named_against_a_learned_normal() {
    let unit = Unit::MetersPerSecond2;
    for (i, (wrong, code)) in FAULTS.into_iter().enumerate() {
        let mut a = assessor(&config());
        run(&mut a, &samples(Wrong::Nothing, 1), unit, FR_HZ, State::Learning);
        a.forget();
        // The told speed is a third of a per cent wrong, as a display is.
        let found = run(&mut a, &samples(wrong, 2), unit, 1.003 * FR_HZ, State::Alarm);
        assert_eq!(first(&found), Some(code), "case {i}: {:#?}", found.faults);
        assert!(!found.faults[0].evidence.is_empty());
    }
    let mut a = assessor(&config());
    run(&mut a, &samples(Wrong::Nothing, 1), unit, FR_HZ, State::Learning);
    let misaligned = Wrong::Order { k: 2.0, m_s2: 6.0 };
    let found = run(&mut a, &samples(misaligned, 3), unit, FR_HZ, State::Alarm);
    assert_eq!(first(&found), Some(FaultCode::Misalignment), "{:#?}", found.faults);
}

/// Of a machine long in calm not every record is searched for lines; the first suspicion has them searched.
#[test]
fn a_long_calm_delays_no_name() {
    let unit = Unit::MetersPerSecond2;
    let (healthy, (wrong, code)) = (samples(Wrong::Nothing, 1), FAULTS[0]);
    let faulty = samples(wrong, 2);
    let found_after = |n_calm: usize| {
        let mut a = assessor(&config());
        run(&mut a, &healthy, unit, FR_HZ, State::Learning);
        for _ in 0..n_calm {
            let calm = run(&mut a, &healthy, unit, FR_HZ, State::Normal);
            assert_eq!((first(&calm), calm.severity.zone), (None, Some(Zone::A)));
        }
        run(&mut a, &faulty, unit, FR_HZ, State::Alarm)
    };
    let (at_once, late) = (found_after(1), found_after(7));
    assert_eq!(first(&late), Some(code));
    assert_eq!(at_once.faults, late.faults);
}

#[test]
fn bearing_faults_are_named_with_nothing_learned() {
    for (wrong, code) in &FAULTS[..3] {
        let mut a = assessor(&config());
        let x = samples(*wrong, 4);
        let found = run(&mut a, &x, Unit::FullScale, FR_HZ, State::Learning);
        assert_eq!(first(&found), Some(*code), "{:#?}", found.faults);
    }
}

/// The first rule: whatever the detector says, a healthy machine gets no name.
#[test]
fn a_healthy_machine_is_never_named() {
    let mut a = assessor(&config());
    for seed in 10..14 {
        let x = samples(Wrong::Nothing, seed);
        let found = run(&mut a, &x, Unit::MetersPerSecond2, FR_HZ, State::Learning);
        assert!(found.faults.is_empty(), "seed {seed} learning: {:#?}", found.faults);
    }
    for seed in 20..28 {
        let x = samples(Wrong::Nothing, seed);
        let found = run(&mut a, &x, Unit::MetersPerSecond2, FR_HZ, State::Alarm);
        assert!(found.faults.is_empty(), "seed {seed}: {:#?}", found.faults);
    }
    let wrong = samples(FAULTS[0].0, 30);
    let found = run(&mut a, &wrong, Unit::MetersPerSecond2, FR_HZ, State::Normal);
    assert!(found.faults.is_empty(), "as learned, says the detector: {:#?}", found.faults);
}

#[test]
fn a_hiss_is_the_oil_film_unless_the_machine_may_just_run_faster() {
    // Differences of noise: 6 dB more per octave, all of the gain above 5 kHz.
    let hiss = |gain: f64, seed: u64| {
        let mut noise = Noise(seed);
        let mut last = 0.0;
        let calm = samples(Wrong::Nothing, seed);
        let hiss = |x: f32| {
            let next = noise.next();
            f64::from(x) + gain * (next - std::mem::replace(&mut last, next))
        };
        calm.into_iter().map(hiss).map(|x| x as f32).collect::<Vec<f32>>()
    };
    let named = |learned: &[f64], told_hz: Option<f64>| {
        let mut assessor = assessor(&config());
        for (&gain, seed) in learned.iter().zip(31..) {
            run(&mut assessor, &hiss(gain, seed), Unit::MetersPerSecond2, told_hz, State::Learning);
        }
        let louder = hiss(40.0, 41);
        first(&run(&mut assessor, &louder, Unit::MetersPerSecond2, told_hz, State::Alarm))
    };
    let oil = Some(FaultCode::Lubrication);
    assert_eq!(named(&[0.1, 0.1], None), oil);
    assert_eq!(named(&[0.1, 2.0], Some(FR_HZ)), oil);
    assert_eq!(named(&[0.1, 2.0], None), None);
}

#[test]
fn severity_speaks_before_anything_is_learned() {
    let grade = |unit: Unit, told_hz: f64, config: &Config| {
        let shaken = samples(Wrong::Order { k: 1.0, m_s2: 1.4 }, 5);
        run(&mut assessor(config), &shaken, unit, told_hz, State::Learning).severity
    };
    // 1.7 m/s2 peak at 29.6 Hz is 6.5 mm/s RMS.
    let severity = grade(Unit::MetersPerSecond2, FR_HZ, &config());
    assert_eq!(severity.zone, Some(Zone::D), "{severity:?}");
    assert!((severity.velocity_rms_mm_s.unwrap() - 6.46).abs() < 0.2, "{severity:?}");
    let why = |unit, told_hz, config: &Config| grade(unit, told_hz, config).reason.unwrap();
    assert!(why(Unit::FullScale, FR_HZ, &config()).contains("unit"));
    assert!(why(Unit::MetersPerSecond2, 1.5, &config()).contains("120"));
    assert!(why(Unit::MetersPerSecond2, 300.0, &config()).contains("15000"));
    assert!(why(Unit::MetersPerSecond2, 8.0, &config()).contains("8 s"));
    let small = Config { power_kw: Some(4.0), ..config() };
    assert!(why(Unit::MetersPerSecond2, FR_HZ, &small).contains("15 kW"));
}

#[test]
fn wear_is_zero_as_learned_and_one_at_the_limit() {
    let unit = Unit::FullScale;
    let mut a = assessor(&config());
    let normal = samples(Wrong::Nothing, 1);
    run(&mut a, &normal, unit, FR_HZ, State::Learning);
    let wear = |a: &mut Assessor, gain: f32| {
        let louder: Vec<f32> = normal.iter().map(|x| x * gain).collect();
        run(a, &louder, unit, FR_HZ, State::Alarm).wear.unwrap()
    };
    assert_eq!(wear(&mut a, 1.0), 0.0);
    let half = wear(&mut a, 4.5);
    assert!((0.3..0.8).contains(&half), "{half}");
    assert_eq!(wear(&mut a, 10.0), 1.0);
    let found = run(&mut a, &normal, unit, FR_HZ, State::Normal);
    assert_eq!((found.health, found.state), (100.0, State::Normal));
}

#[test]
fn the_reference_survives_a_restart_and_a_strange_one_is_left_aside() {
    let unit = Unit::MetersPerSecond2;
    let mut a = assessor(&config());
    run(&mut a, &samples(Wrong::Nothing, 1), unit, FR_HZ, State::Learning);
    let text = serde_json::to_string(a.reference()).unwrap();
    let mut b = assessor(&config());
    b.restore(serde_json::from_str(&text).unwrap());
    let x = samples(FAULTS[4].0, 2);
    let (one, two) =
        (run(&mut a, &x, unit, FR_HZ, State::Alarm), run(&mut b, &x, unit, FR_HZ, State::Alarm));
    assert_eq!(one.faults, two.faults);
    assert_eq!(one.wear, two.wear);
    let mut strange: Reference = serde_json::from_str(&text).unwrap();
    strange.version += 1;
    b.restore(strange);
    assert!(!serde_json::to_string(b.reference()).unwrap().contains("bearing"));
}

#[test]
fn a_blind_sensor_says_nothing_of_the_machine() {
    let mut a = assessor(&config());
    let x = samples(FAULTS[0].0, 2);
    let found = run(&mut a, &x, Unit::MetersPerSecond2, FR_HZ, State::Blind);
    assert_eq!((found.state, found.wear), (State::Blind, None));
    assert!(found.faults.is_empty() && found.severity.zone.is_none());
}
