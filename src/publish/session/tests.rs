//! Tests of the session: single cases, then anything at all in any order against a model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::publish::AckLevel;
use crate::store::Class;

fn secs(secs: f64) -> Span {
    Span::from_secs(secs)
}

fn row(n: u64) -> Row {
    let id = EventId(u128::from(n).to_be_bytes());
    Row { seq: n, id, class: Class::Alert, topic: String::new(), payload: Vec::new() }
}

fn number(id: EventId) -> u64 {
    u128::from_be_bytes(id.0) as u64
}

/// A session with a store, a broker and a clock of its own.
struct World {
    session: Session,
    now: Span,
    rows: BTreeMap<u64, Row>,
    parked: BTreeSet<u64>,
    version: u64,
    /// Rows sent on the connection that is up, not acknowledged.
    wire: Vec<u64>,
    trying: Option<u64>,
    up: Option<u64>,
    n_attempts: u64,
    delivered: BTreeSet<u64>,
}

impl World {
    fn new(config: &Config, seed: u64) -> Self {
        let now = secs(1.0);
        Self {
            session: Session::new(config, seed, now),
            now,
            rows: BTreeMap::new(),
            parked: BTreeSet::new(),
            version: 0,
            wire: Vec::new(),
            trying: None,
            up: None,
            n_attempts: 0,
            delivered: BTreeSet::new(),
        }
    }

    fn add(&mut self, n: u64) {
        self.rows.insert(n, row(n));
        self.version += 1;
        self.tell();
    }

    fn tell(&mut self) {
        let watermark = Watermark { version: self.version, rows: self.rows.len() as u64 };
        self.session.came(watermark, self.now);
    }

    fn act(&mut self) {
        self.session.step(self.now);
        while let Some(action) = self.session.action() {
            match action {
                Action::Connect(generation) => {
                    assert!(self.trying.is_none() && self.up.is_none(), "one attempt at a time");
                    self.trying = Some(generation);
                    self.n_attempts += 1;
                }
                Action::Drop(_) => {
                    (self.trying, self.up) = (None, None);
                    self.wire.clear();
                }
                Action::Publish(row) => {
                    assert!(self.up.is_some(), "sent without a connection");
                    assert!(!self.wire.contains(&row.seq), "sent twice on one connection");
                    self.wire.push(row.seq);
                    assert!(self.wire.len() <= 4, "window");
                }
                Action::Ask(ask) => {
                    let after = ask.after[0];
                    let due = self.rows.range(after + 1..).map(|(_, row)| row.clone());
                    let due = due.filter(|row| !self.parked.contains(&row.seq)).take(ask.limit);
                    let due = due.collect();
                    self.session.answer(ask, due, self.now);
                }
                Action::Clear(id) => {
                    assert!(self.delivered.contains(&number(id)), "cleared, never delivered");
                    self.rows.remove(&number(id));
                    self.tell();
                }
                Action::Park(id) => drop(self.parked.insert(number(id))),
            }
        }
    }

    fn pass(&mut self, span: Span) {
        let until = self.now + span;
        while self.now < until {
            let next = self.session.deadline(self.now).max(self.now + Span(1_000_000));
            self.now = next.min(until);
            self.act();
        }
    }

    fn connect(&mut self) {
        if let Some(generation) = self.trying.take() {
            self.up = Some(generation);
            self.session.connected(generation, self.now);
            self.act();
        }
    }

    fn lose(&mut self, lost: &Lost) {
        if let Some(generation) = self.trying.take().or(self.up.take()) {
            self.wire.clear();
            self.session.lost(generation, lost, self.now);
            self.act();
        }
    }

    fn ack(&mut self, at: usize) {
        let (Some(generation), false) = (self.up, self.wire.is_empty()) else { return };
        let n = self.wire.remove(at % self.wire.len());
        self.delivered.insert(n);
        self.session.acked(generation, row(n).id, self.now);
        self.act();
    }
}

