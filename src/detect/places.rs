//! Which learned operating points a window may be compared with: by its speed, by its lines, or any.

use serde::{Deserialize, Serialize};

use super::baseline::{Baseline, Regime};
use super::lines::{self, ALIKE, BIN_OCT, CLEARLY, Said};

/// Spread of learned levels from which a machine is one that runs at several speeds, dB.
const SEVERAL_DB: f64 = 6.0;
/// Beyond the learned levels by so much is another speed rather than a fault, dB: from what a session
/// may bring to twice the speed (acceleration and sound go with its square).
const BEYOND_DB: (f64, f64) = (3.0, 12.0);
/// Operating points nearer than this are the same one, in octaves of speed (2 %).
const SAME_SPEED_OCT: f64 = 0.029;
/// Where the lines do not say the speed, places are tried so far apart, octaves: 5 %, over which a level
/// that goes with the square of speed changes by less than a decibel.
const STRIDE_OCT: f64 = 0.07;

/// What the operating points are ordered by.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Covariate {
    /// Nothing: the speed is not known, or not always.
    #[default]
    None,
    /// Octaves of shaft speed.
    Speed,
    /// Octaves of speed against the first operating point, told by the lines: nobody says the speed, but
    /// the learned patterns are one, moved.
    Lines,
}

/// Where a window is looked for, in octaves of the covariate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// Nobody says: at every learned operating point.
    Any,
    /// Here.
    At(f64),
    /// At one of these two.
    Either(f64, f64),
    /// The lines should say but do not: anywhere from the lowest learned point to the highest.
    Within,
}

impl Covariate {
    /// How near is the same; lines tell a speed to the next of their bins.
    pub(super) fn same(self) -> f64 {
        match self {
            Self::None => f64::INFINITY,
            Self::Speed => SAME_SPEED_OCT,
            Self::Lines => 1.2 * BIN_OCT,
        }
    }
}

/// Where the normal of one window was taken from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    /// The nearest learned operating point.
    pub(super) near: usize,
    /// The one on the other side, with the share it has.
    pub(super) far: Option<(usize, f64)>,
    /// Whether this is a learned operating point itself.
    pub(super) is_learned: bool,
    /// Octaves of random walk in it: 0 at a learned point.
    pub(super) walked_oct: f64,
    /// Where it lies itself, octaves of the covariate; NaN where that says nothing.
    pub(super) at: f64,
    /// Added to all levels, dB.
    pub(super) shift_db: f64,
    /// Window-to-window variance of this window against that of the learned ones.
    pub(super) noise_scale: f64,
    /// Weight of an own observation that is left out (held-out scoring), as share of the mean.
    pub(super) held_out: f64,
}

impl Spot {
    /// A learned operating point.
    pub(super) fn learned(near: usize) -> Self {
        Self {
            near,
            far: None,
            is_learned: true,
            walked_oct: 0.0,
            at: f64::NAN,
            shift_db: 0.0,
            noise_scale: 1.0,
            held_out: 0.0,
        }
    }

    /// A place beyond a learned operating point, or between two.
    fn away(near: usize, walked_oct: f64, at: f64) -> Self {
        Self { is_learned: false, walked_oct, at, ..Self::learned(near) }
    }

    /// Whether learned operating points lie on both sides: covered by them, with wider limits.
    pub(super) fn is_between(&self) -> bool {
        self.far.is_some()
    }
}

impl Baseline {
    /// Where a window lies, given its speed (NaN if unknown) and its lines.
    pub(super) fn place(&self, values: &[f32], ln_speed: f32) -> Place {
        match self.covariate {
            Covariate::None => Place::Any,
            Covariate::Speed if ln_speed.is_nan() => Place::Any,
            Covariate::Speed => Place::At(f64::from(ln_speed) / std::f64::consts::LN_2),
            Covariate::Lines => {
                let peak = self.locate(&values[self.layout.lines()]);
                let octaves = |bins: i32| f64::from(bins) * BIN_OCT;
                if peak.likeness < (CLEARLY * self.likeness).min(ALIKE) {
                    Place::Within
                } else if peak.next < CLEARLY * peak.likeness {
                    Place::At(octaves(peak.at))
                } else {
                    Place::Either(octaves(peak.at), octaves(peak.next_at))
                }
            }
        }
    }

