//! The model's card: what it hears, how it was made, how good it was; travels inside the file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Error;

/// Most bands of one hop.
pub const BANDS_MAX: usize = 1024;
/// Most hops of one input vector.
pub const HOPS_MAX: usize = 1024;

/// What a model listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Airborne sound.
    #[default]
    Sound,
    /// Vibration.
    Vibration,
}

/// How the input vector is made of samples: log-mel bands over hops, oldest hop first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Sample rate, Hz.
    pub rate_hz: f64,
    /// Length of one transform, samples.
    pub n_fft: usize,
    /// From one hop to the next, samples.
    pub hop: usize,
    /// Hops in one input vector.
    pub n_hops: usize,
    /// Mel bands of a hop.
    pub n_bands: usize,
    /// Lower edge of the first band, Hz.
    pub low_hz: f64,
    /// Upper edge of the last band, Hz.
    pub high_hz: f64,
}

impl Default for Preprocessing {
    /// As the DCASE baselines: 16 kHz, 1024 by 512, five hops of 128 bands.
    fn default() -> Self {
        Self {
            rate_hz: 16_000.0,
            n_fft: 1024,
            hop: 512,
            n_hops: 5,
            n_bands: 128,
            low_hz: 0.0,
            high_hz: 8_000.0,
        }
    }
}

/// From dB to what the network sees: `(max(x, floor_db) - mean_db[band]) / scale_db[band]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalisation {
    /// Levels below this are taken as this, dB.
    pub floor_db: f32,
    /// Mean of each band, dB; `[n_bands]`.
    pub mean_db: Vec<f32>,
    /// Spread of each band, dB, above 0; `[n_bands]`.
    pub scale_db: Vec<f32>,
}

impl Normalisation {
    /// Leaves levels as they are.
    pub fn none(n_bands: usize) -> Self {
        Self { floor_db: f32::MIN, mean_db: vec![0.0; n_bands], scale_db: vec![1.0; n_bands] }
    }
}

/// One recording or generated set it was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// Name.
    pub name: String,
    /// BLAKE3 of the data, hex, or of the recipe for generated ones.
    pub digest: String,
}

/// How it was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// On what.
    pub data: Vec<DataSet>,
    /// Input vectors seen per epoch.
    pub n_windows: u64,
    /// Times through the data.
    pub n_epochs: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// Every step since, in order, as typed: training, pruning, quantising, ...
    pub steps: Vec<String>,
}

/// A limit on the score and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// What it is for.
    pub name: String,
    /// Mean square residual, normalised units.
    pub value: f64,
    /// How and on what it was set.
    pub provenance: String,
}

/// What is known of a model beside its weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Card {
    /// Name, 1 to 64 of `[a-z0-9._-]`.
    pub name: String,
    /// What it listens to.
    pub kind: Kind,
    /// One paragraph for people.
    pub about: String,
    /// How its input is made.
    pub preprocessing: Preprocessing,
    /// How its input is brought to scale.
    pub normalisation: Normalisation,
    /// How it was trained.
    pub training: Training,
    /// Measured, by name: `auc`, `pauc`, `mse`, ...
    pub metrics: BTreeMap<String, f64>,
    /// Limits that came with it.
    pub thresholds: Vec<Threshold>,
    /// Digest of the model it was made from, hex, if any.
    pub parent: Option<String>,
}

impl Default for Normalisation {
    fn default() -> Self {
        Self::none(Preprocessing::default().n_bands)
    }
}

impl Card {
    /// Checks names, sizes and numbers.
    ///
    /// # Errors
    /// `Error::Invalid` naming the first thing that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let name_ok = (1..=64).contains(&self.name.len())
            && self
                .name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        let p = &self.preprocessing;
        let n = &self.normalisation;
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let checks = [
            (name_ok, "name: 1 to 64 of a-z 0-9 . _ -"),
            (positive(p.rate_hz), "preprocessing.rate_hz: above 0"),
            ((16..=1 << 20).contains(&p.n_fft), "preprocessing.n_fft: 16 to 2^20"),
            ((1..=1 << 20).contains(&p.hop), "preprocessing.hop: 1 to 2^20"),
            ((1..=HOPS_MAX).contains(&p.n_hops), "preprocessing.n_hops: 1 to 1024"),
            ((1..=BANDS_MAX).contains(&p.n_bands), "preprocessing.n_bands: 1 to 1024"),
            (p.low_hz >= 0.0 && p.low_hz < p.high_hz, "preprocessing.low_hz: 0 to high_hz"),
            (p.high_hz <= p.rate_hz / 2.0, "preprocessing.high_hz: at most half of rate_hz"),
            (n.floor_db.is_finite(), "normalisation.floor_db: a number"),
            (n.mean_db.len() == p.n_bands, "normalisation.mean_db: one per band"),
            (n.scale_db.len() == p.n_bands, "normalisation.scale_db: one per band"),
            (n.mean_db.iter().all(|x| x.is_finite()), "normalisation.mean_db: numbers"),
            (
                n.scale_db.iter().all(|x| x.is_normal() && *x > 0.0),
                "normalisation.scale_db: above 0",
            ),
            (self.metrics.values().all(|x| x.is_finite()), "metrics: numbers"),
            (self.thresholds.iter().all(|t| t.value.is_finite()), "thresholds: numbers"),
        ];
        match checks.iter().find(|(ok, _)| !ok) {
            Some((_, why)) => Err(Error::Invalid { at: "card".to_owned(), why: (*why).to_owned() }),
            None => Ok(()),
        }
    }
}
