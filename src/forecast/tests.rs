//! Every refusal, the life of a wearing machine, and the memory.

use super::*;
use crate::types::Rise;

const STEP_S: f64 = 10.0;

fn finding(i: usize, state: State, wear: Option<f64>) -> Finding {
    let mut finding = Finding::new(Origin::new("pump-1", "bearing"));
    finding.start = Stamp::from_ms(0) + Span::from_secs(i as f64 * STEP_S);
    (finding.state, finding.score.state, finding.score.regime) = (state, state, Some(0));
    finding.wear = wear;
    finding.rise = wear.map(|wear| Rise { db: 20.0 * wear, limit_db: 20.0 });
    finding.speed_hz = Some(25.0);
    finding
}

fn forecaster() -> Forecaster {
    Config::default().build().unwrap()
}

/// A machine in alarm whose damage grows by a constant factor, from its own amplitude to the limit after `n` steps.
fn wearing(i: usize, n: usize) -> Finding {
    let power = 99f64.powf(i as f64 / n as f64);
    finding(i, State::Alarm, Some(10.0 * (1.0 + power).log10() / 20.0))
}

#[test]
fn a_steadily_wearing_machine_gets_its_life() {
    let (mut f, n) = (forecaster(), 1000);
    let mut n_stated = 0;
    for i in 0..700 {
        let outlook = f.step(&wearing(i, n));
        let truth = (n - i) as f64 * STEP_S / 3600.0;
        if i > 400 {
            let life = outlook.life.expect("stated");
            assert!((life.p50_h / truth - 0.88).abs() < 0.12, "{life:?} for {truth} at {i}");
            assert!(life.p10_h < life.p50_h && truth < life.p90_h, "{life:?} for {truth} at {i}");
            n_stated += 1;
        }
    }
    assert!(n_stated > 200);
    assert_eq!(f.step(&wearing(700, n)).since, Some(Stamp::from_ms(0)));
    assert!(f.step(&wearing(701, n)).wear_per_day.unwrap() > 0.0);
}

#[test]
fn each_refusal_has_its_cause() {
    let check = |mut f: Forecaster, last: Finding, want: Refusal| {
        assert_eq!(f.step(&last).life, Err(want));
    };
    let worn = || {
        let mut f = forecaster();
        (0..500).for_each(|i| assert!(f.step(&wearing(i, 1000)).start >= Stamp::default()));
        f
    };
    let mut told = worn();
    assert!(told.step(&wearing(500, 1000)).life.is_ok(), "{:?}", told.outlook.life);
    check(forecaster(), finding(0, State::Learning, None), Refusal::Learning);
    check(forecaster(), finding(0, State::Normal, Some(0.0)), Refusal::NotWearing);
    check(forecaster(), finding(0, State::Alarm, Some(0.2)), Refusal::TooFewPoints);
    check(worn(), finding(500, State::Blind, Some(0.5)), Refusal::SensorFault);
    check(worn(), finding(500, State::Alarm, None), Refusal::NoLimit);
    let clipped = Finding { quality: Quality::CLIPPED, ..wearing(500, 1000) };
    check(worn(), clipped, Refusal::SensorFault);
    let mut moved = wearing(500, 1000);
    moved.speed_hz = Some(30.0);
    check(worn(), moved, Refusal::RegimeChanged);
    let mut maintained = worn();
    maintained.maintained();
    check(maintained, finding(500, State::Alert, Some(0.0)), Refusal::Maintained);
    let mut flat = forecaster();
    for i in 0..200 {
        assert!(flat.step(&finding(i, State::Alarm, Some(0.3))).start >= Stamp::default());
    }
    check(flat, finding(200, State::Alarm, Some(0.3)), Refusal::SlopeUncertain);
    let mut slow = forecaster();
    for i in 0..200 {
        assert!(
            slow.step(&finding(i, State::Alarm, Some(i as f64 * 1e-4))).start >= Stamp::default()
        );
    }
    check(slow, finding(200, State::Alarm, Some(0.02)), Refusal::TooFar);
    let mut narrow = Config { width_max: 1e-3, ..Config::default() }.build().unwrap();
    let bumpy = |i: usize| 0.1 + 0.0008 * i as f64 + 0.03 * ((i * 7919) % 13) as f64 / 13.0;
    for i in 0..500 {
        assert!(narrow.step(&finding(i, State::Alarm, Some(bumpy(i)))).start >= Stamp::default());
    }
    check(narrow, finding(500, State::Alarm, Some(bumpy(500))), Refusal::TooWide);
}

