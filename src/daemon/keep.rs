//! Thread body: the only one that writes store and outbox.
//!
//! One bounded queue comes in. Alerts wait for room in it and are never dropped; telemetry is
//! dropped and counted when it is full. Changes are kept in groups, then the network is woken.

mod vault;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::clock::mark;
use crate::publish::{Ask, Identity, Watermark, alert_row};
use crate::store::{
    self, Baselines, Change, Clip, Clips, Counts, EventId, Row, Sample, Shed, Trend,
};
use crate::types::{Alert, Clock, Span, Stamp};

pub use vault::Vault;

/// Items the queue holds.
pub const QUEUE_MAX: usize = 4096;

/// Telemetry in the queue at the most: the rest of it is for alerts.
const TELEMETRY_MAX: usize = QUEUE_MAX / 2;

/// Items kept in one transaction, and the longest any but an alert waits for company.
const GROUP_MAX: usize = 64;
const GROUP_WAIT: Span = Span(10_000_000);

/// Pace of what is done when nothing else is: trends to disk, the way back from memory to disk.
const IDLE: Duration = Duration::from_secs(1);
const FLUSH_EVERY: Span = Span(5_000_000_000);

/// Recordings in the queue at the most, bytes: beyond, memory would run out before the disk is done.
const RECORDINGS_BYTES_MAX: usize = 32 << 20;

/// Trouble of the trends.
const TRENDS_LOST: &str = "trends are not kept";

/// Values of one window that go into the trends, at the most.
pub const VALUES_MAX: usize = 16;

/// Numbers of one window for the trends; of fixed size, so that sending it allocates nothing.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Machine.
    pub asset: Arc<str>,
    /// Sensor on it; empty for the machine as a whole.
    pub sensor: Arc<str>,
    /// Source time.
    pub at: Stamp,
    /// Name and unit of each value.
    pub names: &'static [(&'static str, &'static str)],
    /// The values, in the order of `names`; the first [`VALUES_MAX`] count.
    pub values: [f64; VALUES_MAX],
}

/// A recording to be kept.
#[derive(Clone, Debug)]
pub struct Recording {
    /// `[a-z0-9-]`.
    pub id: Arc<str>,
    /// Samples per second and channel.
    pub rate_hz: u32,
    /// Channels.
    pub n_channels: u16,
    /// `[n_samples, n_channels]`, in their physical unit.
    pub samples: Vec<f32>,
}

impl Recording {
    fn n_bytes(&self) -> usize {
        size_of_val(self.samples.as_slice())
    }
}

/// What comes in.
enum Item {
    Alerts { asset: Arc<str>, alerts: Vec<Alert>, memory: Vec<u8> },
    Learned { asset: Arc<str>, memory: Vec<u8> },
    Recording(Recording),
    Telemetry(Telemetry),
    Ask(Ask),
    Clear(Vec<EventId>),
    Park(EventId),
    Unpark,
}

impl Item {
    fn is_urgent(&self) -> bool {
        matches!(self, Self::Alerts { .. })
    }
}

/// The way in: one for each thread that has something to keep.
#[derive(Clone)]
pub struct Keeper {
    queue: SyncSender<Item>,
    gauges: Arc<Gauges>,
}

#[derive(Default)]
#[allow(clippy::struct_field_names, reason = "they count")]
struct Gauges {
    n_queued: AtomicUsize,
    n_telemetry: AtomicUsize,
    n_dropped: AtomicU64,
    n_turns: AtomicU64,
    n_recording_bytes: AtomicUsize,
}

impl Keeper {
    /// Keeps alerts together with where the asset's alarms stand after them: both or neither.
    /// Waits for room; `false` only if the keeper has ended.
    pub fn alerts(&self, asset: Arc<str>, alerts: Vec<Alert>, memory: Vec<u8>) -> bool {
        self.send(Item::Alerts { asset, alerts, memory })
    }

    /// Keeps what an asset has learned, whole. Waits for room.
    pub fn learned(&self, asset: Arc<str>, memory: Vec<u8>) -> bool {
        self.send(Item::Learned { asset, memory })
    }

    /// Keeps a recording, waiting for room; `false` if too many wait for the disk already: then it is not.
    pub fn recording(&self, recording: Recording) -> bool {
        let (n_bytes, waiting) = (recording.n_bytes(), &self.gauges.n_recording_bytes);
        if waiting.fetch_add(n_bytes, Ordering::Relaxed) + n_bytes > RECORDINGS_BYTES_MAX {
            waiting.fetch_sub(n_bytes, Ordering::Relaxed);
            return false;
        }
        self.send(Item::Recording(recording))
    }

