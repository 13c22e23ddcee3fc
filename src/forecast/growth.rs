//! How damage grows: a family of laws, and a filter that follows one of them through the history.

use std::f64::consts::{LN_10, TAU};

use super::wear::Point;
use crate::stats::{ln_normal_sf, normal_cdf};

/// Decibels of an amplitude by a factor of e.
const DB: f64 = 20.0 / LN_10;
/// What is not known of a level that may have jumped, standard deviation of ln a.
const JUMP: f64 = 0.7;
/// Least amplitude of damage, in what the machine gives by itself: 26 dB under it nothing is heard.
const LEAST: f64 = 0.05;
/// Damage is followed this far beyond the limit, ln a.
const BEYOND: f64 = 1.0;
/// A value so far off, in variances, is a spike: it counts as one that is just so far off.
const SPIKE: f64 = 25.0;
/// Damage feeds on itself: the mean rate to come, in the one that was.
const RATE_MEAN: f64 = 1.15;
/// No rate stays what it was: relative standard deviation of the mean rate to come about the one that was.
const RATE_SD: f64 = 0.2;
/// Exponents beyond which the passage of a drift all but certain is left to that drift.
const EXPONENT_MAX: f64 = 1e6;

/// Amplitude of a damage that raises the level by `db`: powers add. In the amplitude the machine has by itself.
pub(super) fn amplitude(db: f64) -> f64 {
    (db / DB * 2.0).exp_m1().max(LEAST * LEAST).sqrt()
}

/// A law of growth da/dt = b a^(1-k) of the amplitude a of damage: a^k grows evenly.
///
/// k = 1 is even growth, 1/2 grows with the square of time, 0 by a constant factor; below 0 it runs away in finite
/// time, as a crack by the law of Paris with exponent m = 2 (1 - k).
///
/// # Source
/// Box and Cox, J. R. Statist. Soc. B 26 (1964) 211 (the family); Paris and Erdogan, J. Basic Eng. 85 (1963) 528.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Law(f64);

impl Law {
    /// The laws that are weighed against each other.
    pub(super) const ALL: [Self; 6] =
        [Self(1.0), Self(0.5), Self(0.0), Self(-0.5), Self(-1.0), Self(-2.0)];

    /// The scale on which `ln_a` grows evenly.
    pub(super) fn z(self, ln_a: f64) -> f64 {
        if self.0 == 0.0 { ln_a } else { (self.0 * ln_a).exp_m1() / self.0 }
    }

    /// ln a at `z` of that scale, within what can be heard and `ln_a_max`.
    fn ln_a(self, z: f64, ln_a_max: f64) -> f64 {
        let z = z.clamp(self.z(LEAST.ln()), self.z(ln_a_max));
        if self.0 == 0.0 { z } else { (self.0 * z).ln_1p() / self.0 }
    }

    /// dz / d ln a.
    fn slope(self, ln_a: f64) -> f64 {
        (self.0 * ln_a).exp()
    }
}

/// What is known of a machine's values, whichever law it follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Rise of the level at the functional limit, dB.
    pub(super) limit_db: f64,
    /// Variance of a value, dB squared.
    pub(super) error: f64,
    /// Variance by which the level walks in an hour at the last amplitude, dB squared.
    pub(super) walk: f64,
    /// That amplitude, ln a.
    pub(super) ln_a_last: f64,
}

/// Where a machine that follows a law stands, and how fast it goes there; what is known of both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Track {
    law: Law,
    /// The limit on the law's scale, and the furthest ln a.
    limit: f64,
    ln_a_max: f64,
    /// Diffusion: variance of z per hour.
    q: f64,
    error: f64,
    z: f64,
    /// Drift of z per hour.
    b: f64,
    zz: f64,
    zb: f64,
    bb: f64,
    h: f64,
    /// Since when it has this drift.
    begun_h: f64,
    /// Natural logarithm of the likelihood of all values so far.
    pub(super) ln_likelihood: f64,
}

impl Track {
    /// Begins at `point`; `drift_sd` is what the drift of ln a may be, per hour.
    pub(super) fn new(law: Law, frame: &Frame, point: &Point, drift_sd: f64) -> Self {
        let ln_a = amplitude(point.db).ln();
        let ln_a_limit = amplitude(frame.limit_db).ln();
        let slope = law.slope(ln_a);
        Self {
            law,
            limit: law.z(ln_a_limit),
            ln_a_max: ln_a_limit + BEYOND,
            q: frame.walk / (DB * DB) * law.slope(frame.ln_a_last).powi(2),
            error: frame.error,
            z: law.z(ln_a),
            b: 0.0,
            zz: frame.error * (slope / heard(ln_a).1).powi(2),
            zb: 0.0,
            bb: (drift_sd * slope).powi(2),
            h: point.h,
            begun_h: point.h,
            ln_likelihood: 0.0,
        }
    }

