//! The JSON file beside a recording that says what was measured: `pump.wav.json` or `pump.json`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Calibration, Error};
use crate::types::{Stamp, Unit};

/// Bytes a sidecar may have.
const BYTES_MAX: u64 = 64 * 1024;

/// What a sidecar may say; unknown keys are refused, since a mistyped scale is worse than none.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sidecar {
    /// `m/s2`, `g`, `Pa`, `V` or `FS`.
    unit: Option<String>,
    /// Units at full scale.
    scale_per_fs: Option<f64>,
    /// Or: converter counts per unit.
    counts_per_unit: Option<f64>,
    /// Reading at rest, in the unit.
    offset: f64,
    /// Make and model.
    pub(super) sensor: Option<String>,
    /// Serial number.
    pub(super) serial: Option<String>,
    /// Where on the machine.
    pub(super) location: Option<String>,
    /// Time of the first sample, RFC 3339.
    t0: Option<String>,
    /// Shaft speed, r/min.
    pub(super) rpm: Option<f64>,
    /// One name per channel.
    pub(super) channels: Option<Vec<String>>,
    /// Samples per second, for text files without a time column.
    pub(super) rate_hz: Option<f64>,
}

impl Sidecar {
    /// The sidecar of `recording`, if there is one.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is there but cannot be read or understood.
    pub(super) fn find(recording: &Path) -> Result<Option<(PathBuf, Self)>, Error> {
        let mut beside = recording.as_os_str().to_owned();
        beside.push(".json");
        let candidates = [PathBuf::from(beside), recording.with_extension("json")];
        let Some(path) = candidates.into_iter().find(|path| path.is_file() && path != recording)
        else {
            return Ok(None);
        };
        let refuse = |why: String| Error::refused(path.display(), why);
        let mut text = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut text))
            .map_err(|why| refuse(format!("cannot be read: {why}")))?;
        if text.len() as u64 > BYTES_MAX {
            return Err(refuse(format!("is over {BYTES_MAX} bytes; is it a sidecar?")));
        }
        let sidecar: Self = serde_json::from_slice(&text)
            .map_err(|why| refuse(format!("is not a sidecar: {why}")))?;
        if let Some(rpm) = sidecar.rpm.filter(|rpm| !rpm.is_finite() || *rpm <= 0.0) {
            return Err(refuse(format!("rpm must be above 0, not {rpm}")));
        }
        Ok(Some((path, sidecar)))
    }

    /// The calibration it gives; `counts_full_scale` is 2^(bits-1) of the recording's integers, 1
    /// where the recording holds counts as written, `None` where it holds no counts.
    pub(super) fn calibration(
        &self,
        counts_full_scale: Option<f64>,
    ) -> Result<Option<Calibration>, String> {
        let unit = match self.unit.as_deref() {
            None => None,
            Some(name) => Some(Unit::parse(name).ok_or_else(|| {
                format!("the unit `{name}` is unknown; use m/s2, g, Pa, V or FS")
            })?),
        };
        let units_per_full_scale = match (self.scale_per_fs, self.counts_per_unit) {
            (Some(_), Some(_)) => {
                return Err("give scale_per_fs or counts_per_unit, not both".into());
            }
            (Some(scale), None) => scale,
            (None, Some(counts)) => {
                counts_full_scale
                    .ok_or("counts_per_unit needs integer samples; use scale_per_fs")?
                    / counts
            }
            (None, None) => 1.0,
        };
        let Some(unit) = unit else {
            let silent = self.scale_per_fs.is_none() && self.counts_per_unit.is_none();
            return if silent && self.offset == 0.0 {
                Ok(None)
            } else {
                Err("a scale or offset needs a unit: m/s2, g, Pa, V or FS".into())
            };
        };
        let calibration = Calibration { unit, units_per_full_scale, offset: self.offset };
        calibration.check()?;
        Ok(Some(calibration))
    }

    /// Time of the first sample.
    pub(super) fn start(&self) -> Result<Option<Stamp>, String> {
        let Some(text) = &self.t0 else { return Ok(None) };
        Stamp::parse(text).map(Some).ok_or_else(|| {
            format!("t0 `{text}` is not an RFC 3339 time such as 2026-01-31T12:00:00.5Z")
        })
    }
}
