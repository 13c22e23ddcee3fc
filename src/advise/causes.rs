//! What a finding and an outlook say for an alarm, each kind of trouble by itself.

use serde::{Deserialize, Serialize};

use crate::types::{FaultCode, Finding, Outlook, Quality, Refusal, State, What, Zone};

use super::Config;
use super::calm::Reading;

/// Levels of a condition, as priorities count them.
pub(super) const LOW: u8 = 1;
pub(super) const MEDIUM: u8 = 2;
pub(super) const HIGH: u8 = 3;

/// Health below which an unnamed change is planned for, and below which it is urgent; 0 is the
/// functional limit.
const HEALTH_MEDIUM: f32 = 50.0;
const HEALTH_HIGH: f32 = 20.0;

/// Kinds of trouble with a machine, the one that tells a fitter most last.
pub(super) const KINDS: [What; 4] = [What::Anomaly, What::Trend, What::Severity, What::Fault];
pub(super) const ANOMALY: usize = 0;
pub(super) const TREND: usize = 1;
pub(super) const SEVERITY: usize = 2;
pub(super) const FAULT: usize = 3;

/// Flags by which the sensor itself needs a hand though its data may still be used.
const NEEDS_A_HAND: [Quality; 4] =
    [Quality::LOOSE_MOUNT, Quality::SWAPPED, Quality::HUM, Quality::SPIKES];

/// Lowest velocities seen in zones C and D while they stand: the boundaries lie at or below.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Floors {
    c_mm_s: Option<f64>,
    d_mm_s: Option<f64>,
}

/// What the machine's kinds of trouble read now; `levels` are those that count so far.
pub(super) fn readings(
    config: &Config,
    finding: &Finding,
    outlook: &Outlook,
    levels: [u8; 4],
    floors: &mut Floors,
) -> [Reading; 4] {
    let keep = 1.0 - config.deadband_percent / 100.0;
    [
        anomaly(finding, keep),
        trend(config, outlook, levels[TREND], keep),
        severity(finding, levels[SEVERITY], floors, keep),
        fault(config, finding, keep),
    ]
}

fn anomaly(finding: &Finding, keep: f64) -> Reading {
    let grade = match finding.health {
        health if health <= HEALTH_HIGH => HIGH,
        health if health <= HEALTH_MEDIUM => MEDIUM,
        _ => LOW,
    };
    let over = finding.state == State::Alarm;
    let near = over || (finding.state == State::Alert && finding.score.evidence >= keep);
    let at = |stands: bool| if stands { grade } else { 0 };
    Reading { level: at(over), held: at(near), at_once: false }
}

fn trend(config: &Config, outlook: &Outlook, level: u8, keep: f64) -> Reading {
    let life = match outlook.life {
        Ok(life) => life,
        Err(Refusal::NotWearing | Refusal::Maintained | Refusal::Learning) => {
            return Reading::default();
        }
        // What cannot be said now neither raises nor clears.
        Err(_) => return Reading { level: 0, held: level, at_once: false },
    };
    let grade = |p50_h: f64| match p50_h {
        p50_h if p50_h <= config.life_urgent_h => HIGH,
        p50_h if p50_h <= config.life_short_h => MEDIUM,
        _ => 0,
    };
    Reading { level: grade(life.p50_h), held: grade(life.p50_h * keep), at_once: false }
}

fn severity(finding: &Finding, level: u8, floors: &mut Floors, keep: f64) -> Reading {
    let velocity = finding.severity.velocity_rms_mm_s;
    let lower = |floor: &mut Option<f64>| {
        *floor = [*floor, velocity].into_iter().flatten().min_by(f64::total_cmp);
    };
    let now = match finding.severity.zone {
        Some(Zone::D) => HIGH,
        Some(Zone::C) => MEDIUM,
        Some(Zone::A | Zone::B) => 0,
        None => return Reading { level: 0, held: level, at_once: false },
    };
    match now {
        HIGH => lower(&mut floors.d_mm_s),
        MEDIUM => lower(&mut floors.c_mm_s),
        _ if level == 0 => *floors = Floors::default(),
        _ => {}
    }
    let near = |floor: Option<f64>| {
        floor.zip(velocity).is_some_and(|(floor, velocity)| velocity >= keep * floor)
    };
    let held = match level {
        HIGH if near(floors.d_mm_s) => HIGH,
        // Straight from D: C was never seen, its boundary is only known to be below D's.
        MEDIUM | HIGH if near(floors.c_mm_s.or(floors.d_mm_s)) => MEDIUM,
        _ => 0,
    };
    Reading { level: now, held: held.max(now), at_once: now == HIGH }
}

fn fault(config: &Config, finding: &Finding, keep: f64) -> Reading {
    let Some(fault) = finding.faults.first() else { return Reading::default() };
    let alarmed = finding.state == State::Alarm;
    let confidence = f64::from(fault.confidence);
    let grade = match fault.code {
        // Not a name yet, only a hint for whoever goes and looks.
        FaultCode::ImpulsiveUnknown | FaultCode::Resonance if !alarmed => {
            return Reading::default();
        }
        FaultCode::ImpulsiveUnknown | FaultCode::Resonance => LOW,
        _ if finding.health <= HEALTH_HIGH => HIGH,
        _ if alarmed || finding.severity.zone >= Some(Zone::C) => MEDIUM,
        _ => LOW,
    };
    let at = |least: f64| if confidence >= least { grade } else { 0 };
    Reading {
        level: at(config.fault_confidence_min),
        held: at(config.fault_confidence_min * keep),
        at_once: false,
    }
}

/// What the sensor's own condition reads.
pub(super) fn sensor(quality: Quality) -> Reading {
    let level = if quality.is_blind() {
        MEDIUM
    } else if NEEDS_A_HAND.into_iter().any(|flag| quality.has(flag)) {
        LOW
    } else {
        0
    };
    Reading { level, held: level, at_once: false }
}

/// The kind that leads: the highest level, and of those the one that tells most.
pub(super) fn lead(levels: [u8; 4]) -> usize {
    let worst = levels.into_iter().max().unwrap_or(0);
    levels.iter().rposition(|&level| level == worst).unwrap_or(ANOMALY)
}
