//! Demodulation of a band and the spectrum of its squared envelope.

use std::sync::Arc;

use rustfft::{Fft as ComplexFft, FftPlanner};

use super::{Complex32, Fft, smooth_up};

/// Sums side by side, so that the loop becomes vector code.
const LANES: usize = 8;

/// Squared envelopes of bands of one record, straight from the bins of its FFT.
///
/// The band's positive bins, doubled, are the analytic signal (Ho and Randall 2000). They are moved
/// down to 0 Hz and transformed back at no less than twice the band's width, which the squared
/// magnitude needs and which is exact: no filter, no aliasing, no loss of resolution.
pub struct Demodulator {
    zooms: Vec<Zoom>,
}

/// A plan for bands of up to `width` bins.
struct Zoom {
    width: usize,
    inverse: Arc<dyn ComplexFft<f32>>,
    signal: Vec<Complex32>,
    scratch: Vec<Complex32>,
    forward: Fft,
}

impl Demodulator {
    /// `widths`: for each kind of band, how many bins it has.
    pub fn new(widths: &[usize]) -> Self {
        Self { zooms: widths.iter().map(|&width| Zoom::new(width)).collect() }
    }

    /// Squared envelope of the band `bins` by plan `zoom_idx`, and its spectrum.
    ///
    /// `bins`: the record's positive-frequency bins in the band, at most as many as the plan's
    /// width; `n`: samples in the record; `whiten`: every bin is set to magnitude one before
    /// (cepstrum pre-whitening: Borghesani et al., MSSP 36 (2013) 370-384). `out`: mean square per
    /// bin of the squared envelope less its mean, at most `n_out_max` bins, spaced as the record's.
    /// Returns the envelope's mean and the kurtosis of the analytic signal,
    /// `<e^4>/<e^2>^2 - 2`: 0 for Gaussian noise, -1 for a sine.
    ///
    /// # Panics
    /// If there are more bins than planned for: a bug in the caller.
    pub fn run(
        &mut self,
        zoom_idx: usize,
        bins: &[Complex32],
        n: usize,
        whiten: bool,
        n_out_max: usize,
        out: &mut Vec<f32>,
    ) -> (f64, f32) {
        let zoom = &mut self.zooms[zoom_idx];
        assert!(bins.len() <= zoom.width, "{} bins in a band of {}", bins.len(), zoom.width);
        let scale = 2.0 / n as f32;
        zoom.signal.fill(Complex32::ZERO);
        for (signal, bin) in zoom.signal.iter_mut().zip(bins) {
            *signal = *bin * scale;
        }
        if whiten {
            for signal in &mut zoom.signal[..bins.len()] {
                let norm = (signal.re * signal.re + signal.im * signal.im).sqrt();
                *signal *= 1.0 / norm.max(f32::MIN_POSITIVE);
            }
        }
        zoom.inverse.process_with_scratch(&mut zoom.signal, &mut zoom.scratch);
        let (mean, fourth) = zoom.square();
        let m = zoom.signal.len();
        let signal = &zoom.signal;
        let spectrum = zoom.forward.run(|input| {
            for (input, x) in input.iter_mut().zip(signal) {
                *input = x.re - mean as f32;
            }
        });
        out.clear();
        let scale = 2.0 / (m as f32 * m as f32);
        let used = n_out_max.min(bins.len());
        out.extend(spectrum[..used.min(spectrum.len())].iter().map(|b| b.norm_sqr() * scale));
        if let Some(first) = out.first_mut() {
            *first = 0.0;
        }
        let kurtosis = if mean > 0.0 { (fourth / (mean * mean) - 2.0) as f32 } else { 0.0 };
        (mean, kurtosis)
    }
}

impl Zoom {
    fn new(width: usize) -> Self {
        let m = smooth_up(2 * width.max(2));
        let inverse = FftPlanner::new().plan_fft_inverse(m);
        let scratch = vec![Complex32::ZERO; inverse.get_inplace_scratch_len()];
        Self { width, inverse, signal: vec![Complex32::ZERO; m], scratch, forward: Fft::new(m) }
    }

    /// Puts the squared magnitude into the real part; gives its mean and mean square.
    fn square(&mut self) -> (f64, f64) {
        let (mut sum, mut sum2) = (0.0, 0.0);
        for block in self.signal.chunks_mut(LANES * 32) {
            let (mut s, mut s2) = ([0f32; LANES], [0f32; LANES]);
            let (rows, rest) = block.as_chunks_mut::<LANES>();
            for row in rows {
                for (i, x) in row.iter_mut().enumerate() {
                    x.re = x.re * x.re + x.im * x.im;
                    s[i] += x.re;
                    s2[i] += x.re * x.re;
                }
            }
            for (i, x) in rest.iter_mut().enumerate() {
                x.re = x.re * x.re + x.im * x.im;
                s[i] += x.re;
                s2[i] += x.re * x.re;
            }
            sum += s.iter().map(|&v| v as f64).sum::<f64>();
            sum2 += s2.iter().map(|&v| v as f64).sum::<f64>();
        }
        let m = self.signal.len() as f64;
        (sum / m, sum2 / m)
    }
}

#[cfg(test)]
mod tests;
