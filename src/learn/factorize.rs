//! One layer into two thin ones, where the inputs it sees leave room for it.

use ndarray::{Array1, Array2, Axis};

use super::Error;
use super::integer::Codes;
use super::net::{Block, Dense, Net};
use super::piece::{Foundry, Outcome, Piece};
use super::slide::Slid;
use super::train::{Goal, Watch};
use crate::nn::{Model, Shape, Slide};

/// Sweeps of the Jacobi rotations, at the most; six are usual.
const SWEEPS_MAX: usize = 30;

/// Splits every layer outside residual blocks of which the largest components of its output carry
/// `energy` (above 0, at most 1) of the power at a rank that saves weights, then heals.
///
/// # Errors
/// `Error::Ask` if no layer can be split with a gain; `Error::Gate` if it would cost too much.
///
/// # Source
/// Denton et al., NIPS 2014, section 3, weighted by the inputs as they occur (Yuan et al., ASVD, 2023):
/// with C = E[y y'] = U L U' of the outputs y = W x, W is U_r (U_r' W) for the r that carry the energy.
pub fn factorize(
    foundry: &Foundry<'_>,
    model: &Model,
    energy: f64,
    watch: Watch<'_>,
) -> Result<Outcome, Error> {
    if !(energy > 0.0 && energy <= 1.0) {
        return Err(Error::Ask { key: "energy", why: format!("{energy} is not in 0 to 1") });
    }
    let mut piece = Piece::of(model);
    let rows = foundry.sample(&piece.card);
    let tape = piece.net.forward(rows.clone());
    let teacher = piece.net.clone();
    let places = piece.net.sources();
    let (mut blocks, mut precisions, mut layer, mut n_split) = (Vec::new(), Vec::new(), 0, 0);
    for block in std::mem::take(&mut piece.net.blocks) {
        let n_layers = match &block {
            Block::Dense(_) => 1,
            Block::Residual { body, .. } => body.len(),
        };
        let held = |i: usize| piece.codes.as_ref().map(|codes| codes.layers[i]);
        let thin = match &block {
            Block::Dense(dense) => split(dense, &tape.values[places[layer]], energy),
            Block::Residual { .. } => None,
        };
        if let Some((down, up)) = thin {
            n_split += 1;
            precisions.extend([held(layer), held(layer)]);
            blocks.extend([Block::Dense(down), Block::Dense(up)]);
        } else {
            precisions.extend((layer..layer + n_layers).map(held));
            blocks.push(block);
        }
        layer += n_layers;
    }
    if n_split == 0 {
        let why = format!("no layer carries {energy} of its power at a rank that saves weights");
        return Err(Error::Ask { key: "energy", why });
    }
    piece.net = Net { blocks };
    if let Some(layers) = precisions.into_iter().collect() {
        piece.codes = Some(Codes { places: Vec::new(), layers, one_scale: false });
    }
    foundry.heal(&mut piece, &teacher, &Goal { what: "healing", ..Goal::default() }, watch);
    piece.observe(foundry);
    let step = format!("factorize --energy {energy}");
    foundry.close(model, &piece, &step)
}

/// The two layers, if together they have fewer weights than the one; the roots of the singular values
/// go to both sides, so that neither has wild scales.
fn split(dense: &Dense, x: &Array2<f32>, energy: f64) -> Option<(Dense, Dense)> {
    if dense.side.is_some() || dense.is_depthwise() {
        return None;
    }
    let (n_out, n_in) = dense.weight.dim();
    let x = dense.rows(x);
    let y = x.dot(&dense.weight.t()).mapv(f64::from);
    let power = y.t().dot(&y) / x.nrows().max(1) as f64;
    let (values, vectors) = eigen(power);
    let all: f64 = values.iter().sum();
    let mut carried = 0.0;
    let rank = 1 + values.iter().position(|value| {
        carried += value;
        carried >= energy * all
    })?;
    if rank * (n_in + n_out) >= n_in * n_out {
        return None;
    }
    let mut up = Array2::from_shape_fn((n_out, rank), |(o, r)| vectors[[o, r]] as f32);
    let mut down = up.t().dot(&dense.weight);
    for r in 0..rank {
        let norm = down.row(r).dot(&down.row(r)).sqrt().max(1e-12).sqrt();
        down.row_mut(r).mapv_inplace(|w| w / norm);
        up.column_mut(r).mapv_inplace(|w| w * norm);
    }
    let down = Dense {
        weight: down.as_standard_layout().into_owned(),
        bias: Array1::zeros(rank),
        relu: false,
        side: None,
        slid: dense.slid,
    };
    let slid = dense.slid.map(|slid| Slid {
        from: Shape { len: slid.n_steps(), channels: rank },
        slide: Slide { kernel: 1, stride: 1, same: true },
        depthwise: false,
    });
    let (bias, relu) = (dense.bias.clone(), dense.relu);
    Some((down, Dense { weight: up, bias, relu, side: None, slid }))
}

