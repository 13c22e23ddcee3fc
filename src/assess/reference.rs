//! The learned normal the rules compare with: levels by sensor, axis and speed.

use serde::{Deserialize, Serialize};

use super::measure::{LEVELS, Level, Measured, SHAFT_ORDERS, same_speed};

/// Speeds within this, in natural logarithm, share one condition.
pub(super) const SPEED_STEP: f64 = 0.05;
/// Conditions kept per sensor; further ones join the nearest.
const CONDITIONS_MAX: usize = 32;
/// Axes kept per sensor.
const AXES_MAX: usize = 16;
/// Sensors kept.
const SENSORS_MAX: usize = 64;
/// Scatter of a level between records before any is learned, dB, and how many records that belief is worth.
const PRIOR_SD_DB: f64 = 2.0;
const PRIOR_N: f64 = 3.0;

/// The learned normal the rules compare with; kept on disk as it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Version of this shape.
    pub version: u32,
    sensors: Vec<SensorNormal>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SensorNormal {
    sensor: String,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    speed_hz: Option<f64>,
    axes: Vec<Vec<Stat>>,
}

/// A level over the records learned: count, mean, sum of squared deviations, largest.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Stat {
    n: f64,
    mean: f64,
    m2: f64,
    max: f64,
}

impl Stat {
    fn push(&mut self, x: f64) {
        if !x.is_finite() {
            return;
        }
        self.n += 1.0;
        let d = x - self.mean;
        self.mean += d / self.n;
        self.m2 += d * (x - self.mean);
        self.max = if self.n > 1.0 { self.max.max(x) } else { x };
    }

    /// Standard deviation of a new value, what is not known yet counted in.
    fn spread(&self) -> f64 {
        let prior = PRIOR_N * PRIOR_SD_DB * PRIOR_SD_DB;
        ((prior + self.m2) / (PRIOR_N + self.n) * (1.0 + 1.0 / self.n.max(1.0))).sqrt()
    }
}

/// What a level is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Normal {
    /// Mean of the learned values, dB.
    pub(super) mean: f64,
    /// Upper end of what was learned, dB.
    pub(super) max: f64,
    /// Standard deviation of a new value, dB.
    pub(super) spread: f64,
    /// Whether this very speed was learned.
    pub(super) covered: bool,
}

impl Normal {
    /// How far `x` lies above everything learned, dB.
    pub(super) fn rise(&self, x: f64) -> f64 {
        x - self.max
    }

    /// How far `x` lies above the mean, dB.
    pub(super) fn above_mean(&self, x: f64) -> f64 {
        x - self.mean
    }
}

impl Default for Reference {
    fn default() -> Self {
        Self { version: Self::VERSION, sensors: Vec::new() }
    }
}

impl Reference {
    /// The version this program writes; others are not taken up.
    pub const VERSION: u32 = 2;

    /// Whether it fits this program.
    pub(super) fn is_readable(&self) -> bool {
        let stats = |axes: &[Vec<Stat>]| {
            axes.len() <= AXES_MAX
                && axes.iter().all(|levels| {
                    levels.len() == LEVELS
                        && levels.iter().all(|s| s.n >= 0.0 && (s.mean + s.m2 + s.max).is_finite())
                })
        };
        self.version == Self::VERSION
            && self.sensors.len() <= SENSORS_MAX
            && self.sensors.iter().all(|sensor| {
                sensor.conditions.len() <= CONDITIONS_MAX
                    && sensor.conditions.iter().all(|condition| stats(&condition.axes))
            })
    }

    /// Forgets one sensor.
    pub(super) fn forget(&mut self, sensor: &str) {
        self.sensors.retain(|known| known.sensor != sensor);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.sensors.clear();
    }

    /// Speeds learned on `sensor` with the mean of one level on one axis, slowest first.
    pub(super) fn by_speed(&self, sensor: &str, axis_idx: usize, level: Level) -> Vec<(f64, f64)> {
        let conditions = self.sensors.iter().find(|s| s.sensor == sensor).map(|s| &s.conditions);
        let mut speeds: Vec<_> = conditions
            .into_iter()
            .flatten()
            .filter_map(|c| Some((c.speed_hz?, c.axes.get(axis_idx)?[level as usize])))
            .filter(|(_, stat)| stat.n > 0.0)
            .map(|(speed, stat)| (speed, stat.mean))
            .collect();
        speeds.sort_by(|a, b| a.0.total_cmp(&b.0));
        speeds
    }

