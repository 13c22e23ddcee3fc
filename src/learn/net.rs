//! The network as the foundry holds it: float weights, forwards and backwards.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip};

use super::chance::Chance;

/// A low-rank path beside the weights: `y += up (down x)`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    /// `[rank, n_in]`.
    pub(super) down: Array2<f32>,
    /// `[n_out, rank]`.
    pub(super) up: Array2<f32>,
}

/// `y = act(W x + b + side)`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dense {
    /// `[n_out, n_in]`.
    pub(super) weight: Array2<f32>,
    /// `[n_out]`.
    pub(super) bias: Array1<f32>,
    /// Whether negative outputs become 0.
    pub(super) relu: bool,
    /// Adapter, if any.
    pub(super) side: Option<Path>,
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
        Self { weight, bias: Array1::zeros(n_out), relu, side: None }
    }

    /// Inputs.
    pub(super) fn n_in(&self) -> usize {
        self.weight.ncols()
    }

    /// Outputs.
    pub(super) fn n_out(&self) -> usize {
        self.weight.nrows()
    }

    /// Before the activation: `[n, n_in]` to `[n, n_out]`.
    pub(super) fn linear(&self, x: &ArrayView2<'_, f32>) -> Array2<f32> {
        let mut y = Array2::zeros((x.nrows(), self.n_out()));
        y += &self.bias;
        general_mat_mul(1.0, x, &self.weight.t(), 1.0, &mut y);
        if let Some(side) = &self.side {
            general_mat_mul(1.0, &x.dot(&side.down.t()), &side.up.t(), 1.0, &mut y);
        }
        y
    }
}

impl Net {
    /// An autoencoder: `widths` from input to code and back; ReLU on all but the last.
    pub(super) fn random(widths: &[usize], chance: &mut Chance) -> Self {
        let n_layers = widths.len() - 1;
        let layer = |(i, pair): (usize, &[usize])| {
            Block::Dense(Dense::random(pair[0], pair[1], i + 1 < n_layers, chance))
        };
        Self { blocks: widths.windows(2).enumerate().map(layer).collect() }
    }

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

    /// Runs it, keeping what the way back needs.
    pub(super) fn forward(&self, x: Array2<f32>) -> Tape {
        let layers: Vec<&Dense> = self.layers().collect();
        let mut values = vec![x];
        for op in self.ops() {
            let (mut y, relu) = match op {
                Op::Dense { layer, src } => {
                    (layers[layer].linear(&values[src].view()), layers[layer].relu)
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

    /// Gradients of every layer, given the tape and the gradient at the output.
    pub(super) fn backward(&self, tape: &Tape, at_output: Array2<f32>) -> Vec<Slope> {
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
            Zip::from(&mut dy).and(&tape.values[i + 1]).for_each(|dy, y| {
                if *y <= floor || *y >= ceiling {
                    *dy = 0.0;
                }
            });
            match op {
                Op::Dense { layer, src } => {
                    let (slope, dx) = way_back(layers[layer], &tape.values[src], &dy, src > 0);
                    slopes[layer] = Some(slope);
                    gather(&mut at[src], dx);
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

fn gather(place: &mut Option<Array2<f32>>, more: Array2<f32>) {
    *place = Some(match place.take() {
        Some(there) => there + more,
        None => more,
    });
}

/// Gradients of one layer and of its input (zeros where nobody asks).
fn way_back(
    dense: &Dense,
    x: &Array2<f32>,
    dy: &Array2<f32>,
    wants_dx: bool,
) -> (Slope, Array2<f32>) {
    let up = dense.side.as_ref().map(|side| dy.t().dot(&x.dot(&side.down.t())));
    let dx = if wants_dx {
        let mut dx = dy.dot(&dense.weight);
        if let Some(side) = &dense.side {
            general_mat_mul(1.0, &dy.dot(&side.up), &side.down, 1.0, &mut dx);
        }
        dx
    } else {
        Array2::zeros((0, 0))
    };
    (Slope { weight: dy.t().dot(x), bias: dy.sum_axis(Axis(0)), up }, dx)
}
