//! What the foundry learns from: generated machines, or recordings of a real one.

use std::path::Path;

use ndarray::{Array2, Axis};

use super::Error;
use super::chance::Chance;
use crate::acquire::{
    Options, Read, Source, SynthConfig, SynthFault, SynthFaultKind, SynthKind, SynthLaw,
    open_recording,
};
use crate::extract;
use crate::nn::{Card, DataSet, Kind, Normalisation, Preprocessing};
use crate::types::{Features, Frame, Origin, SensorKind, Shape, Stamp};

/// Levels under this are the converter's, not the machine's, dB.
const FLOOR_DB: f32 = -100.0;
/// Bands that never move still get this spread, dB.
const SCALE_DB_MIN: f32 = 1.0;
/// Sensitivities and distances differ by this, dB up and down.
const GAIN_DB: f32 = 30.0;
/// Rooms, mounts and housings colour the spectrum by this in each of three slow waves, dB.
const COLOUR_DB: f32 = 4.0;
/// Rates of sensors in use, Hz.
const SOUND_RATES_HZ: [f64; 4] = [16_000.0, 16_000.0, 32_000.0, 48_000.0];
const VIBRATION_RATES_HZ: [f64; 4] = [12_800.0, 20_480.0, 25_600.0, 51_200.0];
/// Windows that recordings are cut into, as the extractor does by itself, ms.
const WINDOW_MS: f64 = 1000.0;
/// Input vectors taken from a recording, at the most: more are thinned out evenly.
const WINDOWS_MAX: usize = 1 << 16;
/// Every so many-th window is kept for validation.
const VALID_EVERY: usize = 8;

/// Input vectors in dB, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Windows {
    /// `[n, n_in]`.
    pub db: Vec<f32>,
    /// Values of one vector.
    pub n_in: usize,
}

impl Windows {
    /// How many.
    pub fn len(&self) -> usize {
        self.db.len().checked_div(self.n_in).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every input vector that the recordings of one source give.
    ///
    /// # Errors
    /// `Error::Data` if it cannot be read to its end or suits no extractor.
    pub fn heard(
        source: &mut dyn Source,
        kind: Kind,
        preprocessing: &Preprocessing,
    ) -> Result<Self, Error> {
        let n_bands = preprocessing.n_bands;
        let mut windows = Self { db: Vec::new(), n_in: preprocessing.n_hops * n_bands };
        let what = source.info().identity.clone();
        gather(source, kind, WINDOW_MS, &mut windows, n_bands)
            .map_err(|why| Error::Data { what, why })?;
        thin(&mut windows);
        Ok(windows)
    }

    /// On the model's scale, `n_most` of them at the most, evenly chosen.
    pub(super) fn normalised(&self, norm: &Normalisation, n_most: usize) -> Array2<f32> {
        let every = self.len().div_ceil(n_most).max(1);
        let mut rows = Array2::zeros((self.len().div_ceil(every), self.n_in));
        let vectors = self.db.chunks_exact(self.n_in).step_by(every);
        for (mut row, vector) in rows.axis_iter_mut(Axis(0)).zip(vectors) {
            let bands = norm.mean_db.iter().zip(&norm.scale_db).cycle();
            for ((value, db), (mean, scale)) in row.iter_mut().zip(vector).zip(bands) {
                *value = (db.max(norm.floor_db) - mean) / scale;
            }
        }
        rows
    }
}

/// One machine, healthy and ill, to measure by.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Which machine, or what is wrong with it.
    pub name: String,
    /// Healthy, to learn from what is usual there.
    pub learned: Windows,
    /// Healthy, to be told from what is not.
    pub normal: Windows,
    /// With a fault.
    pub ill: Windows,
}

/// Everything a model is made from and measured by; the three parts come from different machines
/// where they are generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    /// What it listens to.
    pub kind: Kind,
    /// How the vectors were made.
    pub preprocessing: Preprocessing,
    /// To learn from.
    pub train: Windows,
    /// To stop and choose by.
    pub valid: Windows,
    /// To measure detection by; empty where nobody broke the machine.
    pub trials: Vec<Trial>,
    /// Name and digest of where it came from.
    pub sets: Vec<DataSet>,
}

