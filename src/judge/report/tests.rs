//! The report's numbers against small cases worked out by hand.

use super::*;
use crate::types::{Life, Refusal};

fn item(normal: bool, key: &str, answer: Answer, score: f64, windows: (usize, usize)) -> Item {
    let windows = Windows { n: windows.0, fault: windows.1, not_learned: 0 };
    Item { normal, key: (!normal).then(|| key.to_owned()), answer, score, windows }
}

fn trace(alarms: &str, n_learn: usize) -> Trace {
    let marks = alarms
        .chars()
        .enumerate()
        .map(|(idx, c)| Mark { alarm: c == 'A', void: c == '?', score: idx as f64 })
        .collect();
    Trace {
        file: "life.wav".to_owned(),
        every_s: 60.0,
        n_learn,
        marks,
        forecast: None,
        said: Vec::new(),
    }
}

#[test]
fn detection_counts_answers_and_abstentions() {
    let items = [
        item(true, "", Answer::Normal, 0.1, (10, 1)),
        item(true, "", Answer::Fault, 0.4, (10, 5)),
        item(true, "", Answer::NotLearned, 0.2, (10, 0)),
        item(false, "ball/light", Answer::Fault, 0.9, (4, 4)),
        item(false, "ball/heavy", Answer::NotLearned, 0.3, (4, 0)),
    ];
    let detection = Detection::new(&items);
    let expect = Counts {
        normal: 3,
        fault: 2,
        false_alarms: 1,
        hits: 1,
        not_learned_normal: 1,
        not_learned_fault: 1,
    };
    assert_eq!(detection.recordings, expect);
    assert_eq!((detection.windows.false_alarms, detection.windows.hits), (6, 4));
    // 0.9 beats three normals, 0.3 beats two: 5 of 6 pairs.
    assert!((detection.auc.unwrap() - 5.0 / 6.0).abs() < 1e-12);
    assert_eq!(detection.by_fault["ball/light"].auc, Some(1.0));
    assert_eq!(detection.by_fault["ball/heavy"].not_learned, 1);
}

#[test]
fn lives_count_from_the_alarm_that_holds() {
    let check = |alarms: &str, first, lasting, lead_s, early| {
        let life = LifeReport::new(&trace(alarms, 1));
        let found = (life.first_alarm_snapshot, life.lasting_alarm_snapshot, life.lead_s);
        assert_eq!(
            (found, life.alarm_in_first_third),
            ((first, lasting, lead_s), early),
            "{alarms}"
        );
    };
    check("------AAA", Some(7), Some(7), 120.0, false);
    check("-A----AAA", Some(2), Some(7), 120.0, true);
    check("---A----A", Some(4), Some(9), 0.0, false);
    check("---A-----", Some(4), None, 0.0, false);
    check("---------", None, None, 0.0, false);
    check("AAAAAAAAA", Some(1), Some(1), 480.0, true);
    // A blind snapshot neither ends an alarm nor begins one.
    check("----A??AA", Some(5), Some(5), 240.0, false);
    check("----??AAA", Some(7), Some(7), 120.0, false);
}

#[test]
fn summary_of_lives() {
    let good = format!("{}{}", "-".repeat(24), "A".repeat(11));
    let early = format!("-A{}{}", "-".repeat(24), "A".repeat(11));
    let missed = "-".repeat(30);
    let outcome = Outcome {
        id: "m".to_owned(),
        learned: Vec::new(),
        items: Vec::new(),
        named: Vec::new(),
        lives: vec![vec![trace(&good, 4), trace(&early, 4), trace(&missed, 4)]],
    };
    let report = MachineReport::new(&outcome, 0);
    assert_eq!(report.lives[0].auc_early_late, Some(1.0));
    let summary = Summary::new(&[report]);
    assert_eq!((summary.lives, summary.lives_alarmed), (3, 2));
    assert_eq!((summary.lives_alarmed_in_first_third, summary.lives_clean_and_early), (1, 1));
    assert_eq!(summary.median_lead_s, Some(600.0));
}

#[test]
fn forecasts_are_scored_and_refusals_count() {
    let asked = |life| Some(Asked { at_snapshot: 10, life, actual_s: Some(3600.0) });
    let life = Life { p10_h: 0.5, p50_h: 1.05, p90_h: 2.0 };
    let mut said = trace(&"-".repeat(20), 2);
    said.forecast = asked(Ok(life));
    let mut refused = trace(&"-".repeat(20), 2);
    refused.forecast = asked(Err(Refusal::NotWearing));
    refused.forecast.as_mut().unwrap().actual_s = None;
    let lives = vec![LifeReport::new(&said), LifeReport::new(&refused)];
    assert!((lives[0].forecast.as_ref().unwrap().phm2012_score.unwrap() - 0.5).abs() < 1e-9);
    assert_eq!(lives[1].forecast.as_ref().unwrap().actual_s, 600.0);
    let machine = MachineReport {
        id: "m".to_owned(),
        detection: None,
        diagnosis: None,
        lives,
        learned: Vec::new(),
    };
    let summary = Summary::new(&[machine]);
    assert!((summary.phm2012.unwrap() - 0.25).abs() < 1e-9);
    assert_eq!((summary.forecasts, summary.forecasts_refused), (2, 1));
}

#[test]
fn naming_knows_a_false_name_from_no_name() {
    let named = |truth: &str, said: Option<&'static str>| Named {
        truth: (truth != "normal").then(|| truth.to_owned()),
        said,
    };
    let cases = [
        named("ball", Some("ball")),
        named("ball", Some("impulsive_unknown")),
        named("outer_race", None),
        named("propeller", Some("blade_pass")),
        named("normal", None),
        named("normal", Some("impulsive_unknown")),
        named("normal", Some("ball")),
    ];
    let diagnosis = Diagnosis::new(&cases);
    assert_eq!((diagnosis.n, diagnosis.correct, diagnosis.none), (3, 1, 1));
    assert_eq!((diagnosis.normals, diagnosis.normals_named), (3, 1));
    assert_eq!(diagnosis.not_nameable, 1);
    // ball: tp 1, fn 1, fp 1 (the named normal) = 0.5; outer_race: 0.
    assert!((diagnosis.macro_f1.unwrap() - 0.25).abs() < 1e-12);
    assert_eq!(diagnosis.confusion["normal"]["ball"], 1);
}
