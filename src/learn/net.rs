//! The network as the foundry holds it: float weights, forwards and backwards.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Axis};

use super::chance::Chance;
use super::slide::Slid;
use super::train::Moves;

/// A low-rank path beside the weights: `y += up (down x)`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    /// `[rank, n_in]`.
    pub(super) down: Array2<f32>,
    /// `[n_out, rank]`.
    pub(super) up: Array2<f32>,
}

/// `y = act(W x + b + side)`, over the whole input or sliding along time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dense {
    /// `[n_out, n_in]`; of a layer that slides, over one window of its input.
    pub(super) weight: Array2<f32>,
    /// `[n_out]`.
    pub(super) bias: Array1<f32>,
    /// Whether negative outputs become 0.
    pub(super) relu: bool,
    /// Adapter, if any.
    pub(super) side: Option<Path>,
    /// How it slides, if it does.
    pub(super) slid: Option<Slid>,
}

/// One link of the chain.
#[allow(clippy::large_enum_variant, reason = "a network has a handful of them")]
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Block {
    /// A layer.
    Dense(Dense),
    /// `y = act(x + body(x))`.
    Residual {
        /// Layers that keep the width.
        body: Vec<Dense>,
        /// Whether negative outputs become 0.
        relu: bool,
    },
}

/// A chain of dense layers and residual blocks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Net {
    /// In order.
    pub(super) blocks: Vec<Block>,
}

/// Gradients of one layer.
#[derive(Clone, Debug)]
pub(super) struct Slope {
    /// Empty, as the bias is, where only adapters move.
    pub(super) weight: Array2<f32>,
    pub(super) bias: Array1<f32>,
    /// Of the adapter's `up`; its `down` stands still.
    pub(super) up: Option<Array2<f32>>,
}

/// What one step of the chain does; numbers are places in the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Layer `layer`, counted through the residual blocks, from `src` to the next place.
    Dense { layer: usize, src: usize },
    /// Sum of two places, with or without ReLU.
    Add { a: usize, b: usize, relu: bool },
}

/// The values between the steps: place 0 is the input, step `i` writes place `i + 1`; `[n, width]`.
pub(super) struct Tape {
    pub(super) values: Vec<Array2<f32>>,
    /// At and above this a value was cut off, and passes no gradient; per place.
    pub(super) ceilings: Vec<f32>,
    /// At and below this likewise.
    pub(super) floors: Vec<f32>,
}

impl Tape {
    /// The output.
    pub(super) fn output(&self) -> &Array2<f32> {
        self.values.last().expect("a tape begins with its input")
    }
}

impl Dense {
    /// Random weights by He's rule for ReLU, uniform; no bias.
    ///
    /// # Source
    /// He et al., ICCV 2015, equation 10.
    pub(super) fn random(n_in: usize, n_out: usize, relu: bool, chance: &mut Chance) -> Self {
        let gain = if relu { 6.0 } else { 3.0 };
        let bound = (gain / n_in as f32).sqrt();
        let weight = Array2::from_shape_simple_fn((n_out, n_in), || chance.between(-bound, bound));
        Self { weight, bias: Array1::zeros(n_out), relu, side: None, slid: None }
    }

    /// Inputs.
    pub(super) fn n_in(&self) -> usize {
        self.weight.ncols()
    }

    /// Outputs.
    pub(super) fn n_out(&self) -> usize {
        self.weight.nrows()
    }

    /// Before the activation, a row for each of `n` items.
    pub(super) fn linear(&self, x: &Array2<f32>) -> Array2<f32> {
        let rows = self.rows(x);
        let mut y = self.product(&self.weight, &rows.view());
        for row in in_order(&mut y).chunks_exact_mut(self.n_out()) {
            row.iter_mut().zip(&self.bias).for_each(|(y, bias)| *y += bias);
        }
        if let Some(side) = &self.side {
            general_mat_mul(1.0, &rows.dot(&side.down.t()), &side.up.t(), 1.0, &mut y);
        }
        self.flat(y)
    }
}

