//! Between a model and the network the foundry works on.

use ndarray::{Array1, Array2};

use super::integer::{Codes, Precision, half_of};
use super::net::{Block, Dense, Net, Op, Path};
use super::slide::Slid;
use crate::nn::{Bias, Graph, INT4_GROUP, Layer, Linear, Quant, Shape, Side, Weights};

/// The network of a graph, and its codes if it computes in any.
pub(super) fn lift(graph: &Graph) -> (Net, Option<Codes>) {
    let mut lift = Lift {
        from: graph.input,
        places: vec![graph.input_quant],
        layers: Vec::new(),
        one_scale: false,
    };
    let mut blocks = Vec::new();
    for layer in &graph.layers {
        blocks.push(match layer {
            Layer::Residual { body, relu, out } => {
                let body = body.iter().map(|layer| lift.dense(layer)).collect();
                lift.places.push(*out);
                Block::Residual { body, relu: *relu }
            }
            _ => Block::Dense(lift.dense(layer)),
        });
    }
    let codes = Codes { places: lift.places, layers: lift.layers, one_scale: lift.one_scale };
    let in_float = codes.layers.iter().all(|precision| *precision == Precision::F32);
    (Net { blocks }, if in_float { None } else { Some(codes) })
}

struct Lift {
    from: Shape,
    places: Vec<Option<Quant>>,
    layers: Vec<Precision>,
    one_scale: bool,
}

impl Lift {
    fn dense(&mut self, layer: &Layer) -> Dense {
        let (linear, slid) = match layer {
            Layer::Dense(linear) => (linear, None),
            Layer::Conv { linear, slide } => (linear, Some((*slide, false))),
            Layer::Depthwise { linear, slide } => (linear, Some((*slide, true))),
            Layer::Residual { .. } => unreachable!("the graph was checked: no residual in another"),
        };
        let slid = slid.map(|(slide, depthwise)| Slid { from: self.from, slide, depthwise });
        let from = *self.places.last().expect("the input is a place");
        let (n_in, n_out) = (linear.n_in, linear.n_out);
        let in_scale = from.map_or(1.0, |quant| quant.scale);
        let (precision, weight) = real(linear);
        let bias = match (&linear.bias, &linear.weights) {
            (Bias::I32(bias), Weights::Int8 { scales, .. }) => {
                let step = |o: usize| in_scale * scales[if scales.len() == 1 { 0 } else { o }];
                bias.iter().enumerate().map(|(o, b)| *b as f32 * step(o)).collect()
            }
            (Bias::F32(bias), _) => bias.clone(),
            (Bias::I32(bias), _) => bias.iter().map(|b| *b as f32).collect(),
        };
        let shaped = |rows, cols, values| {
            Array2::from_shape_vec((rows, cols), values).expect("the graph was checked")
        };
        let wide = |values: &[half::f16]| values.iter().map(|x| x.to_f32()).collect();
        let side = linear.side.as_ref().map(|side| Path {
            down: shaped(side.rank, n_in, wide(&side.down)),
            up: shaped(n_out, side.rank, wide(&side.up)),
        });
        let one = |w: &Weights| matches!(w, Weights::Int8 { scales, .. } if scales.len() == 1);
        self.one_scale |= one(&linear.weights) && n_out > 1;
        self.places.push(linear.out);
        self.layers.push(precision);
        let weight = shaped(n_out, n_in, weight);
        let dense = Dense { weight, bias: Array1::from_vec(bias), relu: linear.relu, side, slid };
        self.from = dense.shape();
        dense
    }
}

/// Weights as real numbers, and how they were held.
fn real(linear: &Linear) -> (Precision, Vec<f32>) {
    let n_in = linear.n_in;
    match &linear.weights {
        Weights::F32(values) => (Precision::F32, values.clone()),
        Weights::F16(values) => (Precision::F16, values.iter().map(|x| x.to_f32()).collect()),
        Weights::Int8 { codes, scales } => {
            let scale = |at: usize| scales[if scales.len() == 1 { 0 } else { at / n_in }];
            let values = codes.iter().enumerate().map(|(at, code)| f32::from(*code) * scale(at));
            let is_seven = codes.iter().all(|code| i32::from(*code).abs() <= Precision::INT7_MAX);
            (if is_seven { Precision::Int7 } else { Precision::Int8 }, values.collect())
        }
        Weights::Int4 { codes, scales } => {
            let n_groups = n_in.div_ceil(INT4_GROUP);
            let scale = |at: usize| scales[at / n_in * n_groups + at % n_in / INT4_GROUP].to_f32();
            let values = codes.iter().enumerate().map(|(at, code)| f32::from(*code) * scale(at));
            (Precision::Int4, values.collect())
        }
    }
}

/// The graph of a network over `shape`, in codes if there are any.
pub(super) fn lower(net: &Net, shape: Shape, codes: Option<&Codes>) -> Graph {
    let layers: Vec<&Dense> = net.layers().collect();
    let float = Codes {
        places: vec![None; net.ops().len() + 1],
        layers: vec![Precision::F32; layers.len()],
        one_scale: false,
    };
    let codes = codes.unwrap_or(&float);
    let mut ops = net.ops().into_iter().enumerate();
    let mut next = || {
        let (i, op) = ops.next().expect("as many steps as layers and sums");
        let out = codes.places[i + 1];
        match op {
            Op::Dense { layer, src } => (Some(held(layers[layer], codes, layer, src, out)), out),
            Op::Add { .. } => (None, out),
        }
    };
    let block = |block: &Block| match block {
        Block::Dense(_) => next().0.expect("the step of a layer"),
        Block::Residual { body, relu } => {
            let body = body.iter().map(|_| next().0.expect("the step of a layer")).collect();
            Layer::Residual { body, relu: *relu, out: next().1 }
        }
    };
    let layers = net.blocks.iter().map(block).collect();
    Graph { input: shape, input_quant: codes.places[0], layers }
}

fn held(dense: &Dense, codes: &Codes, layer: usize, src: usize, out: Option<Quant>) -> Layer {
    let (weights, bias) = codes.weights(dense, layer, src);
    let side = dense.side.as_ref().map(|side| Side {
        rank: side.down.nrows(),
        down: side.down.iter().map(|x| half_of(*x)).collect(),
        up: side.up.iter().map(|x| half_of(*x)).collect(),
    });
    let (n_in, n_out, relu) = (dense.n_in(), dense.n_out(), dense.relu);
    let linear = Linear { n_in, n_out, weights, bias, relu, side, out };
    match dense.slid {
        None => Layer::Dense(linear),
        Some(Slid { slide, depthwise: false, .. }) => Layer::Conv { linear, slide },
        Some(Slid { slide, depthwise: true, .. }) => Layer::Depthwise { linear, slide },
    }
}
