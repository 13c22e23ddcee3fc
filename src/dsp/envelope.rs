//! Demodulation of a band and the spectrum of its squared envelope.

use std::sync::Arc;

use realfft::RealToComplex;
use rustfft::Fft as ComplexFft;

use super::work::{Room, Work};
use super::{Complex32, plans, quick_up};

/// Sums side by side, so that the loop becomes vector code.
const LANES: usize = 8;

/// Squared envelopes of bands of one record, straight from the bins of its FFT.
///
/// The band's positive bins, doubled, are the analytic signal (Ho and Randall 2000). They are moved
/// down to 0 Hz and transformed back at a rate at which no bin of the squared magnitude that is asked
/// for has another folded onto it: the band's width and the highest frequency asked for together. No
/// filter, no aliasing, no loss of resolution.
pub struct Demodulator {
    zooms: Vec<Zoom>,
}

/// A plan for bands of up to `width` bins.
struct Zoom {
    width: usize,
    /// Bins of the envelope's spectrum that are given.
    n_out: usize,
    inverse: Arc<dyn ComplexFft<f32>>,
    forward: Arc<dyn RealToComplex<f32>>,
}

impl Demodulator {
    /// `widths`: for each kind of band, how many bins it has; `n_out_max`: bins wanted of the spectrum
    /// of an envelope, at the most.
    pub fn new(widths: &[usize], n_out_max: usize) -> Self {
        Self { zooms: widths.iter().map(|&width| Zoom::new(width, n_out_max)).collect() }
    }

    /// Squared envelope of the band `bins` by plan `zoom_idx`, and its spectrum.
    ///
    /// `bins`: the record's positive-frequency bins in the band, at most as many as the plan's
    /// width; `n`: samples in the record; `whiten`: every bin is set to magnitude one before
    /// (cepstrum pre-whitening: Borghesani et al., MSSP 36 (2013) 370-384). `out`: mean square per
    /// bin of the squared envelope less its mean, as many bins as planned and at most the band's,
    /// spaced as the record's. Returns the envelope's mean and the kurtosis of the analytic signal,
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
        out: &mut Vec<f32>,
    ) -> (f64, f32) {
        let zoom = &self.zooms[zoom_idx];
        assert!(bins.len() <= zoom.width, "{} bins in a band of {}", bins.len(), zoom.width);
        zoom.room().with(|work| zoom.run(bins, n, whiten, work, out))
    }
}

impl Zoom {
    fn new(width: usize, n_out_max: usize) -> Self {
        let n_out = n_out_max.min(width);
        let m = quick_up((width + n_out).max(4));
        Self { width, n_out, inverse: plans::inverse(m), forward: plans::real(m) }
    }

    fn room(&self) -> Room {
        let m = self.inverse.len();
        let scratch = self.inverse.get_inplace_scratch_len().max(self.forward.get_scratch_len());
        Room { real: m, signal: m, bins: m / 2 + 1, scratch }
    }

    fn run(
        &self,
        bins: &[Complex32],
        n: usize,
        whiten: bool,
        work: &mut Work,
        out: &mut Vec<f32>,
    ) -> (f64, f32) {
        let m = self.inverse.len();
        let (signal, squares) = (&mut work.signal[..m], &mut work.real[..m]);
        let (band, rest) = signal.split_at_mut(bins.len());
        rest.fill(Complex32::ZERO);
        if whiten {
            for (signal, bin) in band.iter_mut().zip(bins) {
                let norm = (bin.re * bin.re + bin.im * bin.im).sqrt();
                *signal = *bin * (1.0 / norm.max(f32::MIN_POSITIVE));
            }
        } else {
            let scale = 2.0 / n as f32;
            band.iter_mut().zip(bins).for_each(|(signal, bin)| *signal = *bin * scale);
        }
        self.inverse.process_with_scratch(signal, &mut work.scratch);
        let (mean, fourth) = square(signal, squares);
        for square in squares.iter_mut() {
            *square -= mean as f32;
        }
        let spectrum = &mut work.bins[..=m / 2];
        let done = self.forward.process_with_scratch(squares, spectrum, &mut work.scratch);
        debug_assert!(done.is_ok(), "all buffers are as long as the plan wants them");
        out.clear();
        let scale = 2.0 / (m as f32 * m as f32);
        let used = self.n_out.min(bins.len()).min(spectrum.len());
        out.extend(spectrum[..used].iter().map(|bin| bin.norm_sqr() * scale));
        if let Some(first) = out.first_mut() {
            *first = 0.0;
        }
        let kurtosis = if mean > 0.0 { (fourth / (mean * mean) - 2.0) as f32 } else { 0.0 };
        (mean, kurtosis)
    }
}

/// Squared magnitudes; gives their mean and mean square.
fn square(signal: &[Complex32], out: &mut [f32]) -> (f64, f64) {
    let (mut sum, mut sum2) = (0.0, 0.0);
    for (signal, out) in signal.chunks(LANES * 32).zip(out.chunks_mut(LANES * 32)) {
        for (out, x) in out.iter_mut().zip(signal) {
            *out = x.re * x.re + x.im * x.im;
        }
        let (mut s, mut s2) = ([0f32; LANES], [0f32; LANES]);
        let (rows, rest) = out.as_chunks::<LANES>();
        for row in rows {
            for i in 0..LANES {
                s[i] += row[i];
                s2[i] += row[i] * row[i];
            }
        }
        for (i, x) in rest.iter().enumerate() {
            s[i] += x;
            s2[i] += x * x;
        }
        sum += s.iter().map(|&v| v as f64).sum::<f64>();
        sum2 += s2.iter().map(|&v| v as f64).sum::<f64>();
    }
    let m = signal.len() as f64;
    (sum / m, sum2 / m)
}

#[cfg(test)]
mod tests;
