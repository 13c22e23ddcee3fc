//! The advisor as a whole: findings in, the events a person would get out.

use proptest::prelude::*;

use super::*;
use crate::types::{Fault, Life, Origin, Quality, Refusal, Score, Severity, Zone};

/// A finding and outlook to be changed by the test.
struct Scene {
    finding: Finding,
    outlook: Outlook,
    every_s: f64,
}

impl Scene {
    fn new(every_s: f64) -> Self {
        let origin = Origin::new("pump-1", "drive-end");
        let mut score = Score::new(origin.clone());
        (score.threshold, score.regime) = (3.0, Some(0));
        let finding = Finding {
            origin: origin.clone(),
            start: Stamp::from_ms(1_700_000_000_000),
            state: State::Normal,
            health: 100.0,
            wear: None,
            rise: None,
            severity: Severity {
                velocity_rms_mm_s: Some(1.0),
                zone: Some(Zone::A),
                standard: "ISO 20816-3".into(),
                reason: None,
            },
            faults: Vec::new(),
            score,
            speed_hz: None,
            quality: Quality::GOOD,
        };
        let start = finding.start;
        let life = Err(Refusal::NotWearing);
        let outlook = Outlook { origin, start, life, since: None, wear_per_day: None };
        Self { finding, outlook, every_s }
    }

    fn zone(&mut self, zone: Zone, velocity: f64) {
        self.finding.severity.zone = Some(zone);
        self.finding.severity.velocity_rms_mm_s = Some(velocity);
    }

    fn fault(&mut self, code: FaultCode, confidence: f32) {
        self.finding.faults = vec![Fault { code, confidence, evidence: Vec::new() }];
    }

    /// So many windows; the events with the number of the window, from 0.
    fn run(&mut self, advisor: &mut Advisor, n: usize) -> Vec<(usize, Alert)> {
        let mut told = Vec::new();
        for idx in 0..n {
            self.finding.start = self.finding.start + Span::from_secs(self.every_s);
            let alerts = advisor.step(&self.finding, &self.outlook);
            told.extend(alerts.iter().cloned().map(|alert| (idx, alert)));
        }
        told
    }

    fn command(&self, order: Order) -> Command {
        Command {
            id: "1".to_owned(),
            asset: "pump-1".to_owned(),
            order,
            by: "ann".to_owned(),
            reason: "seen it".to_owned(),
            at: self.finding.start,
        }
    }
}

fn advisor() -> Advisor {
    Config::default().build(&["drive-end", "fan-end"]).unwrap()
}

/// Window, event, what, state, priority.
fn brief(told: &[(usize, Alert)]) -> Vec<String> {
    let line = |(idx, alert): &(usize, Alert)| {
        let (event, what) = (alert.event.name(), alert.what.name());
        let (state, priority) = (alert.state.name(), alert.priority.name());
        format!("{idx} {event} {what} {state} {priority}")
    };
    told.iter().map(line).collect()
}

#[test]
fn an_anomaly_is_raised_returned_and_acknowledged() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    scene.finding.state = State::Alarm;
    let told = scene.run(&mut advisor, 60);
    assert_eq!(brief(&told), ["10 raised anomaly unacknowledged low"]);
    scene.finding.state = State::Normal;
    let told = scene.run(&mut advisor, 2000);
    assert_eq!(brief(&told), ["1799 returned anomaly returned_unacknowledged low"]);
    let (reply, alerts) = advisor.order(&scene.command(Order::Ack { what: None }));
    assert!(reply.done);
    let events: Vec<_> = alerts.iter().map(|it| (it.event, it.episode, it.transition)).collect();
    assert_eq!(events, [(Event::Acknowledged, 1, 3), (Event::Cleared, 1, 4)]);
    assert_eq!(alerts[0].by.as_deref(), Some("ann: seen it"));
    let (reply, alerts) = advisor.order(&scene.command(Order::Ack { what: None }));
    assert!(!reply.done && alerts.is_empty());
}

