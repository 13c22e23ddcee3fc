//! How a recording is to be read, as configured and as asked.

use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BLOCK_MAX, open_recording};
use crate::acquire::{Calibration, Error, Pace, Paced, Source};
use crate::types::{Clock, Origin, Stamp, Unit};

/// A recording as a sensor.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// WAV, FLAC or CSV file; what it is is told from its content.
    pub path: PathBuf,
    /// `m/s2`, `g`, `Pa`, `V` or `FS`; empty: what the sidecar or the CSV header says, else `FS`.
    pub unit: String,
    /// Units at full scale (float and text files: per 1.0); used where `unit` is given; 0 means 1.
    pub units_per_full_scale: f64,
    /// Reading at rest, taken off every value, in `unit`.
    pub offset: f64,
    /// Shaft speed, r/min; 0: what the sidecar says.
    pub speed_rpm: f64,
    /// Samples per second of a text file without a time column; 0: not given.
    pub rate_hz: f64,
    /// Only the part from, to; seconds from the start.
    pub span_s: Option<[f64; 2]>,
    /// The file is independent snapshots of this many samples, end to end; 0: a stream.
    pub snapshot_samples: usize,
    /// Seconds from one snapshot to the next; 0: end to end.
    pub snapshot_every_s: f64,
    /// Time of the first sample, RFC 3339; empty: what the sidecar says, else 1970.
    pub start: String,
    /// Read as fast as it goes, or in real time.
    pub pace: Pace,
}

impl Config {
    /// Whether it makes sense, without looking at the file.
    ///
    /// # Errors
    /// [`Error::Refused`] with the key and what would be right.
    pub(in crate::acquire) fn check(&self) -> Result<(), Error> {
        if self.path.as_os_str().is_empty() {
            return Err(Error::refused(
                "recording",
                "path is empty; write a WAV, FLAC or CSV file",
            ));
        }
        let (calibration, options) = self.plan()?;
        let sound = calibration.map_or(Ok(()), |it| it.check()).and_then(|()| options.check());
        sound.map_err(|why| Error::refused(self.path.display(), why))
    }

    /// What the keys say.
    fn plan(&self) -> Result<(Option<Calibration>, Options), Error> {
        let refuse = |why: String| Error::refused(self.path.display(), why);
        let given = |value: f64| (value != 0.0).then_some(value);
        let calibration = if self.unit.is_empty() {
            None
        } else {
            let unit = Unit::parse(&self.unit).ok_or_else(|| {
                refuse(format!("the unit `{}` is unknown; use m/s2, g, Pa, V or FS", self.unit))
            })?;
            let units_per_full_scale = given(self.units_per_full_scale).unwrap_or(1.0);
            Some(Calibration { unit, units_per_full_scale, offset: self.offset })
        };
        let start = if self.start.is_empty() {
            None
        } else {
            Some(Stamp::parse(&self.start).ok_or_else(|| {
                refuse(format!("start `{}` is not RFC 3339 (2026-01-31T12:00:00Z)", self.start))
            })?)
        };
        let options = Options {
            span_s: self.span_s,
            snapshot_samples: (self.snapshot_samples > 0).then_some(self.snapshot_samples),
            snapshot_every_s: given(self.snapshot_every_s),
            start,
            speed_rpm: given(self.speed_rpm),
            rate_hz: given(self.rate_hz),
            ..Options::default()
        };
        Ok((calibration, options))
    }

    /// Opens the recording.
    ///
    /// # Errors
    /// As [`open_recording`], and for a unit or start nobody knows.
    pub(in crate::acquire) fn open(
        &self,
        origin: Origin,
        clock: &Arc<dyn Clock>,
    ) -> Result<Box<dyn Source>, Error> {
        let (calibration, options) = self.plan()?;
        let source = open_recording(&self.path, origin, calibration, options)?;
        Ok(match self.pace {
            Pace::Max => source,
            Pace::Real => Box::new(Paced::new(source, Arc::clone(clock), 1.0)),
        })
    }
}

/// How a recording is to be read; the default is the whole of it as a stream.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Only the part from, to; seconds from the start. A `to` beyond the end means the end.
    pub span_s: Option<[f64; 2]>,
    /// Independent snapshots of this many samples per channel, end to end.
    pub snapshot_samples: Option<usize>,
    /// Seconds from one snapshot to the next; end to end if not given.
    pub snapshot_every_s: Option<f64>,
    /// Time of the first sample; before the sidecar's; 1970-01-01 if nobody says.
    pub start: Option<Stamp>,
    /// Shaft speed, r/min; before the sidecar's.
    pub speed_rpm: Option<f64>,
    /// Samples per second of a text file without a time column.
    pub rate_hz: Option<f64>,
    /// Samples per channel in a frame, 1-4096, and never more than a second; snapshots come whole.
    pub block_samples: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            span_s: None,
            snapshot_samples: None,
            snapshot_every_s: None,
            start: None,
            speed_rpm: None,
            rate_hz: None,
            block_samples: BLOCK_MAX,
        }
    }
}

impl Options {
    pub(super) fn check(&self) -> Result<(), String> {
        let above_0 = |name: &str, value: Option<f64>| match value {
            Some(value) if !value.is_finite() || value <= 0.0 => {
                Err(format!("{name} must be above 0, not {value}"))
            }
            _ => Ok(()),
        };
        above_0("snapshot_every_s", self.snapshot_every_s)?;
        above_0("speed_rpm", self.speed_rpm)?;
        above_0("rate_hz", self.rate_hz)?;
        if let Some([from, to]) = self.span_s
            && !(from.is_finite() && to.is_finite() && 0.0 <= from && from < to)
        {
            return Err(format!(
                "span_s must be [from, to] with 0 <= from < to, not [{from}, {to}]"
            ));
        }
        if self.snapshot_samples == Some(0) {
            return Err("snapshot_samples must be above 0".into());
        }
        if self.block_samples == 0 || self.block_samples > BLOCK_MAX {
            return Err(format!("block_samples must be 1-{BLOCK_MAX}, not {}", self.block_samples));
        }
        Ok(())
    }
}
