//! Which bands are worth demodulating: those where something knocks again and again.

use std::sync::Arc;

use rustfft::Fft as ComplexFft;

use super::{Complex32, hann, plans};

/// The record is cut into so many stretches and the middle one counts: one single knock, however
/// hard, makes one stretch impulsive and no more.
const N_STRETCHES: usize = 8;
/// Frames a stretch needs for its kurtosis to mean something.
const N_FRAMES_MIN: usize = 24;
/// Samples transformed in one go.
const BATCH: usize = 2048;

/// A band and how impulsive it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Which level of the tree, 0 the widest bands.
    pub level: usize,
    /// Lower and upper edge, Hz.
    pub band_hz: (f64, f64),
    /// Spectral kurtosis, 0 for Gaussian noise, -1 for a sine.
    pub kurtosis: f32,
}

/// Spectral kurtosis of every band of a tree of ever narrower ones, by short FFTs.
///
/// # Source
/// `SK = <|X|^4>/<|X|^2>^2 - 2`: Antoni, MSSP 20 (2006) 282-307; one window length per level:
/// Antoni and Randall, MSSP 20 (2006) 308-331. The median over stretches is ours.
pub struct Chooser {
    rate_hz: f64,
    levels: Vec<Level>,
    found: Vec<Choice>,
}

/// Bands of one width: those of the bins of an FFT with a Hann window, two bins wide.
struct Level {
    n_fft: usize,
    plan: Arc<dyn ComplexFft<f32>>,
    window: Vec<f32>,
    n_stretches: usize,
    /// Pairs of frames transformed together: one is the real part, the next the imaginary.
    pairs: Vec<Complex32>,
    scratch: Vec<Complex32>,
    sum2: Vec<f32>,
    sum4: Vec<f32>,
    /// `[n_bins, n_stretches]`.
    kurtosis: Vec<f32>,
}

impl Chooser {
    /// For records of `n` samples; levels go from an eighth of the rate down to bands of about
    /// `width_hz_min`, and end where the record is too short for them. There may be none.
    pub fn new(rate_hz: f64, n: usize, width_hz_min: f64) -> Self {
        let levels: Vec<Level> = (4..10)
            .map(|log2| 1usize << log2)
            .take_while(|&n_fft| n_fft <= 32 || 2.0 * rate_hz / n_fft as f64 >= width_hz_min)
            .filter_map(|n_fft| Level::new(n_fft, n))
            .collect();
        let n_bands = levels.iter().map(Level::n_bins).sum();
        Self { rate_hz, levels, found: Vec::with_capacity(n_bands) }
    }

    /// Width of the bands of each level, Hz.
    pub fn widths_hz(&self) -> impl Iterator<Item = f64> + '_ {
        self.levels.iter().map(|level| 2.0 * self.rate_hz / level.n_fft as f64)
    }

    /// Looks at the record `x`.
    pub fn run(&mut self, x: &[f32]) {
        self.found.clear();
        for (level_idx, level) in self.levels.iter_mut().enumerate() {
            level.run(x);
            let df = self.rate_hz / level.n_fft as f64;
            for k in 1..level.n_bins() - 1 {
                let band_hz = ((k - 1) as f64 * df, (k + 1) as f64 * df);
                let kurtosis = level.middle(k);
                self.found.push(Choice { level: level_idx, band_hz, kurtosis });
            }
        }
        self.found.sort_unstable_by(|a, b| {
            let order = b.kurtosis.total_cmp(&a.kurtosis).then(a.level.cmp(&b.level));
            order.then(a.band_hz.0.total_cmp(&b.band_hz.0))
        });
    }

    /// Its `n_max` most impulsive bands centred below `top_hz`, none in another, most impulsive first.
    pub fn best(&self, top_hz: f64, n_max: usize, out: &mut Vec<Choice>) {
        out.clear();
        for choice in self.found.iter().filter(|choice| centre_hz(choice) < top_hz) {
            if out.len() == n_max {
                break;
            }
            if !out.iter().any(|chosen| overlap(chosen, choice)) {
                out.push(*choice);
            }
        }
    }
}

fn centre_hz(choice: &Choice) -> f64 {
    f64::midpoint(choice.band_hz.0, choice.band_hz.1)
}

/// Whether one's centre lies within the other.
fn overlap(a: &Choice, b: &Choice) -> bool {
    let within = |hz: f64, c: &Choice| hz > c.band_hz.0 && hz < c.band_hz.1;
    within(centre_hz(a), b) || within(centre_hz(b), a)
}

impl Level {
    fn new(n_fft: usize, n: usize) -> Option<Self> {
        let n_frames = (n / (n_fft / 2)).saturating_sub(1);
        let n_stretches = (n_frames / N_FRAMES_MIN).min(N_STRETCHES);
        let plan = plans::forward(n_fft);
        let n_bins = n_fft / 2 + 1;
        (n_stretches > 0).then(|| Self {
            n_fft,
            window: hann(n_fft),
            n_stretches,
            pairs: vec![Complex32::ZERO; BATCH.max(n_fft)],
            scratch: vec![Complex32::ZERO; plan.get_inplace_scratch_len()],
            sum2: vec![0.0; n_bins],
            sum4: vec![0.0; n_bins],
            kurtosis: vec![0.0; n_bins * n_stretches],
            plan,
        })
    }

