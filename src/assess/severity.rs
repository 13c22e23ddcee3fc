//! Broadband severity: ISO 20816-3 groups and supports, ISO 10816-7 for pumps.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, Error};
use crate::types::{Features, Severity, Unit, Zone};

/// How the machine stands, in the direction measured.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// Lowest natural frequency of machine and foundation at least 1.25 times the main excitation.
    #[default]
    Rigid,
    /// Anything softer.
    Flexible,
}

/// Shortest record that holds 10 Hz, s.
const RECORD_MIN_S: f64 = 1.0;
/// Shortest record that holds 2 Hz, needed below 600 r/min, s.
const RECORD_SLOW_MIN_S: f64 = 8.0;
/// Fewest turns of the shaft in a record.
const TURNS_MIN: f64 = 10.0;
/// Speeds the standard covers, r/min.
const SPEED_RPM: (f64, f64) = (120.0, 15_000.0);
/// Below this speed the band begins at 2 Hz, r/min.
const SLOW_RPM: f64 = 600.0;
/// Smallest machine the standard covers, kW.
const POWER_MIN_KW: f64 = 15.0;
/// A change from normal of more than this share of the B/C limit is significant (criterion II).
pub(super) const SIGNIFICANT_CHANGE: f64 = 0.25;

/// The zone limits in force for one machine, and what they are called.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// A/B, B/C and C/D, mm/s RMS.
    pub(super) mm_s: [f64; 3],
    /// Standard, edition, group and support.
    pub(super) standard: Arc<str>,
    /// Why the standard does not cover this machine at all.
    not_covered: Option<&'static str>,
}

/// Zone limits in mm/s RMS, `None` for a group that is not in the standard.
///
/// # Source
/// ISO 10816-3:2009 table A.1, A.2 (kept by ISO 20816-3); groups 3 and 4 from ISO 10816-3:1998.
fn table(group: u8, support: Support) -> Option<[f64; 3]> {
    const LOW: [f64; 3] = [1.4, 2.8, 4.5];
    const MID: [f64; 3] = [2.3, 4.5, 7.1];
    const HIGH: [f64; 3] = [3.5, 7.1, 11.0];
    Some(match (group, support) {
        (1 | 3, Support::Rigid) | (2 | 4, Support::Flexible) => MID,
        (1 | 3, Support::Flexible) => HIGH,
        (2 | 4, Support::Rigid) => LOW,
        _ => return None,
    })
}

/// Limits of a rotodynamic pump, mm/s RMS.
///
/// # Source
/// ISO 10816-7:2009 table A.1, in-situ, preferred operating range.
fn pump_table(category: u8, large: bool) -> Option<[f64; 3]> {
    Some(match (category, large) {
        (1, false) => [2.5, 4.0, 6.6],
        (1, true) => [3.5, 5.0, 7.6],
        (2, false) => [3.2, 5.1, 8.5],
        (2, true) => [4.2, 6.1, 9.5],
        _ => return None,
    })
}

