//! How likely is a value beyond all that was seen: conformal ranks and extreme value tails.

/// Excesses under which a fitted shape is noise: then the tail is taken as exponential.
const N_EXCESSES_MIN: usize = 50;
/// Shapes beyond this are not believed.
const SHAPE_MAX: f64 = 0.5;

/// Split-conformal p-value of `score` among `calibration`: (1 + how many reach it) / (n + 1).
///
/// Never below 1 / (n + 1). Valid where the new score is exchangeable with the calibration's.
///
/// # Source
/// Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), eq. 2.2 without ties.
pub fn conformal_p(calibration: &[f64], score: f64) -> f64 {
    let reached = calibration.iter().filter(|&&seen| seen >= score).count();
    (1 + reached) as f64 / (1 + calibration.len()) as f64
}

/// A generalised Pareto distribution of excesses: shape `gamma`, scale `sigma > 0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gpd {
    /// Shape: 0 is an exponential tail, above 0 heavier, below 0 one with an end.
    pub gamma: f64,
    /// Scale, in the unit of the excesses.
    pub sigma: f64,
}

impl Gpd {
    /// Fits positive excesses by maximum likelihood; `None` where there is none above 0.
    ///
    /// Fewer than 50 give an exponential tail; the shape is kept within +-0.5.
    ///
    /// # Source
    /// Grimshaw, Technometrics 35 (1993) 185-191: with `x = gamma / sigma` the likelihood has one
    /// free number, searched here on a grid and refined, with the correct sign of the exponential's
    /// likelihood, -n (1 + ln mean).
    pub fn fit(excesses: &[f64]) -> Option<Self> {
        let n = excesses.len();
        let mean = excesses.iter().sum::<f64>() / n as f64;
        if n == 0 || mean <= 0.0 || !mean.is_finite() {
            return None;
        }
        let exponential = Self { gamma: 0.0, sigma: mean };
        if n < N_EXCESSES_MIN {
            return Some(exponential);
        }
        let max = excesses.iter().copied().fold(0.0, f64::max);
        let profile = |x: f64| -> (f64, Self) {
            if x.abs() * mean < 1e-9 {
                return (-(1.0 + mean.ln()), exponential);
            }
            let gamma = excesses.iter().map(|y| (x * y).ln_1p()).sum::<f64>() / n as f64;
            let sigma = gamma / x;
            if gamma.abs() > SHAPE_MAX || sigma <= 0.0 || !sigma.is_finite() {
                return (f64::NEG_INFINITY, exponential);
            }
            (-(sigma.ln() + 1.0 + gamma), Self { gamma, sigma })
        };
        let (low, high) = (-0.999 / max, 2.0 / mean);
        let best = maximise(low, high, |x| profile(x).0);
        let candidates = [profile(best), profile(0.0)];
        candidates.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, fit)| fit)
    }

    /// P(excess > y), `y >= 0`.
    pub fn sf(&self, y: f64) -> f64 {
        self.ln_sf(y).exp()
    }

    /// Natural logarithm of [`Gpd::sf`]; minus infinity beyond the end of a tail that has one.
    pub fn ln_sf(&self, y: f64) -> f64 {
        let y = y.max(0.0) / self.sigma;
        if self.gamma.abs() < 1e-9 {
            -y
        } else if 1.0 + self.gamma * y <= 0.0 {
            f64::NEG_INFINITY
        } else {
            -(self.gamma * y).ln_1p() / self.gamma
        }
    }

    /// The y with `sf(y) = share`, `0 < share <= 1`.
    pub fn quantile(&self, share: f64) -> f64 {
        if self.gamma.abs() < 1e-9 {
            -self.sigma * share.ln()
        } else {
            self.sigma / self.gamma * (share.powf(-self.gamma) - 1.0)
        }
    }
}

/// The best place of a function with one hump or a few, on a grid and then by golden section.
fn maximise(low: f64, high: f64, f: impl Fn(f64) -> f64) -> f64 {
    const N_GRID: usize = 64;
    let at = |i: usize| low + (high - low) * i as f64 / N_GRID as f64;
    let best = (0..=N_GRID).max_by(|&a, &b| f(at(a)).total_cmp(&f(at(b)))).unwrap_or(0);
    let (mut a, mut b) = (at(best.saturating_sub(1)), at((best + 1).min(N_GRID)));
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..60 {
        let (c, d) = (b - golden * (b - a), a + golden * (b - a));
        if f(c) > f(d) {
            b = d;
        } else {
            a = c;
        }
    }
    f64::midpoint(a, b)
}

