//! Gradients against finite differences; a fit that must learn what can be learned.

use ndarray::Array2;

use super::*;
use crate::learn::net::{Block, Path};

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

#[test]
fn gradients_are_those_of_finite_differences() {
    let (mut net, rows) = (small(), random_rows(7, 6, 5));
    let goal = Goal::default();
    let slopes = {
        let tape = net.forward(rows.clone());
        let (_, dy) = loss(&tape, 0.7, &goal);
        net.backward(&tape, dy)
    };
    for moves in [Moves::All, Moves::Ups] {
        let analytic: Vec<f32> =
            slopes.iter().flat_map(|slope| grads(slope, moves)).flatten().collect();
        for (at, want) in analytic.iter().enumerate() {
            let mut loss_with = |delta: f32| {
                let mut values: Vec<&mut f32> = net
                    .layers_mut()
                    .flat_map(|layer| parts(layer, moves))
                    .flat_map(|(values, _)| values.iter_mut())
                    .collect();
                *values[at] += delta;
                let now = loss(&net.forward(rows.clone()), 0.7, &goal).0;
                let mut values: Vec<&mut f32> = net
                    .layers_mut()
                    .flat_map(|layer| parts(layer, moves))
                    .flat_map(|(values, _)| values.iter_mut())
                    .collect();
                *values[at] -= delta;
                f64::from(now)
            };
            let step = 5e-4;
            let got = (loss_with(step) - loss_with(-step)) / (2.0 * f64::from(step));
            assert!((got - f64::from(*want)).abs() < 1e-3, "number {at}: {got} and {want}");
        }
    }
}

#[test]
fn a_plane_is_learned_through_a_code_of_its_dimension() {
    let seeds = random_rows(512, 2, 9);
    let spread = random_rows(2, 8, 10);
    let rows = seeds.dot(&spread);
    let mut net = Net::random(&[8, 16, 4, 16, 8], &mut Chance::new(1, 1));
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
