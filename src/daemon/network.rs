//! Thread body: one small tokio runtime that carries out what the session decides.
//!
//! Nothing here makes another thread wait: what does not fit is dropped and counted.

mod standing;
mod teller;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::clock::mark;
use super::keep::{KeepEnds, KeepReport, Keeper};
use crate::publish::{
    self, Action, Commands, Config, Happening, Identity, Incoming, Link, Lost, Message, Session,
    State, Status,
};
use crate::store::EventId;
use crate::types::{Clock, Command, Reply, Span};

use standing::Standing;
pub use teller::{Outward, Teller, teller};

/// News of a connection on their way to the session, at the most.
const HAPPENINGS_MAX: usize = 256;

/// Acknowledgements that wait for room in the keeper's queue, at the most; the rows are sent again.
const CLEARS_MAX: usize = 1024;

/// Answers that wait for a connection, at the most.
const REPLIES_MAX: usize = 64;

/// How long the stop may take: to send what is left, then to take leave.
const DRAIN: Span = Span(2_000_000_000);
const LEAVE: Duration = Duration::from_secs(1);

/// Commands are not taken for so long after one was too long to read.
const COMMANDS_OFF: Span = Span(3600 * 1_000_000_000);

/// Least time between two publications of the box's status.
const STATUS_LEAST: Span = Span(1_000_000_000);

/// A command with the topic of its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered {
    /// The command.
    pub command: Command,
    /// Where the answer goes.
    pub reply_to: String,
}

/// How the network is doing; the latest is always to be had.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkReport {
    /// Of the connection.
    pub state: State,
    /// Why there is none, in a person's words.
    pub trouble: Option<String>,
    /// Connections made since the start.
    pub n_connected: u64,
    /// Attempts made since the start.
    pub n_attempts: u64,
    /// Rows handed to the broker since the start, repeats counted.
    pub n_sent: u64,
    /// Rows acknowledged by the broker since the start.
    pub n_acked: u64,
    /// Rows parked since the start.
    pub n_parked: u64,
    /// Commands handed on since the start.
    pub n_commands: u64,
}

/// What the thread is made of.
pub struct Parts {
    /// Where the broker is.
    pub config: Config,
    /// Who we are.
    pub identity: Identity,
    /// Assets that take commands.
    pub assets: Vec<String>,
    /// The way to the store.
    pub keeper: Keeper,
    /// What comes from the store.
    pub ends: KeepEnds,
    /// States, features and answers from `compute`.
    pub outward: mpsc::Receiver<Outward>,
    /// Commands to `compute`.
    pub orders: SyncSender<Ordered>,
    /// Status of the box; its change is published.
    pub status: watch::Receiver<Status>,
    /// Turns true when it is time to stop.
    pub stop: watch::Receiver<bool>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Spreads the attempts of many boxes.
    pub seed: u64,
}

/// What happened to which connection.
type News = (u64, Happening);

/// The thread body with everything it owns.
pub struct Network {
    parts: Parts,
    session: Session,
    commands: Commands,
    commands_off_until: Span,
    link: Option<Link>,
    happenings: (mpsc::Sender<News>, mpsc::Receiver<News>),
    standings: BTreeMap<String, Standing>,
    replies: Vec<Message>,
    clears: Vec<EventId>,
    /// The box's own status as it was told last, and when.
    told: Option<(Span, Status)>,
    report: NetworkReport,
    turns: Arc<AtomicU64>,
    tell: watch::Sender<NetworkReport>,
}

impl Network {
    /// From its parts; gives the end of its reports.
    pub fn new(parts: Parts) -> (Self, watch::Receiver<NetworkReport>) {
        let now = parts.clock.monotonic();
        let (tell, report) = watch::channel(NetworkReport::default());
        let per_min = parts.config.commands_per_min;
        let network = Self {
            session: Session::new(&parts.config, parts.seed, now),
            commands: Commands::new(parts.identity.base(), parts.assets.clone(), per_min),
            commands_off_until: now,
            link: None,
            happenings: mpsc::channel(HAPPENINGS_MAX),
            standings: BTreeMap::new(),
            replies: Vec::new(),
            clears: Vec::new(),
            told: None,
            report: NetworkReport::default(),
            turns: Arc::default(),
            tell,
            parts,
        };
        (network, report)
    }