fn small() -> Config {
    Config { in_flight_max: 4, ..Config::default() }
}

fn gone() -> Lost {
    Lost::Unreachable("gone".into())
}

fn closed() -> Lost {
    Lost::Closed("closed".into())
}

#[test]
fn a_box_that_is_not_to_publish_keeps_its_alerts_and_never_calls() {
    let config = Config { enabled: false, ..Config::default() };
    let mut world = World::new(&config, 1);
    world.add(1);
    world.session.step(secs(1e6));
    assert_eq!(world.session.action(), None);
    assert!(world.session.deadline(secs(1e6)) > secs(1e6));
}

#[test]
fn thirty_days_without_a_broker_make_no_storm() {
    let mut world = World::new(&small(), 7);
    let mut day = Vec::new();
    for _ in 0..3 {
        let before = world.n_attempts;
        for _ in 0..86_400 {
            world.pass(secs(1.0));
            world.lose(&gone());
        }
        day.push(world.n_attempts - before);
    }
    // Full jitter up to 30 s: four a minute on average, 5760 a day.
    assert!(day.iter().all(|n| (5000..6200).contains(n)), "{day:?}");
}

#[test]
fn a_broker_away_for_less_than_a_minute_is_found_within_four_seconds() {
    for seed in 0..200 {
        let mut world = World::new(&small(), seed);
        world.add(1);
        world.pass(secs(1.0));
        world.connect();
        world.ack(0);
        world.pass(secs(0.5));
        world.lose(&closed());
        for _ in 0..59 {
            world.pass(secs(1.0));
            world.lose(&gone());
        }
        let before = world.n_attempts;
        world.pass(secs(4.0));
        assert!(world.n_attempts > before, "seed {seed}");
    }
}

#[test]
fn every_new_connection_sends_everything_unacknowledged_in_order() {
    let mut world = World::new(&small(), 1);
    (1..=6).for_each(|n| world.add(n));
    world.pass(secs(1.0));
    world.connect();
    assert_eq!(world.wire, [1, 2, 3, 4]);
    world.ack(1);
    assert_eq!(world.wire, [1, 3, 4, 5]);
    world.lose(&gone());
    world.pass(secs(2.0));
    world.connect();
    assert_eq!(world.wire, [1, 3, 4, 5]);
    (0..6).for_each(|_| world.ack(0));
    assert!(world.rows.is_empty());
    assert_eq!(world.session.state(world.now), State::Online);
}

#[test]
fn an_acknowledgement_of_an_older_connection_clears_nothing() {
    let mut world = World::new(&small(), 1);
    world.add(1);
    world.pass(secs(1.0));
    world.connect();
    let old = world.up.unwrap();
    world.lose(&gone());
    world.session.acked(old, row(1).id, world.now);
    world.pass(secs(3.0));
    world.connect();
    world.session.acked(old, row(1).id, world.now);
    world.act();
    assert_eq!((world.wire.as_slice(), world.rows.len()), (&[1][..], 1));
}

#[test]
fn a_row_the_client_cannot_take_is_not_overtaken() {
    let mut session = Session::new(&small(), 1, secs(1.0));
    session.step(secs(2.0));
    session.connected(1, secs(2.0));
    let (mut sent, mut is_full) = (Vec::new(), true);
    while let Some(action) = session.action() {
        match action {
            Action::Ask(ask) if ask.after[0] == 0 => {
                session.answer(ask, (1..=4).map(row).collect(), secs(2.0));
            }
            Action::Ask(ask) => session.answer(ask, Vec::new(), secs(2.0)),
            Action::Publish(row) if is_full && row.seq == 2 => {
                is_full = false;
                session.put_back(row);
                session.step(secs(2.1));
            }
            Action::Publish(row) => sent.push(row.seq),
            _ => {}
        }
    }
    assert_eq!(sent, [1, 2, 3, 4]);
}

