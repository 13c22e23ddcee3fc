//! The degradation state: wear that only worsens, its confirmed start, and the thinned history since then.

use serde::{Deserialize, Serialize};

use crate::types::{Span, Stamp};

/// Points kept since wear began; when full, every other one goes and the spacing doubles.
pub(super) const POINTS_MAX: usize = 256;
/// Weight of a new value in the smoothed wear: a memory of ten values.
const SMOOTHING: f64 = 0.1;
/// Values the median before it is taken of: two in five may be spikes.
const MEDIAN_OF: usize = 5;
/// Normal for so many findings on end, the start was a false one.
const CALM: u32 = 60;

/// One point of the history.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Point {
    /// Hours since wear began.
    pub(super) h: f64,
    /// Wear, 0 to 1.
    pub(super) wear: f64,
}

/// The thinned history a forecast runs on; kept on disk as it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Version of this shape.
    pub version: u32,
    pub(super) points: Vec<Point>,
    /// Nanoseconds since the epoch at which wear was confirmed to have begun.
    pub(super) since_ns: Option<i64>,
    /// Regime in which it began.
    pub(super) regime: Option<u16>,
    /// Whether maintenance was done and normal was not seen again yet.
    pub(super) maintained: bool,
    last_ns: Option<i64>,
    /// Keep one of so many values.
    every: u32,
    skipped: u32,
    calm: u32,
    recent: Vec<f64>,
    smooth: Option<f64>,
    wear: f64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            version: Self::VERSION,
            points: Vec::with_capacity(POINTS_MAX),
            since_ns: None,
            regime: None,
            maintained: false,
            last_ns: None,
            every: 1,
            skipped: 0,
            calm: 0,
            recent: Vec::with_capacity(MEDIAN_OF),
            smooth: None,
            wear: 0.0,
        }
    }
}

impl Memory {
    /// The version this program writes; others are not taken up.
    pub const VERSION: u32 = 1;

    /// Whether it fits this program.
    pub(super) fn is_readable(&self) -> bool {
        let finite = |p: &Point| p.h.is_finite() && p.h >= 0.0 && (0.0..=1.0).contains(&p.wear);
        self.version == Self::VERSION
            && self.points.len() <= POINTS_MAX
            && self.recent.len() <= MEDIAN_OF
            && self.every >= 1
            && self.points.iter().all(finite)
            && self.points.windows(2).all(|w| w[0].h < w[1].h)
            && (0.0..=1.0).contains(&self.wear)
            && self.smooth.is_none_or(f64::is_finite)
            && self.recent.iter().all(|x| x.is_finite())
    }

    /// Smoothed wear that never falls.
    pub(super) fn wear(&self) -> f64 {
        self.wear
    }

    /// When wear was confirmed to have begun.
    pub(super) fn since(&self) -> Option<Stamp> {
        self.since_ns.map(Stamp)
    }

    /// Hours from the confirmed start to `now`.
    pub(super) fn hours_since(&self, now: Stamp) -> f64 {
        self.since().map_or(0.0, |since| (now - since).as_hours())
    }

    /// Whether `start` is later than all seen; two sensors' windows of one moment count once.
    pub(super) fn is_news(&mut self, start: Stamp) -> bool {
        let is_news = self.last_ns.is_none_or(|last| start.0 > last);
        if is_news {
            self.last_ns = Some(start.0);
        }
        is_news
    }

    /// Takes in one wear value.
    pub(super) fn push(&mut self, wear: f64) {
        if self.recent.len() == MEDIAN_OF {
            self.recent.remove(0);
        }
        self.recent.push(wear.clamp(0.0, 1.0));
        let mut sorted = [0.0; MEDIAN_OF];
        let n = self.recent.len();
        sorted[..n].copy_from_slice(&self.recent);
        sorted[..n].sort_by(f64::total_cmp);
        let median = 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
        let smooth = self.smooth.map_or(median, |s| s + SMOOTHING * (median - s));
        self.smooth = Some(smooth);
        self.wear = self.wear.max(smooth);
    }

    /// An alarm: wear has begun, if it had not.
    pub(super) fn alarmed(&mut self, now: Stamp, regime: Option<u16>) {
        self.calm = 0;
        self.maintained = false;
        if self.since_ns.is_none() {
            self.since_ns = Some(now.0);
            self.regime = regime;
            self.points.clear();
            (self.every, self.skipped) = (1, 0);
        }
    }

    /// Normal again: after long enough the start was none.
    pub(super) fn calmed(&mut self) {
        self.maintained = false;
        self.calm = (self.calm + 1).min(CALM);
        if self.calm == CALM && self.since_ns.is_some() {
            self.since_ns = None;
            self.points.clear();
            self.wear = self.smooth.unwrap_or(0.0);
        }
    }

    /// Keeps the wear of now in the history, one in `every`; whether it was kept.
    pub(super) fn keep(&mut self, now: Stamp) -> bool {
        self.skipped += 1;
        let h = self.hours_since(now);
        let is_later = self.points.last().is_none_or(|last| h > last.h);
        if self.skipped < self.every || !is_later {
            return false;
        }
        self.skipped = 0;
        if self.points.len() == POINTS_MAX {
            let mut i = 0;
            self.points.retain(|_| {
                i += 1;
                i % 2 == 1
            });
            self.every = self.every.saturating_mul(2);
        }
        self.points.push(Point { h, wear: self.wear });
        true
    }

    /// Maintenance was done: wear starts anew.
    pub(super) fn maintain(&mut self) {
        *self = Self { maintained: true, last_ns: self.last_ns, ..Self::default() };
    }
}

/// Hours in a span of time, at least zero.
pub(super) fn hours(span: Span) -> f64 {
    span.as_hours().max(0.0)
}
