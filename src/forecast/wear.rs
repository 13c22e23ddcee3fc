//! The degradation state: wear that only worsens, its confirmed start, and the condensed history since then.

use serde::{Deserialize, Serialize};

use crate::types::{Span, Stamp};

/// Points kept since wear began; when full, each two become their mean and the spacing doubles.
pub(super) const POINTS_MAX: usize = 128;
/// Wear at which the machine has reached its functional limit.
pub(super) const LIMIT: f64 = 1.0;
/// A forecast is computed anew when the history has grown by one in so many points.
const DUE_SHARE: usize = 24;
/// Values at a new speed before it is known how they go on from those at the speeds before.
const OVERLAP: u32 = 10;
/// Speeds within this, in natural logarithm, are one.
const SPEED_STEP: f64 = 0.05;
/// Speeds told apart; further ones count as the nearest.
const SPEEDS_MAX: usize = 16;
/// Weight of a new value in the smoothed wear: a memory of ten values.
const SMOOTHING: f64 = 0.1;
/// Values the median before it is taken of: two in five may be spikes.
const MEDIAN_OF: usize = 5;
/// Values over which a sound machine's ups and downs are remembered.
const IDLE_MAX: u32 = 10_000;
/// Smoothed wear up to here is none.
const WEAR_NONE: f64 = 0.01;
/// Normal for so many findings on end, the start was a false one.
const CALM: u32 = 60;

/// One point of the history.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Point {
    /// Hours since wear began.
    pub(super) h: f64,
    /// Mean rise of the level over the learned one, as its values came, dB.
    pub(super) db: f64,
}

/// A speed the machine runs at, and what to add to the rise of the level there so that it goes on from the others.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Speed {
    hz: f64,
    offset_db: f64,
    /// Values the offset is taken from.
    n: u32,
}

/// The condensed history a forecast runs on; kept on disk as it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Version of this shape.
    pub version: u32,
    pub(super) points: Vec<Point>,
    /// Nanoseconds since the epoch at which wear was confirmed to have begun.
    pub(super) since_ns: Option<i64>,
    /// The newest points that the last forecast has not seen.
    news: usize,
    /// Rise of the level at the functional limit when it was made, dB.
    pub(super) limit_db: f64,
    /// Speeds seen since; the first is the one at which it began.
    speeds: Vec<Speed>,
    /// Whether maintenance was done and normal was not seen again yet.
    pub(super) maintained: bool,
    last_ns: Option<i64>,
    /// Values a point stands for, and what is gathered for the next one: their number, hours and dB.
    every: u32,
    gathered: (u32, f64, f64),
    calm: u32,
    recent: Vec<f64>,
    smooth: Option<f64>,
    /// Smoothed rise of the level.
    smooth_db: Option<f64>,
    /// What it does by itself while there is no wear: values, mean and variance, dB.
    idle: (u32, f64, f64),
    wear: f64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            version: Self::VERSION,
            points: Vec::with_capacity(POINTS_MAX),
            since_ns: None,
            news: 0,
            limit_db: 0.0,
            speeds: Vec::with_capacity(SPEEDS_MAX),
            maintained: false,
            last_ns: None,
            every: 1,
            gathered: (0, 0.0, 0.0),
            calm: 0,
            recent: Vec::with_capacity(MEDIAN_OF),
            smooth: None,
            smooth_db: None,
            idle: (0, 0.0, 0.0),
            wear: 0.0,
        }
    }
}

impl Memory {
    /// The version this program writes; others are not taken up.
    pub const VERSION: u32 = 2;

