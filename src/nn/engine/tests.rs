//! Whole graphs: kernels and batches give the same bits, integers stay near the real numbers.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::nn::dice::Dice;
use crate::nn::format::every_kind;
use crate::nn::graph::{Bias, Layer, Linear, Shape, Side, Slide, Weights};
use crate::nn::{Model, Quant};

/// The values of a graph's layer weights, decoded; the bias too.
fn decoded(linear: &Linear, from: Quant) -> Linear {
    let (Weights::Int8 { codes, scales }, Bias::I32(bias)) = (&linear.weights, &linear.bias) else {
        panic!("made of INT8")
    };
    let scale = |o: usize| *scales.get(o).unwrap_or(&scales[0]);
    let values = codes.iter().enumerate().map(|(at, c)| f32::from(*c) * scale(at / linear.n_in));
    let bias = bias.iter().enumerate().map(|(o, b)| *b as f32 * scale(o) * from.scale);
    Linear {
        weights: Weights::F32(values.collect()),
        bias: Bias::F32(bias.collect()),
        out: None,
        ..linear.clone()
    }
}

fn int8(dice: &mut Dice, n_in: usize, n_out: usize, out: Option<Quant>) -> Linear {
    Linear {
        n_in,
        n_out,
        weights: Weights::Int8 { codes: dice.codes(n_in * n_out, 127), scales: vec![0.002; n_out] },
        bias: Bias::I32((0..n_out).map(|_| dice.next() as i32 % 2000).collect()),
        relu: dice.next().is_multiple_of(2),
        side: None,
        out,
    }
}

fn run(graph: &Graph, input: &[f32], batch: usize, kernel: &str) -> Vec<f32> {
    let mut engine = Engine::new(graph, batch).unwrap().with_kernel(kernel).unwrap();
    let mut output = vec![0.0; input.len() / engine.n_in() * engine.n_out()];
    let items = input.chunks(batch * engine.n_in()).zip(output.chunks_mut(batch * engine.n_out()));
    items.for_each(|(input, output)| engine.run(input, output));
    output
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn kernels_and_batches_give_the_same_bits(seed: u64, batch in 1_usize..9) {
        let model: Model = every_kind(seed >> 1);
        let input = Dice(seed).reals(7 * 18);
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let want = bits(run(model.graph(), &input, 1, "reference"));
        for kernel in Engine::kernels() {
            prop_assert_eq!(&bits(run(model.graph(), &input, batch, kernel)), &want, "{}", kernel);
        }
    }

    #[test]
    fn integers_stay_near_the_real_numbers(len in 2_usize..12, channels in 1_usize..9, kernel in 1_usize..5, stride in 1_usize..3, same: bool, depthwise: bool, seed: u64) {
        prop_assume!(same || kernel <= len);
        let dice = &mut Dice(seed);
        let from = Quant { scale: 0.05, zero: 11 };
        let to = Quant { scale: 0.05, zero: -20 };
        let slide = Slide { kernel, stride, same };
        let linear = if depthwise {
            int8(dice, kernel, channels, Some(to))
        } else {
            int8(dice, kernel * channels, 5, Some(to))
        };
        let wrap = |linear| if depthwise { Layer::Depthwise { linear, slide } } else { Layer::Conv { linear, slide } };
        let input = Shape { len, channels };
        let real = Graph { input, input_quant: None, layers: vec![wrap(decoded(&linear, from))] };
        let codes = Graph { input, input_quant: Some(from), layers: vec![wrap(linear)] };
        // On the grid of the input's codes, so that only the output is rounded.
        let x: Vec<f32> = dice.activations(2 * len * channels).iter().map(|c| from.decode(*c)).collect();
        let (got, want) = (run(&codes, &x, 2, Engine::kernels()[0]), run(&real, &x, 1, "reference"));
        for (got, want) in got.iter().zip(&want) {
            let want = want.clamp(to.decode(-128), to.decode(127));
            prop_assert!((got - want).abs() <= 0.0251, "{} for {}", got, want);
        }
    }

    #[test]
    fn an_adapter_adds_its_product_and_nothing_when_it_is_zero(n_in in 1_usize..40, n_out in 1_usize..40, seed: u64) {
        let dice = &mut Dice(seed);
        let from = Quant { scale: 0.05, zero: 11 };
        let mut linear = int8(dice, n_in, n_out, None);
        linear.relu = false;
        let graph = |linear: &Linear| Graph {
            input: Shape { len: 1, channels: n_in },
            input_quant: Some(from),
            layers: vec![Layer::Dense(linear.clone())],
        };
        let x: Vec<f32> = dice.activations(n_in).iter().map(|c| from.decode(*c)).collect();
        let bare = run(&graph(&linear), &x, 1, "reference");
        let down = dice.halves(2 * n_in, 0.5);
        linear.side = Some(Side { rank: 2, down: down.clone(), up: vec![f16::ZERO; 2 * n_out] });
        prop_assert_eq!(&run(&graph(&linear), &x, 1, "reference"), &bare);
        let up = dice.halves(2 * n_out, 0.5);
        linear.side = Some(Side { rank: 2, down: down.clone(), up: up.clone() });
        let adapted = run(&graph(&linear), &x, 1, Engine::kernels()[0]);
        let inner = |r: usize| (0..n_in).map(|i| down[r * n_in + i].to_f32() * x[i]).sum::<f32>();
        for o in 0..n_out {
            let want = bare[o] + (0..2).map(|r| up[o * 2 + r].to_f32() * inner(r)).sum::<f32>();
            prop_assert!((adapted[o] - want).abs() < 1e-3, "{} for {}", adapted[o], want);
        }
    }
}

