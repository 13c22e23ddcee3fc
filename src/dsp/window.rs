//! Windows, periodic as spectral averaging wants them.

use std::f64::consts::TAU;

/// Hann window of `n` points, periodic: `0.5 - 0.5 cos(2 pi i / n)`.
///
/// Mean 0.5, mean square 0.375, equivalent noise bandwidth 1.5 bins (for `n` of 3 and more).
pub fn hann(n: usize) -> Vec<f32> {
    (0..n).map(|i| (0.5 - 0.5 * (TAU * i as f64 / n as f64).cos()) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_a_hann_window_are_those_of_the_theory() {
        let w = hann(1024);
        let sum: f64 = w.iter().map(|&w| w as f64).sum();
        let sum2: f64 = w.iter().map(|&w| (w as f64).powi(2)).sum();
        assert!((sum - 512.0).abs() < 1e-4 && (sum2 - 384.0).abs() < 1e-4, "{sum} {sum2}");
    }
}
