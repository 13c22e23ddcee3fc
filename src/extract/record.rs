//! What is measured in one record of one axis: velocity, fine spectrum, envelopes.

use crate::dsp::{
    Choice, Chooser, Complex32, Demodulator, Fft, detrend, hann_power, velocity_mean_square,
};
use crate::types::{Envelope, Quality, Record, SensorKind, Span, Spectrum, Unit};

/// Bands chosen for how impulsive they are.
const N_CHOSEN: usize = 3;
/// Narrowest band: it must let pass a few harmonics of a bearing's defect frequency.
const BAND_HZ_MIN: f64 = 400.0;
/// Envelope spectra end here: three times the highest defect frequency of fast spindles.
const ENVELOPE_HZ_MAX: f64 = 5000.0;
/// So little of the power at the upper end is nothing of the machine's: a recording made at a higher rate
/// than its sensor's filter lets through ends in what the converter and the filter leave.
const EMPTY_SHARE: f64 = 1e-8;
/// Share of a record over which either end fades.
const TAPER_SHARE: f64 = 0.05;
/// Upper limit of broadband velocity, Hz (ISO 20816-1).
const VELOCITY_HI_HZ: f64 = 1000.0;
/// Speed below which velocity is taken from 2 Hz on, Hz (600 r/min).
const SLOW_HZ: f64 = 10.0;

/// Everything planned for records of one length.
pub(super) struct RecordPlan {
    kind: SensorKind,
    unit: Unit,
    rate_hz: f64,
    fft: Fft,
    chooser: Chooser,
    chosen: Vec<Choice>,
    demodulator: Demodulator,
    /// Plan of the demodulator for the full band: the one after the chooser's levels.
    full_idx: usize,
    /// Envelopes not in use, to be filled again.
    spare: Vec<Envelope>,
}

impl RecordPlan {
    /// For records of `n` samples.
    pub(super) fn new(kind: SensorKind, unit: Unit, rate_hz: f64, n: usize) -> Self {
        let chooser = Chooser::new(rate_hz, n, BAND_HZ_MIN);
        let df = rate_hz / n as f64;
        let mut widths: Vec<usize> =
            chooser.widths_hz().map(|width| (width / df) as usize + 2).collect();
        widths.push(n / 2);
        Self {
            kind,
            unit,
            rate_hz,
            fft: Fft::new(n),
            chooser,
            chosen: Vec::with_capacity(N_CHOSEN),
            demodulator: Demodulator::new(&widths, (ENVELOPE_HZ_MAX / df) as usize + 1),
            full_idx: widths.len() - 1,
            spare: Vec::new(),
        }
    }

    /// Samples in a record.
    pub(super) fn n(&self) -> usize {
        self.fft.n()
    }

    fn df_hz(&self) -> f64 {
        self.rate_hz / self.fft.n() as f64
    }

    /// Measures one axis. `x`: `[n]`; `speed_hz`: the shaft's, if known; `has_envelopes`: or none.
    /// Returns flags found.
    pub(super) fn measure(
        &mut self,
        x: &[f32],
        speed_hz: Option<f64>,
        has_envelopes: bool,
        record: &mut Record,
    ) -> Quality {
        let n = self.n();
        self.fft.run(|input| {
            detrend(x, input);
            if has_envelopes {
                self.chooser.run(input);
            }
        });
        record.span = Span::from_secs(n as f64 / self.rate_hz);
        record.spectrum.df_hz = self.df_hz();
        hann_power(self.fft.bins(), n, &mut record.spectrum.power);
        if has_envelopes {
            let top_bin = top_bin(&record.spectrum.power);
            self.measure_envelopes(x, top_bin, &mut record.envelopes);
        } else {
            self.spare.append(&mut record.envelopes);
        }
        let velocity = self.velocity(&record.spectrum, speed_hz);
        record.velocity_rms_mm_s = velocity.ok();
        record.velocity_reason = velocity.err();
        if self.has_ski_slope(&record.spectrum) { Quality::SKI_SLOPE } else { Quality::GOOD }
    }

