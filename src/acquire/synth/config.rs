//! The keys of a synthetic machine, and the checks that make it buildable.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chance::exp;
use crate::acquire::{Error, Pace};
use crate::types::Stamp;

/// Samples per channel in a frame of a stream.
pub(super) const BLOCK_SAMPLES: usize = 4096;
/// Faults, stops and sensor faults of one machine, each, at the most.
const LIST_MAX: usize = 256;
/// Axes, at the most.
pub(super) const AXES_MAX: usize = 3;

/// What the sensor listens to.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An accelerometer on the bearing housing, m/s2: horizontal, vertical, axial.
    #[default]
    Vibration,
    /// A microphone a metre away, Pa.
    Sound,
}

/// What can be wrong with the machine, by the contract's names.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the variants are the contract's own words")]
pub enum FaultKind {
    #[serde(alias = "unbalance")]
    Imbalance,
    Misalignment,
    BentShaft,
    Looseness,
    OuterRace,
    InnerRace,
    Ball,
    Cage,
    GearMesh,
    BladePass,
    Electrical,
    Cavitation,
    Lubrication,
}

impl FaultKind {
    /// All there are.
    pub const ALL: [Self; 13] = [
        Self::Imbalance,
        Self::Misalignment,
        Self::BentShaft,
        Self::Looseness,
        Self::OuterRace,
        Self::InnerRace,
        Self::Ball,
        Self::Cage,
        Self::GearMesh,
        Self::BladePass,
        Self::Electrical,
        Self::Cavitation,
        Self::Lubrication,
    ];
}

/// How a fault grows from 0 to its severity.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Slowly first, then ever faster, as wear feeds on itself: (e^4x - 1)/(e^4 - 1).
    #[default]
    Exponential,
    /// Evenly.
    Linear,
}

/// A fault to order.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which.
    pub fault: FaultKind,
    /// When it begins, s.
    #[serde(default)]
    pub start_s: f64,
    /// How long it takes to its full severity, s; 0: at once.
    #[serde(default)]
    pub growth_s: f64,
    /// Full severity, 0 to 1: about 0.1 is found by a good analyst, 1 is the end of the machine.
    #[serde(default = "one")]
    pub severity: f64,
    /// How it grows.
    #[serde(default)]
    pub law: Law,
}

fn one() -> f64 {
    1.0
}

impl Fault {
    /// Severity at a time.
    pub fn at(&self, t_s: f64) -> f64 {
        let since = t_s - self.start_s;
        if since < 0.0 {
            return 0.0;
        }
        let x = if self.growth_s > 0.0 { (since / self.growth_s).min(1.0) } else { 1.0 };
        self.severity
            * match self.law {
                Law::Linear => x,
                Law::Exponential => (exp(4.0 * x) - 1.0) / (exp(4.0) - 1.0),
            }
    }
}

/// A standstill: the machine runs down before and up after it.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// When the shaft stands, s.
    pub start_s: f64,
    /// How long it stands, s.
    pub duration_s: f64,
    /// How long it takes to run down, and up again, s.
    #[serde(default = "two")]
    pub ramp_s: f64,
}

fn two() -> f64 {
    2.0
}

/// What can be wrong with the sensor.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorFaultKind {
    /// Gain set too high: the signal times `amount` (1000) runs into the rails.
    Clipping,
    /// The last value for ever.
    Flat,
    /// Samples are lost, and the source knows it.
    Dropout,
    /// Stretches of 20 ms of zeros, five a second: samples are lost, and nobody says so.
    Zeros,
    /// The sensor hangs loose: what is fast does not reach it.
    LooseMount,
    /// Single samples off by `amount` (half the range), about one in ten thousand.
    Spikes,
    /// About one sample in a thousand is no number.
    Nan,
    /// The zero point moves by `amount` (a quarter of the range).
    BiasStep,
}

/// A sensor fault to order.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SensorFault {
    /// Which.
    pub fault: SensorFaultKind,
    /// When it begins, s.
    #[serde(default)]
    pub start_s: f64,
    /// How long it lasts, s; 0: for ever.
    #[serde(default)]
    pub duration_s: f64,
    /// Which axis, counted from 0; all of them if not given.
    #[serde(default)]
    pub axis: Option<usize>,
    /// How much, where the fault has a measure; 0: as its description says.
    #[serde(default)]
    pub amount: f64,
}

impl SensorFault {
    /// Whether it is there at a time on an axis.
    pub(super) fn is_on(&self, t_s: f64, axis_idx: usize) -> bool {
        let since = t_s - self.start_s;
        since >= 0.0
            && (self.duration_s == 0.0 || since < self.duration_s)
            && self.axis.is_none_or(|axis| axis == axis_idx)
    }
}

/// What the bearing's parts do per turn of the shaft.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bearing {
    /// Cage turns per shaft turn.
    pub ftf: f64,
    /// Balls over a spot of the outer race per shaft turn.
    pub bpfo: f64,
    /// Balls over a spot of the inner race per shaft turn.
    pub bpfi: f64,
    /// Ball spins per shaft turn; a spot on a ball strikes twice per spin.
    pub bsf: f64,
}

