//! The machine as its nameplate has it, and the standard it is judged by.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, Geometry, Orders, Support};

/// The machine, as its nameplate has it, and the standard it is judged by.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Rated power, kW.
    pub power_kw: Option<f64>,
    /// Shaft height of the motor, mm.
    pub shaft_height_mm: Option<f64>,
    /// How the machine stands: `rigid` or `flexible`.
    pub support: Support,
    /// Group of ISO 20816-3 (1, 2; 3 and 4 for pumps after ISO 10816-3:1998); from power and height where absent.
    pub group: Option<u8>,
    /// Category of ISO 10816-7 (1 critical, 2 general); makes the machine a rotodynamic pump.
    pub pump_category: Option<u8>,
    /// Own zone limits instead of the standard's: A/B, B/C, C/D, mm/s RMS.
    pub zone_limits_mm_s: Option<[f64; 3]>,
    /// Bearing defect orders, in multiples of shaft speed.
    pub bearing: Option<Orders>,
    /// The bearing by its geometry instead.
    pub bearing_geometry: Option<Geometry>,
    /// The bearing by its designation in the catalogue instead.
    pub bearing_designation: Option<String>,
    /// What real defect lines may be off by from pure rolling, relative.
    pub slip_tolerance: f64,
    /// What the speed may be off by where its source says nothing better, relative.
    pub speed_tolerance: f64,
    /// Names of the axes along the shaft; all others are radial.
    pub axial_axes: Vec<String>,
    /// Blades or vanes of the impeller, propeller or fan.
    pub blades: Option<u32>,
    /// Gear wheels that mesh.
    pub gears: Vec<Gear>,
    /// A belt, if one drives.
    pub belt: Option<Belt>,
    /// Frequency of the mains or of the inverter's output, Hz.
    pub line_hz: Option<f64>,
    /// Level, in dB above the learned normal, that counts as the functional limit where no standard gives one.
    pub functional_limit_db: f64,
}

/// One gear wheel and the shaft it sits on.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Gear {
    /// Teeth of the wheel on this shaft.
    pub teeth: u32,
    /// Speed of this shaft over that of the shaft whose speed is known.
    #[serde(default = "one")]
    pub ratio: f64,
}

fn one() -> f64 {
    1.0
}

/// A belt drive.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Belt {
    /// Pitch diameter of the pulley on the shaft whose speed is known, mm.
    pub pulley_mm: f64,
    /// Length of the belt, mm.
    pub length_mm: f64,
}

impl Belt {
    /// Order of the belt's own revolution, pi D / L.
    pub fn order(&self) -> f64 {
        std::f64::consts::PI * self.pulley_mm / self.length_mm
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            power_kw: None,
            shaft_height_mm: None,
            support: Support::Rigid,
            group: None,
            pump_category: None,
            zone_limits_mm_s: None,
            bearing: None,
            bearing_geometry: None,
            bearing_designation: None,
            slip_tolerance: 0.02,
            speed_tolerance: 0.005,
            axial_axes: vec!["axial".into()],
            blades: None,
            gears: Vec::new(),
            belt: None,
            line_hz: None,
            functional_limit_db: 20.0,
        }
    }
}

impl Config {
    /// Most gear wheels.
    pub const GEARS_MAX: usize = 8;

    /// What the standards and the bearing do not check themselves.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub(super) fn check(&self) -> Result<(), Error> {
        let bad = |key, why: String| Err(Error { key, why });
        if !(0.0..=0.05).contains(&self.slip_tolerance) {
            return bad("slip_tolerance", format!("{}; 0 to 0.05", self.slip_tolerance));
        }
        if !(0.0..=0.05).contains(&self.speed_tolerance) {
            return bad("speed_tolerance", format!("{}; 0 to 0.05", self.speed_tolerance));
        }
        if self.blades.is_some_and(|n| !(1..=1000).contains(&n)) {
            return bad("blades", "1 to 1000".into());
        }
        if self.gears.len() > Self::GEARS_MAX {
            return bad(
                "gears",
                format!("{} wheels; at most {}", self.gears.len(), Self::GEARS_MAX),
            );
        }
        for gear in &self.gears {
            let is_wheel = (3..=10_000).contains(&gear.teeth);
            if !(is_wheel && gear.ratio > 0.0 && gear.ratio < 1e4) {
                return bad(
                    "gears",
                    format!(
                        "{} teeth at ratio {}; 3 to 10000 teeth, ratio above 0",
                        gear.teeth, gear.ratio
                    ),
                );
            }
        }
        if let Some(belt) = self.belt
            && !(belt.pulley_mm > 0.0 && belt.length_mm > 2.0 * belt.pulley_mm)
        {
            return bad("belt", "a belt is longer than twice its pulley's diameter".into());
        }
        if self.line_hz.is_some_and(|hz| !(0.1..=2000.0).contains(&hz)) {
            return bad("line_hz", "0.1 to 2000 Hz; mains is 50 or 60".into());
        }
        if !(3.0..=60.0).contains(&self.functional_limit_db) {
            return bad("functional_limit_db", format!("{}; 3 to 60 dB", self.functional_limit_db));
        }
        Ok(())
    }
}
