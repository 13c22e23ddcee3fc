//! The real FFT, planned once, with its scratch.

use std::sync::Arc;

use realfft::RealToComplex;
pub use rustfft::num_complex::Complex32;

use super::plans;
use super::work::Room;

/// A forward FFT of `n` real samples: bin `k` is `sum x[i] exp(-2 pi j i k / n)`, not scaled,
/// `n / 2 + 1` bins.
pub struct Fft {
    plan: Arc<dyn RealToComplex<f32>>,
    room: Room,
    bins: Vec<Complex32>,
}

impl Fft {
    /// A plan for `n` samples, at least 2; quickest where `n` has no prime factor above 7.
    ///
    /// # Panics
    /// If `n` is below 2: a bug in the caller.
    pub fn new(n: usize) -> Self {
        assert!(n >= 2, "an FFT of {n} samples");
        let plan = plans::real(n);
        let room = Room { real: n, scratch: plan.get_scratch_len(), ..Room::default() };
        Self { room, bins: plan.make_output_vec(), plan }
    }

    /// Samples per transform.
    pub fn n(&self) -> usize {
        self.room.real
    }

    /// Bins per transform: `n / 2 + 1`.
    pub fn n_bins(&self) -> usize {
        self.bins.len()
    }

    /// Transforms what `fill` writes into the given `n` samples (whatever they held before).
    ///
    /// # Panics
    /// If `fill` runs a transform itself: a bug in the caller.
    pub fn run(&mut self, fill: impl FnOnce(&mut [f32])) -> &[Complex32] {
        let (plan, bins) = (&self.plan, &mut self.bins);
        self.room.with(|work| {
            let input = &mut work.real[..self.room.real];
            fill(input);
            let done = plan.process_with_scratch(input, bins, &mut work.scratch);
            debug_assert!(done.is_ok(), "all buffers are as long as the plan wants them");
        });
        &self.bins
    }

    /// The bins of the last transform.
    pub fn bins(&self) -> &[Complex32] {
        &self.bins
    }
}

/// The largest even number up to `n` with no prime factor above 7; 2 below 4.
pub fn smooth_down(n: usize) -> usize {
    (2..=n.max(2)).rev().find(|&m| is_smooth(m)).unwrap_or(2)
}

/// The smallest even number from `n` on with no prime factor above 7; at least 2.
pub fn smooth_up(n: usize) -> usize {
    let n = n.max(2);
    (n..n.next_power_of_two()).find(|&m| is_smooth(m)).unwrap_or(n.next_power_of_two())
}

/// A number from `n` on that transforms quickly: as [`smooth_up`], and with many twos, which are the
/// quickest factors.
pub(super) fn quick_up(n: usize) -> usize {
    let n = n.max(64);
    let unit = 1 << (n.ilog2() - TWOS_SPARED).min(TWOS_MAX);
    let top = n.next_power_of_two();
    (n.next_multiple_of(unit)..top).step_by(unit).find(|&m| is_smooth(m)).unwrap_or(top)
}

/// Factors of two wanted of a number: this many less than it has binary digits, and no more than so many.
const TWOS_SPARED: u32 = 5;
const TWOS_MAX: u32 = 9;

fn is_smooth(n: usize) -> bool {
    let mut rest = n;
    for p in [2, 3, 5, 7] {
        while rest.is_multiple_of(p) {
            rest /= p;
        }
    }
    rest == 1 && n.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_lands_in_its_bin_and_parseval_holds() {
        let mut fft = Fft::new(60);
        let x = |i: usize| (std::f32::consts::TAU * 7.0 * i as f32 / 60.0).cos();
        let bins = fft.run(|input| (0..60).for_each(|i| input[i] = x(i)));
        assert!((bins[7].re - 30.0).abs() < 1e-4 && bins[7].im.abs() < 1e-4, "{}", bins[7]);
        let energy: f32 = (0..60).map(|i| x(i) * x(i)).sum();
        let sides: f32 = bins[1..30].iter().map(|b| 2.0 * b.norm_sqr()).sum();
        let total = bins[0].norm_sqr() + sides + bins[30].norm_sqr();
        assert!((total / 60.0 - energy).abs() < 1e-3);
    }

    #[test]
    fn smooth_numbers() {
        let check = |n, down, up| assert_eq!((smooth_down(n), smooth_up(n)), (down, up), "{n}");
        check(102_400, 102_400, 102_400);
        check(2560, 2560, 2560);
        check(11, 10, 12);
        check(1, 2, 2);
        check(195_312, 194400, 196000);
    }
}