/// Eigenvalues of a symmetric matrix, largest first, and the vectors in columns.
///
/// # Source
/// Golub and Van Loan, Matrix Computations, 4th ed., algorithm 8.5.2 (cyclic Jacobi).
fn eigen(mut a: Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let n = a.nrows();
    let mut v = Array2::eye(n);
    let size: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS_MAX {
        let off: f64 = a.indexed_iter().filter(|((i, j), _)| i != j).map(|(_, x)| x * x).sum();
        if off <= 1e-20 * size {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|i, j| a[[*j, *j]].total_cmp(&a[[*i, *i]]));
    (order.iter().map(|i| a[[*i, *i]].max(0.0)).collect(), v.select(Axis(1), &order))
}

fn rotate(a: &mut Array2<f64>, v: &mut Array2<f64>, p: usize, q: usize) {
    if a[[p, q]] == 0.0 {
        return;
    }
    let tau = (a[[q, q]] - a[[p, p]]) / (2.0 * a[[p, q]]);
    let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
    let c = 1.0 / (1.0 + t * t).sqrt();
    let s = t * c;
    for k in 0..a.nrows() {
        let (x, y) = (a[[k, p]], a[[k, q]]);
        (a[[k, p]], a[[k, q]]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..a.nrows() {
        let (x, y) = (a[[p, k]], a[[q, k]]);
        (a[[p, k]], a[[q, k]]) = (c * x - s * y, s * x + c * y);
        let (x, y) = (v[[k, p]], v[[k, q]]);
        (v[[k, p]], v[[k, q]]) = (c * x - s * y, s * x + c * y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::chance::Chance;

    #[test]
    fn eigenvalues_of_a_known_matrix() {
        let a = ndarray::arr2(&[[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 5.0]]);
        let (values, vectors) = eigen(a.clone());
        for (got, want) in values.iter().zip([5.0, 3.0, 1.0]) {
            assert!((got - want).abs() < 1e-12, "{values:?}");
        }
        let diagonal = Array2::from_diag(&Array1::from_vec(values));
        let back = vectors.dot(&diagonal).dot(&vectors.t());
        assert!((&back - &a).iter().all(|x| x.abs() < 1e-12));
    }

    #[test]
    fn a_layer_of_low_rank_is_split_without_loss() {
        let mut chance = Chance::new(1, 1);
        let mut random = |n, m| Array2::from_shape_simple_fn((n, m), || chance.between(-1.0, 1.0));
        let weight: Array2<f32> = random(24, 3).dot(&random(3, 32));
        let dense =
            Dense { weight, bias: Array1::from_elem(24, 0.5), relu: true, side: None, slid: None };
        let x = random(100, 32);
        let (down, up) = split(&dense, &x, 1.0 - 1e-9).expect("a rank of three saves weights");
        assert_eq!((down.weight.dim(), up.weight.dim()), ((3, 32), (24, 3)));
        let thin = up.linear(&down.linear(&x));
        let whole = dense.linear(&x);
        assert!((&thin - &whole).iter().all(|d| d.abs() < 1e-4));
        let full = Dense { weight: random(24, 32), ..dense };
        assert!(split(&full, &x, 1.0 - 1e-9).is_none());
    }
}
