//! Weights from a codebook: few different values, so that their numbers can be stored.

use ndarray::Array2;

use super::Error;
use super::integer::Precision;
use super::net::Net;
use super::piece::{Foundry, Outcome, Piece};
use super::quantize::apply;
use super::train::{Goal, Watch};
use crate::nn::Model;

/// Rounds of Lloyd's iteration.
const ROUNDS: usize = 12;

/// Lets the weights of each layer take at most `centroids` different values (2 to 256), fits the values,
/// and quantises to INT8: up to 16 of them the file stores four-bit numbers.
///
/// # Errors
/// `Error::Gate` if it would cost too much; `Error::Ask` for a number out of range.
///
/// # Source
/// Han et al., ICLR 2016, section 3: linear start, Lloyd, the gradient of a value the sum over its
/// weights; here one scale per layer, so that the codes are shared as the values are.
pub fn share(
    foundry: &Foundry<'_>,
    model: &Model,
    centroids: usize,
    watch: Watch<'_>,
) -> Result<Outcome, Error> {
    if !(2..=256).contains(&centroids) {
        let why = format!("{centroids} is not 2 to 256");
        return Err(Error::Ask { key: "centroids", why });
    }
    let mut piece = Piece::of(model);
    piece.codes = None;
    let books: Vec<Vec<usize>> =
        piece.net.layers().map(|dense| assign(&dense.weight, centroids)).collect();
    let project = |net: &mut Net| {
        for (dense, book) in net.layers_mut().zip(&books) {
            settle(&mut dense.weight, book, centroids);
        }
    };
    let teacher = piece.net.clone();
    project(&mut piece.net);
    let goal = Goal { project: Some(&project), what: "sharing", ..Goal::default() };
    foundry.heal(&mut piece, &teacher, &goal, &mut *watch);
    let step = format!("share --centroids {centroids}");
    let n_layers = piece.net.layers().count();
    apply(foundry, &mut piece, vec![Precision::Int8; n_layers], true);
    foundry.close(model, &piece, &step)
}

/// Which value each weight takes; 0 is always one of them, so that empty blocks stay empty.
fn assign(weight: &Array2<f32>, n: usize) -> Vec<usize> {
    let (low, high) = weight.fold((0.0_f32, 0.0_f32), |(l, h), w| (l.min(*w), h.max(*w)));
    let step = (high - low) / (n - 1) as f32;
    let mut values: Vec<f32> = (0..n).map(|i| low + step * i as f32).collect();
    let zero = (0..n).min_by(|a, b| values[*a].abs().total_cmp(&values[*b].abs()));
    let zero = zero.expect("there are two values or more");
    values[zero] = 0.0;
    let mut book = vec![0; weight.len()];
    for _ in 0..ROUNDS {
        let mut sums = vec![(0.0_f64, 0_usize); n];
        for (place, w) in book.iter_mut().zip(weight) {
            *place = nearest(&values, *w);
            sums[*place].0 += f64::from(*w);
            sums[*place].1 += 1;
        }
        for (i, (sum, count)) in sums.into_iter().enumerate() {
            if count > 0 && i != zero {
                values[i] = (sum / count as f64) as f32;
            }
        }
    }
    book
}

/// The values lie in order: the nearest is one of two neighbours.
fn nearest(values: &[f32], w: f32) -> usize {
    let above = values.partition_point(|value| *value < w).min(values.len() - 1);
    let below = above.saturating_sub(1);
    if (w - values[below]).abs() <= (values[above] - w).abs() { below } else { above }
}

/// Every weight becomes the mean of those it shares its value with.
fn settle(weight: &mut Array2<f32>, book: &[usize], n: usize) {
    let mut sums = vec![(0.0_f64, 0_usize); n];
    for (place, w) in book.iter().zip(weight.iter()) {
        sums[*place].0 += f64::from(*w);
        sums[*place].1 += 1;
    }
    for (w, place) in weight.iter_mut().zip(book) {
        *w = (sums[*place].0 / sums[*place].1 as f64) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_lie_apart_are_found() {
        let weight = ndarray::arr2(&[[-1.0, -1.02, 0.0, 0.5], [0.52, 1.0, 0.98, -0.98]]);
        let book = assign(&weight, 5);
        let mut shared = weight.clone();
        settle(&mut shared, &book, 5);
        let mut values: Vec<f32> = shared.iter().copied().collect();
        values.sort_by(f32::total_cmp);
        values.dedup();
        assert_eq!(values.len(), 4, "{values:?}");
        assert!((&shared - &weight).iter().all(|d| d.abs() < 0.021), "{shared}");
    }
}
