//! A box, its disk, its broker, the fleet behind and the time, all made of chance from one seed.
//!
//! Machines change; the box decides, keeps state and row together, and sends what is kept through
//! the real session. Whatever is under way is an event at a time; a fault may come between any two.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use auscult::publish::{AckLevel, Action, Ask, Config, Lost, Session, State};
use auscult::store::{EventId, Row};
use auscult::types::Span;

use super::disk::{Deed, Disk, Key, key};
use super::faults::{Fault, Troubles};
use crate::rig::Dice;

/// Machines watched.
pub(super) const ASSETS: u8 = 3;

/// Rows under way at once.
const WINDOW: u16 = 4;

/// A mistake made on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    /// The broker's word is enough although the fleet's was asked for.
    ClearAtBrokersWord,
    /// A row goes when it is handed to the connection.
    ClearWhenSent,
    /// Packet numbers of an older connection are looked up among those of this one.
    BelieveOldAcks,
    /// Rows are kept in a transaction of their own, after the state.
    RowAfterState,
    /// Ids are thrown, not derived.
    RandomIds,
    /// The waits between attempts do not grow.
    NoBackOff,
}

/// What may happen next.
#[derive(Clone, Debug)]
enum Event {
    /// A machine changes.
    Machine(u8),
    /// The keeper's turn, in this life of the process.
    Keep(u32, Vec<Deed>, bool),
    /// The keeper looks for rows.
    Look(u32, Ask),
    /// They come back to the session.
    Rows(u32, Ask, Vec<Row>),
    /// The session looks at the clock.
    Wake(u64),
    /// The end of an attempt.
    Tried(Link, Option<Lost>),
    /// The next message on the connection reaches the broker.
    Broker(Link),
    /// The broker hands it on.
    Fleet(EventId, Vec<u8>),
    /// An acknowledgement reaches the box.
    Ack(Link, u16),
    /// The fleet's word reaches the box, if it is connected then.
    Word(Vec<EventId>),
    Fault(Fault),
    /// What was put aside is to be tried again.
    Retry,
    /// The process starts.
    Boot,
}

/// A connection: life of the process, number in it.
type Link = (u32, u64);

/// How often things happened that must happen now and then.
pub(super) type Sometimes = BTreeMap<&'static str, u64>;

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) now: Span,
    planted: Planted,
    config: Config,
    events: BinaryHeap<Reverse<(Span, u64, usize)>>,
    store: Vec<Option<Event>>,
    disk: Disk,
    /// Transitions each machine has made: what the fleet must know in the end.
    truth: BTreeMap<u8, u32>,
    // The box.
    boot: u32,
    session: Option<Session>,
    wake: u64,
    decided: BTreeMap<u8, u32>,
    keeper_at: Span,
    version: u64,
    // The network.
    pub(super) troubles: Troubles,
    link: Option<Link>,
    link_at: Span,
    sent: BTreeMap<(Link, u16), EventId>,
    /// What is on the connection, with its packet number; nothing overtakes there.
    wire: VecDeque<(u16, Row)>,
    next_packet: u16,
    n_trying: u32,
    attempts: Vec<Span>,
    starts: Vec<Span>,
    // The other side.
    under_way: BTreeSet<usize>,
    known: BTreeMap<EventId, Vec<u8>>,
    told: BTreeMap<u8, Vec<u32>>,
    has_parked: bool,
    pub(super) sometimes: Sometimes,
    pub(super) broken: Option<String>,
}

fn secs(secs: f64) -> Span {
    Span::from_secs(secs)
}

