//! What is measured in one window of one axis.

use std::sync::Arc;

use crate::dsp::{BandSum, LogMel, MelBank, Moments, Welch, a_weights, third_octaves, to_db};
use crate::types::{Axis, Bands, Indicators, Quality, SensorKind, Unit};

/// Length a hop aims at: 1024 samples at 16 kHz, as the published recipes have it.
const HOP_SECS: f64 = 0.064;
/// Fewest samples in a hop, where the window allows.
const N_FFT_MIN: usize = 256;
/// A third octave needs this many bins to have a level of its own.
const BINS_PER_BAND_MIN: f64 = 2.5;
/// 10 log10(1 / (20e-6)^2): from 1 Pa to the reference of sound pressure.
const DB_PASCAL: f32 = 93.9794;

/// Everything planned for windows of one length.
pub(super) struct WindowPlan {
    kind: SensorKind,
    unit: Unit,
    n: usize,
    mel: LogMel,
    welch: Welch,
    df_hz: f64,
    octave_edges_hz: Arc<[(f32, f32)]>,
    octaves: BandSum,
    a_weights: Vec<f32>,
    mel_power: Vec<f32>,
    mel_sum: Vec<f32>,
    octave_power: Vec<f32>,
}

impl WindowPlan {
    /// For windows of `n` samples, at least `SAMPLES_MIN`.
    pub(super) fn new(
        kind: SensorKind,
        unit: Unit,
        rate_hz: f64,
        n: usize,
        n_bands: usize,
    ) -> Self {
        let mel = plan_mel(rate_hz, n, n_bands);
        // Three segments, half a window each, that reach from end to end.
        let n_segment = crate::dsp::smooth_down(n / 2).max(4);
        let welch = Welch::new(n_segment, ((n - n_segment) / 2).max(1));
        let df_hz = rate_hz / n_segment as f64;
        let edges = third_octaves(rate_hz / 2.0, BINS_PER_BAND_MIN * df_hz);
        let n_mel = mel.bank().edges_hz().len();
        Self {
            kind,
            unit,
            n,
            df_hz,
            octaves: BandSum::new(df_hz, &edges),
            a_weights: a_weights(welch.n_bins(), df_hz),
            mel_power: vec![0.0; n_mel],
            mel_sum: vec![0.0; n_mel],
            octave_power: vec![0.0; edges.len()],
            octave_edges_hz: edges.into(),
            mel,
            welch,
        }
    }

    /// Samples in a window.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// Samples a hop looks at.
    pub(super) fn n_fft(&self) -> usize {
        self.mel.n_fft()
    }

    /// Samples from hop to hop.
    pub(super) fn hop(&self) -> usize {
        self.mel.n_fft() / 2
    }

    /// An axis with room for everything.
    pub(super) fn axis(&self) -> Axis {
        let mel_edges = self.mel.bank().edges_hz();
        let bands = |edges_hz: &Arc<[(f32, f32)]>| Bands {
            edges_hz: edges_hz.clone(),
            db: vec![0.0; edges_hz.len()],
        };
        Axis {
            quality: Quality::GOOD,
            indicators: Indicators::default(),
            mel: bands(mel_edges),
            mel_hops: Vec::with_capacity((self.n / self.hop() + 1) * mel_edges.len()),
            third_octaves: bands(&self.octave_edges_hz),
            spectrum: crate::types::Spectrum {
                df_hz: self.df_hz,
                power: Vec::with_capacity(self.welch.n_bins()),
            },
            record: None,
        }
    }

    /// Whether an axis has the shape of this plan's windows.
    pub(super) fn fits(&self, axis: &Axis) -> bool {
        axis.mel.db.len() == self.mel_sum.len() && axis.spectrum.df_hz == self.df_hz
    }

    /// Measures one axis. `x`: samples of one stretch to the window's end; `offsets`: where in them
    /// the window begins, and where the hops. `quality`, with the axis' own: no crest factor or
    /// moment of clipped samples.
    pub(super) fn measure(
        &mut self,
        x: &[f32],
        offsets: (usize, usize),
        quality: Quality,
        axis: &mut Axis,
    ) {
        let window = &x[offsets.0..];
        let mean = measure_indicators(window, quality, axis);
        self.measure_mel(&x[offsets.1..], mean, axis);
        self.measure_spectrum(window, mean, axis);
    }

