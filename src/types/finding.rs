//! What `assess` gives: which fault, how bad, and the evidence.

use std::sync::Arc;

use super::{Origin, Quality, Score, Stamp, State};

/// Named faults; `code()` is what machines read, `name()` what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the variants are the field's own words")]
pub enum FaultCode {
    Unbalance,
    Misalignment,
    BentShaft,
    Looseness,
    Resonance,
    OuterRace,
    InnerRace,
    Ball,
    Cage,
    GearMesh,
    Belt,
    BladePass,
    Electrical,
    Cavitation,
    Lubrication,
    /// Something knocks, and no rule says what.
    ImpulsiveUnknown,
}

impl FaultCode {
    /// Every fault, in the order of this list.
    pub const ALL: [Self; 16] = [
        Self::Unbalance,
        Self::Misalignment,
        Self::BentShaft,
        Self::Looseness,
        Self::Resonance,
        Self::OuterRace,
        Self::InnerRace,
        Self::Ball,
        Self::Cage,
        Self::GearMesh,
        Self::Belt,
        Self::BladePass,
        Self::Electrical,
        Self::Cavitation,
        Self::Lubrication,
        Self::ImpulsiveUnknown,
    ];

    /// As published and as case files write it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unbalance => "imbalance",
            Self::Misalignment => "misalignment",
            Self::BentShaft => "bent_shaft",
            Self::Looseness => "looseness",
            Self::Resonance => "resonance",
            Self::OuterRace => "outer_race",
            Self::InnerRace => "inner_race",
            Self::Ball => "ball",
            Self::Cage => "cage",
            Self::GearMesh => "gear_mesh",
            Self::Belt => "belt",
            Self::BladePass => "blade_pass",
            Self::Electrical => "electrical",
            Self::Cavitation => "cavitation",
            Self::Lubrication => "lubrication",
            Self::ImpulsiveUnknown => "impulsive_unknown",
        }
    }

    /// In a fitter's words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unbalance => "unbalance",
            Self::Misalignment => "misalignment",
            Self::BentShaft => "bent shaft",
            Self::Looseness => "looseness",
            Self::Resonance => "resonance",
            Self::OuterRace => "bearing outer race",
            Self::InnerRace => "bearing inner race",
            Self::Ball => "bearing rolling element",
            Self::Cage => "bearing cage",
            Self::GearMesh => "gear mesh",
            Self::Belt => "belt",
            Self::BladePass => "blade pass",
            Self::Electrical => "electrical",
            Self::Cavitation => "cavitation",
            Self::Lubrication => "lubrication",
            Self::ImpulsiveUnknown => "impulsive, source unknown",
        }
    }
}

/// One measured line that speaks for a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What was measured, in plain words: `envelope line at 1 x BPFO`.
    pub feature: String,
    /// Measured value.
    pub value: f64,
    /// Its unit: `Hz`, `dB`, `mm/s`, `x`.
    pub unit: &'static str,
    /// What a healthy machine (or the theory) has, same unit.
    pub expected: Option<f64>,
    /// Order of shaft speed, where it has one.
    pub order: Option<f64>,
}

/// A candidate fault with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Which.
    pub code: FaultCode,
    /// 0-1, how sure.
    pub confidence: f32,
    /// What speaks for it.
    pub evidence: Vec<Evidence>,
}

/// ISO 20816-3 evaluation zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// As newly commissioned.
    A,
    /// Fit for unrestricted long-term operation.
    B,
    /// Not for long-term continuous operation.
    C,
    /// Severe enough to damage the machine.
    D,
}

impl Zone {
    /// The letter.
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }
}

/// Broadband severity by the standard, worst axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Severity {
    /// Velocity RMS of the worst axis, mm/s.
    pub velocity_rms_mm_s: Option<f64>,
    /// Zone, where the standard applies.
    pub zone: Option<Zone>,
    /// Standard, edition, group and support, as published.
    pub standard: Arc<str>,
    /// Why there is no zone.
    pub reason: Option<&'static str>,
}

/// How far a level has risen, and how far it may.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rise {
    /// Above the learned mean, dB.
    pub db: f64,
    /// At the functional limit, dB; above 0.
    pub limit_db: f64,
}

/// What is known of a machine after one window of one of its sensors.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The window that brought it up to date.
    pub origin: Origin,
    /// Time of that window's first sample.
    pub start: Stamp,
    /// State of the whole machine: the worst of its trusted sensors.
    pub state: State,
    /// 100 as new, 0 at the functional limit.
    pub health: f32,
    /// Wear so far: 0 as learned, 1 at the functional limit. `None` while
    /// nothing can be said.
    pub wear: Option<f64>,
    /// The level that is nearest to its limit; what the forecast runs on.
    pub rise: Option<Rise>,
    /// By the standard.
    pub severity: Severity,
    /// Named faults, surest first; empty on a healthy machine.
    pub faults: Vec<Fault>,
    /// The score that brought it up to date.
    pub score: Score,
    /// Shaft speed, revolutions per second.
    pub speed_hz: Option<f64>,
    /// Flags of the sensor.
    pub quality: Quality,
}

impl Finding {
    /// A finding that says nothing yet.
    pub fn new(origin: Origin) -> Self {
        let severity = Severity {
            velocity_rms_mm_s: None,
            zone: None,
            standard: "".into(),
            reason: Some("no record yet"),
        };
        Self {
            score: Score::new(origin.clone()),
            origin,
            start: Stamp::default(),
            state: State::Learning,
            health: 100.0,
            wear: None,
            rise: None,
            severity,
            faults: Vec::new(),
            speed_hz: None,
            quality: Quality::GOOD,
        }
    }
}
