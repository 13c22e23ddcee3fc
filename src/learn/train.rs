//! Fits a network to normal sound: Adam, a schedule, a robust loss, an early stop.

use ndarray::{Array2, Axis};

use super::chance::Chance;
use super::integer::{Codes, InForce};
use super::net::{Dense, Net, Slope, Tape, in_order};

/// Windows seen in one epoch, at the most: of more, every epoch sees others.
const EPOCH_MAX: usize = 1 << 14;
/// Windows that the loss is validated on, at the most.
const VALID_MAX: usize = 1 << 12;
/// Windows run at once where nothing is learned.
const CHUNK: usize = 1024;

/// How a network is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// Times through the data, at the most.
    pub epochs: usize,
    /// Windows per step.
    pub batch: usize,
    /// Largest step of Adam.
    pub rate: f32,
    /// Weight decay, decoupled from the gradient.
    pub decay: f32,
    /// Residual from which on the loss grows only linearly, normalised units.
    pub huber: f32,
    /// Epochs without a better validation loss before it stops.
    pub patience: usize,
    /// Seed of the order of the windows.
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        let (epochs, batch, rate) = (40, 128, 2e-3);
        Self { epochs, batch, rate, decay: 1e-4, huber: 1.0, patience: 10, seed: 1 }
    }
}

/// How far a fit has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub what: String,
    /// Steps done.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
    /// Validation loss so far, normalised units squared; NaN before the first.
    pub loss: f32,
}

/// Is told how far it has come.
pub type Watch<'a> = &'a mut dyn FnMut(&Progress);

/// What came of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// Epochs run.
    pub epochs: usize,
    /// Validation loss of the weights kept.
    pub loss: f32,
}

/// Which numbers may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    /// Weights and biases.
    All,
    /// What adapters add: their `up`.
    Ups,
}

/// What the fit is after, beside the data.
pub(super) struct Goal<'a> {
    /// Which numbers may move.
    pub(super) moves: Moves,
    /// A teacher to follow and its share of the loss, 0-1.
    pub(super) teacher: Option<(&'a Net, f32)>,
    /// Integer codes to be computed in: quantisation-aware training.
    pub(super) codes: Option<&'a Codes>,
    /// Brings the weights back to what is allowed after every step.
    pub(super) project: Option<&'a dyn Fn(&mut Net)>,
    /// What to call it.
    pub(super) what: &'a str,
}

impl Default for Goal<'_> {
    fn default() -> Self {
        Self { moves: Moves::All, teacher: None, codes: None, project: None, what: "training" }
    }
}

/// Windows in normalised units: `[n, n_in]`.
pub(super) type Rows = Array2<f32>;

/// What is to come out for windows that go in.
struct Pairs<'a> {
    x: &'a Rows,
    /// Blend of input and teacher's output, where there is a teacher.
    wanted: Option<Rows>,
}

impl<'a> Pairs<'a> {
    fn of(x: &'a Rows, goal: &Goal<'_>) -> Self {
        let blend = |(teacher, share): (&Net, f32)| {
            let mut wanted = x.clone();
            let parts = wanted.axis_chunks_iter_mut(Axis(0), CHUNK);
            for (mut wanted, x) in parts.zip(x.axis_chunks_iter(Axis(0), CHUNK)) {
                let tape = teacher.forward(x.to_owned());
                wanted.zip_mut_with(tape.output(), |x, taught| *x += share * (taught - *x));
            }
            wanted
        };
        Self { x, wanted: goal.teacher.map(blend) }
    }

    fn pick(&self, rows: &[usize]) -> (Rows, Rows) {
        let x = self.x.select(Axis(0), rows);
        let wanted = match &self.wanted {
            Some(wanted) => wanted.select(Axis(0), rows),
            None => x.clone(),
        };
        (x, wanted)
    }
}

/// Fits `net` to reproduce `train`, or what the goal's teacher makes of it; keeps the weights that did best
/// on `valid`.
pub(super) fn fit(
    net: &mut Net,
    train: &Rows,
    valid: &Rows,
    recipe: &Recipe,
    goal: &Goal<'_>,
    watch: Watch<'_>,
) -> Fitted {
    let mut chance = Chance::new(recipe.seed, 11);
    let mut adam = Adam::new(net, goal.moves);
    let mut order: Vec<usize> = (0..train.nrows()).collect();
    let n_seen = order.len().min(EPOCH_MAX);
    let n_steps = n_seen.div_ceil(recipe.batch) * recipe.epochs;
    let (train, valid) = (Pairs::of(train, goal), Pairs::of(valid, goal));
    let mut in_force = goal.codes.map(|codes| codes.in_force(net));
    let mut best = (loss_on(net, in_force.as_ref(), &valid, recipe), net.clone());
    let (mut since, mut epochs) = (0, 0);
    while epochs < recipe.epochs && since < recipe.patience {
        let (done, total) = (epochs, recipe.epochs);
        watch(&Progress { what: goal.what.to_owned(), done, total, loss: best.0 });
        chance.shuffle(&mut order);
        for batch in order[..n_seen].chunks(recipe.batch) {
            let (x, wanted) = train.pick(batch);
            let tape = run(net, in_force.as_ref(), x);
            let (_, dy) = loss(tape.output(), &wanted, recipe.huber);
            let computing = in_force.as_ref().map_or(&*net, |it| &it.net);
            let slopes = computing.backward(&tape, dy, goal.moves);
            adam.step(net, &slopes, recipe, n_steps);
            if let Some(project) = goal.project {
                project(net);
            }
            if let Some(it) = &mut in_force {
                it.follow(net, goal.moves);
            }
        }
        epochs += 1;
        since += 1;
        let now = loss_on(net, in_force.as_ref(), &valid, recipe);
        if now < best.0 {
            best = (now, net.clone());
            since = 0;
        }
    }
    *net = best.1;
    Fitted { epochs, loss: best.0 }
}