#[test]
fn snapshots_of_ten_seconds_alarm_at_the_third() {
    let (mut scene, mut advisor) = (Scene::new(10.0), advisor());
    scene.finding.state = State::Alarm;
    assert_eq!(brief(&scene.run(&mut advisor, 9)), ["2 raised anomaly unacknowledged low"]);
}

#[test]
fn zones_alarm_before_anything_is_learned_and_d_at_once() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    scene.finding.state = State::Learning;
    scene.zone(Zone::D, 9.0);
    let told = scene.run(&mut advisor, 1);
    assert_eq!(brief(&told), ["0 raised severity unacknowledged high"]);
    assert!(told[0].1.action.starts_with("Now:"), "{}", told[0].1.action);
    let (mut scene, mut advisor) = (Scene::new(1.0), self::advisor());
    scene.finding.state = State::Learning;
    scene.zone(Zone::C, 5.0);
    let told = scene.run(&mut advisor, 5);
    assert_eq!(brief(&told), ["2 raised severity unacknowledged medium"]);
}

#[test]
fn the_zone_must_be_left_by_the_deadband() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    scene.zone(Zone::C, 4.6);
    scene.run(&mut advisor, 5);
    scene.zone(Zone::B, 4.3);
    assert!(scene.run(&mut advisor, 4000).is_empty());
    scene.zone(Zone::B, 4.1);
    let told = scene.run(&mut advisor, 2000);
    assert_eq!(brief(&told), ["1799 returned severity returned_unacknowledged medium"]);
}

#[test]
fn one_case_is_open_and_the_worst_leads() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    scene.finding.state = State::Alarm;
    let mut told = scene.run(&mut advisor, 20);
    scene.fault(FaultCode::OuterRace, 0.8);
    told.extend(scene.run(&mut advisor, 20));
    scene.zone(Zone::D, 12.0);
    told.extend(scene.run(&mut advisor, 20));
    scene.zone(Zone::B, 2.0);
    told.extend(scene.run(&mut advisor, 1900));
    let expect = [
        "10 raised anomaly unacknowledged low",
        "10 worsened fault unacknowledged medium",
        "0 worsened severity unacknowledged high",
        "1799 improved fault unacknowledged medium",
    ];
    assert_eq!(brief(&told), expect);
    assert!(told.iter().all(|(_, alert)| alert.episode == 1));
    let transitions: Vec<u32> = told.iter().map(|(_, alert)| alert.transition).collect();
    assert_eq!(transitions, [1, 2, 3, 4]);
    assert_eq!(told[1].1.fault.as_ref().unwrap().code, FaultCode::OuterRace);
}

#[test]
fn a_short_life_is_told_and_a_refusal_does_not_clear_it() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    let life = |p50_h| Life { p10_h: p50_h / 2.0, p50_h, p90_h: p50_h * 2.0 };
    scene.outlook.life = Ok(life(300.0));
    let mut told = scene.run(&mut advisor, 20);
    scene.outlook.life = Err(Refusal::TooWide);
    told.extend(scene.run(&mut advisor, 4000));
    scene.outlook.life = Ok(life(48.0));
    told.extend(scene.run(&mut advisor, 20));
    let expect = ["10 raised trend unacknowledged medium", "10 worsened trend unacknowledged high"];
    assert_eq!(brief(&told), expect);
}

#[test]
fn a_blind_sensor_is_told_in_seconds_and_holds_the_machines_alarm() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    scene.finding.state = State::Alarm;
    scene.run(&mut advisor, 20);
    scene.finding.state = State::Blind;
    scene.finding.quality = Quality::FLAT;
    scene.zone(Zone::D, 99.0);
    scene.fault(FaultCode::Ball, 1.0);
    let told = scene.run(&mut advisor, 10_000);
    assert_eq!(brief(&told), ["3 raised sensor unacknowledged medium"]);
    assert!(told[0].1.message.contains("flat"), "{}", told[0].1.message);
    assert_eq!(told[0].1.episode, 2);
    // Heard again: the sensor returns, the machine's alarm stood all the time.
    scene.finding.quality = Quality::GOOD;
    scene.finding.state = State::Alarm;
    scene.zone(Zone::A, 1.0);
    scene.finding.faults.clear();
    let told = scene.run(&mut advisor, 100);
    assert_eq!(brief(&told), ["59 returned sensor returned_unacknowledged medium"]);
}

