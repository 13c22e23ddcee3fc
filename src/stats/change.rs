//! Sequential tests: has something changed, and how often would they cry wolf.

/// One-sided cumulative sum of standardised values.
///
/// # Source
/// Page, Biometrika 41 (1954) 100-115.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cusum {
    /// Half the shift worth finding, in standard deviations.
    pub slack: f64,
    /// The sum that is an alarm, in standard deviations.
    pub limit: f64,
    sum: f64,
}

impl Cusum {
    /// A test at rest.
    pub fn new(slack: f64, limit: f64) -> Self {
        Self { slack, limit, sum: 0.0 }
    }

    /// Takes in one value; whether the sum is beyond the limit.
    pub fn step(&mut self, z: f64) -> bool {
        self.sum = (self.sum + z - self.slack).max(0.0);
        self.sum > self.limit
    }

    /// The sum now, 0 at rest.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.sum = 0.0;
    }
}

/// Multiplies evidence: bets against calibrated p-values, restarted whenever the bets lost.
///
/// Kept as a logarithm. With p-values that are uniform (or larger) given the past, the mean number
/// of steps to `ln_evidence >= ln c` is at least `c`. Scores that hang together break that: give it
/// one p-value per decorrelation time.
///
/// # Source
/// Shin, Ramdas and Rinaldo, arXiv 2203.03532, e-CUSUM; the bet is the mean of the power calibrators
/// `eps p^(eps - 1)` of Vovk and Wang, Ann. Statist. 49 (2021) 1736.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EDetector {
    ln_m: f64,
}

impl EDetector {
    const POWERS: [f64; 3] = [0.2, 0.5, 0.8];

    /// The bet's gain on one p-value given as its natural logarithm (0 or below), as a logarithm.
    ///
    /// Integrates to 1 over uniform p.
    pub fn ln_gain(ln_p: f64) -> f64 {
        let gain = |eps: f64| eps.ln() + (eps - 1.0) * ln_p;
        let top = Self::POWERS.into_iter().map(gain).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = Self::POWERS.into_iter().map(|eps| (gain(eps) - top).exp()).sum();
        top + (sum / Self::POWERS.len() as f64).ln()
    }

    /// Takes in the natural logarithm of one p-value; the natural logarithm of the evidence.
    pub fn step(&mut self, ln_p: f64) -> f64 {
        self.ln_m = self.ln_m.max(0.0) + Self::ln_gain(ln_p.min(0.0));
        self.ln_m
    }

    /// Takes in an e-value made elsewhere (a mean of bets, say) by its logarithm, and keeps no more
    /// than `ln_most` of evidence.
    pub fn multiply(&mut self, ln_e: f64, ln_most: f64) {
        self.ln_m = (self.ln_m.max(0.0) + ln_e).min(ln_most);
    }

    /// Natural logarithm of the evidence now; at or below 0 there is none.
    pub fn ln_evidence(&self) -> f64 {
        self.ln_m
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.ln_m = 0.0;
    }
}

/// Finds a rise of the mean against the running mean of all that came before.
///
/// # Source
/// Page (1954) and Hinkley, Biometrika 58 (1971) 509-523.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PageHinkley {
    /// Rise that is not worth finding, in the unit of the values.
    pub slack: f64,
    /// Accumulated rise that is a change, same unit.
    pub limit: f64,
    n: u64,
    mean: f64,
    sum: f64,
    lowest: f64,
}

impl PageHinkley {
    /// A test at rest.
    pub fn new(slack: f64, limit: f64) -> Self {
        Self { slack, limit, n: 0, mean: 0.0, sum: 0.0, lowest: 0.0 }
    }

