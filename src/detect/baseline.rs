//! What was learned of one sensor on one machine, and how far a window is from it.
//!
//! A window is `x = regime + session + noise`, number by number in dB: `regime` is what the machine
//! does at this operating point, `session` what changes from day to day, `noise` what changes from
//! window to window. Between learned operating points the normal is a line with the uncertainty of a
//! random walk tied at both ends; beyond them the walk is loose and soon says nothing. Lines move with
//! the speed and resonances do not: at a new speed a level may be what it was at the same frequency,
//! at the same order, or anything between the two.

use serde::{Deserialize, Serialize};

use super::calibrate::Tail;
use super::layout::{Layout, View};
use super::places::{Covariate, Place, Spot};
use super::surprise::{COMMON_MAX, Factor, Normal, ONE_BIN_DB, Off, QUIETER, Sums};

/// Version of the shape on disk.
pub(super) const VERSION: u32 = 4;
/// Where the operating point is not learned and the normal there is known no better than this
/// (standard deviation, dB), nothing is said: half of the 6 dB that practice calls a change.
const COVERED_DB: f64 = 3.0;
/// One learned operating point.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Regime {
    /// Where it lies, by the covariate; `None` where that says nothing: it may be met at any place.
    pub(super) place: Option<f64>,
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

    /// Where it lies; NaN where the covariate says nothing.
    pub(super) fn at(&self) -> f64 {
        self.place.unwrap_or(f64::NAN)
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
    /// How many of them the learning gave, where others came later.
    #[serde(default)]
    pub(super) n_learned: Option<usize>,
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
    /// What moves all levels together: a load, a gain, a distance.
    pub(super) common: Common,
    /// Likeness of a learned window's lines to those of the other operating points, typically; 0 where
    /// lines tell no speed.
    pub(super) likeness: f64,
    pub(super) tails: [Tail; View::N],
    /// The same for windows between learned operating points.
    pub(super) tails_between: [Tail; View::N],
    /// Time after which scores no longer hang together, seconds.
    pub(super) memory_s: f64,
    pub(super) suspect: Option<String>,
    /// The first that was ever learned here, kept for ever.
    pub(super) first: Option<Box<Baseline>>,
    pub(super) supports_per_year: Option<f64>,
}

/// Variances of what moves all levels together, dB2.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Common {
    /// From window to window.
    pub(super) noise: f64,
    /// From session to session.
    pub(super) between: f64,
    /// Per octave of the covariate away from learned points, beside the slope.
    pub(super) walk: f64,
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
    /// How well the normal there is known: standard deviation of what the speed may have changed, dB.
    pub(super) walked_db: f64,
}

impl Fit {
    /// Whether the normal there is known well enough to vouch for health, or for a fault if it `is_over`
    /// the limit. Between learned points a fault is one however wide the limits are; beyond them how
    /// levels go on is a guess.
    pub(super) fn is_known(&self, is_over: bool) -> bool {
        let far_db = if is_over && !self.spot.is_learned { COVERED_DB / 2.0 } else { COVERED_DB };
        self.walked_db <= far_db || (is_over && self.spot.is_between())
    }
}

impl Baseline {
    /// Back to what was learned at first: operating points that came later and slow adaptation go.
    pub fn roll_back(&mut self) {
        super::adapt::roll_back(self);
    }

    /// Numbers per vector.
    pub(super) fn n_slots(&self) -> usize {
        self.noise.len()
    }

    /// Normal of number `j` at a spot.
    pub(super) fn predict(&self, spot: &Spot, j: usize, is_level: bool) -> Normal {
        let near = &self.regimes[spot.near];
        let (mut fixed, mut moved) = (f64::from(near.normal(j)), self.moved(near, spot.at, j));
        if let Some((far, share)) = spot.far {
            let far = &self.regimes[far];
            fixed += share * (f64::from(far.normal(j)) - fixed);
            moved += share * (self.moved(far, spot.at, j) - moved);
        }
        let shift = if is_level { spot.shift_db } else { 0.0 };
        let (noise, between) = (f64::from(self.noise[j]), f64::from(self.between[j]));
        let n = (near.n_windows * (1.0 - spot.held_out)).max(1.0);
        let n_blocks = (near.n_blocks - spot.held_out).max(1.0);
        let common = if is_level { self.common } else { Common::default() };
        let walk = (f64::from(self.walk[j]) + common.walk) * spot.walked_oct;
        let windows = spot.noise_scale + 1.0 / n;
        let sessions = 1.0 + 1.0 / n_blocks;
        let all = noise * windows + between * sessions + walk;
        let common =
            common.noise * windows + common.between * sessions + common.walk * spot.walked_oct;
        Normal {
            low: fixed.min(moved) + shift,
            high: fixed.max(moved) + shift,
            own: (all - common).max((1.0 - COMMON_MAX) * all),
            common,
        }
    }

    /// Normal of number `j` at `place` if everything a regime does moves with the speed: what it does at
    /// the same order. NaN (which `min` and `max` pass over) where there is no such number, or nothing is heard.
    pub(super) fn moved(&self, regime: &Regime, place: f64, j: usize) -> f64 {
        let away = place - regime.at();
        if away.is_nan() || away == 0.0 || regime.normal(j).is_nan() {
            return f64::NAN;
        }
        let (from, share) = self.layout.moved(j, away);
        let value = |j: usize| f64::from(regime.normal(j));
        from.map_or(f64::NAN, |from| value(from) + share * (value(from + 1) - value(from)))
    }

