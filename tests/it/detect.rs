//! State detection on machines made of numbers: what is learned, what alarms, what must not.

use std::sync::Arc;

use auscult::detect::{Baseline, Config, Detector};
use auscult::types::{
    Axis, Bands, Change, Features, Indicators, Origin, Quality, Score, SensorKind, Shape, Span,
    Spectrum, Speed, SpeedSource, Stamp, State, Unit, Verdict,
};

const N_BANDS: usize = 40;

/// A machine whose levels scatter by sampling, by session and by speed; all by seed.
pub(super) struct Machine {
    seed: u64,
    /// Standard deviation of a band from session to session, dB.
    pub(super) session_db: f32,
    session: Vec<f32>,
    /// Added to every band from this one up, dB.
    pub(super) fault: (usize, f32),
    /// Added to everything, dB.
    pub(super) gain_db: f32,
    mean: f32,
    pub(super) kurtosis: f32,
    /// Standard deviation of all levels from hop to hop, dB; without it a window has no hops.
    hop_db: Option<f32>,
    pub(super) speed_hz: Option<f64>,
    /// The sensor hears nothing above.
    heard_hz: f32,
    /// Whether it says its speed, or only its lines do.
    tells_speed: bool,
    at: Stamp,
    pub(super) every_s: f64,
    edges: Arc<[(f32, f32)]>,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        let mut machine = Self {
            seed,
            session_db: 0.6,
            session: Vec::new(),
            fault: (0, 0.0),
            gain_db: 0.0,
            mean: 9.81,
            kurtosis: 3.0,
            hop_db: None,
            speed_hz: None,
            heard_hz: f32::INFINITY,
            tells_speed: true,
            at: Stamp::from_ms(1_700_000_000_000),
            every_s: 1.0,
            edges: (0..N_BANDS).map(|k| (100.0 * k as f32, 100.0 * (k + 2) as f32)).collect(),
        };
        machine.next_session();
        machine
    }

    pub(super) fn uniform(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 * 0.5_f64.powi(53) + 0.5_f64.powi(54)
    }

    pub(super) fn normal(&mut self) -> f32 {
        let (r, a) = ((-2.0 * self.uniform().ln()).sqrt(), self.uniform());
        (r * (std::f64::consts::TAU * a).cos()) as f32
    }

    pub(super) fn next_session(&mut self) {
        let common = self.normal();
        self.session =
            (0..N_BANDS).map(|_| self.session_db * (0.8 * common + 0.6 * self.normal())).collect();
    }

    /// Level of band `k` in dB before noise: a hump, a slope, and 30 log speed.
    fn level(&self, k: usize) -> f32 {
        let x = k as f32 / N_BANDS as f32;
        let law = self.speed_hz.map_or(0.0, |hz| 30.0 * (hz as f32 / 20.0).log10());
        let fault = if k >= self.fault.0 { self.fault.1 } else { 0.0 };
        -20.0 * x + 8.0 * (9.0 * x).sin() + law + self.session[k] + fault + self.gain_db
    }

    pub(super) fn window(&mut self) -> Features {
        let mut db: Vec<f32> = (0..N_BANDS).map(|k| self.level(k) + 0.4 * self.normal()).collect();
        for (db, band) in db.iter_mut().zip(&*self.edges) {
            *db -= if band.0 >= self.heard_hz { 150.0 } else { 0.0 };
        }
        let power: f32 = db.iter().map(|db| 10_f32.powf(db / 10.0)).sum();
        let rms = power.sqrt();
        let indicators = Indicators {
            mean: self.mean,
            rms,
            peak_true: 4.0 * rms,
            peak_to_peak: 7.5 * rms,
            crest_factor: 4.0 * (1.0 + 0.05 * self.normal()),
            kurtosis: self.kurtosis * (1.0 + 0.02 * self.normal()),
            skewness: 0.0,
            level_dba: None,
        };
        let mel_hops = self.hops(&db);
        let bands = Bands { edges_hz: self.edges.clone(), db };
        let axis = Axis {
            quality: Quality::GOOD,
            indicators,
            mel: bands,
            mel_hops,
            third_octaves: Bands { edges_hz: [].into(), db: Vec::new() },
            spectrum: self.spectrum(),
            record: None,
        };
        let start = self.at;
        self.at = self.at + Span::from_secs(self.every_s);
        Features {
            origin: Origin::new("pump-1", "drive-end"),
            start,
            span: Span::from_secs(1.0),
            kind: SensorKind::Vibration,
            rate_hz: 12_800.0,
            unit: Unit::MetersPerSecond2,
            shape: Shape::Stream,
            quality: Quality::GOOD,
            n_left_out: 0,
            speed: self.speed_hz.filter(|_| self.tells_speed).map(|hz| Speed {
                hz,
                tolerance: 0.01,
                source: SpeedSource::Told,
            }),
            axes: vec![axis],
        }
    }

    /// Thirty hops about these levels.
    fn hops(&mut self, db: &[f32]) -> Vec<f32> {
        let Some(hop_db) = self.hop_db else { return Vec::new() };
        let steps: Vec<f32> = (0..30).map(|_| hop_db * self.normal()).collect();
        steps.iter().flat_map(|step| db.iter().map(move |db| db + step)).collect()
    }

    /// A comb of lines over noise, where only they say the speed; else nothing.
    fn spectrum(&mut self) -> Spectrum {
        let Some(hz) = self.speed_hz.filter(|_| !self.tells_speed) else {
            return Spectrum::default();
        };
        let df_hz = 2.0;
        let mut power: Vec<f32> = (0..3200).map(|_| -1e-6 * self.uniform().ln() as f32).collect();
        for (harmonic, strength) in [1e-3, 1e-4, 4e-4, 5e-5, 3e-4, 1e-4, 2e-4].iter().enumerate() {
            let line_hz = 20.0 * hz * (harmonic + 1) as f64;
            if let Some(bin) = power.get_mut((line_hz / df_hz).round() as usize) {
                *bin += strength;
            }
        }
        power
            .iter_mut()
            .skip((f64::from(self.heard_hz) / df_hz) as usize)
            .for_each(|x| *x *= 1e-15);
        Spectrum { df_hz, power }
    }

    pub(super) fn learned(&mut self, n_sessions: usize, n_windows: usize) -> Detector {
        let mut detector = fresh();
        detector.set_pace(Span::from_secs(self.every_s));
        for _ in 0..n_sessions {
            self.next_session();
            (0..n_windows).for_each(|_| {
                let score = detector.step(&self.window());
                assert_eq!((score.state, score.verdict), (State::Learning, Verdict::NotLearned));
            });
            detector.forget();
        }
        let report = detector.finish_learning();
        assert!(report.n_kept > 0, "{report:?}");
        detector
    }

    /// Shares of windows called fault, of `n_sessions` sessions of `n_windows`.
    fn share_of_faults(&mut self, detector: &mut Detector, n_sessions: usize, n: usize) -> f64 {
        let mut n_faults = 0;
        for _ in 0..n_sessions {
            self.next_session();
            detector.forget();
            for _ in 0..n {
                n_faults += usize::from(detector.step(&self.window()).verdict == Verdict::Fault);
            }
        }
        n_faults as f64 / (n_sessions * n) as f64
    }
}

