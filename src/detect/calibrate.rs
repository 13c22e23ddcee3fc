//! From a raw score to a probability that holds for as little as has been learned.

use serde::{Deserialize, Serialize};

/// Weight of what is known before learning, in independent observations of a tail.
const PRIOR_N: f64 = 8.0;

/// The predictive tail of a raw score `l` = -ln p of a model that may be wrong by a factor.
///
/// Were the model right, `l` would be exponential with mean 1. Its true mean is unknown: a gamma
/// prior centred on 1 is updated by the held-out scores of the learning, and the predictive is a
/// Lomax tail, wide for few observations, exponential with the measured mean for many.
///
/// # Source
/// Conjugate exponential-gamma model: Gelman et al., Bayesian Data Analysis, 3rd ed., 2.6.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq)]
pub(super) struct Tail {
    /// Independent observations behind it.
    n: f64,
    /// Their sum.
    sum: f64,
}

impl Tail {
    /// Takes in one held-out score standing for `weight` independent observations (0-1).
    pub(super) fn learn(&mut self, l: f64, weight: f64) {
        self.n += weight;
        self.sum += weight * l.max(0.0);
    }

    /// Natural logarithm of the probability of a score beyond `l`.
    ///
    /// Below 0 the tail goes on straight, so that a ranking never ties.
    pub(super) fn ln_p(&self, l: f64) -> f64 {
        let rate = PRIOR_N + self.sum;
        let shape = PRIOR_N + self.n;
        if l >= 0.0 { -shape * (l / rate).ln_1p() } else { -shape * l / rate }
    }

    /// Independent observations behind it.
    pub(super) fn n(&self) -> f64 {
        self.n
    }
}

/// Mean of the largest of `n` unit exponential variables: the n-th harmonic number.
pub(super) fn harmonic(n: usize) -> f64 {
    (1..=n).map(|i| 1.0 / i as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_observations_give_a_wide_tail_and_many_the_measured_one() {
        let new = Tail::default();
        assert!((new.ln_p(8.0) - -8.0 * 2.0_f64.ln()).abs() < 1e-12);
        let mut tail = Tail::default();
        for _ in 0..100_000 {
            tail.learn(0.5, 1.0);
        }
        assert!((tail.ln_p(5.0) + 10.0).abs() < 0.01, "{}", tail.ln_p(5.0));
        assert!(new.ln_p(5.0) > tail.ln_p(5.0));
    }

    #[test]
    fn falls_with_the_score_without_end() {
        let tail = Tail::default();
        let mut last = f64::INFINITY;
        for l in [-5.0, -1.0, 0.0, 1.0, 10.0, 1e3, 1e6, 1e12] {
            assert!(tail.ln_p(l) < last && tail.ln_p(l).is_finite());
            last = tail.ln_p(l);
        }
    }

    #[test]
    fn harmonic_numbers() {
        assert_eq!(harmonic(1), 1.0);
        assert!((harmonic(4) - 25.0 / 12.0).abs() < 1e-15);
    }
}
