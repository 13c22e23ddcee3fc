//! `Frame` -> `Tick`: the six blocks in a row for one asset; the one place where they meet.

use serde::{Deserialize, Serialize};

use crate::acquire::Sense;
use crate::advise::{self, Advisor};
use crate::assess::{self, Assessor};
use crate::detect::{self, Detector, LearnReport};
use crate::extract::Extractor;
use crate::forecast::{self, Forecaster};
use crate::types::{
    Alert, Command, Features, Finding, Frame, OpenAlert, Order, Outlook, Reply, Score, Shape,
    State, Unit,
};

/// What one window brought.
#[derive(Clone, Copy)]
pub struct Tick<'a> {
    /// Measured.
    pub features: &'a Features,
    /// How unusual.
    pub score: &'a Score,
    /// Which fault, how bad.
    pub finding: &'a Finding,
    /// How long it will last.
    pub outlook: &'a Outlook,
    /// What to tell people; mostly nothing.
    pub alerts: &'a [Alert],
    /// Who tells it: knows every open alarm.
    pub advisor: &'a Advisor,
}

impl Tick<'_> {
    /// The alarms that are not over.
    pub fn open_alerts(&self) -> Vec<OpenAlert> {
        self.advisor.open()
    }

    /// Where every alarm stands after `alerts`.
    pub fn alarms(&self) -> &advise::Memory {
        self.advisor.memory()
    }
}

/// Everything learned and remembered of one asset, to be kept over a restart.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// The sensors of `baselines`; without them (an older memory) they are the asset's, in its order.
    #[serde(default)]
    pub sensors: Vec<String>,
    /// One per sensor; `None` while it learns.
    pub baselines: Vec<Option<detect::Baseline>>,
    /// The learned normal of the rules.
    pub reference: assess::Reference,
    /// The faults' names on the table.
    #[serde(default, deserialize_with = "or_new")]
    pub names: assess::Memory,
    /// The wear so far.
    #[serde(deserialize_with = "or_new")]
    pub wear: forecast::Memory,
    /// Where every alarm stands.
    pub alarms: advise::Memory,
}

/// What is kept in a shape that is no longer read begins anew, and takes nothing else with it.
fn or_new<'de, D, T>(kept: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Kept<T> {
        Same(T),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Kept::deserialize(kept)? {
        Kept::Same(memory) => memory,
        Kept::Other(_) => T::default(),
    })
}

/// What a stream of frames must stay like for a lane to go on with it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Form {
    rate_hz: f64,
    n_channels: usize,
    unit: Unit,
    shape: Shape,
}

impl Form {
    fn of(frame: &Frame) -> Self {
        let &Frame { rate_hz, n_channels, unit, shape, .. } = frame;
        Self { rate_hz, n_channels, unit, shape }
    }
}

/// One sensor's way through the first blocks.
pub struct Lane {
    form: Form,
    sense: Sense,
    extractor: Extractor,
    detector: Detector,
}

impl Lane {
    /// A lane for frames like `frame`.
    pub fn new(frame: &Frame, extractor: Extractor, detector: Detector) -> Self {
        let sense = Sense::new(frame.rate_hz, frame.n_channels);
        Self { form: Form::of(frame), sense, extractor, detector }
    }

    /// Of `every` windows one is measured from now on.
    ///
    /// # Panics
    /// If it is 0.
    pub fn set_pace(&mut self, every: u32) {
        self.extractor.set_pace(every);
    }
}

/// The six blocks of one asset, built and ready; cannot fail.
pub struct Pipeline {
    sensors: Vec<String>,
    lanes: Vec<Option<Lane>>,
    kept: Vec<Option<detect::Baseline>>,
    blocks: Blocks,
}

/// The blocks all lanes of an asset lead to.
struct Blocks {
    assessor: Assessor,
    forecaster: Forecaster,
    advisor: Advisor,
}

impl Blocks {
    fn step(&mut self, features: &Features, score: &Score, on_tick: &mut impl FnMut(Tick<'_>)) {
        let finding = self.assessor.step(features, score);
        let outlook = self.forecaster.step(finding);
        self.advisor.step(finding, outlook);
        let (advisor, alerts) = (&self.advisor, self.advisor.alerts());
        on_tick(Tick { features, score, finding, outlook, alerts, advisor });
    }
}

impl Pipeline {
    /// For an asset with these sensors; a lane is installed when its sensor's first frame is there.
    pub fn new(
        sensors: &[&str],
        assessor: Assessor,
        forecaster: Forecaster,
        advisor: Advisor,
    ) -> Self {
        let blocks = Blocks { assessor, forecaster, advisor };
        Self {
            sensors: sensors.iter().map(|&sensor| sensor.to_owned()).collect(),
            lanes: sensors.iter().map(|_| None).collect(),
            kept: vec![None; sensors.len()],
            blocks,
        }
    }

    /// Whether sensor `lane_idx` has a lane for frames like this one.
    pub fn fits(&self, lane_idx: usize, frame: &Frame) -> bool {
        self.lanes[lane_idx].as_ref().is_some_and(|lane| lane.form == Form::of(frame))
    }