    /// Whether it fits this program.
    pub(super) fn is_readable(&self) -> bool {
        let finite = |p: &Point| p.h.is_finite() && p.h >= 0.0 && p.db.is_finite();
        self.version == Self::VERSION
            && self.points.len() <= POINTS_MAX
            && self.recent.len() <= MEDIAN_OF
            && self.every >= 1
            && self.points.iter().all(finite)
            && self.news <= self.points.len()
            && self.limit_db >= 0.0
            && self.points.windows(2).all(|w| w[0].h < w[1].h)
            && self.speeds.len() <= SPEEDS_MAX
            && self.speeds.iter().all(|s| s.hz > 0.0 && s.offset_db.is_finite() && s.n <= OVERLAP)
            && self.gathered.0 < self.every
            && (self.gathered.1 + self.gathered.2).is_finite()
            && (0.0..=1.0).contains(&self.wear)
            && self.smooth.is_none_or(f64::is_finite)
            && self.smooth_db.is_none_or(f64::is_finite)
            && self.idle.1.is_finite()
            && self.idle.2 >= 0.0
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

    /// The rise of the level as it would be at the speed at which wear began; `None` while that is not known of
    /// this speed.
    ///
    /// What is heard first at another speed is taken to go on from what was heard last before it.
    pub(super) fn carried(&mut self, db: f64, speed_hz: Option<f64>) -> Option<f64> {
        let (Some(hz), Some(_)) = (speed_hz, self.since_ns) else { return Some(db) };
        let off = |speed: &Speed| (speed.hz / hz).ln().abs();
        let nearest = (0..self.speeds.len())
            .min_by(|&a, &b| off(&self.speeds[a]).total_cmp(&off(&self.speeds[b])));
        let at = match nearest {
            Some(at) if off(&self.speeds[at]) <= SPEED_STEP || self.speeds.len() == SPEEDS_MAX => {
                at
            }
            None => {
                self.speeds.push(Speed { hz, offset_db: 0.0, n: OVERLAP });
                0
            }
            Some(_) => {
                self.speeds.push(Speed { hz, offset_db: 0.0, n: 0 });
                self.speeds.len() - 1
            }
        };
        let speed = &mut self.speeds[at];
        if speed.n == OVERLAP {
            return Some(db + speed.offset_db);
        }
        speed.n += 1;
        let before = self.smooth_db.unwrap_or(db);
        speed.offset_db += (before - db - speed.offset_db) / f64::from(speed.n);
        None
    }

    /// Whether it is known how wear at this speed goes on from that at the one it began at.
    pub(super) fn knows(&self, speed_hz: Option<f64>) -> bool {
        let (Some(hz), false) = (speed_hz, self.speeds.is_empty()) else { return true };
        let near = |speed: &&Speed| (speed.hz / hz).ln().abs() <= SPEED_STEP;
        self.speeds.iter().find(near).is_some_and(|speed| speed.n == OVERLAP)
    }

    /// Takes in a rise of the level, carried over; without wear it shows how the level walks by itself.
    pub(super) fn level(&mut self, db: f64) {
        let smooth = self.smooth_db.map_or(db, |s| s + SMOOTHING * (db - s));
        self.smooth_db = Some(smooth);
        if self.since_ns.is_none() {
            let (n, mean, variance) = self.idle;
            let n = (n + 1).min(IDLE_MAX);
            let off = smooth - mean;
            let share = 1.0 / f64::from(n);
            self.idle = (n, mean + share * off, (1.0 - share) * (variance + share * off * off));
        }
    }

    /// Variance of a sound machine's slow ups and downs, dB squared.
    pub(super) fn idle_variance(&self) -> f64 {
        self.idle.2
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

    fn start_anew(&mut self) {
        self.points.clear();
        self.speeds.clear();
        (self.every, self.gathered, self.news) = (1, (0, 0.0, 0.0), 0);
    }

    /// An alarm: wear has begun, if it had not.
    pub(super) fn alarmed(&mut self, now: Stamp) {
        self.calm = 0;
        self.maintained = false;
        if self.since_ns.is_none() {
            self.since_ns = Some(now.0);
            self.start_anew();
        }
    }

    /// Normal again: after long enough, and without any wear to be heard, the start was none.
    ///
    /// An alarm that is not there although wear is, as after a restart, takes nothing back.
    pub(super) fn calmed(&mut self) {
        self.maintained = false;
        if self.smooth.is_some_and(|wear| wear > WEAR_NONE) {
            self.calm = 0;
            return;
        }
        self.calm = (self.calm + 1).min(CALM);
        if self.calm == CALM && self.since_ns.is_some() {
            self.since_ns = None;
            self.start_anew();
            self.wear = self.smooth.unwrap_or(0.0);
        }
    }

    /// Keeps a value in the history; whether that completed a point.
    pub(super) fn keep(&mut self, now: Stamp, db: f64) -> bool {
        let h = self.hours_since(now);
        if self.points.last().is_some_and(|last| h <= last.h) {
            return false;
        }
        let (n, sum_h, sum_db) = self.gathered;
        let (n, sum_h, sum_db) = (n + 1, sum_h + h, sum_db + db);
        self.gathered = (n, sum_h, sum_db);
        if n < self.every {
            return false;
        }
        self.gathered = (0, 0.0, 0.0);
        self.points.push(Point { h: sum_h / f64::from(n), db: sum_db / f64::from(n) });
        if self.points.len() == POINTS_MAX {
            for i in 0..POINTS_MAX / 2 {
                let (a, b) = (self.points[2 * i], self.points[2 * i + 1]);
                self.points[i] = Point { h: 0.5 * (a.h + b.h), db: 0.5 * (a.db + b.db) };
            }
            self.points.truncate(POINTS_MAX / 2);
            self.every = self.every.saturating_mul(2);
            self.news = self.points.len();
        } else {
            self.news += 1;
        }
        true
    }

    /// Whether a new forecast is due.
    pub(super) fn is_due(&self) -> bool {
        self.news * DUE_SHARE >= self.points.len()
    }

    /// A forecast is made from all points there are, for this limit.
    pub(super) fn judged(&mut self, limit_db: f64) {
        self.news = 0;
        self.limit_db = limit_db;
    }

    /// The points the last forecast was made from.
    pub(super) fn judged_points(&self) -> &[Point] {
        &self.points[..self.points.len() - self.news]
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
