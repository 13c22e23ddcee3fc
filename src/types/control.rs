//! Orders that come in from people and control systems, and the instrument's own status word.

use super::{Stamp, What};

/// NAMUR NE 107 status of the instrument, never of the machine; the order is the priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ne107 {
    /// Diagnostics active, values valid.
    #[default]
    Good,
    /// Still valid, but someone should look.
    Maintenance,
    /// Values uncertain.
    OutOfSpecification,
    /// Temporarily invalid: learning, replay, calibration.
    FunctionCheck,
    /// Values invalid.
    Failure,
}

impl Ne107 {
    /// As published.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Maintenance => "maintenance_required",
            Self::OutOfSpecification => "out_of_specification",
            Self::FunctionCheck => "function_check",
            Self::Failure => "failure",
        }
    }
}

/// What an order asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Acknowledge an alarm.
    Ack {
        /// Which kind; `None` means all of the asset's.
        what: Option<What>,
    },
    /// Put an alarm aside until a time.
    Shelve {
        /// Which kind; `None` means all of the asset's.
        what: Option<What>,
        /// When it comes back by itself.
        until: Stamp,
    },
    /// Bring a shelved alarm back.
    Unshelve {
        /// Which kind; `None` means all of the asset's.
        what: Option<What>,
    },
    /// Suppress by design, or lift it.
    Suppress {
        /// On or off.
        on: bool,
    },
    /// Out of service for maintenance, or back.
    OutOfService {
        /// On or off.
        on: bool,
    },
    /// Maintenance was done: forget the latched alarms and learn what is normal anew.
    Relearn,
    /// What is normal is again what was learned at first: operating points learned since and slow adaptation go.
    RollBack,
    /// Keep a recording of the last so many seconds.
    Clip {
        /// Seconds, 1-60.
        seconds: f64,
    },
}

impl Order {
    /// As in a command's topic.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Ack { .. } => "ack",
            Self::Shelve { .. } => "shelve",
            Self::Unshelve { .. } => "unshelve",
            Self::Suppress { .. } => "suppress",
            Self::OutOfService { .. } => "out_of_service",
            Self::Relearn => "relearn",
            Self::RollBack => "roll_back",
            Self::Clip { .. } => "clip",
        }
    }
}

/// An order with its return address.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Chosen by the sender; the answer carries it.
    pub id: String,
    /// Which machine.
    pub asset: String,
    /// What to do.
    pub order: Order,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When it came in, by our clock.
    pub at: Stamp,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The command's id.
    pub id: String,
    /// Whether it was done.
    pub done: bool,
    /// One sentence.
    pub message: String,
}