    /// From here on the drift is another, and the level may have jumped.
    pub(super) fn turn(&mut self, drift_sd: f64) {
        let slope = self.law.slope(self.law.ln_a(self.z, self.ln_a_max));
        self.zz += (JUMP * slope).powi(2);
        self.begun_h = self.h;
        self.zb = 0.0;
        self.b = 0.0;
        self.bb = (drift_sd * slope).powi(2);
    }

    /// Takes in the next value.
    ///
    /// # Source
    /// Extended Kalman filter: growth is even in z, errors are even in dB.
    pub(super) fn step(&mut self, point: &Point) {
        let dt = point.h - self.h;
        self.h = point.h;
        self.z += self.b * dt;
        self.zz += dt * (2.0 * self.zb + dt * self.bb + self.q);
        self.zb += dt * self.bb;
        let ln_a = self.law.ln_a(self.z, self.ln_a_max);
        let (expected, gain) = heard(ln_a);
        let gain = gain / self.law.slope(ln_a);
        let off = point.db - expected;
        let variance = (gain * gain * self.zz + self.error).max(off * off / SPIKE);
        self.ln_likelihood -= 0.5 * (off * off / variance + (TAU * variance).ln());
        let (kz, kb) = (gain * self.zz / variance, gain * self.zb / variance);
        self.z += kz * off;
        self.b += kb * off;
        self.bb -= kb * gain * self.zb;
        self.zb -= kz * gain * self.zb;
        self.zz -= kz * gain * self.zz;
    }

    /// From the past to what is to come: allows for slow ups and downs of the level that are no wear, of variance
    /// `idle` in dB squared, at the end of the history and, over its length, at its beginning; and for a rate to
    /// come that is not the past one.
    pub(super) fn look_ahead(&mut self, idle: f64) {
        let ln_a = self.law.ln_a(self.z, self.ln_a_max);
        let zz = idle * (self.law.slope(ln_a) / heard(ln_a).1).powi(2);
        let span = self.h - self.begun_h;
        self.zz += zz;
        self.zb += zz / span;
        self.bb += 2.0 * zz / (span * span) + (RATE_SD * self.b).powi(2);
        self.b *= RATE_MEAN;
    }

    /// Probability that it goes up.
    pub(super) fn rises(&self) -> f64 {
        normal_cdf(self.b / self.bb.sqrt())
    }

    /// Rise of the level per hour, here, dB.
    pub(super) fn db_per_hour(&self) -> f64 {
        let ln_a = self.law.ln_a(self.z, self.ln_a_max);
        self.b / self.law.slope(ln_a) * heard(ln_a).1
    }

    /// Probability that the limit is first passed within `h` hours, if it was not yet and ever is.
    pub(super) fn passed(&self, h: f64) -> f64 {
        let distance = self.limit - self.z;
        let before = normal_cdf(-distance / self.zz.sqrt());
        let by = self.crossed(distance, h);
        ((by - before) / (self.rises() - before).max(1e-9)).clamp(0.0, 1.0)
    }

    /// First passage of `distance` by a Wiener process whose drift and beginning are uncertain.
    ///
    /// # Source
    /// Inverse Gaussian distribution (Chhikara and Folks, 1989); its two terms integrated over a normal drift, the
    /// second by tilting: E e^(aB) f(B) = e^(ab + a^2 v/2) E f(B + av). The beginning's variance is in the first only.
    fn crossed(&self, distance: f64, h: f64) -> f64 {
        let variance = self.zz + h * (2.0 * self.zb + h * self.bb + self.q);
        let direct = normal_cdf((self.b * h - distance) / variance.sqrt());
        if self.q <= 0.0 || distance <= 0.0 || h <= 0.0 {
            return direct;
        }
        let a = 2.0 * distance / self.q;
        let exponent = a * self.b + 0.5 * a * a * self.bb;
        if exponent > EXPONENT_MAX {
            return direct;
        }
        let spread = (h * (self.q + h * self.bb)).sqrt();
        let turned = ((self.b + a * self.bb) * h + distance) / spread;
        direct + (exponent + ln_normal_sf(turned)).exp().min(1.0 - direct)
    }
}

/// Rise of the level, dB, that damage of amplitude e^`ln_a` makes, and its change with `ln_a`.
fn heard(ln_a: f64) -> (f64, f64) {
    let power = (2.0 * ln_a).exp();
    (0.5 * DB * power.ln_1p(), DB * power / (1.0 + power))
}

#[cfg(test)]
mod tests;
