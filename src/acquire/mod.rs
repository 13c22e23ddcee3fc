//! ISO 13374 DA, data acquisition: a device -> `Frame`.

mod cards;
mod devices;
mod iio;
mod pace;
mod ring;
mod scale;
mod sound;
mod tcp;
mod wait;

pub use devices::{Device, devices};
pub use iio::{Config as IioConfig, Iio};
pub use pace::Pace;
pub use sound::{Config as SoundConfig, Format as SoundFormat, Sound};
pub use tcp::{Config as TcpConfig, Role as TcpRole, Tcp};

use crate::types::{Frame, Unit};

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

impl Error {
    /// [`Error::Lost`].
    fn lost(what: &str, why: impl Into<String>) -> Self {
        Self::Lost { what: what.to_owned(), why: why.into() }
    }

    /// [`Error::Refused`].
    fn refused(what: &str, why: impl Into<String>) -> Self {
        Self::Refused { what: what.to_owned(), why: why.into() }
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

/// Where samples come from. One thread reads one source.
pub trait Source: Send {
    /// What it turned out to be.
    fn info(&self) -> &Info;

    /// Replaces the contents of `frame` by the next samples, calibrated, numbered and stamped.
    ///
    /// # Errors
    /// [`Error::Lost`] if it may come back, [`Error::Refused`] if not.
    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error>;

    /// How far the device's true rate is above the stated one, parts per million, once it is known.
    fn rate_ppm(&self) -> Option<f64> {
        None
    }
}
