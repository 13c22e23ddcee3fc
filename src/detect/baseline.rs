//! What was learned of one sensor on one machine, and how far a window is from it.
//!
//! A window is `x = regime + session + noise`, number by number in dB: `regime` is what the machine
//! does at this operating point, `session` what changes from day to day, `noise` what changes from
//! window to window. Between learned operating points the normal is a line with the uncertainty of a
//! random walk tied at both ends; beyond them the walk is loose and soon says nothing.

use serde::{Deserialize, Serialize};

use super::calibrate::Tail;
use super::layout::{Layout, View};
use super::lines::{self, Said};
use crate::stats::{ln_chi2_sf, ln_normal_sf};

/// Version of the shape on disk.
pub(super) const VERSION: u32 = 2;
/// Correlation of neighbouring numbers' deviations that is reckoned with: a load or a gain moves all.
const CORRELATION: f64 = 0.3;
/// Where the operating point is not learned and the normal there is known no better than this
/// (standard deviation, dB), nothing is said: half of the 6 dB that practice calls a change.
const COVERED_DB: f64 = 3.0;
/// Standard deviation of the level of one bin of noise, dB: the steadiest levels are the most even.
const ONE_BIN_DB: f32 = 5.57;
/// Spread of learned levels from which a machine is one that runs at several speeds, dB.
const SEVERAL_DB: f64 = 6.0;
/// Beyond the learned levels by so much is another speed rather than a fault, dB: from what a session
/// may bring to twice the speed (acceleration and sound go with its square).
const BEYOND_DB: (f64, f64) = (3.0, 12.0);
/// Operating points nearer than this are the same one, in octaves of speed (2 %).
const SAME_SPEED_OCT: f64 = 0.029;

/// What the operating points are ordered by.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Covariate {
    /// Nothing: the speed is not known, or not always.
    #[default]
    None,
    /// Octaves of shaft speed.
    Speed,
}

impl Covariate {
    /// How near is the same.
    pub(super) fn same(self) -> f64 {
        match self {
            Self::None => f64::INFINITY,
            Self::Speed => SAME_SPEED_OCT,
        }
    }
}

/// One learned operating point.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Regime {
    /// Where it lies, by the covariate.
    pub(super) place: f64,
    /// Level of the loudest axis, dB.
    pub(super) level_db: f64,
    /// Independent observations of its slow changes.
    pub(super) n_blocks: f64,
    /// Windows.
    pub(super) n_windows: f64,
    /// Normal value of each number, dB; NaN written as null where never seen: `[n_slots]`.
    pub(super) mean: Vec<Option<f32>>,
    /// Its pattern of lines.
    pub(super) lines: Vec<f32>,
    /// Slow adaptation on top of it, dB: `[n_slots]`.
    pub(super) adapted: Vec<f32>,
}

impl Regime {
    /// Normal value of number `j` with its adaptation; NaN where never seen.
    pub(super) fn normal(&self, j: usize) -> f32 {
        self.mean[j].map_or(f32::NAN, |mean| mean + self.adapted[j])
    }
}

/// What was learned of one sensor on one machine; kept on disk as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    pub(super) version: u32,
    pub(super) sensor: String,
    pub(super) layout: Layout,
    pub(super) covariate: Covariate,
    pub(super) regimes: Vec<Regime>,
    /// Variance from window to window, dB2: `[n_slots]`.
    pub(super) noise: Vec<f32>,
    /// Degrees of freedom of each view's window-to-window noise.
    pub(super) noise_dof: [f64; View::N],
    /// Variance from session to session, dB2: `[n_slots]`.
    pub(super) between: Vec<f32>,
    /// Variance a number gains per octave of the covariate away from learned points, dB2: `[n_slots]`.
    pub(super) walk: Vec<f32>,
    /// Common change of level per octave of the covariate, dB.
    pub(super) slope_db: f64,
    pub(super) tails: [Tail; View::N],
    /// Time after which scores no longer hang together, seconds.
    pub(super) memory_s: f64,
    pub(super) suspect: Option<String>,
    /// The first that was ever learned here, kept for ever.
    pub(super) first: Option<Box<Baseline>>,
    pub(super) supports_per_year: Option<f64>,
}

/// Where the normal of one window was taken from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// The nearest learned operating point.
    pub(super) near: usize,
    /// The one on the other side, with the share it has.
    pub(super) far: Option<(usize, f64)>,
    /// Octaves of random walk in it: 0 at a learned point.
    walked_oct: f64,
    /// Added to all levels, dB.
    shift_db: f64,
    /// Window-to-window variance of this window against that of the learned ones.
    noise_scale: f64,
    /// Weight of an own observation that is left out (held-out scoring), as share of the mean.
    held_out: f64,
}

impl Spot {
    /// A learned operating point.
    fn learned(near: usize) -> Self {
        Self { near, far: None, walked_oct: 0.0, shift_db: 0.0, noise_scale: 1.0, held_out: 0.0 }
    }

    /// Whether learned operating points lie on both sides: covered by them, with wider limits.
    pub(super) fn is_between(&self) -> bool {
        self.far.is_some()
    }

