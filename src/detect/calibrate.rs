//! From a raw score to a probability that holds for as little as has been learned.

use serde::{Deserialize, Serialize};

/// Weight of what is known before learning, in independent observations.
const PRIOR_N: f64 = 8.0;
/// Where the tail begins, in -ln p: what lies under it says nothing about what is rare.
const START: f64 = 1.0;

/// The predictive tail of a raw score `l` = -ln p of a model that may be wrong by a factor.
///
/// Were the model right, `l` would be exponential with mean 1. How many scores go beyond the start of
/// the tail, and how far on average, is not known: priors centred on the model are updated by the
/// held-out scores of the learning. The predictive is a Lomax tail, wide for few observations,
/// exponential with the measured mean for many.
///
/// # Source
/// Conjugate exponential-gamma and binomial-beta models: Gelman et al., Bayesian Data Analysis,
/// 3rd ed., 2.4 and 2.6.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq)]
pub(super) struct Tail {
    /// Independent observations behind it.
    n: f64,
    /// Of them beyond the start.
    n_beyond: f64,
    /// Sum of what they go beyond it.
    excess: f64,
}

impl Tail {
    /// Takes in one held-out score standing for `weight` independent observations (0-1).
    pub(super) fn learn(&mut self, l: f64, weight: f64) {
        self.n += weight;
        if l > START {
            self.n_beyond += weight;
            self.excess += weight * (l - START);
        }
    }

    /// Natural logarithm of the probability of a score beyond `l`.
    ///
    /// Below the start the model is taken at its word, scaled to meet the tail, and below 0 it goes on
    /// straight, so that a ranking never ties.
    pub(super) fn ln_p(&self, l: f64) -> f64 {
        let share = (PRIOR_N * (-START).exp() + self.n_beyond) / (PRIOR_N + self.n);
        if l <= START {
            return share.ln() / START * l;
        }
        let (shape, rate) = (PRIOR_N + self.n_beyond, PRIOR_N + self.excess);
        share.ln() - shape * ((l - START) / rate).ln_1p()
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
        assert!((new.ln_p(9.0) - (-1.0 - 8.0 * 2.0_f64.ln())).abs() < 1e-12);
        let (mut tail, n) = (Tail::default(), 100_000);
        for i in 0..n {
            tail.learn(-0.5 * ((f64::from(i) + 0.5) / f64::from(n)).ln(), 1.0);
        }
        assert!((tail.ln_p(5.0) + 10.0).abs() < 0.05, "{}", tail.ln_p(5.0));
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
