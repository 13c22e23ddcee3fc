//! From the windows of the learning to a baseline: operating points, spreads, tails, and whether the
//! machine looks bad already.

use super::alarm::Alarm;
use super::baseline::{Baseline, Regime, VERSION};
use super::calibrate::Tail;
use super::layout::{Layout, View};
use super::learning::{Block, Learning};
use super::lines::{self, ALIKE, BIN_OCT, Said};
use super::places::Covariate;
use super::settling::drift;
use super::spread::{between, common, noise, noise_dof, walk};
use crate::stats::{MAD_TO_SIGMA, mad, median, median_of};

/// Operating points, at the most.
const REGIMES_MAX: usize = 24;
/// Blocks whose levels differ by more than this in the mean square are two operating points, dB; what
/// differs less is the same one from day to day.
const JOIN_DB: f64 = 4.0;
/// A window beyond so many robust standard deviations is not learned from.
const OUTLIER_MADS: f64 = 5.0;
/// Sessions per operating point from which points count as revisited.
const VISITS_MIN: usize = 2;
/// A block that is more than this share of its operating point cannot be held out.
const HELD_OUT_MAX: f64 = 0.75;
/// Scores hang together until their autocorrelation is under this (`domain.md` 6.3).
const MEMORY_FADED: f64 = 0.2;
/// Bounds of that time, seconds: from a thermal cycle to a day.
const MEMORY_MIN_S: f64 = 600.0;
const MEMORY_MAX_S: f64 = 86_400.0;
/// Longest memories a learning must have watched in one go to measure it.
const MEMORY_N: f64 = 10.0;
/// Healthy machines hum and hiss: kurtosis 1.5 (sine) to about 4; beyond this something knocks.
const KNOCKING_KURTOSIS: f64 = 6.0;

/// A window's place along `covariate`, in octaves; NaN where its speed is unknown.
fn place_of(covariate: Covariate, ln_speed: f32) -> f64 {
    match covariate {
        Covariate::None | Covariate::Lines => 0.0,
        Covariate::Speed => f64::from(ln_speed) / std::f64::consts::LN_2,
    }
}

/// A block's mean vector and where it lies.
pub(super) struct Point {
    pub(super) block: Block,
    pub(super) mean: Vec<f32>,
    place: f64,
    pub(super) level_db: f64,
    pub(super) regime: usize,
}

impl Point {
    /// Whether it lies within `same` of another place.
    pub(super) fn is_near(&self, other: &Self, same: f64) -> bool {
        (self.place - other.place).abs() <= same
    }

    /// Its pattern of lines, as one learned pattern.
    fn lines(&self, at: &std::ops::Range<usize>) -> impl Iterator<Item = &[f32]> {
        std::iter::once(&self.mean[at.clone()])
    }
}

/// Blocks and operating points, before anything is fitted to them. `learning` loses its outliers on the way
/// and counts them.
pub(super) fn sketch(learning: &mut Learning, layout: &Layout) -> (Baseline, Vec<Point>) {
    leave_out_floor(learning, layout);
    screen(learning, layout);
    let blocks = learning.blocks();
    let covariate = covariate(learning);
    let mut points: Vec<Point> = blocks.iter().map(|b| point(learning, b, covariate)).collect();
    let mut baseline = Baseline {
        version: VERSION,
        layout: layout.clone(),
        covariate,
        noise: noise(learning, layout, &points),
        noise_dof: [1.0; View::N],
        tails_between: [Tail::between(); View::N],
        ..Baseline::default()
    };
    baseline.noise_dof = noise_dof(learning, layout, &points, &baseline.noise);
    group(&mut baseline, &mut points, REGIMES_MAX);
    (baseline, points)
}

