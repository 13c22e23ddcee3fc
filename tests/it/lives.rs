//! Simulated lives: what the forecast says at moments of them, and how often its interval holds the truth.

use std::collections::BTreeMap;

use auscult::acquire::{SynthConfig, SynthFault, SynthFaultKind, SynthLaw};
use auscult::forecast;
use auscult::judge::{phm2012, phm2012_floor};
use auscult::pipeline::Memory;
use auscult::types::{Finding, Frame, Life, Origin, Refusal, Rise, Span, Stamp, State, Unit};

use crate::rig::{Dice, line, tier};

/// Rise of the level at which the machine is worn out, dB, and the amplitude of its damage then, in its own noise.
const LIMIT_DB: f64 = 20.0;
const END: f64 = 9.95;
/// Moments asked in a life, from the first share of it to the last.
const MOMENTS: usize = 12;
const ASKED: [f64; 2] = [0.3, 0.98];
/// Values of which three must be over the scatter for an alarm.
const ALARM_OF: usize = 5;

/// How the amplitude of damage grows from its beginning, 0, to the end, 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    /// Evenly.
    Even,
    /// With the second or third power of time.
    Power,
    /// By a constant factor.
    Exponential,
    /// As a crack: the larger the faster, without bound.
    Crack,
    /// Three times faster from some moment on.
    TwoPhases,
    /// By random steps.
    Random,
    /// A standing damage, then within a hundredth of the life the end.
    Sudden,
}

const SHAPES: [Shape; 7] = [
    Shape::Even,
    Shape::Power,
    Shape::Exponential,
    Shape::Crack,
    Shape::TwoPhases,
    Shape::Random,
    Shape::Sudden,
];

/// One machine from new to worn out.
struct Story {
    /// True rise of the level, dB, by window.
    rise_db: Vec<f64>,
    /// What is measured of it, dB.
    heard_db: Vec<f64>,
    speed_hz: Vec<f64>,
    /// Learned scatter: rises up to here are no wear, dB.
    scatter_db: f64,
    every_s: f64,
}

impl Story {
    fn new(shape: Shape, n: usize, every_s: f64, with_speeds: bool, dice: &mut Dice) -> Self {
        let healthy = dice.between(0.0, 0.4);
        let growth = growth(shape, n, dice);
        let n_healthy = (healthy * n as f64) as usize;
        let rise = |a: f64| 10.0 * (1.0 + (END * a).powi(2)).log10();
        let rise_db: Vec<f64> =
            std::iter::repeat_n(0.0, n_healthy).chain(growth.into_iter().map(rise)).collect();
        let (noise, slow) = (dice.between(0.3, 1.5), dice.between(0.0, 0.7));
        let keep = 1.0 - 1.0 / (dice.between(0.01, 0.2) * n as f64);
        let other_speed = dice.between(-2.0, 2.0);
        let (mut wander, mut at_other) = (0.0, false);
        let mut heard_db = Vec::with_capacity(rise_db.len());
        let mut speed_hz = Vec::with_capacity(rise_db.len());
        for (i, rise) in rise_db.iter().enumerate() {
            wander = keep * wander + slow * (1.0 - keep * keep).sqrt() * dice.normal();
            if with_speeds && i % (n / 8) == 0 {
                at_other = dice.between(0.0, 1.0) < 0.5;
            }
            // Wear is heard a little louder or softer at another speed.
            let offset = if at_other && *rise > 0.0 { other_speed } else { 0.0 };
            heard_db.push(rise + wander + offset + noise * dice.normal());
            speed_hz.push(if at_other { 20.0 } else { 25.0 });
        }
        let scatter_db = 3.0 * (noise * noise + slow * slow).sqrt();
        Self { rise_db, heard_db, speed_hz, scatter_db, every_s }
    }

    /// Windows until the limit is reached for the first time.
    fn end(&self) -> usize {
        self.rise_db.iter().position(|db| *db >= LIMIT_DB).unwrap_or(self.rise_db.len())
    }

    fn finding(&self, i: usize) -> Finding {
        let from = (i + 1).saturating_sub(ALARM_OF);
        let n_over = self.heard_db[from..=i].iter().filter(|db| **db > self.scatter_db).count();
        let state = if 2 * n_over > ALARM_OF { State::Alarm } else { State::Normal };
        let wear = (self.heard_db[i] - self.scatter_db) / (LIMIT_DB - self.scatter_db);
        Finding {
            start: Stamp::default() + Span::from_secs(i as f64 * self.every_s),
            state,
            wear: Some(wear.clamp(0.0, 1.0)),
            rise: Some(Rise { db: self.heard_db[i], limit_db: LIMIT_DB }),
            speed_hz: Some(self.speed_hz[i]),
            ..Finding::new(Origin::new("pump", "bearing"))
        }
    }
}

