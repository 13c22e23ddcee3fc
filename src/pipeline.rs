//! `Frame` -> `Tick`: the six blocks in a row for one asset; the one place where they meet.

use serde::{Deserialize, Serialize};

use crate::advise::{self, Advisor};
use crate::assess::{self, Assessor};
use crate::detect::{self, Detector, LearnReport};
use crate::extract::Extractor;
use crate::forecast::{self, Forecaster};
use crate::types::{Alert, Command, Features, Finding, Frame, Order, Outlook, Reply, Score};

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
}

/// Everything learned and remembered of one asset, to be kept over a restart.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// One per sensor, in the asset's order; `None` while it learns.
    pub baselines: Vec<Option<detect::Baseline>>,
    /// The learned normal of the rules.
    pub reference: assess::Reference,
    /// The wear so far.
    pub wear: forecast::Memory,
    /// Where every alarm stands.
    pub alarms: advise::Memory,
}

/// One sensor's way through the first two blocks.
pub struct Lane {
    /// Frames to features.
    pub extractor: Extractor,
    /// Features to score.
    pub detector: Detector,
}

/// The six blocks of one asset, built and ready; cannot fail.
pub struct Pipeline {
    lanes: Vec<Lane>,
    assessor: Assessor,
    forecaster: Forecaster,
    advisor: Advisor,
}

impl Pipeline {
    /// From built parts; `lanes` in the order of the asset's sensors.
    pub fn new(
        lanes: Vec<Lane>,
        assessor: Assessor,
        forecaster: Forecaster,
        advisor: Advisor,
    ) -> Self {
        Self { lanes, assessor, forecaster, advisor }
    }

    /// Takes in a frame of sensor `lane_idx` and tells `on_tick` of every window it completed.
    ///
    /// # Panics
    /// If there is no such lane: a bug in the caller.
    pub fn step(&mut self, lane_idx: usize, frame: &Frame, mut on_tick: impl FnMut(Tick<'_>)) {
        let lane = &mut self.lanes[lane_idx];
        lane.extractor.push(frame);
        while let Some(features) = lane.extractor.step() {
            let score = lane.detector.step(features);
            let finding = self.assessor.step(features, score);
            let outlook = self.forecaster.step(finding);
            let alerts = self.advisor.step(finding, outlook);
            on_tick(Tick { features, score, finding, outlook, alerts });
        }
    }

    /// The end of a recording: what is left over becomes a last window.
    ///
    /// # Panics
    /// If there is no such lane: a bug in the caller.
    pub fn finish(&mut self, lane_idx: usize, mut on_tick: impl FnMut(Tick<'_>)) {
        let lane = &mut self.lanes[lane_idx];
        if let Some(features) = lane.extractor.finish() {
            let score = lane.detector.step(features);
            let finding = self.assessor.step(features, score);
            let outlook = self.forecaster.step(finding);
            let alerts = self.advisor.step(finding, outlook);
            on_tick(Tick { features, score, finding, outlook, alerts });
        }
    }

    /// Another recording begins: forgets what is gathered over windows, keeps what is learned.
    pub fn forget(&mut self) {
        for lane in &mut self.lanes {
            lane.extractor.forget();
            lane.detector.forget();
        }
        self.assessor.forget();
    }

    /// Ends the learning of every sensor with what there is.
    pub fn finish_learning(&mut self) -> Vec<LearnReport> {
        self.lanes.iter_mut().map(|lane| lane.detector.finish_learning()).collect()
    }

    /// An order from a person: the answer, and the alarms' events it caused.
    pub fn order(&mut self, command: &Command) -> (Reply, &[Alert]) {
        if command.order == Order::Relearn {
            self.lanes.iter_mut().for_each(|lane| lane.detector.relearn());
            self.assessor.relearn();
            self.forecaster.maintained();
        }
        self.advisor.order(command)
    }

    /// What is to be kept over a restart.
    pub fn memory(&self) -> Memory {
        Memory {
            baselines: self.lanes.iter().map(|lane| lane.detector.baseline().cloned()).collect(),
            reference: self.assessor.reference().clone(),
            wear: self.forecaster.memory().clone(),
            alarms: self.advisor.memory().clone(),
        }
    }

    /// Takes up what was kept; baselines beyond the lanes there are, are ignored.
    ///
    /// # Errors
    /// If a baseline was learned on another kind of sensor or by another version.
    pub fn restore(&mut self, memory: Memory) -> Result<(), detect::Error> {
        for (lane, baseline) in self.lanes.iter_mut().zip(memory.baselines) {
            if let Some(baseline) = baseline {
                lane.detector.restore(baseline)?;
            }
        }
        self.assessor.restore(memory.reference);
        self.forecaster.restore(memory.wear);
        self.advisor.restore(memory.alarms);
        Ok(())
    }
}