    /// Puts in a lane for sensor `lane_idx`, with what that sensor had learned before.
    ///
    /// # Errors
    /// If it was learned on another kind of sensor or by another version: then it learns anew.
    pub fn install(&mut self, lane_idx: usize, mut lane: Lane) -> Result<(), detect::Error> {
        let known = self.lanes[lane_idx].as_ref().and_then(|old| old.detector.baseline().cloned());
        let restored = match known.or_else(|| self.kept[lane_idx].take()) {
            Some(baseline) => lane.detector.restore(baseline),
            None => Ok(()),
        };
        self.lanes[lane_idx] = Some(lane);
        restored
    }

    /// Of `every` windows one is measured from now on, by every lane there is.
    ///
    /// # Panics
    /// If it is 0.
    pub fn set_pace(&mut self, every: u32) {
        self.lanes.iter_mut().flatten().for_each(|lane| lane.set_pace(every));
    }

    /// Takes in a frame of sensor `lane_idx` and tells `on_tick` of every window it completed.
    ///
    /// # Panics
    /// If no lane that fits is installed: a bug in the caller.
    pub fn step(&mut self, lane_idx: usize, frame: &mut Frame, mut on_tick: impl FnMut(Tick<'_>)) {
        let lane = self.lanes[lane_idx].as_mut().expect("a lane is installed before its frames");
        lane.sense.check(frame);
        lane.extractor.push(frame);
        while let Some(features) = lane.extractor.step() {
            let score = lane.detector.step(features);
            let is_normal = score.state == State::Normal;
            self.blocks.step(features, score, &mut on_tick);
            let is_open = !self.blocks.advisor.open().is_empty();
            lane.detector.hold(is_open);
            lane.extractor.set_calm(is_normal && !is_open);
        }
    }

    /// The end of a recording: what is left over becomes a last window.
    pub fn finish(&mut self, lane_idx: usize, mut on_tick: impl FnMut(Tick<'_>)) {
        let Some(lane) = self.lanes[lane_idx].as_mut() else { return };
        if let Some(features) = lane.extractor.finish() {
            self.blocks.step(features, lane.detector.step(features), &mut on_tick);
        }
        lane.extractor.forget();
        lane.sense.forget();
    }

    /// Another recording begins: forgets what is gathered over windows, keeps what is learned.
    pub fn forget(&mut self) {
        for lane in self.lanes.iter_mut().flatten() {
            lane.extractor.forget();
            lane.sense.forget();
            lane.detector.forget();
        }
        self.blocks.assessor.forget();
    }

    /// Ends the learning of every sensor with what there is.
    pub fn finish_learning(&mut self) -> Vec<LearnReport> {
        self.lanes.iter_mut().flatten().map(|lane| lane.detector.finish_learning()).collect()
    }

    /// An order from a person: the answer, and the alarms' events it caused.
    pub fn order(&mut self, command: &Command) -> (Reply, &[Alert]) {
        if command.order == Order::Relearn {
            self.lanes.iter_mut().flatten().for_each(|lane| lane.detector.relearn());
            self.kept.fill(None);
            self.blocks.assessor.relearn();
            self.blocks.forecaster.maintained();
        }
        if command.order == Order::RollBack {
            self.lanes.iter_mut().flatten().for_each(|lane| lane.detector.roll_back());
            self.kept.iter_mut().flatten().for_each(detect::Baseline::roll_back);
        }
        self.blocks.advisor.order(command)
    }

    /// What is to be kept over a restart.
    pub fn memory(&self) -> Memory {
        let baseline = |(lane, kept): (&Option<Lane>, &Option<detect::Baseline>)| match lane {
            Some(lane) => lane.detector.baseline().cloned(),
            None => kept.clone(),
        };
        Memory {
            sensors: self.sensors.clone(),
            baselines: self.lanes.iter().zip(&self.kept).map(baseline).collect(),
            reference: self.blocks.assessor.reference().clone(),
            names: self.blocks.assessor.memory(),
            wear: self.blocks.forecaster.memory().clone(),
            alarms: self.blocks.advisor.memory().clone(),
        }
    }

    /// Sensors that have learned what is normal.
    pub fn n_learned(&self) -> usize {
        let knows = |lane: &&Lane| lane.detector.baseline().is_some();
        let n_waiting = self.kept.iter().flatten().count();
        self.lanes.iter().flatten().filter(knows).count() + n_waiting
    }

    /// Where every alarm stands.
    pub fn alarms(&self) -> &advise::Memory {
        self.blocks.advisor.memory()
    }

    /// Takes up what was kept, before any lane is installed. What sensors learned that are no longer there is
    /// let go.
    pub fn restore(&mut self, memory: Memory) {
        for (i, baseline) in memory.baselines.into_iter().enumerate() {
            let at = match memory.sensors.get(i) {
                Some(sensor) => self.sensors.iter().position(|own| own == sensor),
                None => Some(i),
            };
            if let Some(kept) = at.and_then(|at| self.kept.get_mut(at)) {
                *kept = baseline;
            }
        }
        self.blocks.assessor.restore(memory.reference);
        self.blocks.assessor.recall(&memory.names);
        self.blocks.forecaster.restore(memory.wear);
        self.blocks.advisor.restore(memory.alarms);
    }
}
