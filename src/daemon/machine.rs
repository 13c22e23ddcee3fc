//! One asset at work: frames of its sensors in, windows out, and what is to be remembered of it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::keep::Recording;
use crate::detect::LearnReport;
use crate::pipeline::{Lane, Memory, Pipeline, Tick};
use crate::types::{Alert, Command, Event, Frame, Order, Reply, Span, Stamp};

/// Builds the blocks of one asset; called again after a panic.
pub type MakePipeline = Box<dyn Fn() -> Pipeline + Send>;
/// Builds the lane of one sensor for frames like the one given.
pub type MakeLane = Box<dyn Fn(&Frame) -> Result<Lane, String> + Send>;

/// Signal kept with an alarm, seconds before it was raised.
pub const CLIP_S: f64 = 5.0;
/// An asset's blocks rest after more panics than these within that time, to its end.
const PANICS_MAX: u32 = 5;
const PANICS_WITHIN: Span = Span(10 * 60 * 1_000_000_000);
/// What was learned is kept again after so much source time.
const KEEP_EVERY: Span = Span(15 * 60 * 1_000_000_000);

/// Where an asset's windows and alerts go.
pub trait Sink {
    /// A window.
    fn tick(&mut self, tick: &Tick<'_>);
    /// Alerts, and where the alarms stand after them.
    fn alerts(&mut self, asset: &Arc<str>, alerts: Vec<Alert>, alarms: Vec<u8>);
    /// All that was learned and is remembered.
    fn learned(&mut self, asset: &Arc<str>, memory: Vec<u8>);
    /// A recording to be kept; whether it will be.
    fn recording(&mut self, recording: Recording) -> bool;
}

/// The last seconds of one sensor.
#[derive(Default)]
struct Tape {
    samples: VecDeque<f32>,
    rate_hz: f64,
    n_channels: usize,
}

impl Tape {
    fn push(&mut self, frame: &Frame) {
        if (self.rate_hz, self.n_channels) != (frame.rate_hz, frame.n_channels) {
            self.samples.clear();
            (self.rate_hz, self.n_channels) = (frame.rate_hz, frame.n_channels);
        }
        let n_max = (CLIP_S * frame.rate_hz) as usize * frame.n_channels;
        self.samples.reserve_exact(n_max.saturating_sub(self.samples.len()));
        let from = frame.samples.len().saturating_sub(n_max);
        let new = &frame.samples[from..];
        let n_over = (self.samples.len() + new.len()).saturating_sub(n_max);
        self.samples.drain(..n_over);
        self.samples.extend(new);
    }

    fn cut(&self, id: Arc<str>, seconds: f64) -> Recording {
        let n = ((seconds * self.rate_hz) as usize * self.n_channels).min(self.samples.len());
        Recording {
            id,
            rate_hz: self.rate_hz as u32,
            n_channels: self.n_channels as u16,
            samples: self.samples.range(self.samples.len() - n..).copied().collect(),
        }
    }
}

/// One sensor of the asset.
struct Ear {
    sensor: Arc<str>,
    make: MakeLane,
    tape: Tape,
    refused: Option<String>,
}

impl Ear {
    fn clip_id(&self, asset: &str, at: Stamp) -> Arc<str> {
        format!("{asset}-{}-{}", self.sensor, at.as_ms()).into()
    }
}

/// One asset's blocks and what surrounds them.
pub struct Machine {
    asset: Arc<str>,
    make: MakePipeline,
    pipeline: Pipeline,
    ears: Vec<Ear>,
    /// Of so many windows one is scored; for lanes yet to come.
    pace: u32,
    /// As last kept, the alarms as last told: where it starts from after a panic.
    kept: Memory,
    kept_at: Option<Stamp>,
    /// When the last frame began.
    heard: Stamp,
    n_panics: u32,
    /// When the first of them was.
    failed_at: Stamp,
}

impl Machine {
    /// Ready for frames, with what was remembered; `lanes` names the sensors in their order.
    pub fn new(
        asset: &str,
        make: MakePipeline,
        lanes: Vec<(Arc<str>, MakeLane)>,
        kept: Memory,
    ) -> Self {
        let mut pipeline = make();
        pipeline.restore(kept.clone());
        let ear = |(sensor, make)| Ear { sensor, make, tape: Tape::default(), refused: None };
        let ears = lanes.into_iter().map(ear).collect();
        Self {
            asset: asset.into(),
            make,
            pipeline,
            ears,
            pace: 1,
            kept,
            kept_at: None,
            heard: Stamp(0),
            n_panics: 0,
            failed_at: Stamp(0),
        }
    }

