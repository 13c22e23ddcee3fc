//! Who publishes: site, gateway, and the topics that follow from them.

use crate::store::Epoch;
use crate::types::{Digest, Stamp};

use super::Error;

/// How far the wall clock behind the times can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockQuality {
    /// Kept by a time server.
    Synchronised,
    /// Running on its own.
    #[default]
    FreeRunning,
    /// It says a time that cannot be.
    Implausible,
    /// The times are those of a recording.
    Recording,
}

impl ClockQuality {
    /// No clock that is right says a time before this: 2026-01-01.
    const EARLIEST: Stamp = Stamp(1_767_225_600_000_000_000);

    /// Of a live clock that says `now`; `is_kept`: a time server says that it keeps it.
    pub fn of(now: Stamp, is_kept: bool) -> Self {
        match (now < Self::EARLIEST, is_kept) {
            (true, _) => Self::Implausible,
            (false, true) => Self::Synchronised,
            (false, false) => Self::FreeRunning,
        }
    }

    /// As published.
    pub fn name(self) -> &'static str {
        match self {
            Self::Synchronised => "synchronised",
            Self::FreeRunning => "free_running",
            Self::Implausible => "implausible",
            Self::Recording => "recording",
        }
    }
}

/// What every payload says of its sender.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// Plant, `[a-z0-9-]`, 1-64 characters.
    pub site: String,
    /// This box, same alphabet.
    pub gateway: String,
    /// This life of its store.
    pub epoch: Epoch,
    /// Digest of the configuration in force.
    pub config: Digest,
    /// How far its clock can be trusted.
    pub clock: ClockQuality,
}

impl Identity {
    /// Checks the names.
    ///
    /// # Errors
    /// If site or gateway is not of `[a-z0-9-]`, 1-64 characters.
    pub fn check(&self) -> Result<(), Error> {
        check_name("site", &self.site)?;
        check_name("gateway", &self.gateway)
    }

    /// `auscult/v1/{site}/{gateway}`: what every topic begins with.
    pub fn base(&self) -> String {
        format!("auscult/v1/{}/{}", self.site, self.gateway)
    }

    /// Topic of one asset: `state`, `alert`, `features`.
    pub fn topic(&self, asset: &str, leaf: &str) -> String {
        format!("{}/{asset}/{leaf}", self.base())
    }

    /// Topic of the box itself.
    pub fn status_topic(&self) -> String {
        format!("{}/status", self.base())
    }
}

/// Checks an identifier that becomes part of a topic.
///
/// # Errors
/// If it is not of `[a-z0-9-]`, 1-64 characters.
pub fn check_name(key: &'static str, name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let why = format!("'{name}' must be 1 to 64 of a-z, 0-9 and '-', for example pump-3");
    Err(Error { key, why })
}
