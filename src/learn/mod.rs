//! Makes models; never on the signal path.
//!
//! A `Corpus` is what is learned from; `train` fits a network to it; every other verb takes a model
//! and gives a smaller or fitter one, heals what it hurt, and refuses where the `Gate` is not kept.
//!
//! **Invariant**: the same data, recipe and seed give the same bytes.

mod adapt;
mod chance;
mod convert;
mod data;
mod distill;
mod equalize;
mod factorize;
mod integer;
mod measure;
mod net;
mod piece;
mod prune;
mod quantize;
mod share;
mod site;
mod slide;
mod train;

pub use adapt::{Adapter, adapt};
pub use data::{Corpus, Scale, Trial, Windows, preprocessing};
pub use distill::distill;
pub use factorize::factorize;
pub use integer::Precision;
pub use measure::{Gate, Marks, departures, marks, rank_correlation, scores};
pub use piece::{Foundry, Outcome, train};
pub use prune::{Part, prune, prune_layers};
pub use quantize::{Target, quantize};
pub use share::share;
pub use site::{Site, Worth};
pub use slide::Stage;
pub use train::{Fitted, Progress, Recipe, Watch};

/// Why the foundry gives no model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data cannot be learned from: give others.
    #[error("{what}: {why}")]
    Data {
        /// Which.
        what: String,
        /// What happened and what to do.
        why: String,
    },
    /// It would make the model worse than allowed: ask for less.
    #[error("{step} would cost too much: {why}; ask for less, or widen the gate")]
    Gate {
        /// What was asked for.
        step: String,
        /// By how much it fails.
        why: String,
    },
    /// A number that makes no sense.
    #[error("{key}: {why}")]
    Ask {
        /// Which.
        key: &'static str,
        /// What would be right.
        why: String,
    },
    /// The engine refuses what came out.
    #[error(transparent)]
    Model(#[from] crate::nn::Error),
}

#[cfg(test)]
mod tests;
