//! Small integer networks: bytes -> `Model` -> scores.
//!
//! A `Model` is a `Card` and a `Graph`, from a file or from the foundry. A `Runner` brings dB to the
//! model's scale, reconstructs them and gives the residual. `Engine` runs any graph by itself.
//!
//! **Invariant**: a model that was loaded cannot fail when it runs, whatever the file held; and it
//! gives the same bits on every processor.

mod canary;
mod card;
#[cfg(test)]
mod dice;
mod engine;
mod format;
mod graph;
mod import;
mod kernel;
mod model;
mod plan;
mod program;
mod quant;
#[cfg(test)]
mod tests;

pub use canary::Canary;
pub use card::{
    BANDS_MAX, Card, DataSet, HOPS_MAX, Kind, Normalisation, Preprocessing, Threshold, Training,
};
pub use engine::{BATCH_MAX, Engine};
pub use format::{FILE_BYTES_MAX, VERSION};
pub use graph::{
    Bias, Flow, Graph, INT4_GROUP, LAYERS_MAX, Layer, Linear, MACS_MAX, RANK_MAX, Shape, Side,
    Slide, VALUES_MAX, Weights,
};
pub use import::{read_onnx, read_tflite};
pub use model::{Model, Runner};
pub use plan::ARENA_BYTES_MAX;
pub use quant::{Quant, Requant};

/// Why a model is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the bytes that were written: fetch the file again.
    #[error("model file is damaged: {0}; copy it again")]
    Damaged(String),
    /// Written by a newer or unknown program: update this one.
    #[error("model file has format version {found}, this program reads {VERSION}; update auscult")]
    Version {
        /// What the file says.
        found: u32,
    },
    /// Over a limit: make it smaller.
    #[error("model is too big: {what} over the limit of {max}")]
    TooBig {
        /// What of it.
        what: &'static str,
        /// The limit, in its own unit.
        max: u64,
    },
    /// Breaks a rule: mend what made it.
    #[error("model is not valid at {at}: {why}")]
    Invalid {
        /// Where in it.
        at: String,
        /// Which rule.
        why: String,
    },
    /// Well formed, but needs something not built here.
    #[error("not supported: {what}")]
    Unsupported {
        /// What.
        what: String,
    },
}
