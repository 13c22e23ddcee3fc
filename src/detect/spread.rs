//! How much the numbers of a healthy machine vary: from window to window, from session to session, from
//! speed to speed, and how much of that all levels do together. What physics expects is updated by what
//! was learned.

use super::baseline::{Baseline, Common};
use super::fit::Point;
use super::layout::{Layout, View};
use super::learning::Learning;
use super::surprise::correlated_dof;
use crate::stats::median_of;

/// Standard deviation of a level from session to session before anything is learned, dB: a sensor
/// left in place on a machine in the same state repeats to some 15 % (two of these); 6 dB is what
/// practice calls a change.
const SESSION_DB: f64 = 0.6;
/// The same of a band of sound, dB: a microphone hears the room and its other machines too. What a careful
/// survey repeats to in the octaves from 500 Hz to 4 kHz (ISO 3744).
const SOUND_SESSION_DB: f64 = 1.5;
/// Standard deviation of the level of a tone in a room, dB: a few degrees or a speed a little different
/// move it from crest to trough of the standing waves.
const TONE_DB: f64 = 5.57;
/// Reverberation time of a workshop, seconds.
const ROOM_S: f64 = 0.5;
/// Weight of these priors, in independent sessions: machines differ in it by a factor of two either way.
const SESSION_N: f64 = 6.0;
/// Standard deviation of all sound levels together from session to session before anything is learned,
/// dB: distance, reflections and a door make a survey no more reproducible (ISO 3746).
const SOUND_DB: f64 = 3.0;
/// Share of a level's variance from session to session, and from speed to speed, that moves all levels
/// together, before anything is learned: on one mounting it is mostly the load that changes.
const COMMON_SHARE: f64 = 0.7;
/// No level is steadier than this from session to session (heat, wear, mains), dB.
const SESSION_MIN_DB: f64 = 0.25;
/// Weight of the physics of sampling against measured window-to-window spread, in windows: a few of them
/// make some number look steady by chance.
const NOISE_N: f64 = 32.0;
/// Weight of the prior on the noise's degrees of freedom, in windows.
const DOF_N: f64 = 16.0;
/// Windows a block needs for its mean not to swallow their noise.
const BLOCK_WINDOWS_MIN: usize = 4;
/// No number is steadier than this from window to window, dB.
const NOISE_MIN_DB: f64 = 0.1;
/// Spread a level gains per octave of speed before two speeds were learned, dB: acceleration of an
/// unbalance goes with the square of speed (12 dB per octave), of most other sources less.
const WALK_DB: f64 = 12.0;
/// Weight of that prior, in pairs of operating points.
const WALK_N: f64 = 1.0;

/// Window-to-window variance within blocks, shrunk to what sampling alone gives.
pub(super) fn noise(learning: &Learning, layout: &Layout, points: &[Point]) -> Vec<f32> {
    let n = layout.slots.len();
    let (mut squares, mut dof) = (vec![0.0_f64; n], vec![0.0_f64; n]);
    for point in points {
        for i in point.block.range.clone() {
            for (j, &value) in learning.vector(i).iter().enumerate() {
                let off = f64::from(value - point.mean[j]);
                if !off.is_nan() {
                    squares[j] += off * off;
                    dof[j] += 1.0;
                }
            }
        }
        for (j, dof) in dof.iter_mut().enumerate() {
            *dof -= if point.mean[j].is_nan() { 0.0 } else { 1.0 };
        }
    }
    (0..n)
        .map(|j| {
            let prior = f64::from(layout.slots[j].noise_db).powi(2);
            let variance = (NOISE_N * prior + squares[j]) / (NOISE_N + dof[j].max(0.0));
            variance.max(NOISE_MIN_DB * NOISE_MIN_DB) as f32
        })
        .collect()
}

/// Degrees of freedom of each view's noise: from how the mean square of its numbers varies from window
/// to window (2 / variance for a chi-squared variable over its mean), shrunk to that of correlated
/// numbers.
pub(super) fn noise_dof(
    learning: &Learning,
    layout: &Layout,
    points: &[Point],
    noise: &[f32],
) -> [f64; View::N] {
    std::array::from_fn(|v| {
        let slots: Vec<usize> = (0..layout.lines().start)
            .filter(|&j| layout.slots[j].view as usize == v && !points[0].mean[j].is_nan())
            .collect();
        let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for point in points.iter().filter(|point| point.block.range.len() >= BLOCK_WINDOWS_MIN) {
            for i in point.block.range.clone() {
                let off2 = |&j: &usize| {
                    let off = f64::from(learning.vector(i)[j] - point.mean[j]);
                    off * off / f64::from(noise[j])
                };
                let q = slots.iter().map(off2).sum::<f64>() / slots.len() as f64;
                if !q.is_nan() {
                    (n, sum, squares) = (n + 1.0, sum + q, squares + q * q);
                }
            }
        }
        let prior = correlated_dof(slots.len().max(1) as f64).recip();
        if n < 2.0 {
            return prior.recip();
        }
        let mean = sum / n;
        let measured = (squares / n - mean * mean).max(0.0) / (2.0 * mean * mean);
        ((DOF_N * prior + n * measured) / (DOF_N + n)).recip()
    })
}

/// Session-to-session variance before anything is learned, dB2.
///
/// # Source
/// Sound: variance of the level of a band in a room, Lubman, J. Acoust. Soc. Am. 44 (1968) 1491.
fn session_db2(layout: &Layout, j: usize) -> f64 {
    let slot = layout.slots[j];
    let is_level = matches!(slot.view, View::Bands | View::Octaves | View::Orders | View::Model);
    if slot.view == View::Fluctuation {
        return SOUND_SESSION_DB * SOUND_SESSION_DB;
    }
    if !layout.is_sound() || !is_level {
        return SESSION_DB * SESSION_DB;
    }
    let modes = f64::from(slot.band.1 - slot.band.0) * ROOM_S / 6.9;
    SOUND_SESSION_DB * SOUND_SESSION_DB + TONE_DB * TONE_DB / (1.0 + modes)
}

