//! What every rule sees of one record: the axes, their normal, the speed, and how to say what it found.

use super::measure::{Level, Machine, Measured};
use super::reference::{Normal, Reference};
use crate::types::{Evidence, Fault, FaultCode, Severity, Speed, Zone};

/// A rise of less is not a change, dB: twice the amplitude.
pub(super) const RISE_DB: f64 = 6.0;
/// And it lies this many standard deviations of a new value above the mean.
const RISE_SIGMAS: f64 = 2.5;
/// Speed known no better than this: every name is a hint only.
const SPEED_HINT: f64 = 0.01;
/// Confidence of a hint.
const HINT: f32 = 0.3;

/// One record of one sensor as the rules see it.
pub(super) struct Case<'a> {
    /// Which sensor.
    pub(super) sensor: &'a str,
    /// The nameplate and the bearing.
    pub(super) machine: &'a Machine,
    /// One per axis.
    pub(super) axes: &'a [Measured],
    /// Whether the axis lies along the shaft; shorter than `axes` where names are missing.
    pub(super) axial: &'a [bool],
    /// Whether the axis may be believed.
    pub(super) trusted: &'a [bool],
    /// Speed of the shaft, refined.
    pub(super) speed: Option<Speed>,
    /// The learned normal; `None` while it is being learned.
    pub(super) reference: Option<&'a Reference>,
    /// Zone of the machine.
    pub(super) severity: &'a Severity,
}

impl Case<'_> {
    /// Indices of the axes that may be believed.
    pub(super) fn axes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.axes.len()).filter(|i| self.trusted[*i])
    }

    /// Whether axis `i` is known to lie along the shaft.
    pub(super) fn is_axial(&self, i: usize) -> bool {
        self.axial.get(i).copied().unwrap_or(false)
    }

    /// What level `place` of axis `i` is compared with.
    pub(super) fn normal(&self, i: usize, place: usize) -> Option<Normal> {
        self.reference?.normal(self.sensor, self.speed.map(|s| s.hz), i, place)
    }

    /// Whether there is a learned normal of this sensor to compare with.
    pub(super) fn is_learned(&self) -> bool {
        self.axes().any(|i| self.normal(i, Level::Low as usize).is_some())
    }

    /// Rise of level `place` on axis `i` above all that was learned, where it is a change at all, dB.
    pub(super) fn rise(&self, i: usize, place: usize) -> Option<f64> {
        let x = self.axes[i].levels[place];
        let normal = self.normal(i, place)?;
        let is_change = normal.above_mean(x) >= RISE_SIGMAS * normal.spread;
        (self.axes[i].stands(place) && is_change && normal.rise(x) >= RISE_DB)
            .then(|| normal.rise(x))
    }

    /// Largest rise of a level over the axes, and where.
    pub(super) fn largest_rise(&self, place: usize) -> Option<(usize, f64)> {
        let rises = self.axes().filter_map(|i| Some((i, self.rise(i, place)?)));
        rises.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Whether the machine stands in zone C or D, which speaks before anything is learned.
    pub(super) fn is_severe(&self) -> bool {
        matches!(self.severity.zone, Some(Zone::C | Zone::D))
    }

    /// A named fault; without an exact speed it is a hint only.
    pub(super) fn fault(&self, code: FaultCode, confidence: f32, evidence: Vec<Evidence>) -> Fault {
        let exact = self.speed.is_some_and(|speed| speed.tolerance <= SPEED_HINT);
        let needs_speed = !matches!(
            code,
            FaultCode::ImpulsiveUnknown
                | FaultCode::Lubrication
                | FaultCode::Cavitation
                | FaultCode::Electrical
        );
        let confidence = if needs_speed && !exact { confidence.min(HINT) } else { confidence };
        Fault { code, confidence, evidence }
    }

    /// A line that stands above what was learned.
    pub(super) fn line(&self, what: &str, i: usize, place: usize, order: Option<f64>) -> Evidence {
        Evidence {
            feature: format!("{what}, axis {}", i + 1),
            value: self.axes[i].levels[place],
            unit: "dB",
            expected: self.normal(i, place).map(|normal| normal.mean),
            order,
        }
    }
}
