//! Float to integers: observed ranges, corrected biases, and training with the rounding in force.

use ndarray::{Array2, Axis};

use super::Error;
use super::equalize::equalize;
use super::integer::{Codes, Precision};
use super::piece::{Foundry, Outcome, Piece};
use super::train::{Goal, Watch};
use crate::nn::Model;

/// What to quantise to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The same for all layers.
    All(Precision),
    /// As low as each layer bears: the least sensitive go to INT4 first, while the gate holds.
    Mixed,
}

/// Quantises the weights of `model`; values between the layers become eight-bit codes, the output stays
/// real. Units are put on an equal footing first; with `aware`, the weights are fitted once more with the
/// rounding in force.
///
/// # Errors
/// `Error::Gate` if it would cost too much.
///
/// # Source
/// Jacob et al., CVPR 2018; bias correction after Nagel et al., ICCV 2019, section 4.2; mixed by
/// measured sensitivity, greedily, as HAWQ orders layers (Dong et al., ICCV 2019) without its Hessian.
pub fn quantize(
    foundry: &Foundry<'_>,
    model: &Model,
    target: Target,
    aware: bool,
    watch: Watch<'_>,
) -> Result<Outcome, Error> {
    let mut piece = Piece::of(model);
    let n_layers = piece.net.layers().count();
    let step = match target {
        Target::All(precision) => format!("quantize --to {}", precision.name()),
        Target::Mixed => "quantize --to mixed".to_owned(),
    } + if aware { " --aware" } else { "" };
    let float = piece.net.clone();
    let in_codes = !matches!(target, Target::All(Precision::F16 | Precision::F32));
    let step = if in_codes {
        equalize(&mut piece.net, &foundry.sample(&piece.card));
        step + ", equalised"
    } else {
        step
    };
    let precisions = match target {
        Target::All(precision) => vec![precision; n_layers],
        Target::Mixed => mixed(foundry, model, &piece)?,
    };
    apply(foundry, &mut piece, precisions, false);
    if aware && let Some(codes) = piece.codes.clone() {
        let goal = Goal { codes: Some(&codes), what: "quantising", ..Goal::default() };
        foundry.heal(&mut piece, &float, &goal, watch);
    }
    foundry.close(model, &piece, &step)
}

/// Puts `piece` at the precisions given, its biases corrected; `one_scale` is for all outputs of an INT8
/// layer.
pub(super) fn apply(
    foundry: &Foundry<'_>,
    piece: &mut Piece,
    mut precisions: Vec<Precision>,
    one_scale: bool,
) {
    // The engine holds depthwise weights in eight bits or whole floats: they are few.
    for (precision, dense) in precisions.iter_mut().zip(piece.net.layers()) {
        match *precision {
            Precision::Int4 if dense.is_depthwise() => *precision = Precision::Int8,
            Precision::F16 if dense.is_depthwise() => *precision = Precision::F32,
            _ => {}
        }
    }
    if precisions.iter().all(|p| matches!(p, Precision::F32 | Precision::F16)) {
        let places = vec![None; piece.net.ops().len() + 1];
        let half = precisions.contains(&Precision::F16);
        piece.codes = half.then_some(Codes { places, layers: precisions, one_scale: false });
        return;
    }
    let wide = foundry.wide_sample(&piece.card);
    let codes = Codes { one_scale, ..Codes::observe(&piece.net, &wide, precisions) };
    correct(piece, &codes, &foundry.sample(&piece.card));
    piece.codes = Some(codes);
}

/// Takes from each bias what rounding adds to the mean of its output.
fn correct(piece: &mut Piece, codes: &Codes, rows: &Array2<f32>) {
    let float = piece.net.clone();
    let truth = float.forward(rows.clone());
    for (layer, (original, src)) in float.layers().zip(float.sources()).enumerate() {
        let in_force = codes.in_force(&piece.net);
        let tape = in_force.forward(rows.clone());
        let rounded = in_force.net.layers().nth(layer).expect("the same network");
        let wanted = original.linear(&truth.values[src]);
        let away = wanted - rounded.linear(&tape.values[src]);
        let shift = original.by_window(&away).mean_axis(Axis(0)).expect("there are rows");
        let dense = piece.net.layers_mut().nth(layer).expect("the same network");
        dense.bias += &shift;
    }
}

/// Precisions, INT4 for as many layers as the gate allows, the least sensitive per byte first.
fn mixed(foundry: &Foundry<'_>, model: &Model, piece: &Piece) -> Result<Vec<Precision>, Error> {
    let n_layers = piece.net.layers().count();
    let base = vec![Precision::Int8; n_layers];
    let attempt = |precisions: &[Precision]| -> Result<Outcome, Error> {
        let mut piece = piece.clone();
        apply(foundry, &mut piece, precisions.to_vec(), false);
        foundry.close(model, &piece, "quantize --to mixed")
    };
    let mut costs = Vec::new();
    for (layer, dense) in piece.net.layers().enumerate() {
        let mut precisions = base.clone();
        precisions[layer] = Precision::Int4;
        match attempt(&precisions) {
            Ok(outcome) => {
                let cost = (outcome.after.mse - outcome.before.mse) / dense.weight.len() as f64;
                costs.push((cost, layer));
            }
            Err(Error::Gate { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    costs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut chosen = base;
    for (_, layer) in costs {
        let mut next = chosen.clone();
        next[layer] = Precision::Int4;
        match attempt(&next) {
            Ok(_) => chosen = next,
            Err(Error::Gate { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(chosen)
}