#[test]
fn silence_makes_the_connection_slow_then_lost() {
    let mut world = World::new(&small(), 1);
    world.add(1);
    world.pass(secs(1.0));
    world.connect();
    assert_eq!(world.session.state(world.now), State::CatchingUp);
    world.pass(secs(4.0));
    assert_eq!(world.session.state(world.now), State::Slow);
    world.pass(secs(12.0));
    assert_eq!(world.session.state(world.now), State::Offline);
}

#[test]
fn a_row_the_broker_closes_on_is_parked_and_the_rest_moves_on() {
    let mut world = World::new(&small(), 1);
    (1..=9).for_each(|n| world.add(n));
    for _ in 0..200 {
        world.pass(secs(1.0));
        world.connect();
        // This broker takes everything but row 3, on which it closes.
        while let Some(at) = world.wire.iter().position(|&n| n != 3) {
            if world.wire[0] == 3 {
                break;
            }
            world.ack(at);
        }
        if world.wire.first() == Some(&3) {
            world.lose(&closed());
        }
    }
    assert_eq!(world.parked.iter().collect::<Vec<_>>(), [&3]);
    assert_eq!(world.rows.keys().collect::<Vec<_>>(), [&3]);
}

#[test]
fn a_refused_password_is_not_tried_again_for_a_minute() {
    let mut world = World::new(&small(), 1);
    world.pass(secs(1.0));
    world.lose(&Lost::Refused("password".into()));
    world.pass(secs(59.0));
    assert_eq!(world.n_attempts, 1);
    world.pass(secs(2.0));
    assert_eq!(world.n_attempts, 2);
}

#[test]
fn the_fleets_word_clears_what_the_brokers_does_not() {
    let mut world = World::new(&Config { ack_level: AckLevel::Fleet, ..small() }, 1);
    world.add(1);
    world.pass(secs(1.0));
    world.connect();
    world.ack(0);
    assert_eq!(world.rows.len(), 1);
    world.pass(secs(61.0));
    assert_eq!(world.wire, [1], "sent again after a minute");
    world.session.received(&[row(1).id]);
    world.act();
    assert!(world.rows.is_empty());
}

#[derive(Clone, Debug)]
enum Deed {
    Add,
    Pass(u16),
    Connect,
    Lose(bool),
    Ack(u8),
    OldAck(u8),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => Just(Deed::Add),
        3 => (1..2000u16).prop_map(Deed::Pass),
        3 => Just(Deed::Connect),
        1 => any::<bool>().prop_map(Deed::Lose),
        4 => any::<u8>().prop_map(Deed::Ack),
        1 => any::<u8>().prop_map(Deed::OldAck),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_all_rows_arrive_once_the_faults_stop(
        deeds in prop::collection::vec(deed(), 1..120), seed: u64,
    ) {
        let mut world = World::new(&small(), seed);
        let mut n_rows = 0;
        for deed in deeds {
            match deed {
                Deed::Add => { n_rows += 1; world.add(n_rows) }
                Deed::Pass(ms) => world.pass(secs(f64::from(ms) / 100.0)),
                Deed::Connect => world.connect(),
                Deed::Lose(has_closed) => world.lose(&if has_closed { closed() } else { gone() }),
                Deed::Ack(at) => world.ack(usize::from(at)),
                Deed::OldAck(n) => {
                    let generation = world.session.generation().wrapping_sub(1);
                    world.session.acked(generation, row(u64::from(n)).id, world.now);
                }
            }
            world.act();
        }
        world.parked.clear();
        world.session.retry_all();
        for _ in 0..200 {
            world.pass(secs(1.0));
            world.connect();
            (0..40).for_each(|_| world.ack(0));
        }
        prop_assert!(world.rows.is_empty(), "left: {:?}", world.rows.keys());
        prop_assert_eq!(world.delivered.len() as u64, n_rows);
    }
}
