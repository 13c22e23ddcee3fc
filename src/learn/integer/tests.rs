//! The foundry's integers against the engine's, bit for bit.

use proptest::prelude::*;

use super::*;
use crate::learn::chance::Chance;
use crate::learn::convert::{lift, lower};
use crate::learn::net::Block;
use crate::nn::{Engine, Shape};

/// Of what slides.
const SHAPE: Shape = Shape { len: 4, channels: 9 };

/// Dense layers and a residual block, of widths that leave tails.
fn net(seed: u64) -> Net {
    let mut chance = Chance::new(seed, 1);
    let mut dense = |n_in, n_out, relu| {
        let mut dense = Dense::random(n_in, n_out, relu, &mut chance);
        dense.bias.mapv_inplace(|_| chance.between(-0.5, 0.5));
        dense
    };
    let body = vec![dense(21, 9, true), dense(9, 21, false)];
    let blocks = vec![
        Block::Dense(dense(36, 21, true)),
        Block::Residual { body, relu: true },
        Block::Dense(dense(21, 36, false)),
    ];
    Net { blocks }
}

/// Convolutions, plain and depthwise, with padded ends, and a residual block of them.
fn sliding(seed: u64) -> Net {
    let mut chance = Chance::new(seed, 3);
    let stages = ["conv9x3", "depth3", "conv9x1", "depth2/2", "21"].map(|s| s.parse().expect(s));
    let mut net = Net::random(SHAPE, &stages, &mut chance).expect("five stages");
    for dense in net.layers_mut() {
        dense.bias.mapv_inplace(|_| chance.between(-0.5, 0.5));
    }
    let Block::Dense(body) = net.blocks.remove(1) else { unreachable!("stages give layers") };
    net.blocks.insert(1, Block::Residual { body: vec![body], relu: true });
    net
}

fn rows(n: usize, seed: u64, most: f32) -> Array2<f32> {
    let mut chance = Chance::new(seed, 2);
    Array2::from_shape_simple_fn((n, 36), || chance.between(-most, most))
}

fn engine_says(net: &Net, codes: &Codes, x: &Array2<f32>) -> Array2<f32> {
    let is_sliding = net.layers().any(|dense| dense.slid.is_some());
    let shape = if is_sliding { SHAPE } else { Shape { len: 1, channels: 36 } };
    let graph = lower(net, shape, Some(codes));
    let mut engine = Engine::new(&graph, 1).expect("a small graph");
    let mut out = Array2::zeros((x.nrows(), 36));
    for (x, mut y) in x.axis_iter(Axis(0)).zip(out.axis_iter_mut(Axis(0))) {
        let x = x.to_vec();
        engine.run(&x, y.as_slice_mut().expect("rows lie in order"));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn integers_are_what_the_engine_computes(
        seed in 0_u64..1000, most in 0.5_f32..6.0, one in any::<bool>(), slides in any::<bool>(), seven in any::<bool>(),
    ) {
        let net = if slides { sliding(seed) } else { net(seed) };
        let n_layers = net.layers().count();
        let precision = if seven { Precision::Int7 } else { Precision::Int8 };
        let mut codes = Codes::observe(&net, &rows(64, seed, 2.0), vec![precision; n_layers]);
        codes.one_scale = one;
        // Up to three times what was observed: saturation counts too.
        let x = rows(16, seed + 1, most);
        let tape = codes.in_force(&net).forward(x.clone());
        prop_assert_eq!(tape.output(), &engine_says(&net, &codes, &x));
        for (layer, (dense, src)) in net.layers().zip(net.sources()).enumerate() {
            let (Weights::Int8 { codes, .. }, _) = codes.weights(dense, layer, src) else {
                unreachable!("integers")
            };
            let largest = codes.iter().map(|code| code.unsigned_abs()).max();
            let most = if seven { 64 } else { 127 };
            prop_assert_eq!(largest, Some(most));
        }
    }
}

#[test]
fn other_precisions_differ_by_a_rounding_at_most() {
    for precision in [Precision::Int4, Precision::F16, Precision::F32] {
        let net = net(3);
        let x = rows(32, 4, 2.0);
        let codes = Codes::observe(&net, &x, vec![precision; 4]);
        let tape = codes.in_force(&net).forward(x.clone());
        let far = (tape.output() - &engine_says(&net, &codes, &x)).mapv(f32::abs);
        let most = far.iter().copied().fold(0.0, f32::max);
        assert!(most < 0.05, "{}: {most}", precision.name());
    }
}

#[test]
fn a_model_lifted_and_lowered_is_the_same() {
    let net = net(5);
    let x = rows(64, 6, 2.0);
    for precision in [Precision::Int8, Precision::F16] {
        let codes = Codes::observe(&net, &x, vec![precision; 4]);
        let shape = Shape { len: 1, channels: 36 };
        let graph = lower(&net, shape, Some(&codes));
        let (lifted, again) = lift(&graph);
        let tape = codes.in_force(&net).forward(x.clone());
        let back = again.expect("it has codes").in_force(&lifted).forward(x.clone());
        let far = (tape.output() - back.output()).mapv(f32::abs);
        assert!(far.iter().all(|d| *d < 0.03), "{}", precision.name());
    }
}