/// Two sensors of one machine, window by window; the events.
fn run_both(
    (one, other): (&mut Scene, &mut Scene),
    advisor: &mut Advisor,
    n: usize,
) -> Vec<(usize, Alert)> {
    let mut told = Vec::new();
    for idx in 0..n {
        let both = one.run(advisor, 1).into_iter().chain(other.run(advisor, 1));
        told.extend(both.map(|(_, alert)| (idx, alert)));
    }
    told
}

#[test]
fn a_second_sensor_in_trouble_is_told_too() {
    let (mut one, mut other, mut advisor) = (Scene::new(1.0), Scene::new(1.0), advisor());
    other.finding.origin = Origin::new("pump-1", "fan-end");
    one.finding.quality = Quality::FLAT;
    let mut told = run_both((&mut one, &mut other), &mut advisor, 10);
    other.finding.quality = Quality::LOOSE_MOUNT;
    told.extend(run_both((&mut one, &mut other), &mut advisor, 10));
    other.finding.quality = Quality::FLAT;
    told.extend(run_both((&mut one, &mut other), &mut advisor, 10));
    one.finding.quality = Quality::GOOD;
    told.extend(run_both((&mut one, &mut other), &mut advisor, 100));
    other.finding.quality = Quality::GOOD;
    told.extend(run_both((&mut one, &mut other), &mut advisor, 100));
    let expect = [
        "3 raised sensor unacknowledged medium",
        "3 worsened sensor unacknowledged medium",
        "3 worsened sensor unacknowledged medium",
        "59 improved sensor unacknowledged medium",
        "59 returned sensor returned_unacknowledged medium",
    ];
    assert_eq!(brief(&told), expect);
    let messages: Vec<&str> = told.iter().map(|(_, alert)| &*alert.message).collect();
    assert!(messages[1].contains("fan-end on pump-1 needs a hand"), "{messages:?}");
    assert!(messages[2].contains("fan-end on pump-1 cannot be trusted"), "{messages:?}");
    assert!(messages[3].contains("drive-end on pump-1 can be trusted again"), "{messages:?}");
}

#[test]
fn a_second_sensor_that_had_to_wait_is_told_by_its_name() {
    let calm = Config { alerts_per_hour_max: 1, ..Config::default() };
    let mut advisor = calm.build(&["drive-end", "fan-end"]).unwrap();
    let (mut one, mut other) = (Scene::new(1.0), Scene::new(1.0));
    other.finding.origin = Origin::new("pump-1", "fan-end");
    one.finding.quality = Quality::FLAT;
    run_both((&mut one, &mut other), &mut advisor, 10);
    other.finding.quality = Quality::FLAT;
    let told = run_both((&mut one, &mut other), &mut advisor, 3600);
    assert_eq!(brief(&told), ["3593 worsened sensor unacknowledged medium"]);
    assert!(told[0].1.message.contains("fan-end"), "{}", told[0].1.message);
}

#[test]
fn a_sensor_taken_away_in_trouble_is_not_waited_for() {
    let (mut one, mut other, mut advisor) = (Scene::new(1.0), Scene::new(1.0), advisor());
    other.finding.origin = Origin::new("pump-1", "fan-end");
    other.finding.quality = Quality::FLAT;
    let told = run_both((&mut one, &mut other), &mut advisor, 10);
    assert_eq!(brief(&told), ["3 raised sensor unacknowledged medium"]);
    let memory = advisor.memory().clone();
    let mut advisor = Config::default().build(&["drive-end"]).unwrap();
    advisor.restore(memory);
    let told = one.run(&mut advisor, 10);
    assert_eq!(brief(&told), ["0 returned sensor returned_unacknowledged medium"]);
}