impl Limits {
    /// The limits a configuration asks for.
    ///
    /// # Errors
    /// If group, category or limits make no sense.
    pub(super) fn build(config: &Config) -> Result<Self, Error> {
        let bad = |key, why: String| Err(Error { key, why });
        let positive = |value: Option<f64>| value.is_none_or(|v| v.is_finite() && v > 0.0);
        if !positive(config.power_kw) {
            return bad("power_kw", "a rated power is above 0".into());
        }
        if !positive(config.shaft_height_mm) {
            return bad("shaft_height_mm", "a shaft height is above 0".into());
        }
        let large_pump = config.power_kw.is_some_and(|kw| kw > 200.0);
        let (mut mm_s, mut standard) = if let Some(category) = config.pump_category {
            let Some(limits) = pump_table(category, large_pump) else {
                return bad("pump_category", format!("{category}; ISO 10816-7 has 1 and 2"));
            };
            let power = if large_pump { "above 200 kW" } else { "up to 200 kW" };
            (limits, format!("ISO 10816-7:2009, category {category}, {power}"))
        } else {
            let (group, how) = group_of(config);
            let Some(limits) = table(group, config.support) else {
                return bad(
                    "group",
                    format!("{group}; ISO 20816-3 has 1 and 2, pumps of 1998 3 and 4"),
                );
            };
            let edition = if group > 2 { "ISO 10816-3:1998" } else { "ISO 10816-3:2009 / 20816-3" };
            let support = match config.support {
                Support::Rigid => "rigid",
                Support::Flexible => "flexible",
            };
            (limits, format!("{edition}, group {group}{how}, {support}"))
        };
        if let Some(own) = config.zone_limits_mm_s {
            if !(own[0] > 0.0 && own[0] < own[1] && own[1] < own[2] && own[2].is_finite()) {
                return bad(
                    "zone_limits_mm_s",
                    format!("{own:?}; three rising velocities, A/B, B/C, C/D"),
                );
            }
            mm_s = own;
            standard = format!("own limits after {standard}");
        }
        let not_covered = config
            .power_kw
            .is_some_and(|kw| kw < POWER_MIN_KW && config.zone_limits_mm_s.is_none())
            .then_some("machines below 15 kW are not covered by the standard");
        Ok(Self { mm_s, standard: standard.into(), not_covered })
    }

    /// The zone of a velocity in mm/s RMS. Exactly on a limit belongs to the worse zone.
    pub(super) fn zone(&self, mm_s: f64) -> Zone {
        match self.mm_s {
            [_, _, cd] if mm_s >= cd => Zone::D,
            [_, bc, _] if mm_s >= bc => Zone::C,
            [ab, _, _] if mm_s >= ab => Zone::B,
            _ => Zone::A,
        }
    }

    /// Severity of one sensor over a record: its worst trusted axis; `None` where the window brings no record.
    pub(super) fn grade(&self, features: &Features) -> Option<Severity> {
        let records = || {
            let trusted = features.axes.iter().filter(|axis| !axis.quality.is_blind());
            trusted.filter_map(|axis| axis.record.as_ref())
        };
        let record = records().next()?;
        let worst = records()
            .filter_map(|r| r.velocity_rms_mm_s)
            .fold(None, |worst, v| Some(worst.map_or(v, |w: f64| w.max(v))));
        let reason = self.not_applicable(features, record.span.as_secs()).or(match worst {
            None => Some(records().find_map(|r| r.velocity_reason).unwrap_or("no velocity")),
            Some(v) if !v.is_finite() => Some("the velocity is not a number"),
            Some(_) => None,
        });
        Some(Severity {
            velocity_rms_mm_s: worst.filter(|v| v.is_finite()),
            zone: if reason.is_some() { None } else { worst.map(|v| self.zone(v)) },
            standard: self.standard.clone(),
            reason,
        })
    }

    fn not_applicable(&self, features: &Features, record_s: f64) -> Option<&'static str> {
        if features.kind == crate::types::SensorKind::Sound {
            return Some("a microphone measures no vibration velocity");
        }
        if !features.unit.is_acceleration() {
            return Some(match features.unit {
                Unit::Volt => "unit unknown: the sensor's volts are not calibrated",
                _ => "unit unknown: the sensor is not calibrated in m/s2 or g",
            });
        }
        if let Some(reason) = self.not_covered {
            return Some(reason);
        }
        let Some(speed) = features.speed else {
            return Some("speed unknown: state the machine's speed_rpm");
        };
        let rpm = speed.hz * 60.0;
        if rpm < SPEED_RPM.0 {
            return Some("below 120 r/min the standard does not apply");
        }
        if rpm > SPEED_RPM.1 {
            return Some("above 15000 r/min the standard does not apply");
        }
        if record_s * (1.0 + 1e-9) < RECORD_MIN_S {
            return Some("record shorter than 1 s");
        }
        if rpm < SLOW_RPM && record_s * (1.0 + 1e-9) < RECORD_SLOW_MIN_S {
            return Some("record shorter than 8 s, needed below 600 r/min");
        }
        if record_s * speed.hz < TURNS_MIN * (1.0 - 1e-3) {
            return Some("record shorter than ten turns");
        }
        None
    }
}