    /// Broadband velocity, mm/s RMS, or why there is none.
    fn velocity(&self, spectrum: &Spectrum, speed_hz: Option<f64>) -> Result<f64, &'static str> {
        let slow = speed_hz.is_some_and(|hz| hz < SLOW_HZ);
        let (lo_hz, secs_min) = if slow { (2.0, 8.0) } else { (10.0, 1.0) };
        let secs = 1.0 / spectrum.df_hz;
        if self.kind == SensorKind::Sound {
            Err("a microphone measures no velocity")
        } else if self.unit != Unit::MetersPerSecond2 {
            Err("the unit says nothing absolute: calibrate the sensor in m/s2 or g")
        } else if self.rate_hz <= 2.0 * VELOCITY_HI_HZ {
            Err("rate too low: velocity up to 1000 Hz needs more than 2000 samples a second")
        } else if secs < 0.999 * secs_min && slow {
            Err("record too short: below 600 r/min velocity from 2 Hz on needs 8 s")
        } else if secs < 0.999 * secs_min {
            Err("record too short: velocity from 10 Hz on needs 1 s")
        } else {
            Ok(1000.0
                * velocity_mean_square(&spectrum.power, spectrum.df_hz, lo_hz, VELOCITY_HI_HZ)
                    .sqrt())
        }
    }

    /// Velocity that only rises towards 0 Hz and dwarfs the rest: a settling sensor, a loose cable.
    fn has_ski_slope(&self, spectrum: &Spectrum) -> bool {
        let df = spectrum.df_hz;
        if !self.unit.is_acceleration() || self.rate_hz <= 2.0 * VELOCITY_HI_HZ || df > 0.5 {
            return false;
        }
        let part = |lo, hi| velocity_mean_square(&spectrum.power, df, lo, hi);
        let (low, mid, high) = (part(2.0, 3.42), part(3.42, 5.85), part(5.85, 10.0));
        low > mid && mid > high && low + mid + high > 10.0 * part(10.0, VELOCITY_HI_HZ)
    }

    /// The chosen bands, the most impulsive first, then all up to bin `top_bin` pre-whitened.
    fn measure_envelopes(&mut self, x: &[f32], top_bin: usize, envelopes: &mut Vec<Envelope>) {
        let (n, df) = (self.fft.n(), self.df_hz());
        self.chooser.best(top_bin as f64 * df, N_CHOSEN, &mut self.chosen);
        self.spare.append(envelopes);
        envelopes.extend((0..=self.chosen.len()).map(|_| self.spare.pop().unwrap_or_default()));
        let bins = self.fft.bins();
        for (choice, envelope) in self.chosen.iter().zip(envelopes.iter_mut()) {
            let first = ((choice.band_hz.0 / df).ceil() as usize).max(1);
            let last = ((choice.band_hz.1 / df) as usize).min(bins.len() - 2);
            envelope.band_hz = choice.band_hz;
            envelope.prewhitened = false;
            envelope.impulsiveness = choice.kurtosis;
            fill(&mut self.demodulator, choice.level, &bins[first..=last], n, df, envelope);
        }
        // Where there is little else, whitening would make one great knock of the ends that do not meet.
        let bins = self.fft.run(|input| {
            detrend(x, input);
            taper(input);
        });
        let inner = &bins[1..(top_bin + 1).max(2).min(bins.len() - 1)];
        let envelope = &mut envelopes[self.chosen.len()];
        envelope.band_hz = (df, inner.len() as f64 * df);
        envelope.prewhitened = true;
        envelope.impulsiveness = fill(&mut self.demodulator, self.full_idx, inner, n, df, envelope);
    }
}

/// Both ends let fade over `TAPER_SHARE` of the record each, by half a cosine (Tukey's window).
fn taper(x: &mut [f32]) {
    let n_taper = (TAPER_SHARE * x.len() as f64) as usize;
    for at in 0..n_taper {
        let phase = std::f64::consts::PI * (at as f64 + 0.5) / n_taper as f64;
        let weight = (0.5 - 0.5 * phase.cos()) as f32;
        x[at] *= weight;
        x[x.len() - 1 - at] *= weight;
    }
}

/// The last bin below which all but `EMPTY_SHARE` of the power lies.
fn top_bin(power: &[f32]) -> usize {
    let all: f64 = power.iter().map(|power| f64::from(*power)).sum();
    let mut above = 0.0;
    let is_empty = |power: &&f32| {
        above += f64::from(**power);
        above <= EMPTY_SHARE * all
    };
    power.len() - 1 - power.iter().rev().take_while(is_empty).count().min(power.len() - 1)
}

/// The spectrum of one envelope; gives its kurtosis.
fn fill(
    demodulator: &mut Demodulator,
    zoom_idx: usize,
    bins: &[Complex32],
    n: usize,
    df_hz: f64,
    envelope: &mut Envelope,
) -> f32 {
    let out = &mut envelope.spectrum.power;
    envelope.spectrum.df_hz = df_hz;
    demodulator.run(zoom_idx, bins, n, envelope.prewhitened, out).1
}
