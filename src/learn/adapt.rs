//! A few minutes of one machine: a low-rank adapter beside the frozen model, kept in a file of its own.

use std::collections::HashMap;

use ndarray::Array2;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::Error;
use super::chance::Chance;
use super::net::{Dense, Path};
use super::piece::{Foundry, Piece};
use super::train::{Fitted, Goal, Moves, Recipe, Watch, fit};
use crate::nn::{Model, RANK_MAX};
use crate::types::Digest;

/// Largest adapter file, bytes.
const FILE_BYTES_MAX: usize = 16 << 20;

/// What one machine adds to a model: `up (down x)` beside each layer. `down` is drawn by the seed and
/// the same for all machines, so that means over machines are means of what they do.
///
/// # Source
/// Hu et al., LoRA, 2021; frozen `down` after Sun et al., FFA-LoRA, ICLR 2024; over an integer base as
/// Dettmers et al., QLoRA, 2023.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// The model it belongs to.
    pub base: Digest,
    /// Seed that `down` is drawn by.
    pub seed: u64,
    /// Inner width.
    pub rank: usize,
    /// `[n_out, rank]` of every layer, row by row; none of depthwise ones.
    pub ups: Vec<Vec<f32>>,
}

impl Adapter {
    /// One that changes nothing.
    ///
    /// # Errors
    /// `Error::Ask` for a rank out of range.
    pub fn neutral(base: &Model, rank: usize, seed: u64) -> Result<Self, Error> {
        if !(1..=RANK_MAX).contains(&rank) {
            return Err(Error::Ask { key: "rank", why: format!("{rank} is not 1 to {RANK_MAX}") });
        }
        let piece = Piece::of(base);
        let ups = piece.net.layers().map(|dense| vec![0.0; n_ups(dense, rank)]).collect();
        Ok(Self { base: base.digest(), seed, rank, ups })
    }

    /// The model with this adapter in it.
    ///
    /// # Errors
    /// `Error::Ask` if it belongs to another model.
    pub fn over(&self, base: &Model) -> Result<Model, Error> {
        let mut piece = self.mount(base)?;
        piece.card.name.truncate(56);
        piece.card.name.push_str("-adapted");
        piece.model(&format!("adapt --rank {}", self.rank))
    }

    /// What it adds, as one vector.
    pub fn flat(&self) -> Vec<f32> {
        self.ups.concat()
    }

    /// The adapter file; the same adapter gives the same bytes.
    ///
    /// # Panics
    /// Never: an adapter is made with whole rows.
    pub fn save(&self) -> Vec<u8> {
        let name = |layer: usize| format!("{layer:04}.up");
        let data: Vec<Vec<u8>> = self.ups.iter().map(|up| le(up)).collect();
        let views = data.iter().enumerate().map(|(layer, bytes)| {
            let shape = vec![bytes.len() / 4 / self.rank, self.rank];
            let view = TensorView::new(Dtype::F32, shape, bytes);
            (name(layer), view.expect("whole rows"))
        });
        let card = serde_json::json!({
            "base": self.base.0, "seed": self.seed, "rank": self.rank,
            "blake3": blake3::hash(&data.concat()).to_hex().as_str(),
        });
        let metadata = HashMap::from([("auscult-adapter".to_owned(), card.to_string())]);
        safetensors::serialize(views, Some(metadata)).expect("checked tensors")
    }

    /// Reads an adapter file.
    ///
    /// # Errors
    /// `Error::Data` if it is damaged, too large or no adapter.
    pub fn load(file: &[u8]) -> Result<Self, Error> {
        let no = |why: &str| Error::Data { what: "adapter".to_owned(), why: why.to_owned() };
        if file.len() > FILE_BYTES_MAX {
            return Err(no("the file is too large for an adapter"));
        }
        let damaged = |_| no("the file is damaged or no adapter; adapt again");
        let (_, head) = SafeTensors::read_metadata(file).map_err(damaged)?;
        let card = head.metadata().as_ref().and_then(|texts| texts.get("auscult-adapter"));
        let card = card.ok_or_else(|| no("the file is no adapter"))?;
        let card: AdapterCard =
            serde_json::from_str(card).map_err(|_| no("its card cannot be read"))?;
        let tensors = SafeTensors::deserialize(file).map_err(damaged)?;
        let mut named = tensors.tensors();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let mut hasher = blake3::Hasher::new();
        let mut ups = Vec::new();
        for (_, view) in &named {
            if view.dtype() != Dtype::F32 {
                return Err(no("its numbers are not floats"));
            }
            hasher.update(view.data());
            ups.push(view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect());
        }
        if hasher.finalize().to_hex().as_str() != card.blake3 || card.rank == 0 {
            return Err(no("its digest does not fit its bytes; adapt again"));
        }
        Ok(Self { base: Digest(card.base), seed: card.seed, rank: card.rank, ups })
    }

    fn mount(&self, base: &Model) -> Result<Piece, Error> {
        let mut piece = Piece::of(base);
        let n_layers = piece.net.layers().count();
        let fits = |(dense, up): (&Dense, &Vec<f32>)| {
            up.len() == n_ups(dense, self.rank) && up.iter().all(|x| x.is_finite())
        };
        let fits = self.ups.len() == n_layers && piece.net.layers().zip(&self.ups).all(fits);
        if self.base != base.digest() || !fits {
            let why = format!("it was made for model {}, not for {}", self.base, base.digest());
            return Err(Error::Ask { key: "adapter", why });
        }
        let mut chance = Chance::new(self.seed, 30);
        for (dense, up) in piece.net.layers_mut().zip(&self.ups).filter(|(_, up)| !up.is_empty()) {
            let bound = (3.0 / dense.n_in() as f32).sqrt();
            let shape = (self.rank, dense.n_in());
            let down = Array2::from_shape_simple_fn(shape, || chance.between(-bound, bound));
            let up = Array2::from_shape_vec((dense.n_out(), self.rank), up.clone());
            dense.side = Some(Path { down, up: up.expect("lengths were compared") });
        }
        Ok(piece)
    }
}

/// Numbers an adapter adds to a layer: depthwise layers are thin already and take none.
fn n_ups(dense: &Dense, rank: usize) -> usize {
    if dense.is_depthwise() { 0 } else { dense.n_out() * rank }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AdapterCard {
    base: [u8; 32],
    seed: u64,
    rank: usize,
    blake3: String,
}

fn le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Learns an adapter of `rank` for `base` on the machine in the foundry's corpus, beginning at `from`;
/// gives the neutral one where learning does not help on the validation windows.
///
/// # Errors
/// As [`Adapter::neutral`] and [`Adapter::over`].
pub fn adapt(
    foundry: &Foundry<'_>,
    base: &Model,
    from: &Adapter,
    watch: Watch<'_>,
) -> Result<(Adapter, Fitted), Error> {
    let mut piece = from.mount(base)?;
    let (train, valid) = foundry.rows(&piece.card);
    let codes = piece.codes.clone();
    let goal =
        Goal { moves: Moves::Ups, codes: codes.as_ref(), what: "adapting", ..Goal::default() };
    // It begins where the base has arrived.
    let epochs = foundry.recipe.epochs.div_ceil(2);
    let recipe = Recipe { decay: 0.0, epochs, ..foundry.recipe };
    let fitted = fit(&mut piece.net, &train, &valid, &recipe, &goal, watch);
    let ups = piece.net.layers().map(|dense| {
        dense.side.as_ref().map_or_else(Vec::new, |side| side.up.iter().copied().collect())
    });
    Ok((Adapter { ups: ups.collect(), ..from.clone() }, fitted))
}

#[cfg(test)]
mod tests;
