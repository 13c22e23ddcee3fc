//! How the shaft turns: a schedule of speeds in closed form, so that any moment can be asked for.

use std::f64::consts::PI;

use super::chance::{sin_cos, uniform};

/// Turns after which each of the slow speed ripples repeats; no common factor.
const RIPPLE_TURNS: [f64; 3] = [37.0, 211.0, 1009.0];

/// The angle and speed of the shaft at any time.
#[derive(Clone, Debug)]
pub(super) struct Motion {
    /// Time in s, speed in Hz, turns made since the first point; time rises.
    points: Vec<[f64; 3]>,
    /// Seconds after which the schedule begins again; infinite if never.
    repeat_s: f64,
    /// Turns in one repetition.
    turns_per_repeat: f64,
    /// Ripple: amplitude and phase in turns.
    ripples: [(f64, f64); 3],
}

impl Motion {
    /// `points` of time (s) and speed (Hz), linear between them, held before the first and after the
    /// last; `wander` is the relative speed ripple.
    pub(super) fn new(points: &[(f64, f64)], repeat_s: f64, wander: f64, seed: u64) -> Self {
        let mut turns = 0.0;
        let mut table: Vec<[f64; 3]> = Vec::with_capacity(points.len() + 2);
        let (_, first_hz) = points[0];
        let start = (points[0].0 > 0.0).then_some((0.0, first_hz));
        for (t, hz) in start.into_iter().chain(points.iter().copied()) {
            if let Some([last_t, last_hz, _]) = table.last() {
                turns += (t - last_t) * (hz + last_hz) / 2.0;
            }
            table.push([t, hz, turns]);
        }
        let ripples = std::array::from_fn(|idx| {
            let amplitude = wander / 3_f64.sqrt() * RIPPLE_TURNS[idx] / (2.0 * PI);
            (amplitude, uniform(seed, idx as u64))
        });
        let mut motion = Self { points: table, repeat_s, turns_per_repeat: 0.0, ripples };
        if repeat_s.is_finite() {
            motion.turns_per_repeat = motion.plain(repeat_s).0;
        }
        motion
    }

    /// Turns and speed by the schedule alone, within one repetition.
    fn plain(&self, t: f64) -> (f64, f64) {
        let idx = self.points.partition_point(|point| point[0] <= t).max(1) - 1;
        let [t0, hz0, turns0] = self.points[idx];
        let dt = t - t0;
        match self.points.get(idx + 1) {
            Some([t1, hz1, _]) => {
                let slope = (hz1 - hz0) / (t1 - t0);
                (turns0 + dt * (hz0 + slope * dt / 2.0), hz0 + slope * dt)
            }
            None => (turns0 + dt * hz0, hz0),
        }
    }

    /// Turns since time 0, and revolutions per second.
    pub(super) fn at(&self, t: f64) -> (f64, f64) {
        let (n, within) = if self.repeat_s.is_finite() {
            let n = (t / self.repeat_s).floor();
            (n, t - n * self.repeat_s)
        } else {
            (0.0, t)
        };
        let (turns, hz) = self.plain(within);
        let turns = turns + n * self.turns_per_repeat;
        let (mut angle, mut factor) = (turns, 1.0);
        for ((amplitude, phase), period) in self.ripples.iter().zip(RIPPLE_TURNS) {
            let (sin, cos) = sin_cos(turns / period + phase);
            angle += amplitude * sin;
            factor += amplitude * 2.0 * PI / period * cos;
        }
        (angle, hz * factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angle_is_the_integral_of_speed() {
        let points = [(0.0, 10.0), (2.0, 30.0), (3.0, 0.0), (4.0, 0.0), (5.0, 10.0)];
        for (repeat_s, wander) in [(f64::INFINITY, 0.0), (5.0, 0.0), (5.0, 0.01)] {
            let motion = Motion::new(&points, repeat_s, wander, 3);
            let (mut turns, step) = (motion.at(0.0).0, 1e-4);
            for n in 0..120_000 {
                let t = f64::from(n) * step;
                turns += motion.at(t + step / 2.0).1 * step;
                let off = (turns - motion.at(t + step).0).abs();
                assert!(off < 1e-3, "at {t} s: {off} turns off");
            }
        }
        assert_eq!(Motion::new(&points, 5.0, 0.01, 3).at(8.5).1, 0.0);
    }
}
