//! The foundry's integers against the engine's, bit for bit.

use proptest::prelude::*;

use super::*;
use crate::learn::chance::Chance;
use crate::learn::convert::{lift, lower};
use crate::learn::net::Block;
use crate::nn::{Engine, Shape};

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
        Block::Dense(dense(37, 21, true)),
        Block::Residual { body, relu: true },
        Block::Dense(dense(21, 37, false)),
    ];
    Net { blocks }
}

fn rows(n: usize, seed: u64, most: f32) -> Array2<f32> {
    let mut chance = Chance::new(seed, 2);
    Array2::from_shape_simple_fn((n, 37), || chance.between(-most, most))
}

fn engine_says(net: &Net, codes: &Codes, x: &Array2<f32>) -> Array2<f32> {
    let graph = lower(net, Shape { len: 1, channels: 37 }, Some(codes));
    let mut engine = Engine::new(&graph, 1).expect("a small graph");
    let mut out = Array2::zeros((x.nrows(), 37));
    for (x, mut y) in x.axis_iter(Axis(0)).zip(out.axis_iter_mut(Axis(0))) {
        let x = x.to_vec();
        engine.run(&x, y.as_slice_mut().expect("rows lie in order"));
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn int8_is_what_the_engine_computes(seed in 0_u64..1000, most in 0.5_f32..6.0, one in any::<bool>()) {
        let net = net(seed);
        let mut codes = Codes::observe(&net, &rows(64, seed, 2.0), vec![Precision::Int8; 4]);
        codes.one_scale = one;
        // Up to three times what was observed: saturation counts too.
        let x = rows(16, seed + 1, most);
        let (_, tape) = codes.forward(&net, x.clone());
        prop_assert_eq!(tape.output(), &engine_says(&net, &codes, &x));
    }
}

#[test]
fn other_precisions_differ_by_a_rounding_at_most() {
    for precision in [Precision::Int4, Precision::F16, Precision::F32] {
        let net = net(3);
        let x = rows(32, 4, 2.0);
        let codes = Codes::observe(&net, &x, vec![precision; 4]);
        let (_, tape) = codes.forward(&net, x.clone());
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
        let shape = Shape { len: 1, channels: 37 };
        let graph = lower(&net, shape, Some(&codes));
        let (lifted, again) = lift(&graph).expect("dense layers");
        let (_, tape) = codes.forward(&net, x.clone());
        let (_, back) = again.expect("it has codes").forward(&lifted, x.clone());
        let far = (tape.output() - back.output()).mapv(f32::abs);
        assert!(far.iter().all(|d| *d < 0.03), "{}", precision.name());
    }
}
