//! What `advise` gives: one event in an alarm's life (ISA-18.2), with what to do and why.

use std::sync::Arc;

use super::{Fault, Life, Origin, Quality, Refusal, Severity, Stamp};

/// What happened to the alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are the contract's own words")]
pub enum Event {
    Raised,
    Worsened,
    Improved,
    Returned,
    Acknowledged,
    Shelved,
    Unshelved,
    Cleared,
}

impl Event {
    /// As published.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Worsened => "worsened",
            Self::Improved => "improved",
            Self::Returned => "returned",
            Self::Acknowledged => "acknowledged",
            Self::Shelved => "shelved",
            Self::Unshelved => "unshelved",
            Self::Cleared => "cleared",
        }
    }
}

/// ISA-18.2 states of an alarm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AlarmState {
    /// A: nothing is the matter.
    #[default]
    Normal,
    /// B: active, nobody has acknowledged it.
    Unacknowledged,
    /// C: active and acknowledged.
    Acknowledged,
    /// D: returned to normal before anybody acknowledged it.
    ReturnedUnacknowledged,
    /// E: condition gone but latched, not acknowledged.
    LatchedUnacknowledged,
    /// F: condition gone but latched, acknowledged.
    LatchedAcknowledged,
    /// G: put aside by an operator for a time.
    Shelved,
    /// H: suppressed by design.
    Suppressed,
    /// I: out of service.
    OutOfService,
}

impl AlarmState {
    /// As published.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Unacknowledged => "unacknowledged",
            Self::Acknowledged => "acknowledged",
            Self::ReturnedUnacknowledged => "returned_unacknowledged",
            Self::LatchedUnacknowledged => "latched_unacknowledged",
            Self::LatchedAcknowledged => "latched_acknowledged",
            Self::Shelved => "shelved",
            Self::Suppressed => "suppressed",
            Self::OutOfService => "out_of_service",
        }
    }

    /// Whether the condition stands and an operator should see it.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Unacknowledged | Self::Acknowledged)
    }
}

/// How soon someone must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// At the next opportunity.
    Low,
    /// Plan it.
    Medium,
    /// Now.
    High,
}

impl Priority {
    /// As published.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What kind of thing alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The score went over its limit.
    Anomaly,
    /// A zone of the standard was entered.
    Severity,
    /// A fault was named.
    Fault,
    /// The remaining life is short.
    Trend,
    /// The sensor, not the machine.
    Sensor,
}

impl What {
    /// As published.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anomaly => "anomaly",
            Self::Severity => "severity",
            Self::Fault => "fault",
            Self::Trend => "trend",
            Self::Sensor => "sensor",
        }
    }
}

/// One event in the life of one alarm. Deterministic: the same frames give the same alerts, ids included.
#[derive(Clone, Debug)]
pub struct Alert {
    /// Which samples were the last straw.
    pub origin: Origin,
    /// Source time of the event.
    pub start: Stamp,
    /// Which episode of trouble on this asset and rule, counted from 1; one alert's life.
    pub episode: u64,
    /// Which event within that life, counted from 1.
    pub transition: u32,
    /// What happened.
    pub event: Event,
    /// The alarm's state after it.
    pub state: AlarmState,
    /// How soon to act.
    pub priority: Priority,
    /// What kind of thing.
    pub what: What,
    /// The surest fault, if one is named.
    pub fault: Option<Fault>,
    /// Score behind it.
    pub score_value: f64,
    /// Its threshold.
    pub score_threshold: f64,
    /// Its p-value.
    pub p_value: f64,
    /// The budget in force, where the data support one.
    pub false_alarms_per_year: Option<f64>,
    /// Severity by the standard.
    pub severity: Severity,
    /// Remaining life, or why not.
    pub life: Result<Life, Refusal>,
    /// One sentence a fitter understands.
    pub message: String,
    /// What to do and how urgent.
    pub action: String,
    /// Regime, counted from 0.
    pub regime: Option<u16>,
    /// Shaft speed, r/min.
    pub speed_rpm: Option<f64>,
    /// Flags of the sensor.
    pub quality: Quality,
    /// Saved recording, if any.
    pub clip: Option<Arc<str>>,
    /// Who did it and why, for operator events.
    pub by: Option<String>,
}

/// An alarm that is not over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenAlert {
    /// What kind of thing.
    pub what: What,
    /// Its ISA-18.2 state.
    pub state: AlarmState,
    /// How soon to act.
    pub priority: Priority,
    /// Which episode.
    pub episode: u64,
    /// Since when.
    pub since: Stamp,
}