    /// From now on, of `every` windows one is scored.
    pub fn set_pace(&mut self, every: u32) {
        self.pace = every;
        self.pipeline.set_pace(every);
    }

    /// The asset's identifier.
    pub fn asset(&self) -> &Arc<str> {
        &self.asset
    }

    /// Why sensors' frames are not used, where that is so.
    pub fn refusals(&self) -> impl Iterator<Item = String> + '_ {
        let told = |ear: &Ear| {
            let why = ear.refused.as_ref()?;
            Some(format!("sensor {}/{} cannot be used: {why}", self.asset, ear.sensor))
        };
        self.ears.iter().filter_map(told)
    }

    /// Whether its blocks have failed so often that they rest.
    pub fn is_given_up(&self) -> bool {
        self.n_panics > PANICS_MAX
    }

    /// A frame of sensor `lane_idx`.
    pub fn frame(&mut self, lane_idx: usize, frame: &mut Frame, sink: &mut impl Sink) {
        let at = frame.start;
        self.heard = at;
        if at < self.failed_at || at - self.failed_at >= PANICS_WITHIN {
            self.n_panics = 0;
        }
        if self.is_given_up() {
            return;
        }
        let is_ready = catch_unwind(AssertUnwindSafe(|| self.is_ready(lane_idx, frame)));
        if !is_ready.unwrap_or_else(|_| self.fail()) {
            return;
        }
        self.ears[lane_idx].tape.push(frame);
        self.guarded(lane_idx, sink, |pipeline, on_tick| pipeline.step(lane_idx, frame, on_tick));
        let is_new = self.pipeline.n_learned() != self.kept.baselines.iter().flatten().count();
        let since = *self.kept_at.get_or_insert(at);
        if is_new || at < since || at - since >= KEEP_EVERY {
            self.keep(at, sink);
        }
    }

    /// The end of sensor `lane_idx`'s recording.
    pub fn finish(&mut self, lane_idx: usize, sink: &mut impl Sink) {
        self.guarded(lane_idx, sink, |pipeline, on_tick| pipeline.finish(lane_idx, on_tick));
    }

    /// An order from a person.
    pub fn order(&mut self, command: &Command, sink: &mut impl Sink) -> Reply {
        if let Order::Clip { seconds } = command.order {
            return self.clip(command, seconds, sink);
        }
        let (reply, alerts) = self.pipeline.order(command);
        let alerts = alerts.to_vec();
        if !alerts.is_empty() || reply.done {
            sink.alerts(&self.asset, alerts, json(self.pipeline.alarms()));
            self.kept.alarms.clone_from(self.pipeline.alarms());
        }
        if matches!(command.order, Order::Relearn | Order::RollBack) {
            self.keep(command.at, sink);
        }
        reply
    }

    /// Ends the learning of every sensor with what there is; tells what came of it.
    pub fn finish_learning(&mut self) -> Vec<(Arc<str>, LearnReport)> {
        let sensors = self.ears.iter().map(|ear| Arc::clone(&ear.sensor));
        sensors.zip(self.pipeline.finish_learning()).collect()
    }