    /// Learns one window or record of one axis; NaN levels are left out.
    pub(super) fn learn(
        &mut self,
        sensor: &str,
        speed_hz: Option<f64>,
        axis_idx: usize,
        measured: &Measured,
        whole_record: bool,
    ) {
        let Some(condition) = self.condition(sensor, speed_hz) else { return };
        if axis_idx >= AXES_MAX {
            return;
        }
        while condition.axes.len() <= axis_idx {
            condition.axes.push(vec![Stat::default(); LEVELS]);
        }
        let n = if whole_record { LEVELS } else { Level::Kurtosis as usize + 1 };
        let from = if whole_record { Level::Kurtosis as usize + 1 } else { 0 };
        for (stat, x) in condition.axes[axis_idx][from..n].iter_mut().zip(&measured.levels[from..n])
        {
            stat.push(*x);
        }
    }

    fn condition(&mut self, sensor: &str, speed_hz: Option<f64>) -> Option<&mut Condition> {
        let at = match self.sensors.iter().position(|s| s.sensor == sensor) {
            Some(at) => at,
            None if self.sensors.len() < SENSORS_MAX => {
                self.sensors.push(SensorNormal { sensor: sensor.into(), conditions: Vec::new() });
                self.sensors.len() - 1
            }
            None => return None,
        };
        let conditions = &mut self.sensors[at].conditions;
        let at = match nearest(conditions, speed_hz) {
            Some(at)
                if same_speed(conditions[at].speed_hz, speed_hz)
                    || conditions.len() == CONDITIONS_MAX =>
            {
                at
            }
            _ => {
                conditions.push(Condition { speed_hz, axes: Vec::new() });
                conditions.len() - 1
            }
        };
        conditions.get_mut(at)
    }

    /// What `level` of an axis is compared with at this speed; `None` where nothing was learned.
    ///
    /// At a speed not learned: the largest of all speeds, and the shaft's own orders raised by the square of the
    /// speed's ratio where it is higher (a rotating force grows with the square of speed).
    pub(super) fn normal(
        &self,
        sensor: &str,
        speed_hz: Option<f64>,
        axis_idx: usize,
        level: usize,
    ) -> Option<Normal> {
        let conditions = &self.sensors.iter().find(|s| s.sensor == sensor)?.conditions;
        let stat = |condition: &Condition| {
            condition.axes.get(axis_idx).map(|levels| levels[level]).filter(|stat| stat.n > 0.0)
        };
        let at = nearest(conditions, speed_hz)?;
        if same_speed(conditions[at].speed_hz, speed_hz)
            && let Some(stat) = stat(&conditions[at])
        {
            return Some(Normal {
                mean: stat.mean,
                max: stat.max,
                spread: stat.spread(),
                covered: true,
            });
        }
        let mut normal: Option<Normal> = None;
        for condition in conditions {
            let Some(stat) = stat(condition) else { continue };
            let law = speed_law_db(level, condition.speed_hz, speed_hz);
            let (mean, max) = (stat.mean + law, stat.max + law);
            let spread = stat.spread();
            normal =
                Some(normal.map_or(Normal { mean, max, spread, covered: false }, |a| Normal {
                    mean: a.mean.max(mean),
                    max: a.max.max(max),
                    spread: a.spread.max(spread),
                    covered: false,
                }));
        }
        normal
    }
}

fn nearest(conditions: &[Condition], speed_hz: Option<f64>) -> Option<usize> {
    let distance = |condition: &Condition| match (condition.speed_hz, speed_hz) {
        (Some(a), Some(b)) => (a / b).ln().abs(),
        (None, None) => 0.0,
        _ => f64::INFINITY,
    };
    (0..conditions.len())
        .min_by(|a, b| distance(&conditions[*a]).total_cmp(&distance(&conditions[*b])))
}

/// Rise of a level from a learned speed to a faster one: force and broadband power grow at most with the square of
/// speed in amplitude; ratios (kurtosis, line over background) do not change.
fn speed_law_db(level: usize, from_hz: Option<f64>, to_hz: Option<f64>) -> f64 {
    let (Some(from), Some(to)) = (from_hz, to_hz) else { return 0.0 };
    let is_ratio = level == Level::Kurtosis as usize
        || level == Level::Impulsive as usize
        || level == Level::Length as usize
        || (Level::Family as usize..Level::Gear as usize).contains(&level);
    debug_assert!(Level::Shaft as usize + SHAFT_ORDERS == Level::Family as usize);
    if is_ratio { 0.0 } else { (40.0 * (to / from).log10()).max(0.0) }
}
