//! The nouns that flow through auscult, one per ISO 13374 block, and what they are made of.
//!
//! `Frame -> Features -> Score -> Finding -> Outlook -> Alert`. Nouns know no format: no serde here;
//! `wire.rs`, `row.rs` and `api.rs` convert by hand.

mod alert;
mod control;
mod features;
mod finding;
mod frame;
mod origin;
mod outlook;
mod quantity;
mod score;
mod time;

pub use alert::{AlarmState, Alert, Event, OpenAlert, Priority, What};
pub use control::{Command, Ne107, Order, Reply};
pub use features::{
    Axis, Bands, Envelope, Features, Indicators, Record, SensorKind, Spectrum, Speed, SpeedSource,
};
pub use finding::{Evidence, Fault, FaultCode, Finding, Rise, Severity, Zone};
pub use frame::{Frame, Quality, Shape};
pub use origin::{Digest, ModelId, Origin};
pub use outlook::{Life, Outlook, Refusal};
pub use quantity::{G_MPS2, Unit};
pub use score::{Change, Contribution, Score, State, Verdict, View};
pub use time::{Clock, Span, Stamp};
