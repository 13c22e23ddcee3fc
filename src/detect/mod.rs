//! ISO 13374 SD, state detection: `Features` -> `Score`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::Model;
use crate::types::{Features, Origin, Score, Span, Verdict};

/// Learning, regimes and limits.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Length of the learning, seconds of running machine.
    pub learn_s: f64,
    /// The budget: false alarms per sensor and year, at the most.
    pub false_alarms_per_year: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { learn_s: 86_400.0, false_alarms_per_year: 1.0 }
    }
}

/// What a configuration may have wrong.
#[derive(Debug, thiserror::Error)]
#[error("detect.{key}: {why}")]
pub struct Error {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

/// What came of a learning: what was kept, what was refused and why.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LearnReport {
    /// Windows kept.
    pub n_kept: usize,
    /// Windows refused, by reason.
    pub refused: Vec<(&'static str, usize)>,
    /// Regimes found.
    pub n_regimes: usize,
    /// Why the machine looks bad already, if it does.
    pub suspect: Option<String>,
    /// The tightest budget the data support, false alarms per year.
    pub supports_per_year: Option<f64>,
}

/// What was learned of one sensor on one machine; kept on disk as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Baseline {}

impl Config {
    /// Checks everything; `model` may be absent, then the statistics speak alone.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub fn build(&self, origin: Origin, model: Option<Model>) -> Result<Detector, Error> {
        let _ = model;
        Ok(Detector { score: Score::new(origin) })
    }
}

/// Says of each window how unusual it is, and keeps the state.
pub struct Detector {
    score: Score,
}

impl Detector {
    /// One window. While learning, it learns.
    pub fn step(&mut self, features: &Features) -> &Score {
        self.score.origin.clone_from(&features.origin);
        self.score.verdict = Verdict::NotLearned;
        &self.score
    }

    /// Ends the learning with what there is and sets the limits.
    pub fn finish_learning(&mut self) -> LearnReport {
        LearnReport::default()
    }

    /// Starts learning anew, by order after maintenance; the first baseline is kept.
    pub fn relearn(&mut self) {}

    /// Forgets what is gathered over windows (evidence, delays), keeps what is learned.
    pub fn forget(&mut self) {}

    /// What is learned, to be kept; `None` while learning.
    pub fn baseline(&self) -> Option<&Baseline> {
        None
    }

    /// Takes up what was learned before.
    ///
    /// # Errors
    /// If it was learned on another kind of sensor or by another version.
    pub fn restore(&mut self, baseline: Baseline) -> Result<(), Error> {
        let _ = baseline;
        Ok(())
    }

    /// How long one window stands for; set once by whoever knows the pace of the source.
    pub fn set_pace(&mut self, every: Span) {
        let _ = every;
    }
}
