//! Which numbers make a window unusual, for whoever is to understand it.

use super::baseline::{Baseline, Fit};
use super::layout::View;
use crate::types::{Change, Contribution, Features, Score};

/// Views that say which band is louder.
const LEVELS: [View; 4] = [View::Bands, View::Octaves, View::Orders, View::Model];
/// Views that say what else there is: shocks, and levels that vary.
const OTHERS: [View; 3] = [View::Indicators, View::Envelope, View::Fluctuation];

/// Lists what contributes most: of the levels, unless another view alone finds the window unusual.
pub(super) fn contribute(
    baseline: &Baseline,
    values: &[f32],
    fit: &Fit,
    features: &Features,
    score: &mut Score,
) {
    let layout = &baseline.layout;
    let least = |views: &[View]| {
        let tails = baseline.tails_of(&fit.spot);
        let each = views
            .iter()
            .filter_map(|&view| Some((view, tails[view as usize].ln_p(fit.raw[view as usize]?))));
        each.min_by(|a, b| a.1.total_cmp(&b.1))
    };
    let (by_level, by_other) = (least(&LEVELS), least(&OTHERS));
    let limit = -score.threshold * std::f64::consts::LN_10;
    let is_other = by_other.is_some_and(|(_, ln_p)| {
        ln_p < limit && by_level.is_none_or(|(_, by_level)| by_level > limit)
    });
    let Some((view, _)) = (if is_other { by_other } else { by_level }) else { return };
    let per_order =
        if view == View::Orders { features.speed.map_or(1.0, |s| s.hz as f32) } else { 1.0 };
    let mut total = 0.0;
    for (j, slot) in layout.slots.iter().enumerate().filter(|(_, slot)| slot.view == view) {
        let normal = baseline.predict(&fit.spot, j, layout.is_level(j));
        let off = normal.off(f64::from(values[j]));
        let share = off * off / normal.variance();
        if share.is_nan() {
            continue;
        }
        total += share;
        let at = score.contributions.partition_point(|c| f64::from(c.share) >= share);
        if at < Score::CONTRIBUTIONS_MAX {
            score.contributions.truncate(Score::CONTRIBUTIONS_MAX - 1);
            let change = match view {
                View::Fluctuation => Change::Fluctuation,
                View::Envelope => Change::Shocks,
                View::Indicators if !layout.is_level(j) => Change::Shocks,
                _ => Change::Level,
            };
            let contribution = Contribution {
                axis_idx: slot.axis_idx,
                band_hz: (slot.band.0 * per_order, slot.band.1 * per_order),
                change,
                db: off as f32,
                share: share as f32,
            };
            score.contributions.insert(at, contribution);
        }
    }
    for contribution in &mut score.contributions {
        contribution.share /= total.max(f64::MIN_POSITIVE) as f32;
    }
}