impl Default for Bearing {
    /// SKF 6205-2RS: Case Western Reserve University, bearing data centre.
    fn default() -> Self {
        Self { ftf: 0.3983, bpfo: 3.5848, bpfi: 5.4152, bsf: 2.3567 }
    }
}

/// A synthetic machine with its sensor.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which individual: same seed, same machine, same signal.
    pub seed: u64,
    /// Accelerometer or microphone.
    pub kind: Kind,
    /// Samples per second and axis, 10 to 200000.
    pub rate_hz: f64,
    /// 1 to 3: horizontal, vertical, axial; of a microphone, as many microphones.
    pub axes: usize,
    /// Nominal shaft speed, r/min, 1 to 60000.
    pub speed_rpm: f64,
    /// Speed over time: `[[s, r/min], ...]`, linear between; empty: the nominal speed.
    pub schedule: Vec<[f64; 2]>,
    /// Seconds after which schedule and stops begin again; 0: never.
    pub repeat_s: f64,
    /// Standstills.
    pub stops: Vec<Stop>,
    /// Relative slow ripple of the speed; 0.002 is a quiet mains motor.
    pub speed_wander: f64,
    /// Load, 0 to 1.
    pub load: f64,
    /// The bearing.
    pub bearing: Bearing,
    /// How far the bearing's frequencies are below the geometry's: 0.01 is 1 %.
    pub slip: f64,
    /// Teeth of the gear on the shaft; 0: none.
    pub gear_teeth: u32,
    /// Blades or vanes; 0: none.
    pub blades: u32,
    /// Mains frequency, Hz; 0: no motor.
    pub line_hz: f64,
    /// RMS of the machine's own broadband noise at nominal speed, m/s2 or Pa.
    pub noise: f64,
    /// RMS of what comes from elsewhere, also at a standstill, m/s2 or Pa.
    pub ambient: f64,
    /// How much the machine's level drifts up and down with the day, dB.
    pub drift_db: f64,
    /// Length of that day, s.
    pub drift_period_s: f64,
    /// What goes wrong with the machine.
    pub faults: Vec<Fault>,
    /// What goes wrong with the sensor.
    pub sensor_faults: Vec<SensorFault>,
    /// Range of the sensor, plus and minus, m/s2 or Pa; 0: 160 m/s2 (16 g), 28 Pa.
    pub range: f64,
    /// Bits of the converter, 8 to 24; 0: not rounded at all.
    pub bits: u32,
    /// Length, s; 0: endless.
    pub duration_s: f64,
    /// Only snapshots of this many samples; 0: a stream.
    pub snapshot_samples: usize,
    /// Seconds from one snapshot to the next.
    pub snapshot_every_s: f64,
    /// Whether the frames say the true shaft speed.
    pub tell_speed: bool,
    /// Time of the first sample, RFC 3339; empty: 1970, or now if in real time.
    pub start: String,
    /// As fast as it is read, or in real time.
    pub pace: Pace,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            kind: Kind::Vibration,
            rate_hz: 25_600.0,
            axes: 1,
            speed_rpm: 1480.0,
            schedule: Vec::new(),
            repeat_s: 0.0,
            stops: Vec::new(),
            speed_wander: 0.002,
            load: 0.7,
            bearing: Bearing::default(),
            slip: 0.01,
            gear_teeth: 0,
            blades: 0,
            line_hz: 50.0,
            noise: 0.3,
            ambient: 0.01,
            drift_db: 0.5,
            drift_period_s: 86_400.0,
            faults: Vec::new(),
            sensor_faults: Vec::new(),
            range: 0.0,
            bits: 24,
            duration_s: 0.0,
            snapshot_samples: 0,
            snapshot_every_s: 10.0,
            tell_speed: false,
            start: String::new(),
            pace: Pace::Max,
        }
    }
}

