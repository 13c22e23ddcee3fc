//! Mean and central moments in two passes.

/// Lanes summed side by side, so that the loops become vector code.
const LANES: usize = 16;
/// Samples summed in f32 before they go into f64: keeps the relative error near 1e-6.
const BLOCK: usize = 64 * LANES;

/// Numbers of one stretch of samples; population moments about the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Mean, unit.
    pub mean: f64,
    /// Mean square about the mean, unit squared.
    pub m2: f64,
    /// Third central moment.
    pub m3: f64,
    /// Fourth central moment.
    pub m4: f64,
    /// Smallest sample minus the mean.
    pub min: f64,
    /// Largest sample minus the mean.
    pub max: f64,
}

impl Moments {
    /// Of `x`; all zero where there are no samples.
    pub fn of(x: &[f32]) -> Self {
        if x.is_empty() {
            return Self::default();
        }
        let mean = mean(x);
        let (mut sums, mut min, mut max) = ([0.0; 3], f32::MAX, f32::MIN);
        for block in x.chunks(BLOCK) {
            let (block_sums, block_min, block_max) = block_moments(block, mean as f32);
            (0..3).for_each(|i| sums[i] += block_sums[i]);
            (min, max) = (min.min(block_min), max.max(block_max));
        }
        let [m2, m3, m4] = sums.map(|sum| sum / x.len() as f64);
        Self { mean, m2, m3, m4, min: min as f64, max: max as f64 }
    }

    /// Root mean square about the mean.
    pub fn rms(&self) -> f64 {
        self.m2.sqrt()
    }

    /// Largest absolute value about the mean.
    pub fn peak(&self) -> f64 {
        self.max.max(-self.min)
    }

    /// Peak over RMS; 0 for silence.
    pub fn crest_factor(&self) -> f64 {
        if self.m2 > 0.0 { self.peak() / self.rms() } else { 0.0 }
    }

    /// Pearson's kurtosis: 3 for Gaussian noise, 1.5 for a sine; 3 for silence.
    pub fn kurtosis(&self) -> f64 {
        if self.m2 > 0.0 { self.m4 / (self.m2 * self.m2) } else { 3.0 }
    }

    /// Skewness; 0 for silence.
    pub fn skewness(&self) -> f64 {
        if self.m2 > 0.0 { self.m3 / self.m2.powf(1.5) } else { 0.0 }
    }
}

/// Arithmetic mean; 0 of nothing.
pub fn mean(x: &[f32]) -> f64 {
    let sum: f64 = x.chunks(BLOCK).map(block_sum).sum();
    sum / x.len().max(1) as f64
}

fn block_sum(block: &[f32]) -> f64 {
    let (lanes, rest) = block.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for lane in lanes {
        (0..LANES).for_each(|i| sums[i] += lane[i]);
    }
    fold(&sums) + rest.iter().map(|&v| v as f64).sum::<f64>()
}

fn block_moments(block: &[f32], mean: f32) -> ([f64; 3], f32, f32) {
    let (lanes, rest) = block.as_chunks::<LANES>();
    let (mut s2, mut s3, mut s4) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    let (mut min, mut max) = ([f32::MAX; LANES], [f32::MIN; LANES]);
    for lane in lanes {
        for i in 0..LANES {
            let d = lane[i] - mean;
            let d2 = d * d;
            s2[i] += d2;
            s3[i] += d2 * d;
            s4[i] += d2 * d2;
            min[i] = if d < min[i] { d } else { min[i] };
            max[i] = if d > max[i] { d } else { max[i] };
        }
    }
    let mut sums = [fold(&s2), fold(&s3), fold(&s4)];
    let (mut low, mut high) = (f32::MAX, f32::MIN);
    (0..LANES).for_each(|i| (low, high) = (low.min(min[i]), high.max(max[i])));
    for &v in rest {
        let d = v - mean;
        let d2 = d as f64 * d as f64;
        sums[0] += d2;
        sums[1] += d2 * d as f64;
        sums[2] += d2 * d2;
        (low, high) = (low.min(d), high.max(d));
    }
    (sums, low, high)
}

fn fold(lanes: &[f32; LANES]) -> f64 {
    lanes.iter().map(|&v| v as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_sine_has_the_numbers_of_a_sine() {
        let x: Vec<f32> = (0..10_000)
            .map(|i| (2.5 + 2.0 * (std::f64::consts::TAU * i as f64 / 1000.0).sin()) as f32)
            .collect();
        let m = Moments::of(&x);
        assert!((m.mean - 2.5).abs() < 1e-6 && (m.rms() - 2f64.sqrt()).abs() < 1e-5, "{m:?}");
        assert!((m.peak() - 2.0).abs() < 1e-5 && (m.max - m.min - 4.0).abs() < 1e-5);
        assert!((m.crest_factor() - 2f64.sqrt()).abs() < 1e-5);
        assert!((m.kurtosis() - 1.5).abs() < 1e-5 && m.skewness().abs() < 1e-5);
    }

    #[test]
    fn silence_gives_the_agreed_numbers() {
        let m = Moments::of(&[4.0; 777]);
        assert_eq!((m.crest_factor(), m.kurtosis(), m.skewness()), (0.0, 3.0, 0.0));
        assert_eq!(Moments::of(&[]), Moments::default());
    }

    proptest! {
        #[test]
        fn fast_sums_are_the_slow_ones(x in prop::collection::vec(-10f32..10.0, 1..5000)) {
            let n = x.len() as f64;
            let mean = x.iter().map(|&v| v as f64).sum::<f64>() / n;
            let moment =
                |p| x.iter().map(|&v| (v as f64 - mean).powi(p)).sum::<f64>() / n;
            let fast = Moments::of(&x);
            prop_assert!((fast.mean - mean).abs() < 1e-5);
            prop_assert!((fast.m2 - moment(2)).abs() < 1e-5 * (1.0 + moment(2)));
            prop_assert!((fast.m3 - moment(3)).abs() < 2e-5 * (1.0 + moment(4)));
            prop_assert!((fast.m4 - moment(4)).abs() < 1e-5 * (1.0 + moment(4)));
        }
    }
}
