//! What `forecast` gives: how long it will last, or why that cannot be said.

use super::{Origin, Stamp};

/// Quantiles of the remaining life in hours; `p10 <= p50 <= p90`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Life {
    /// One in ten fails before this.
    pub p10_h: f64,
    /// Even odds.
    pub p50_h: f64,
    /// Nine in ten fail before this.
    pub p90_h: f64,
}

/// Why no life is stated (`domain.md` 8.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No alarm has confirmed that wear has begun.
    NotWearing,
    /// Fewer points since wear began than a trend needs.
    TooFewPoints,
    /// The slope may be nothing.
    SlopeUncertain,
    /// The regime changed since wear began.
    RegimeChanged,
    /// The sensor is not to be trusted.
    SensorFault,
    /// No justified limit to run against.
    NoLimit,
    /// It would reach further than the data carry.
    TooFar,
    /// The interval is too wide to be of use.
    TooWide,
    /// Maintenance was recorded.
    Maintained,
    /// Still learning what is normal.
    Learning,
}

impl Refusal {
    /// One phrase, as published.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotWearing => "no confirmed wear",
            Self::TooFewPoints => "too few points since wear began",
            Self::SlopeUncertain => "the trend is not distinguishable from none",
            Self::RegimeChanged => "the operating regime changed since wear began",
            Self::SensorFault => "the sensor cannot be trusted",
            Self::NoLimit => "no justified functional limit",
            Self::TooFar => "it would reach further than the data carry",
            Self::TooWide => "the interval is too wide to be of use",
            Self::Maintained => "maintenance was recorded since",
            Self::Learning => "still learning what is normal",
        }
    }
}

/// How long the machine will last.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The window that brought it up to date.
    pub origin: Origin,
    /// Time of that window's first sample.
    pub start: Stamp,
    /// Quantiles, or the reason there are none.
    pub life: Result<Life, Refusal>,
    /// When wear was confirmed to have begun.
    pub since: Option<Stamp>,
    /// Slope of the wear index per day, where there is a trend.
    pub wear_per_day: Option<f64>,
}
