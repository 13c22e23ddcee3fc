//! ISO 13374 SD, state detection: `Features` -> `Score`.
//!
//! Learning keeps a bounded choice of windows and waits while the machine settles; its end turns them into operating regimes with a normal
//! and a spread for every number, and into limits. From then on each window is compared with the
//! regimes its operating point allows; several views of it give p-values that hold for as little as
//! was learned, and a sequential test gathers them against the false-alarm budget.
//!
//! A window unlike the learned is a fault only where its condition was learned. With a known speed that
//! is a matter of the speed: at or between learned ones, as far as a random walk between them lets one
//! judge. Without one the shape decides: all lines moved by one factor is another speed, lines in their
//! places (with others beside them) are the same; where lines say nothing, a machine that was seen at
//! several levels and is now some decibels beyond them all runs at another. What is not learned is
//! neither evidence nor health.
//!
//! **Invariant**: only learning data set a limit; the mean of a signal (gravity, offset) is never
//! looked at; blind and stopped windows neither teach nor count.

mod adapt;
mod alarm;
mod baseline;
mod calibrate;
mod contribute;
mod detector;
mod fit;
mod layout;
mod learning;
mod lines;
mod model;
mod mounting;
mod pickup;
mod places;
mod settling;
mod spread;
mod surprise;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::Model;
use crate::types::Origin;

pub use baseline::Baseline;
pub use detector::Detector;

/// Learning, regimes and limits.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Length of the learning, seconds of running machine; up to four times as long while it settles.
    pub learn_s: f64,
    /// The budget: false alarms per sensor and year, at the most.
    pub false_alarms_per_year: f64,
    /// Share of healthy windows that may be called a fault one by one, 0-1: a window's own verdict,
    /// not an alarm.
    pub window_false_alarm_share: f64,
    /// RMS under which the machine stands still, in the sensor's unit (m/s2 for an accelerometer in
    /// g); without it, 12 dB under everything it was heard to do while learning.
    pub stopped_below_rms: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            learn_s: 86_400.0,
            false_alarms_per_year: 1.0,
            window_false_alarm_share: 0.005,
            stopped_below_rms: None,
        }
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

impl Config {
    /// Checks everything; `model` may be absent, then the statistics speak alone.
    ///
    /// # Errors
    /// If a value makes no sense.
    #[allow(clippy::needless_pass_by_value, reason = "the detector owns what it is given")]
    pub fn build(&self, origin: Origin, model: Option<Model>) -> Result<Detector, Error> {
        let above_0 = |key, value: f64| {
            let fine = value.is_finite() && value > 0.0;
            let why = || format!("{value} makes no sense, it must be above 0");
            if fine { Ok(()) } else { Err(Error { key, why: why() }) }
        };
        above_0("learn_s", self.learn_s)?;
        above_0("false_alarms_per_year", self.false_alarms_per_year)?;
        above_0("window_false_alarm_share", self.window_false_alarm_share)?;
        if self.window_false_alarm_share >= 0.5 {
            let why = format!("{} is no limit, 0.005 would be", self.window_false_alarm_share);
            return Err(Error { key: "window_false_alarm_share", why });
        }
        self.stopped_below_rms.map_or(Ok(()), |rms| above_0("stopped_below_rms", rms))?;
        Ok(Detector::new(self.clone(), origin, model.as_ref()))
    }
}
