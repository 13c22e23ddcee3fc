//! Gradients against finite differences; a fit that must learn what can be learned.

use ndarray::Array2;

use super::*;
use crate::learn::net::{Block, Path};
use crate::learn::slide::{Slid, Stage};
use crate::nn::{Shape, Slide};

fn random_rows(n: usize, width: usize, seed: u64) -> Rows {
    let mut chance = Chance::new(seed, 1);
    Array2::from_shape_simple_fn((n, width), || chance.between(-1.5, 1.5))
}

/// Dense, residual with ReLU, adapter: everything a gradient passes.
fn small() -> Net {
    let mut chance = Chance::new(3, 2);
    let mut dense = |n_in, n_out, relu| Dense::random(n_in, n_out, relu, &mut chance);
    let body = vec![dense(5, 4, true), dense(4, 5, false)];
    let (first, mut last) = (dense(6, 5, true), dense(5, 6, false));
    last.side = Some(Path {
        down: Array2::from_elem((2, 5), 0.3),
        up: Array2::from_shape_fn((6, 2), |(o, r)| 0.1 * (o as f32) - 0.2 * r as f32),
    });
    let residual = Block::Residual { body, relu: true };
    Net { blocks: vec![Block::Dense(first), residual, Block::Dense(last)] }
}

/// Sliding plainly and by channel, with and without padding, with strides, in a residual block too.
fn sliding() -> Net {
    let mut chance = Chance::new(4, 2);
    let mut layer = |(n_in, n_out), from, (kernel, stride, same), depthwise| {
        let slide = Slide { kernel, stride, same };
        let dense = Dense::random(n_in, n_out, n_out == 4, &mut chance);
        Dense { slid: Some(Slid { from, slide, depthwise }), ..dense }
    };
    let shape = |len, channels| Shape { len, channels };
    let first = layer((9, 4), shape(4, 3), (3, 1, true), false);
    let body = vec![layer((3, 4), shape(4, 4), (3, 1, true), true)];
    let mut third = layer((8, 5), shape(4, 4), (2, 2, false), false);
    third.side = Some(Path {
        down: Array2::from_elem((2, 8), 0.3),
        up: Array2::from_shape_fn((5, 2), |(o, r)| 0.1 * (o as f32) - 0.2 * r as f32),
    });
    let fourth = layer((2, 5), shape(2, 5), (2, 2, true), true);
    let last = Dense::random(5, 12, false, &mut chance);
    let blocks = vec![
        Block::Residual { body: vec![layer_of(12)], relu: false },
        Block::Dense(first),
        Block::Residual { body, relu: false },
        Block::Dense(third),
        Block::Dense(fourth),
        Block::Dense(last),
    ];
    let mut net = Net { blocks };
    // Off the corners of ReLU, where dead units would stand.
    for dense in net.layers_mut() {
        dense.bias.mapv_inplace(|_| chance.between(-0.5, 0.5));
    }
    net
}

fn layer_of(n: usize) -> Dense {
    Dense::random(n, n, false, &mut Chance::new(9, 1))
}

#[test]
fn gradients_are_those_of_finite_differences() {
    slopes_fit(small(), &random_rows(7, 6, 5));
    slopes_fit(sliding(), &random_rows(7, 12, 5));
}

fn slopes_fit(mut net: Net, rows: &Rows) {
    let slopes = |moves| {
        let tape = net.forward(rows.clone());
        let (_, dy) = loss(tape.output(), rows, 0.7);
        net.backward(&tape, dy, moves)
    };
    let slopes = [(Moves::All, slopes(Moves::All)), (Moves::Ups, slopes(Moves::Ups))];
    for (moves, slopes) in slopes {
        let analytic: Vec<f32> =
            slopes.iter().flat_map(|slope| grads(slope, moves)).flatten().collect();
        for (at, want) in analytic.iter().enumerate() {
            let loss_with = |delta: f32| {
                let mut values: Vec<&mut f32> = net
                    .layers_mut()
                    .flat_map(|layer| parts(layer, moves))
                    .flat_map(|(values, _)| values.iter_mut())
                    .collect();
                *values[at] += delta;
                let now = loss(net.forward(rows.clone()).output(), rows, 0.7).0;
                let mut values: Vec<&mut f32> = net
                    .layers_mut()
                    .flat_map(|layer| parts(layer, moves))
                    .flat_map(|(values, _)| values.iter_mut())
                    .collect();
                *values[at] -= delta;
                f64::from(now)
            };
            let step = 5e-4;
            let [below, here, above] = [-step, 0.0, step].map(loss_with);
            let [left, right] = [here - below, above - here].map(|rise| rise / f64::from(step));
            // A step that crosses a corner of ReLU has it on one side: the true slope is the other side's.
            let (got, corner) = (0.5 * (left + right), 0.5 * (right - left).abs());
            let off = (got - f64::from(*want)).abs();
            assert!(off < 1e-3 + corner, "{moves:?}, number {at}: {got} for {want}");
        }
    }
}

#[test]
fn a_plane_is_learned_through_a_code_of_its_dimension() {
    let seeds = random_rows(512, 2, 9);
    let spread = random_rows(2, 8, 10);
    let rows = seeds.dot(&spread);
    let (shape, stages) = (Shape { len: 1, channels: 8 }, [16, 4, 16].map(Stage::Dense));
    let mut net = Net::random(shape, &stages, &mut Chance::new(1, 1)).expect("three stages");
    let recipe = Recipe { epochs: 60, batch: 32, rate: 1e-2, ..Recipe::default() };
    let spoken = rows.mapv(|x| x * x).sum() / rows.len() as f32;
    let mut told = 0;
    let fitted = fit(&mut net, &rows, &rows, &recipe, &Goal::default(), &mut |_| told += 1);
    assert!(fitted.loss < 0.02 * spoken, "{} of {spoken}", fitted.loss);
    assert_eq!(told, fitted.epochs);
}

#[test]
fn the_same_seed_gives_the_same_weights() {
    let rows = random_rows(64, 6, 4);
    let run = |seed| {
        let mut net = small();
        let recipe = Recipe { epochs: 3, batch: 16, seed, ..Recipe::default() };
        fit(&mut net, &rows, &rows, &recipe, &Goal::default(), &mut |_| ());
        net
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn an_adapter_moves_alone() {
    let rows = random_rows(64, 6, 4);
    let (mut net, old) = (small(), small());
    let recipe = Recipe { epochs: 3, batch: 16, ..Recipe::default() };
    let goal = Goal { moves: Moves::Ups, ..Goal::default() };
    fit(&mut net, &rows, &rows, &recipe, &goal, &mut |_| ());
    for (new, old) in net.layers().zip(old.layers()) {
        assert_eq!((&new.weight, &new.bias), (&old.weight, &old.bias));
    }
    let sides = |net: &Net| net.layers().map(|layer| layer.side.clone()).collect::<Vec<_>>();
    assert_ne!(sides(&net), sides(&old));
}
