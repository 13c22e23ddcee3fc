//! From a raw score to a probability that holds for as little as has been learned.

use serde::{Deserialize, Serialize};

/// Weight of what is known before learning, in independent observations.
const PRIOR_N: f64 = 8.0;
/// The same between learned operating points, where how levels change with speed is a guess: that of the
/// fewest that give the tail a mean.
const PRIOR_BETWEEN_N: f64 = 8.0;
/// Share of baselines whose tail may be worse than the one an alarm is reckoned with, as a normal
/// quantile: 5 %.
const SURE_Z: f64 = 1.645;
/// Independent observations from which anything is supported: one says nothing of the spread.
const SUPPORT_N_MIN: f64 = 2.0;
/// Heaviest tail, as the shape of a generalised Pareto distribution: its mean square still exists.
const HEAVY_MAX: f64 = 0.45;
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
    /// Sum of the squares of that.
    squares: f64,
    /// Whether it is one of windows between learned operating points.
    is_between: bool,
}

impl Tail {
    /// Of windows between learned operating points.
    pub(super) fn between() -> Self {
        Self { is_between: true, ..Self::default() }
    }

    fn prior_n(&self) -> f64 {
        if self.is_between { PRIOR_BETWEEN_N } else { PRIOR_N }
    }

    /// Takes in one held-out score standing for `weight` independent observations (0-1).
    pub(super) fn learn(&mut self, l: f64, weight: f64) {
        self.n += weight;
        if l > START {
            self.n_beyond += weight;
            self.excess += weight * (l - START);
            self.squares += weight * (l - START).powi(2);
        }
    }

    /// Whether any score was seen.
    pub(super) fn is_used(&self) -> bool {
        self.n > 0.0
    }

    /// Natural logarithm of the probability of a score beyond `l`.
    ///
    /// Below the start the model is taken at its word, scaled to meet the tail, and below 0 it goes on
    /// straight, so that a ranking never ties.
    pub(super) fn ln_p(&self, l: f64) -> f64 {
        let share = (self.prior_n() * (-START).exp() + self.n_beyond) / (self.prior_n() + self.n);
        if l <= START {
            return share.ln() / START * l;
        }
        let (n, sum) = (self.prior_n() + self.n_beyond, self.prior_n() + self.excess);
        let heavy = self.heavy() + 1.0 / n;
        share.ln() - (heavy * (l - START) * n / sum).ln_1p() / heavy
    }

    /// How much heavier than exponential the tail is, as the shape of a generalised Pareto
    /// distribution: a few healthy sessions that are quite different from the rest make it so.
    ///
    /// # Source
    /// Moment estimator, Hosking and Wallis, Technometrics 29 (1987) 339; the prior is exponential.
    fn heavy(&self) -> f64 {
        let n = self.prior_n() + self.n_beyond;
        let mean = (self.prior_n() + self.excess) / n;
        let square = (2.0 * self.prior_n() + self.squares) / n;
        let variation = square / (mean * mean) - 1.0;
        (0.5 * (1.0 - 1.0 / variation.max(1.0))).min(HEAVY_MAX)
    }

    /// The same for evidence that is gathered: what is wrong with a baseline stays wrong, so p-values
    /// that hold on average over baselines must not be multiplied. Those of a tail as long as the
    /// data and the prior allow (19 of 20 baselines are better) may.
    ///
    /// # Source
    /// Tolerance against prediction limits: Hahn and Meeker, Statistical Intervals (1991), 2.
    pub(super) fn ln_p_sure(&self, l: f64) -> f64 {
        let share = self.share_sure();
        let sure = if l <= START {
            share.ln() / START * l
        } else {
            share.ln() - (l - START) / self.length_at_most(self.prior_n(), SURE_Z)
        };
        sure.max(self.ln_p(l))
    }

    /// The probability that the data alone vouch for where [`Tail::ln_p_sure`] says `ln_p`: the
    /// physics taken for granted before learning left out, but for one observation. `None` where
    /// there is too little of them.
    pub(super) fn ln_p_supported(&self, ln_p: f64) -> Option<f64> {
        if self.n < SUPPORT_N_MIN {
            return None;
        }
        let beyond = self.n_beyond + 1.0;
        let share = ((beyond + SURE_Z * beyond.sqrt()) / (self.n + 1.0)).min(0.99).ln();
        let over =
            (self.share_sure().ln() - ln_p).max(0.0) * self.length_at_most(self.prior_n(), SURE_Z);
        Some(share - over / self.length_at_most(1.0, SURE_Z))
    }

    /// Share of scores beyond the start of the tail, at the most.
    fn share_sure(&self) -> f64 {
        let n = self.prior_n() + self.n;
        let share = (self.prior_n() * (-START).exp() + self.n_beyond) / n;
        (share + SURE_Z * (share * (1.0 - share) / n).sqrt()).min(0.99)
    }

    /// Mean excess that is not exceeded but with the probability beyond `z` (gamma quantile by Wilson
    /// and Hilferty 1931), with a prior of weight `prior_n`.
    fn length_at_most(&self, prior_n: f64, z: f64) -> f64 {
        let (shape, rate) = (prior_n + self.n_beyond, prior_n + self.excess);
        let root = 1.0 - 1.0 / (9.0 * shape) - z / (9.0 * shape).sqrt();
        rate / (shape * root.max(0.05).powi(3))
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
    fn a_few_sessions_of_another_kind_make_the_tail_heavy() {
        let tail_of = |scores: &[(f64, f64)]| {
            let mut tail = Tail::default();
            for &(l, n) in scores {
                tail.learn(l, n);
            }
            tail
        };
        // The same mean excess of 5 in both.
        let (even, odd) = (tail_of(&[(6.0, 20.0)]), tail_of(&[(1.5, 17.0), (31.5, 3.0)]));
        assert!(odd.ln_p(30.0) > even.ln_p(30.0) + 1.0, "{} {}", odd.ln_p(30.0), even.ln_p(30.0));
    }

    #[test]
    fn what_is_gathered_is_never_surer_than_the_mean_and_what_data_vouch_for_grows() {
        let mut tail = Tail::default();
        let mut last = None;
        for n in [0, 3, 10, 30, 100, 1000] {
            while tail.n < f64::from(n) {
                let u = (tail.n * 0.618_034 + 0.5).fract();
                tail.learn(-u.ln(), 1.0);
            }
            assert!([0.5, 2.0, 9.0, 40.0].iter().all(|&l| tail.ln_p_sure(l) >= tail.ln_p(l)));
            let supported = tail.ln_p_supported(-8.0);
            assert!(
                supported.is_none() || supported < last || last.is_none(),
                "{n}: {supported:?}"
            );
            last = supported;
        }
        assert!(last < Some(-7.0), "{last:?}");
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
