//! The mel filter bank and the log-mel spectrum, hop by hop.

use std::sync::Arc;

use super::{Fft, hann};

/// Filters come in rows padded to this many weights, so that the loop over them is vector code.
const LANES: usize = 8;
/// A filter must catch this share of its area on the FFT's grid to count as filled.
const COVERAGE_MIN: f64 = 0.5;

/// Triangular filters on the Slaney mel scale, each of area one, from 0 Hz to half the rate.
///
/// # Source
/// Slaney, Auditory Toolbox (1998); `librosa.filters.mel(norm="slaney", htk=False)`, which it equals.
pub struct MelBank {
    edges_hz: Arc<[(f32, f32)]>,
    /// Of each row: first bin and number of lane groups.
    rows: Vec<(usize, usize)>,
    weights: Vec<[f32; LANES]>,
    n_bins: usize,
    filled: bool,
}

impl MelBank {
    /// `n_bands` filters for FFTs of `n_fft` samples at `rate_hz`.
    pub fn new(rate_hz: f64, n_fft: usize, n_bands: usize) -> Self {
        let top = hz_to_mel(rate_hz / 2.0);
        let hz = |i: usize| mel_to_hz(top * i as f64 / (n_bands + 1) as f64);
        let df = rate_hz / n_fft as f64;
        let n_bins = n_fft / 2 + 1;
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        let mut filled = true;
        for band in 0..n_bands {
            let (lo, mid, hi) = (hz(band), hz(band + 1), hz(band + 2));
            let weight = |k: usize| {
                let f = k as f64 * df;
                let slope = ((f - lo) / (mid - lo)).min((hi - f) / (hi - mid));
                slope.max(0.0) * 2.0 / (hi - lo)
            };
            let first = ((lo / df) as usize..n_bins).find(|&k| weight(k) > 0.0).unwrap_or(0);
            let row: Vec<f64> =
                (first..n_bins).map(weight).take_while(|&weight| weight > 0.0).collect();
            filled &= row.iter().sum::<f64>() * df >= COVERAGE_MIN;
            rows.push((first, row.len().div_ceil(LANES)));
            weights.extend(row.chunks(LANES).map(|chunk| {
                std::array::from_fn(|i| chunk.get(i).map_or(0.0, |&weight| weight as f32))
            }));
        }
        let edges_hz = (0..n_bands).map(|i| (hz(i) as f32, hz(i + 2) as f32)).collect();
        Self { edges_hz, rows, weights, n_bins, filled }
    }

    /// Whether every filter has bins enough to stand for its band; an empty one would be a constant.
    pub fn is_filled(&self) -> bool {
        self.filled
    }

    /// Lower and upper edge of each band, Hz.
    pub fn edges_hz(&self) -> &Arc<[(f32, f32)]> {
        &self.edges_hz
    }

    /// Length a power spectrum must have for [`MelBank::run`]: its bins, then zeros.
    fn padded_bins(&self) -> usize {
        self.n_bins + LANES
    }

    /// Filters `power` `[padded_bins]` into `out` `[n_bands]`.
    fn run(&self, power: &[f32], out: &mut [f32]) {
        let mut weights = self.weights.iter();
        for (out, &(first, n_groups)) in out.iter_mut().zip(&self.rows) {
            let groups = power[first..].as_chunks::<LANES>().0;
            let mut sums = [0f32; LANES];
            for (group, weights) in groups[..n_groups].iter().zip(weights.by_ref()) {
                (0..LANES).for_each(|i| sums[i] += group[i] * weights[i]);
            }
            let four: [f32; 4] = std::array::from_fn(|i| sums[i] + sums[i + 4]);
            *out = (four[0] + four[2]) + (four[1] + four[3]);
        }
    }
}

/// Mel power of one hop: Hann window (periodic), power of the FFT (not scaled), mel filters.
///
/// With `n_fft` 1024 at 16 kHz and 128 bands the frames are those of
/// `librosa.feature.melspectrogram(center=False, power=2.0)`.
pub struct LogMel {
    fft: Fft,
    window: Vec<f32>,
    bank: MelBank,
    power: Vec<f32>,
}

impl LogMel {
    /// For `n_fft` samples a hop.
    pub fn new(n_fft: usize, bank: MelBank) -> Self {
        let power = vec![0.0; bank.padded_bins()];
        Self { fft: Fft::new(n_fft), window: hann(n_fft), bank, power }
    }

    /// Samples a hop looks at.
    pub fn n_fft(&self) -> usize {
        self.fft.n()
    }

    /// The filters.
    pub fn bank(&self) -> &MelBank {
        &self.bank
    }

