//! ISO 13374 DM, data manipulation: `Frame` -> `Features`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Features, Frame, SensorKind, Shape, Unit};

/// How windows are cut and what is measured in them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Length of a window, milliseconds. Snapshots are windows by themselves.
    pub window_ms: f64,
    /// Length of the records that velocity, orders and envelopes are taken from, milliseconds.
    pub record_ms: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { window_ms: 1000.0, record_ms: 4000.0 }
    }
}

/// A sensor as the extractor must know it; rate and channels are those granted by the source.
#[derive(Clone, Debug)]
pub struct Sensor {
    /// Vibration or sound.
    pub kind: SensorKind,
    /// Samples per second and channel.
    pub rate_hz: f64,
    /// Unit of the samples.
    pub unit: Unit,
    /// Channels.
    pub n_channels: usize,
    /// Stream or snapshots.
    pub shape: Shape,
    /// Samples per snapshot, where they are snapshots.
    pub snapshot_samples: Option<usize>,
}

/// What a configuration may have wrong.
#[derive(Debug, thiserror::Error)]
#[error("extract.{key}: {why}")]
pub struct Error {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Config {
    /// Plans everything for one sensor.
    ///
    /// # Errors
    /// If a value makes no sense for this sensor.
    pub fn build(&self, sensor: &Sensor) -> Result<Extractor, Error> {
        let _ = sensor;
        Ok(Extractor {})
    }
}

/// Cuts windows and measures them.
pub struct Extractor {}

impl Extractor {
    /// Takes in the next samples; ask [`Extractor::step`] afterwards until it gives `None`.
    pub fn push(&mut self, frame: &Frame) {
        let _ = frame;
    }

    /// The next complete window, if there is one.
    pub fn step(&mut self) -> Option<&Features> {
        None
    }

    /// What is left at the end of a recording: the last record, from however much there is.
    pub fn finish(&mut self) -> Option<&Features> {
        None
    }

    /// Forgets the samples taken in: the next frame belongs to another recording.
    pub fn forget(&mut self) {}
}