    /// Averaged spectrum of `x` less `mean`, its third octaves, and of sound its level.
    pub(super) fn measure_spectrum(&mut self, x: &[f32], mean: f32, axis: &mut Axis) {
        self.welch.average(x, mean, &mut axis.spectrum.power);
        self.octaves.run(&axis.spectrum.power, &mut self.octave_power);
        to_db(&self.octave_power, &mut axis.third_octaves.db);
        if self.kind == SensorKind::Sound {
            axis.indicators.level_dba = Some(self.level_dba(&axis.spectrum.power));
        }
    }

    /// Sound is taken as it is, as the published models had it; of vibration the mean goes first,
    /// or gravity would fill the lowest band.
    pub(super) fn measure_mel(&mut self, x: &[f32], mean: f32, axis: &mut Axis) {
        let mean = if self.kind == SensorKind::Sound { 0.0 } else { mean };
        let n_bands = self.mel_sum.len();
        self.mel_sum.fill(0.0);
        axis.mel_hops.clear();
        let mut n_hops = 0;
        for hop in x.windows(self.n_fft()).step_by(self.hop()) {
            self.mel.hop(hop, mean, &mut self.mel_power);
            self.mel_sum.iter_mut().zip(&self.mel_power).for_each(|(sum, power)| *sum += power);
            if self.kind == SensorKind::Sound {
                let from = axis.mel_hops.len();
                axis.mel_hops.resize(from + n_bands, 0.0);
                to_db(&self.mel_power, &mut axis.mel_hops[from..]);
            }
            n_hops += 1;
        }
        let scale = 1.0 / n_hops.max(1) as f32;
        self.mel_sum.iter_mut().for_each(|sum| *sum *= scale);
        to_db(&self.mel_sum, &mut axis.mel.db);
    }

    fn level_dba(&self, power: &[f32]) -> f32 {
        let sum: f32 = power.iter().zip(&self.a_weights).map(|(p, w)| p * w).sum();
        let mut db = [0.0];
        to_db(&[sum], &mut db);
        db[0] + if self.unit == Unit::Pascal { DB_PASCAL } else { 0.0 }
    }
}

/// The longest hop of about [`HOP_SECS`] of which a window holds three, and as many of the wanted
/// bands as it can fill.
fn plan_mel(rate_hz: f64, n: usize, n_bands: usize) -> LogMel {
    let wanted = ((rate_hz * HOP_SECS).ceil() as usize).next_power_of_two().max(N_FFT_MIN);
    let most = (n / 2).next_power_of_two();
    let n_fft_max = if most > n / 2 { most / 2 } else { most };
    let n_fft = wanted.min(n_fft_max).max(4);
    let bank = std::iter::successors(Some(n_bands), |n| Some(n / 2))
        .take_while(|&n| n > 1)
        .map(|n| MelBank::new(rate_hz, n_fft, n))
        .find(MelBank::is_filled)
        .unwrap_or_else(|| MelBank::new(rate_hz, n_fft, 1));
    LogMel::new(n_fft, bank)
}

/// Indicators of a window; gives its mean.
pub(super) fn measure_indicators(x: &[f32], quality: Quality, axis: &mut Axis) -> f32 {
    let moments = Moments::of(x);
    axis.indicators = indicators(&moments, quality.with(axis.quality));
    moments.mean as f32
}

fn indicators(moments: &Moments, quality: Quality) -> Indicators {
    let clipped = quality.has(Quality::CLIPPED) || quality.has(Quality::SATURATED);
    let shape = |value: f64, unknown: f32| if clipped { unknown } else { value as f32 };
    Indicators {
        mean: moments.mean as f32,
        rms: moments.rms() as f32,
        peak_true: moments.peak() as f32,
        peak_to_peak: (moments.max - moments.min) as f32,
        crest_factor: shape(moments.crest_factor(), 0.0),
        kurtosis: shape(moments.kurtosis(), 3.0),
        skewness: shape(moments.skewness(), 0.0),
        level_dba: None,
    }
}
