//! What is said of the remaining life at moments of whole lives: how often it is stated, and how often it holds.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::types::{Life, Refusal};

use super::metrics::{phm2012, phm2012_floor};

/// Moments of a life at which a forecast is asked for, evenly from the first share of it to the last.
const MOMENTS: usize = 12;
const ASKED: (f64, f64) = (0.30, 0.98);

/// A forecast asked for at a moment of a life.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub life: Result<Life, Refusal>,
    /// The truth, seconds; above 0.
    pub actual_s: f64,
}

/// The moments of a life of `said.len()` snapshots `every_s` apart.
pub(super) fn moments(said: &[Result<Life, Refusal>], every_s: f64) -> Vec<Moment> {
    let n = said.len();
    let at = |i: usize| {
        let share = ASKED.0 + (ASKED.1 - ASKED.0) * i as f64 / (MOMENTS - 1) as f64;
        ((share * n as f64).round() as usize).max(1)
    };
    let moment = |at: usize| Moment { life: said[at - 1], actual_s: (n - at) as f64 * every_s };
    (0..MOMENTS).map(at).filter(|at| *at < n).map(moment).collect()
}

/// Over all moments of all lives.
#[derive(Clone, Debug, Serialize)]
pub struct Forecasts {
    /// Forecasts asked for.
    pub asked: usize,
    /// Of those, refused; by reason.
    pub refused: BTreeMap<&'static str, usize>,
    /// Stated with a P10-P90 that holds the truth.
    pub held: usize,
    /// Stated, and it failed before P10.
    pub before_p10: usize,
    /// Stated, and it failed after P90.
    pub after_p90: usize,
    /// Mean score of what was stated; `None` where nothing was.
    pub phm2012_stated: Option<f64>,
    /// Mean score, a refusal counting 0.
    pub phm2012: f64,
    /// The best constant answer known beforehand, over all that was asked.
    pub phm2012_floor: f64,
}

impl Forecasts {
    /// Counts them; `None` where nothing was asked.
    pub(super) fn new(moments: &[Moment]) -> Option<Self> {
        let actuals: Vec<f64> = moments.iter().map(|moment| moment.actual_s).collect();
        let mut all = Self {
            asked: moments.len(),
            refused: BTreeMap::new(),
            held: 0,
            before_p10: 0,
            after_p90: 0,
            phm2012_stated: None,
            phm2012: 0.0,
            phm2012_floor: phm2012_floor(&actuals)?,
        };
        let mut score = 0.0;
        for Moment { life, actual_s } in moments {
            match life {
                Ok(life) => {
                    let actual_h = actual_s / 3600.0;
                    all.before_p10 += usize::from(actual_h < life.p10_h);
                    all.after_p90 += usize::from(actual_h > life.p90_h);
                    all.held += usize::from((life.p10_h..=life.p90_h).contains(&actual_h));
                    score += phm2012(actual_h, life.p50_h);
                }
                Err(refusal) => *all.refused.entry(refusal.reason()).or_default() += 1,
            }
        }
        let stated = all.held + all.before_p10 + all.after_p90;
        all.phm2012_stated = (stated > 0).then(|| score / stated as f64);
        all.phm2012 = score / moments.len() as f64;
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_over_the_life_and_counted() {
        let life = |h: f64| Ok(Life { p10_h: 0.5 * h, p50_h: h, p90_h: 2.0 * h });
        let mut said = vec![Err(Refusal::NotWearing); 100];
        // Right at 30 %, twice too long at 98 %.
        (said[29], said[97]) = (life(70.0), life(6.0));
        let moments = moments(&said, 3600.0);
        assert_eq!((moments[0].actual_s, moments[11].actual_s), (70.0 * 3600.0, 2.0 * 3600.0));
        let all = Forecasts::new(&moments).unwrap();
        assert_eq!((all.asked, all.held, all.before_p10, all.after_p90), (12, 1, 1, 0));
        assert_eq!(all.refused.values().sum::<usize>(), 10);
        assert!((all.phm2012 - all.phm2012_stated.unwrap() / 6.0).abs() < 1e-12);
        assert!(all.phm2012_stated.unwrap() > 0.5 && all.phm2012_floor > 0.0);
        assert!(Forecasts::new(&[]).is_none());
    }
}