#[test]
fn a_standstill_holds_and_a_run_up_is_waited_out() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    scene.finding.state = State::Stopped;
    scene.run(&mut advisor, 100);
    scene.finding.state = State::Alarm;
    let told = scene.run(&mut advisor, 100);
    // The minute of run-up, then the on-delay.
    assert_eq!(brief(&told), ["69 raised anomaly unacknowledged low"]);
    scene.finding.state = State::Stopped;
    assert!(scene.run(&mut advisor, 10_000).is_empty());
    scene.finding.state = State::Learning;
    scene.zone(Zone::D, 20.0);
    assert_eq!(brief(&scene.run(&mut advisor, 2))[0], "0 worsened severity unacknowledged high");
}

#[test]
fn another_regime_begins_the_delay_anew() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    scene.finding.state = State::Alarm;
    for regime in 0..20 {
        scene.finding.score.regime = Some(regime % 2);
        assert!(scene.run(&mut advisor, 9).is_empty());
    }
}

#[test]
fn the_shelf_ends_by_itself_and_never_in_silence() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    scene.finding.state = State::Alarm;
    scene.run(&mut advisor, 20);
    let until = scene.finding.start + Span::from_secs(300.0);
    let order = Order::Shelve { what: None, until };
    let (reply, alerts) = advisor.order(&scene.command(order.clone()));
    assert!(reply.done, "{}", reply.message);
    assert_eq!(alerts[0].event, Event::Shelved);
    let told = scene.run(&mut advisor, 400);
    assert_eq!(brief(&told), ["299 unshelved anomaly unacknowledged low"]);
    let mut command = scene.command(order);
    let (reply, _) = advisor.order(&command);
    assert!(!reply.done && reply.message.contains("over already"), "{}", reply.message);
    let late = command.at + Span::from_secs(1e7);
    command.order = Order::Shelve { what: None, until: late };
    let (reply, _) = advisor.order(&command);
    assert!(!reply.done && reply.message.contains("168 h"), "{}", reply.message);
}

#[test]
fn a_shelf_given_by_a_clock_ahead_ends_when_it_is_set_right() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    let right = scene.finding.start;
    scene.finding.start = right + Span::from_secs(365.0 * 86_400.0);
    scene.finding.state = State::Alarm;
    scene.run(&mut advisor, 20);
    // The longest there is, by the clock of the order, a little ahead of the window's.
    let mut command = scene.command(Order::RollBack);
    command.at = command.at + Span::from_secs(30.0);
    let until = command.at + Span::from_secs(168.0 * 3600.0);
    command.order = Order::Shelve { what: None, until };
    let (reply, _) = advisor.order(&command);
    assert!(reply.done, "{}", reply.message);
    assert!(scene.run(&mut advisor, 20).is_empty());
    scene.finding.start = right;
    assert_eq!(brief(&scene.run(&mut advisor, 20)), ["0 unshelved anomaly unacknowledged low"]);
}

#[test]
fn maintenance_closes_the_case() {
    let (mut scene, mut advisor) = (Scene::new(1.0), advisor());
    scene.finding.state = State::Alarm;
    scene.run(&mut advisor, 20);
    let (reply, alerts) = advisor.order(&scene.command(Order::Relearn));
    assert!(reply.done);
    assert_eq!((alerts[0].event, alerts[0].transition), (Event::Cleared, 2));
    let told = scene.run(&mut advisor, 20);
    assert_eq!((told[0].1.event, told[0].1.episode, told[0].0), (Event::Raised, 2, 10));
}