/// Amplitude of the damage over `n` windows, ending at 1.
fn growth(shape: Shape, n: usize, dice: &mut Dice) -> Vec<f64> {
    let x = |i: usize| (i + 1) as f64 / n as f64;
    let scaled = |of: &dyn Fn(f64) -> f64| -> Vec<f64> {
        let end = of(1.0);
        (0..n).map(|i| of(x(i)) / end).collect()
    };
    let k = dice.between(3.0, 6.0);
    let bent = dice.between(0.4, 0.8);
    match shape {
        Shape::Even => scaled(&|x| x),
        Shape::Power => {
            let power = if dice.between(0.0, 1.0) < 0.5 { 2.0 } else { 3.0 };
            scaled(&|x| x.powf(power))
        }
        Shape::Exponential => scaled(&|x| (k * x).exp_m1()),
        Shape::Crack => {
            let open = dice.between(0.9, 0.97);
            scaled(&|x| 1.0 / (1.0 - open * x) - 1.0)
        }
        Shape::TwoPhases => {
            let rate = k / (bent + 3.0 * (1.0 - bent));
            scaled(&|x| (rate * (x + 2.0 * (x - bent).max(0.0))).exp_m1())
        }
        Shape::Random => {
            // A gamma process of the exponent: wear never falls, its steps are few or many.
            let steps = dice.between(20.0, 200.0);
            let mut at = 0.0;
            let path: Vec<f64> = (0..n)
                .map(|_| {
                    let jumps = dice.between(0.0, 1.0) < steps / n as f64;
                    at += if jumps { -dice.between(0.0, 1.0).max(1e-9).ln() / steps } else { 0.0 };
                    at
                })
                .collect();
            path.iter().map(|at| (k * at).exp_m1() / (k * path[n - 1]).exp_m1()).collect()
        }
        Shape::Sudden => {
            let stands = dice.between(0.1, 0.3);
            (0..n)
                .map(|i| {
                    if x(i) < 0.99 {
                        stands * x(i).min(0.2) * 5.0
                    } else {
                        stands + (1.0 - stands) * (x(i) - 0.99) * 100.0
                    }
                })
                .collect()
        }
    }
}

/// One question and its answer.
struct Asked {
    left_h: f64,
    life: Result<Life, Refusal>,
}

fn asked(story: &Story) -> Vec<Asked> {
    let mut forecaster = forecast::Config::default().build().unwrap();
    let end = story.end();
    let moment = |i: usize| {
        let share = ASKED[0] + (ASKED[1] - ASKED[0]) * i as f64 / (MOMENTS - 1) as f64;
        (share * end as f64) as usize
    };
    let moments: Vec<usize> = (0..MOMENTS).map(moment).collect();
    let mut asked = Vec::new();
    for i in 0..end {
        let life = forecaster.step(&story.finding(i)).life;
        if moments.contains(&i) {
            asked.push(Asked { left_h: (end - i) as f64 * story.every_s / 3600.0, life });
        }
    }
    asked
}

/// What is counted over many answers.
#[derive(Default)]
struct Tally {
    n: usize,
    stated: usize,
    held: usize,
    early: usize,
    late: usize,
    score: f64,
    lefts: Vec<f64>,
    /// Of the moments with an answer.
    stated_lefts: Vec<f64>,
    refused: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn add(&mut self, asked: &Asked) {
        self.n += 1;
        self.lefts.push(asked.left_h);
        match asked.life {
            Ok(life) => {
                self.stated += 1;
                self.stated_lefts.push(asked.left_h);
                self.early += usize::from(asked.left_h > life.p90_h);
                self.late += usize::from(asked.left_h < life.p10_h);
                self.held += usize::from((life.p10_h..=life.p90_h).contains(&asked.left_h));
                self.score += phm2012(asked.left_h, life.p50_h);
            }
            Err(refusal) => *self.refused.entry(refusal.reason()).or_default() += 1,
        }
    }

    fn print(&self, name: &str) {
        let share = |n: usize, of: usize| 100.0 * n as f64 / of.max(1) as f64;
        println!(
            "| {name} | {} | {:.0} % | {:.0} % | {:.0} % | {:.0} % | {:.2} | {:.2} | {:.2} |",
            self.n,
            share(self.stated, self.n),
            share(self.held, self.stated),
            share(self.late, self.stated),
            share(self.early, self.stated),
            self.score / self.stated.max(1) as f64,
            phm2012_floor(&self.stated_lefts).unwrap_or(0.0),
            self.score / self.n as f64,
        );
    }
}