/// Fits everything. `learning` loses its outliers on the way and counts them.
pub(super) fn fit(learning: &mut Learning, layout: &Layout, budget_per_year: f64) -> Baseline {
    let (mut baseline, mut points) = sketch(learning, layout);
    let same = baseline.covariate.same();
    arrange(&mut baseline, learning, &mut points);
    baseline.between = between(&baseline, &points);
    baseline.common = common(&baseline, learning, layout, &points);
    walk(&mut baseline, layout);
    calibrate(&mut baseline, learning, &points);
    baseline.memory_s = memory_s(&baseline, learning, &points);
    baseline.suspect = suspect(learning, layout, &points, same);
    baseline.supports_per_year = supports(&baseline, budget_per_year);
    baseline
}

/// The tightest budget the data support, by the view they say least about; never tighter than asked.
fn supports(baseline: &Baseline, budget_per_year: f64) -> Option<f64> {
    let asked = Alarm::ln_per_block(budget_per_year, baseline.memory_s);
    let used = baseline.tails.iter().filter(|tail| tail.is_used());
    let each = used.map(|tail| tail.ln_p_supported(asked));
    let worst = each.reduce(|a, b| Some(a?.max(b?)))??;
    Some(Alarm::per_year(worst, baseline.memory_s).max(budget_per_year))
}

/// What orders the operating points: the speed, where every window has one.
fn covariate(learning: &Learning) -> Covariate {
    let is_known = learning.windows.iter().all(|window| !window.ln_speed.is_nan());
    if is_known { Covariate::Speed } else { Covariate::None }
}

/// Leaves out levels that most windows have at the floor: they say nothing but the level of the whole again.
fn leave_out_floor(learning: &mut Learning, layout: &Layout) {
    let n = learning.windows.len();
    for j in 0..layout.lines().start {
        let at_floor = (0..n).filter(|&i| layout.is_at_floor(j, learning.vector(i)));
        if 2 * at_floor.count() > n {
            learning.blank(j);
        }
    }
}

/// Drops windows far from the median of their own block and its neighbours of the same point.
fn screen(learning: &mut Learning, layout: &Layout) {
    let mut out = vec![false; learning.windows.len()];
    let mut scratch = Vec::new();
    for block in learning.blocks() {
        let range = block.range;
        if range.len() < 8 {
            continue;
        }
        let mut distance = vec![0.0; range.len()];
        for j in 0..layout.slots.len() {
            let column = range.clone().map(|i| f64::from(learning.vector(i)[j]));
            let middle = median_of(column.filter(|x| !x.is_nan()), &mut scratch);
            for (k, i) in range.clone().enumerate() {
                let off = f64::from(learning.vector(i)[j]) - middle;
                distance[k] += if off.is_nan() { 0.0 } else { off.abs() };
            }
        }
        let middle = median(&mut distance.clone());
        let sigma = MAD_TO_SIGMA * mad(&mut distance.clone(), middle);
        for (k, i) in range.enumerate() {
            out[i] = sigma > 0.0 && distance[k] - middle > OUTLIER_MADS * sigma;
        }
    }
    let n_out = out.iter().filter(|&&is_out| is_out).count();
    if n_out > 0 {
        learning.refuse("beyond 5 MAD of its neighbours", n_out);
        learning.retain(&out);
    }
}

fn point(learning: &Learning, block: &Block, covariate: Covariate) -> Point {
    let n = learning.n_slots();
    let (mut sum, mut count) = (vec![0.0_f64; n], vec![0.0_f64; n]);
    let (mut place, mut level_db) = (0.0, 0.0);
    for i in block.range.clone() {
        for (j, &value) in learning.vector(i).iter().enumerate() {
            if !value.is_nan() {
                sum[j] += f64::from(value);
                count[j] += 1.0;
            }
        }
        let window = &learning.windows[i];
        place += place_of(covariate, window.ln_speed);
        level_db += f64::from(window.level_db);
    }
    let length = block.range.len() as f64;
    let mean = sum.iter().zip(&count).map(|(s, c)| (s / c) as f32).collect();
    let place = place / length;
    Point { block: block.clone(), mean, place, level_db: level_db / length, regime: 0 }
}