/// Peaks over a threshold: how far the tail of scores reaches at a small probability.
///
/// The scores must be close to independent; of a run of high ones keep the largest.
///
/// # Source
/// Siffer et al., KDD 2017, eq. 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pot {
    /// Where the tail begins.
    pub start: f64,
    /// The tail beyond it.
    pub tail: Gpd,
    /// Scores seen.
    pub n: usize,
    /// Of them beyond the start.
    pub n_excesses: usize,
}

impl Pot {
    /// Fits the tail of `scores` beyond their `share` quantile (0.98, say); `None` where nothing
    /// lies beyond it. `scores` are put in another order.
    pub fn fit(scores: &mut [f64], share: f64) -> Option<Self> {
        if scores.is_empty() {
            return None;
        }
        let start = super::quantile(scores, share);
        let excesses: Vec<f64> =
            scores.iter().filter(|&&score| score > start).map(|score| score - start).collect();
        let tail = Gpd::fit(&excesses)?;
        Some(Self { start, tail, n: scores.len(), n_excesses: excesses.len() })
    }

    /// The score that one in `1 / q` exceeds.
    pub fn quantile(&self, q: f64) -> f64 {
        self.start + self.tail.quantile(q * self.n as f64 / self.n_excesses as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check T6 of the reference: t 2, sigma 0.5, n 10^4, 200 beyond, q 1e-4.
    #[test]
    fn quantiles_of_the_reference() {
        let check = |gamma: f64, expect: f64| {
            let tail = Gpd { gamma, sigma: 0.5 };
            let pot = Pot { start: 2.0, tail, n: 10_000, n_excesses: 200 };
            assert!((pot.quantile(1e-4) - expect).abs() < 5e-6, "{}", pot.quantile(1e-4));
            assert!((tail.sf(tail.quantile(0.01)) - 0.01).abs() < 1e-12);
        };
        check(0.1, 5.49323);
        check(0.0, 4.64916);
    }

    /// Check T7: scores 1..99.
    #[test]
    fn conformal_values_of_the_reference() {
        let calibration: Vec<f64> = (1..=99).map(f64::from).collect();
        assert_eq!(conformal_p(&calibration, 100.0), 0.01);
        assert_eq!(conformal_p(&calibration, 50.0), 0.51);
        assert_eq!(conformal_p(&[], 1.0), 1.0);
    }

    /// Exact quantiles of a known tail give its parameters back.
    #[test]
    fn fit_finds_the_tail() {
        for (gamma, sigma) in [(0.0, 2.0), (0.3, 0.7), (-0.2, 1.5)] {
            let truth = Gpd { gamma, sigma };
            let n = 4000;
            let sample: Vec<f64> =
                (0..n).map(|i| truth.quantile((f64::from(i) + 0.5) / f64::from(n))).collect();
            let fit = Gpd::fit(&sample).unwrap();
            assert!((fit.gamma - gamma).abs() < 0.02, "{fit:?} for {truth:?}");
            assert!((fit.sigma / sigma - 1.0).abs() < 0.02, "{fit:?} for {truth:?}");
        }
    }

    #[test]
    fn few_or_wild_excesses_are_not_overread() {
        assert_eq!(Gpd::fit(&[]), None);
        assert_eq!(Gpd::fit(&[0.0, 0.0]), None);
        assert_eq!(Gpd::fit(&[1.0, 3.0]).unwrap(), Gpd { gamma: 0.0, sigma: 2.0 });
        let wild: Vec<f64> = (1..200).map(|i| (f64::from(i) / 10.0).exp()).collect();
        assert!(Gpd::fit(&wild).unwrap().gamma.abs() <= SHAPE_MAX);
        assert_eq!(Gpd { gamma: -0.5, sigma: 1.0 }.sf(3.0), 0.0);
    }
}
