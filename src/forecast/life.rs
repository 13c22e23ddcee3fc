//! Quantiles of the time to the functional limit: two degradation models, weighed by how well they fit.

use super::wear::Point;
use crate::stats::{normal_cdf, t_quantile, t_sf};
use crate::types::{Life, Refusal};

/// Wear at which the machine has reached its functional limit.
pub(super) const LIMIT: f64 = 1.0;
/// Wear below this is taken as this before the logarithm.
const FLOOR: f64 = 0.01;
/// Fewest independent points a slope is taken from.
const INDEPENDENT_MIN: f64 = 5.0;
/// Two-sided confidence at which a slope must differ from none.
const SLOPE_CONFIDENCE: f64 = 0.95;
/// A perfect line is still only known to rounding: the least variance of a residual.
const VARIANCE_MIN: f64 = 1e-12;
/// Share of a posterior that may run away from the limit.
const DISCARD_MAX: f64 = 0.1;
/// Stretches the diffusion of a Wiener process is taken from.
const STRETCHES: usize = 8;

/// A line through points with independent errors: what is known of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Posterior {
    /// Level at the mean time.
    level: f64,
    /// Slope per hour.
    pub(super) slope: f64,
    mean_h: f64,
    /// Variance of `level` and of `slope`.
    var_level: f64,
    var_slope: f64,
    /// Degrees of freedom left.
    dof: f64,
    /// Points that count as independent.
    n_independent: f64,
}

impl Posterior {
    /// Posterior of theta + beta t under a vague prior, the residuals' autocorrelation counted.
    ///
    /// `y`: what follows the line, by point. `None` with fewer than three points or no spread in time.
    ///
    /// # Source
    /// N. Gebraeel et al., IIE Transactions 37 (2005) 543-557, eq. 4-7 with S0 to infinity and sigma integrated out
    /// (Student's t); effective number of points (1 - r)/(1 + r) n for residuals of lag-one correlation r.
    pub(super) fn fit(points: &[Point], y: impl Fn(&Point) -> f64) -> Option<Self> {
        let n = points.len() as f64;
        if points.len() < 3 {
            return None;
        }
        let mean_h = points.iter().map(|p| p.h).sum::<f64>() / n;
        let level = points.iter().map(&y).sum::<f64>() / n;
        let (mut sxx, mut sxy) = (0.0, 0.0);
        for p in points {
            sxx += (p.h - mean_h).powi(2);
            sxy += (p.h - mean_h) * (y(p) - level);
        }
        if sxx <= 0.0 {
            return None;
        }
        let slope = sxy / sxx;
        let residual = |p: &Point| y(p) - level - slope * (p.h - mean_h);
        let sse: f64 = points.iter().map(|p| residual(p).powi(2)).sum();
        let lagged: f64 = points.windows(2).map(|w| residual(&w[0]) * residual(&w[1])).sum();
        // Residuals of rounding size are no trend.
        let r = if sse > n * VARIANCE_MIN { (lagged / sse).clamp(0.0, 0.99) } else { 0.0 };
        let n_independent = (n * (1.0 - r) / (1.0 + r)).max(2.5);
        let dof = (n_independent - 2.0).max(0.5);
        let inflation = n / n_independent;
        let variance = (sse / (n - 2.0)).max(VARIANCE_MIN);
        Some(Self {
            level,
            slope,
            mean_h,
            var_level: variance * inflation / n,
            var_slope: variance * inflation / sxx,
            dof,
            n_independent,
        })
    }

    /// Probability that the line has crossed `limit` by `h`.
    fn crossed(&self, limit: f64, h: f64) -> f64 {
        let d = h - self.mean_h;
        let spread = (self.var_level + d * d * self.var_slope).sqrt();
        t_sf((limit - self.level - self.slope * d) / spread, self.dof)
    }

    /// Probability that the slope is above zero.
    fn rises(&self) -> f64 {
        t_sf(-self.slope / self.var_slope.sqrt(), self.dof)
    }

