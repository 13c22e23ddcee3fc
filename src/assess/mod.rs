//! ISO 13374 HA, health assessment: `Features`, `Score` -> `Finding`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Features, Finding, Quality, Score, Severity, State};

/// The machine, as its nameplate has it, and the standard it is judged by.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bearing defect orders, in multiples of shaft speed.
    pub bearing: Option<Orders>,
}

/// Bearing defect frequencies in orders of shaft speed.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Cage.
    pub ftf: f64,
    /// Outer race.
    pub bpfo: f64,
    /// Inner race.
    pub bpfi: f64,
    /// Spin of a rolling element; the defect line is twice that.
    pub bsf: f64,
}

/// What a configuration may have wrong.
#[derive(Debug, thiserror::Error)]
#[error("assess.{key}: {why}")]
pub struct Error {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

/// The learned normal the rules compare with; kept on disk as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Reference {}

impl Config {
    /// Checks everything for one machine; `axes` names the axes of each of its sensors, by sensor id.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub fn build(&self, axes: &[(&str, Vec<String>)]) -> Result<Assessor, Error> {
        let _ = axes;
        Ok(Assessor { finding: None, reference: Reference::default() })
    }
}

/// Names faults and grades severity for one machine, from all its sensors.
pub struct Assessor {
    finding: Option<Finding>,
    reference: Reference,
}

impl Assessor {
    /// One window of one sensor. While `score.state` is `Learning` it also learns what is normal here.
    pub fn step(&mut self, features: &Features, score: &Score) -> &Finding {
        self.finding.insert(Finding {
            origin: features.origin.clone(),
            start: features.start,
            state: State::Learning,
            health: 100.0,
            wear: None,
            severity: Severity {
                velocity_rms_mm_s: None,
                zone: None,
                standard: "".into(),
                reason: None,
            },
            faults: Vec::new(),
            score: score.clone(),
            speed_hz: None,
            quality: Quality::GOOD,
        })
    }

    /// Forgets what is gathered over records, keeps the learned normal.
    pub fn forget(&mut self) {}

    /// Starts learning the normal anew.
    pub fn relearn(&mut self) {}

    /// The learned normal, to be kept.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Takes up the learned normal.
    pub fn restore(&mut self, reference: Reference) {
        self.reference = reference;
    }
}