    /// Where a pattern of lines lies among the learned ones.
    pub(super) fn locate(&self, pattern: &[f32]) -> lines::Peak {
        let placed = || self.regimes.iter().filter_map(|regime| Some((regime, regime.place?)));
        lines::locate(pattern, || {
            placed().map(|(regime, at)| ((at / BIN_OCT).round() as i32, regime.lines.as_slice()))
        })
    }

    /// Whether the machine itself says that it runs at another speed than learned: told, or by lines that
    /// are those learned but moved. A level alone says too little for that.
    pub(super) fn says_other_speed(&self, values: &[f32], place: Place) -> bool {
        match place {
            Place::At(_) => true,
            Place::Any if self.covariate == Covariate::None => {
                let learned = self.regimes.iter().map(|regime| regime.lines.as_slice());
                lines::compare(&values[self.layout.lines()], learned) == Said::Other
            }
            Place::Any | Place::Either(..) | Place::Within => false,
        }
    }

    /// Spots between neighbouring operating points, as far apart as they must be not to miss any.
    pub(super) fn between(&self, mut take: impl FnMut(Spot)) {
        let mut last = self.edge(|_| true, f64::min);
        while let Some(low) = last {
            last = self.edge(|regime| regime.at() > low + SAME_SPEED_OCT, f64::min);
            let n = last.map_or(1, |high| ((high - low) / STRIDE_OCT).ceil().max(2.0) as usize);
            for i in 1..n {
                let share = i as f64 / n as f64;
                self.spots(low + share * (last.unwrap_or(low) - low), None, &mut take);
            }
        }
    }

    /// Whether nobody says the speed, but the window does: another one than learned.
    ///
    /// By its lines; or, where lines say nothing and the machine was seen to run at several levels, by
    /// a level just beyond those.
    pub(super) fn is_other_speed(&self, values: &[f32], level_db: f64) -> bool {
        if self.covariate != Covariate::None {
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

    /// Every normal that a window at `place` may be compared with, without those of regime `left_out` and
    /// its place.
    pub(super) fn spots(&self, place: f64, left_out: Option<usize>, mut take: impl FnMut(Spot)) {
        let same = self.covariate.same();
        let mut n_exact = 0;
        for (near, regime) in self.regimes.iter().enumerate() {
            if regime.place.is_none() {
                take(Spot::learned(near));
            } else if left_out.is_none() && (regime.at() - place).abs() <= same {
                let walked_oct = (regime.at() - place).abs();
                take(Spot { walked_oct, at: place, ..Spot::learned(near) });
                n_exact += 1;
            }
        }
        if n_exact > 0 {
            return;
        }
        let margin = if left_out.is_some() { same } else { 0.0 };
        let below = self.edge(|regime| regime.at() < place - margin, f64::max);
        let above = self.edge(|regime| regime.at() > place + margin, f64::min);
        let group = |edge: f64| {
            self.regimes.iter().enumerate().filter(move |(_, r)| (r.at() - edge).abs() <= same)
        };
        match (below, above) {
            (Some(below), Some(above)) => {
                for (near, low) in group(below) {
                    for (far, high) in group(above) {
                        let gap = high.at() - low.at();
                        let share = ((place - low.at()) / gap).clamp(0.0, 1.0);
                        let walked_oct = gap * share * (1.0 - share);
                        let far = Some((far, share));
                        take(Spot { far, ..Spot::away(near, walked_oct, place) });
                    }
                }
            }
            (Some(edge), None) | (None, Some(edge)) => {
                for (near, end) in group(edge) {
                    let away = place - end.at();
                    let shift_db = self.slope_db * away;
                    take(Spot { shift_db, ..Spot::away(near, away.abs(), place) });
                }
            }
            (None, None) => {}
        }
    }

    fn edge(&self, is_in: impl Fn(&Regime) -> bool, pick: fn(f64, f64) -> f64) -> Option<f64> {
        self.regimes.iter().filter(|r| is_in(r)).filter_map(|regime| regime.place).reduce(pick)
    }
}
