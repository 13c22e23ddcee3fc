//! The state machine of the connection: offline, catching up, online, slow. No I/O, no clock.
//!
//! The driver tells what happened and when, and carries out the actions. The first connection and
//! the thousandth take the same path: wait, one attempt, send everything not acknowledged in order.

use std::collections::{HashMap, VecDeque};

use super::outbox::Ask;
use super::{Config, Outbox, Watermark};
use crate::store::{EventId, Row};
use crate::types::Span;

/// First ceiling of the wait between attempts; it doubles up to `retry_max_s`.
const RETRY_FIRST_S: f64 = 0.5;

/// Highest ceiling in the first minute without a broker: most outages are a restart.
const RETRY_SOON_S: f64 = 4.0;
const SOON_S: f64 = 60.0;

/// Least wait between two attempts, whatever chance says.
const RETRY_LEAST_S: f64 = 0.1;

/// Wait after a refused user or password, so that no account is locked.
const REFUSED_S: f64 = 60.0;

/// A connection that held this long was a good one: the next wait begins small again.
const GOOD_S: f64 = 10.0;

/// One that brought an acknowledgement but did not hold: waits of up to 4 s, no storm.
const USEFUL_FAILED_MAX: u32 = 3;

/// An acknowledgement that takes longer makes the connection a slow one.
const SLOW_S: f64 = 3.0;

/// Refusals after which a row is parked.
const REFUSALS_MAX: u32 = 5;

/// How the connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No connection; waiting or trying.
    #[default]
    Offline,
    /// Connected, with a backlog to send: telemetry waits.
    CatchingUp,
    /// Connected, nothing left to send.
    Online,
    /// Connected, but acknowledgements take long: telemetry waits.
    Slow,
}

impl State {
    /// As reported.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::CatchingUp => "catching_up",
            Self::Online => "online",
            Self::Slow => "slow",
        }
    }
}

/// Why there is no connection any more; the text is for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Nobody there, network down, a time-out, the broker went away.
    Unreachable(String),
    /// The connection ended while it was up.
    Closed(String),
    /// A certificate was refused, ours or theirs.
    Certificate(String),
    /// User, password or client id were refused.
    Refused(String),
    /// A file of ours (certificate, key, password) cannot be used.
    Setup(String),
    /// Something longer than we take came in on a command topic.
    TooLong(String),
}