pub(super) fn fresh() -> Detector {
    // Learning ends when the test says so.
    fresh_for(1e9)
}

pub(super) fn fresh_for(learn_s: f64) -> Detector {
    let config = Config { learn_s, ..Config::default() };
    config.build(Origin::new("pump-1", "drive-end"), None).unwrap()
}

fn last(detector: &mut Detector, machine: &mut Machine, n: usize) -> Score {
    (0..n).map(|_| detector.step(&machine.window()).clone()).last().unwrap()
}

/// From two seconds as from many sessions: healthy days pass, faults do not.
#[test]
fn holds_its_limit_with_two_seconds_and_with_many_sessions() {
    let check = |n_sessions: usize, n_windows: usize, fault_db: f32| {
        let (mut false_share, mut hit_share) = (0.0, 0.0);
        for seed in 0..10 {
            let mut machine = Machine::new(seed);
            let mut detector = machine.learned(n_sessions, n_windows);
            false_share += machine.share_of_faults(&mut detector, 20, 10) / 10.0;
            machine.fault = (20, fault_db);
            hit_share += machine.share_of_faults(&mut detector, 20, 10) / 10.0;
        }
        assert!(false_share <= 0.01, "{n_sessions} x {n_windows}: {false_share} false");
        assert!(
            hit_share >= 0.95,
            "{n_sessions} x {n_windows}: {hit_share} of {fault_db} dB found"
        );
    };
    check(1, 2, 6.0);
    check(1, 300, 6.0);
    check(30, 10, 3.0);
}