    fn slope_is_sure(&self) -> bool {
        let t = t_quantile(0.5 - 0.5 * SLOPE_CONFIDENCE, self.dof);
        self.slope > t * self.var_slope.sqrt() && 1.0 - self.rises() <= DISCARD_MAX
    }
}

/// A Wiener process with drift: what is known of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wiener {
    /// Drift per hour, its standard deviation, and the diffusion per square root of an hour.
    pub(super) drift: f64,
    pub(super) drift_sd: f64,
    pub(super) diffusion: f64,
}

/// Nodes and weights of the three-times-five-point Gauss-Hermite rule for a standard normal (n = 9).
const NORMAL_NODES: [(f64, f64); 9] = [
    (-4.512745863399783, 2.234584400774658e-5),
    (-3.205429002856470, 2.789141321231769e-3),
    (-2.076847978677830, 4.991640676521788e-2),
    (-1.023255663789133, 2.440975028949394e-1),
    (0.0, 4.063492063492064e-1),
    (1.023255663789133, 2.440975028949394e-1),
    (2.076847978677830, 4.991640676521788e-2),
    (3.205429002856470, 2.789141321231769e-3),
    (4.512745863399783, 2.234584400774658e-5),
];

impl Wiener {
    /// From the history: drift from its ends, diffusion from stretches long enough to be independent.
    pub(super) fn fit(points: &[Point]) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let span = last.h - first.h;
        if points.len() < 2 * STRETCHES || span <= 0.0 {
            return None;
        }
        let drift = (last.wear - first.wear) / span;
        let at = |i: usize| points[i * (points.len() - 1) / STRETCHES];
        let mut sum = 0.0;
        for i in 0..STRETCHES {
            let (a, b) = (at(i), at(i + 1));
            sum += (b.wear - a.wear - drift * (b.h - a.h)).powi(2) / (b.h - a.h);
        }
        let diffusion = (sum / (STRETCHES - 1) as f64).sqrt().max(1e-9);
        Some(Self { drift, drift_sd: diffusion / span.sqrt(), diffusion })
    }

    /// Probability that `distance` more was first passed within `h` hours; drifts that run away never pass.
    ///
    /// # Source
    /// First passage of Brownian motion with drift: inverse Gaussian (R. S. Chhikara, J. L. Folks, 1989), with the
    /// drift's own uncertainty integrated by a Gauss-Hermite rule.
    pub(super) fn passed(&self, distance: f64, h: f64) -> f64 {
        if h <= 0.0 {
            return 0.0;
        }
        let spread = self.diffusion * h.sqrt();
        let passed = |drift: f64| {
            let direct = normal_cdf((drift * h - distance) / spread);
            let turned = normal_cdf(-(drift * h + distance) / spread);
            let weight = (2.0 * drift * distance / self.diffusion.powi(2)).min(700.0).exp();
            // The product is at most 1; where the exponent is huge its partner has underflowed to 0.
            direct + if turned > 0.0 { (weight * turned).min(1.0 - direct) } else { 0.0 }
        };
        NORMAL_NODES.iter().map(|(x, w)| w * passed(self.drift + x * self.drift_sd)).sum()
    }

    fn slope_is_sure(&self) -> bool {
        let t = t_quantile(0.5 - 0.5 * SLOPE_CONFIDENCE, (STRETCHES - 1) as f64);
        self.drift > t * self.drift_sd
    }
}

/// The forecast at a moment: the mixture of the models whose slope is sure.
pub(super) struct Mixture {
    wiener: Option<Wiener>,
    exponential: Option<Posterior>,
    /// Weight of the exponential model.
    weight: f64,
    now_h: f64,
    wear: f64,
    /// Slope of wear per hour, for people.
    pub(super) slope: f64,
}

