//! What `extract` gives: one named vector per window, and now and then a long record.

use std::sync::Arc;

use super::{Origin, Quality, Shape, Span, Stamp, Unit};

/// What a sensor listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SensorKind {
    /// An accelerometer on the machine.
    Vibration,
    /// A microphone near it.
    Sound,
}

/// How the speed became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeedSource {
    /// Nameplate or configuration.
    Configured,
    /// Said by the source with the samples (sidecar, case file, control system).
    Told,
    /// A tacho channel.
    Tacho,
    /// Found in the signal itself.
    Signal,
}

/// Shaft speed during a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Revolutions per second, above 0.
    pub hz: f64,
    /// Relative half-width of what it may be off by; 0.01 = 1 %.
    pub tolerance: f64,
    /// How it became known.
    pub source: SpeedSource,
}

/// A one-sided averaged power spectrum; bin `k` is at `k * df_hz`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spectrum {
    /// Bin spacing in Hz, above 0 where there are bins.
    pub df_hz: f64,
    /// Mean square per bin in the unit squared, scaled so that the sum over bins is the signal's
    /// mean square (a sine of amplitude A gives A^2/2 over its bins).
    pub power: Vec<f32>,
}

impl Spectrum {
    /// Frequency of bin `k`, Hz.
    pub fn hz(&self, k: usize) -> f64 {
        k as f64 * self.df_hz
    }
}

/// Levels of frequency bands, in dB.
#[derive(Clone, Debug, PartialEq)]
pub struct Bands {
    /// Lower and upper edge of each band, Hz: `[n_bands]`. Shared, planned once.
    pub edges_hz: Arc<[(f32, f32)]>,
    /// Level of each band averaged in power over the window, dB re 1 unit squared: `[n_bands]`.
    pub db: Vec<f32>,
}

/// Numbers of the time signal of one axis over one window; the mean is removed before all but `mean`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Indicators {
    /// Mean of the samples (gravity, offset), unit.
    pub mean: f32,
    /// Root mean square, unit.
    pub rms: f32,
    /// True peak: largest absolute value, unit.
    pub peak_true: f32,
    /// Largest minus smallest, unit.
    pub peak_to_peak: f32,
    /// `peak_true / rms`; square root of 2 for a sine; 0 for silence.
    pub crest_factor: f32,
    /// Fourth standardised population moment, 3 = Gaussian (3 not subtracted); 3 for silence.
    pub kurtosis: f32,
    /// Third standardised population moment; 0 for silence.
    pub skewness: f32,
    /// A-weighted level, dB re 20 uPa for pascal, else re 1 unit; sound only. A quantity of its own:
    /// detection never sees it.
    pub level_dba: Option<f32>,
}

/// What only a longer stretch can tell: given on the window that completes one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Length of the stretch.
    pub span: Span,
    /// Velocity RMS 10-1000 Hz (2-1000 Hz below 600 r/min), mm/s; `None` with a reason below.
    pub velocity_rms_mm_s: Option<f64>,
    /// Why there is no velocity (unit unknown, rate or record too short, ...).
    pub velocity_reason: Option<&'static str>,
    /// Power spectrum of the whole stretch, fine enough for orders.
    pub spectrum: Spectrum,
    /// Squared-envelope spectra, one per demodulated band, the most impulsive band first.
    pub envelopes: Vec<Envelope>,
}

/// A squared-envelope spectrum (Ho and Randall 2000) and the band it was demodulated from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// Demodulated band, Hz.
    pub band_hz: (f64, f64),
    /// Whether the band was pre-whitened by the cepstrum before.
    pub prewhitened: bool,
    /// Kurtosis of the band's analytic signal as spectral kurtosis has it: 0 for Gaussian noise.
    pub impulsiveness: f32,
    /// `|FFT(|x_a|^2 - mean)|^2`; only ratios between its bins mean anything.
    pub spectrum: Spectrum,
}

/// One axis (channel) of a window.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What is wrong with this axis alone.
    pub quality: Quality,
    /// Numbers of the time signal.
    pub indicators: Indicators,
    /// Log-mel levels: the model's and the baseline's view. `domain.md` 5.1.
    pub mel: Bands,
    /// Log-mel of every hop in the window, dB: `[n_hops, n_bands]`; empty where one window is one hop.
    pub mel_hops: Vec<f32>,
    /// Third-octave levels (IEC 61260 base 10), only whole bands below half the rate.
    pub third_octaves: Bands,
    /// Power spectrum averaged over the window.
    pub spectrum: Spectrum,
    /// Given on the window that completes a record (or a snapshot).
    pub record: Option<Record>,
}

/// Everything measured in one window of one sensor.
#[derive(Clone, Debug)]
pub struct Features {
    /// Whose samples.
    pub origin: Origin,
    /// Time of the window's first sample.
    pub start: Stamp,
    /// Length of the window.
    pub span: Span,
    /// Vibration or sound.
    pub kind: SensorKind,
    /// Rate of the samples behind it.
    pub rate_hz: f64,
    /// Unit of the samples behind it: accelerations in g arrive here as m/s2.
    pub unit: Unit,
    /// Window of a stream, or a snapshot by itself.
    pub shape: Shape,
    /// Flags that stand for the sensor as a whole (every axis, or the stream).
    pub quality: Quality,
    /// Windows left out before this one, at a lower pace.
    pub n_left_out: u64,
    /// Shaft speed, if known.
    pub speed: Option<Speed>,
    /// One per channel, in the channels' order.
    pub axes: Vec<Axis>,
}

impl Features {
    /// Whether no axis can be trusted.
    pub fn is_blind(&self) -> bool {
        self.quality.is_blind() || self.axes.iter().all(|axis| axis.quality.is_blind())
    }
}