#[test]
fn a_storm_is_calmed_but_urgent_news_passes() {
    let config = Config { off_delay_s: 0.0, on_delay_s: 0.0, on_windows: 1, ..Config::default() };
    let (mut scene, mut advisor) = (Scene::new(1.0), config.build(&["drive-end"]).unwrap());
    let mut told = Vec::new();
    for idx in 0..1000 {
        scene.finding.state = if idx % 2 == 0 { State::Alarm } else { State::Normal };
        told.extend(scene.run(&mut advisor, 1));
    }
    assert_eq!(told.len(), 6);
    scene.zone(Zone::D, 20.0);
    let told = scene.run(&mut advisor, 1);
    assert_eq!(told[0].1.priority.name(), "high");
    assert!(told[0].1.message.contains("held back"), "{}", told[0].1.message);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let check = |config: Config, text: &str| {
        let said = config.build(&[]).err().unwrap().to_string();
        assert!(said.starts_with(text), "{said}");
    };
    check(Config { on_windows: 0, ..Config::default() }, "advise.on_windows: 0 windows");
    check(Config { off_delay_s: -1.0, ..Config::default() }, "advise.off_delay_s: -1");
    check(Config { on_delay_s: f64::NAN, ..Config::default() }, "advise.on_delay_s: NaN");
    check(Config { life_urgent_h: 1e3, ..Config::default() }, "advise.life_urgent_h: 1000 h");
}

/// One window of a random day.
#[derive(Clone, Copy, Debug)]
struct Moment {
    state: State,
    zone: Zone,
    flat: bool,
    fault: Option<FaultCode>,
    every_s: f64,
    ack: bool,
}

fn moment() -> impl Strategy<Value = Moment> {
    let state = prop::sample::select(vec![
        State::Stopped,
        State::Normal,
        State::Alert,
        State::Alarm,
        State::Alarm,
        State::Blind,
    ]);
    let zone = prop::sample::select(vec![Zone::A, Zone::B, Zone::C, Zone::D]);
    let fault = prop::option::of(prop::sample::select(FaultCode::ALL.to_vec()));
    let every = prop::sample::select(vec![1.0, 1.0, 10.0, 4000.0]);
    (state, zone, any::<bool>(), fault, every, prop::bool::weighted(0.1)).prop_map(
        |(state, zone, flat, fault, every_s, ack)| Moment {
            state,
            zone,
            flat,
            fault,
            every_s,
            ack,
        },
    )
}

proptest! {
    /// A restart in the middle changes nothing, and the count of events has no holes.
    #[test]
    fn memory_is_restored_exactly(
        moments in prop::collection::vec((moment(), 1_usize..40), 1..20), cut in 0_usize..20
    ) {
        let (mut scene, mut whole, mut twice) = (Scene::new(1.0), advisor(), advisor());
        let mut last = std::collections::BTreeMap::new();
        for (idx, (moment, n)) in moments.into_iter().enumerate() {
            if idx == cut {
                let kept = serde_json::to_string(whole.memory()).unwrap();
                twice = advisor();
                twice.restore(serde_json::from_str(&kept).unwrap());
            }
            scene.finding.state = moment.state;
            scene.zone(moment.zone, 5.0);
            scene.finding.quality = if moment.flat { Quality::FLAT } else { Quality::GOOD };
            scene.finding.faults.clear();
            if let Some(code) = moment.fault {
                scene.fault(code, 0.9);
            }
            scene.every_s = moment.every_s;
            let start = scene.finding.start;
            let mut first = scene.run(&mut whole, n);
            scene.finding.start = start;
            let mut second = scene.run(&mut twice, n);
            if moment.ack {
                let order = scene.command(Order::Ack { what: None });
                first.extend(whole.order(&order).1.iter().cloned().map(|alert| (n, alert)));
                second.extend(twice.order(&order).1.iter().cloned().map(|alert| (n, alert)));
            }
            prop_assert_eq!(brief(&first), brief(&second));
            prop_assert_eq!(whole.memory(), twice.memory());
            for (_, alert) in &first {
                let before = last.insert(alert.episode, alert.transition).unwrap_or(0);
                prop_assert_eq!(alert.transition, before + 1);
                // Blind, nothing new is said of the machine; what was held back may come then.
                let known = alert.what == What::Sensor || alert.message.contains("held back");
                prop_assert!(known || moment.state != State::Blind || moment.ack);
            }
        }
    }
}
