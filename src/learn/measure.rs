//! What a model is worth: how well it reproduces what is normal, and whether a fault stands out.

use super::Error;
use super::data::{Corpus, Trial, Windows};
use crate::nn::Model;

/// Numbers by which two models are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// Mean square residual of normal windows, normalised units.
    pub mse: f64,
    /// Area under the ROC curve, mean over the generated machines; NaN without any.
    pub auc: f64,
    /// The worst of them.
    pub auc_worst: f64,
    /// Mean square residual of each window of the validation set.
    pub scores: Vec<f32>,
}

/// How much worse a step may make a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// Area under the ROC curve lost, at the most, where there are machines with faults to see it by.
    pub auc_loss_max: f64,
    /// Growth of the mean square residual of what is normal, at the most; 1.1 is a tenth more.
    pub mse_ratio_max: f64,
    /// Rank correlation of the scores with those before, at the least.
    pub rank_min: f64,
}

impl Default for Gate {
    /// `auc_loss_max` as the shipped models must keep; the others so that limits set before still
    /// mean something after.
    fn default() -> Self {
        Self { auc_loss_max: 0.005, mse_ratio_max: 1.5, rank_min: 0.9 }
    }
}

impl Gate {
    /// Whether `after` may take the place of `before`.
    ///
    /// # Errors
    /// `Error::Gate` with the number that fails.
    pub fn check(&self, step: &str, before: &Marks, after: &Marks) -> Result<(), Error> {
        let fail = |why: String| Err(Error::Gate { step: step.to_owned(), why });
        let lost = before.auc - after.auc;
        if lost > self.auc_loss_max {
            let max = self.auc_loss_max;
            return fail(format!("AUC falls by {lost:.4}, at most {max} is allowed"));
        }
        let ratio = after.mse / before.mse.max(1e-12);
        if ratio.is_nan() || ratio > self.mse_ratio_max {
            let max = self.mse_ratio_max;
            return fail(format!("the normal residual grows {ratio:.3} times, {max} is allowed"));
        }
        let rank = rank_correlation(&before.scores, &after.scores);
        if rank < self.rank_min {
            let min = self.rank_min;
            return fail(format!("scores keep a rank correlation of {rank:.3}, {min} is needed"));
        }
        Ok(())
    }
}

/// Mean square residual of every window.
pub fn scores(model: &Model, windows: &Windows) -> Vec<f32> {
    let mut runner = model.runner();
    let mut residual = vec![0.0; windows.n_in];
    let vectors = windows.db.chunks_exact(windows.n_in);
    vectors.map(|vector| runner.run(vector, &mut residual)).collect()
}

/// Measures a model on a corpus: validation windows, and the machines with faults.
pub fn marks(model: &Model, corpus: &Corpus) -> Marks {
    let scores = scores(model, &corpus.valid);
    let mse = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / scores.len().max(1) as f64;
    let of = |trial: &Trial| {
        let (healthy, ill) = departures(model, trial);
        area(&healthy, &ill)
    };
    let areas: Vec<f64> = corpus.trials.iter().filter_map(of).collect();
    let auc = areas.iter().sum::<f64>() / areas.len() as f64;
    let auc_worst = areas.iter().copied().fold(f64::NAN, f64::min);
    Marks { mse, auc, auc_worst, scores }
}

/// Scores of a machine's healthy windows and of its ill ones. As on site, what was learned there says
/// what residual is usual; what is scored is the mean square departure from it.
pub fn departures(model: &Model, trial: &Trial) -> (Vec<f64>, Vec<f64>) {
    let n_in = trial.learned.n_in;
    let mut runner = model.runner();
    let mut residual = vec![0.0; n_in];
    let mut usual = vec![0.0_f64; n_in];
    let n_learned = trial.learned.len().max(1) as f64;
    for vector in trial.learned.db.chunks_exact(n_in) {
        runner.run(vector, &mut residual);
        usual.iter_mut().zip(&residual).for_each(|(u, r)| *u += f64::from(*r) / n_learned);
    }
    let mut scored = |windows: &Windows| -> Vec<f64> {
        let departure = |vector: &[f32]| {
            runner.run(vector, &mut residual);
            let squares = residual.iter().zip(&usual).map(|(r, u)| (f64::from(*r) - u).powi(2));
            squares.sum::<f64>() / n_in as f64
        };
        windows.db.chunks_exact(n_in).map(departure).collect()
    };
    (scored(&trial.normal), scored(&trial.ill))
}

/// The chance that an ill window scores above a healthy one; `None` where either is missing.
pub(super) fn area(healthy: &[f64], ill: &[f64]) -> Option<f64> {
    if healthy.is_empty() || ill.is_empty() {
        return None;
    }
    let half = |a: &f64, b: &f64| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
    let wins: f64 = ill.iter().map(|a| healthy.iter().map(|b| half(a, b)).sum::<f64>()).sum();
    Some(wins / (healthy.len() * ill.len()) as f64)
}

/// Spearman's rank correlation, -1 to 1; equal values share their mean rank. 1 for fewer than two.
///
/// # Panics
/// If the lengths differ: a bug in the caller.
pub fn rank_correlation(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "both rank the same things");
    if a.len() < 2 {
        return 1.0;
    }
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let sum = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    let scale = (sum(&a, &a) * sum(&b, &b)).sqrt();
    if scale == 0.0 { 1.0 } else { sum(&a, &b) / scale }
}

fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|i, j| values[*i].total_cmp(&values[*j]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for run in order.chunk_by(|i, j| values[*i] == values[*j]) {
        let mean = first as f64 + (run.len() as f64 - 1.0) / 2.0;
        for i in run {
            ranks[*i] = mean;
        }
        first += run.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_compared_not_values() {
        let a = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(rank_correlation(&a, &[1.0, 10.0, 100.0, 1000.0]), 1.0);
        assert_eq!(rank_correlation(&a, &[4.0, 3.0, 2.0, 1.0]), -1.0);
        // Closed form 1 - 6 sum d^2 / (n (n^2 - 1)) with d = 0, 1, 1, 0.
        assert!((rank_correlation(&a, &[1.0, 3.0, 2.0, 4.0]) - 0.8).abs() < 1e-12);
    }

    #[test]
    fn the_gate_names_what_fails() {
        let marks =
            |mse, auc, scores: &[f32]| Marks { mse, auc, auc_worst: auc, scores: scores.to_vec() };
        let before = marks(1.0, 0.9, &[1.0, 2.0, 3.0]);
        let check =
            |after: Marks, expect: &str| match Gate::default().check("the step", &before, &after) {
                Ok(()) => assert_eq!(expect, ""),
                Err(error) => assert!(error.to_string().contains(expect), "{error}"),
            };
        check(marks(1.4, 0.896, &[2.0, 3.0, 4.0]), "");
        check(marks(1.0, 0.89, &[1.0, 2.0, 3.0]), "AUC falls by 0.0100");
        check(marks(2.0, 0.9, &[1.0, 2.0, 3.0]), "grows 2.000 times");
        check(marks(1.0, 0.9, &[3.0, 2.0, 1.0]), "rank correlation of -1.000");
    }
}