impl Lost {
    /// The sentence.
    pub fn why(&self) -> &str {
        match self {
            Self::Unreachable(why)
            | Self::Closed(why)
            | Self::Certificate(why)
            | Self::Refused(why)
            | Self::Setup(why)
            | Self::TooLong(why) => why,
        }
    }
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin an attempt; whatever comes of it carries this number.
    Connect(u64),
    /// Give up the connection.
    Drop(&'static str),
    /// Send a row with QoS 1.
    Publish(Row),
    /// Ask the keeper for rows.
    Ask(Ask),
    /// The row may leave the disk.
    Clear(EventId),
    /// The row is refused for good: out of the way with it.
    Park(EventId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting { until: Span },
    Connecting { until: Span },
    Up { since: Span, has_ack: bool },
}

/// The connection to one broker.
pub struct Session {
    connect_timeout: Span,
    ack_timeout: Span,
    retry_max_s: f64,
    window: usize,
    phase: Phase,
    generation: u64,
    n_failed: u32,
    /// When a connection was last good for something; at first, the start.
    well_at: Span,
    careful_left: usize,
    refusals: HashMap<EventId, u32>,
    outbox: Outbox,
    actions: VecDeque<Action>,
    chance: u64,
}

impl Session {
    /// Offline; the first attempt comes within half a second, or never if nothing is to be published.
    /// `seed` spreads the attempts of many boxes.
    pub fn new(config: &Config, seed: u64, now: Span) -> Self {
        let window = usize::from(config.in_flight_max);
        let mut session = Self {
            // The client's own time-out comes first and names the reason.
            connect_timeout: Span::from_secs(f64::from(config.connect_timeout_s) + 5.0),
            ack_timeout: Span::from_secs(f64::from(config.ack_timeout_s)),
            retry_max_s: f64::from(config.retry_max_s),
            window,
            phase: Phase::Waiting { until: Span(i64::MAX) },
            generation: 0,
            n_failed: 0,
            well_at: now,
            careful_left: 0,
            refusals: HashMap::new(),
            outbox: Outbox::new(
                config.ack_level,
                window,
                Span::from_secs(f64::from(config.resend_s)),
            ),
            actions: VecDeque::new(),
            chance: seed,
        };
        if config.enabled {
            session.wait(now, RETRY_FIRST_S);
        }
        session
    }

    /// The next thing to do, if any.
    pub fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// How it stands.
    pub fn state(&self, now: Span) -> State {
        let Phase::Up { .. } = self.phase else { return State::Offline };
        let oldest = self.outbox.in_flight().first();
        if oldest.is_some_and(|(_, sent)| since(*sent, now) > SLOW_S) {
            State::Slow
        } else if self.outbox.is_idle() {
            State::Online
        } else {
            State::CatchingUp
        }
    }

    /// Number of the connection in use or being tried.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Time passed, or anything happened: works out what is to be done now.
    pub fn step(&mut self, now: Span) {
        match self.phase {
            Phase::Waiting { until } if now >= until => {
                self.generation += 1;
                let until = Span(now.0.saturating_add(self.connect_timeout.0));
                self.phase = Phase::Connecting { until };
                self.actions.push_back(Action::Connect(self.generation));
            }
            Phase::Connecting { until } if now >= until => {
                self.drop_connection("no connection within mqtt.connect_timeout_s", now);
            }
            Phase::Up { since, has_ack } => self.step_up(since, has_ack, now),
            _ => {}
        }
    }

    /// When to call [`Session::step`] again at the latest.
    pub fn deadline(&mut self, now: Span) -> Span {
        let idle = Span(now.0.saturating_add(1_000_000_000));
        match self.phase {
            Phase::Waiting { until } | Phase::Connecting { until } => until.min(idle),
            Phase::Up { .. } => idle,
        }
    }

    /// The broker took us in.
    pub fn connected(&mut self, generation: u64, now: Span) {
        if generation != self.generation || !matches!(self.phase, Phase::Connecting { .. }) {
            return;
        }
        self.phase = Phase::Up { since: now, has_ack: false };
        self.outbox.begin_round();
        self.step(now);
    }

    /// The attempt failed or the connection ended.
    pub fn lost(&mut self, generation: u64, lost: &Lost, now: Span) {
        if generation != self.generation || matches!(self.phase, Phase::Waiting { .. }) {
            return;
        }
        let has_closed = matches!(lost, Lost::Closed(_));
        if let (Phase::Up { .. }, true) = (self.phase, has_closed) {
            self.suspect();
        }
        self.fail(now, if matches!(lost, Lost::Refused(_)) { REFUSED_S } else { 0.0 });
    }

    /// The broker acknowledged a row on connection `generation`; an older one is not believed.
    pub fn acked(&mut self, generation: u64, id: EventId, now: Span) {
        let Phase::Up { since, .. } = self.phase else { return };
        if generation != self.generation {
            return;
        }
        self.phase = Phase::Up { since, has_ack: true };
        self.refusals.remove(&id);
        self.careful_left = self.careful_left.saturating_sub(1);
        if self.outbox.acked(id) {
            self.actions.push_back(Action::Clear(id));
        }
        self.step(now);
    }

    /// The fleet manager has these safely.
    pub fn received(&mut self, ids: &[EventId]) {
        for &id in ids {
            self.outbox.acked(id);
            self.actions.push_back(Action::Clear(id));
        }
    }

    /// The keeper has rows.
    pub fn came(&mut self, watermark: Watermark, now: Span) {
        self.outbox.came(watermark);
        self.step(now);
    }

    /// The keeper's answer.
    pub fn answer(&mut self, ask: Ask, rows: Vec<Row>, now: Span) {
        self.outbox.answer(ask, rows);
        self.step(now);
    }

    /// The keeper could not be asked just now.
    pub fn ask_failed(&mut self) {
        self.outbox.ask_failed();
    }

    /// The client cannot take a row just now: it and those that were to follow it wait, in order.
    pub fn put_back(&mut self, row: Row) {
        let mut rows = vec![row];
        for action in std::mem::take(&mut self.actions) {
            match action {
                Action::Publish(row) => rows.push(row),
                other => self.actions.push_back(other),
            }
        }
        rows.into_iter().rev().for_each(|row| self.outbox.put_back(row));
    }

    /// Everything kept is due again, parked rows too.
    pub fn retry_all(&mut self) {
        self.refusals.clear();
        self.outbox.rewind();
    }

    /// Rows in the store, as last heard.
    pub fn backlog(&self) -> u64 {
        self.outbox.backlog()
    }

    /// Rows sent and not yet acknowledged.
    pub fn n_in_flight(&self) -> usize {
        self.outbox.in_flight().len()
    }

    fn step_up(&mut self, up_since: Span, has_ack: bool, now: Span) {
        if since(up_since, now) > GOOD_S {
            self.n_failed = 0;
            self.well_at = now;
        } else if has_ack {
            self.n_failed = self.n_failed.min(USEFUL_FAILED_MAX);
            self.well_at = now;
        }
        let oldest = self.outbox.in_flight().first();
        if oldest.is_some_and(|(_, sent)| since(*sent, now) >= self.ack_timeout.as_secs()) {
            self.drop_connection("no acknowledgement within mqtt.ack_timeout_s", now);
            return;
        }
        self.outbox.resend(now);
        let window = if self.careful_left > 0 { 1 } else { self.window };
        while let Some(row) = self.outbox.next(window, now) {
            self.actions.push_back(Action::Publish(row));
        }
        if let Some(ask) = self.outbox.ask() {
            self.actions.push_back(Action::Ask(ask));
        }
    }

    /// The broker closed with rows under way. MQTT 3.1.1 has no other way to refuse one: send them
    /// one at a time until all of them are through, and count who is alone when it happens again.
    fn suspect(&mut self) {
        match self.outbox.in_flight() {
            [] => {}
            &[(id, _)] => {
                let n = self.refusals.entry(id).or_default();
                *n += 1;
                if *n >= REFUSALS_MAX {
                    self.refusals.remove(&id);
                    self.actions.push_back(Action::Park(id));
                }
                self.careful_left = self.careful_left.max(1);
            }
            _ => self.careful_left = self.window + 1,
        }
    }

    fn drop_connection(&mut self, why: &'static str, now: Span) {
        self.actions.push_back(Action::Drop(why));
        self.fail(now, 0.0);
    }

    fn fail(&mut self, now: Span, least_s: f64) {
        // What was to be sent on the connection that is gone is fetched anew on the next.
        self.actions.retain(|action| !matches!(action, Action::Publish(_) | Action::Ask(_)));
        self.outbox.begin_round();
        let ceiling = RETRY_FIRST_S * 2f64.powi(self.n_failed.min(16) as i32);
        let is_soon = since(self.well_at, now) < SOON_S;
        let ceiling = if is_soon { ceiling.min(RETRY_SOON_S) } else { ceiling };
        self.n_failed = self.n_failed.saturating_add(1);
        self.wait(Span(now.0.saturating_add(Span::from_secs(least_s).0)), ceiling);
    }

    /// Full jitter: any wait up to the ceiling is as likely as any other.
    ///
    /// # Source
    /// M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
    fn wait(&mut self, from: Span, ceiling_s: f64) {
        let ceiling = ceiling_s.min(self.retry_max_s);
        let wait_s = RETRY_LEAST_S + (ceiling - RETRY_LEAST_S).max(0.0) * self.chance();
        self.phase =
            Phase::Waiting { until: Span(from.0.saturating_add(Span::from_secs(wait_s).0)) };
    }

    /// Uniform in 0..1: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    fn chance(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn since(then: Span, now: Span) -> f64 {
    Span(now.0.saturating_sub(then.0)).as_secs()
}

#[cfg(test)]
mod tests;