impl Net {
    /// Its layers, those in residual blocks included.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Dense> {
        self.blocks.iter().flat_map(|block| match block {
            Block::Dense(dense) => std::slice::from_ref(dense),
            Block::Residual { body, .. } => body,
        })
    }

    /// The same, to change them.
    pub(super) fn layers_mut(&mut self) -> impl Iterator<Item = &mut Dense> {
        self.blocks.iter_mut().flat_map(|block| match block {
            Block::Dense(dense) => std::slice::from_mut(dense),
            Block::Residual { body, .. } => body,
        })
    }

    /// Pairs of layers of which the second takes what the first gives, and nobody else does.
    pub(super) fn pairs(&self) -> Vec<(usize, usize)> {
        let (mut pairs, mut layer) = (Vec::new(), 0);
        let mut before = false;
        for block in &self.blocks {
            match block {
                Block::Dense(_) => {
                    if before {
                        pairs.push((layer - 1, layer));
                    }
                    layer += 1;
                    before = true;
                }
                Block::Residual { body, .. } => {
                    pairs
                        .extend((layer + 1..layer + body.len()).map(|second| (second - 1, second)));
                    layer += body.len();
                    before = false;
                }
            }
        }
        pairs
    }

    /// The steps, in order.
    pub(super) fn ops(&self) -> Vec<Op> {
        let (mut ops, mut layer) = (Vec::new(), 0);
        for block in &self.blocks {
            let begin = ops.len();
            let n_layers = match block {
                Block::Dense(_) => 1,
                Block::Residual { body, .. } => body.len(),
            };
            for _ in 0..n_layers {
                ops.push(Op::Dense { layer, src: ops.len() });
                layer += 1;
            }
            if let Block::Residual { relu, .. } = block {
                ops.push(Op::Add { a: begin, b: ops.len(), relu: *relu });
            }
        }
        ops
    }

    /// Where on the tape each layer takes its input from.
    pub(super) fn sources(&self) -> Vec<usize> {
        let source = |op| if let Op::Dense { src, .. } = op { Some(src) } else { None };
        self.ops().into_iter().filter_map(source).collect()
    }

    /// Runs it, keeping what the way back needs.
    pub(super) fn forward(&self, x: Array2<f32>) -> Tape {
        let layers: Vec<&Dense> = self.layers().collect();
        let mut values = vec![x];
        for op in self.ops() {
            let (mut y, relu) = match op {
                Op::Dense { layer, src } => {
                    (layers[layer].linear(&values[src]), layers[layer].relu)
                }
                Op::Add { a, b, relu } => (&values[a] + &values[b], relu),
            };
            if relu {
                y.mapv_inplace(|v| v.max(0.0));
            }
            values.push(y);
        }
        let n = values.len();
        Tape { values, ceilings: vec![f32::INFINITY; n], floors: vec![f32::NEG_INFINITY; n] }
    }

    /// Gradients of what moves in every layer, given the tape and the gradient at the output.
    pub(super) fn backward(&self, tape: &Tape, at_output: Array2<f32>, moves: Moves) -> Vec<Slope> {
        let layers: Vec<&Dense> = self.layers().collect();
        let mut slopes: Vec<Option<Slope>> = layers.iter().map(|_| None).collect();
        let mut at: Vec<Option<Array2<f32>>> = tape.values.iter().map(|_| None).collect();
        *at.last_mut().expect("a tape begins with its input") = Some(at_output);
        for (i, op) in self.ops().into_iter().enumerate().rev() {
            let mut dy = at[i + 1].take().expect("every place leads to the output");
            let relu = match op {
                Op::Dense { layer, .. } => layers[layer].relu,
                Op::Add { relu, .. } => relu,
            };
            let floor = if relu { 0.0 } else { tape.floors[i + 1] };
            let ceiling = tape.ceilings[i + 1];
            let y = tape.values[i + 1].as_slice().expect("values lie in order");
            for (dy, y) in in_order(&mut dy).iter_mut().zip(y) {
                *dy = if *y <= floor || *y >= ceiling { 0.0 } else { *dy };
            }
            match op {
                Op::Dense { layer, src } => {
                    let (slope, dx) =
                        way_back(layers[layer], &tape.values[src], &dy, src > 0, moves);
                    slopes[layer] = Some(slope);
                    if let Some(dx) = dx {
                        gather(&mut at[src], dx);
                    }
                }
                Op::Add { a, b, .. } => {
                    gather(&mut at[a], dy.clone());
                    gather(&mut at[b], dy);
                }
            }
        }
        slopes.into_iter().map(|slope| slope.expect("every layer is on the way")).collect()
    }
}

/// The numbers of an array made here, row by row.
pub(super) fn in_order(values: &mut Array2<f32>) -> &mut [f32] {
    values.as_slice_mut().expect("arrays made here lie in order")
}

fn gather(place: &mut Option<Array2<f32>>, more: Array2<f32>) {
    *place = Some(match place.take() {
        Some(there) => there + more,
        None => more,
    });
}

/// Gradients of one layer and of its input (none where nobody asks).
fn way_back(
    dense: &Dense,
    x: &Array2<f32>,
    dy: &Array2<f32>,
    wants_dx: bool,
    moves: Moves,
) -> (Slope, Option<Array2<f32>>) {
    let (rows, dy) = (dense.rows(x), dense.by_window(dy));
    let up = dense.side.as_ref().map(|side| dy.t().dot(&rows.dot(&side.down.t())));
    let dx = wants_dx.then(|| {
        let mut dx = dense.rows_slope(&dy);
        if let Some(side) = &dense.side {
            general_mat_mul(1.0, &dy.dot(&side.up), &side.down, 1.0, &mut dx);
        }
        dense.unrows(dx)
    });
    let (weight, bias) = match moves {
        Moves::All => (dense.weight_slope(&rows.view(), &dy), dy.sum_axis(Axis(0))),
        Moves::Ups => (Array2::zeros((0, 0)), Array1::zeros(0)),
    };
    (Slope { weight, bias, up }, dx)
}