/// A fault in one band alone, and in the impulsiveness alone.
#[test]
fn one_view_is_enough() {
    let mut machine = Machine::new(3);
    let mut detector = machine.learned(5, 20);
    machine.fault = (N_BANDS - 1, 9.0);
    let score = last(&mut detector, &mut machine, 1);
    assert_eq!(score.verdict, Verdict::Fault, "{score:?}");
    let first = score.contributions[0];
    assert_eq!(first.band_hz, machine.edges[N_BANDS - 1]);
    assert!((first.db - 9.0).abs() < 3.0 && first.share > 0.4, "{first:?}");

    machine.fault = (0, 0.0);
    machine.kurtosis = 9.0;
    let score = last(&mut detector, &mut machine, 1);
    assert_eq!(score.verdict, Verdict::Fault, "{score:?}");
}

/// What rattles or hunts is as loud on average as before, and not as even.
#[test]
fn levels_that_vary_as_never_before_are_a_fault_and_as_ever_are_none() {
    let mut machine = Machine::new(6);
    machine.hop_db = Some(1.0);
    let mut detector = machine.learned(5, 20);
    assert!(machine.share_of_faults(&mut detector, 10, 10) <= 0.02);
    machine.hop_db = Some(4.0);
    let score = last(&mut detector, &mut machine, 1);
    assert_eq!(score.verdict, Verdict::Fault, "{score:?}");
    let least = score.views.iter().min_by(|a, b| a.p_value.total_cmp(&b.p_value)).unwrap();
    assert_eq!(least.name, "fluctuation");
    let first = score.contributions[0];
    assert!(first.change == Change::Fluctuation && (first.db - 12.0).abs() < 4.0, "{first:?}");
}

/// Gravity and offsets are not evidence.
#[test]
fn a_moved_sensor_s_mean_changes_nothing() {
    let mut machine = Machine::new(4);
    let mut detector = machine.learned(3, 20);
    detector.hold(true);
    let (mut moved, mut same) = (machine.window(), machine.window());
    moved.axes[0].indicators = Indicators { mean: -3.0, ..same.axes[0].indicators };
    moved.axes[0].mel = same.axes[0].mel.clone();
    same.start = moved.start;
    let value = detector.step(&same).value;
    assert_eq!(detector.step(&moved).value, value);
}

/// Between learned speeds the limits are wider and hold; far beyond them nothing is said.
#[test]
fn speeds_between_are_covered_and_speeds_beyond_are_not_learned() {
    let mut machine = Machine::new(5);
    let mut detector = fresh();
    for hz in [10.0, 14.0, 20.0, 28.0, 40.0] {
        machine.speed_hz = Some(hz);
        machine.next_session();
        last(&mut detector, &mut machine, 10);
        detector.forget();
    }
    detector.finish_learning();
    let mut check = |hz: f64, fault_db: f32, expect: Verdict| {
        machine.speed_hz = Some(hz);
        machine.fault = (20, fault_db);
        let score = last(&mut detector, &mut machine, 1);
        assert_eq!(score.verdict, expect, "{hz} Hz, {fault_db} dB: {score:?}");
    };
    check(14.0, 0.0, Verdict::Normal);
    check(17.0, 0.0, Verdict::Normal);
    check(33.0, 0.0, Verdict::Normal);
    check(14.0, 8.0, Verdict::Fault);
    check(17.0, 12.0, Verdict::Fault);
    check(160.0, 0.0, Verdict::NotLearned);
    check(160.0, 12.0, Verdict::NotLearned);
}

/// Nobody says the speed, but lines do: between learned speeds is covered, half as fast again is not, and
/// lines that are gone are no excuse. Where the sensor's hearing ends makes no line.
#[test]
fn lines_tell_the_speed_where_nobody_says_it() {
    lines_tell_the_speed(f32::INFINITY);
    lines_tell_the_speed(3000.0);
}

