//! Gets alerts off the box, at least once; brings commands in.
//!
//! **Invariant**: a row of the outbox is cleared only by an acknowledgement that came in on the very
//! connection it was sent on, or by the fleet naming its id.
//! **Invariant**: at most one attempt to connect at a time, and a back-off between any two.

mod command;
mod config;
mod identity;
mod mqtt;
mod outbox;
mod session;
mod wire;

pub use command::{Commands, Incoming};
pub use config::{AckLevel, Config, Error};
pub use identity::{ClockQuality, Identity, check_name};
pub use mqtt::{Happening, Link, Message};
pub use outbox::{Ask, Outbox, Watermark};
pub use session::{Action, Lost, Session, State};
pub use wire::{
    Counter, Queue, Status, alert, alert_row, alert_schema, features, last_will, reply, state,
    status,
};