/// Adds the operating points of another learning to a baseline, its limits as they are; whether they were
/// fit to be added. A machine that looks bad in them, and one with no room for more, adds nothing.
///
/// The baseline as it was is kept as its first, if it has none yet.
pub(super) fn extend(baseline: &mut Baseline, learning: &mut Learning) -> bool {
    let layout = baseline.layout.clone();
    screen(learning, &layout);
    let covariate = baseline.covariate;
    let blocks = learning.blocks();
    let mut points: Vec<Point> = blocks.iter().map(|b| point(learning, b, covariate)).collect();
    let n_before = baseline.regimes.len();
    let room = REGIMES_MAX.saturating_sub(n_before);
    let same = if covariate == Covariate::Speed { covariate.same() } else { f64::INFINITY };
    if points.is_empty() || room == 0 || suspect(learning, &layout, &points, same).is_some() {
        return false;
    }
    if baseline.first.is_none() {
        baseline.first = Some(Box::new(baseline.clone()));
    }
    baseline.n_learned.get_or_insert(n_before);
    group(baseline, &mut points, room);
    if covariate == Covariate::Lines {
        for i in n_before..baseline.regimes.len() {
            let lines = std::mem::take(&mut baseline.regimes[i].lines);
            let peak = baseline.locate(&lines);
            let place = f64::from(peak.at) * BIN_OCT;
            let regime = &mut baseline.regimes[i];
            (regime.lines, regime.place) = (lines, (peak.likeness >= ALIKE).then_some(place));
        }
    }
    true
}

/// Joins blocks to operating points, in the order they came, and gives each its mean.
fn group(baseline: &mut Baseline, points: &mut [Point], most: usize) {
    let same = baseline.covariate.same();
    let lines = baseline.layout.lines();
    let mut members: Vec<Vec<usize>> = Vec::new();
    for i in 0..points.len() {
        let near = |g: &Vec<usize>| {
            let (first, own) = (&points[g[0]], &points[i]);
            let is_moved = || lines::compare(&own.mean[lines.clone()], first.lines(&lines));
            if same.is_infinite() { is_moved() != Said::Other } else { own.is_near(first, same) }
        };
        let distance = |g: &Vec<usize>| {
            let sum: f64 = g.iter().map(|&k| apart(baseline, &points[k], &points[i])).sum();
            sum / g.len() as f64
        };
        let best = members
            .iter()
            .enumerate()
            .filter(|(_, g)| near(g) || members.len() >= most)
            .map(|(at, g)| (at, distance(g)))
            .min_by(|a, b| a.1.total_cmp(&b.1));
        match best {
            Some((at, d)) if d <= JOIN_DB * JOIN_DB || members.len() >= most => {
                members[at].push(i);
            }
            _ => members.push(vec![i]),
        }
    }
    for (regime, group) in members.iter().enumerate() {
        for &i in group {
            points[i].regime = regime;
        }
        let mut regime = regime_of(points, group);
        let lines = baseline.layout.lines();
        regime.lines = lines.map(|j| regime.mean[j].unwrap_or(0.0)).collect();
        baseline.regimes.push(regime);
    }
}