/// Session-to-session variance from blocks of the same operating point, shrunk to the prior.
pub(super) fn between(baseline: &Baseline, points: &[Point]) -> Vec<f32> {
    let sizes: Vec<f64> = (0..baseline.regimes.len())
        .map(|r| points.iter().filter(|point| point.regime == r).count() as f64)
        .collect();
    (0..baseline.n_slots())
        .map(|j| {
            let (mut squares, mut dof) = (0.0, 0.0);
            for point in points {
                let n = sizes[point.regime];
                let off = f64::from(point.mean[j] - baseline.regimes[point.regime].normal(j));
                if n < 2.0 || off.is_nan() {
                    continue;
                }
                let expected = f64::from(baseline.noise[j]) / point.block.range.len() as f64;
                let free = (n - 1.0) / n;
                squares += point.block.weight * (off * off - expected * free);
                dof += point.block.weight * free;
            }
            let prior = session_db2(&baseline.layout, j);
            let variance = (SESSION_N * prior + squares.max(0.0)) / (SESSION_N + dof);
            variance.max(SESSION_MIN_DB * SESSION_MIN_DB) as f32
        })
        .collect()
}

/// Variances of what moves all levels together, from window to window within blocks and from block to
/// block of the same operating point, each shrunk to its prior.
pub(super) fn common(
    baseline: &Baseline,
    learning: &Learning,
    layout: &Layout,
    points: &[Point],
) -> Common {
    let levels: Vec<usize> = (0..layout.lines().start).filter(|&j| layout.is_level(j)).collect();
    let mut scratch = Vec::new();
    let mut middle = |off: &dyn Fn(usize) -> f32| {
        let offs = levels.iter().map(|&j| f64::from(off(j))).filter(|x| !x.is_nan());
        median_of(offs, &mut scratch)
    };
    let (mut noise, mut noise_n) = (0.0, 0.0);
    let (mut between, mut between_n) = (0.0, 0.0);
    for point in points {
        let n = point.block.range.len() as f64;
        for i in point.block.range.clone() {
            let values = learning.vector(i);
            noise += middle(&|j| values[j] - point.mean[j]).powi(2);
        }
        noise_n += n - 1.0;
        let regime = &baseline.regimes[point.regime];
        let share = (point.block.weight / regime.n_blocks).min(1.0);
        between += point.block.weight * middle(&|j| point.mean[j] - regime.normal(j)).powi(2);
        between_n += point.block.weight * (1.0 - share);
    }
    let prior = if layout.is_sound() {
        SOUND_DB * SOUND_DB
    } else {
        COMMON_SHARE * SESSION_DB * SESSION_DB
    };
    Common {
        noise: noise / (NOISE_N + noise_n),
        between: (SESSION_N * prior + between) / (SESSION_N + between_n),
        walk: 0.0,
    }
}

/// How levels change from one operating point to the next: the common slope and the rest.
pub(super) fn walk(baseline: &mut Baseline, layout: &Layout) {
    let n = layout.slots.len();
    let mut order: Vec<usize> = (0..baseline.regimes.len()).collect();
    order.retain(|&i| baseline.regimes[i].place.is_some());
    order.sort_by(|&a, &b| baseline.regimes[a].at().total_cmp(&baseline.regimes[b].at()));
    let (mut squares, mut n_pairs, mut steps) = (vec![0.0_f64; n], 0.0, Vec::new());
    let mut scratch = Vec::new();
    for pair in order.windows(2) {
        let (low, high) = (&baseline.regimes[pair[0]], &baseline.regimes[pair[1]]);
        let gap = high.at() - low.at();
        if gap.is_nan() || gap <= baseline.covariate.same() {
            continue;
        }
        let step = |j: usize| f64::from(high.normal(j) - low.normal(j));
        let levels = (0..n).filter(|&j| layout.is_level(j)).map(step).filter(|d| !d.is_nan());
        let common = median_of(levels, &mut scratch);
        for (j, square) in squares.iter_mut().enumerate() {
            let common = if layout.is_level(j) { common } else { 0.0 };
            let fixed = step(j) - common;
            let moved = f64::from(high.normal(j)) - baseline.moved(low, high.at(), j) - common;
            let off = if fixed * moved < 0.0 { 0.0 } else { fixed.abs().min(moved.abs()) };
            *square += if off.is_nan() { 0.0 } else { off * off / gap };
        }
        steps.push((common, gap));
        n_pairs += 1.0;
    }
    let slopes = steps.iter().map(|(common, gap)| common / gap);
    let slope_db = if steps.is_empty() { 0.0 } else { median_of(slopes, &mut scratch) };
    baseline.slope_db = slope_db;
    let off2 = |(common, gap): &(f64, f64)| (common - slope_db * gap).powi(2) / gap;
    let common: f64 = steps.iter().map(off2).sum();
    baseline.common.walk =
        (WALK_N * COMMON_SHARE * WALK_DB * WALK_DB + common) / (WALK_N + n_pairs);
    let pool: f64 = squares.iter().sum::<f64>() / n as f64;
    let prior = (WALK_N * (1.0 - COMMON_SHARE) * WALK_DB * WALK_DB + pool) / (WALK_N + n_pairs);
    baseline.walk = squares
        .iter()
        .map(|square| ((WALK_N * prior + square) / (WALK_N + n_pairs)) as f32)
        .collect();
}
