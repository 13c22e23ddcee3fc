//! Slopes and levels that outliers do not bend.

use super::{median, normal_quantile};

/// A line `y = level_mean_x + slope (x - mean_x)` with the uncertainty of its slope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Change of y per unit of x.
    pub slope: f64,
    /// y where x is 0.
    pub intercept: f64,
    /// Lower end of the slope's confidence interval.
    pub slope_low: f64,
    /// Upper end.
    pub slope_high: f64,
}

impl Line {
    /// The line's value.
    pub fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

/// The line through points `(x, y)` whose slope is the median of all pairs' slopes.
///
/// `confidence` (0.9, say) is that of the slope's interval, for independent errors: thin out values
/// that hang together first. `None` below two different x. Takes and allocates n^2 / 2 slopes.
///
/// # Source
/// Theil (1950); Sen, J. Amer. Statist. Assoc. 63 (1968) 1379, eq. 2.6 for the interval, normal
/// approximation of Kendall's S without ties.
pub fn theil_sen(points: &[(f64, f64)], confidence: f64) -> Option<Line> {
    let n = points.len();
    let mut slopes = Vec::with_capacity(n * n.saturating_sub(1) / 2);
    for (i, a) in points.iter().enumerate() {
        for b in &points[i + 1..] {
            if a.0 != b.0 {
                slopes.push((b.1 - a.1) / (b.0 - a.0));
            }
        }
    }
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_by(f64::total_cmp);
    let slope = median(&mut slopes.clone());
    let count = n as f64;
    let sd = (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt();
    let reach = normal_quantile(0.5 + confidence / 2.0) * sd;
    let last = slopes.len() as f64 - 1.0;
    let low = ((slopes.len() as f64 - reach) / 2.0 - 1.0).floor().clamp(0.0, last) as usize;
    let high = f64::midpoint(slopes.len() as f64, reach).ceil().clamp(0.0, last) as usize;
    let mut rests: Vec<f64> = points.iter().map(|p| p.1 - slope * p.0).collect();
    Some(Line {
        slope,
        intercept: median(&mut rests),
        slope_low: slopes[low],
        slope_high: slopes[high],
    })
}

/// Follows a level that walks randomly under measurement noise: a Kalman filter of one number.
///
/// # Source
/// Harvey, Forecasting, Structural Time Series Models and the Kalman Filter (1989), 2.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KalmanLevel {
    level: f64,
    variance: f64,
    walk: f64,
    noise: f64,
}

impl KalmanLevel {
    /// `walk`: variance the level gains per unit of time; `noise`: variance of one measurement, both
    /// in the unit squared. Knows nothing until the first value.
    pub fn new(walk: f64, noise: f64) -> Self {
        Self { level: 0.0, variance: f64::INFINITY, walk, noise }
    }

    /// Takes in a value measured `dt` after the last; the level now.
    pub fn step(&mut self, value: f64, dt: f64) -> f64 {
        if self.variance.is_infinite() {
            (self.level, self.variance) = (value, self.noise);
            return value;
        }
        let prior = self.variance + self.walk * dt.max(0.0);
        let gain = prior / (prior + self.noise);
        self.level += gain * (value - self.level);
        self.variance = prior * (1.0 - gain);
        self.level
    }

    /// The level; 0 before the first value.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// Variance of the level; infinite before the first value.
    pub fn variance(&self) -> f64 {
        self.variance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_wild_points_keeps_its_slope() {
        let mut points: Vec<(f64, f64)> =
            (0..30).map(|i| (f64::from(i), 3.0 + 0.5 * f64::from(i))).collect();
        for i in [3, 11, 17, 25] {
            points[i].1 += 1000.0;
        }
        let line = theil_sen(&points, 0.9).unwrap();
        assert!((line.slope - 0.5).abs() < 1e-12 && (line.intercept - 3.0).abs() < 1e-9);
        assert!(line.slope_low <= 0.5 && line.slope_high >= 0.5);
        assert!((line.at(10.0) - 8.0).abs() < 1e-9);
    }

    /// By hand: the ten slopes are 1, 2.5, 11/3, 26/7, 3.75, 4, 4, 25/6, 5, 6; the interval is that
    /// of `scipy.stats.theilslopes`.
    #[test]
    fn interval_of_five_points() {
        let points = [(1.0, 9.0), (2.0, 15.0), (3.0, 19.0), (4.0, 20.0), (10.0, 45.0)];
        let line = theil_sen(&points, 0.93).unwrap();
        assert!((line.slope - 3.875).abs() < 1e-12, "{line:?}");
        assert_eq!((line.slope_low, line.slope_high), (1.0, 6.0));
    }

    #[test]
    fn too_little_gives_nothing() {
        assert_eq!(theil_sen(&[], 0.9), None);
        assert_eq!(theil_sen(&[(1.0, 1.0), (1.0, 2.0)], 0.9), None);
        assert!(theil_sen(&[(1.0, 1.0), (2.0, 3.0)], 0.9).is_some());
    }

    #[test]
    fn kalman_settles_at_the_golden_gain() {
        // walk = noise = 1: the steady gain solves K^2 + K = 1.
        let mut level = KalmanLevel::new(1.0, 1.0);
        assert!(level.variance().is_infinite());
        for _ in 0..100 {
            level.step(5.0, 1.0);
        }
        assert_eq!(level.level(), 5.0);
        let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
        assert!((level.variance() - golden).abs() < 1e-12);
        assert!((level.step(6.0, 1.0) - (5.0 + golden)).abs() < 1e-12);
    }
}
