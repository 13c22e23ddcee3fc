//! Where a value came from, so that an alert can be walked back to its samples.

use std::fmt;
use std::sync::Arc;

/// A BLAKE3 digest of a model or a configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    /// The first 8 bytes in hex: enough to tell models apart on a screen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Which model: its name, and the digest of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// As its card has it.
    pub name: Arc<str>,
    /// Of the whole file.
    pub digest: Digest,
}

/// Which samples of which sensor a noun was computed from, and by which model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Machine, `[a-z0-9-]`, at most 64 characters.
    pub asset: Arc<str>,
    /// Sensor on that machine, same alphabet.
    pub sensor: Arc<str>,
    /// Number of the first sample (per channel) since the source began.
    pub first_sample: u64,
    /// How many samples per channel.
    pub n_samples: u64,
    /// The model that had a say, if any.
    pub model: Option<ModelId>,
}

impl Origin {
    /// An origin with no samples yet.
    pub fn new(asset: &str, sensor: &str) -> Self {
        Self {
            asset: asset.into(),
            sensor: sensor.into(),
            first_sample: 0,
            n_samples: 0,
            model: None,
        }
    }
}
