//! ISO 13374 PA, prognostic assessment: `Finding` -> `Outlook`.
//!
//! **Invariants.** Wear never falls until maintenance is recorded or the alarm that began it proves false. A life
//! is stated as three quantiles or not at all, and a refusal says why. Same findings, same bits.

mod growth;
mod life;
mod wear;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Finding, Life, Origin, Outlook, Quality, Refusal, Span, Stamp, State};

pub use wear::Memory;

use life::Mixture;

/// How a trend becomes a forecast.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Fewest points after the start of wear that a forecast needs.
    pub points_min: usize,
    /// Furthest a median may reach, in multiples of the time since wear began.
    pub reach_max: f64,
    /// Widest interval between P10 and P90, in multiples of the median.
    pub width_max: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { points_min: 20, reach_max: 3.0, width_max: 2.0 }
    }
}

/// What a configuration may have wrong.
#[derive(Debug, thiserror::Error)]
#[error("forecast.{key}: {why}")]
pub struct Error {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Config {
    /// Checks everything.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub fn build(&self) -> Result<Forecaster, Error> {
        if !(10..=wear::POINTS_MAX / 2).contains(&self.points_min) {
            let why = format!("{}; 10 to {} points", self.points_min, wear::POINTS_MAX / 2);
            return Err(Error { key: "points_min", why });
        }
        if !(self.reach_max > 0.0 && self.reach_max <= 10.0) {
            return Err(Error {
                key: "reach_max",
                why: format!("{}; above 0 to 10", self.reach_max),
            });
        }
        if !(self.width_max > 0.0 && self.width_max <= 10.0) {
            return Err(Error {
                key: "width_max",
                why: format!("{}; above 0 to 10", self.width_max),
            });
        }
        let outlook = Outlook {
            origin: Origin::new("", ""),
            start: Stamp::default(),
            life: Err(Refusal::Learning),
            since: None,
            wear_per_day: None,
        };
        let stated = Stated { at: Stamp::default(), life: Err(Refusal::TooFewPoints), slope: None };
        let (config, memory, mixture) = (self.clone(), Memory::default(), Mixture::new());
        Ok(Forecaster { config, outlook, memory, stated, mixture })
    }
}

/// The last forecast that was computed; between two points of the history it only counts down.
#[derive(Clone, Copy)]
struct Stated {
    at: Stamp,
    life: Result<Life, Refusal>,
    slope: Option<f64>,
}

/// Follows the wear of one machine.
pub struct Forecaster {
    config: Config,
    outlook: Outlook,
    memory: Memory,
    stated: Stated,
    mixture: Mixture,
}

impl Forecaster {
    /// One finding.
    pub fn step(&mut self, finding: &Finding) -> &Outlook {
        self.outlook.origin.clone_from(&finding.origin);
        self.outlook.start = finding.start;
        self.outlook.wear_per_day = None;
        self.outlook.life = self.life(finding);
        self.outlook.since = self.memory.since();
        if self.outlook.since.is_some() {
            self.outlook.wear_per_day = self.stated.slope.map(|per_hour| 24.0 * per_hour);
        }
        &self.outlook
    }

    fn life(&mut self, finding: &Finding) -> Result<Life, Refusal> {
        if finding.state == State::Blind || is_doubtful(finding.quality) {
            return Err(Refusal::SensorFault);
        }
        if finding.state == State::Learning {
            return Err(Refusal::Learning);
        }
        let is_news = self.memory.is_news(finding.start);
        if is_news && finding.state != State::Stopped {
            self.take_in(finding);
        }
        if self.memory.since_ns.is_none() {
            return Err(if self.memory.maintained {
                Refusal::Maintained
            } else {
                Refusal::NotWearing
            });
        }
        if finding.state != State::Stopped {
            if !self.memory.knows(finding.speed_hz) {
                return Err(Refusal::RegimeChanged);
            }
            if finding.wear.is_none() {
                return Err(Refusal::NoLimit);
            }
        }
        if self.memory.wear() >= wear::LIMIT {
            return Ok(Life { p10_h: 0.0, p50_h: 0.0, p90_h: 0.0 });
        }
        let past = wear::hours(finding.start - self.stated.at);
        let down = |h: f64| (h - past).max(0.0);
        self.stated.life.map(|life| Life {
            p10_h: down(life.p10_h),
            p50_h: down(life.p50_h),
            p90_h: down(life.p90_h),
        })
    }

    fn take_in(&mut self, finding: &Finding) {
        let (Some(wear), Some(rise)) = (finding.wear, finding.rise) else { return };
        let carried = self.memory.carried(rise.db, finding.speed_hz);
        if let Some(db) = carried {
            self.memory.push(wear);
            self.memory.level(db);
        }
        match finding.state {
            State::Alarm => self.memory.alarmed(finding.start),
            State::Normal => self.memory.calmed(),
            _ => {}
        }
        if let Some(db) = carried
            && self.memory.since_ns.is_some()
            && self.memory.keep(finding.start, db)
            && self.memory.is_due()
        {
            self.memory.judged(rise.limit_db);
            self.state_life();
        }
    }

    /// Computes the forecast anew and checks whether it may be stated.
    fn state_life(&mut self) {
        let points = self.memory.judged_points();
        let (Some(since), Some(last)) = (self.memory.since(), points.last()) else { return };
        let known = life::Known {
            limit_db: self.memory.limit_db,
            idle: self.memory.idle_variance(),
            points_min: self.config.points_min,
        };
        let slope = self.mixture.fit(points, &known);
        let life = slope.and_then(|_| self.mixture.life()).and_then(|life| {
            if life.p50_h > self.config.reach_max * last.h {
                Err(Refusal::TooFar)
            } else if life.p90_h - life.p10_h > self.config.width_max * life.p50_h {
                Err(Refusal::TooWide)
            } else {
                Ok(life)
            }
        });
        self.stated =
            Stated { at: since + Span::from_secs(last.h * 3600.0), life, slope: slope.ok() };
    }

    /// Maintenance was done: wear starts anew.
    pub fn maintained(&mut self) {
        self.memory.maintain();
        self.stated = Stated { life: Err(Refusal::TooFewPoints), slope: None, ..self.stated };
    }

    /// What it runs on, to be kept.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes it up again; a history of another version, or damaged, is left aside.
    pub fn restore(&mut self, memory: Memory) {
        self.memory = if memory.is_readable() { memory } else { Memory::default() };
        self.state_life();
    }
}

/// Whether the sensor's own flags forbid reading a trend off it (NE 107 failure or out of specification).
fn is_doubtful(quality: Quality) -> bool {
    let doubtful = [Quality::CLIPPED, Quality::SKI_SLOPE, Quality::LOOSE_MOUNT, Quality::SWAPPED];
    quality.is_blind() || doubtful.into_iter().any(|flag| quality.has(flag))
}

#[cfg(test)]
mod tests;
