//! auscult listens to a machine and says what is wrong, how bad it is, how long it will last and
//! what to do. The code says the same sentence in the same order; `ARCHITECTURE.md` is the map.
//!
//! A room imports only from floors below its own; `tests/it/house.rs` keeps it so.

// Floor 0: the nouns.
pub mod types;

// Floor 1: tools that know no machine.
pub mod dsp;
pub mod nn;
pub mod stats;
pub mod store;

// Floor 2: the six blocks of ISO 13374.
pub mod acquire;
pub mod advise;
pub mod assess;
pub mod detect;
pub mod extract;
pub mod forecast;

// Floor 3: joins, teaches, sends.
pub mod fleet;
pub mod learn;
pub mod pipeline;
pub mod publish;

// Floor 4: what runs.
pub mod daemon;
pub mod judge;

// Floor 5: the roof.
pub mod cli;
pub mod config;
