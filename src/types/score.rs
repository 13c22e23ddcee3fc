//! What `detect` gives: how unusual this window is, and the state that follows.

use super::{Origin, Quality, Stamp};

/// The state of a machine as one sensor (or all together) sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// The gate says the machine stands still; nothing is scored.
    Stopped,
    /// Normal is still being learned; limits and zones alarm all the same.
    #[default]
    Learning,
    /// As learned.
    Normal,
    /// Evidence is gathering; not yet an alarm.
    Alert,
    /// Beyond the limit the false-alarm budget sets.
    Alarm,
    /// The data cannot be trusted: as loud as a fault, and never taken for one.
    Blind,
}

impl State {
    /// As published.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Learning => "learning",
            Self::Normal => "normal",
            Self::Alert => "alert",
            Self::Alarm => "alarm",
            Self::Blind => "blind",
        }
    }
}

/// What is said of one window by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Within the learned limits.
    Normal,
    /// Beyond the limit.
    Fault,
    /// A condition the learning part does not cover.
    #[default]
    NotLearned,
    /// Not judged: blind, stopped.
    Void,
}

/// One way of looking at the window (indicators, bands, orders, envelope, model ...).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// `indicators`, `bands`, `orders`, `envelope`, `model`.
    pub name: &'static str,
    /// Its own score; larger is worse.
    pub value: f64,
    /// Calibrated probability of a score so large on a healthy machine, 0-1.
    pub p_value: f64,
}

/// What of a band differs from the learned normal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// How loud it is.
    Level,
    /// How much its level varies within a window.
    Fluctuation,
    /// How much it knocks: crest factor, kurtosis, the envelope's peaks and lines.
    Shocks,
}

/// How much one band of one axis differs from the learned normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// Axis index.
    pub axis_idx: usize,
    /// Band, Hz.
    pub band_hz: (f32, f32),
    /// What differs.
    pub change: Change,
    /// Against the baseline's median, dB; positive is more.
    pub db: f32,
    /// Share of the score, 0-1.
    pub share: f32,
}

/// How unusual one window of one sensor is.
#[derive(Clone, Debug)]
pub struct Score {
    /// Which samples; `origin.model` is the model that had a say.
    pub origin: Origin,
    /// Time of the window's first sample.
    pub start: Stamp,
    /// What the learned normal says of the sensor: loose, exchanged.
    pub quality: Quality,
    /// The state after this window, by the sequential rule.
    pub state: State,
    /// This window alone.
    pub verdict: Verdict,
    /// Fused score of all views, larger is worse, comparable between regimes.
    pub value: f64,
    /// The value at which a window is a fault; from learning data only.
    pub threshold: f64,
    /// Probability of such a window on a healthy machine, 0-1.
    pub p_value: f64,
    /// Evidence gathered over windows: 1 or more is an alarm (e-detector over its limit).
    pub evidence: f64,
    /// The budget the limit keeps, false alarms per sensor and year; `None` while the data learned
    /// cannot support one.
    pub false_alarms_per_year: Option<f64>,
    /// Which operating regime, counted from 0; `None` where none fits.
    pub regime: Option<u16>,
    /// How much of the learning is done, 0-1.
    pub learned: f32,
    /// Learning waits for the machine to settle: what its levels did over the last learning time, dB.
    pub settling_db: Option<f32>,
    /// The baseline looks as if the machine had been bad when it was learned.
    pub baseline_suspect: bool,
    /// The views behind `value`.
    pub views: Vec<View>,
    /// What made it so, largest share first, at most [`Score::CONTRIBUTIONS_MAX`].
    pub contributions: Vec<Contribution>,
}

impl Score {
    /// Contributions kept, at the most.
    pub const CONTRIBUTIONS_MAX: usize = 5;

    /// A score that says nothing yet.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            start: Stamp::default(),
            quality: Quality::GOOD,
            state: State::Learning,
            verdict: Verdict::Void,
            value: 0.0,
            threshold: 0.0,
            p_value: 1.0,
            evidence: 0.0,
            false_alarms_per_year: None,
            regime: None,
            learned: 0.0,
            settling_db: None,
            baseline_suspect: false,
            views: Vec::new(),
            contributions: Vec::with_capacity(Self::CONTRIBUTIONS_MAX),
        }
    }
}