    /// All that is to be remembered, as it is kept.
    pub fn remembered(&self) -> Vec<u8> {
        json(&self.pipeline.memory())
    }

    /// Hands over all that is to be remembered.
    pub fn keep(&mut self, at: Stamp, sink: &mut impl Sink) {
        self.kept = self.pipeline.memory();
        self.kept_at = Some(at);
        sink.learned(&self.asset, json(&self.kept));
    }

    fn clip(&self, command: &Command, seconds: f64, sink: &mut impl Sink) -> Reply {
        let mut ids = Vec::new();
        for ear in self.ears.iter().filter(|ear| !ear.tape.samples.is_empty()) {
            let id = ear.clip_id(&self.asset, command.at);
            if sink.recording(ear.tape.cut(Arc::clone(&id), seconds.min(CLIP_S))) {
                ids.push(id.to_string());
            }
        }
        let message = if ids.is_empty() {
            "nothing was heard yet, or too many recordings wait for the disk".to_owned()
        } else {
            format!("keeps {} (at most {CLIP_S} s are held)", ids.join(", "))
        };
        Reply { id: command.id.clone(), done: !ids.is_empty(), message }
    }

    /// Installs a lane for frames like this one, if there is none yet.
    fn is_ready(&mut self, lane_idx: usize, frame: &Frame) -> bool {
        let ear = &mut self.ears[lane_idx];
        if self.pipeline.fits(lane_idx, frame) {
            ear.refused = None;
            return true;
        }
        match (ear.make)(frame) {
            Ok(mut lane) => {
                ear.refused = None;
                lane.set_pace(self.pace);
                if let Err(error) = self.pipeline.install(lane_idx, lane) {
                    tracing::warn!(asset = %self.asset, sensor = %ear.sensor, %error, "learns anew");
                }
                true
            }
            Err(why) => {
                if ear.refused.as_ref() != Some(&why) {
                    tracing::error!(asset = %self.asset, sensor = %ear.sensor, why, "cannot be used");
                }
                ear.refused = Some(why);
                false
            }
        }
    }

    /// Runs the blocks; after a panic they are built anew from what was last kept.
    fn guarded<S: Sink>(
        &mut self,
        lane_idx: usize,
        sink: &mut S,
        step: impl FnOnce(&mut Pipeline, &mut dyn FnMut(Tick<'_>)),
    ) {
        let Self { asset, pipeline, ears, kept, .. } = self;
        let ear = &ears[lane_idx];
        let mut on_tick = |tick: Tick<'_>| {
            sink.tick(&tick);
            if !tick.alerts.is_empty() {
                let mut alerts = tick.alerts.to_vec();
                let raised = |it: &&mut Alert| it.event == Event::Raised;
                let ids = alerts.iter_mut().filter(raised).map(|alert| {
                    let id = ear.clip_id(asset, alert.start);
                    alert.clip = Some(Arc::clone(&id));
                    id
                });
                let ids: Vec<_> = ids.collect();
                sink.alerts(asset, alerts, json(tick.alarms()));
                kept.alarms.clone_from(tick.alarms());
                // What takes longer to write comes second.
                for id in ids {
                    sink.recording(ear.tape.cut(id, CLIP_S));
                }
            }
        };
        if catch_unwind(AssertUnwindSafe(|| step(pipeline, &mut on_tick))).is_err() {
            self.fail();
        }
    }

    /// After a panic: the blocks are built anew from what was last kept; they are not ready for the
    /// frame that it came with.
    fn fail(&mut self) -> bool {
        if self.n_panics == 0 {
            self.failed_at = self.heard;
        }
        self.n_panics += 1;
        tracing::error!(asset = %self.asset, n_panics = self.n_panics, "its blocks are built anew");
        self.pipeline = (self.make)();
        self.pipeline.restore(self.kept.clone());
        false
    }
}

fn json(memory: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(memory).expect("memories hold only numbers, texts and lists")
}
