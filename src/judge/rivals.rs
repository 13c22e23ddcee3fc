//! What simple methods get from the same windows: the claim beside its rival.

use crate::types::Features;

use super::metrics::{mean, median};

/// Windows kept for fitting, at the most; beyond it every other one is let go.
const FIT_MAX: usize = 2000;
/// Neighbours that make the local density.
const NEIGHBOURS: usize = 4;
/// Fewest learned windows a limit is taken from.
const LIMIT_MIN: usize = 4;
/// Blocks of time the learned windows are held out in.
const FOLDS: usize = 5;
/// Standard score of the 99 % limit of one window.
pub(super) const Z_WINDOW: f64 = 2.326_347_874;
/// Standard score of the 1e-4 limit of one snapshot of a life.
pub(super) const Z_LIFE: f64 = 3.719_016_485;

/// What the rivals see of a window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    rms: f64,
    classic: Vec<f64>,
    bands: Vec<f64>,
}

impl Sample {
    /// `None` for a window nobody can trust.
    pub(super) fn of(features: &Features) -> Option<Self> {
        if features.is_blind() {
            return None;
        }
        let log = |value: f32| f64::from(value.max(1e-12)).ln();
        let mut classic = Vec::with_capacity(6 * features.axes.len());
        let mut bands = Vec::new();
        for axis in &features.axes {
            let i = &axis.indicators;
            classic.extend([log(i.rms), log(i.peak_true), log(i.peak_to_peak)]);
            classic.extend([i.crest_factor, i.kurtosis, i.skewness].map(f64::from));
            let levels =
                if axis.third_octaves.db.len() < 4 { &axis.mel } else { &axis.third_octaves };
            bands.extend(levels.db.iter().map(|&db| f64::from(db)));
        }
        let square = features.axes.iter().map(|axis| f64::from(axis.indicators.rms).powi(2));
        Some(Self { rms: mean(square)?.sqrt(), classic, bands })
    }
}

/// A method fitted on normal windows only.
pub(super) struct Rival {
    fit: Fit,
    /// Middle and spread of the logarithm of held-out scores.
    spread: Option<(f64, f64)>,
}

enum Fit {
    Rms,
    Mahalanobis(Box<Ellipsoid>),
    Neighbour { bank: Vec<Vec<f64>>, density: Vec<f64> },
}

#[derive(Clone, Copy)]
enum Method {
    Rms,
    Mahalanobis,
    Neighbour,
}

impl Rival {
    /// The names of all, in the order of [`Rival::fit_all`].
    pub(super) const NAMES: [&'static str; 3] =
        ["rms", "mahalanobis (classic features)", "nearest neighbour (log bands)"];

    /// Every rival, fitted on `learned` windows in the order of time; none from fewer than two.
    pub(super) fn fit_all(learned: &[Sample]) -> Vec<Self> {
        let stride = learned.len().div_ceil(FIT_MAX).max(1);
        let kept: Vec<&Sample> = learned.iter().step_by(stride).collect();
        if kept.len() < 2 {
            return Vec::new();
        }
        [Method::Rms, Method::Mahalanobis, Method::Neighbour]
            .into_iter()
            .map(|method| Self { fit: Fit::new(method, &kept), spread: held_out(method, &kept) })
            .collect()
    }

    /// How unusual; larger is worse.
    pub(super) fn score(&self, sample: &Sample) -> f64 {
        self.fit.score(sample)
    }

    /// The limit at so many standard deviations of the log-normal fit.
    pub(super) fn limit(&self, z: f64) -> Option<f64> {
        self.spread.map(|(mid, sigma)| (mid + z * sigma).exp())
    }
}

/// Median and 1.4826 MAD of the logarithms of scores, each block scored by a fit on the others.
fn held_out(method: Method, kept: &[&Sample]) -> Option<(f64, f64)> {
    if kept.len() < LIMIT_MIN {
        return None;
    }
    let n_folds = FOLDS.min(kept.len());
    let mut logs = Vec::with_capacity(kept.len());
    for fold in 0..n_folds {
        let (from, to) = (fold * kept.len() / n_folds, (fold + 1) * kept.len() / n_folds);
        let rest: Vec<&Sample> = kept[..from].iter().chain(&kept[to..]).copied().collect();
        let fit = Fit::new(method, &rest);
        logs.extend(kept[from..to].iter().map(|sample| fit.score(sample).max(1e-12).ln()));
    }
    let mid = median(logs.iter().copied())?;
    let sigma = 1.4826 * median(logs.iter().map(|log| (log - mid).abs()))?;
    Some((mid, sigma))
}

impl Fit {
    fn new(method: Method, kept: &[&Sample]) -> Self {
        match method {
            Method::Rms => Self::Rms,
            Method::Mahalanobis => {
                let rows: Vec<&[f64]> = kept.iter().map(|sample| &sample.classic[..]).collect();
                Self::Mahalanobis(Box::new(Ellipsoid::fit(&rows)))
            }
            Method::Neighbour => {
                let bank: Vec<Vec<f64>> = kept.iter().map(|sample| sample.bands.clone()).collect();
                let density = (0..bank.len()).map(|idx| local_distance(&bank, idx)).collect();
                Self::Neighbour { bank, density }
            }
        }
    }