/// How many machines to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// To learn from; an eighth as many more for validation.
    pub machines: usize,
    /// To measure by.
    pub trials: usize,
    /// Windows of a second or so per machine.
    pub windows: usize,
}

impl Default for Scale {
    fn default() -> Self {
        Self { machines: 256, trials: 65, windows: 3 }
    }
}

/// The input vectors of a kind: sound five hops of 128 bands, vibration one averaged window.
pub fn preprocessing(kind: Kind) -> Preprocessing {
    match kind {
        Kind::Sound => Preprocessing::default(),
        Kind::Vibration => Preprocessing {
            rate_hz: 25_600.0,
            n_fft: 2048,
            hop: 1024,
            n_hops: 1,
            n_bands: 128,
            low_hz: 0.0,
            high_hz: 12_800.0,
        },
    }
}

impl Corpus {
    /// Machines nobody built: seeds, speeds, loads, gears, blades and noises drawn by `seed`, heard
    /// through the appliance's own features; sensitivities and rooms drawn besides.
    pub fn generated(
        kind: Kind,
        seed: u64,
        scale: Scale,
        told: &mut dyn FnMut(usize, usize),
    ) -> Self {
        let preprocessing = preprocessing(kind);
        let n_in = preprocessing.n_hops * preprocessing.n_bands;
        let empty = || Windows { db: Vec::new(), n_in };
        let n_valid = scale.machines.div_ceil(8);
        let total = scale.machines + n_valid + scale.trials;
        let (mut train, mut valid) = (empty(), empty());
        for i in 0..scale.machines + n_valid {
            told(i, total);
            let part = if i < scale.machines { &mut train } else { &mut valid };
            let mut room = Room::new(seed, i as u64, &preprocessing, scale.windows);
            room.hear(&room.machine(kind), part, 2);
        }
        let trials = (0..scale.trials).map(|i| {
            told(scale.machines + n_valid + i, total);
            let mut room = Room::new(seed, (1 << 32) + i as u64, &preprocessing, 2 * scale.windows);
            let mut machine = room.machine(kind);
            let (mut learned, mut ill) = (empty(), empty());
            room.hear(&machine, &mut learned, 1);
            let half = learned.len() / 2 * n_in;
            let normal = Windows { db: learned.db.split_off(half), n_in };
            let fault = SynthFaultKind::ALL[i % SynthFaultKind::ALL.len()];
            let severity = f64::from(room.chance.between(0.2, 0.6));
            machine.faults = vec![SynthFault {
                fault,
                start_s: 0.0,
                growth_s: 0.0,
                severity,
                law: SynthLaw::Linear,
            }];
            room.hear(&machine, &mut ill, 1);
            Trial { name: fault.code().code().to_owned(), learned, normal, ill }
        });
        let trials = trials.collect();
        let recipe = format!("auscult synthetic machines, {kind:?}, seed {seed}, {scale:?}");
        let mut hasher = blake3::Hasher::new();
        hasher.update(recipe.as_bytes());
        for value in train.db.iter().chain(&valid.db) {
            hasher.update(&value.to_le_bytes());
        }
        let digest = hasher.finalize().to_hex().to_string();
        let sets = vec![DataSet { name: recipe, digest }];
        Self { kind, preprocessing, train, valid, trials, sets }
    }