impl World {
    pub(super) fn new(seed: u64, days: f64, planted: Planted) -> Self {
        let mut dice = Dice::new(seed);
        let is_fleet = match planted {
            Planted::ClearAtBrokersWord => true,
            Planted::BelieveOldAcks | Planted::ClearWhenSent => false,
            _ => dice.below(2) == 0,
        };
        let ack_level = if is_fleet { AckLevel::Fleet } else { AckLevel::Broker };
        let mut config = Config { in_flight_max: WINDOW, ack_level, ..Config::default() };
        if planted == Planted::NoBackOff {
            config.retry_max_s = 1;
        }
        let mut world = Self {
            now: secs(1.0),
            planted,
            config,
            events: BinaryHeap::new(),
            store: Vec::new(),
            disk: Disk::new(seed.is_multiple_of(40)),
            truth: BTreeMap::new(),
            boot: 0,
            session: None,
            wake: 0,
            decided: BTreeMap::new(),
            keeper_at: Span(0),
            version: 1,
            troubles: Troubles::default(),
            link: None,
            link_at: Span(0),
            sent: BTreeMap::new(),
            wire: VecDeque::new(),
            next_packet: 0,
            n_trying: 0,
            attempts: Vec::new(),
            starts: Vec::new(),
            under_way: BTreeSet::new(),
            known: BTreeMap::new(),
            told: BTreeMap::new(),
            has_parked: false,
            sometimes: Sometimes::new(),
            broken: None,
            dice,
        };
        world.at(0.0, Event::Boot);
        // Trouble comes in company, and machines do not wait until it is over.
        let storms: Vec<f64> = (0..8).map(|_| world.dice.unit() * days * 86_400.0).collect();
        let some_time = |dice: &mut Dice| match dice.below(4) {
            0 => dice.unit() * days * 86_400.0,
            _ => storms[dice.below(8) as usize] + dice.unit().powi(2) * 300.0,
        };
        for _ in 0..150 {
            let when = some_time(&mut world.dice);
            let asset = world.dice.below(u64::from(ASSETS)) as u8;
            for _ in 0..=world.dice.below(6) {
                let later = when + world.dice.unit();
                world.at(later, Event::Machine(asset));
            }
        }
        for _ in 0..80 {
            let when = some_time(&mut world.dice);
            let fault = Fault::any(&mut world.dice);
            world.at(when, Event::Fault(fault));
        }
        world
    }

    /// Until `days` are over, then without faults until all is told; what went wrong, if anything.
    pub(super) fn run(&mut self, days: f64) -> Result<(), String> {
        let faults_end = secs(days * 86_400.0 + 1.0);
        self.run_until(faults_end, |_| false);
        self.troubles.end_all();
        if self.session.is_none() {
            self.at(0.0, Event::Boot);
        }
        self.wake_at(self.now + secs(1.0));
        // Someone looks at what was put aside and has it tried again.
        (1..4).for_each(|k| self.at(f64::from(k) * 600.0, Event::Retry));
        let limit = Span(faults_end.0 + secs(4.0 * 3600.0).0);
        self.run_until(limit, |world| world.is_all_told() && world.disk.n_rows() == 0);
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        if !self.is_all_told() {
            return Err(format!("the fleet knows {:?} of {:?}", self.n_known(), self.truth));
        }
        if self.disk.n_rows() > 0 {
            return Err(format!("{} rows never left the disk", self.disk.n_rows()));
        }
        self.check_attempts()
    }

    fn run_until(&mut self, limit: Span, is_over: impl Fn(&Self) -> bool) {
        while let Some(Reverse((at, _, n))) = self.events.pop() {
            if at > limit || self.broken.is_some() || is_over(self) {
                self.events.push(Reverse((at, n as u64, n)));
                break;
            }
            self.now = self.now.max(at);
            self.under_way.remove(&n);
            if let Some(event) = self.store[n].take() {
                self.happen(event);
            }
        }
        self.now = self.now.max(limit.min(self.now + secs(1.0)));
    }

    fn at(&mut self, in_s: f64, event: Event) {
        self.at_time(self.now + secs(in_s), event);
    }