/// P10 to P90 holds the truth in 70 to 90 % of the moments a life is stated at, and the score is over the floor.
#[test]
fn intervals_hold_what_they_say() {
    let n_lives = tier(3, 12, 100);
    let mut all = Tally::default();
    println!(
        "| wear | asked | stated | held | before P10 | after P90 | score | floor | score, refusals 0 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (s, shape) in SHAPES.into_iter().enumerate() {
        let mut tally = Tally::default();
        for life in 0..n_lives {
            let mut dice = Dice::new((1000 * s + life) as u64);
            let is_stream = life % 2 == 1;
            let n = dice.between(400.0, 2500.0) as usize * if is_stream { 4 } else { 1 };
            let every_s = if is_stream { 1.0 } else { 10.0 };
            let story = Story::new(shape, n, every_s, life % 4 >= 2, &mut dice);
            for it in asked(&story) {
                tally.add(&it);
                all.add(&it);
            }
        }
        tally.print(&format!("{shape:?}"));
        if tier(false, true, true) {
            println!("    {:?}", tally.refused);
        }
    }
    all.print("all");
    println!("{:?} floor of all {:?}", all.refused, phm2012_floor(&all.lefts));
    let held = all.held as f64 / all.stated as f64;
    assert!((0.7..=0.9).contains(&held), "{} of {}", all.held, all.stated);
}

/// Stopped and started, the appliance knows since when the machine wears and what its fault is called.
#[test]
fn a_restart_forgets_neither_wear_nor_name() {
    let fault = |start_s, growth_s| SynthFault {
        fault: SynthFaultKind::OuterRace,
        start_s,
        growth_s,
        severity: 0.9,
        law: SynthLaw::Linear,
    };
    let machine = |start: &str, fault, duration_s| SynthConfig {
        rate_hz: 12_800.0,
        faults: vec![fault],
        start: start.into(),
        tell_speed: true,
        duration_s,
        ..SynthConfig::default()
    };
    let before = machine("2026-01-01T00:00:00Z", fault(30.0, 10.0), 75.0);
    let kept = serde_json::to_value(&line::run(&before, 20.0, None, |_| ()).memory).unwrap();
    let after = machine("2026-01-01T01:00:00Z", fault(0.0, 0.0), 3.0);
    let again = serde_json::from_value(kept.clone()).unwrap();
    let later = line::run(&after, 20.0, Some(&again), |_| ()).memory;
    let later = serde_json::to_value(&later).unwrap();
    let at = |memory: &serde_json::Value, key: &str| memory.pointer(key).cloned().unwrap();
    assert_eq!(at(&kept, "/names/names/0/code"), "outer_race", "{}", at(&kept, "/names"));
    assert_eq!(at(&later, "/names"), at(&kept, "/names"));
    assert!(at(&kept, "/wear/since_ns").is_i64(), "no alarm");
    assert_eq!(at(&later, "/wear/since_ns"), at(&kept, "/wear/since_ns"));
    assert!(at(&later, "/wear/wear").as_f64() >= at(&kept, "/wear/wear").as_f64());

    let mut strange = kept;
    strange["wear"] = serde_json::json!({ "version": 1, "shape": "of another version" });
    let again: Memory = serde_json::from_value(strange).unwrap();
    assert!(again.baselines[0].is_some(), "only the wear begins anew");
}

/// A sensor that joins, goes, or stands elsewhere in the file takes no other's normal.
#[test]
fn what_was_learned_is_its_sensors_wherever_that_stands() {
    let config = SynthConfig { duration_s: 40.0, ..SynthConfig::default() };
    let kept = line::run(&config, 20.0, None, |_| ()).memory;
    assert_eq!((kept.sensors.as_slice(), kept.baselines.len()), (&["drive-end".to_owned()][..], 1));
    let own = kept.baselines[0].clone();
    assert!(own.is_some(), "it learned");
    let frame = Frame::empty(line::origin(), config.rate_hz, Unit::MetersPerSecond2, config.axes);
    let knows = |sensors: &[&str], baselines: Vec<Option<_>>| {
        let sensors = sensors.iter().map(|&sensor| sensor.to_owned()).collect();
        let memory = Memory { sensors, baselines, ..kept.clone() };
        line::pipeline(&frame, 20.0, Some(&memory)).memory().baselines[0].is_some()
    };
    assert!(knows(&["fan-end", "drive-end"], vec![None, own.clone()]), "it moved up");
    assert!(!knows(&["fan-end", "drive-end"], vec![own.clone(), None]), "it is another's");
    assert!(knows(&[], vec![own]), "an older memory goes by the order");
}