    fn score(&self, sample: &Sample) -> f64 {
        match self {
            Self::Rms => sample.rms,
            Self::Mahalanobis(ellipsoid) => ellipsoid.distance(&sample.classic),
            Self::Neighbour { bank, density } => bank
                .iter()
                .zip(density)
                .map(|(row, near)| (distance(row, &sample.bands), near))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .map_or(0.0, |(far, near)| far / near.max(1e-9)),
        }
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// Mean distance of one row to its nearest few.
fn local_distance(bank: &[Vec<f64>], idx: usize) -> f64 {
    let others = bank.iter().enumerate().filter(|(other, _)| *other != idx);
    let mut near: Vec<f64> = others.map(|(_, row)| distance(row, &bank[idx])).collect();
    near.sort_by(f64::total_cmp);
    mean(near.into_iter().take(NEIGHBOURS)).unwrap_or(1.0)
}

/// Mean, scale and the inverse square root of a shrunk covariance.
struct Ellipsoid {
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// Lower Cholesky factor of the covariance of the standardised features, row by row.
    factor: Vec<Vec<f64>>,
}

impl Ellipsoid {
    /// `rows`: `[n, p]`, at least one.
    ///
    /// # Source
    /// Ledoit and Wolf, J. Multivariate Analysis 88 (2004) 365-411, lemma 3.2 to 3.4.
    fn fit(rows: &[&[f64]]) -> Self {
        let (n, p) = (rows.len() as f64, rows[0].len());
        let column = |j: usize| rows.iter().map(move |row| row[j]);
        let mean: Vec<f64> = (0..p).map(|j| column(j).sum::<f64>() / n).collect();
        let scale: Vec<f64> = (0..p)
            .map(|j| (column(j).map(|x| (x - mean[j]).powi(2)).sum::<f64>() / n).sqrt())
            .map(|sigma| if sigma > 1e-9 { sigma } else { 1.0 })
            .collect();
        let z: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| (0..p).map(|j| (row[j] - mean[j]) / scale[j]).collect())
            .collect();
        let cov = shrunk(&z, p);
        Self { mean, scale, factor: cholesky(cov) }
    }

    /// Mahalanobis distance.
    fn distance(&self, row: &[f64]) -> f64 {
        let p = self.mean.len();
        let mut y = vec![0.0; p];
        for i in 0..p {
            let z = (row[i] - self.mean[i]) / self.scale[i];
            let known: f64 = (0..i).map(|j| self.factor[i][j] * y[j]).sum();
            y[i] = (z - known) / self.factor[i][i];
        }
        y.iter().map(|y| y * y).sum::<f64>().sqrt()
    }
}

/// Sample covariance of centred rows, shrunk towards a multiple of the unit matrix.
fn shrunk(z: &[Vec<f64>], p: usize) -> Vec<Vec<f64>> {
    let n = z.len() as f64;
    let mut cov: Vec<Vec<f64>> = (0..p)
        .map(|i| (0..p).map(|j| z.iter().map(|row| row[i] * row[j]).sum::<f64>() / n).collect())
        .collect();
    let m = (0..p).map(|i| cov[i][i]).sum::<f64>() / p as f64;
    let target = |i: usize, j: usize| if i == j { m } else { 0.0 };
    let pairs = || (0..p).flat_map(|i| (0..p).map(move |j| (i, j)));
    let d2: f64 = pairs().map(|(i, j)| (cov[i][j] - target(i, j)).powi(2)).sum();
    let b2: f64 = z
        .iter()
        .map(|row| pairs().map(|(i, j)| (row[i] * row[j] - cov[i][j]).powi(2)).sum::<f64>())
        .sum::<f64>()
        / (n * n);
    let share = if d2 > 0.0 { (b2 / d2).min(1.0) } else { 1.0 };
    for (i, j) in pairs() {
        cov[i][j] = share * target(i, j) + (1.0 - share) * cov[i][j];
    }
    cov
}

/// Lower factor; a diagonal that rounding made nothing is lifted.
fn cholesky(mut a: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for i in 0..a.len() {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            let rest = a[i][j] - known;
            a[i][j] = if i == j { rest.max(1e-9).sqrt() } else { rest / a[j][j] };
        }
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(x: f64, y: f64) -> Sample {
        Sample { rms: x.abs(), classic: vec![x, y], bands: vec![x, y] }
    }

    #[test]
    fn cholesky_by_hand() {
        let factor = cholesky(vec![vec![4.0, 2.0], vec![2.0, 5.0]]);
        assert_eq!((factor[0][0], factor[1][0], factor[1][1]), (2.0, 1.0, 2.0));
    }

    #[test]
    fn shrinkage_by_hand() {
        // Rows (1, 1), (-1, -1): S is all ones, m = 1, d2 = 2; every row's outer product is S, so
        // b2 = 0 and nothing is shrunk. Rows (1, 0), (0, 1), (-1, 0), (0, -1): S = I / 2 = m I.
        let whole = shrunk(&[vec![1.0, 1.0], vec![-1.0, -1.0]], 2);
        assert_eq!(whole, [[1.0, 1.0], [1.0, 1.0]]);
        let round = shrunk(&[vec![1.0, 0.0], vec![0.0, 1.0], vec![-1.0, 0.0], vec![0.0, -1.0]], 2);
        assert_eq!(round, [[0.5, 0.0], [0.0, 0.5]]);
    }

    #[test]
    fn every_rival_finds_what_is_far() {
        let learned: Vec<Sample> = (0..40)
            .map(|i| f64::from(i) * 2.4)
            .map(|t| sample(5.0 + t.sin(), t.cos() + 0.2 * (3.0 * t).sin()))
            .collect();
        for (rival, name) in Rival::fit_all(&learned).iter().zip(Rival::NAMES) {
            let limit = rival.limit(Z_WINDOW).unwrap();
            assert!(rival.score(&sample(30.0, 9.0)) > limit, "{name}");
            let n_over = learned.iter().filter(|s| rival.score(s) > limit).count();
            assert!(n_over <= 4, "{name}: {n_over} of 40");
        }
        assert!(Rival::fit_all(&learned[..1]).is_empty());
    }
}
