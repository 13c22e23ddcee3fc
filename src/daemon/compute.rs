//! Thread body: pops frames, runs each asset's blocks, hands on what comes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::watch;

use super::capture::{Consumer, Item};
use super::keep::{Keeper, Recording, Telemetry, VALUES_MAX};
use super::machine::{Machine, Sink};
use super::network::{Ordered, Teller};
use super::pace::Pace;
use crate::nn::Canary;
use crate::pipeline::Tick;
use crate::types::{Alert, Clock, Span, State};

/// Frames taken from one sensor before the next has its turn.
const BURST: usize = 32;
/// Longest sleep when there is nothing to do; capture wakes it earlier.
const NAP: Duration = Duration::from_millis(50);
/// Pace of the canaries.
const HEAR_EVERY: Span = Span(60_000_000_000);

/// What goes into the trends of every window, with its unit.
const TRENDS: [(&str, &str); 9] = [
    ("rms", ""),
    ("peak_true", ""),
    ("crest_factor", ""),
    ("kurtosis", ""),
    ("velocity_rms", "mm/s"),
    ("score", ""),
    ("threshold", ""),
    ("health", "%"),
    ("wear", ""),
];

/// What was done so far, for the watchdog and the status.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Turns of the loop: it lives.
    pub turns: AtomicU64,
    /// Frames taken in.
    pub frames: AtomicU64,
    /// Windows scored.
    pub windows: AtomicU64,
    /// Windows in which the data could not be trusted.
    pub blind: AtomicU64,
    /// Windows left out because the processor was too slow.
    pub left_out: AtomicU64,
    /// Of so many windows one is scored; 0 before the first look.
    pub pace: AtomicU32,
    /// Alerts raised, changed or cleared.
    pub alerts: AtomicU64,
    /// Assets whose blocks panicked too often.
    pub given_up: AtomicU64,
    /// Which sensors' frames are not used, and why.
    pub refusals: watch::Sender<Vec<String>>,
    /// A canary sings another song.
    pub is_rotten: AtomicBool,
    /// Every source came to its end, and what it gave is worked off.
    pub is_over: AtomicBool,
}

/// Hears of every alert on the compute thread, for those who show them.
pub type OnAlert = Box<dyn FnMut(&Alert) + Send>;

/// One asset with its sensors' ends.
pub(super) struct Post {
    /// Its blocks.
    pub machine: Machine,
    /// Its sensors' frames, in the order of its lanes.
    pub inputs: Vec<Consumer>,
}

/// The thread body with everything it owns.
pub(super) struct Compute {
    /// The assets.
    pub posts: Vec<Post>,
    /// One for each model, by `asset/sensor`.
    pub canaries: Vec<(String, Canary)>,
    /// When they were listened to.
    pub heard_at: Span,
    /// The way to the disk.
    pub keeper: Keeper,
    /// The way to the network.
    pub teller: Teller,
    /// Orders from people.
    pub orders: Receiver<Ordered>,
    /// Who else hears of alerts.
    pub on_alert: Option<OnAlert>,
    /// How many windows are scored.
    pub pace: Pace,
    /// What was done.
    pub progress: Arc<Progress>,
    /// The time, for what is kept at the end.
    pub clock: Arc<dyn Clock>,
}

/// The ends that windows and alerts go to.
struct Ends<'a> {
    keeper: &'a Keeper,
    teller: &'a mut Teller,
    on_alert: &'a mut Option<OnAlert>,
    progress: &'a Progress,
}

impl Sink for Ends<'_> {
    fn tick(&mut self, tick: &Tick<'_>) {
        count(&self.progress.windows, 1);
        count(&self.progress.blind, u64::from(tick.score.state == State::Blind));
        count(&self.progress.left_out, tick.features.n_left_out);
        self.keeper.telemetry(telemetry(tick));
        self.teller.tick(tick, || tick.open_alerts());
    }

    fn alerts(&mut self, asset: &Arc<str>, alerts: Vec<Alert>, alarms: Vec<u8>) {
        count(&self.progress.alerts, alerts.len() as u64);
        if let Some(on_alert) = self.on_alert {
            alerts.iter().for_each(on_alert);
        }
        self.keeper.alerts(Arc::clone(asset), alerts, alarms);
    }

    fn learned(&mut self, asset: &Arc<str>, memory: Vec<u8>) {
        self.keeper.learned(Arc::clone(asset), memory);
    }

    fn recording(&mut self, recording: Recording) -> bool {
        self.keeper.recording(recording)
    }
}

