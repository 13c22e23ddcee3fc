//! How unusual a view of a window is: its numbers against their normals, what they have in common taken
//! apart from what each does by itself.

use super::layout::View;
use crate::stats::{ln_chi2_sf, ln_normal_sf};

/// Correlation of neighbouring numbers' deviations that is reckoned with beside what moves all levels.
const CORRELATION: f64 = 0.3;
/// Share of a level's measured variance that may be common to all levels, at the most: they never move
/// all alike.
pub(super) const COMMON_MAX: f64 = 0.7;
/// A level may be lower than learned by so much more than higher: faults add sound and vibration, less
/// load, more grease or another mounting take some away.
pub(super) const QUIETER: f64 = 2.0;
/// Ways of a view to be unusual.
const N_WAYS: f64 = 3.0;
/// Standard deviation of the level of one bin of noise, dB: the steadiest levels are the most even.
pub(super) const ONE_BIN_DB: f32 = 5.57;

/// What a number is on a healthy machine: anything from `low` to `high`, with variances beyond, dB2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Normal {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Its own variance, ...
    pub(super) own: f64,
    /// ... and what it shares with all levels.
    pub(super) common: f64,
}

impl Normal {
    /// How far a value is off, dB; NaN where there is no normal.
    pub(super) fn off(&self, value: f64) -> f64 {
        if value > self.high { value - self.high } else { (value - self.low).min(0.0) }
    }

    /// How far a value is off, where it scatters by `noise` from window to window and by `skew` more
    /// downwards, dB2.
    pub(super) fn against(&self, value: f64, noise: f64, skew: f64, view: View) -> Off {
        let by = self.off(value);
        let own = self.own + if by < 0.0 { skew } else { 0.0 };
        let noise = noise / (own + self.common);
        Off { view, by, own, common: self.common.sqrt(), noise }
    }

    /// The middle of what it may be, dB.
    pub(super) fn middle(&self) -> f64 {
        f64::midpoint(self.low, self.high)
    }

    /// Own and common variance, dB2.
    pub(super) fn variance(&self) -> f64 {
        self.own + self.common
    }

    /// What it would be without a part of the mean: `share` of it is `own`.
    pub(super) fn without(self, share: f64, own: f64) -> Self {
        let rest = |mean: f64| (mean - share * own) / (1.0 - share);
        Self { low: rest(self.low), high: rest(self.high), ..self }
    }
}

/// How far one number is off: `by` dB, of which a variance `own` is its own and `common`^2 is what it
/// has of the common change; `noise` is the share of window-to-window noise in both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Off {
    pub(super) view: View,
    pub(super) by: f64,
    pub(super) own: f64,
    pub(super) common: f64,
    noise: f64,
}

/// What all levels of a view have in common, told apart from what each does by itself: deviations are
/// `common * f + rest`, `f` normal with variance 1.
///
/// # Source
/// One-factor model; its score by generalised least squares: Bartlett, Brit. J. Psychology 28 (1937) 97.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Factor {
    /// Sum of `common * by / own`.
    off: f64,
    /// Sum of `common^2 / own`.
    precision: f64,
}

impl Factor {
    pub(super) fn add(&mut self, off: &Off) {
        self.off += off.common * off.by / off.own;
        self.precision += off.common * off.common / off.own;
    }

    /// The factor's likeliest value.
    pub(super) fn moved(&self) -> f64 {
        self.off / (1.0 + self.precision)
    }

    /// Square of its standard score.
    pub(super) fn z2(&self) -> f64 {
        let variance = self.precision * (1.0 + self.precision);
        let off = if self.off < 0.0 { self.off / QUIETER } else { self.off };
        if variance > 0.0 { off * off / variance } else { 0.0 }
    }
}

/// Degrees of freedom of `n` equally correlated numbers (Satterthwaite 1946).
pub(super) fn correlated_dof(n: f64) -> f64 {
    n / (1.0 + (n - 1.0) * CORRELATION * CORRELATION)
}

/// What a view's numbers come to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// How many.
    pub(super) n: f64,
    /// Sum of their squared deviations.
    squares: f64,
    /// The largest of them.
    max: f64,
    /// Sum of the shares of window-to-window noise in their variances.
    noise: f64,
}

impl Sums {
    /// Takes in one number, the common factor taken out.
    pub(super) fn add(&mut self, off: &Off, factor: f64) {
        let z2 = (off.by - off.common * factor).powi(2) / off.own;
        self.n += 1.0;
        self.squares += z2;
        self.max = self.max.max(z2);
        self.noise += off.noise;
    }

    /// -ln p, before calibration, where the noise alone has `noise_dof` degrees of freedom and the square
    /// of the common factor's standard score is `common_z2`.
    ///
    /// Three ways to be unusual: all levels together, a little everywhere (a chi-squared variable whose
    /// degrees of freedom are those of noise and sessions together), or much in one place (Bonferroni
    /// over the numbers). The likeliest cause counts, three times for having three chances.
    pub(super) fn surprise(&self, noise_dof: f64, common_z2: f64) -> f64 {
        let noise = self.noise / self.n;
        let rest = 1.0 - noise;
        let spread = noise * noise / noise_dof.min(self.n) + rest * rest / correlated_dof(self.n);
        let dof = spread.recip().clamp(1.0, self.n);
        let everywhere = -ln_chi2_sf(self.squares * dof / self.n, dof);
        let somewhere = -(ln_normal_sf(self.max.sqrt()) + (2.0 * self.n).ln());
        let together = -(ln_normal_sf(common_z2.sqrt()) + std::f64::consts::LN_2);
        everywhere.max(somewhere).max(together) - N_WAYS.ln()
    }
}