fn run(net: &Net, in_force: Option<&InForce<'_>>, x: Rows) -> Tape {
    match in_force {
        Some(it) => it.forward(x),
        None => net.forward(x),
    }
}

/// Loss of at most [`VALID_MAX`] of the windows, evenly chosen.
fn loss_on(net: &Net, in_force: Option<&InForce<'_>>, pairs: &Pairs<'_>, recipe: &Recipe) -> f32 {
    let every = pairs.x.nrows().div_ceil(VALID_MAX).max(1);
    let rows: Vec<usize> = (0..pairs.x.nrows()).step_by(every).collect();
    let part = |rows: &[usize]| {
        let (x, wanted) = pairs.pick(rows);
        loss(run(net, in_force, x).output(), &wanted, recipe.huber).0 * rows.len() as f32
    };
    rows.chunks(CHUNK).map(part).sum::<f32>() / rows.len().max(1) as f32
}

/// Huber's loss of `y` against what was wanted, mean over all values, and its gradient.
///
/// # Source
/// Huber, Ann. Math. Statist. 35 (1964) 73-101.
fn loss(y: &Rows, wanted: &Rows, huber: f32) -> (f32, Rows) {
    let mut dy = y.clone();
    let scale = 1.0 / y.len() as f32;
    let mut sum = 0.0_f64;
    let n_out = y.ncols();
    for (row, wanted) in in_order(&mut dy).chunks_exact_mut(n_out).zip(wanted.axis_iter(Axis(0))) {
        let mut of_row = 0.0_f32;
        for (r, wanted) in row.iter_mut().zip(wanted) {
            let away = *r - wanted;
            let cut = away.clamp(-huber, huber);
            of_row += cut * (away - 0.5 * cut);
            *r = cut * scale;
        }
        sum += f64::from(of_row);
    }
    (sum as f32 * scale, dy)
}

/// Adam with decoupled weight decay; the step rises over the first twentieth and then falls to 0.
///
/// # Source
/// Kingma and Ba, ICLR 2015, algorithm 1; Loshchilov and Hutter, ICLR 2019, algorithm 2.
struct Adam {
    moves: Moves,
    moments: Vec<Vec<(f32, f32)>>,
    n_done: usize,
    powers: (f64, f64),
}

const BETA: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

impl Adam {
    fn new(net: &mut Net, moves: Moves) -> Self {
        let n_values = |part: &(&mut [f32], bool)| vec![(0.0, 0.0); part.0.len()];
        let moments = net.layers_mut().flat_map(|l| parts(l, moves)).map(|p| n_values(&p));
        Self { moves, moments: moments.collect(), n_done: 0, powers: (1.0, 1.0) }
    }

    fn step(&mut self, net: &mut Net, slopes: &[Slope], recipe: &Recipe, n_steps: usize) {
        self.n_done += 1;
        self.powers.0 *= f64::from(BETA.0);
        self.powers.1 *= f64::from(BETA.1);
        let rise = (20 * self.n_done) as f32 / n_steps.max(1) as f32;
        let fall = 1.0 - (self.n_done - 1) as f32 / n_steps.max(1) as f32;
        let rate = recipe.rate * rise.min(1.0) * fall;
        let unbias = ((1.0 - self.powers.0) as f32, (1.0 - self.powers.1) as f32);
        let values = net.layers_mut().flat_map(|layer| parts(layer, self.moves));
        let grads = slopes.iter().flat_map(|slope| grads(slope, self.moves));
        for (((values, decays), grads), moments) in values.zip(grads).zip(&mut self.moments) {
            let keep = if decays { 1.0 - rate * recipe.decay } else { 1.0 };
            for ((value, g), (m, v)) in values.iter_mut().zip(grads).zip(moments) {
                *m = BETA.0 * *m + (1.0 - BETA.0) * g;
                *v = BETA.1 * *v + (1.0 - BETA.1) * g * g;
                let step = (*m / unbias.0) / ((*v / unbias.1).sqrt() + EPSILON);
                *value = keep * *value - rate * step;
            }
        }
    }
}

/// The numbers of a layer that may move, and whether they decay.
fn parts(layer: &mut Dense, moves: Moves) -> Vec<(&mut [f32], bool)> {
    let flat = "arrays made here lie in order";
    match moves {
        Moves::All => vec![
            (layer.weight.as_slice_mut().expect(flat), true),
            (layer.bias.as_slice_mut().expect(flat), false),
        ],
        Moves::Ups => layer
            .side
            .as_mut()
            .map_or_else(Vec::new, |side| vec![(side.up.as_slice_mut().expect(flat), true)]),
    }
}

fn grads(slope: &Slope, moves: Moves) -> Vec<Vec<f32>> {
    match moves {
        Moves::All => vec![slope.weight.iter().copied().collect(), slope.bias.to_vec()],
        Moves::Ups => {
            slope.up.as_ref().map_or_else(Vec::new, |up| vec![up.iter().copied().collect()])
        }
    }
}

#[cfg(test)]
mod tests;
