//! The pipeline on labelled recordings: cases, scores, rivals, one report.
//!
//! Invariants: only what a case file marks for learning reaches a model, a limit or a normalisation;
//! a label of a test recording reaches nothing but the report; every answer is causal.

mod cases;
mod explain;
mod forecasts;
mod hearing;
mod metrics;
mod report;
mod rig;
mod rivals;
mod run;
mod svg;
mod table;
mod trial;

pub use cases::{Bearing, Cases, Life, Machine, Recording, Use};
pub use explain::explain;
pub use forecasts::Forecasts;
pub use hearing::Answer;
pub use metrics::{auc, macro_f1, pauc, phm2012, phm2012_floor};
pub use report::{
    ByFault, Counts, Detection, Diagnosis, ForecastReport, Learned, LifeReport, MachineReport,
    ModelReport, Quantiles, Report, RivalReport, Summary,
};
pub use rig::{Open, Piece, Setup, open_file};
pub use run::{Judge, Progress};

/// Why there is no judgement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mend the case file.
    #[error("{at}: {why}")]
    Cases {
        /// File, line and column.
        at: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A recording cannot be read.
    #[error(transparent)]
    Recording(#[from] crate::acquire::Error),
    /// The blocks cannot be built for this machine.
    #[error("machine {machine}: {why}")]
    Machine {
        /// Its id.
        machine: String,
        /// What the block says.
        why: String,
    },
}
