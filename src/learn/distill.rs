//! A small pupil learns from a large teacher, on normal windows and on disturbed ones.

use ndarray::{Axis, concatenate};

use super::Error;
use super::chance::Chance;
use super::net::Net;
use super::piece::{Foundry, Outcome, Piece};
use super::slide::{Stage, list};
use super::train::{Goal, Recipe, Rows, Watch, fit};
use crate::nn::{Model, Normalisation};

/// Share of the loss that follows the teacher; the rest follows the input.
const SHARE: f32 = 0.7;
/// Bands are lifted and lowered by up to ten times the level, as faults do it, dB.
const DISTURB_DB: f32 = 20.0;

/// Teaches an autoencoder of stages `inner` what `teacher` does. The disturbed half keeps the pupil from
/// reproducing what the teacher would find strange.
///
/// # Errors
/// `Error::Gate` if the pupil is too far from its teacher; `Error::Ask` for widths that make no network.
///
/// # Source
/// Hinton et al., 2015, as regression on the teacher's output; disturbed inputs as in `domain.md` 7.10.
pub fn distill(
    foundry: &Foundry<'_>,
    teacher: &Model,
    inner: &[Stage],
    watch: Watch<'_>,
) -> Result<Outcome, Error> {
    let mut piece = Piece::of(teacher);
    let recipe = foundry.recipe;
    let pupil = Net::random(piece.shape, inner, &mut Chance::new(recipe.seed, 20))?;
    let master = std::mem::replace(&mut piece.net, pupil);
    piece.codes = None;
    let (train, valid) = foundry.rows(&piece.card);
    let both = disturbed(&train, &piece.card.normalisation, 1, recipe.seed);
    let goal = Goal { teacher: Some((&master, SHARE)), what: "distilling", ..Goal::default() };
    // Twice the windows, half the epochs: the same work.
    let recipe = Recipe { epochs: recipe.epochs.div_ceil(2), ..recipe };
    fit(&mut piece.net, &both, &valid, &recipe, &goal, watch);
    piece.card.about =
        format!("Autoencoder {} over log-mel levels, taught by a larger one.", list(inner));
    let step = format!("distill --widths {}", list(inner));
    foundry.close(teacher, &piece, &step)
}

/// The windows, and each `n_more` times more with a stretch of its bands lifted or lowered.
pub(super) fn disturbed(rows: &Rows, norm: &Normalisation, n_more: usize, seed: u64) -> Rows {
    let mut chance = Chance::new(seed, 21);
    let n_bands = norm.scale_db.len();
    let mut all = concatenate(Axis(0), &vec![rows.view(); 1 + n_more]).expect("the same width");
    for mut row in all.axis_iter_mut(Axis(0)).skip(rows.nrows()) {
        let (first, n) = (chance.below(n_bands), 1 + chance.below(n_bands / 4 + 1));
        let db = chance.between(-DISTURB_DB, DISTURB_DB);
        for (i, value) in row.iter_mut().enumerate() {
            if (first..first + n).contains(&(i % n_bands)) {
                *value += db / norm.scale_db[i % n_bands];
            }
        }
    }
    all
}