    /// Turns of its loop since the start: it lives while they grow.
    pub fn turns(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.turns)
    }

    /// Runs until told to stop; then sends what is left, says that it goes, and goes.
    ///
    /// # Errors
    /// If the system has no room for a runtime.
    pub fn run(mut self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            self.serve().await;
            self.leave().await;
        });
        // A name being looked up must not hold up the stop.
        runtime.shutdown_background();
        Ok(())
    }

    async fn serve(&mut self) {
        let mut stop_by = None;
        let watermark = self.parts.ends.report.borrow_and_update().watermark;
        self.session.came(watermark, self.now());
        loop {
            self.turns.fetch_add(1, Ordering::Relaxed);
            let now = self.now();
            if stop_by.is_none() && *self.parts.stop.borrow() {
                stop_by = Some(Span(now.0.saturating_add(DRAIN.0)));
            }
            if stop_by.is_some_and(|by| now >= by || self.is_drained()) {
                return;
            }
            self.session.step(now);
            self.act();
            self.publish_rest();
            self.tell_state();
            let until = self.session.deadline(now);
            let wait = Duration::from_nanos(u64::try_from(until.0 - now.0).unwrap_or(0));
            self.wait(if stop_by.is_some() { wait.min(Duration::from_millis(50)) } else { wait })
                .await;
        }
    }

    /// Until something happens or `limit` has passed.
    async fn wait(&mut self, limit: Duration) {
        let parts = &mut self.parts;
        tokio::select! {
            Some((generation, happening)) = self.happenings.1.recv() => {
                self.happened(generation, happening);
            }
            Some((ask, rows)) = parts.ends.answers.recv() => {
                let now = self.now();
                self.session.answer(ask, rows, now);
            }
            Ok(()) = parts.ends.report.changed() => {
                let watermark = parts.ends.report.borrow_and_update().watermark;
                let now = self.now();
                self.session.came(watermark, now);
            }
            Some(outward) = parts.outward.recv() => self.outward(outward),
            Ok(()) = parts.status.changed() => {}
            Ok(()) = parts.stop.changed() => {}
            () = tokio::time::sleep(limit) => {}
        }
    }

    fn happened(&mut self, generation: u64, happening: Happening) {
        let now = self.now();
        if generation != self.session.generation() {
            return;
        }
        match happening {
            Happening::Connected => self.connected(generation, now),
            Happening::Acked(id) => {
                self.report.n_acked += 1;
                self.session.acked(generation, id, now);
            }
            Happening::Lost(lost) => {
                self.lost(&lost);
                self.session.lost(generation, &lost, now);
            }
            Happening::Came { topic, payload, is_retained } => {
                let at = (now, self.parts.clock.now());
                if let Some(incoming) = self.commands.take(&topic, &payload, is_retained, at) {
                    self.incoming(incoming);
                }
            }
        }
    }

    fn connected(&mut self, generation: u64, now: Span) {
        self.report.n_connected += 1;
        self.report.trouble = None;
        tracing::info!(host = self.parts.config.host, "connected to the broker");
        if let Some(link) = &self.link
            && self.parts.config.commands_enabled
            && now >= self.commands_off_until
        {
            link.subscribe(&self.commands.filters());
        }
        self.standings.values_mut().for_each(Standing::tell_again);
        self.told = None;
        self.session.connected(generation, now);
    }

    fn lost(&mut self, lost: &Lost) {
        self.link = None;
        if let Lost::TooLong(_) = lost {
            self.commands_off_until = Span(self.now().0.saturating_add(COMMANDS_OFF.0));
        }
        // The same reason again is not news.
        if self.report.trouble.as_deref() != Some(lost.why()) {
            tracing::warn!(why = lost.why(), backlog = self.session.backlog(), "no broker");
            self.report.trouble = Some(lost.why().to_owned());
        }
    }

    fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Order { command, reply_to } => {
                let refused = match self.parts.orders.try_send(Ordered { command, reply_to }) {
                    Ok(()) => {
                        self.report.n_commands += 1;
                        return;
                    }
                    Err(TrySendError::Full(ordered)) => (ordered, "too busy, send it again"),
                    Err(TrySendError::Disconnected(ordered)) => (ordered, "stopping"),
                };
                let (Ordered { command, reply_to }, why) = refused;
                self.commands.refused(&command);
                let reply = Reply { id: command.id, done: false, message: why.into() };
                self.reply(&reply, reply_to);
            }
            Incoming::Received(ids) => self.session.received(&ids),
            Incoming::Retry { reply, reply_to } => {
                self.parts.keeper.unpark();
                self.session.retry_all();
                self.reply(&reply, reply_to);
            }
            Incoming::Answer { reply, reply_to } => self.reply(&reply, reply_to),
        }
    }

    fn outward(&mut self, outward: Outward) {
        mark(&mut self.parts.identity, &*self.parts.clock);
        let identity = &self.parts.identity;
        match outward {
            Outward::State { finding, outlook, open } => {
                let topic = identity.topic(&finding.origin.asset, "state");
                let payload = publish::state(identity, &finding, &outlook, &open);
                self.standings.entry(topic).or_default().put(finding.state, payload);
            }
            Outward::Features(features) => {
                // Telemetry waits for alerts, and what is late is of no use.
                if self.session.state(self.now()) == State::Online
                    && let Some(link) = &self.link
                {
                    link.publish(&Message {
                        topic: identity.topic(&features.origin.asset, "features"),
                        payload: publish::features(identity, &features),
                        is_retained: false,
                        is_sure: false,
                    });
                }
            }
            Outward::Reply { reply, to: Ordered { command, reply_to } } => {
                self.commands.answered(&command, &reply);
                self.reply(&reply, reply_to);
            }
        }
    }

    fn reply(&mut self, reply: &Reply, topic: String) {
        if self.replies.len() < REPLIES_MAX {
            let payload = publish::reply(reply);
            self.replies.push(Message { topic, payload, is_retained: false, is_sure: true });
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.session.action() {
            match action {
                Action::Connect(generation) => self.connect(generation),
                Action::Drop(why) => self.lost(&Lost::Unreachable(why.into())),
                Action::Publish(row) => match &self.link {
                    Some(link) if link.publish_row(&row) => self.report.n_sent += 1,
                    _ => {
                        self.session.put_back(row);
                        return;
                    }
                },
                Action::Ask(ask) => {
                    if !self.parts.keeper.ask(ask) {
                        self.session.ask_failed();
                    }
                }
                Action::Clear(id) if self.clears.len() < CLEARS_MAX => self.clears.push(id),
                Action::Clear(_) => {}
                Action::Park(id) => {
                    self.report.n_parked += u64::from(self.parts.keeper.park(id));
                    tracing::error!(%id, "the broker refuses an alert: it is put aside");
                }
            }
        }
        if !self.clears.is_empty()
            && let Err(ids) = self.parts.keeper.clear(std::mem::take(&mut self.clears))
        {
            self.clears = ids;
        }
    }

    fn connect(&mut self, generation: u64) {
        self.report.n_attempts += 1;
        let Parts { config, identity, .. } = &self.parts;
        match Link::open(config, identity, generation, self.happenings.0.clone()) {
            Ok(link) => self.link = Some(link),
            Err(lost) => {
                self.lost(&lost);
                let now = self.now();
                self.session.lost(generation, &lost, now);
            }
        }
    }

    /// States, answers and status: as many as the client takes now.
    fn publish_rest(&mut self) {
        let now = self.now();
        if self.session.state(now) == State::Offline {
            return;
        }
        let Some(link) = &self.link else { return };
        self.replies.retain(|reply| !link.publish(reply));
        for (topic, standing) in &mut self.standings {
            standing.tell(|payload| {
                let (topic, payload) = (topic.clone(), payload.to_vec());
                link.publish(&Message { topic, payload, is_retained: true, is_sure: true })
            });
        }
        let status = self.parts.status.borrow_and_update();
        let pace = Span::from_secs(self.parts.config.status_every_s);
        let is_due = self.told.as_ref().is_none_or(|(at, told)| {
            let since = Span(now.0.saturating_sub(at.0));
            since >= pace || (since >= STATUS_LEAST && status.is_news_after(told))
        });
        if is_due {
            mark(&mut self.parts.identity, &*self.parts.clock);
            let payload = publish::status(&self.parts.identity, &status);
            let topic = self.parts.identity.status_topic();
            if link.publish(&Message { topic, payload, is_retained: true, is_sure: true }) {
                self.told = Some((now, status.clone()));
            }
        }
    }

    fn tell_state(&mut self) {
        self.report.state = self.session.state(self.now());
        let report = &self.report;
        self.tell.send_if_modified(|told| {
            let is_new = told != report;
            if is_new {
                told.clone_from(report);
            }
            is_new
        });
    }

    /// Nothing left that could be sent now.
    fn is_drained(&self) -> bool {
        let is_kept = self.parts.keeper.n_queued() == 0;
        let KeepReport { watermark, .. } = *self.parts.ends.report.borrow();
        match self.session.state(self.now()) {
            // A first connection may be about to stand; a broker known to be away is not waited for.
            State::Offline => !self.parts.config.enabled || self.report.trouble.is_some(),
            _ => {
                is_kept
                    && watermark.rows == 0
                    && self.replies.is_empty()
                    && self.clears.is_empty()
                    && self.standings.values().all(Standing::is_told)
            }
        }
    }

    async fn leave(&mut self) {
        let Some(link) = self.link.take() else { return };
        let last = Message {
            topic: self.parts.identity.status_topic(),
            payload: publish::last_will(&self.parts.identity, "stopped"),
            is_retained: true,
            is_sure: true,
        };
        link.close(last, LEAVE).await;
    }

    fn now(&self) -> Span {
        self.parts.clock.monotonic()
    }
}