/// Where nobody says the speed, but the lines of the operating points are one pattern that moves with it,
/// they are put in the order of their speeds.
fn arrange(baseline: &mut Baseline, learning: &Learning, points: &mut [Point]) {
    if baseline.covariate != Covariate::None || baseline.layout.lines().is_empty() {
        return;
    }
    let patterns: Vec<&[f32]> = baseline.regimes.iter().map(|r| r.lines.as_slice()).collect();
    let places = lines::arrange(&patterns);
    let placed = || places.iter().flatten();
    let same = (Covariate::Lines.same() / BIN_OCT).round() as i32;
    if placed().max().zip(placed().min()).is_none_or(|(high, low)| high - low <= same) {
        return;
    }
    baseline.covariate = Covariate::Lines;
    for (regime, place) in baseline.regimes.iter_mut().zip(&places) {
        regime.place = place.map(|bins| f64::from(bins) * BIN_OCT);
    }
    for point in points.iter_mut() {
        point.place = baseline.regimes[point.regime].at();
    }
    let known = |but: usize| {
        let all = places.iter().zip(&baseline.regimes).enumerate();
        all.filter(move |(k, _)| *k != but)
            .filter_map(|(_, (place, regime))| Some(((*place)?, regime.lines.as_slice())))
    };
    let placed = points.iter().filter(|point| !point.place.is_nan());
    let windows = placed.flat_map(|point| point.block.range.clone().map(|i| (i, point.regime)));
    let lines = baseline.layout.lines();
    let likeness = windows.map(|(i, regime)| {
        lines::locate(&learning.vector(i)[lines.clone()], || known(regime)).likeness
    });
    baseline.likeness = median_of(likeness, &mut Vec::new());
}

/// Mean square of the differences of two blocks' levels beyond what their noise explains, dB2.
fn apart(baseline: &Baseline, a: &Point, b: &Point) -> f64 {
    let share = 1.0 / a.block.range.len() as f64 + 1.0 / b.block.range.len() as f64;
    let (mut sum, mut n) = (0.0, 0.0);
    for j in 0..baseline.layout.lines().start {
        let off = f64::from(a.mean[j] - b.mean[j]);
        if !off.is_nan() {
            sum += off * off - f64::from(baseline.noise[j]) * share;
            n += 1.0;
        }
    }
    if n > 0.0 { sum / n } else { 0.0 }
}

fn regime_of(points: &[Point], group: &[usize]) -> Regime {
    let n_slots = points[group[0]].mean.len();
    let n_windows: f64 = group.iter().map(|&i| points[i].block.range.len() as f64).sum();
    let share = |i: usize| points[i].block.range.len() as f64 / n_windows;
    let mean = (0..n_slots)
        .map(|j| {
            let seen = group.iter().filter(|&&i| !points[i].mean[j].is_nan());
            let (sum, n) = seen.fold((0.0, 0.0), |(sum, n), &i| {
                let weight = points[i].block.range.len() as f64;
                (sum + weight * f64::from(points[i].mean[j]), n + weight)
            });
            (n > 0.0).then_some((sum / n) as f32)
        })
        .collect();
    Regime {
        place: Some(group.iter().map(|&i| share(i) * points[i].place).sum()),
        level_db: group.iter().map(|&i| share(i) * points[i].level_db).sum(),
        n_blocks: group.iter().map(|&i| points[i].block.weight).sum(),
        n_windows,
        mean,
        lines: Vec::new(),
        adapted: vec![0.0; n_slots],
    }
}