    /// Takes in one value; whether the mean has risen.
    pub fn step(&mut self, value: f64) -> bool {
        self.n += 1;
        self.mean += (value - self.mean) / self.n as f64;
        self.sum += value - self.mean - self.slack;
        self.lowest = self.lowest.min(self.sum);
        self.sum - self.lowest > self.limit
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        *self = Self::new(self.slack, self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{conformal_p, normal_quantile};

    /// Uniform numbers by splitmix64: the tests' own dice.
    struct Dice(u64);

    impl Dice {
        fn uniform(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 * (0.5_f64).powi(53) + (0.5_f64).powi(54)
        }

        fn normal(&mut self) -> f64 {
            let (r, a) = ((-2.0 * self.uniform().ln()).sqrt(), self.uniform());
            r * (std::f64::consts::TAU * a).cos()
        }
    }

    /// Check T8: slack 0.5, limit 5 on standard normal values, 3 million of them.
    #[test]
    fn cusum_run_length_is_that_of_theory() {
        let (mut dice, mut cusum) = (Dice(1), Cusum::new(0.5, 5.0));
        let n = 3_000_000;
        let mut n_alarms = 0;
        for _ in 0..n {
            if cusum.step(dice.normal()) {
                n_alarms += 1;
                cusum.reset();
            }
        }
        let run = f64::from(n) / f64::from(n_alarms);
        assert!((run / 931.0 - 1.0).abs() < 0.05, "mean run {run}");
    }

    #[test]
    fn cusum_delay_is_that_of_theory() {
        let mut dice = Dice(2);
        let trials = 4000;
        let total: u32 = (0..trials)
            .map(|_| {
                let mut cusum = Cusum::new(0.5, 5.0);
                (1..10_000).find(|_| cusum.step(dice.normal() + 1.0)).unwrap()
            })
            .sum();
        let delay = f64::from(total) / f64::from(trials);
        assert!((delay - 10.4).abs() < 0.4, "mean delay {delay}");
    }

    /// The bet is fair: it integrates to one.
    #[test]
    fn gain_integrates_to_one() {
        let n = 200_000;
        // Substitution p = u^8 tames the singularity at 0.
        let sum: f64 = (0..n)
            .map(|i| (f64::from(i) + 0.5) / f64::from(n))
            .map(|u| EDetector::ln_gain(8.0 * u.ln()).exp() * 8.0 * u.powi(7))
            .sum::<f64>()
            / f64::from(n);
        assert!((sum - 1.0).abs() < 1e-3, "{sum}");
    }

    /// Mean steps to `ln c` on scores `next` gives, against a fixed calibration.
    fn mean_run(ln_c: f64, n: usize, calibration: &[f64], mut next: impl FnMut() -> f64) -> f64 {
        let (mut detector, mut n_alarms) = (EDetector::default(), 0);
        for _ in 0..n {
            if detector.step(conformal_p(calibration, next()).ln()) >= ln_c {
                n_alarms += 1;
                detector.reset();
            }
        }
        n as f64 / f64::from(n_alarms.max(1))
    }

    /// Check T9: holds on independent scores, breaks on AR(1) 0.9 raw, holds after block aggregation.
    #[test]
    fn e_detector_run_length() {
        let (ln_c, n_calibration) = (1000_f64.ln(), 500);
        let mut dice = Dice(3);
        let calibration: Vec<f64> = (0..n_calibration).map(|_| dice.normal()).collect();
        let run = mean_run(ln_c, 200_000, &calibration, || dice.normal());
        assert!(run >= 1000.0, "independent: {run}");

        let mut state = 0.0;
        let mut ar = move || {
            state = 0.9 * state + (1.0_f64 - 0.81).sqrt() * dice.normal();
            state
        };
        let calibration: Vec<f64> = (0..n_calibration).map(|_| ar()).collect();
        let run = mean_run(ln_c, 200_000, &calibration, &mut ar);
        assert!(run < 600.0, "correlated and raw: {run}");

        let mut block = || (0..40).map(|_| ar()).sum::<f64>() / 40.0;
        let calibration: Vec<f64> = (0..n_calibration).map(|_| block()).collect();
        let run = mean_run(ln_c, 20_000, &calibration, &mut block);
        assert!(run >= 1000.0, "correlated, in blocks: {run}");
    }

    #[test]
    fn e_detector_gathers_and_forgets() {
        let mut detector = EDetector::default();
        for _ in 0..1000 {
            detector.step(0.0);
        }
        assert!(detector.ln_evidence() < 0.0, "lost bets are forgotten, not saved up");
        assert!((0..20).any(|_| detector.step(0.001_f64.ln()) > 1000_f64.ln()));
        assert!(EDetector::ln_gain(-1e6).is_finite());
    }

    #[test]
    fn page_hinkley_finds_a_rise_only() {
        let mut test = PageHinkley::new(0.1, 5.0);
        let quiet = |i: u32| normal_quantile((f64::from(i * 37 % 100) + 0.5) / 100.0) * 0.1;
        assert!(!(0..500).any(|i| test.step(quiet(i))));
        assert!((0..40).any(|i| test.step(quiet(i) + 1.0)));
        test.reset();
        assert!(!(0..500).any(|i| test.step(quiet(i))));
        assert!(!(0..500).any(|i| test.step(quiet(i) - 1.0)), "a fall is not a rise");
    }
}
