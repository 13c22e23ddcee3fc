//! From `compute` to the network, at a pace: what changed at once, the rest now and then.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Ordered;
use crate::pipeline::Tick;
use crate::types::{Features, Finding, OpenAlert, Outlook, Reply, Span, Stamp, State};

/// Items on their way, at the most.
const OUTWARD_MAX: usize = 256;

/// Least time between two states of one asset that differ only in numbers.
const STATE_EVERY: Span = Span(10_000_000_000);

/// What goes out beside the alerts.
#[derive(Clone, Debug)]
pub enum Outward {
    /// How an asset stands; the next one takes its place.
    State {
        /// What is known of it.
        finding: Box<Finding>,
        /// How long it will last.
        outlook: Box<Outlook>,
        /// Its open alarms.
        open: Vec<OpenAlert>,
    },
    /// What was measured.
    Features(Box<Features>),
    /// The answer to a command.
    Reply {
        /// The answer.
        reply: Reply,
        /// What it answers.
        to: Ordered,
    },
}

/// The end that `compute` holds; never waits.
pub struct Teller {
    to: mpsc::Sender<Outward>,
    features_every: Option<Span>,
    states: HashMap<Arc<str>, (State, Stamp)>,
    features_at: HashMap<(Arc<str>, Arc<str>), Stamp>,
    n_dropped: u64,
}

/// A teller with the network's end; features every so many seconds of source time, 0 for none.
pub fn teller(features_every_s: f64) -> (Teller, mpsc::Receiver<Outward>) {
    let (to, outward) = mpsc::channel(OUTWARD_MAX);
    let features_every = (features_every_s > 0.0).then(|| Span::from_secs(features_every_s));
    let teller = Teller {
        to,
        features_every,
        states: HashMap::new(),
        features_at: HashMap::new(),
        n_dropped: 0,
    };
    (teller, outward)
}

impl Teller {
    /// One window: tells the state if it changed, alerts came or it is time; the features if it is
    /// time. `open` is asked only then.
    pub fn tick(&mut self, tick: &Tick<'_>, open: impl FnOnce() -> Vec<OpenAlert>) {
        let Tick { features, finding, outlook, alerts, .. } = *tick;
        let asset = &finding.origin.asset;
        let is_due = self.states.get(asset).is_none_or(|&(state, at)| {
            state != finding.state || !alerts.is_empty() || is_over(at, finding.start, STATE_EVERY)
        });
        if is_due {
            let told = (finding.state, finding.start);
            let (finding, outlook) = (Box::new(finding.clone()), Box::new(outlook.clone()));
            // A state that found no room is told with the next window.
            if self.send(Outward::State { finding, outlook, open: open() }) {
                self.states.insert(Arc::clone(asset), told);
            }
        }
        let Some(every) = self.features_every else { return };
        let key = (Arc::clone(&features.origin.asset), Arc::clone(&features.origin.sensor));
        if self.features_at.get(&key).is_none_or(|&at| is_over(at, features.start, every)) {
            self.features_at.insert(key, features.start);
            self.send(Outward::Features(Box::new(features.clone())));
        }
    }

    /// The answer to a command.
    pub fn reply(&mut self, reply: Reply, to: Ordered) {
        self.send(Outward::Reply { reply, to });
    }

    /// Items dropped for want of room since the start.
    pub fn n_dropped(&self) -> u64 {
        self.n_dropped
    }

    /// Whether there was room.
    fn send(&mut self, outward: Outward) -> bool {
        let is_sent = self.to.try_send(outward).is_ok();
        self.n_dropped += u64::from(!is_sent);
        is_sent
    }
}

/// Whether the time is over; a clock that was put back counts as well.
fn is_over(last: Stamp, now: Stamp, every: Span) -> bool {
    now < last || now - last >= every
}