    /// Normal of every number at a spot: `[n_slots]`.
    pub(super) fn normal(&self, spot: &Spot, out: &mut Vec<f32>) {
        out.clear();
        let normal = |j| self.predict(spot, j, self.layout.is_level(j)).middle() as f32;
        out.extend((0..self.n_slots()).map(normal));
    }

    /// The normal that explains a window best, among those its operating point allows.
    ///
    /// `offs` is overwritten.
    pub(super) fn explain(
        &self,
        values: &[f32],
        place: Place,
        noise_scale: f64,
        offs: &mut Vec<Off>,
    ) -> Option<Fit> {
        let mut best: Option<Fit> = None;
        let mut take = |spot: Spot| {
            let fit = self.fit(values, Spot { noise_scale, ..spot }, None, offs);
            if best.as_ref().is_none_or(|best| fit.ln_p > best.ln_p) {
                best = Some(fit);
            }
        };
        match place {
            Place::Any => (0..self.regimes.len()).for_each(|i| take(Spot::learned(i))),
            Place::At(place) => self.spots(place, None, take),
            Place::Either(one, other) => {
                self.spots(one, None, &mut take);
                self.spots(other, None, take);
            }
            Place::Within => {
                (0..self.regimes.len()).for_each(|i| take(Spot::learned(i)));
                self.between(take);
            }
        }
        best
    }

    /// The score of a window at an operating point that is left out: from its neighbours on both sides.
    pub(super) fn explain_between(&self, values: &[f32], regime_idx: usize) -> Option<Fit> {
        let (mut best, mut offs): (Option<Fit>, _) = (None, Vec::new());
        self.spots(self.regimes[regime_idx].at(), Some(regime_idx), |spot| {
            let fit = self.fit(values, spot, None, &mut offs);
            if spot.is_between() && best.as_ref().is_none_or(|best| fit.ln_p > best.ln_p) {
                best = Some(fit);
            }
        });
        best
    }

    /// The best of all learned operating points but one.
    pub(super) fn explain_without(&self, values: &[f32], regime_idx: usize) -> Option<Fit> {
        (0..self.regimes.len())
            .filter(|&i| i != regime_idx)
            .map(|i| self.fit(values, Spot::learned(i), None, &mut Vec::new()))
            .max_by(|a, b| a.ln_p.total_cmp(&b.ln_p))
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
        let spot = Spot { held_out, ..Spot::learned(regime_idx) };
        self.fit(values, spot, Some(own), &mut Vec::new())
    }

    /// The tails that hold at a spot.
    pub(super) fn tails_of(&self, spot: &Spot) -> &[Tail; View::N] {
        if spot.is_learned { &self.tails } else { &self.tails_between }
    }

    fn fit(&self, values: &[f32], spot: Spot, own: Option<&[f32]>, offs: &mut Vec<Off>) -> Fit {
        let layout = &self.layout;
        let is_sound = layout.is_sound();
        let mut factors = [Factor::default(); View::N];
        let mut walked = (0usize, 0.0_f64);
        offs.clear();
        for (j, slot) in layout.slots[..layout.lines().start].iter().enumerate() {
            let mut normal = self.predict(&spot, j, layout.is_level(j));
            if let Some(own) = own {
                normal = normal.without(spot.held_out, f64::from(own[j]));
            }
            let noise = f64::from(self.noise[j]) * spot.noise_scale;
            // The logarithm of a chi-squared variable of few degrees has its long tail below.
            let skew = noise * f64::from(slot.noise_db / ONE_BIN_DB).powi(2).min(1.0);
            let mut off = normal.against(f64::from(values[j]), noise, skew, slot.view);
            if is_sound && off.by < 0.0 {
                off.own += (QUIETER * QUIETER - 1.0) * (normal.own - noise).max(0.0);
            }
            if !off.by.is_nan() {
                factors[slot.view as usize].add(&off);
                let walk = f64::from(self.walk[j]) + self.common.walk;
                walked = (walked.0 + 1, walked.1 + walk * spot.walked_oct);
                offs.push(off);
            }
        }
        let mut sums = [Sums::default(); View::N];
        for off in offs.iter() {
            let v = off.view as usize;
            sums[v].add(off, factors[v].moved());
        }
        let mut raw = [None; View::N];
        for (v, raw) in raw.iter_mut().enumerate() {
            let surprise = || sums[v].surprise(self.noise_dof[v], factors[v].z2());
            *raw = (sums[v].n > 0.0).then(surprise);
        }
        let n_views = raw.iter().flatten().count().max(1) as f64;
        let tails = self.tails_of(&spot);
        let least = |ln_p: fn(&Tail, f64) -> f64| {
            let all = raw.iter().zip(tails);
            let each = all.filter_map(|(raw, tail)| raw.map(|raw| ln_p(tail, raw)));
            each.fold(f64::INFINITY, f64::min) + n_views.ln()
        };
        let walked_db = (walked.1 / walked.0.max(1) as f64).sqrt();
        let (ln_p, ln_p_sure) = (least(Tail::ln_p), least(Tail::ln_p_sure));
        Fit { spot, raw, ln_p, ln_p_sure, walked_db }
    }
}