    fn at_time(&mut self, at: Span, event: Event) {
        let n = self.store.len();
        if let Event::Fleet(..) = event {
            self.under_way.insert(n);
        }
        self.store.push(Some(event));
        self.events.push(Reverse((at, n as u64, n)));
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.sometimes.entry(what).or_default() += 1;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Machine(asset) => {
                *self.truth.entry(asset).or_default() += 1;
                self.decide(asset);
            }
            Event::Boot => self.boot(),
            Event::Keep(boot, deeds, is_unsure) if boot == self.boot => {
                self.keep(&deeds, is_unsure);
            }
            Event::Look(boot, ask) if boot == self.boot => {
                let rows = self.disk.due(ask);
                let delay = self.dice.unit() * 0.02;
                self.at(delay, Event::Rows(boot, ask, rows));
            }
            Event::Rows(boot, ask, rows) if boot == self.boot => {
                let now = self.now;
                self.with(|session| session.answer(ask, rows, now));
            }
            Event::Wake(n) if n == self.wake => self.wake(),
            Event::Tried(link, lost) => self.tried(link, lost),
            Event::Broker(link) if self.link == Some(link) => self.reached(link),
            Event::Fleet(id, payload) => self.reached_fleet(id, payload),
            Event::Ack(link, packet) => self.acked(link, packet),
            Event::Word(ids) if self.link.is_some() => {
                self.with(|session| session.received(&ids));
            }
            Event::Fault(fault) if !self.troubles.are_over => self.fault(fault),
            Event::Retry => self.queue(vec![Deed::Unpark]),
            _ => {}
        }
    }

    fn with(&mut self, tell: impl FnOnce(&mut Session)) {
        if let Some(session) = &mut self.session {
            tell(session);
            self.act();
        }
    }

    // The box.

    fn boot(&mut self) {
        if self.session.is_some() {
            return;
        }
        self.boot += 1;
        self.starts.push(self.now);
        let seed = self.dice.next();
        let mut session = Session::new(&self.config, seed, self.now);
        session.came(self.disk.watermark(self.version), self.now);
        self.session = Some(session);
        self.decided = (0..ASSETS).map(|asset| (asset, self.disk.state(asset))).collect();
        self.keeper_at = self.now;
        (0..ASSETS).for_each(|asset| self.decide(asset));
        self.wake_at(self.now + secs(0.0));
    }

    /// The process is gone; what was under way in it is too.
    fn crash(&mut self) {
        if self.session.take().is_none() {
            return;
        }
        self.count("crash");
        self.boot += 1;
        self.tear();
        self.n_trying = 0;
        self.sent.clear();
        let delay = self.dice.unit() * 60.0;
        self.at(delay, Event::Boot);
    }

    /// What a machine did and was not decided yet, state and rows together.
    fn decide(&mut self, asset: u8) {
        let truth = self.truth.get(&asset).copied().unwrap_or(0);
        let Some(decided) = self.decided.get_mut(&asset) else { return };
        if self.session.is_none() || *decided >= truth {
            return;
        }
        let new: Vec<u32> = (*decided + 1..=truth).collect();
        *decided = truth;
        let rows: Vec<_> =
            new.into_iter().map(|n| Deed::Add(self.id((asset, n)), (asset, n))).collect();
        let state = vec![Deed::State(asset, truth)];
        if self.planted == Planted::RowAfterState {
            self.queue(state);
            self.queue(rows);
        } else {
            self.queue(rows.into_iter().chain(state).collect());
        }
    }

    fn id(&mut self, key: Key) -> EventId {
        let mut id = [0; 16];
        id[0] = key.0;
        id[1..5].copy_from_slice(&key.1.to_be_bytes());
        if self.planted == Planted::RandomIds {
            id[8..].copy_from_slice(&self.dice.next().to_le_bytes());
        }
        EventId(id)
    }

    /// To the keeper, in order, who takes a moment: longer when the disk is slow.
    fn queue(&mut self, deeds: Vec<Deed>) {
        let delay = 0.001 + self.dice.unit() * 0.05;
        let free_at = self.troubles.disk_stuck_until.max(self.now).max(self.keeper_at);
        self.keeper_at = free_at + secs(delay);
        let is_unsure = self.dice.below(40) == 0;
        self.at_time(self.keeper_at, Event::Keep(self.boot, deeds, is_unsure));
    }

    fn keep(&mut self, deeds: &[Deed], is_unsure: bool) {
        self.disk.commit(deeds);
        if self.troubles.is_fatal(&mut self.dice) {
            self.count("crash right after a commit");
            self.crash();
            return;
        }
        if is_unsure {
            // The disk said no and kept it all the same: the decisions are kept once more.
            self.count("kept twice");
            let again: Vec<_> = deeds
                .iter()
                .map(|deed| match deed {
                    Deed::Add(_, key) => Deed::Add(self.id(*key), *key),
                    deed => deed.clone(),
                })
                .collect();
            self.disk.commit(&again);
        }
        let adds = deeds.iter().any(|deed| matches!(deed, Deed::Add(..) | Deed::Unpark));
        self.version += u64::from(adds);
        let (watermark, now) = (self.disk.watermark(self.version), self.now);
        let is_retry = deeds.iter().any(|deed| matches!(deed, Deed::Unpark));
        self.with(|session| {
            if is_retry {
                session.retry_all();
            }
            session.came(watermark, now);
        });
    }

    fn wake(&mut self) {
        let now = self.now;
        self.with(|session| session.step(now));
        let Some(session) = &mut self.session else { return };
        let until = session.deadline(now);
        // Long stretches in which nothing can happen are passed over.
        let rest = match session.state(now) {
            State::Online if session.backlog() == 0 => 600.0,
            State::Offline if until - now >= secs(1.0) => 1.0 + 4.0 * self.dice.unit(),
            _ => 0.0,
        };
        let until = until.max(now + secs(rest)).max(now + secs(0.001));
        self.wake_at(until);
    }

    /// The one alarm clock of the session's driver.
    fn wake_at(&mut self, at: Span) {
        self.wake += 1;
        self.at_time(at, Event::Wake(self.wake));
    }

    /// As the network's thread does.
    fn act(&mut self) {
        let now = self.now;
        while let Some(action) = self.session.as_mut().and_then(Session::action) {
            match action {
                Action::Connect(n) => self.connect(n),
                Action::Drop(_) => {
                    self.count("given up");
                    self.n_trying = 0;
                    self.link = None;
                    self.wake_at(self.now + secs(0.0));
                }
                Action::Publish(row) => {
                    if !self.publish(&row) {
                        self.count("put back");
                        self.session.as_mut().unwrap().put_back(row);
                        self.wake_at(self.now + secs(0.05));
                        return;
                    }
                }
                Action::Ask(ask) => {
                    if self.dice.unit() < self.troubles.keeper_busy {
                        self.count("ask failed");
                        self.session.as_mut().unwrap().ask_failed();
                        self.wake_at(self.now + secs(0.05));
                        continue;
                    }
                    let free_at = self.troubles.disk_stuck_until.max(now).max(self.keeper_at);
                    self.keeper_at = free_at + secs(0.001);
                    self.at_time(self.keeper_at, Event::Look(self.boot, ask));
                }
                Action::Clear(id) => {
                    self.check_clear(id);
                    self.queue(vec![Deed::Clear(id)]);
                }
                Action::Park(id) => {
                    self.count("parked");
                    self.has_parked = true;
                    self.queue(vec![Deed::Park(id)]);
                }
            }
        }
    }

    // The network.

    fn connect(&mut self, n: u64) {
        self.attempts.push(self.now);
        self.n_trying += 1;
        if self.n_trying > 1 || self.link.is_some() {
            self.broken = Some("two connections at a time".into());
        }
        let link = (self.boot, n);
        let delay = 0.01 + self.dice.unit() * 0.5;
        match self.troubles.connecting(self.now) {
            Some(None) => {}
            Some(Some(lost)) => self.at(delay, Event::Tried(link, Some(lost))),
            None => self.at(delay, Event::Tried(link, None)),
        }
    }

    fn tried(&mut self, link: Link, lost: Option<Lost>) {
        let is_current =
            self.session.as_ref().is_some_and(|it| (self.boot, it.generation()) == link);
        if !is_current || self.n_trying == 0 {
            return;
        }
        self.n_trying = 0;
        let now = self.now;
        if let Some(lost) = lost {
            self.with(|session| session.lost(link.1, &lost, now));
        } else {
            self.count("connected");
            self.link = Some(link);
            self.wire.clear();
            self.link_at = now;
            self.next_packet = 0;
            self.with(|session| session.connected(link.1, now));
        }
        self.wake_at(self.now + secs(0.0));
    }

    fn publish(&mut self, row: &Row) -> bool {
        let Some(link) = self.link else { return false };
        if self.dice.unit() < self.troubles.client_full {
            return false;
        }
        self.next_packet += 1;
        let packet = self.next_packet;
        self.sent.insert((link, packet), row.id);
        if self.planted == Planted::ClearWhenSent {
            self.queue(vec![Deed::Clear(row.id)]);
        }
        let delay = 0.001 + self.dice.unit() * 0.05;
        self.link_at = self.link_at.max(self.troubles.stall_until).max(self.now + secs(delay));
        self.wire.push_back((packet, row.clone()));
        self.at_time(self.link_at, Event::Broker(link));
        true
    }

    fn reached(&mut self, link: Link) {
        if self.troubles.is_stalled(self.now) {
            // It comes when things move again, if the connection lives so long.
            self.link_at = self.link_at.max(self.troubles.stall_until);
            self.at_time(self.troubles.stall_until, Event::Broker(link));
            return;
        }
        let Some((packet, row)) = self.wire.pop_front() else { return };
        if self.troubles.is_refused(key(&row.payload).0, self.now) {
            self.fault(Fault::Tear { has_closed: true });
            return;
        }
        if self.is_fleet() {
            // This broker acknowledges what it has not handed on yet.
            let delay = self.dice.unit() * 0.5;
            self.at(delay, Event::Fleet(row.id, row.payload));
        } else {
            self.reached_fleet(row.id, row.payload);
        }
        let delay =
            0.001 + self.dice.unit() * if self.troubles.slow_acks(self.now) { 20.0 } else { 0.1 };
        self.at(delay, Event::Ack(link, packet));
        if self.dice.below(10) == 0 {
            let later = delay + self.dice.unit() * 30.0;
            self.at(later, Event::Ack(link, packet));
        }
    }

    fn acked(&mut self, link: Link, packet: u16) {
        let now = self.now;
        if self.link == Some(link) && self.troubles.is_stalled(now) {
            self.at_time(self.troubles.stall_until, Event::Ack(link, packet));
            return;
        }
        if self.link.is_none() {
            return;
        }
        if self.link != Some(link) {
            self.count("acknowledgement of an older connection");
        }
        let here = if self.planted == Planted::BelieveOldAcks { self.link.unwrap() } else { link };
        let Some(&id) = self.sent.get(&(here, packet)) else { return };
        if self.planted == Planted::ClearAtBrokersWord {
            self.queue(vec![Deed::Clear(id)]);
        }
        let number = if here.0 == self.boot { here.1 } else { 0 };
        self.with(|session| session.acked(number, id, now));
    }

    /// The connection ends, without a word.
    fn tear(&mut self) {
        self.link = None;
    }

    fn fault(&mut self, fault: Fault) {
        self.count(fault.name());
        match fault {
            Fault::Crash => self.crash(),
            Fault::Tear { has_closed } => {
                let Some(link) = self.link else { return };
                self.tear();
                let now = self.now;
                let why = "torn".to_owned();
                let lost = if has_closed { Lost::Closed(why) } else { Lost::Unreachable(why) };
                self.with(|session| session.lost(link.1, &lost, now));
                self.wake_at(self.now + secs(0.0));
            }
            Fault::BrokerCrash => {
                // What it took and did not hand on is gone.
                for n in std::mem::take(&mut self.under_way) {
                    self.store[n] = None;
                }
                self.fault(Fault::Tear { has_closed: true });
            }
            Fault::Sleep { secs: s } => self.now = self.now + secs(s),
            Fault::Lasting(trouble, s) => {
                let until = self.now + secs(s);
                if self.troubles.begin(trouble, self.now, until) {
                    self.fault(Fault::Tear { has_closed: false });
                }
                let is_over = Event::Fault(Fault::Over(trouble));
                self.at_time(until, is_over);
            }
            Fault::Over(trouble) => self.troubles.end(trouble),
        }
    }

    // The other side.

    fn is_fleet(&self) -> bool {
        self.config.ack_level == AckLevel::Fleet
    }

    fn reached_fleet(&mut self, id: EventId, payload: Vec<u8>) {
        let decision = key(&payload);
        if let Some(known) = self.known.insert(id, payload) {
            self.count("sent again");
            if key(&known) != decision {
                self.broken = Some(format!("{id} names two alerts"));
            }
        } else {
            let has_order = !self.is_fleet() && !self.has_parked;
            let told = self.told.entry(decision.0).or_default();
            if told.contains(&decision.1) {
                self.broken = Some(format!("alert {decision:?} came under two ids"));
            }
            // A broker that loses what it took, and what was put aside, may put things out of order.
            let is_late = told.last().is_some_and(|&last| last > decision.1);
            if is_late && has_order {
                self.broken = Some(format!("alert {decision:?} came after {told:?}"));
            }
            told.push(decision.1);
            if self.truth.get(&decision.0).is_none_or(|&n| n < decision.1) {
                self.broken = Some(format!("alert {decision:?} is invented"));
            }
        }
        if self.is_fleet() && self.dice.below(8) > 0 {
            let (mut ids, delay) = (vec![id], 0.01 + self.dice.unit());
            if self.dice.below(8) == 0 {
                // Its own again, and one of another box.
                ids.extend([id, EventId([0xee; 16])]);
            }
            self.at(delay, Event::Word(ids));
        }
    }

    /// A row may leave the disk only when the other side has it.
    fn check_clear(&mut self, id: EventId) {
        if !self.known.contains_key(&id) && id != EventId([0xee; 16]) {
            self.broken = Some(format!("row {id} is cleared and nobody has it"));
        }
    }

    fn n_known(&self) -> BTreeMap<u8, usize> {
        self.told.iter().map(|(&asset, told)| (asset, told.len())).collect()
    }

    fn is_all_told(&self) -> bool {
        self.truth.iter().all(|(asset, &n)| self.told.get(asset).map_or(0, Vec::len) == n as usize)
    }

    /// While nobody answers for an hour: four attempts a minute on average, more in the minute after a start, with
    /// room for chance.
    fn check_attempts(&self) -> Result<(), String> {
        for &(from, until) in &self.troubles.outages {
            let hours = Span(until.0 - from.0).as_secs() / 3600.0;
            let n_in =
                |times: &[Span]| times.iter().filter(|&&at| at >= from && at < until).count();
            let (n, n_starts) = (n_in(&self.attempts), n_in(&self.starts));
            if hours >= 1.0 && n as f64 > 20.0 + 30.0 * n_starts as f64 + 5.0 * 60.0 * hours {
                return Err(format!("{n} attempts in {hours:.1} hours without an answer"));
            }
        }
        Ok(())
    }
}
