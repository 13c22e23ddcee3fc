//! ISO 13374 DA, data acquisition: a device -> `Frame`.
//!
//! A source numbers and stamps every sample, says what it lost, and never hands out a value that is
//! not finite. What is in a frame is decided by what was read, never by how fast it was read.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Clock, Frame, Origin, Quality, Shape, Unit};

mod cadence;
mod calibration;
mod cards;
mod csv;
mod devices;
mod flac;
mod iio;
mod pace;
mod recording;
mod ring;
mod scale;
mod sense;
mod sidecar;
mod sound;
mod synth;
mod tcp;
mod wait;
mod wav;

pub use cadence::Cadence;
pub use calibration::Calibration;
pub use devices::{Device, Offer, devices};
pub use iio::{Config as IioConfig, Iio};
pub use pace::{Pace, Paced};
pub use recording::{Config as RecordingConfig, Options, open_recording};
pub use sense::Sense;
pub use sound::{Config as SoundConfig, Format as SoundFormat, Sound};
pub use synth::{
    Bearing as SynthBearing, Config as SynthConfig, Fault as SynthFault,
    FaultKind as SynthFaultKind, Kind as SynthKind, Law as SynthLaw, Machine as SynthMachine,
    SensorFault as SynthSensorFault, SensorFaultKind as SynthSensorFaultKind, Stop as SynthStop,
    Truth as SynthTruth,
};
pub use tcp::{Config as TcpConfig, Role as TcpRole, Tcp};

/// What can go wrong with a source, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Open it again later: unplugged, busy, stalled.
    #[error("{what}: {why}")]
    Lost {
        /// The device or file.
        what: String,
        /// What happened and what to do.
        why: String,
    },
    /// No use trying again: not a recording, unsupported format, wrong configuration.
    #[error("{what}: {why}")]
    Refused {
        /// The device or file.
        what: String,
        /// What happened and what to do.
        why: String,
    },
}

#[allow(clippy::needless_pass_by_value, reason = "paths are shown by a value made for it")]
impl Error {
    /// An [`Error::Lost`].
    fn lost(what: impl ToString, why: impl Into<String>) -> Self {
        Self::Lost { what: what.to_string(), why: why.into() }
    }

    /// An [`Error::Refused`].
    fn refused(what: impl ToString, why: impl Into<String>) -> Self {
        Self::Refused { what: what.to_string(), why: why.into() }
    }
}

/// What a call to [`Source::read`] gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// `frame` holds new samples.
    Frame,
    /// Nothing within the source's patience (at most 250 ms); ask again.
    Quiet,
    /// A recording is over; there is no more.
    End,
}

/// What a source turned out to be once opened.
#[derive(Clone, Debug)]
pub struct Info {
    /// Stable identity: a path, a serial number, a bus path; never an index.
    pub identity: String,
    /// Granted rate, samples per second and channel.
    pub rate_hz: f64,
    /// Channels.
    pub n_channels: usize,
    /// Unit after calibration.
    pub unit: Unit,
    /// Snapshots of this many samples per channel, or a stream.
    pub snapshot_samples: Option<usize>,
    /// Whether time passes by itself (a device) or by reading (a recording).
    pub live: bool,
}

impl Info {
    /// Makes `frame` an empty, good frame of this source that begins at `first_sample`; its samples,
    /// their number and its stamp are still to come.
    fn begin(&self, frame: &mut Frame, origin: &Origin, first_sample: u64) {
        frame.origin.clone_from(origin);
        frame.origin.first_sample = first_sample;
        frame.origin.n_samples = 0;
        frame.rate_hz = self.rate_hz;
        frame.unit = self.unit;
        frame.n_channels = self.n_channels;
        frame.samples.clear();
        frame.quality = Quality::GOOD;
        frame.axis_quality.clear();
        frame.axis_quality.resize(self.n_channels, Quality::GOOD);
        frame.n_lost = 0;
        frame.shape = match self.snapshot_samples {
            Some(_) => Shape::Snapshot,
            None => Shape::Stream,
        };
        frame.speed_hz = None;
    }
}

/// Where samples come from. One thread reads one source.
pub trait Source: Send {
    /// What it turned out to be.
    fn info(&self) -> &Info;

    /// Replaces the contents of `frame` by the next samples, calibrated, numbered and stamped.
    ///
    /// # Errors
    /// [`Error::Lost`] if it may come back, [`Error::Refused`] if not.
    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error>;

    /// What a person should know of it that is no error: a recording cut short, values replaced.
    /// Grows while it is read; at most [`NOTES_MAX`].
    fn notes(&self) -> &[String] {
        &[]
    }

    /// How far the device's true rate is above the stated one, parts per million, once it is known.
    fn rate_ppm(&self) -> Option<f64> {
        None
    }
}

/// Samples in a second, at least 1: a slow sensor is not to be heard of only now and then.
fn second_of(rate_hz: f64) -> usize {
    (rate_hz.ceil() as usize).max(1)
}

/// Notes kept of one source, at the most.
pub const NOTES_MAX: usize = 16;

/// Where the samples of a sensor come from.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Config {
    /// A WAV, FLAC or CSV file.
    Recording(RecordingConfig),
    /// A synthetic machine.
    Synth(Box<SynthConfig>),
    /// A sound card, USB microphone or USB accelerometer.
    Sound(SoundConfig),
    /// A Linux IIO accelerometer.
    Iio(IioConfig),
    /// A stream of samples over TCP (`docs/stream.md`).
    Tcp(TcpConfig),
}

impl Config {
    /// Whether it makes sense, without looking for the device or file.
    ///
    /// # Errors
    /// [`Error::Refused`] with what is wrong and what would be right.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Recording(config) => config.check(),
            Self::Sound(config) => config.check(),
            Self::Iio(config) => config.check(),
            Self::Tcp(config) => config.check(),
            Self::Synth(config) => config.check(),
        }
    }

    /// Takes relative paths from `folder`.
    pub fn resolve(&mut self, folder: &Path) {
        if let Self::Recording(config) = self {
            config.path = folder.join(&config.path);
        }
    }

    /// Rate, channels and unit, where the configuration alone says so: what to expect of a device
    /// that is not there yet.
    pub fn expect(&self) -> Option<(f64, usize, Unit)> {
        match self {
            Self::Sound(config) => config.expect(),
            Self::Tcp(config) => config.expect(),
            _ => None,
        }
    }

    /// Opens the source for the sensor `origin`. `clock` paces what should run in real time.
    ///
    /// # Errors
    /// [`Error::Refused`] if the configuration or what it names is no good, [`Error::Lost`] if it
    /// may be there later.
    pub fn open(&self, origin: Origin, clock: &Arc<dyn Clock>) -> Result<Box<dyn Source>, Error> {
        match self {
            Self::Recording(config) => config.open(origin, clock),
            Self::Synth(config) => config.open(origin, clock),
            Self::Sound(config) => Ok(Box::new(config.open(Arc::clone(clock))?)),
            Self::Iio(config) => Ok(Box::new(config.open(Arc::clone(clock))?)),
            Self::Tcp(config) => Ok(Box::new(config.open(Arc::clone(clock))?)),
        }
    }
}
