//! Behaviour tests: one binary, one module per room.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]

mod advise;
mod alloc;
mod assess;
mod broker;
mod detect;
mod fixtures;
mod house;
mod judge;
mod live;
mod publish;
mod record;
mod rig;
mod store;