    /// Recordings of one machine that is well; every eighth stretch is kept for validation.
    ///
    /// # Errors
    /// `Error::Data` if one cannot be read, or they give no vector the model could take.
    pub fn recorded(card: &Card, files: &[impl AsRef<Path>]) -> Result<Self, Error> {
        let preprocessing = card.preprocessing;
        let n_in = preprocessing.n_hops * preprocessing.n_bands;
        let mut all = Windows { db: Vec::new(), n_in };
        let mut sets = Vec::new();
        for file in files {
            let file = file.as_ref();
            let data = |why: String| Error::Data { what: file.display().to_string(), why };
            let bytes = std::fs::read(file).map_err(|why| data(why.to_string()))?;
            let name = file.file_name().map_or_else(String::new, |n| n.to_string_lossy().into());
            sets.push(DataSet { name, digest: blake3::hash(&bytes).to_hex().to_string() });
            let mut source =
                open_recording(file, Origin::new("learn", "learn"), None, Options::default())
                    .map_err(|why| data(why.to_string()))?;
            gather(&mut *source, card.kind, WINDOW_MS, &mut all, preprocessing.n_bands)
                .map_err(data)?;
        }
        thin(&mut all);
        let chunk = all.len().div_ceil(8 * VALID_EVERY).max(1) * n_in;
        let empty = || Windows { db: Vec::new(), n_in };
        let (mut train, mut valid) = (empty(), empty());
        for (i, stretch) in all.db.chunks(chunk).enumerate() {
            let part = if i % VALID_EVERY == VALID_EVERY / 2 { &mut valid } else { &mut train };
            part.db.extend_from_slice(stretch);
        }
        if train.is_empty() || valid.is_empty() {
            let what = sets.first().map_or_else(String::new, |set| set.name.clone());
            let why = format!(
                "{} input vectors are too few to learn from; record some minutes at a rate that \
                 fills {} bands",
                all.len(),
                preprocessing.n_bands
            );
            return Err(Error::Data { what, why });
        }
        Ok(Self { kind: card.kind, preprocessing, train, valid, trials: Vec::new(), sets })
    }

    /// Mean and spread of every band of what is learned from.
    pub fn normalisation(&self) -> Normalisation {
        let n_bands = self.preprocessing.n_bands;
        let mut sums = vec![(0.0_f64, 0.0_f64); n_bands];
        for (i, db) in self.train.db.iter().enumerate() {
            let db = f64::from(db.max(FLOOR_DB));
            sums[i % n_bands].0 += db;
            sums[i % n_bands].1 += db * db;
        }
        let n = (self.train.db.len() / n_bands).max(1) as f64;
        let spread = |(sum, squares): &(f64, f64)| {
            ((squares / n - (sum / n) * (sum / n)).max(0.0).sqrt() as f32).max(SCALE_DB_MIN)
        };
        Normalisation {
            floor_db: FLOOR_DB,
            mean_db: sums.iter().map(|(sum, _)| (sum / n) as f32).collect(),
            scale_db: sums.iter().map(spread).collect(),
        }
    }
}

/// Where one generated machine stands, and who listens how.
pub(super) struct Room<'a> {
    chance: Chance,
    machine_seed: u64,
    rate_pick: usize,
    preprocessing: &'a Preprocessing,
    pub(super) n_windows: usize,
    gain_db: f32,
    colour: [f32; 3],
}

impl<'a> Room<'a> {
    pub(super) fn new(
        seed: u64,
        idx: u64,
        preprocessing: &'a Preprocessing,
        n_windows: usize,
    ) -> Self {
        let mut chance = Chance::new(seed, idx + 100);
        let machine_seed = chance.bits();
        let rate_pick = chance.below(4);
        let gain_db = chance.between(-GAIN_DB, GAIN_DB);
        let colour = std::array::from_fn(|_| chance.between(-COLOUR_DB, COLOUR_DB));
        Self { chance, machine_seed, rate_pick, preprocessing, n_windows, gain_db, colour }
    }

    pub(super) fn machine(&self, kind: Kind) -> SynthConfig {
        let (kind, rates) = match kind {
            Kind::Sound => (SynthKind::Sound, SOUND_RATES_HZ),
            Kind::Vibration => (SynthKind::Vibration, VIBRATION_RATES_HZ),
        };
        SynthConfig::random(self.machine_seed, kind, rates[self.rate_pick])
    }

    /// Windows of generated machines: vibration gives one vector per window, shorter ones more of them.
    pub(super) fn window_ms(kind: Kind) -> f64 {
        if kind == Kind::Vibration { 320.0 } else { 640.0 }
    }