/// The group the nameplate asks for, and a word on how it was found.
fn group_of(config: &Config) -> (u8, &'static str) {
    if let Some(group) = config.group {
        return (group, "");
    }
    match (config.shaft_height_mm, config.power_kw) {
        (Some(height), _) => (if height >= 315.0 { 1 } else { 2 }, ""),
        (None, Some(kw)) => (if kw > 300.0 { 1 } else { 2 }, ""),
        (None, None) => (2, " (assumed)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_standard() {
        let check = |group: u8, support: Support, want: [f64; 3]| {
            let config = Config { group: Some(group), support, ..Config::default() };
            let limits = Limits::build(&config).unwrap();
            assert_eq!(limits.mm_s, want, "{}", limits.standard);
            let below = |v: f64| v - 1e-9;
            assert_eq!(limits.zone(0.0), Zone::A);
            for (i, (under, at)) in
                [(Zone::A, Zone::B), (Zone::B, Zone::C), (Zone::C, Zone::D)].into_iter().enumerate()
            {
                assert_eq!((limits.zone(below(want[i])), limits.zone(want[i])), (under, at));
            }
        };
        check(1, Support::Rigid, [2.3, 4.5, 7.1]);
        check(1, Support::Flexible, [3.5, 7.1, 11.0]);
        check(2, Support::Rigid, [1.4, 2.8, 4.5]);
        check(2, Support::Flexible, [2.3, 4.5, 7.1]);
        check(3, Support::Rigid, [2.3, 4.5, 7.1]);
        check(4, Support::Flexible, [2.3, 4.5, 7.1]);
    }

    #[test]
    fn three_mm_s_in_group_2_rigid_is_c() {
        let limits = Limits::build(&Config { group: Some(2), ..Config::default() }).unwrap();
        assert_eq!(limits.zone(3.0), Zone::C);
    }

    #[test]
    fn the_nameplate_chooses_the_group() {
        let check = |config: Config, want: &str| {
            assert_eq!(&*Limits::build(&config).unwrap().standard, want);
        };
        let plate = Config::default;
        check(plate(), "ISO 10816-3:2009 / 20816-3, group 2 (assumed), rigid");
        check(
            Config { power_kw: Some(300.1), ..plate() },
            "ISO 10816-3:2009 / 20816-3, group 1, rigid",
        );
        check(
            Config { shaft_height_mm: Some(315.0), power_kw: Some(90.0), ..plate() },
            "ISO 10816-3:2009 / 20816-3, group 1, rigid",
        );
        check(
            Config { pump_category: Some(1), power_kw: Some(250.0), ..plate() },
            "ISO 10816-7:2009, category 1, above 200 kW",
        );
        let own = Config { zone_limits_mm_s: Some([1.0, 2.0, 3.0]), ..plate() };
        assert_eq!(Limits::build(&own).unwrap().zone(2.5), Zone::C);
    }

    #[test]
    fn nonsense_is_refused_with_its_key() {
        let check = |config: Config, key: &str| {
            assert_eq!(Limits::build(&config).unwrap_err().key, key);
        };
        let plate = Config::default;
        check(Config { group: Some(5), ..plate() }, "group");
        check(Config { pump_category: Some(3), ..plate() }, "pump_category");
        check(Config { power_kw: Some(-1.0), ..plate() }, "power_kw");
        check(Config { shaft_height_mm: Some(f64::NAN), ..plate() }, "shaft_height_mm");
        check(Config { zone_limits_mm_s: Some([2.0, 1.0, 3.0]), ..plate() }, "zone_limits_mm_s");
    }
}
