//! All sensors of the machine together: state, wear and health.

use super::config::Config;
use super::measure::{Level, Measured};
use super::reference::Reference;
use super::severity::{Limits, SIGNIFICANT_CHANGE};
use crate::types::{Rise, Severity, Span, Stamp, State, Zone};

/// A sensor unheard of for so long, and for five of its own windows, no longer speaks for the machine, s.
const STALE_S: f64 = 300.0;
const STALE_WINDOWS: f64 = 5.0;
/// Share of the way to the functional limit that a rise within the learned scatter may not take, standard deviations.
const SCATTER_SIGMAS: f64 = 3.0;
/// Health at the most in zone C, in zone D, in alarm.
const HEALTH_C: f32 = 50.0;
const HEALTH_D: f32 = 20.0;
const HEALTH_ALARM: f32 = 70.0;
/// A limit is at least so far above what was learned, dB.
const LIMIT_DB_MIN: f64 = 3.0;
/// Wear that a significant change of velocity (criterion II) is, at the least.
const WEAR_CHANGED: f64 = 0.1;

/// What one sensor last said.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    /// Its state.
    pub(super) state: State,
    /// Its wear, where something can be said.
    pub(super) wear: Option<f64>,
    /// Its level on the way to the limit.
    pub(super) rise: Option<Rise>,
    /// Its severity, from its last record.
    pub(super) severity: Option<Severity>,
    /// Time of its last window, and the longest pause between two of them.
    pub(super) last: Option<(Stamp, Span)>,
}

impl Default for Voice {
    fn default() -> Self {
        Self { state: State::Learning, wear: None, rise: None, severity: None, last: None }
    }
}

impl Voice {
    /// Takes note of a window's time.
    pub(super) fn heard(&mut self, start: Stamp) {
        let pause = self.last.map_or(Span::default(), |(last, pause)| (start - last).max(pause));
        self.last = Some((start, pause));
    }

    fn is_current(&self, now: Stamp) -> bool {
        self.last.is_some_and(|(last, pause)| {
            (now - last).as_secs() <= STALE_S.max(STALE_WINDOWS * pause.as_secs())
        })
    }
}

/// The sensors that speak for the machine now: heard of lately, and not blind.
fn heard<'a>(
    voices: impl Iterator<Item = &'a Voice>,
    now: Stamp,
) -> impl Iterator<Item = &'a Voice> {
    voices.filter(move |voice| voice.is_current(now) && voice.state != State::Blind)
}

/// The machine's state: the worst of its current sensors that can be trusted; blind where none can.
pub(super) fn state<'a>(voices: impl Iterator<Item = &'a Voice>, now: Stamp) -> State {
    heard(voices, now).map(|voice| voice.state).max().unwrap_or(State::Blind)
}

/// The worst severity of the current sensors; one with a zone goes before one without.
pub(super) fn severity<'a>(
    voices: impl Iterator<Item = &'a Voice>,
    now: Stamp,
) -> Option<&'a Severity> {
    heard(voices, now).filter_map(|voice| voice.severity.as_ref()).max_by(|a, b| {
        let key = |s: &Severity| (s.zone, s.velocity_rms_mm_s.unwrap_or(-1.0));
        key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal)
    })
}

/// The largest wear of the current sensors.
pub(super) fn wear<'a>(voices: impl Iterator<Item = &'a Voice>, now: Stamp) -> Option<f64> {
    heard(voices, now).filter_map(|voice| voice.wear).reduce(f64::max)
}

/// The level of the current sensors that is nearest to its limit.
pub(super) fn rise<'a>(voices: impl Iterator<Item = &'a Voice>, now: Stamp) -> Option<Rise> {
    let rises = heard(voices, now).filter_map(|voice| voice.rise);
    rises.max_by(|a, b| (a.db / a.limit_db).total_cmp(&(b.db / b.limit_db)))
}

/// 100 as new, 0 at the functional limit; zone and alarm set a ceiling.
pub(super) fn health(wear: Option<f64>, severity: Option<&Severity>, state: State) -> f32 {
    let mut health = 100.0 * (1.0 - wear.unwrap_or(0.0).clamp(0.0, 1.0)) as f32;
    match severity.and_then(|severity| severity.zone) {
        Some(Zone::C) => health = health.min(HEALTH_C),
        Some(Zone::D) => health = health.min(HEALTH_D),
        _ => {}
    }
    if state == State::Alarm { health.min(HEALTH_ALARM) } else { health }
}

/// One sensor against its normal.
pub(super) struct Against<'a> {
    /// The learned normal.
    pub(super) reference: &'a Reference,
    /// Zone limits in force.
    pub(super) limits: &'a Limits,
    /// The nameplate.
    pub(super) config: &'a Config,
    /// Which sensor.
    pub(super) sensor: &'a str,
    /// Speed the normal is looked up by.
    pub(super) speed_hz: Option<f64>,
}

impl Against<'_> {
    /// Wear of one axis: 0 within the learned scatter, 1 at the functional limit; `None` with nothing learned here.
    ///
    /// The larger of two: the rise of the RMS in dB over `functional_limit_db`, and where the standard applies the
    /// velocity's way from normal to the C/D limit.
    pub(super) fn wear(&self, axis_idx: usize, measured: &Measured, zoned: bool) -> Option<f64> {
        let at = |level: Level| {
            self.reference.normal(self.sensor, self.speed_hz, axis_idx, level as usize)
        };
        let rms = at(Level::Rms).filter(|normal| normal.covered)?;
        let scatter = rms.mean + SCATTER_SIGMAS * rms.spread;
        let rise = measured.level(Level::Rms) - scatter.max(rms.max);
        let mut wear = rise
            / (self.config.functional_limit_db - (scatter.max(rms.max) - rms.mean))
                .max(LIMIT_DB_MIN);
        let velocity = measured.level(Level::Velocity);
        if zoned
            && velocity.is_finite()
            && let Some(normal) = at(Level::Velocity)
        {
            let mm_s = |db: f64| 10f64.powf(db / 20.0);
            let [_, bc, cd] = self.limits.mm_s;
            let (now, learned) = (mm_s(velocity), mm_s(normal.max));
            wear = wear.max((now - learned) / (cd - learned).max(0.1 * cd));
            if now - learned > SIGNIFICANT_CHANGE * bc {
                wear = wear.max(WEAR_CHANGED);
            }
        }
        wear.is_finite().then(|| wear.clamp(0.0, 1.0))
    }

    /// Rise of one axis above its learned mean, dB, towards `functional_limit_db`; `None` with nothing learned here.
    ///
    /// The larger of two: that of the RMS, and where the standard applies that of the velocity, scaled so that its
    /// way from normal to the C/D limit is as long.
    pub(super) fn rise(&self, axis_idx: usize, measured: &Measured, zoned: bool) -> Option<f64> {
        let above = |level: Level| {
            let normal =
                self.reference.normal(self.sensor, self.speed_hz, axis_idx, level as usize)?;
            let db = normal.above_mean(measured.level(level));
            (normal.covered && db.is_finite()).then_some((db, normal.mean))
        };
        let (rms, _) = above(Level::Rms)?;
        let velocity = above(Level::Velocity).filter(|_| zoned).map(|(db, mean)| {
            let limit_db = 20.0 * self.limits.mm_s[2].log10() - mean;
            db * self.config.functional_limit_db / limit_db.max(LIMIT_DB_MIN)
        });
        Some(velocity.map_or(rms, |velocity| velocity.max(rms)))
    }
}
