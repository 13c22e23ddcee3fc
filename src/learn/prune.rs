//! Smaller by leaving out: units, blocks of weights, whole layers; healed after every round.

use ndarray::{Array2, Axis};

use super::Error;
use super::net::{Block, Dense, Net, Op};
use super::piece::{Foundry, Outcome, Piece};
use super::train::{Goal, Watch};
use crate::nn::Model;

/// Share of what is left that goes in one round.
const ROUND_SHARE: f64 = 0.25;
/// Outputs and inputs of a block of weights, as the engine skips them.
const BLOCK: (usize, usize) = (8, 4);

/// What to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Hidden units, rows here and columns in the next layer; widths stay multiples of eight.
    Units,
    /// Blocks of 8 outputs by 4 inputs, which the engine skips where half or more are gone.
    Blocks,
}

/// Leaves out the `ratio` (above 0, below 1) of hidden units or blocks that matter least, by rounds,
/// healing after each.
///
/// # Errors
/// `Error::Gate` if it would cost too much; `Error::Ask` for a ratio out of range or nothing to prune.
///
/// # Source
/// Molchanov et al., CVPR 2019, equation 8 (Taylor scores); Wanda (Sun et al., ICLR 2024, equation 1)
/// summed over a block.
pub fn prune(
    foundry: &Foundry<'_>,
    model: &Model,
    part: Part,
    ratio: f64,
    watch: Watch<'_>,
) -> Result<Outcome, Error> {
    if !(ratio > 0.0 && ratio < 1.0) {
        return Err(Error::Ask { key: "ratio", why: format!("{ratio} is not between 0 and 1") });
    }
    let mut piece = Piece::of(model)?;
    match part {
        Part::Units => prune_units(foundry, &mut piece, ratio, watch)?,
        Part::Blocks => prune_blocks(foundry, &mut piece, ratio, watch),
    }
    let rows = foundry.sample(&piece.card);
    piece.observe(&rows);
    let verb = match part {
        Part::Units => "units",
        Part::Blocks => "blocks",
    };
    let step = format!("prune --{verb} {ratio}");
    foundry.close(model, &piece.model(&step)?, &step)
}

fn prune_units(
    foundry: &Foundry<'_>,
    piece: &mut Piece,
    ratio: f64,
    watch: Watch<'_>,
) -> Result<(), Error> {
    let pairs = hidden(&piece.net);
    let widths = |net: &Net| -> Vec<usize> {
        let layers: Vec<&Dense> = net.layers().collect();
        pairs.iter().map(|(first, _)| layers[*first].n_out()).collect()
    };
    let goals: Vec<usize> = widths(&piece.net).iter().map(|n| target(*n, ratio)).collect();
    if goals == widths(&piece.net) {
        let why = format!("hidden widths {goals:?} are too narrow to lose {ratio} of them");
        return Err(Error::Ask { key: "ratio", why });
    }
    while widths(&piece.net) != goals {
        let values = taylor(&piece.net, &foundry.sample(&piece.card));
        for ((first, second), goal) in pairs.iter().zip(&goals) {
            let scores = &values[*first];
            let least = (scores.len() as f64 * (1.0 - ROUND_SHARE)).ceil() as usize;
            let n_keep = least.max(*goal).min(scores.len());
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let mut keep = order[..n_keep].to_vec();
            keep.sort_unstable();
            narrow(&mut piece.net, *first, *second, &keep);
        }
        foundry.heal(piece, &Goal { what: "healing", ..Goal::default() }, watch);
    }
    Ok(())
}

/// Width left of `n` units: a multiple of 16 or, of narrow layers, of 8; codes stay as they are.
fn target(n: usize, ratio: f64) -> usize {
    let wanted = n as f64 * (1.0 - ratio);
    let step = if wanted >= 16.0 { 16.0 } else { 8.0 };
    ((wanted / step).round().max(1.0) * step).min(n as f64) as usize
}

/// Pairs of layers with hidden units between them that may go: not the code (the narrowest), and
/// nothing that a residual sum holds to its width.
fn hidden(net: &Net) -> Vec<(usize, usize)> {
    let widths: Vec<usize> = net.layers().map(Dense::n_out).collect();
    let code = widths[..widths.len() - 1].iter().min().copied().unwrap_or(0);
    let mut pairs = net.pairs();
    pairs.retain(|(first, _)| widths[*first] > code || pairs_are_even(&widths, code));
    pairs
}

/// Whether all hidden layers have one width: then there is no code to spare.
fn pairs_are_even(widths: &[usize], code: usize) -> bool {
    widths[..widths.len() - 1].iter().all(|width| *width == code)
}

/// Importance of each output of each layer: the square of gradient times value, summed over the rows.
fn taylor(net: &Net, rows: &Array2<f32>) -> Vec<Vec<f32>> {
    let mut scores: Vec<Vec<f32>> = net.layers().map(|l| vec![0.0; l.n_out()]).collect();
    for rows in rows.axis_chunks_iter(Axis(0), 64) {
        let tape = net.forward(rows.to_owned());
        let scale = 2.0 / rows.len() as f32;
        let dy = (tape.output() - &tape.values[0]) * scale;
        let slopes = net.backward(&tape, dy);
        for (dense, (slope, scores)) in net.layers().zip(slopes.iter().zip(&mut scores)) {
            // dL/dgate of a unit is the sum of weight times gradient over what feeds it.
            let gate =
                (&slope.weight * &dense.weight).sum_axis(Axis(1)) + &slope.bias * &dense.bias;
            scores.iter_mut().zip(&gate).for_each(|(score, gate)| *score += gate * gate);
        }
    }
    scores
}

