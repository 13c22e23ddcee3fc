//! Power spectra, scaled so that their sum is the mean square of the signal.

use std::f64::consts::TAU;

use super::{Complex32, Fft, hann};

/// Mean square of a periodic Hann window.
const HANN_MEAN_SQUARE: f64 = 0.375;

/// Averaged power spectrum of overlapping Hann segments.
///
/// # Source
/// Welch, IEEE Trans. Audio Electroacoust. 15 (1967) 70-73; powers are averaged, never magnitudes.
pub struct Welch {
    fft: Fft,
    window: Vec<f32>,
    hop: usize,
}

impl Welch {
    /// Segments of `n` samples (at least 4), each `hop` (at least 1) after the one before.
    ///
    /// # Panics
    /// If `n` or `hop` is too small: a bug in the caller.
    pub fn new(n: usize, hop: usize) -> Self {
        assert!(n >= 4 && hop >= 1, "segments of {n} samples every {hop}");
        Self { fft: Fft::new(n), window: hann(n), hop }
    }

    /// Bins of the spectrum.
    pub fn n_bins(&self) -> usize {
        self.fft.n_bins()
    }

    /// Samples per segment.
    pub fn n(&self) -> usize {
        self.fft.n()
    }

    /// Average over all whole segments in `x` less `mean`: mean square per bin into `out`
    /// `[n_bins]`. Returns how many segments there were; with none `out` is all zero.
    pub fn average(&mut self, x: &[f32], mean: f32, out: &mut Vec<f32>) -> usize {
        let n = self.fft.n();
        out.clear();
        out.resize(self.fft.n_bins(), 0.0);
        let mut n_segments = 0;
        for segment in x.windows(n).step_by(self.hop) {
            let window = &self.window;
            let bins = self.fft.run(|input| {
                for ((input, &x), &w) in input.iter_mut().zip(segment).zip(window) {
                    *input = (x - mean) * w;
                }
            });
            for (out, bin) in out.iter_mut().zip(bins) {
                *out += bin.norm_sqr();
            }
            n_segments += 1;
        }
        let norm = HANN_MEAN_SQUARE * (n * n) as f64 * n_segments.max(1) as f64;
        one_sided(out, n, norm);
        n_segments
    }
}

/// Hann-windowed power spectrum of `n` samples from the bins of their FFT without a window.
///
/// `bins`: `[n / 2 + 1]`; `out` gets as many: mean square per bin. The window is applied as its
/// convolution `-1/4, 1/2, -1/4`, which is the periodic Hann exactly.
pub fn hann_power(bins: &[Complex32], n: usize, out: &mut Vec<f32>) {
    let last = bins.len() - 1;
    out.clear();
    // Past either end the spectrum goes on as its own mirror image.
    out.push((bins[0].re * 0.5 - bins[1.min(last)].re * 0.5).powi(2));
    if let (Some(below), Some(here)) = (bins.get(..last - 1), bins.get(1..last)) {
        let around = below.iter().zip(here).zip(&bins[2..]);
        out.extend(around.map(|((a, b), c)| {
            let (re, im) = (b.re * 0.5 - (a.re + c.re) * 0.25, b.im * 0.5 - (a.im + c.im) * 0.25);
            re * re + im * im
        }));
    }
    out.resize(bins.len(), 0.0);
    let beyond = if n.is_multiple_of(2) { bins[last - 1].conj() } else { bins[last].conj() };
    out[last] = (bins[last] * 0.5 - (bins[last - 1] + beyond) * 0.25).norm_sqr();
    one_sided(out, n, HANN_MEAN_SQUARE * (n * n) as f64);
}

/// Mean square of the velocity from a power spectrum of acceleration, within `lo_hz..=hi_hz`.
///
/// `power`: m/s2 squared per bin, bin `k` at `k * df_hz`. Gives (m/s) squared. Hard band edges.
///
/// # Source
/// Parseval on `V(f) = A(f) / (2 pi j f)`; bands of ISO 20816-1.
pub fn velocity_mean_square(power: &[f32], df_hz: f64, lo_hz: f64, hi_hz: f64) -> f64 {
    let first = ((lo_hz / df_hz - 1e-9).ceil() as usize).max(1);
    let last = ((hi_hz / df_hz + 1e-9).floor() as usize).min(power.len().saturating_sub(1));
    (first..=last).map(|k| power[k] as f64 / (TAU * k as f64 * df_hz).powi(2)).sum()
}

/// Folds the negative frequencies in and scales.
fn one_sided(power: &mut [f32], n: usize, norm: f64) {
    let (once, twice) = ((1.0 / norm) as f32, (2.0 / norm) as f32);
    let last = power.len() - 1;
    for (k, p) in power.iter_mut().enumerate() {
        let alone = k == 0 || (k == last && n.is_multiple_of(2));
        *p *= if alone { once } else { twice };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::detrend;

    fn sine(n: usize, rate: f64, hz: f64, amplitude: f64) -> Vec<f32> {
        (0..n).map(|i| (amplitude * (TAU * hz * i as f64 / rate).sin()) as f32).collect()
    }

    #[test]
    fn the_sum_of_a_sines_spectrum_is_half_its_amplitude_squared() {
        for n in [1000, 1001] {
            let x = sine(n, 1000.0, 123.4, 3.0);
            let mut fft = Fft::new(n);
            let mut power = Vec::new();
            hann_power(fft.run(|input| input.copy_from_slice(&x)), n, &mut power);
            let sum: f32 = power.iter().sum();
            assert!((sum - 4.5).abs() < 2e-3, "{n}: {sum}");
        }
    }

    #[test]
    fn a_window_by_convolution_is_the_window() {
        for n in [16, 17, 250] {
            let x: Vec<f32> = (0..n).map(|i| ((i * i * 31) % 97) as f32 - 48.0).collect();
            let mut slow = Vec::new();
            Welch::new(n, 1).average(&x, 0.0, &mut slow);
            let mut fast = Vec::new();
            hann_power(Fft::new(n).run(|input| input.copy_from_slice(&x)), n, &mut fast);
            for k in 0..slow.len() {
                assert!((slow[k] - fast[k]).abs() < 1e-3 * (1.0 + slow[k]), "{n} bin {k}");
            }
        }
    }

    #[test]
    fn one_g_at_omega_1000_is_6_934_mm_per_s() {
        let check = |secs: usize, hz: f64, expect: f64| {
            let n = 25_600 * secs;
            let mut x = vec![0.0; n];
            detrend(&sine(n, 25_600.0, hz, 9.80665), &mut x);
            let mut power = Vec::new();
            hann_power(Fft::new(n).run(|input| input.copy_from_slice(&x)), n, &mut power);
            let v2 = velocity_mean_square(&power, 1.0 / secs as f64, 10.0, 1000.0);
            let v = v2.sqrt() * 1000.0;
            assert!((v - expect).abs() < 2e-4 * expect.max(5.0), "{secs} s, {hz} Hz: {v}");
        };
        check(1, 159.155, 6.9345);
        check(2, 159.155, 6.9344);
        check(4, 159.155, 6.9344);
        check(1, 5.0, 0.0156);
        check(1, 7.3, 1.4568);
        check(2, 7.3, 0.2219);
    }
}
