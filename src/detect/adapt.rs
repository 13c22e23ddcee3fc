//! How a baseline may change by itself: slowly, a little, and never while anything is the matter.

use super::baseline::Baseline;
use super::places::Spot;

/// Fastest adaptation of a number, dB per second: half a decibel per week.
const RATE_DB_PER_S: f64 = 0.5 / (7.0 * 86_400.0);
/// Farthest a normal may walk from what was learned, dB: half of what practice calls a change.
const ADAPTED_MAX_DB: f32 = 3.0;

/// Moves the normal at a learned operating point towards a healthy window that stands for `every_s`.
///
/// Does nothing between or beyond learned points.
pub(super) fn adapt(baseline: &mut Baseline, spot: &Spot, values: &[f32], every_s: f64) {
    if !spot.is_learned {
        return;
    }
    let regime = &mut baseline.regimes[spot.near];
    let most = (RATE_DB_PER_S * every_s) as f32;
    for (j, &value) in values.iter().enumerate() {
        let off = value - regime.normal(j);
        if !off.is_nan() {
            let adapted = regime.adapted[j] + off.clamp(-1.0, 1.0) * most;
            regime.adapted[j] = adapted.clamp(-ADAPTED_MAX_DB, ADAPTED_MAX_DB);
        }
    }
}

/// Back to what was learned at first: without adaptation, and without operating points that came later.
pub(super) fn roll_back(baseline: &mut Baseline) {
    if let Some(n) = baseline.n_learned {
        baseline.regimes.truncate(n);
    }
    for regime in &mut baseline.regimes {
        regime.adapted.fill(0.0);
    }
}