/// Scores every session against its operating point without itself, and sets the tails; where there
/// is but one session, every block. A session that is alone at its operating point is scored against
/// the others where points are usually revisited: it shows what a new session may be like. So it does
/// for a microphone, to which a room that changed is no operating point of the machine.
fn calibrate(baseline: &mut Baseline, learning: &Learning, points: &[Point]) {
    let session = |point: &Point| learning.windows[point.block.range.start].session;
    let n_sessions = points.iter().map(session).max().map_or(0, |last| last + 1);
    let is_room = baseline.layout.is_sound() && baseline.covariate == Covariate::None;
    let is_revisited = baseline.covariate != Covariate::Speed
        && (is_room || n_sessions as usize >= VISITS_MIN * baseline.regimes.len());
    let (mut tails, mut between) = (baseline.tails, baseline.tails_between);
    for (i, point) in points.iter().enumerate() {
        let is_own = |(k, other): &(usize, &Point)| {
            let same = other.regime == point.regime && session(other) == session(point);
            *k == i || (n_sessions > 1 && same)
        };
        let group: Vec<usize> = points.iter().enumerate().filter(is_own).map(|(k, _)| k).collect();
        let own = regime_of(points, &group);
        let held_out = own.n_windows / baseline.regimes[point.regime].n_windows;
        let is_alone = held_out > HELD_OUT_MAX;
        if is_alone {
            learn_between(&mut between, baseline, learning, point);
        }
        if is_alone && !is_revisited {
            continue;
        }
        let own: Vec<f32> = (0..own.mean.len()).map(|j| own.normal(j)).collect();
        let weight = point.block.weight / point.block.range.len() as f64;
        for k in point.block.range.clone() {
            let values = learning.vector(k);
            let fit = if is_alone {
                baseline.explain_without(values, point.regime)
            } else {
                Some(baseline.fit_held_out(values, point.regime, held_out, &own))
            };
            let Some(fit) = fit else { continue };
            for (tail, raw) in tails.iter_mut().zip(fit.raw) {
                if let Some(raw) = raw {
                    tail.learn(raw, weight);
                }
            }
        }
    }
    (baseline.tails, baseline.tails_between) = (tails, between);
}

/// Scores an operating point that was visited once from its neighbours, as a new one between learned
/// ones would be.
fn learn_between(tails: &mut [Tail], baseline: &Baseline, learning: &Learning, point: &Point) {
    let weight = point.block.weight / point.block.range.len() as f64;
    for k in point.block.range.clone() {
        let Some(fit) = baseline.explain_between(learning.vector(k), point.regime) else {
            continue;
        };
        for (tail, raw) in tails.iter_mut().zip(fit.raw) {
            if let Some(raw) = raw {
                tail.learn(raw, weight);
            }
        }
    }
}

/// Time after which scores no longer hang together, seconds: the first lag at which their
/// autocorrelation has faded, where one session was long enough to see it, else a day.
fn memory_s(baseline: &Baseline, learning: &Learning, points: &[Point]) -> f64 {
    if !learning.is_one_session() || learning.secs < MEMORY_N * MEMORY_MAX_S {
        return MEMORY_MAX_S;
    }
    let scores: Vec<f64> = points
        .iter()
        .flat_map(|point| point.block.range.clone().map(move |i| (i, point)))
        .map(|(i, point)| {
            -baseline.fit_held_out(learning.vector(i), point.regime, 0.0, &point.mean).ln_p
        })
        .collect();
    let n = scores.len();
    let every_s = learning.secs / n as f64;
    let mean = scores.iter().sum::<f64>() / n as f64;
    let covariance = |lag: usize| -> f64 {
        scores.iter().zip(&scores[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let whole = covariance(0);
    let lag = (1..n / 4).find(|&lag| covariance(lag) < MEMORY_FADED * whole).unwrap_or(n / 4);
    (lag as f64 * every_s).clamp(MEMORY_MIN_S, MEMORY_MAX_S)
}

/// Why the machine looks bad already, if it does.
fn suspect(learning: &Learning, layout: &Layout, points: &[Point], same: f64) -> Option<String> {
    let mut scratch = Vec::new();
    for (j, slot) in layout.slots.iter().enumerate() {
        let is_kurtosis = slot.view == View::Indicators && j >= 2 && layout.is_level(j - 2);
        if is_kurtosis {
            let all = (0..learning.windows.len()).map(|i| f64::from(learning.vector(i)[j]));
            let kurtosis = 10_f64.powf(median_of(all.filter(|x| !x.is_nan()), &mut scratch) / 10.0);
            if kurtosis > KNOCKING_KURTOSIS {
                return Some(format!(
                    "axis {} knocks: median kurtosis {kurtosis:.1}, healthy machines have 1.5 to 4",
                    slot.axis_idx
                ));
            }
        }
    }
    drift(learning, layout, points, same)
}