    /// Mel power of the samples `x` `[n_fft]` less `mean` into `out` `[n_bands]`.
    ///
    /// # Panics
    /// If a length is wrong: a bug in the caller.
    pub fn hop(&mut self, x: &[f32], mean: f32, out: &mut [f32]) {
        assert_eq!((x.len(), out.len()), (self.fft.n(), self.bank.rows.len()), "lengths of a hop");
        let window = &self.window;
        let bins = self.fft.run(|input| {
            for ((input, &x), &w) in input.iter_mut().zip(x).zip(window) {
                *input = (x - mean) * w;
            }
        });
        for (power, bin) in self.power.iter_mut().zip(bins) {
            *power = bin.norm_sqr();
        }
        self.bank.run(&self.power, out);
    }
}

/// Linear below 1 kHz, logarithmic above.
fn hz_to_mel(hz: f64) -> f64 {
    if hz < 1000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1000.0).ln() * 27.0 / 6.4f64.ln() }
}

fn mel_to_hz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::to_db;

    fn row(bank: &MelBank, band: usize) -> Vec<(usize, f32)> {
        let skip: usize = bank.rows[..band].iter().map(|row| row.1).sum();
        let (first, n_groups) = bank.rows[band];
        let weights = bank.weights[skip..skip + n_groups].iter().flatten();
        (first..).zip(weights.copied()).filter(|(_, weight)| *weight > 0.0).collect()
    }

    fn log_mel(n_fft: usize, rate_hz: f64) -> LogMel {
        LogMel::new(n_fft, MelBank::new(rate_hz, n_fft, 128))
    }

    #[test]
    fn the_filters_are_librosas() {
        let bank = MelBank::new(16_000.0, 1024, 128);
        let check = |band: usize, expect: &[(usize, f32)]| {
            let row = row(&bank, band);
            assert_eq!(row.len(), expect.len(), "{row:?}");
            for (got, want) in row.iter().zip(expect) {
                assert!(got.0 == want.0 && (got.1 - want.1).abs() < 1e-6, "{got:?} {want:?}");
            }
        };
        check(0, &[(1, 0.028578), (2, 0.028378)]);
        check(42, &[(63, 0.0040547), (64, 0.0316115), (65, 0.0246667)]);
        let edges = bank.edges_hz();
        assert!((edges[0].1 - 46.766).abs() < 1e-3 && edges[0].0 == 0.0);
        assert!((edges[127].0 - 7623.33).abs() < 1e-2 && (edges[127].1 - 8000.0).abs() < 1e-2);
        assert!(bank.is_filled());
        assert!(!MelBank::new(48_000.0, 1024, 256).is_filled());
    }

    #[test]
    fn a_cosine_has_the_level_librosa_gives_it() {
        let check = |hz: f64, amplitude: f64, expect: &[(usize, f32)]| {
            let mut log_mel = log_mel(1024, 16_000.0);
            let start = 150 * 512 - 512;
            let x: Vec<f32> = (start..start + 1024)
                .map(|i| amplitude * (std::f64::consts::TAU * hz * i as f64 / 16_000.0).cos())
                .map(|v| v as f32)
                .collect();
            let (mut power, mut db) = ([0.0; 128], [0.0; 128]);
            log_mel.hop(&x, 0.0, &mut power);
            to_db(&power, &mut db);
            for &(band, level) in expect {
                assert!((db[band] - level).abs() < 1.5e-4, "{hz} Hz, band {band}: {}", db[band]);
            }
        };
        check(1000.0, 1.0, &[(41, 31.1343), (42, 34.0522), (43, 24.2835)]);
        check(1000.0, 0.1, &[(42, 14.0522)]);
        check(440.0, 0.5, &[(18, 28.1511)]);
        check(440.0, 0.0, &[(0, -156.5356), (127, -156.5356)]);
    }

    /// Levels of `librosa.feature.melspectrogram` 0.11 (`center=False`, 128 bands) for one hop of
    /// `x[i] = u[i] / 2^32 - 1/2`, `u` from `u <- 1664525 u + 1013904223 mod 2^32`, seed 1.
    #[test]
    fn a_hop_of_noise_has_librosas_levels() {
        let check = |rate_hz: f64, n_fft: usize, expect: [f64; 7]| {
            let mut u = 1u32;
            let mut next = || {
                u = u.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (u as f64 / 4_294_967_296.0 - 0.5) as f32
            };
            let x: Vec<f32> = (0..n_fft).map(|_| next()).collect();
            let (mut power, mut db) = ([0.0; 128], [0.0; 128]);
            log_mel(n_fft, rate_hz).hop(&x, 0.0, &mut power);
            to_db(&power, &mut db);
            for (band, level) in [0, 1, 10, 42, 77, 100, 127].into_iter().zip(expect) {
                let off = db[band] as f64 - level;
                assert!(off.abs() < 1e-4, "{rate_hz} Hz, band {band}: off by {off} dB");
            }
        };
        check(16e3, 1024, [9.73668, 5.44822, 1.5587, -0.28961, -1.82696, 5.25275, 2.00632]);
        check(48e3, 4096, [12.14046, 7.06086, 13.07331, 9.99974, 9.09553, 9.18356, 10.58949]);
    }
}
