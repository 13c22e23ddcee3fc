//! Quantiles of the time to the functional limit: many histories of damage that could be, weighed by the one there is.

use super::growth::{Frame, Law, Track, amplitude};
use super::wear::{POINTS_MAX, Point};
use crate::stats::{MAD_TO_SIGMA, mad, median};
use crate::types::{Life, Refusal};

/// Probability with which damage must be known to grow.
const RISE_SURE: f64 = 0.95;
/// Least variance of the steps from value to value, dB squared: a perfect line is still only known to rounding.
const SCATTER_MIN: f64 = 1e-4;
/// Shares of the scatter from value to value that may be the level itself walking up and down.
const WALKS: [f64; 6] = [0.0, 1e-3, 0.01, 0.1, 0.4, 1.0];
/// Least share of the scatter that is taken for error of measurement.
const ERROR_MIN: f64 = 0.1;
/// How much ln a may change from beginning to end of a history: from first hearing it to the limit.
const RANGE: f64 = 3.0;
/// Fewest values before and after a turn in the history; turns looked at have so many after them, twice, four times.
const TURN_MIN: usize = 8;
/// Probability beforehand that growth turned once since it began.
const TURN_SHARE: f64 = 0.5;
/// Histories less likely than this beside the likeliest are left out.
const WEIGHT_MIN: f64 = 1e-4;
/// A century: no machine's life is looked for beyond.
const HOURS_MAX: f64 = 876_600.0;
/// Halvings of an interval: 30 leave a relative 1e-9.
const BISECTIONS: usize = 30;

/// What is known of a machine beside its history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Rise of the level at the functional limit, dB.
    pub(super) limit_db: f64,
    /// Variance of its level's slow ups and downs that are no wear, dB squared.
    pub(super) idle: f64,
    /// Fewest points a forecast is made from.
    pub(super) points_min: usize,
}

/// The forecast at a moment: the histories that explain the values, with their weights. Keeps its room.
pub(super) struct Mixture {
    tracks: Vec<(Track, f64)>,
    steps: Vec<f64>,
}

impl Mixture {
    /// Room for every history.
    pub(super) fn new() -> Self {
        let n_turns = turns(POINTS_MAX).count();
        let n_tracks = Law::ALL.len() * WALKS.len() * (1 + n_turns);
        Self { tracks: Vec::with_capacity(n_tracks), steps: Vec::with_capacity(POINTS_MAX) }
    }

    /// Weighs every law, walk and turn on the history since wear began; the share of the way to the limit that is
    /// gone in an hour, or why there is no forecast.
    ///
    /// # Errors
    /// `TooFewPoints` or `SlopeUncertain`.
    pub(super) fn fit(&mut self, points: &[Point], known: &Known) -> Result<f64, Refusal> {
        if points.len() < known.points_min.max(2 * TURN_MIN) {
            return Err(Refusal::TooFewPoints);
        }
        self.follow(points, known.limit_db);
        let tracks = &mut self.tracks;
        let best = tracks.iter().map(|(_, weight)| *weight).fold(f64::NEG_INFINITY, f64::max);
        tracks.retain_mut(|(track, weight)| {
            *weight = (*weight - best).exp();
            track.look_ahead(known.idle);
            *weight > WEIGHT_MIN
        });
        let sum: f64 = tracks.iter().map(|(_, weight)| weight).sum();
        for (_, weight) in tracks.iter_mut() {
            *weight /= sum;
        }
        if self.mean(Track::rises) < RISE_SURE {
            return Err(Refusal::SlopeUncertain);
        }
        Ok(self.mean(Track::db_per_hour) / known.limit_db)
    }

    /// Every history with the logarithm of its weight: those without a turn, and one for each place of a turn.
    fn follow(&mut self, points: &[Point], limit_db: f64) {
        let n = points.len();
        let (first, last) = (points[0], points[n - 1]);
        let span = last.h - first.h;
        let scatter = self.scatter(points);
        let ln_turned = (TURN_SHARE / turns(n).count() as f64).ln();
        self.tracks.clear();
        for (law, share) in Law::ALL.iter().flat_map(|law| WALKS.map(|share| (*law, share))) {
            let frame = Frame {
                limit_db,
                error: 0.5 * scatter * (1.0 - share).max(ERROR_MIN),
                walk: share * scatter * (n - 1) as f64 / span,
                ln_a_last: amplitude(last.db).ln(),
            };
            let mut straight = Track::new(law, &frame, &first, RANGE / span);
            for (i, point) in points.iter().enumerate().skip(1) {
                if turns(n).any(|turn| turn == i) {
                    let mut turned = straight;
                    turned.turn(RANGE / (last.h - points[i - 1].h));
                    points[i..].iter().for_each(|point| turned.step(point));
                    self.tracks.push((turned, turned.ln_likelihood + ln_turned));
                }
                straight.step(point);
            }
            self.tracks.push((straight, straight.ln_likelihood + (1.0 - TURN_SHARE).ln()));
        }
    }

    /// Variance of the steps from value to value, dB squared; robust, so that a jump is none of it.
    fn scatter(&mut self, points: &[Point]) -> f64 {
        self.steps.clear();
        self.steps.extend(points.windows(2).map(|two| two[1].db - two[0].db));
        let middle = median(&mut self.steps);
        (MAD_TO_SIGMA * mad(&mut self.steps, middle)).powi(2).max(SCATTER_MIN)
    }

    fn mean(&self, of: impl Fn(&Track) -> f64) -> f64 {
        self.tracks.iter().map(|(track, weight)| weight * of(track)).sum()
    }

    /// The hours at which the probability of having failed is `q`; infinite where it never gets there.
    fn quantile(&self, q: f64) -> f64 {
        let reached = |h: f64| self.mean(|track| track.passed(h));
        let mut high = 1e-3;
        while reached(high) < q {
            high *= 2.0;
            if high > HOURS_MAX {
                return f64::INFINITY;
            }
        }
        let mut low = 0.0;
        for _ in 0..BISECTIONS {
            let mid = 0.5 * (low + high);
            if reached(mid) < q { low = mid } else { high = mid }
        }
        0.5 * (low + high)
    }

    /// P10, P50 and P90 in hours from the last point of the history that was fitted.
    ///
    /// # Errors
    /// `TooWide` where even 90 % never fail.
    pub(super) fn life(&self) -> Result<Life, Refusal> {
        let life = Life {
            p10_h: self.quantile(0.1),
            p50_h: self.quantile(0.5),
            p90_h: self.quantile(0.9),
        };
        if life.p90_h.is_finite() { Ok(life) } else { Err(Refusal::TooWide) }
    }
}

/// First values after a turn of a history of `n`, for each turn looked at: the latest ones closest together.
fn turns(n: usize) -> impl Iterator<Item = usize> {
    let after = std::iter::successors(Some(TURN_MIN), |after| Some(2 * after));
    after.take_while(move |after| after + TURN_MIN <= n).map(move |after| n - after)
}

#[cfg(test)]
mod tests;
