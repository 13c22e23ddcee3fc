//! Smaller by leaving out: units, blocks of weights, whole layers; healed after every round.

use ndarray::{Array2, Axis};

use super::Error;
use super::net::{Block, Dense, Net};
use super::piece::{Foundry, Outcome, Piece};
use super::slide::Slid;
use super::train::{Goal, Moves, Watch};
use crate::nn::Model;

/// Share of what is left that goes in one round.
const ROUND_SHARE: f64 = 0.25;
/// Outputs and inputs of a block of weights, as the engine skips them.
const BLOCK: (usize, usize) = (8, 4);

/// What to leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Hidden units or channels, rows here and columns in the next layer; widths stay multiples of eight.
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
    let mut piece = Piece::of(model);
    match part {
        Part::Units => prune_units(foundry, &mut piece, ratio, watch)?,
        Part::Blocks => prune_blocks(foundry, &mut piece, ratio, watch),
    }
    piece.observe(foundry);
    let verb = match part {
        Part::Units => "units",
        Part::Blocks => "blocks",
    };
    let step = format!("prune --{verb} {ratio}");
    foundry.close(model, &piece, &step)
}

fn prune_units(
    foundry: &Foundry<'_>,
    piece: &mut Piece,
    ratio: f64,
    watch: Watch<'_>,
) -> Result<(), Error> {
    let chains = hidden(&piece.net);
    let widths = |net: &Net| -> Vec<usize> {
        let layers: Vec<&Dense> = net.layers().collect();
        chains.iter().map(|chain| layers[chain[0]].n_out()).collect()
    };
    let teacher = piece.net.clone();
    let goals: Vec<usize> = widths(&piece.net).iter().map(|n| target(*n, ratio)).collect();
    if goals == widths(&piece.net) {
        let why = format!("hidden widths {goals:?} are too narrow to lose {ratio} of them");
        return Err(Error::Ask { key: "ratio", why });
    }
    while widths(&piece.net) != goals {
        let values = taylor(&piece.net, &foundry.sample(&piece.card));
        for (chain, goal) in chains.iter().zip(&goals) {
            let scores = &values[chain[0]];
            let least = (scores.len() as f64 * (1.0 - ROUND_SHARE)).ceil() as usize;
            let n_keep = least.max(*goal).min(scores.len());
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let mut keep = order[..n_keep].to_vec();
            keep.sort_unstable();
            narrow(&mut piece.net, chain, &keep);
        }
        foundry.heal(piece, &teacher, &Goal { what: "healing", ..Goal::default() }, watch);
    }
    Ok(())
}

/// Width left of `n` units: a multiple of 16 or, of narrow layers, of 8; codes stay as they are.
fn target(n: usize, ratio: f64) -> usize {
    let wanted = n as f64 * (1.0 - ratio);
    let step = if wanted >= 16.0 { 16.0 } else { 8.0 };
    ((wanted / step).round().max(1.0) * step).min(n as f64) as usize
}

/// Layers between which hidden units or channels may go: the one that gives them, the depthwise ones they
/// pass, the one that takes them. Not the code (the narrowest), and nothing that a residual sum holds to
/// its width.
fn hidden(net: &Net) -> Vec<Vec<usize>> {
    let layers: Vec<&Dense> = net.layers().collect();
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for (first, second) in net.pairs() {
        if !layers[first].is_depthwise() {
            chains.push(vec![first, second]);
        } else if let Some(chain) = chains.last_mut().filter(|chain| chain.ends_with(&[first])) {
            chain.push(second);
        }
    }
    let size = |layer: usize| layers[layer].n_values();
    let inner = 0..layers.len() - 1;
    let code = inner.clone().map(size).min().unwrap_or(0);
    let is_even = inner.clone().all(|layer| size(layer) == code);
    chains.retain(|chain| {
        let is_whole = !layers[*chain.last().expect("two or more")].is_depthwise();
        is_whole && (is_even || size(chain[0]) > code)
    });
    chains
}

/// Importance of each output of each layer: the square of gradient times value, summed over the rows.
fn taylor(net: &Net, rows: &Array2<f32>) -> Vec<Vec<f32>> {
    let mut scores: Vec<Vec<f32>> = net.layers().map(|l| vec![0.0; l.n_out()]).collect();
    for rows in rows.axis_chunks_iter(Axis(0), 64) {
        let tape = net.forward(rows.to_owned());
        let scale = 2.0 / rows.len() as f32;
        let dy = (tape.output() - &tape.values[0]) * scale;
        let slopes = net.backward(&tape, dy, Moves::All);
        for (dense, (slope, scores)) in net.layers().zip(slopes.iter().zip(&mut scores)) {
            // dL/dgate of a unit is the sum of weight times gradient over what feeds it.
            let gate =
                (&slope.weight * &dense.weight).sum_axis(Axis(1)) + &slope.bias * &dense.bias;
            scores.iter_mut().zip(&gate).for_each(|(score, gate)| *score += gate * gate);
        }
    }
    scores
}

fn narrow(net: &mut Net, chain: &[usize], keep: &[usize]) {
    let mut layers: Vec<&mut Dense> = net.layers_mut().collect();
    let n_units = layers[chain[0]].n_out();
    layers[chain[0]].keep_outputs(keep);
    for layer in &chain[1..] {
        layers[*layer].keep_inputs(keep, n_units);
    }
}

fn prune_blocks(foundry: &Foundry<'_>, piece: &mut Piece, ratio: f64, watch: Watch<'_>) {
    let (teacher, n_rounds) = (piece.net.clone(), 3);
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
        foundry.heal(piece, &teacher, &goal, &mut *watch);
    }
}

/// 1 where a weight stays, 0 in the `ratio` of each layer's blocks whose weights times the size of
/// their inputs are least.
fn masks(net: &Net, rows: &Array2<f32>, ratio: f64) -> Vec<Array2<f32>> {
    let tape = net.forward(rows.clone());
    let mut masks = Vec::new();
    for (dense, src) in net.layers().zip(net.sources()) {
        let weight = &dense.weight;
        if dense.is_depthwise() {
            masks.push(Array2::ones(weight.raw_dim()));
            continue;
        }
        let rows = dense.rows(&tape.values[src]);
        let power = rows.mapv(|x| x * x).mean_axis(Axis(0)).expect("there are rows");
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

/// Leaves out `n` layers or residual blocks: those between which the values change least. What is
/// left is healed.
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
    let mut piece = Piece::of(model);
    let teacher = piece.net.clone();
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
        foundry.heal(&mut piece, &teacher, &Goal { what: "healing", ..Goal::default() }, watch);
    }
    piece.observe(foundry);
    let step = format!("prune --layers {n}");
    foundry.close(model, &piece, &step)
}

/// Mean angle between what enters block `at` and what leaves it, turned by half; `None` where it
/// cannot go.
fn distance(net: &Net, at: usize, rows: &Array2<f32>) -> Option<f32> {
    let inner = at > 0 && at + 1 < net.blocks.len();
    let keeps_width = match &net.blocks[at] {
        Block::Dense(dense) => match dense.slid {
            None => dense.n_in() == dense.n_out(),
            Some(Slid { from, .. }) => from == dense.shape(),
        },
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