    /// Whether this is a learned operating point itself.
    pub(super) fn is_learned(&self) -> bool {
        self.far.is_none() && self.walked_oct == 0.0
    }
}

/// How far a window is from one normal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub(super) spot: Spot,
    /// -ln p of each view before calibration; `None` where it has no numbers.
    pub(super) raw: [Option<f64>; View::N],
    /// ln p of all views together, calibrated.
    pub(super) ln_p: f64,
    /// The same, as it may be gathered over windows.
    pub(super) ln_p_sure: f64,
    /// Whether the normal there is known well enough to judge by.
    pub(super) is_covered: bool,
}

impl Baseline {
    /// Numbers per vector.
    pub(super) fn n_slots(&self) -> usize {
        self.noise.len()
    }

    /// Normal of number `j` at a spot and its predictive variance; NaN where never seen.
    pub(super) fn predict(&self, spot: &Spot, j: usize, is_level: bool) -> (f64, f64) {
        let near = &self.regimes[spot.near];
        let mut mean = f64::from(near.normal(j));
        if let Some((far, share)) = spot.far {
            mean += share * (f64::from(self.regimes[far].normal(j)) - mean);
        }
        if is_level {
            mean += spot.shift_db;
        }
        let (noise, between) = (f64::from(self.noise[j]), f64::from(self.between[j]));
        let n = (near.n_windows * (1.0 - spot.held_out)).max(1.0);
        let n_blocks = (near.n_blocks - spot.held_out).max(1.0);
        let walk = f64::from(self.walk[j]) * spot.walked_oct;
        (mean, noise * (spot.noise_scale + 1.0 / n) + between * (1.0 + 1.0 / n_blocks) + walk)
    }

    /// Normal of every number at a spot: `[n_slots]`.
    pub(super) fn normal(&self, spot: &Spot, out: &mut Vec<f32>) {
        out.clear();
        let normal = |j| self.predict(spot, j, is_level(&self.layout, j)).0 as f32;
        out.extend((0..self.n_slots()).map(normal));
    }

    /// The normal that explains a window best, among those its operating point allows.
    pub(super) fn explain(&self, values: &[f32], place: f64, noise_scale: f64) -> Option<Fit> {
        let mut best: Option<Fit> = None;
        self.spots(place, |spot| {
            let fit = self.fit(values, Spot { noise_scale, ..spot }, None);
            if best.as_ref().is_none_or(|best| fit.ln_p > best.ln_p) {
                best = Some(fit);
            }
        });
        best
    }

    /// The best of all learned operating points but one.
    pub(super) fn explain_without(&self, values: &[f32], regime_idx: usize) -> Option<Fit> {
        (0..self.regimes.len())
            .filter(|&i| i != regime_idx)
            .map(|i| self.fit(values, Spot::learned(i), None))
            .max_by(|a, b| a.ln_p.total_cmp(&b.ln_p))
    }

    /// Whether nobody says the speed, but the window does: another one than learned.
    ///
    /// By its lines; or, where lines say nothing and the machine was seen to run at several levels, by
    /// a level just beyond those.
    pub(super) fn is_other_speed(&self, values: &[f32], level_db: f64) -> bool {
        if self.covariate == Covariate::Speed {
            return false;
        }
        let lines = self.layout.lines();
        let learned = self.regimes.iter().map(|regime| regime.lines.as_slice());
        let levels = || self.regimes.iter().map(|regime| regime.level_db);
        let (low, high) = (levels().fold(f64::INFINITY, f64::min), levels().fold(-1e3, f64::max));
        match lines::compare(&values[lines], learned) {
            Said::Same => false,
            Said::Other => true,
            Said::Nothing => {
                let beyond = (level_db - high).max(low - level_db);
                high - low >= SEVERAL_DB && (BEYOND_DB.0..BEYOND_DB.1).contains(&beyond)
            }
        }
    }

    /// Every normal that a window at `place` may be compared with.
    fn spots(&self, place: f64, mut take: impl FnMut(Spot)) {
        let same = self.covariate.same();
        let mut n_exact = 0;
        for (near, regime) in self.regimes.iter().enumerate() {
            if place.is_nan() || (regime.place - place).abs() <= same {
                take(Spot::learned(near));
                n_exact += 1;
            }
        }
        if place.is_nan() || n_exact > 0 {
            return;
        }
        let below = self.edge(|regime| regime.place < place, f64::max);
        let above = self.edge(|regime| regime.place > place, f64::min);
        let group = |edge: f64| {
            self.regimes.iter().enumerate().filter(move |(_, r)| (r.place - edge).abs() <= same)
        };
        match (below, above) {
            (Some(below), Some(above)) => {
                for (near, low) in group(below) {
                    for (far, high) in group(above) {
                        let gap = high.place - low.place;
                        let share = ((place - low.place) / gap).clamp(0.0, 1.0);
                        let walked_oct = gap * share * (1.0 - share);
                        let far = Some((far, share));
                        take(Spot { far, walked_oct, ..Spot::learned(near) });
                    }
                }
            }
            (Some(edge), None) | (None, Some(edge)) => {
                for (near, end) in group(edge) {
                    let away = place - end.place;
                    let shift_db = self.slope_db * away;
                    take(Spot { walked_oct: away.abs(), shift_db, ..Spot::learned(near) });
                }
            }
            (None, None) => {}
        }
    }