fn lines_tell_the_speed(heard_hz: f32) {
    let mut machine = Machine { tells_speed: false, heard_hz, ..Machine::new(12) };
    let mut detector = fresh();
    for hz in [20.0, 24.0, 29.0, 35.0] {
        machine.speed_hz = Some(hz);
        machine.next_session();
        last(&mut detector, &mut machine, 10);
        detector.forget();
    }
    detector.finish_learning();
    let mut check = |hz: f64, tells: bool, fault_db: f32, expect: Verdict| {
        (machine.speed_hz, machine.tells_speed) = (Some(hz), false);
        machine.fault = (20, fault_db);
        let mut window = machine.window();
        if !tells {
            window.axes[0].spectrum.power.fill(1e-6);
        }
        let score = detector.step(&window);
        assert_eq!(score.verdict, expect, "{hz} Hz, {fault_db} dB: {score:?}");
    };
    check(24.0, true, 0.0, Verdict::Normal);
    check(26.5, true, 0.0, Verdict::Normal);
    check(32.0, true, 0.0, Verdict::Normal);
    check(24.0, true, 10.0, Verdict::Fault);
    check(26.5, true, 15.0, Verdict::Fault);
    check(26.5, false, 20.0, Verdict::Fault);
    check(50.0, true, 0.0, Verdict::NotLearned);
    check(50.0, true, 20.0, Verdict::NotLearned);
}

/// A machine learned at one speed and then, spoilt or not, at another; and what was learned before the other.
fn new_speed(spoil: fn(&mut Machine, &mut Detector)) -> (Machine, Detector, Baseline) {
    let mut machine = Machine::new(13);
    let mut detector = fresh_for(120.0);
    machine.speed_hz = Some(10.0);
    last(&mut detector, &mut machine, 120);
    let before = detector.baseline().unwrap().clone();
    machine.speed_hz = Some(40.0);
    spoil(&mut machine, &mut detector);
    let score = last(&mut detector, &mut machine, 60);
    assert_eq!((score.verdict, score.state), (Verdict::NotLearned, State::Learning));
    assert_eq!(score.learned, 1.0, "or the rules would learn and name as on an unknown machine");
    last(&mut detector, &mut machine, 70);
    (machine, detector, before)
}

/// A speed that is new is learned while it runs at it, unless something is the matter with it.
#[test]
fn a_new_speed_is_learned_as_long_as_the_first_and_under_the_same_protection() {
    let (mut machine, mut detector, before) = new_speed(|_, _| ());
    assert_eq!(last(&mut detector, &mut machine, 1).verdict, Verdict::Normal);
    machine.fault = (20, 12.0);
    assert_eq!(last(&mut detector, &mut machine, 1).verdict, Verdict::Fault);
    let now = serde_json::to_value(detector.baseline().unwrap()).unwrap();
    let before = serde_json::to_value(&before).unwrap();
    assert_eq!(now["first"]["regimes"][0]["mean"], before["regimes"][0]["mean"]);

    let (mut machine, mut detector, _) = new_speed(|_, detector| detector.hold(true));
    assert_eq!(last(&mut detector, &mut machine, 1).verdict, Verdict::NotLearned);
    let (mut machine, mut detector, _) = new_speed(|machine, _| machine.kurtosis = 12.0);
    assert_ne!(last(&mut detector, &mut machine, 1).verdict, Verdict::Normal);
}

