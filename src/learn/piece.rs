//! A model on the bench, and what every verb does around its own work: measure, heal, keep the gate.

use super::Error;
use super::chance::Chance;
use super::convert::{lift, lower};
use super::data::Corpus;
use super::distill::disturbed;
use super::integer::Codes;
use super::measure::{Gate, Marks, marks};
use super::net::Net;
use super::slide::{Stage, list};
use super::train::{Fitted, Goal, Recipe, Rows, Watch, fit};
use crate::nn::{Card, Kind, Model, Shape};

/// Windows that ranges are observed on, at the most.
const OBSERVED_MAX: usize = 4096;

/// Windows that a change is healed on, at the most, the disturbed ones not counted.
const HEALED_MAX: usize = 1 << 13;
/// Times that each of them is disturbed.
const N_DISTURBED: usize = 3;

/// What every verb works with.
#[derive(Clone, Copy, Debug)]
pub struct Foundry<'a> {
    /// What to learn from and measure by.
    pub corpus: &'a Corpus,
    /// How to fit and to heal.
    pub recipe: Recipe,
    /// How much worse a step may make a model.
    pub gate: Gate,
}

/// What came of a step.
#[derive(Clone)]
pub struct Outcome {
    /// The new model.
    pub model: Model,
    /// The old one's marks.
    pub before: Marks,
    /// The new one's.
    pub after: Marks,
}

/// A model taken apart.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) card: Card,
    pub(super) shape: Shape,
    pub(super) net: Net,
    pub(super) codes: Option<Codes>,
}

impl Piece {
    pub(super) fn of(model: &Model) -> Self {
        let (net, codes) = lift(model.graph());
        let mut card = model.card().clone();
        card.parent = Some(hex(model));
        Self { card, shape: model.graph().input, net, codes }
    }

    /// Put together, the step noted on its card.
    pub(super) fn model(&self, step: &str) -> Result<Model, Error> {
        let mut card = self.card.clone();
        card.training.steps.push(step.to_owned());
        let graph = lower(&self.net, self.shape, self.codes.as_ref());
        Ok(Model::new(card, graph)?)
    }

    /// Ranges observed anew, at the precisions it has, if it computes in codes.
    pub(super) fn observe(&mut self, foundry: &Foundry<'_>) {
        if let Some(codes) = &self.codes {
            let (one_scale, rows) = (codes.one_scale, foundry.wide_sample(&self.card));
            let observed = Codes::observe(&self.net, &rows, codes.layers.clone());
            self.codes = Some(Codes { one_scale, ..observed });
        }
    }
}

/// Digest of a model, all of it, in hex.
fn hex(model: &Model) -> String {
    use std::fmt::Write;
    model.digest().0.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

impl Foundry<'_> {
    /// Training and validation windows on the scale of `card`.
    pub(super) fn rows(&self, card: &Card) -> (Rows, Rows) {
        let norm = &card.normalisation;
        let all = usize::MAX;
        (self.corpus.train.normalised(norm, all), self.corpus.valid.normalised(norm, all))
    }

    /// Some of the training windows, evenly chosen.
    pub(super) fn sample(&self, card: &Card) -> Rows {
        self.corpus.train.normalised(&card.normalisation, OBSERVED_MAX)
    }

    /// The same and as many disturbed: what is wrong lifts bands, and what is out of range is cut off.
    pub(super) fn wide_sample(&self, card: &Card) -> Rows {
        disturbed(&self.sample(card), &card.normalisation, 1, self.recipe.seed)
    }

    /// Fits again what a change has hurt: to give what `teacher`, the network before, gives
    /// for normal windows and for disturbed ones. Reproducing its input alone would make it another
    /// network, with other residuals for what is wrong. Weights that are exactly 0 were left out once and
    /// stay so, unless the goal says what is allowed.
    pub(super) fn heal(
        &self,
        piece: &mut Piece,
        teacher: &Net,
        goal: &Goal<'_>,
        watch: Watch<'_>,
    ) -> Fitted {
        let (norm, seed) = (&piece.card.normalisation, self.recipe.seed);
        let train = self.corpus.train.normalised(norm, HEALED_MAX);
        let train = disturbed(&train, norm, N_DISTURBED, seed);
        let valid = self.corpus.valid.normalised(norm, OBSERVED_MAX);
        let valid = disturbed(&valid, norm, 1, seed + 1);
        let masks: Vec<Rows> = piece
            .net
            .layers()
            .map(|dense| dense.weight.mapv(|w| f32::from(u8::from(w != 0.0))))
            .collect();
        let keep_out = |net: &mut Net| {
            net.layers_mut().zip(&masks).for_each(|(dense, mask)| dense.weight *= mask);
        };
        let has_gaps = masks.iter().any(|mask| mask.iter().any(|keep| *keep == 0.0));
        let goal = Goal {
            project: goal.project.or(if has_gaps { Some(&keep_out) } else { None }),
            teacher: Some((teacher, 1.0)),
            ..*goal
        };
        fit(&mut piece.net, &train, &valid, &self.recipe, &goal, watch)
    }

    /// Puts together what `step` made of a model, measures it against that, and refuses it if the gate is
    /// not kept.
    pub(super) fn close(&self, old: &Model, piece: &Piece, step: &str) -> Result<Outcome, Error> {
        let model = piece.model(step)?;
        let (before, after) = (marks(old, self.corpus), marks(&model, self.corpus));
        self.gate.check(step, &before, &after)?;
        Ok(Outcome { model: with_marks(&model, &after)?, before, after })
    }
}

fn with_marks(model: &Model, marks: &Marks) -> Result<Model, Error> {
    let mut card = model.card().clone();
    card.metrics.insert("mse".to_owned(), rounded(marks.mse));
    if marks.auc.is_finite() {
        card.metrics.insert("auc".to_owned(), rounded(marks.auc));
        card.metrics.insert("auc_worst".to_owned(), rounded(marks.auc_worst));
    }
    Ok(Model::new(card, model.graph().clone())?)
}

/// To six digits: more mean nothing and cost bytes.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Trains an autoencoder from nothing: `inner` are the stages between input and output.
///
/// # Errors
/// `Error::Ask` for stages that make no network, or the engine's refusal.
pub fn train(
    foundry: &Foundry<'_>,
    inner: &[Stage],
    watch: Watch<'_>,
) -> Result<(Model, Fitted), Error> {
    let (corpus, recipe) = (foundry.corpus, &foundry.recipe);
    let p = corpus.preprocessing;
    let shape = Shape { len: p.n_hops, channels: p.n_bands };
    let mut net = Net::random(shape, inner, &mut Chance::new(recipe.seed, 10))?;
    let mut card = Card {
        name: match corpus.kind {
            Kind::Sound => "sound".to_owned(),
            Kind::Vibration => "vibration".to_owned(),
        },
        kind: corpus.kind,
        about: format!("Autoencoder {} over log-mel levels.", list(inner)),
        preprocessing: p,
        normalisation: corpus.normalisation(),
        ..Card::default()
    };
    let (rows, valid) = foundry.rows(&card);
    let fitted = fit(&mut net, &rows, &valid, recipe, &Goal::default(), watch);
    card.training.data.clone_from(&corpus.sets);
    card.training.n_windows = corpus.train.len() as u64;
    card.training.n_epochs = fitted.epochs as u32;
    card.training.seed = recipe.seed;
    let piece = Piece { card, shape, net, codes: None };
    let model = piece.model(&format!("train --seed {}", recipe.seed))?;
    let after = marks(&model, corpus);
    Ok((with_marks(&model, &after)?, fitted))
}