#[test]
fn wear_only_worsens_and_spikes_do_not_count() {
    let mut f = forecaster();
    for i in 0..50 {
        f.step(&finding(i, State::Alarm, Some(0.2)));
    }
    f.step(&finding(50, State::Alarm, Some(1.0)));
    assert!((f.memory.wear() - 0.2).abs() < 1e-9, "one spike");
    for i in 51..90 {
        f.step(&finding(i, State::Alarm, Some(0.0)));
    }
    assert!((f.memory.wear() - 0.2).abs() < 1e-9, "no recovery without maintenance");
    f.maintained();
    assert_eq!(f.memory.wear(), 0.0);
}

/// Another regime at the same speed is the same machine, worn as it is; another speed goes on from where wear was.
#[test]
fn wear_is_carried_over_regimes_and_speeds() {
    let (mut straight, mut other, mut fast) = (forecaster(), forecaster(), forecaster());
    for i in 0..700 {
        straight.step(&wearing(i, 1000));
        let mut regime = wearing(i, 1000);
        regime.score.regime = Some((i / 200) as u16);
        assert_eq!(other.step(&regime).life, straight.outlook.life, "at {i}");
        let mut speed = wearing(i, 1000);
        if (i / 100) % 2 == 1 {
            // Heard 4 dB softer there.
            speed.speed_hz = Some(30.0);
            speed.rise = speed.rise.map(|rise| Rise { db: rise.db - 4.0, ..rise });
        }
        let life = fast.step(&speed).life;
        assert_eq!(
            life == Err(Refusal::RegimeChanged),
            (100..109).contains(&i),
            "at {i}: {life:?}"
        );
    }
    let (a, b) = (straight.outlook.life.unwrap(), fast.outlook.life.unwrap());
    assert!((a.p50_h / b.p50_h - 1.0).abs() < 0.15, "{a:?} and {b:?}");
}

#[test]
fn a_false_start_is_taken_back() {
    let mut f = forecaster();
    f.step(&finding(0, State::Alarm, Some(0.1)));
    for i in 1..100 {
        f.step(&finding(i, State::Normal, Some(0.0)));
    }
    assert_eq!(f.step(&finding(100, State::Normal, Some(0.0))).life, Err(Refusal::NotWearing));
    assert_eq!(f.outlook.since, None);
}

#[test]
fn wear_without_its_alarm_is_no_false_start() {
    let mut f = forecaster();
    (0..300).for_each(|i| assert!(f.step(&wearing(i, 1000)).start >= Stamp::default()));
    for i in 300..500 {
        let unalarmed = Finding { state: State::Normal, ..wearing(i, 1000) };
        assert!(f.step(&unalarmed).since.is_some(), "forgotten at {i}");
    }
    assert!(f.step(&wearing(500, 1000)).life.is_ok());
}

#[test]
fn the_history_is_thinned_and_stays_bounded() {
    let mut f = forecaster();
    for i in 0..5000 {
        f.step(&wearing(i, 8000));
        assert!(f.memory.points.len() <= wear::POINTS_MAX);
    }
    let life = f.step(&wearing(5000, 8000)).life.expect("stated");
    let truth = 3000.0 * STEP_S / 3600.0;
    assert!(life.p10_h < truth && truth < life.p90_h, "{life:?} for {truth}");
}

#[test]
fn a_restart_changes_nothing() {
    let (mut through, mut first) = (forecaster(), forecaster());
    for i in 0..600 {
        through.step(&wearing(i, 1000));
        first.step(&wearing(i, 1000));
    }
    let kept = serde_json::to_string(first.memory()).unwrap();
    let mut second = forecaster();
    second.restore(serde_json::from_str(&kept).unwrap());
    for i in 600..700 {
        let a = through.step(&wearing(i, 1000)).life;
        assert_eq!(a, second.step(&wearing(i, 1000)).life, "at {i}");
    }
    let mut strange = second.memory().clone();
    strange.version = 99;
    second.restore(strange);
    assert_eq!(second.memory().points.len(), 0);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let check = |config: Config, key: &str| assert_eq!(config.build().err().unwrap().key, key);
    check(Config { points_min: 2, ..Config::default() }, "points_min");
    check(Config { reach_max: 0.0, ..Config::default() }, "reach_max");
    check(Config { width_max: f64::NAN, ..Config::default() }, "width_max");
}