/// A speed learned later is rolled back to what was learned at first, also after a restart.
#[test]
fn a_speed_learned_later_is_rolled_back() {
    let (mut machine, mut detector, _) = new_speed(|_, _| ());
    assert_eq!(last(&mut detector, &mut machine, 1).verdict, Verdict::Normal);
    let text = serde_json::to_string(detector.baseline().unwrap()).unwrap();
    detector.roll_back();
    assert_eq!(last(&mut detector, &mut machine, 1).verdict, Verdict::NotLearned);
    let mut again = fresh();
    again.restore(serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(last(&mut again, &mut machine, 1).verdict, Verdict::Normal);
    again.roll_back();
    assert_eq!(last(&mut again, &mut machine, 1).verdict, Verdict::NotLearned);
}

/// A new bearing settles: it grows quieter for hours, and no alarm follows, learned while it settles or after.
#[test]
fn running_in_is_no_fault() {
    for learn_days in [2, 5] {
        let (mut machine, per_day) = (Machine::new(12), 48);
        machine.every_s = 1800.0;
        let mut detector = fresh();
        detector.set_pace(Span::from_secs(machine.every_s));
        let settle = |machine: &mut Machine, half_hours: usize| {
            machine.gain_db = 6.0 * (-(half_hours as f32) / per_day as f32).exp();
        };
        for i in 0..30 * per_day {
            settle(&mut machine, i);
            if i % per_day == 0 {
                machine.next_session();
            }
            if i == learn_days * per_day {
                detector.finish_learning();
            }
            let score = detector.step(&machine.window());
            assert_ne!(score.state, State::Alarm, "learned {learn_days} days, window {i}");
        }
    }
}

/// Days of 48 windows until learning of one day ends, at levels by day; whether it waited and is suspect then.
fn learned_in(level_db: fn(f32) -> f32) -> (f32, bool, bool) {
    let (mut machine, mut detector, mut waited) = (Machine::new(14), fresh_for(86_400.0), false);
    machine.every_s = 1800.0;
    detector.set_pace(Span::from_secs(machine.every_s));
    for i in 0..48 * 30_u16 {
        let day = f32::from(i) / 48.0;
        machine.gain_db = level_db(day);
        let score = detector.step(&machine.window()).clone();
        if detector.baseline().is_some() {
            return (day, waited, score.baseline_suspect);
        }
        assert_eq!(score.state, State::Learning);
        waited |= score.settling_db.is_some();
    }
    panic!("it learns for ever");
}

/// Learning waits for what settles, and for nothing else.
#[test]
fn learning_waits_for_what_settles_and_never_for_a_ramp() {
    let (day, waited, suspect) = learned_in(|_| 0.0);
    assert!(day < 1.1 && !waited && !suspect, "steady: {day} {waited} {suspect}");
    let (day, waited, suspect) = learned_in(|day| 6.0 * (-day).exp());
    assert!((2.0..4.1).contains(&day) && waited && !suspect, "falling: {day} {waited} {suspect}");
    let (day, waited, suspect) = learned_in(|day| 30.0 * (-4.0 * day).exp());
    assert!((1.4..4.1).contains(&day) && waited && !suspect, "warm: {day} {waited} {suspect}");
    let (day, waited, suspect) = learned_in(|day| 6.0 * (1.0 - (-3.0 * day).exp()));
    assert!((1.4..4.1).contains(&day) && waited && suspect, "risen: {day} {waited} {suspect}");
    let ramps: [fn(f32) -> f32; 3] = [|day| 5.0 * day, |day| 12.0 * day, |day| 6.0 * day * day];
    for (i, ramp) in ramps.into_iter().enumerate() {
        let (day, waited, suspect) = learned_in(ramp);
        assert!(day < 1.1 && !waited && suspect, "ramp {i}: {day} {waited} {suspect}");
    }
}

#[test]
fn blind_and_stopped_are_states_of_their_own() {
    let mut machine = Machine::new(6);
    let mut detector = machine.learned(3, 20);
    let mut window = machine.window();
    window.quality = Quality::FLAT;
    let score = detector.step(&window);
    assert_eq!((score.state, score.verdict), (State::Blind, Verdict::Void));
    machine.gain_db = -40.0;
    let score = last(&mut detector, &mut machine, 1);
    assert_eq!((score.state, score.verdict), (State::Stopped, Verdict::Void));
    machine.gain_db = 0.0;
    assert_eq!(last(&mut detector, &mut machine, 1).state, State::Normal);
}

/// Evidence gathers: a shift that no window proves alarms in time, and nothing alarms without one.
#[test]
fn small_lasting_changes_alarm_and_healthy_days_do_not() {
    let (mut machine, per_day) = (Machine::new(7), 48);
    machine.every_s = 1800.0;
    let mut detector = machine.learned(20, per_day);
    for _ in 0..200 {
        machine.next_session();
        let score = last(&mut detector, &mut machine, per_day);
        assert!(score.evidence < 1.0, "{score:?}");
    }
    machine.fault = (20, 3.0);
    let n_days = (1..=14).find(|_| {
        machine.next_session();
        last(&mut detector, &mut machine, per_day).state == State::Alarm
    });
    assert!(n_days.is_some(), "3 dB went unnoticed for two weeks");
}

/// What a budget is worth depends on how many days were seen, and one day says nothing of the next.
#[test]
fn a_budget_is_claimed_only_as_far_as_the_data_support_it() {
    let supports = |n_days: usize| {
        let mut machine = Machine::new(11);
        machine.every_s = 1800.0;
        let mut detector = machine.learned(n_days, 48);
        last(&mut detector, &mut machine, 1).false_alarms_per_year
    };
    assert_eq!(supports(1), None);
    let (few, many) = (supports(4).unwrap(), supports(60).unwrap());
    assert!(few > 2.0 * many && many >= 1.0, "{few} after 4 days, {many} after 60");
}

/// What was learned goes through JSON and says the same afterwards.
#[test]
fn a_baseline_is_kept_over_a_restart() {
    let mut machine = Machine::new(8);
    let mut detector = machine.learned(3, 20);
    let text = serde_json::to_string(detector.baseline().unwrap()).unwrap();
    let mut again = fresh();
    again.restore(serde_json::from_str(&text).unwrap()).unwrap();
    for _ in 0..20 {
        let window = machine.window();
        let (a, b) = (detector.step(&window).clone(), again.step(&window).clone());
        assert_eq!((a.value, a.evidence, a.state), (b.value, b.evidence, b.state));
    }
    let other = text.replacen("\"version\":4", "\"version\":0", 1);
    assert!(fresh().restore(serde_json::from_str(&other).unwrap()).is_err());
}

/// An accelerometer of three axes in the place of one of one axis: it says so by learning, not by silence.
#[test]
fn another_sensor_in_its_place_learns_anew() {
    let mut machine = Machine::new(8);
    let mut detector = fresh();
    detector.restore(machine.learned(3, 20).baseline().unwrap().clone()).unwrap();
    let mut window = |detector: &mut Detector| {
        let mut window = machine.window();
        window.axes.push(window.axes[0].clone());
        detector.step(&window).clone()
    };
    let score = window(&mut detector);
    assert_eq!(score.state, State::Learning);
    assert!(score.learned < 1.0, "{}", score.learned);
    (0..20).for_each(|_| drop(window(&mut detector)));
    detector.finish_learning();
    assert_eq!(window(&mut detector).verdict, Verdict::Normal);
}

#[test]
fn a_machine_that_knocks_or_drifts_while_learning_is_suspect() {
    let mut machine = Machine::new(9);
    machine.kurtosis = 12.0;
    let detector = &mut machine.learned(2, 20);
    assert!(last(detector, &mut machine, 1).baseline_suspect);

    let mut machine = Machine::new(10);
    let mut detector = fresh();
    for _ in 0..200 {
        machine.gain_db += 0.03;
        detector.step(&machine.window());
    }
    let report = detector.finish_learning();
    assert!(report.suspect.is_some_and(|why| why.contains("dB")), "drift went unnoticed");
}

/// A year of healthy days that differ from one another, one window every half hour: the budget of
/// one false alarm a year holds. Then a fault that grows over 30 days alarms, adaptation or not.
#[test]
fn healthy_years_keep_the_budget_and_a_ramp_of_30_days_alarms() {
    let per_day = 48;
    let (n_years, mut n_alarms) = (4, 0);
    for seed in 0..n_years {
        let mut machine = Machine::new(100 + seed);
        machine.every_s = 1800.0;
        let mut detector = machine.learned(10, per_day);
        let mut was_alarm = false;
        for _ in 0..365 {
            machine.next_session();
            for _ in 0..per_day {
                let is_alarm = detector.step(&machine.window()).state == State::Alarm;
                n_alarms += u64::from(is_alarm && !was_alarm);
                was_alarm = is_alarm;
            }
        }
        detector.forget();
        let n_days = (1..=30).find(|&day| {
            machine.next_session();
            machine.fault = (20, 8.0 * day as f32 / 30.0);
            last(&mut detector, &mut machine, per_day).state == State::Alarm
        });
        assert!(n_days.is_some(), "a ramp of 8 dB in 30 days went unnoticed by seed {seed}");
    }
    assert!(n_alarms <= n_years, "{n_alarms} false alarms in {n_years} years");
}