    fn n_bins(&self) -> usize {
        self.n_fft / 2 + 1
    }

    fn run(&mut self, x: &[f32]) {
        let hop = self.n_fft / 2;
        let n_frames = (x.len() / hop).saturating_sub(1) / self.n_stretches;
        let n_pairs = n_frames / 2;
        for stretch_idx in 0..self.n_stretches {
            self.sum2.fill(0.0);
            self.sum4.fill(0.0);
            let stretch = &x[stretch_idx * n_frames * hop..][..(2 * n_pairs + 1) * hop];
            let pairs_max = self.pairs.len() / self.n_fft;
            for first in (0..n_pairs).step_by(pairs_max) {
                let n = pairs_max.min(n_pairs - first);
                self.add(&stretch[2 * first * hop..][..(2 * n + 1) * hop], n);
            }
            for (k, (&s2, &s4)) in self.sum2.iter().zip(&self.sum4).enumerate() {
                let kurtosis = if s2 > 0.0 { s4 * n_pairs as f32 / (s2 * s2) - 2.0 } else { 0.0 };
                self.kurtosis[k * self.n_stretches + stretch_idx] = kurtosis;
            }
        }
        for row in self.kurtosis.chunks_mut(self.n_stretches) {
            row.sort_unstable_by(f32::total_cmp);
        }
    }

    /// Adds `n` pairs of frames to the sums; `x` holds `2 n + 1` hops.
    fn add(&mut self, x: &[f32], n: usize) {
        let (n_fft, hop) = (self.n_fft, self.n_fft / 2);
        let pairs = &mut self.pairs[..n * n_fft];
        for (pair, x) in pairs.chunks_exact_mut(n_fft).zip(x.windows(n_fft + hop).step_by(n_fft)) {
            let frames = x.iter().zip(&x[hop..]).zip(&self.window);
            for (z, ((&a, &b), &w)) in pair.iter_mut().zip(frames) {
                *z = Complex32::new(a * w, b * w);
            }
        }
        self.plan.process_with_scratch(pairs, &mut self.scratch);
        for pair in pairs.chunks_exact(n_fft) {
            // The even part is the first frame's spectrum, the odd part the second's: their powers are
            // u + v and u - v, times a constant the kurtosis does not see. 0 Hz and half the rate are
            // no band's middle.
            let sums = self.sum2[1..hop].iter_mut().zip(&mut self.sum4[1..hop]);
            let ends = pair[1..hop].iter().zip(pair[hop + 1..].iter().rev());
            for ((s2, s4), (z, mirror)) in sums.zip(ends) {
                let u = z.re * z.re + z.im * z.im + mirror.re * mirror.re + mirror.im * mirror.im;
                let v = 2.0 * (z.re * mirror.re - z.im * mirror.im);
                *s2 += u;
                *s4 += u * u + v * v;
            }
        }
    }

    /// Lower median over the stretches for bin `k`.
    fn middle(&self, k: usize) -> f32 {
        self.kurtosis[k * self.n_stretches + (self.n_stretches - 1) / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn noise(i: usize) -> f32 {
        let mut z = (i as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    }

    /// Ringing at `hz` every `every` samples, in noise.
    fn knocks(n: usize, every: usize, hz: f64) -> Vec<f32> {
        (0..n)
            .map(|i| {
                let tau = (i % every) as f64 / 20_000.0;
                noise(i) + 0.8 * ((-800.0 * tau).exp() * (TAU * hz * tau).sin()) as f32
            })
            .collect()
    }

    fn best(x: &[f32]) -> Choice {
        let mut out = Vec::new();
        let mut chooser = Chooser::new(20_000.0, x.len(), 400.0);
        chooser.run(x);
        chooser.best(10_000.0, 3, &mut out);
        assert_eq!(out.len(), 3);
        assert!(!overlap(&out[0], &out[1]) && out[0].kurtosis >= out[1].kurtosis);
        out[0]
    }

    #[test]
    fn the_band_that_rings_is_found() {
        for hz in [2200.0, 3500.0, 7100.0] {
            let best = best(&knocks(80_000, 187, hz));
            assert!(best.band_hz.0 < hz && hz < best.band_hz.1, "{hz}: {best:?}");
            assert!(best.kurtosis > 0.5, "{best:?}");
        }
    }

    #[test]
    fn noise_is_not_impulsive_and_one_knock_does_not_count() {
        let mut x: Vec<f32> = (0..80_000).map(noise).collect();
        let quiet = best(&x);
        assert!(quiet.kurtosis < 0.6, "{quiet:?}");
        x[33_000] = 1000.0;
        let struck = best(&x);
        assert!(struck.kurtosis < 0.6, "{struck:?}");
    }

    #[test]
    fn a_record_too_short_has_no_bands() {
        let mut out = Vec::new();
        let mut chooser = Chooser::new(1000.0, 60, 400.0);
        chooser.run(&[0.0; 60]);
        chooser.best(500.0, 3, &mut out);
        assert!(out.is_empty());
    }
}