    /// Keeps numbers for the trends if there is room; else they are dropped and counted.
    pub fn telemetry(&self, telemetry: Telemetry) {
        let gauges = &self.gauges;
        let is_sent = gauges.n_telemetry.fetch_add(1, Ordering::Relaxed) < TELEMETRY_MAX
            && self.try_send(Item::Telemetry(telemetry)).is_ok();
        if !is_sent {
            gauges.n_telemetry.fetch_sub(1, Ordering::Relaxed);
            gauges.n_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Items waiting or being kept.
    pub fn n_queued(&self) -> usize {
        self.gauges.n_queued.load(Ordering::Acquire)
    }

    /// Telemetry dropped for want of room since the start.
    pub fn n_dropped(&self) -> u64 {
        self.gauges.n_dropped.load(Ordering::Relaxed)
    }

    /// Turns of the keeper's loop since the start: it lives while they grow.
    pub fn n_turns(&self) -> u64 {
        self.gauges.n_turns.load(Ordering::Relaxed)
    }

    /// Asks for rows; whether there was room for the question.
    pub(super) fn ask(&self, ask: Ask) -> bool {
        self.try_send(Item::Ask(ask)).is_ok()
    }

    /// Clears rows; gives them back if there is no room now.
    pub(super) fn clear(&self, ids: Vec<EventId>) -> Result<(), Vec<EventId>> {
        match self.try_send(Item::Clear(ids)) {
            Err(TrySendError::Full(Item::Clear(ids))) => Err(ids),
            _ => Ok(()),
        }
    }

    /// Parks a row; if there is no room it is refused again and parked then.
    pub(super) fn park(&self, id: EventId) -> bool {
        self.try_send(Item::Park(id)).is_ok()
    }

    /// Makes parked rows due again.
    pub(super) fn unpark(&self) -> bool {
        self.try_send(Item::Unpark).is_ok()
    }

    fn send(&self, item: Item) -> bool {
        self.gauges.n_queued.fetch_add(1, Ordering::Relaxed);
        let is_sent = self.queue.send(item).is_ok();
        if !is_sent {
            self.gauges.n_queued.fetch_sub(1, Ordering::Relaxed);
        }
        is_sent
    }

    #[allow(clippy::result_large_err, reason = "the item comes back to be tried again")]
    fn try_send(&self, item: Item) -> Result<(), TrySendError<Item>> {
        self.gauges.n_queued.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(item).inspect_err(|_| {
            self.gauges.n_queued.fetch_sub(1, Ordering::Relaxed);
        })
    }
}

/// How the store is doing; the latest is always to be had.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeepReport {
    /// For the network: rows kept, and whether there are new ones.
    pub watermark: Watermark,
    /// What the outbox holds.
    pub counts: Counts,
    /// How full the alerts' reserve is, 0-1.
    pub fill: f64,
    /// What was given up, ever.
    pub shed: Vec<Shed>,
    /// Whether alerts outlive a power cut right now.
    pub durable: bool,
    /// Why not, and what else is wrong with the disk; one sentence each.
    pub troubles: Vec<String>,
}

/// The network's ends of the keeper.
pub struct KeepEnds {
    /// Answers to its questions.
    pub answers: mpsc::Receiver<(Ask, Vec<Row>)>,
    /// The latest report; its change wakes.
    pub report: watch::Receiver<KeepReport>,
}

/// The thread body with everything it owns.
pub struct Keep {
    config: store::Config,
    vault: Vault,
    trend: Option<Trend>,
    baselines: Baselines,
    clips: Clips,
    identity: Identity,
    clock: Arc<dyn Clock>,
    queue: Receiver<Item>,
    /// To be saved, one after the other: of what an asset learned, the latest.
    files: VecDeque<Item>,
    gauges: Arc<Gauges>,
    answers: mpsc::Sender<(Ask, Vec<Row>)>,
    report: watch::Sender<KeepReport>,
    version: u64,
    troubles: BTreeMap<&'static str, String>,
    flushed_at: Span,
}

impl Keep {
    /// From an open vault; gives the way in and the network's ends. The identity's epoch becomes the
    /// store's.
    ///
    /// # Errors
    /// If a folder of the store cannot be made.
    pub fn new(
        config: &store::Config,
        vault: Vault,
        identity: Identity,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Keeper, KeepEnds), store::Error> {
        let (queue, items) = sync_channel(QUEUE_MAX);
        let (answers, answers_end) = mpsc::channel(2);
        let (report, report_end) = watch::channel(KeepReport::default());
        let gauges = Arc::<Gauges>::default();
        let mut keep = Self {
            identity: Identity { epoch: vault.epoch(), ..identity },
            vault,
            trend: None,
            baselines: Baselines::open(&config.dir)?,
            clips: Clips::open(config)?,
            config: config.clone(),
            flushed_at: clock.monotonic(),
            clock,
            queue: items,
            files: VecDeque::new(),
            gauges: Arc::clone(&gauges),
            answers,
            report,
            version: 1,
            troubles: BTreeMap::new(),
        };
        keep.open_trend();
        keep.tell();
        let ends = KeepEnds { answers: answers_end, report: report_end };
        Ok((keep, Keeper { queue, gauges }, ends))
    }

