//! What runs for months: threads, queues, supervision, the stop.
//!
//! `capture` (one per device) -> `compute` -> `keep` (disk) -> `network`. It gets built parts and
//! never reads a configuration.

mod back;
pub mod capture;
mod clock;
mod compute;
mod health;
pub mod keep;
mod machine;
pub mod network;
mod pace;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use sd_notify::NotifyState;

use crate::acquire::{self, Source};
use crate::nn::Canary;
use crate::types::{Clock, Span};

pub use back::{Back, Error, Front, Office};
pub use clock::SystemClock;
pub use compute::OnAlert;
pub use machine::{CLIP_S, Machine, MakeLane, MakePipeline, Sink};

use compute::{Compute, Post, Progress};
use health::{Pulse, Vitals};
use pace::Pace;

/// The loop of `compute` counts as hung when it has not turned for so long.
const HUNG_AFTER: Span = Span(20_000_000_000);
/// The same for the disk, whose every fsync may take seconds, and for the network.
const STUCK_AFTER: Span = Span(60_000_000_000);
/// How long frames already captured may take to be used up at the stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Opens a sensor's source, again and again as it is lost.
pub type Opener = Box<dyn FnMut() -> Result<Box<dyn Source>, acquire::Error> + Send>;

/// One sensor, ready to be listened to.
pub struct Ear {
    /// Whose samples, and how patient capture is.
    pub settings: capture::Settings,
    /// Opens its source.
    pub open: Opener,
    /// Builds its lane.
    pub make_lane: MakeLane,
    /// Of its model, if it has one.
    pub canary: Option<Canary>,
    /// What is not as it should be with it from the start.
    pub trouble: Option<String>,
}

/// One asset, ready to be run.
pub struct Asset {
    /// Its identifier.
    pub id: String,
    /// Builds its blocks.
    pub make_pipeline: MakePipeline,
    /// Its sensors.
    pub ears: Vec<Ear>,
}

/// Everything that runs.
pub struct Daemon {
    captures: Vec<(String, capture::Handle)>,
    compute: JoinHandle<()>,
    progress: Arc<Progress>,
    keeper: keep::Keeper,
    back: Back,
    clock: Arc<dyn Clock>,
    started: Span,
    pulses: [Pulse; 3],
    /// What is not as it should be, for as long as it runs.
    declared: Vec<String>,
}

impl Daemon {
    /// Starts everything; `on_alert` hears of every alert on the compute thread.
    ///
    /// # Errors
    /// If the store cannot be used or there is no thread to be had.
    pub fn start(
        office: Office,
        assets: Vec<Asset>,
        on_alert: Option<OnAlert>,
    ) -> Result<Self, Error> {
        let clock = Arc::clone(&office.clock);
        let (back, Front { keeper, teller, orders, memories }) = Back::start(office)?;
        let waker: Arc<OnceLock<Thread>> = Arc::default();
        let mut captures = Vec::new();
        let mut posts = Vec::new();
        let mut canaries = Vec::new();
        let mut declared = Vec::new();
        for (asset, memory) in assets.into_iter().zip(memories) {
            let mut inputs = Vec::new();
            let mut lanes = Vec::new();
            for Ear { settings, open, make_lane, canary, trouble } in asset.ears {
                let name = format!("{}/{}", asset.id, settings.origin.sensor);
                if let Some(trouble) = trouble {
                    tracing::error!(sensor = name, "{trouble}");
                    declared.push(format!("sensor {name}: {trouble}"));
                }
                canaries.extend(canary.map(|canary| (name.clone(), canary)));
                lanes.push((Arc::clone(&settings.origin.sensor), make_lane));
                let waker = Arc::clone(&waker);
                let wake = move || {
                    if let Some(thread) = waker.get() {
                        thread.unpark();
                    }
                };
                let (handle, consumer) = capture::spawn(settings, Arc::clone(&clock), open, wake)?;
                captures.push((name, handle));
                inputs.push(consumer);
            }
            let machine = Machine::new(&asset.id, asset.make_pipeline, lanes, memory);
            posts.push(Post { machine, inputs });
        }
        let progress = Arc::<Progress>::default();
        let compute = Compute {
            posts,
            canaries,
            heard_at: clock.monotonic(),
            keeper: keeper.clone(),
            teller,
            orders,
            on_alert,
            pace: Pace::default(),
            progress: Arc::clone(&progress),
            clock: Arc::clone(&clock),
        };
        let compute =
            std::thread::Builder::new().name("compute".to_owned()).spawn(move || compute.run())?;
        waker.get_or_init(|| compute.thread().clone());
        let started = clock.monotonic();
        health::notify(&[NotifyState::Ready]);
        let pulses = [
            Pulse::new("the signal path", HUNG_AFTER, started),
            Pulse::new("the store", STUCK_AFTER, started),
            Pulse::new("the network", STUCK_AFTER, started),
        ];
        Ok(Self { captures, compute, progress, keeper, back, clock, started, pulses, declared })
    }

