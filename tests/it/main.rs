//! Behaviour tests: one binary, one module per room.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#![allow(
    clippy::disallowed_methods,
    reason = "a test drives from outside, with its own threads and time"
)]
#![allow(clippy::print_stdout, reason = "a test that is skipped says why")]

mod advise;
mod alloc;
mod assess;
mod broker;
mod config;
mod detect;
mod fixtures;
mod house;
mod judge;
mod live;
mod lives;
mod naming;
mod publish;
mod record;
mod returns;
mod rig;
mod run;
mod sensor;
mod store;
mod years;