    /// Runs until every [`Keeper`] is gone; what was in the queue is kept before.
    pub fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        loop {
            self.gauges.n_turns.fetch_add(1, Ordering::Relaxed);
            let wait = if self.files.is_empty() { IDLE } else { Duration::ZERO };
            match self.queue.recv_timeout(wait) {
                Ok(item) => group.push(item),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.gather(&mut group);
            self.keep(&mut group);
            self.save_next();
            self.tend();
        }
        while self.save_next() {}
        if let Some(trend) = &mut self.trend
            && let Err(error) = trend.flush()
        {
            tracing::warn!(%error, "the last trends are not kept");
        }
    }

    /// Waits a moment for company, so that a burst costs one transaction; an alert waits for none.
    fn gather(&self, group: &mut Vec<Item>) {
        if group.is_empty() {
            return;
        }
        let until = Span(self.clock.monotonic().0.saturating_add(GROUP_WAIT.0));
        let mut is_urgent = group.iter().any(Item::is_urgent);
        while group.len() < GROUP_MAX {
            let left = if is_urgent { 0 } else { until.0.saturating_sub(self.clock.monotonic().0) };
            let left = Duration::from_nanos(u64::try_from(left).unwrap_or(0));
            let Ok(item) = self.queue.recv_timeout(left) else { break };
            is_urgent |= item.is_urgent();
            group.push(item);
        }
    }

    fn keep(&mut self, group: &mut Vec<Item>) {
        mark(&mut self.identity, &*self.clock);
        let n_files_before = self.files.len();
        let n_items = group.len();
        let mut changes = Vec::new();
        let mut asked = None;
        for item in group.drain(..) {
            match item {
                Item::Alerts { asset, alerts, memory } => {
                    let rows =
                        alerts.iter().map(|alert| Change::Row(alert_row(&self.identity, alert)));
                    changes.extend(rows);
                    changes.push(Change::Memory { asset: asset.to_string(), bytes: memory });
                    self.version += u64::from(!alerts.is_empty());
                }
                Item::Clear(ids) => changes.extend(ids.into_iter().map(Change::Acked)),
                Item::Park(id) => changes.push(Change::Park(id)),
                Item::Unpark => {
                    changes.push(Change::Unpark);
                    self.version += 1;
                }
                // The network has one question at a time: the last.
                Item::Ask(ask) => asked = Some(ask),
                Item::Telemetry(telemetry) => self.push(&telemetry),
                Item::Learned { ref asset, .. } => {
                    let is_older =
                        |it: &Item| matches!(it, Item::Learned { asset: of, .. } if of == asset);
                    self.files.retain(|file| !is_older(file));
                    self.files.push_back(item);
                }
                Item::Recording(_) => self.files.push_back(item),
            }
        }
        if !changes.is_empty() {
            self.vault.commit(changes, self.clock.monotonic());
            self.follow();
            self.tell();
        }
        if let Some(ask) = asked {
            let rows = self.vault.due(ask.after, ask.limit);
            // A network that is gone needs no answer; one that has not taken the last two asks again.
            drop(self.answers.try_send((ask, rows)));
        }
        if self.follow() {
            self.tell();
        }
        // Only now, so that who sees an empty queue also sees the report of what was in it.
        let n_done = n_items - (self.files.len() - n_files_before);
        self.gauges.n_queued.fetch_sub(n_done, Ordering::Release);
    }