    /// Says in every status from now on what is not as it should be.
    pub fn declare(&mut self, why: String) {
        self.declared.push(why);
    }

    /// Looks after everything: publishes the status, feeds the watchdog while work goes on. To be
    /// called about twice a second; an error means that going on makes no sense.
    ///
    /// # Errors
    /// With the thread that has ended or hangs.
    pub fn beat(&mut self) -> Result<(), String> {
        let now = self.clock.monotonic();
        let vitals = Vitals {
            captures: &self.captures,
            progress: &self.progress,
            keeper: &self.keeper,
            back: &self.back,
            clock: &*self.clock,
            started: self.started,
            declared: &self.declared,
        };
        self.back.tell(health::status(&vitals));
        if self.back.is_broken() {
            return Err("the store or the network has ended by itself".to_owned());
        }
        if self.compute.is_finished() && !self.is_over() {
            return Err("the signal path has ended by itself".to_owned());
        }
        let compute = self.progress.turns.load(Ordering::Relaxed);
        let turns = [compute, self.keeper.n_turns(), self.back.network_turns()];
        for (pulse, turns) in self.pulses.iter_mut().zip(turns) {
            // A signal path that has come to its end turns no more.
            if !self.compute.is_finished() {
                pulse.look(turns, now)?;
            }
        }
        if self.progress.is_rotten.load(Ordering::Relaxed) {
            return Err(
                "a model no longer gives its known result: memory or processor fails".to_owned()
            );
        }
        health::notify(&[NotifyState::Watchdog]);
        Ok(())
    }

    /// Whether every source has come to its end and all of it is worked off; a signal path that died
    /// is no such end.
    pub fn is_over(&self) -> bool {
        self.compute.is_finished() && self.progress.is_over.load(Ordering::Acquire)
    }

    /// How the network is doing.
    pub fn network(&self) -> network::NetworkReport {
        self.back.network()
    }

    /// How the store is doing.
    pub fn kept(&self) -> keep::KeepReport {
        self.back.kept()
    }

    /// What was counted for each sensor, by `asset/sensor`.
    pub fn captured(&self) -> impl Iterator<Item = (&str, capture::Counts)> {
        self.captures.iter().map(|(name, handle)| (name.as_str(), handle.counts()))
    }

    /// The ordered stop: sources first, then what is captured is worked off, kept and sent.
    pub fn stop(self) {
        health::notify(&[NotifyState::Stopping]);
        self.captures.iter().for_each(|(_, handle)| handle.stop());
        let deadline = self.clock.monotonic() + Span(DRAIN.as_nanos() as i64);
        while !self.compute.is_finished() && self.clock.monotonic() < deadline {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        if !self.compute.is_finished() {
            tracing::error!("the signal path does not end; what it holds is given up");
            return;
        }
        for (name, handle) in self.captures {
            if handle.join().is_err() {
                tracing::error!(name, "capture failed");
            }
        }
        if self.compute.join().is_err() {
            tracing::error!("the signal path failed");
        }
        drop(self.keeper);
        self.back.stop();
    }
}
