//! Equal footing for the units between two layers before they share one set of codes.

use ndarray::{Axis, s};

use super::net::{Dense, Net};
use super::train::Rows;

/// Times through the layers: each changes what its neighbour sees, less and less.
const ROUNDS: usize = 4;

/// Scales the units between layers so that what a unit gives and what the next layer makes of it have
/// equal ranges, on `rows`. What the network computes stays as it was: ReLU passes positive factors on.
///
/// # Source
/// Nagel et al., ICCV 2019, section 4.1, equation 11, with a unit's range in the place of its weights', as
/// outputs have a scale each here; so Xiao et al., SmoothQuant, ICML 2023, equation 4.
pub(super) fn equalize(net: &mut Net, rows: &Rows) {
    let tape = net.forward(rows.clone());
    let mut ranges: Vec<Vec<f32>> = Vec::new();
    for (dense, src) in net.layers().zip(net.sources()) {
        let values = dense.by_window(&tape.values[src + 1]);
        let columns = values.axis_iter(Axis(1));
        ranges.push(columns.map(|column| most(column.iter())).collect());
    }
    for _ in 0..ROUNDS {
        for (first, second) in net.pairs() {
            let mut layers: Vec<&mut Dense> = net.layers_mut().collect();
            let n_units = ranges[first].len();
            for (unit, range) in ranges[first].iter_mut().enumerate() {
                let fed = most(layers[second].fed_by(unit, n_units).iter());
                let factor = (fed / *range).sqrt();
                if factor.is_normal() {
                    scale(&mut layers, (first, second), unit, factor);
                    *range *= factor;
                }
            }
        }
    }
}

fn most<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    values.fold(0.0, |most, value| most.max(value.abs()))
}

/// Makes `unit` of the first layer `factor` times as large, and what the second makes of it as it was.
fn scale(layers: &mut [&mut Dense], (first, second): (usize, usize), unit: usize, factor: f32) {
    let before = &mut *layers[first];
    let n_units = before.n_out();
    before.weight.row_mut(unit).mapv_inplace(|w| w * factor);
    before.bias[unit] *= factor;
    if let Some(side) = &mut before.side {
        side.up.row_mut(unit).mapv_inplace(|w| w * factor);
    }
    let behind = &mut *layers[second];
    behind.fed_by(unit, n_units).mapv_inplace(|w| w / factor);
    if let Some(side) = &mut behind.side {
        let mut fed = side.down.slice_mut(s![.., unit..;n_units]);
        fed.mapv_inplace(|w| w / factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::chance::Chance;
    use crate::learn::integer::{Codes, Precision};
    use crate::learn::slide::Stage;
    use crate::nn::Shape;

    #[test]
    fn unequal_units_get_along_and_nothing_else_changes() {
        let mut chance = Chance::new(7, 1);
        let (shape, stages) = (Shape { len: 1, channels: 24 }, [16, 8].map(Stage::Dense));
        let mut net = Net::random(shape, &stages, &mut chance).expect("two stages");
        let rows = Rows::from_shape_simple_fn((200, 24), || chance.between(-2.0, 2.0));
        // The same function with units from a thousandth to a thousand times as large.
        let mut layers: Vec<&mut Dense> = net.layers_mut().collect();
        for unit in 0..16 {
            let factor = 10_f32.powf(chance.between(-3.0, 3.0));
            scale(&mut layers, (0, 1), unit, factor);
        }
        let float = net.forward(rows.clone()).output().clone();
        let error = |net: &Net| {
            let codes = Codes::observe(net, &rows, vec![Precision::Int8; 3]);
            let tape = codes.in_force(net).forward(rows.clone());
            (tape.output() - &float).mapv(|e| e * e).mean().expect("there are rows")
        };
        let before = error(&net);
        equalize(&mut net, &rows);
        let away = net.forward(rows.clone()).output() - &float;
        assert!(most(away.iter()) < 1e-4 * most(float.iter()), "the function is another");
        let after = error(&net);
        assert!(after < before / 20.0, "{after} after {before}");
    }
}
