//! How fast samples really come, and what time it was when each of them was taken.

use std::sync::Arc;

use super::Info;
use crate::types::{Clock, Frame, Quality, Shape, Span, Stamp};

/// Stretch the measured rate is judged over, seconds.
const FAST_SECS: f64 = 10.0;
/// Stretch the precise rate is taken over, seconds.
const SLOW_SECS: f64 = 3600.0;
/// Relative error of the rate that raises the flag.
const RATE_TOLERANCE: f64 = 0.005;
/// Share of the difference between expected and seen arrival that a frame's stamp takes up.
const STAMP_GAIN: f64 = 1.0 / 32.0;
/// Difference at which a stamp follows at once, and a wait that counts as a standstill.
const STEP_SECS: f64 = 0.5;

/// Least squares of a count over time, numerically centred.
#[derive(Clone, Copy, Debug, Default)]
struct Fit {
    n: f64,
    mean_t: f64,
    mean_c: f64,
    s_tt: f64,
    s_tc: f64,
    first_t: f64,
    last_t: f64,
}

impl Fit {
    fn add(&mut self, t: f64, count: f64) {
        if self.n == 0.0 {
            self.first_t = t;
        }
        self.last_t = t;
        self.n += 1.0;
        let dt = t - self.mean_t;
        self.mean_t += dt / self.n;
        self.mean_c += (count - self.mean_c) / self.n;
        self.s_tt += dt * (t - self.mean_t);
        self.s_tc += dt * (count - self.mean_c);
    }

    fn secs(&self) -> f64 {
        self.last_t - self.first_t
    }

    fn slope(&self) -> Option<f64> {
        (self.n >= 3.0 && self.s_tt > 0.0).then(|| self.s_tc / self.s_tt)
    }
}

/// Measures the rate of a device against the box's monotonic clock.
#[derive(Clone, Debug)]
pub struct Cadence {
    rate_hz: f64,
    origin: Option<Span>,
    fast: Fit,
    slow: Fit,
    off: bool,
    ppm: Option<f64>,
    /// A precise stretch is complete: what it told stands until the next one is long enough.
    renewed: bool,
}

impl Cadence {
    /// For a device that claims `rate_hz`.
    pub fn new(rate_hz: f64) -> Self {
        let (fast, slow) = (Fit::default(), Fit::default());
        Self { rate_hz, origin: None, fast, slow, off: false, ppm: None, renewed: false }
    }

    /// At monotonic time `at`, `count` samples per channel had come in all, lost ones included.
    pub fn mark(&mut self, at: Span, count: u64) {
        let origin = *self.origin.get_or_insert(at);
        let t = Span(at.0 - origin.0).as_secs();
        self.fast.add(t, count as f64);
        self.slow.add(t, count as f64);
        if self.fast.secs() < FAST_SECS {
            return;
        }
        if let Some(slope) = self.fast.slope() {
            self.off = (slope / self.rate_hz - 1.0).abs() > RATE_TOLERANCE;
        }
        let settled = !self.renewed || self.slow.secs() > SLOW_SECS / 6.0;
        if let (true, Some(slope)) = (settled, self.slow.slope()) {
            self.ppm = Some((slope / self.rate_hz - 1.0) * 1e6);
        }
        self.fast = Fit::default();
        if self.slow.secs() >= SLOW_SECS {
            self.slow = Fit::default();
            self.renewed = true;
        }
    }

    /// Begins anew after a standstill, which says nothing of the rate; the last verdict stands.
    pub fn restart(&mut self) {
        self.origin = None;
        self.fast = Fit::default();
        self.slow = Fit::default();
    }

    /// Whether the last 10 s were more than 0.5 % off the stated rate.
    pub fn is_off(&self) -> bool {
        self.off
    }

    /// How far the true rate is above the stated one, parts per million; `None` for the first 10 s.
    pub fn ppm(&self) -> Option<f64> {
        self.ppm
    }
}

/// Numbers and stamps the frames of one live source.
pub(super) struct Timeline {
    clock: Arc<dyn Clock>,
    rate_hz: f64,
    cadence: Cadence,
    next_sample: u64,
    /// Monotonic time of the last sample, smoothed.
    end_secs: Option<f64>,
    /// Arrival of the last frame.
    last_seen: Option<Span>,
}

impl Timeline {
    pub(super) fn new(clock: Arc<dyn Clock>, rate_hz: f64) -> Self {
        Self {
            clock,
            rate_hz,
            cadence: Cadence::new(rate_hz),
            next_sample: 0,
            end_secs: None,
            last_seen: None,
        }
    }

    /// How far the true rate is above the stated one, parts per million.
    pub(super) fn ppm(&self) -> Option<f64> {
        self.cadence.ppm()
    }

    /// Makes `frame` an empty one of this source.
    pub(super) fn clear(frame: &mut Frame, info: &Info) {
        frame.rate_hz = info.rate_hz;
        frame.unit = info.unit;
        frame.n_channels = info.n_channels;
        frame.samples.clear();
        frame.quality = Quality::GOOD;
        frame.axis_quality.clear();
        frame.axis_quality.resize(info.n_channels, Quality::GOOD);
        frame.n_lost = 0;
        frame.shape = Shape::Stream;
        frame.speed_hz = None;
    }

    /// Numbers and stamps a filled frame whose last sample came in at monotonic time `at`, after
    /// `n_lost` samples per channel that never came.
    pub(super) fn stamp(&mut self, frame: &mut Frame, n_lost: u64, at: Span) {
        let n = frame.len() as u64;
        frame.n_lost = n_lost;
        frame.origin.first_sample = self.next_sample + n_lost;
        frame.origin.n_samples = n;
        self.next_sample += n_lost + n;
        let seen = at.as_secs();
        let secs = (n_lost + n) as f64 / self.rate_hz;
        let end = match self.end_secs.map(|end| end + secs) {
            Some(end) if (seen - end).abs() < STEP_SECS => end + STAMP_GAIN * (seen - end),
            _ => seen,
        };
        self.end_secs = Some(end);
        let last_seen = self.last_seen.replace(at);
        if last_seen.is_some_and(|last| (at - last).as_secs() - secs > STEP_SECS) {
            self.cadence.restart();
        }
        self.cadence.mark(at, self.next_sample);
        if n_lost > 0 {
            frame.quality = frame.quality.with(Quality::DROPOUT);
        }
        if self.cadence.is_off() {
            frame.quality = frame.quality.with(Quality::RATE);
        }
        frame.start = self.wall(end - (n as f64 - 1.0) / self.rate_hz);
    }

    fn wall(&self, monotonic_secs: f64) -> Stamp {
        let ago = monotonic_secs - self.clock.monotonic().as_secs();
        self.clock.now() + Span::from_secs(ago)
    }
}

#[cfg(test)]
mod tests;