    /// Saves the file that waits longest; `false` if there is none. Whole files take several writes to a disk
    /// that may be slow: alerts go between them.
    fn save_next(&mut self) -> bool {
        let Some(file) = self.files.pop_front() else { return false };
        self.save(file);
        self.gauges.n_queued.fetch_sub(1, Ordering::Release);
        true
    }

    /// Goes on in the vault's epoch: a rebuilt store has another one, and rows to be sent. Whether it is
    /// another.
    fn follow(&mut self) -> bool {
        let has_changed = self.identity.epoch != self.vault.epoch();
        if has_changed {
            self.identity.epoch = self.vault.epoch();
            self.version += 1;
        }
        has_changed
    }

    /// What is kept as a file of its own.
    fn save(&mut self, item: Item) {
        match item {
            Item::Learned { asset, memory } => {
                let saved = self.baselines.save(&asset, &memory);
                self.note(saved, "what was learned is not kept");
            }
            Item::Recording(recording) => {
                self.gauges.n_recording_bytes.fetch_sub(recording.n_bytes(), Ordering::Relaxed);
                let Recording { id, rate_hz, n_channels, samples } = recording;
                let clip = Clip { rate_hz, n_channels, samples: &samples };
                let saved = self.clips.save(&id, clip).map(drop);
                self.note(saved, "a recording is not kept");
            }
            _ => {}
        }
    }

    fn push(&mut self, telemetry: &Telemetry) {
        self.gauges.n_telemetry.fetch_sub(1, Ordering::Relaxed);
        let Some(trend) = &mut self.trend else { return };
        let Telemetry { asset, sensor, at, names, values } = telemetry;
        let pushed = names.iter().zip(values).try_for_each(|(&(name, unit), &value)| {
            trend.push(&Sample { asset, sensor, name, unit, at: *at, value })
        });
        // What is taken in is not on the disk yet: only that tells that all is well again.
        if pushed.is_err() {
            self.note(pushed, TRENDS_LOST);
        }
    }

    /// What is done now and then: trends to disk, from memory back to disk.
    fn tend(&mut self) {
        let now = self.clock.monotonic();
        if self.vault.recover(now) {
            self.identity.epoch = self.vault.epoch();
            self.version += 1;
            self.tell();
        }
        if self.report.borrow().troubles != self.troubles() {
            self.tell();
        }
        if now.0.saturating_sub(self.flushed_at.0) >= FLUSH_EVERY.0 {
            self.flushed_at = now;
            match &mut self.trend {
                Some(trend) => {
                    let flushed = trend.flush();
                    self.note(flushed, TRENDS_LOST);
                }
                None => self.open_trend(),
            }
        }
    }

    fn open_trend(&mut self) {
        let opened = Trend::open(&self.config).map(|(trend, was_damaged)| {
            if was_damaged {
                tracing::error!("the trends were damaged: they are put aside and begun anew");
            }
            self.trend = Some(trend);
        });
        self.note(opened, TRENDS_LOST);
    }

    /// Remembers what the disk refuses until it takes it again; each trouble is told once.
    fn note(&mut self, done: Result<(), store::Error>, what: &'static str) {
        let Err(error) = done else {
            if self.troubles.remove(what).is_some() {
                tracing::info!(what, "no longer");
                self.tell();
            }
            return;
        };
        let trouble = format!("{what}: {error}");
        if self.troubles.get(what) == Some(&trouble) {
            return;
        }
        match error {
            // Someone must make room, or look at the disk.
            store::Error::DiskFull { .. } | store::Error::Io { .. } => {
                tracing::error!(%error, what, "the disk refuses");
            }
            _ => tracing::warn!(%error, what, "the store gives up something"),
        }
        self.troubles.insert(what, trouble);
        self.tell();
    }

    fn troubles(&self) -> Vec<String> {
        self.vault.troubles().into_iter().chain(self.troubles.values().cloned()).collect()
    }

    fn tell(&mut self) {
        let counts = self.vault.counts();
        let rows = counts.rows.iter().sum::<u64>().saturating_sub(counts.parked);
        let report = KeepReport {
            watermark: Watermark { version: self.version, rows },
            counts,
            fill: self.vault.fill(),
            shed: self.vault.ledger(),
            durable: self.vault.is_durable(),
            troubles: self.troubles(),
        };
        self.report.send_replace(report);
    }
}