impl Mixture {
    /// Weighs the models on the history since wear began; or says why there is none.
    ///
    /// # Errors
    /// `TooFewPoints` or `SlopeUncertain`.
    pub(super) fn fit(points: &[Point], points_min: usize) -> Result<Self, Refusal> {
        let last = *points.last().ok_or(Refusal::TooFewPoints)?;
        let line = Posterior::fit(points, |p| p.wear).ok_or(Refusal::TooFewPoints)?;
        let ln = |p: &Point| p.wear.max(FLOOR).ln();
        let curve = Posterior::fit(points, ln);
        // The model that fits leaves the least correlated residuals: it knows how many points are independent.
        let n_independent = curve.map_or(0.0, |c| c.n_independent).max(line.n_independent);
        if points.len() < points_min || n_independent < INDEPENDENT_MIN {
            return Err(Refusal::TooFewPoints);
        }
        let curve = curve.filter(Posterior::slope_is_sure);
        let wiener = Wiener::fit(points).filter(Wiener::slope_is_sure);
        if curve.is_none() && wiener.is_none() {
            return Err(Refusal::SlopeUncertain);
        }
        let weight = match (&curve, &wiener) {
            (Some(_), None) => 1.0,
            (Some(curve), Some(_)) => exponential_weight(points, &line, curve),
            (None, _) => 0.0,
        };
        Ok(Self {
            wiener,
            exponential: curve,
            weight,
            now_h: last.h,
            wear: last.wear,
            slope: line.slope,
        })
    }

    /// Probability that the limit is reached within `h` hours from now.
    fn reached(&self, h: f64) -> f64 {
        let mut p = 0.0;
        if let Some(wiener) = &self.wiener
            && self.weight < 1.0
        {
            p += (1.0 - self.weight) * wiener.passed((LIMIT - self.wear).max(0.0), h);
        }
        if let Some(curve) = &self.exponential
            && self.weight > 0.0
        {
            // The past is known: the limit was not reached until now, and never is by a curve that falls.
            let before = curve.crossed(LIMIT.ln(), self.now_h);
            let by = curve.crossed(LIMIT.ln(), self.now_h + h);
            let ever = curve.rises();
            p += self.weight * ((by - before) / (ever - before).max(1e-9)).clamp(0.0, 1.0);
        }
        p
    }

    /// The hours at which the probability of having failed is `q`; infinite where it never gets there.
    fn quantile(&self, q: f64) -> f64 {
        let mut high = 1e-3;
        while self.reached(high) < q {
            high *= 2.0;
            if high > HOURS_MAX {
                return f64::INFINITY;
            }
        }
        let mut low = 0.0;
        for _ in 0..BISECTIONS {
            let mid = 0.5 * (low + high);
            if self.reached(mid) < q { low = mid } else { high = mid }
        }
        0.5 * (low + high)
    }

    /// P10, P50 and P90 in hours.
    ///
    /// # Errors
    /// `TooWide` where even 90 % never fail.
    pub(super) fn life(&self) -> Result<Life, Refusal> {
        if self.wear >= LIMIT {
            return Ok(Life { p10_h: 0.0, p50_h: 0.0, p90_h: 0.0 });
        }
        let life = Life {
            p10_h: self.quantile(0.1),
            p50_h: self.quantile(0.5),
            p90_h: self.quantile(0.9),
        };
        if life.p90_h.is_finite() { Ok(life) } else { Err(Refusal::TooWide) }
    }
}

/// A century: no machine's life is looked for beyond.
const HOURS_MAX: f64 = 876_600.0;
/// Halvings of an interval: 40 leave a relative 1e-12.
const BISECTIONS: usize = 40;

/// Weight of the exponential curve against the straight line: likelihoods of Gaussian errors in wear itself.
fn exponential_weight(points: &[Point], line: &Posterior, curve: &Posterior) -> f64 {
    let sse = |model: &dyn Fn(f64) -> f64| {
        points.iter().map(|p| (p.wear - model(p.h)).powi(2)).sum::<f64>().max(1e-12)
    };
    let straight = sse(&|h| line.level + line.slope * (h - line.mean_h));
    let bent = sse(&|h| (curve.level + curve.slope * (h - curve.mean_h)).exp());
    let n = line.n_independent.max(curve.n_independent);
    1.0 / (1.0 + (bent / straight).powf(0.5 * n))
}

#[cfg(test)]
mod tests;