    /// Listens to a machine, from `n_views` places: each with a gain of its own.
    pub(super) fn hear(&mut self, machine: &SynthConfig, into: &mut Windows, n_views: usize) {
        let kind = match machine.kind {
            SynthKind::Sound => Kind::Sound,
            SynthKind::Vibration => Kind::Vibration,
        };
        let window_ms = Self::window_ms(kind);
        let n = (window_ms * 1e-3 * machine.rate_hz) as usize * self.n_windows;
        let mut machine = machine.clone();
        machine.duration_s = n as f64 / machine.rate_hz;
        let made = machine.build().expect("the ranges drawn from lie within those checked");
        let mut source = made.into_source(Origin::new("learn", "learn"), Stamp::default());
        let mut heard = Windows { db: Vec::new(), n_in: into.n_in };
        gather(&mut *source, kind, window_ms, &mut heard, self.preprocessing.n_bands)
            .expect("a synthetic machine can always be heard");
        let n_bands = self.preprocessing.n_bands;
        for view in 0..n_views {
            let gain =
                if view == 0 { self.gain_db } else { self.chance.between(-GAIN_DB, GAIN_DB) };
            let colour = |i: usize| {
                let x = (i % n_bands) as f32 / n_bands as f32;
                (1..).zip(&self.colour).map(|(n, db)| db * wave(x, n as f32)).sum::<f32>()
            };
            into.db.extend(heard.db.iter().enumerate().map(|(i, db)| db + gain + colour(i)));
        }
    }
}

/// Half a wave more for each `halves`, 1 at 0: parabolas in the place of cosines, the same everywhere.
fn wave(x: f32, halves: f32) -> f32 {
    let at = x * halves;
    let (sign, phase) =
        if (at as usize).is_multiple_of(2) { (1.0, at.fract()) } else { (-1.0, at.fract()) };
    let half = |p: f32| 1.0 - 4.0 * p * p;
    sign * if phase < 0.5 { half(phase) } else { -half(1.0 - phase) }
}

/// Every input vector a source gives, appended to `into`.
fn gather(
    source: &mut dyn Source,
    kind: Kind,
    window_ms: f64,
    into: &mut Windows,
    n_bands: usize,
) -> Result<(), String> {
    let info = source.info().clone();
    let kind = match kind {
        Kind::Sound => SensorKind::Sound,
        Kind::Vibration => SensorKind::Vibration,
    };
    let sensor = extract::Sensor {
        kind,
        rate_hz: info.rate_hz,
        unit: info.unit,
        n_channels: info.n_channels,
        shape: if info.snapshot_samples.is_some() { Shape::Snapshot } else { Shape::Stream },
        snapshot_samples: info.snapshot_samples,
        speed: extract::SpeedConfig::default(),
    };
    let config = extract::Config {
        window_ms,
        // Records are of no use here: as short as they may be.
        record_ms: window_ms,
        mel_bands: n_bands,
        envelopes: false,
    };
    let mut extractor = config.build(&sensor).map_err(|why| why.to_string())?;
    let mut frame =
        Frame::empty(Origin::new("learn", "learn"), info.rate_hz, info.unit, info.n_channels);
    loop {
        match source.read(&mut frame).map_err(|why| why.to_string())? {
            Read::Frame => extractor.push(&frame),
            Read::Quiet => {}
            Read::End => break,
        }
        while let Some(features) = extractor.step() {
            take(features, n_bands, into);
        }
    }
    if let Some(features) = extractor.finish() {
        take(features, n_bands, into);
    }
    Ok(())
}

/// The input vectors of one window, of every axis that can be trusted.
fn take(features: &Features, n_bands: usize, into: &mut Windows) {
    if features.is_blind() {
        return;
    }
    for axis in features.axes.iter().filter(|axis| !axis.quality.is_blind()) {
        if axis.mel.db.len() == n_bands {
            take_axis(axis, n_bands, into);
        }
    }
}

fn take_axis(axis: &crate::types::Axis, n_bands: usize, into: &mut Windows) {
    let values = if axis.mel_hops.is_empty() { &axis.mel.db } else { &axis.mel_hops };
    for from in (0..values.len()).step_by(n_bands) {
        let Some(vector) = values.get(from..from + into.n_in) else { break };
        into.db.extend_from_slice(vector);
    }
}

/// Keeps at most `WINDOWS_MAX`, evenly.
fn thin(windows: &mut Windows) {
    let (n, n_in) = (windows.len(), windows.n_in);
    if n <= WINDOWS_MAX {
        return;
    }
    for to in 0..WINDOWS_MAX {
        let from = (to as u64 * n as u64 / WINDOWS_MAX as u64) as usize;
        windows.db.copy_within(from * n_in..(from + 1) * n_in, to * n_in);
    }
    windows.db.truncate(WINDOWS_MAX * n_in);
}