fn narrow(net: &mut Net, first: usize, second: usize, keep: &[usize]) {
    for (i, dense) in net.layers_mut().enumerate() {
        if i == first {
            dense.weight = dense.weight.select(Axis(0), keep);
            dense.bias = dense.bias.select(Axis(0), keep);
            if let Some(side) = &mut dense.side {
                side.up = side.up.select(Axis(0), keep);
            }
        } else if i == second {
            dense.weight = columns(&dense.weight, keep);
            if let Some(side) = &mut dense.side {
                side.down = columns(&side.down, keep);
            }
        }
    }
}

/// The columns of `keep`, row after row in memory.
fn columns(values: &Array2<f32>, keep: &[usize]) -> Array2<f32> {
    Array2::from_shape_fn((values.nrows(), keep.len()), |(o, i)| values[[o, keep[i]]])
}

fn prune_blocks(foundry: &Foundry<'_>, piece: &mut Piece, ratio: f64, watch: Watch<'_>) {
    let n_rounds = 3;
    for round in 1..=n_rounds {
        // Zhu and Gupta 2017: quickly first, slowly near the end.
        let left = 1.0 - f64::from(round) / f64::from(n_rounds);
        let now = ratio * (1.0 - left.powi(3));
        let rows = foundry.sample(&piece.card);
        let masks = masks(&piece.net, &rows, now);
        let project = |net: &mut Net| {
            net.layers_mut().zip(&masks).for_each(|(dense, mask)| dense.weight *= mask);
        };
        project(&mut piece.net);
        let goal = Goal { project: Some(&project), what: "healing", ..Goal::default() };
        foundry.heal(piece, &goal, &mut *watch);
    }
}

/// 1 where a weight stays, 0 in the `ratio` of each layer's blocks whose weights times the size of
/// their inputs are least.
fn masks(net: &Net, rows: &Array2<f32>, ratio: f64) -> Vec<Array2<f32>> {
    let tape = net.forward(rows.clone());
    let layers: Vec<&Dense> = net.layers().collect();
    let mut masks = Vec::new();
    for op in net.ops() {
        let Op::Dense { layer, src } = op else { continue };
        let weight = &layers[layer].weight;
        let power = tape.values[src].mapv(|x| x * x).mean_axis(Axis(0)).expect("there are rows");
        let (n_down, n_across) =
            (weight.nrows().div_ceil(BLOCK.0), weight.ncols().div_ceil(BLOCK.1));
        let mut scores = vec![0.0_f32; n_down * n_across];
        for ((o, i), w) in weight.indexed_iter() {
            scores[o / BLOCK.0 * n_across + i / BLOCK.1] += w * w * power[i];
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
        let n_gone = (scores.len() as f64 * ratio).floor() as usize;
        let mut keeps = vec![1.0_f32; scores.len()];
        order[..n_gone].iter().for_each(|block| keeps[*block] = 0.0);
        let keep = |(o, i): (usize, usize)| keeps[o / BLOCK.0 * n_across + i / BLOCK.1];
        masks.push(Array2::from_shape_fn(weight.raw_dim(), keep));
    }
    masks
}

/// Leaves out `n` layers or residual blocks: those between which the values change least. A residual
/// block just goes; of plain layers, the best linear map across the gap takes their place in the next
/// one.
///
/// # Errors
/// `Error::Gate` if it would cost too much; `Error::Ask` if there are not so many that could go.
///
/// # Source
/// Gromov et al., 2024, section 3 (angular distance between what enters and leaves a block).
pub fn prune_layers(
    foundry: &Foundry<'_>,
    model: &Model,
    n: usize,
    watch: Watch<'_>,
) -> Result<Outcome, Error> {
    let mut piece = Piece::of(model)?;
    for _ in 0..n {
        let rows = foundry.sample(&piece.card);
        let least = (0..piece.net.blocks.len())
            .filter_map(|at| Some((distance(&piece.net, at, &rows)?, at)))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, at)) = least else {
            let why = format!(
                "no {n} layers can go: only residual blocks and inner layers of equal width do"
            );
            return Err(Error::Ask { key: "layers", why });
        };
        piece.net.blocks.remove(at);
        if let Some(codes) = &mut piece.codes {
            codes.layers.truncate(piece.net.layers().count());
        }
        foundry.heal(&mut piece, &Goal { what: "healing", ..Goal::default() }, watch);
    }
    let rows = foundry.sample(&piece.card);
    piece.observe(&rows);
    let step = format!("prune --layers {n}");
    foundry.close(model, &piece.model(&step)?, &step)
}

/// Mean angle between what enters block `at` and what leaves it, turned by half; `None` where it
/// cannot go.
fn distance(net: &Net, at: usize, rows: &Array2<f32>) -> Option<f32> {
    let inner = at > 0 && at + 1 < net.blocks.len();
    let keeps_width = match &net.blocks[at] {
        Block::Dense(dense) => dense.n_in() == dense.n_out(),
        Block::Residual { .. } => true,
    };
    if !(inner && keeps_width) {
        return None;
    }
    let run = |blocks: &[Block]| {
        let part = Net { blocks: blocks.to_vec() };
        part.forward(rows.clone()).values.pop().expect("a tape begins with its input")
    };
    let (before, after) = (run(&net.blocks[..at]), run(&net.blocks[..=at]));
    let mut sum = 0.0;
    for (a, b) in before.axis_iter(Axis(0)).zip(after.axis_iter(Axis(0))) {
        let cosine = a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt().max(1e-12);
        sum += cosine.clamp(-1.0, 1.0).acos() / std::f32::consts::PI;
    }
    Some(sum / rows.nrows() as f32)
}