impl Compute {
    /// Runs until every sensor's thread has ended and its frames are used up.
    pub(super) fn run(mut self) {
        while self.turn() {
            self.hear();
            self.keep_pace();
        }
        let Self { posts, keeper, teller, on_alert, progress, clock, .. } = &mut self;
        let mut ends = Ends { keeper, teller, on_alert, progress };
        for post in posts {
            post.machine.keep(clock.now(), &mut ends);
        }
        progress.is_over.store(true, Ordering::Release);
    }

    /// Listens to the canaries when it is time.
    fn hear(&mut self) {
        let now = self.clock.monotonic();
        if now.0 - self.heard_at.0 < HEAR_EVERY.0 {
            return;
        }
        self.heard_at = now;
        for (sensor, canary) in &mut self.canaries {
            if !canary.is_well() {
                tracing::error!(sensor, "the model does not give its known result");
                self.progress.is_rotten.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Scores fewer windows while the rings of live sensors fill up, and says so.
    fn keep_pace(&mut self) {
        let Self { posts, pace, .. } = self;
        let fills = posts.iter().flat_map(|post| post.inputs.iter().map(Consumer::fill));
        if !pace.look(fills.fold(0.0, f64::max), self.clock.monotonic()) {
            return;
        }
        let every = pace.every();
        tracing::warn!(every, "of so many windows one is scored, as the processor allows");
        for post in posts {
            post.machine.set_pace(every);
        }
        self.progress.pace.store(every, Ordering::Relaxed);
    }

    /// One look at everything there is to do; `false` when there will be no more.
    fn turn(&mut self) -> bool {
        let Self { posts, keeper, teller, orders, on_alert, progress, .. } = self;
        count(&progress.turns, 1);
        let mut ends = Ends { keeper, teller, on_alert, progress };
        let mut is_busy = false;
        let mut is_over = true;
        for Post { machine, inputs } in posts.iter_mut() {
            for (lane_idx, input) in inputs.iter_mut().enumerate() {
                for _ in 0..BURST {
                    let Some(item) = input.pop() else { break };
                    is_busy = true;
                    take(machine, lane_idx, input, item, &mut ends);
                }
                is_over &= input.is_closed();
            }
        }
        while let Ok(ordered) = orders.try_recv() {
            is_busy = true;
            let command = &ordered.command;
            let post = posts.iter_mut().find(|post| **post.machine.asset() == *command.asset);
            if let Some(post) = post {
                let reply = post.machine.order(command, &mut ends);
                ends.teller.reply(reply, ordered);
            }
        }
        let given_up = posts.iter().filter(|post| post.machine.is_given_up()).count();
        progress.given_up.store(given_up as u64, Ordering::Relaxed);
        let refusals = posts.iter().flat_map(|post| post.machine.refusals()).collect();
        progress.refusals.send_replace(refusals);
        if !is_busy && !is_over {
            std::thread::park_timeout(NAP);
        }
        !is_over
    }
}

fn take(
    machine: &mut Machine,
    lane_idx: usize,
    input: &mut Consumer,
    item: Item,
    ends: &mut Ends<'_>,
) {
    match item {
        Item::Frame(mut frame) | Item::Void(mut frame) => {
            count(&ends.progress.frames, 1);
            machine.frame(lane_idx, &mut frame, ends);
            input.recycle(frame);
        }
        Item::Opened(info) => {
            tracing::info!(asset = %machine.asset(), source = info.identity, rate_hz = info.rate_hz,
                channels = info.n_channels, unit = info.unit.name(), "listening");
        }
        Item::Lost(why) => tracing::warn!(asset = %machine.asset(), why, "sensor lost"),
        Item::Ended(ended) => {
            machine.finish(lane_idx, ends);
            if let Err(why) = ended {
                tracing::error!(asset = %machine.asset(), why, "a source is given up");
            }
        }
    }
}

/// The worst axis of a window, for the trends.
fn telemetry(tick: &Tick<'_>) -> Telemetry {
    let Tick { features, score, finding, .. } = tick;
    let worst = |pick: fn(&crate::types::Indicators) -> f32| {
        let values = features.axes.iter().map(|axis| f64::from(pick(&axis.indicators)));
        values.fold(f64::NAN, f64::max)
    };
    let mut values = [f64::NAN; VALUES_MAX];
    values[..TRENDS.len()].copy_from_slice(&[
        worst(|it| it.rms),
        worst(|it| it.peak_true),
        worst(|it| it.crest_factor),
        worst(|it| it.kurtosis),
        finding.severity.velocity_rms_mm_s.unwrap_or(f64::NAN),
        score.value,
        score.threshold,
        f64::from(finding.health),
        finding.wear.unwrap_or(f64::NAN),
    ]);
    Telemetry {
        asset: Arc::clone(&features.origin.asset),
        sensor: Arc::clone(&features.origin.sensor),
        at: features.start,
        names: &TRENDS,
        values,
    }
}

fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