impl Config {
    /// Everything that `Machine` takes for granted.
    ///
    /// # Errors
    /// [`Error::Refused`] with the key and its range.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::refused("synth", why));
        let ranges = [
            ("rate_hz", self.rate_hz, 10.0, 200_000.0),
            ("speed_rpm", self.speed_rpm, 1.0, 60_000.0),
            ("repeat_s", self.repeat_s, 0.0, 1e9),
            ("speed_wander", self.speed_wander, 0.0, 0.1),
            ("load", self.load, 0.0, 1.0),
            ("slip", self.slip, -0.05, 0.05),
            ("line_hz", self.line_hz, 0.0, 400.0),
            ("noise", self.noise, 0.0, 1e4),
            ("ambient", self.ambient, 0.0, 1e4),
            ("drift_db", self.drift_db, 0.0, 20.0),
            ("drift_period_s", self.drift_period_s, 1.0, 1e9),
            ("range", self.range, 0.0, 1e6),
            ("duration_s", self.duration_s, 0.0, 1e9),
            ("snapshot_every_s", self.snapshot_every_s, 1e-3, 1e9),
            ("bearing.ftf", self.bearing.ftf, 0.05, 1.0),
            ("bearing.bpfo", self.bearing.bpfo, 0.5, 100.0),
            ("bearing.bpfi", self.bearing.bpfi, 0.5, 100.0),
            ("bearing.bsf", self.bearing.bsf, 0.2, 100.0),
            ("axes", self.axes as f64, 1.0, AXES_MAX as f64),
            ("bits", f64::from(self.bits.max(8)), 8.0, 24.0),
            ("snapshot_samples", self.snapshot_samples as f64, 0.0, 1_048_576.0),
            ("faults", self.faults.len() as f64, 0.0, LIST_MAX as f64),
            ("sensor_faults", self.sensor_faults.len() as f64, 0.0, LIST_MAX as f64),
            ("stops", self.stops.len() as f64, 0.0, LIST_MAX as f64),
            ("schedule", self.schedule.len() as f64, 0.0, LIST_MAX as f64),
            ("gear_teeth", f64::from(self.gear_teeth), 0.0, 1000.0),
            ("blades", f64::from(self.blades), 0.0, 1000.0),
        ];
        for (name, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return refuse(format!("{name} must be {low} to {high}, not {value}"));
            }
        }
        for fault in &self.faults {
            let times = fault.start_s.is_finite() && (0.0..=1e9).contains(&fault.growth_s);
            if !times || !(0.0..=1.0).contains(&fault.severity) {
                return refuse(format!(
                    "the fault {} needs a severity of 0 to 1 and growth_s of 0 to 1e9",
                    fault.fault.code().code()
                ));
            }
        }
        for fault in &self.sensor_faults {
            let numbers = [fault.start_s, fault.duration_s, fault.amount];
            if !numbers.iter().all(|n| n.is_finite())
                || fault.axis.is_some_and(|axis| axis >= self.axes)
            {
                return refuse(format!(
                    "{:?} of the sensor: axis or numbers out of range",
                    fault.fault
                ));
            }
        }
        if !self.start.is_empty() && Stamp::parse(&self.start).is_none() {
            return refuse(format!(
                "start `{}` is not RFC 3339 (2026-01-31T12:00:00Z)",
                self.start
            ));
        }
        if self.snapshot_samples as f64 > self.snapshot_every_s * self.rate_hz {
            return refuse(
                "snapshots overlap: snapshot_every_s is shorter than one of them".into(),
            );
        }
        self.speed_points().map(|_| ())
    }

    /// The schedule with its stops as points of time (s) and speed (Hz), rising in time.
    pub(super) fn speed_points(&self) -> Result<Vec<(f64, f64)>, Error> {
        let refuse = |why: &str| Err(Error::refused("synth", why));
        let mut points: Vec<(f64, f64)> =
            self.schedule.iter().map(|[t, rpm]| (*t, *rpm / 60.0)).collect();
        if points.is_empty() {
            points.push((0.0, self.speed_rpm / 60.0));
        }
        let rises = points.windows(2).all(|two| two[0].0 < two[1].0);
        let sane = |(t, hz): &(f64, f64)| (0.0..=1e9).contains(t) && (0.0..=1000.0).contains(hz);
        if !rises || !points.iter().all(sane) {
            return refuse("the schedule must rise in time, with speeds of 0 to 60000 r/min");
        }
        let mut stops = self.stops.clone();
        stops.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        let mut free_from = 0.0;
        for stop in &stops {
            let (down, up) = (stop.start_s, stop.start_s + stop.duration_s);
            let (from, to) = (down - stop.ramp_s, up + stop.ramp_s);
            let good = stop.ramp_s > 0.0 && stop.duration_s > 0.0 && to <= 1e9;
            if !good || from < free_from {
                return refuse("stops need duration and ramp above 0, and must not overlap");
            }
            let (before, after) = (speed_at(&points, from), speed_at(&points, to));
            points.retain(|(t, _)| *t < from || *t > to);
            points.extend([(from, before), (down, 0.0), (up, 0.0), (to, after)]);
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            free_from = to;
        }
        let last = points.last().map_or(0.0, |point| point.0);
        if self.repeat_s > 0.0 && last > self.repeat_s {
            return refuse("repeat_s is shorter than the schedule and its stops");
        }
        Ok(points)
    }
}

/// Speed at a time: linear between the points, held outside.
fn speed_at(points: &[(f64, f64)], t: f64) -> f64 {
    let idx = points.partition_point(|point| point.0 <= t);
    match (idx.checked_sub(1).and_then(|before| points.get(before)), points.get(idx)) {
        (Some((t0, hz0)), Some((t1, hz1))) => hz0 + (hz1 - hz0) * (t - t0) / (t1 - t0),
        (Some((_, hz)), None) | (None, Some((_, hz))) => *hz,
        (None, None) => 0.0,
    }
}
