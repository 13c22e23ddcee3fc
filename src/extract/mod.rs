//! ISO 13374 DM, data manipulation: `Frame` -> `Features`.
//!
//! Invariants: the same samples give the same bits, whatever the sizes of the frames they came in;
//! a window never spans a gap; what a rate or a length cannot support is absent, never wrong.

mod extractor;
mod feed;
mod record;
mod speed;
mod views;
mod window;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{G_MPS2, SensorKind, Shape, Unit};

pub use extractor::Extractor;
pub use speed::SpeedConfig;
pub use views::{View, Views};

use record::RecordPlan;
use window::WindowPlan;

/// Lowest rate that is understood, Hz.
pub const RATE_HZ_MIN: f64 = 20.0;
/// Highest rate that is understood, Hz.
pub const RATE_HZ_MAX: f64 = 400_000.0;
/// Fewest samples anything is computed from.
pub const SAMPLES_MIN: usize = 16;
/// Most samples a window, a record or a snapshot may have.
pub const SAMPLES_MAX: usize = 1 << 25;

/// How windows are cut and what is measured in them.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Length of a window, milliseconds. Snapshots are windows by themselves.
    pub window_ms: f64,
    /// Length of the records that velocity, orders and envelopes are taken from, milliseconds; at
    /// least one window. Machines under 600 r/min need 8000 for their velocity.
    pub record_ms: f64,
    /// Mel bands, 8-256; fewer are used where the rate cannot fill them.
    pub mel_bands: usize,
    /// Whether bands of the records are demodulated. Without, no bearing fault is named and shocks show in the
    /// kurtosis alone; it spares a box that is too slow (`auscult bench` has the price).
    pub envelopes: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { window_ms: 1000.0, record_ms: 4000.0, mel_bands: 128, envelopes: true }
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
    /// Channels, the tacho's included.
    pub n_channels: usize,
    /// Stream or snapshots.
    pub shape: Shape,
    /// Samples per snapshot, where they are snapshots.
    pub snapshot_samples: Option<usize>,
    /// What is known of the shaft's speed.
    pub speed: SpeedConfig,
}

impl Sensor {
    /// The unit features are given in, and what samples are multiplied by to have it.
    fn measured_in(&self) -> (Unit, f32) {
        match (self.kind, self.unit) {
            (SensorKind::Vibration, Unit::G) => (Unit::MetersPerSecond2, G_MPS2 as f32),
            (_, unit) => (unit, 1.0),
        }
    }
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
        self.check(sensor)?;
        Ok(Extractor::new(self, sensor))
    }

    /// The same measuring, view by view.
    ///
    /// # Errors
    /// As [`Config::build`].
    pub fn views(&self, sensor: &Sensor) -> Result<Views, Error> {
        self.check(sensor)?;
        Ok(Views::new(self, sensor))
    }

    fn check(&self, sensor: &Sensor) -> Result<(), Error> {
        let rate = sensor.rate_hz;
        check(rate.is_finite() && (RATE_HZ_MIN..=RATE_HZ_MAX).contains(&rate), "rate_hz", || {
            format!("{rate} Hz is outside {RATE_HZ_MIN}-{RATE_HZ_MAX} Hz; choose another rate")
        })?;
        check((8..=256).contains(&self.mel_bands), "mel_bands", || {
            format!("{} bands; choose 8-256", self.mel_bands)
        })?;
        samples(self.window_ms, rate, "window_ms")?;
        samples(self.record_ms, rate, "record_ms")?;
        if let Some(n) = sensor.snapshot_samples {
            check((SAMPLES_MIN..=SAMPLES_MAX).contains(&n), "snapshot_samples", || {
                format!("{n} samples; a snapshot has {SAMPLES_MIN}-{SAMPLES_MAX}")
            })?;
        }
        sensor.speed.check(sensor.n_channels)
    }

    /// Samples in a window and in a record.
    fn lengths(&self, sensor: &Sensor) -> (usize, usize) {
        let n = self.window_samples(sensor.rate_hz);
        match sensor.shape {
            Shape::Stream => (n, self.record_samples(sensor.rate_hz)),
            Shape::Snapshot => {
                let n = sensor.snapshot_samples.unwrap_or(n);
                (n, crate::dsp::smooth_down(n))
            }
        }
    }

    fn plans(&self, sensor: &Sensor) -> (WindowPlan, RecordPlan) {
        let ((unit, _), (n, n_record)) = (sensor.measured_in(), self.lengths(sensor));
        let &Sensor { kind, rate_hz, .. } = sensor;
        let window = WindowPlan::new(kind, unit, rate_hz, n, self.mel_bands);
        (window, RecordPlan::new(kind, unit, rate_hz, n_record))
    }

    /// Samples in a window of a stream.
    fn window_samples(&self, rate_hz: f64) -> usize {
        (self.window_ms * 1e-3 * rate_hz).round() as usize
    }

    /// Samples in a record of a stream, a number that transforms quickly.
    fn record_samples(&self, rate_hz: f64) -> usize {
        let wanted = (self.record_ms * 1e-3 * rate_hz).round() as usize;
        let down = crate::dsp::smooth_down(wanted);
        let window = self.window_samples(rate_hz);
        if down >= window { down } else { crate::dsp::smooth_up(window) }
    }
}

/// Whether a length makes a usable number of samples.
fn samples(ms: f64, rate_hz: f64, key: &'static str) -> Result<(), Error> {
    let n = ms * 1e-3 * rate_hz;
    check(n >= SAMPLES_MIN as f64 && n <= SAMPLES_MAX as f64, key, || {
        let (lo, hi) = (SAMPLES_MIN as f64 / rate_hz * 1e3, SAMPLES_MAX as f64 / rate_hz * 1e3);
        format!("{ms} ms at {rate_hz} Hz; choose {lo:.1}-{hi:.0} ms")
    })
}

fn check(holds: bool, key: &'static str, why: impl FnOnce() -> String) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error { key, why: why() }) }
}

#[cfg(test)]
mod tests;
