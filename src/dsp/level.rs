//! Third-octave bands and the A-weighting.

/// Sums of power over bands of a spectrum; bins on an edge are shared out.
pub struct BandSum {
    df_hz: f64,
    edges_hz: Vec<(f32, f32)>,
}

impl BandSum {
    /// For a spectrum with bins every `df_hz`.
    pub fn new(df_hz: f64, edges_hz: &[(f32, f32)]) -> Self {
        Self { df_hz, edges_hz: edges_hz.to_vec() }
    }

    /// Mean square per band: `power` per bin in, `out` `[n_bands]`. Bin `k` is taken to spread evenly
    /// from `(k - 1/2) df` to `(k + 1/2) df`.
    ///
    /// # Panics
    /// If `out` is not one per band: a bug in the caller.
    pub fn run(&self, power: &[f32], out: &mut [f32]) {
        assert_eq!(out.len(), self.edges_hz.len(), "one sum per band");
        for (out, &(lo, hi)) in out.iter_mut().zip(&self.edges_hz) {
            let lo = (lo as f64 / self.df_hz + 0.5).max(0.0);
            let hi = (hi as f64 / self.df_hz + 0.5).min(power.len() as f64);
            let (first, last) = (lo as usize, hi as usize);
            if first >= power.len() || hi <= lo {
                *out = 0.0;
                continue;
            }
            let mut sum: f64 = power[first..last].iter().map(|&p| p as f64).sum();
            sum -= power[first] as f64 * (lo - first as f64);
            if last < power.len() {
                sum += power[last] as f64 * (hi - last as f64);
            }
            *out = sum as f32;
        }
    }
}

/// Edges of the third-octave bands, Hz, that lie whole below `nyquist_hz` and are at least
/// `width_hz_min` wide; midbands from 1 Hz to 100 kHz.
///
/// # Source
/// IEC 61260-1:2014, base ten: midband `1000 * 10^(x/10)`, edges at `10^(-1/20)` and `10^(1/20)`.
pub fn third_octaves(nyquist_hz: f64, width_hz_min: f64) -> Vec<(f32, f32)> {
    let half = 10f64.powf(0.05);
    (-30..=20)
        .map(|x| 1000.0 * 10f64.powf(x as f64 / 10.0))
        .map(|mid| (mid / half, mid * half))
        .filter(|(lo, hi)| *hi <= nyquist_hz && hi - lo >= width_hz_min)
        .map(|(lo, hi)| (lo as f32, hi as f32))
        .collect()
}

/// A-weighting of power for bins every `df_hz`: 1 at 1 kHz, 0 at 0 Hz.
///
/// # Source
/// IEC 61672-1:2013, annex E.
pub fn a_weights(n_bins: usize, df_hz: f64) -> Vec<f32> {
    let response = |f: f64| {
        let f2 = f * f;
        let tops = 12194f64.powi(2) * f2 * f2;
        let low = (f2 + 20.6f64.powi(2)) * (f2 + 12194f64.powi(2));
        tops / (low * ((f2 + 107.7f64.powi(2)) * (f2 + 737.9f64.powi(2))).sqrt())
    };
    let at_1k = response(1000.0);
    (0..n_bins).map(|k| (response(k as f64 * df_hz) / at_1k).powi(2) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weighting_is_that_of_the_standard() {
        let weights = a_weights(1601, 10.0);
        let check = |hz: usize, expect: f32| {
            let db = 10.0 * weights[hz / 10].log10();
            assert!((db - expect).abs() < 0.06, "{hz} Hz: {db}");
        };
        for (hz, db) in [(20, -50.4), (50, -30.3), (100, -19.1), (250, -8.7), (500, -3.25)] {
            check(hz, db);
        }
        for (hz, db) in [(1000, 0.0), (2000, 1.2), (4000, 0.96), (8000, -1.15), (16_000, -6.7)] {
            check(hz, db);
        }
        assert_eq!(weights[0], 0.0);
    }

    #[test]
    fn third_octaves_are_whole_and_join() {
        let bands = third_octaves(8000.0, 5.0);
        let (lo, hi) = (bands[0], bands[bands.len() - 1]);
        assert!((lo.0 - 22.387).abs() < 0.01 && (hi.1 - 7079.5).abs() < 1.0, "{lo:?} {hi:?}");
        assert!(bands.windows(2).all(|pair| (pair[0].1 - pair[1].0).abs() < 0.01));
        assert!(third_octaves(0.5, 0.1).is_empty());
    }

    #[test]
    fn bands_share_out_all_the_power() {
        let power = vec![2.0; 101];
        let mut out = [0.0; 3];
        BandSum::new(1.0, &[(0.0, 3.2), (3.2, 3.4), (3.4, 50.0)]).run(&power, &mut out);
        assert!((out[0] - 6.4).abs() < 1e-4 && (out[1] - 0.4).abs() < 1e-4, "{out:?}");
        assert!((out.iter().sum::<f32>() - 100.0).abs() < 1e-3);
    }
}