#[test]
fn a_convolution_by_hand() {
    let linear = Linear {
        n_in: 3,
        n_out: 1,
        weights: Weights::F32(vec![1.0, 10.0, 100.0]),
        bias: Bias::F32(vec![0.5]),
        relu: false,
        side: None,
        out: None,
    };
    let graph = |same, stride| Graph {
        input: Shape { len: 5, channels: 1 },
        input_quant: None,
        layers: vec![Layer::Conv {
            linear: linear.clone(),
            slide: Slide { kernel: 3, stride, same },
        }],
    };
    let x = [1.0, 2.0, 3.0, 4.0, 5.0];
    let run = |same, stride| run(&graph(same, stride), &x, 1, "reference");
    assert_eq!(run(false, 1), [321.5, 432.5, 543.5]);
    assert_eq!(run(true, 1), [210.5, 321.5, 432.5, 543.5, 54.5]);
    assert_eq!(run(true, 2), [210.5, 432.5, 54.5]);
}

#[test]
fn a_residual_block_adds_its_input() {
    let double = Linear {
        n_in: 2,
        n_out: 2,
        weights: Weights::F16([2.0, 0.0, 0.0, 2.0].map(f16::from_f32).to_vec()),
        bias: Bias::F32(vec![0.0; 2]),
        relu: false,
        side: None,
        out: None,
    };
    let graph = Graph {
        input: Shape { len: 1, channels: 2 },
        input_quant: None,
        layers: vec![Layer::Residual { body: vec![Layer::Dense(double)], relu: true, out: None }],
    };
    assert_eq!(run(&graph, &[1.5, -1.0], 1, "reference"), [4.5, 0.0]);
}

#[test]
fn a_batch_too_large_is_refused() {
    let graph = every_kind(1).graph().clone();
    assert!(matches!(Engine::new(&graph, BATCH_MAX + 1), Err(Error::TooBig { .. })));
    assert!(matches!(Engine::new(&graph, 0), Err(Error::TooBig { .. })));
    let no_such = Engine::new(&graph, 1).unwrap().with_kernel("abacus");
    assert!(matches!(no_such, Err(Error::Unsupported { .. })));
}