    fn edge(&self, is_in: impl Fn(&Regime) -> bool, pick: fn(f64, f64) -> f64) -> Option<f64> {
        self.regimes.iter().filter(|regime| is_in(regime)).map(|regime| regime.place).reduce(pick)
    }

    /// Scores of a window against regime `regime_idx`, whose mean had the windows of the same session
    /// in it with the share `held_out` and mean `own`.
    pub(super) fn fit_held_out(
        &self,
        values: &[f32],
        regime_idx: usize,
        held_out: f64,
        own: &[f32],
    ) -> Fit {
        self.fit(values, Spot { held_out, ..Spot::learned(regime_idx) }, Some(own))
    }

    fn fit(&self, values: &[f32], spot: Spot, own: Option<&[f32]>) -> Fit {
        let layout = &self.layout;
        let mut sums = [Sums::default(); View::N];
        let mut walked = (0usize, 0.0_f64);
        for (j, slot) in layout.slots[..layout.lines().start].iter().enumerate() {
            let is_level = is_level(layout, j);
            let (mut mean, variance) = self.predict(&spot, j, is_level);
            if let Some(own) = own {
                mean = (mean - spot.held_out * f64::from(own[j])) / (1.0 - spot.held_out);
            }
            let off = f64::from(values[j]) - mean;
            // The logarithm of a chi-squared variable of few degrees has its long tail below.
            let noise = f64::from(self.noise[j]) * spot.noise_scale;
            let skew = f64::from(slot.noise_db / ONE_BIN_DB).powi(2).min(1.0);
            let variance = if off < 0.0 { variance + skew * noise } else { variance };
            let z2 = off * off / variance;
            if z2.is_nan() {
                continue;
            }
            let sum = &mut sums[slot.view as usize];
            sum.n += 1.0;
            sum.squares += z2;
            sum.max = sum.max.max(z2);
            sum.noise += noise / variance;
            walked = (walked.0 + 1, walked.1 + f64::from(self.walk[j]) * spot.walked_oct);
        }
        let mut raw = [None; View::N];
        for (raw, (sums, dof)) in raw.iter_mut().zip(sums.iter().zip(self.noise_dof)) {
            *raw = (sums.n > 0.0).then(|| sums.surprise(dof));
        }
        let n_views = raw.iter().flatten().count().max(1) as f64;
        let least = |ln_p: fn(&Tail, f64) -> f64| {
            let all = raw.iter().zip(&self.tails);
            let each = all.filter_map(|(raw, tail)| raw.map(|raw| ln_p(tail, raw)));
            each.fold(f64::INFINITY, f64::min) + n_views.ln()
        };
        let walked_db = (walked.1 / walked.0.max(1) as f64).sqrt();
        let (ln_p, ln_p_sure) = (least(Tail::ln_p), least(Tail::ln_p_sure));
        Fit { spot, raw, ln_p, ln_p_sure, is_covered: walked_db <= COVERED_DB }
    }
}

/// Whether number `j` follows the overall level.
pub(super) fn is_level(layout: &Layout, j: usize) -> bool {
    match layout.slots[j].view {
        View::Bands | View::Octaves | View::Orders => true,
        View::Indicators => j == 0 || layout.slots[j - 1].axis_idx != layout.slots[j].axis_idx,
        View::Envelope | View::Model | View::Lines => false,
    }
}

/// Degrees of freedom of `n` equally correlated numbers (Satterthwaite 1946).
pub(super) fn correlated_dof(n: f64) -> f64 {
    n / (1.0 + (n - 1.0) * CORRELATION * CORRELATION)
}

/// What a view's numbers come to.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// How many.
    n: f64,
    /// Sum of their squared deviations.
    squares: f64,
    /// The largest of them.
    max: f64,
    /// Sum of the shares of window-to-window noise in their variances.
    noise: f64,
}

impl Sums {
    /// -ln p, before calibration, where the noise alone has `noise_dof` degrees of freedom.
    ///
    /// Two ways to be unusual: a little everywhere (a chi-squared variable whose degrees of freedom
    /// are those of noise and sessions together), or much in one place (Bonferroni over the numbers).
    /// The likelier cause counts, twice for having two chances.
    fn surprise(&self, noise_dof: f64) -> f64 {
        let noise = self.noise / self.n;
        let rest = 1.0 - noise;
        let spread = noise * noise / noise_dof.min(self.n) + rest * rest / correlated_dof(self.n);
        let dof = spread.recip().clamp(1.0, self.n);
        let everywhere = -ln_chi2_sf(self.squares * dof / self.n, dof);
        let somewhere = -(ln_normal_sf(self.max.sqrt()) + (2.0 * self.n).ln());
        everywhere.max(somewhere) - std::f64::consts::LN_2
    }
}
