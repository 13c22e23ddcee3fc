//! Is this the same speed? Lines of a spectrum move together when a shaft's speed changes, and stay
//! where they are when a fault grows.

use crate::types::Features;

/// Grid of the pattern: each bin is one per cent above the last.
const STEP: f64 = 1.01;
/// One bin in octaves.
pub(super) const BIN_OCT: f64 = 0.014_355_292_977_070_05;
/// Bins of the pattern, at the most: 8.6 octaves.
const BINS_MAX: usize = 600;
/// Lowest bin of the spectrum looked at: there 3 % of speed move a line by the 1.5 bins that a Hann
/// window tells apart.
const LOWEST_BIN: f64 = 50.0;
/// Fewest bins of a pattern: over less than an octave lines are too few to say anything.
const BINS_MIN: usize = 70;
/// Half-width of the floor that lines stand out from, bins.
const FLOOR_BINS: usize = 12;
/// Largest change of speed looked for: 1.01^40, half as fast again.
const SHIFT_MAX: usize = 40;
/// Shifts up to this are the same speed.
const SHIFT_SAME: usize = 1;
/// Correlation from which two patterns are the same lines: hundreds of bins of noise stay far below.
pub(super) const ALIKE: f64 = 0.5;
/// Of two matches, one in place and one moved, the lesser says nothing below this share of the other;
/// above it neither does.
pub(super) const CLEARLY: f64 = 0.8;

/// Frequencies of the pattern's bins, Hz, in steps of one per cent; empty where the spectrum is too
/// coarse for any.
pub(super) fn grid(features: &Features) -> Vec<f32> {
    let spectrum = &features.axes[0].spectrum;
    let high = 0.45 * features.rate_hz;
    let low = (LOWEST_BIN * spectrum.df_hz).max(high / STEP.powi(BINS_MAX as i32));
    if spectrum.power.is_empty() || low <= 0.0 || low >= high {
        return Vec::new();
    }
    let n = ((high / low).ln() / STEP.ln()) as usize;
    if n < BINS_MIN {
        return Vec::new();
    }
    (0..n).map(|i| (low * STEP.powi(i as i32)) as f32).collect()
}

/// Appends the pattern of lines of all axes together: how far each bin stands over its surroundings,
/// in tenths of decades of power, 0 where it does not. `scratch` is overwritten.
pub(super) fn pattern(
    features: &Features,
    grid: &[f32],
    scratch: &mut Vec<f32>,
    out: &mut Vec<f32>,
) {
    scratch.clear();
    scratch.extend(grid.iter().map(|&hz| {
        let power: f32 = features
            .axes
            .iter()
            .filter(|axis| !axis.quality.is_blind())
            .map(|axis| {
                let df = axis.spectrum.df_hz.max(f64::MIN_POSITIVE) as f32;
                let low = (hz / df).round() as usize;
                let high = ((hz * STEP as f32) / df).round() as usize;
                let bins = axis.spectrum.power.get(low..=high.max(low)).unwrap_or(&[]);
                bins.iter().copied().fold(0.0, f32::max)
            })
            .sum();
        power.max(1e-30).log10()
    }));
    // Not the mean: over the edge of what a sensor hears it would make a line that never moves.
    let mut around = Sorted::default();
    scratch.iter().take(FLOOR_BINS).for_each(|&power| around.insert(power));
    out.extend(scratch.iter().enumerate().map(|(i, power)| {
        if let Some(&next) = scratch.get(i + FLOOR_BINS) {
            around.insert(next);
        }
        if let Some(last) = i.checked_sub(FLOOR_BINS + 1) {
            around.remove(scratch[last]);
        }
        (power - around.median()).max(0.0)
    }));
}

/// The surroundings of a bin, in order.
#[derive(Default)]
struct Sorted {
    values: [f32; 2 * (FLOOR_BINS + 1)],
    n: usize,
}

impl Sorted {
    fn place(&self, value: f32) -> usize {
        self.values[..self.n].partition_point(|it| *it < value)
    }

    fn insert(&mut self, value: f32) {
        let at = self.place(value);
        self.values.copy_within(at..self.n, at + 1);
        self.values[at] = value;
        self.n += 1;
    }

    fn remove(&mut self, value: f32) {
        let at = self.place(value);
        self.values.copy_within(at + 1..self.n, at);
        self.n -= 1;
    }

    fn median(&self) -> f32 {
        self.values[self.n / 2]
    }
}

/// Bins an order pattern is looked for beyond the learned ones: a machine that runs half as fast again.
const BEYOND_BINS: i32 = SHIFT_MAX as i32;
/// Farthest shift at which two patterns are compared, bins: below an octave, where every other harmonic
/// would fit again.
const REACH_BINS: i32 = 60;
/// Half-width of a peak of likeness, bins.
const PEAK_BINS: i32 = 3;

/// Share of machines whose patterns have nothing in common and are put in an order after all.
const CHANCE: f64 = 0.01;

/// Where each pattern lies, in bins against the first that was placed: lines of one machine at several
/// speeds are one pattern, moved. `None` for those that are like no other.
///
/// The surest pair comes first, then one by one what is like those already placed; a place that is not
/// clearly the best, or no better than the best of all that were tried would be by chance, is none. Where
/// only a minority has a place, that is chance too, and none has.
pub(super) fn arrange(patterns: &[&[f32]]) -> Vec<Option<i32>> {
    let patterns: Vec<Vec<f32>> = patterns.iter().map(|pattern| centred(pattern)).collect();
    let mut places: Vec<Option<i32>> = vec![None; patterns.len()];
    let pairs = (0..patterns.len()).flat_map(|a| (a + 1..patterns.len()).map(move |b| (a, b)));
    let side_by_side =
        |(a, b): (usize, usize)| ((a, b), Match::of(&patterns[b], &[(0, patterns[a].as_slice())]));
    let Some(((a, b), at)) = surest(pairs.map(side_by_side)) else { return places };
    (places[a], places[b]) = (Some(0), Some(at));
    loop {
        let placed = places.iter().zip(&patterns);
        let known: Vec<_> = placed.filter_map(|(at, p)| Some(((*at)?, p.as_slice()))).collect();
        let open = (0..patterns.len()).filter(|&i| places[i].is_none());
        let Some((i, at)) = surest(open.map(|i| (i, Match::of(&patterns[i], &known)))) else {
            let is_most = 2 * known.len() > patterns.len();
            return if is_most { places } else { vec![None; patterns.len()] };
        };
        places[i] = Some(at);
    }
}

/// A pattern without its mean: what has nothing in common is then like nothing on average.
fn centred(pattern: &[f32]) -> Vec<f32> {
    let mean = pattern.iter().sum::<f32>() / pattern.len().max(1) as f32;
    pattern.iter().map(|x| x - mean).collect()
}

/// How a pattern fits known ones at its best place, against how it fits at all the others.
#[derive(Clone, Copy, Debug)]
struct Match {
    /// Bins.
    at: i32,
    /// Standard deviations over the likeness at other places.
    score: f64,
    /// Whether no other place is nearly as good.
    is_clear: bool,
    /// Places looked at.
    n_looks: usize,
}

impl Match {
    /// Looks for `seen` around `known` patterns (place in bins, pattern), all centred.
    fn of(seen: &[f32], known: &[(i32, &[f32])]) -> Self {
        let ends = known.iter().map(|(at, _)| *at);
        let low = ends.clone().min().unwrap_or(0) - REACH_BINS;
        let high = ends.max().unwrap_or(0) + REACH_BINS;
        let likeness = |place: i32| {
            let near = known.iter().filter(|(at, _)| (place - at).abs() <= REACH_BINS);
            let (n, sum) = near.fold((0, 0.0), |(n, sum), (at, pattern)| {
                let n_common = seen.len().saturating_sub((place - at).unsigned_abs() as usize);
                (n + 1, sum + moved(seen, pattern, place - at) * (n_common as f64).sqrt())
            });
            // Scaled so that chance scatters alike at every place.
            (n > 0).then(|| sum / f64::from(n).sqrt())
        };
        let all: Vec<(i32, Option<f64>)> = (low..=high).map(|at| (at, likeness(at))).collect();
        let peak = best_of(low..=high, |at| all[(at - low) as usize].1);
        let others = all.iter().filter(|(at, _)| (at - peak.at).abs() > PEAK_BINS);
        let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for r in others.filter_map(|(_, r)| *r) {
            (n, sum, squares) = (n + 1.0, sum + r, squares + r * r);
        }
        let mean = sum / n;
        Self {
            at: peak.at,
            score: (peak.likeness - mean) / (squares / n - mean * mean).sqrt(),
            is_clear: peak.next < CLEARLY * peak.likeness,
            n_looks: all.len(),
        }
    }
}

/// The surest of several matches and its place, if it is beyond the best of all looks by chance. A few
/// strong lines that meet by accident make the scatter of likeness long-tailed: it is taken for a Laplace
/// distribution of the standard deviation seen.
fn surest<T>(all: impl Iterator<Item = (T, Match)>) -> Option<(T, i32)> {
    let all: Vec<(T, Match)> = all.collect();
    let n_looks: usize = all.iter().map(|(_, found)| found.n_looks).sum();
    let limit = (n_looks as f64 / (2.0 * CHANCE)).ln() / std::f64::consts::SQRT_2;
    let clear = all.into_iter().filter(|(_, found)| found.is_clear && found.score > limit);
    let best = clear.max_by(|a, b| a.1.score.total_cmp(&b.1.score));
    best.map(|(what, found)| (what, found.at))
}

/// The place at which a pattern is most like the known ones together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Peak {
    /// Bins.
    pub(super) at: i32,
    /// Mean likeness there, at most 1.
    pub(super) likeness: f64,
    /// The next best place outside that peak, ...
    pub(super) next_at: i32,
    /// ... and the likeness there.
    pub(super) next: f64,
}

/// Looks for a pattern among `known` ones (place in bins, pattern), as far as half as fast again.
pub(super) fn locate<'a, I: Iterator<Item = (i32, &'a [f32])>>(
    seen: &[f32],
    known: impl Fn() -> I,
) -> Peak {
    let ends = known().fold(None, |ends: Option<(i32, i32)>, (at, _)| {
        Some(ends.map_or((at, at), |(low, high)| (low.min(at), high.max(at))))
    });
    let Some((low, high)) = ends else { return Peak::default() };
    best_of(low - BEYOND_BINS..=high + BEYOND_BINS, |place| {
        let near = known().filter(|(at, _)| (place - at).abs() <= REACH_BINS);
        let each = near.map(|(at, pattern)| moved(seen, pattern, place - at));
        let (n, sum) = each.fold((0, 0.0), |(n, sum), r| (n + 1, sum + r));
        (n > 0).then(|| sum / f64::from(n))
    })
}

/// The best and the second best peak of `likeness` over a range of places.
fn best_of(range: std::ops::RangeInclusive<i32>, likeness: impl Fn(i32) -> Option<f64>) -> Peak {
    let mut peak = Peak { likeness: f64::NEG_INFINITY, next: f64::NEG_INFINITY, ..Peak::default() };
    for at in range {
        let Some(r) = likeness(at) else { continue };
        let is_same_peak = (at - peak.at).abs() <= PEAK_BINS;
        if r > peak.likeness {
            if !is_same_peak {
                (peak.next_at, peak.next) = (peak.at, peak.likeness);
            }
            (peak.at, peak.likeness) = (at, r);
        } else if r > peak.next && !is_same_peak {
            (peak.next_at, peak.next) = (at, r);
        }
    }
    peak
}

/// Likeness of what is seen to a known pattern that moved up by `shift` bins.
fn moved(seen: &[f32], known: &[f32], shift: i32) -> f64 {
    let by = shift.unsigned_abs() as usize;
    match () {
        () if by >= seen.len().min(known.len()) => 0.0,
        () if shift >= 0 => alike(&seen[by..], known),
        () => alike(seen, &known[by..]),
    }
}

/// What the lines say of the speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// They are where they were.
    Same,
    /// They are those that were learned, but moved.
    Other,
    /// Nothing: too few lines, or others.
    Nothing,
}

/// Compares a pattern with the learned ones of the same grid.
pub(super) fn compare<'a>(seen: &[f32], learned: impl Iterator<Item = &'a [f32]>) -> Said {
    let (mut in_place, mut moved) = (0.0_f64, 0.0_f64);
    for known in learned {
        for shift in 0..=SHIFT_MAX.min(seen.len() / 2) {
            let r = alike(&seen[shift..], known).max(alike(seen, &known[shift..]));
            let best = if shift <= SHIFT_SAME { &mut in_place } else { &mut moved };
            *best = best.max(r);
        }
    }
    if moved >= ALIKE && in_place < CLEARLY * moved {
        Said::Other
    } else if in_place >= ALIKE && moved < CLEARLY * in_place {
        Said::Same
    } else {
        Said::Nothing
    }
}

/// Cosine of the angle between two patterns over their common bins.
fn alike(a: &[f32], b: &[f32]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (x, y) in a.iter().zip(b) {
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    let norm = f64::from(aa).sqrt() * f64::from(bb).sqrt();
    if norm > 0.0 { f64::from(ab) / norm } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines at every harmonic of a shaft, on a grid of one per cent.
    fn comb(shaft_bins: usize) -> Vec<f32> {
        let mut pattern = vec![0.05; 400];
        for harmonic in 1..12 {
            let at = (f64::from(harmonic).ln() / STEP.ln()).round() as usize + shaft_bins;
            if at < pattern.len() {
                pattern[at] = 2.0;
            }
        }
        pattern
    }

    #[test]
    fn patterns_of_one_machine_are_put_in_the_order_of_its_speeds() {
        let noise = |seed: usize| -> Vec<f32> {
            (0..400).map(|i| ((i * 7919 + seed * 104_729) % 97) as f32 / 97.0).collect()
        };
        let all = [comb(60), noise(1), comb(97), comb(80), noise(5)];
        let patterns: Vec<&[f32]> = all.iter().map(Vec::as_slice).collect();
        let places = arrange(&patterns);
        let base = places[0].expect("the first is like the others");
        assert_eq!([places[2], places[3]], [Some(base + 37), Some(base + 20)], "{places:?}");
        assert_eq!([places[1], places[4]], [None, None]);
        let known = || [(0, patterns[0]), (37, patterns[2])].into_iter();
        let peak = locate(&comb(71), known);
        assert_eq!(peak.at, 11);
        assert!(peak.likeness > 0.9 && peak.next < CLEARLY * peak.likeness, "{peak:?}");
        assert_eq!(locate(&comb(120), known).at, 60);
        assert_eq!(locate(&comb(71), std::iter::empty), Peak::default());
    }

    /// Patterns of `n` recordings of a machine: its own lines, lines that come and go, and noise whose
    /// peaks differ as those of a spectrum do.
    fn recordings(seed: &mut u64, n: usize, own: &[f32], n_passing: usize) -> Vec<Vec<f32>> {
        let mut uniform = || {
            *seed =
                seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            ((*seed >> 33) as f64 + 0.5) / (1_u64 << 31) as f64
        };
        let each = |_| {
            let mut pattern: Vec<f32> = own.to_vec();
            for x in &mut pattern {
                *x += (-0.3 * uniform().ln()) as f32;
            }
            for _ in 0..n_passing {
                let at = (uniform() * 395.0) as usize;
                let strength = (1.0 + 2.0 * uniform()) as f32;
                for x in &mut pattern[at..at + 4] {
                    *x += strength;
                }
            }
            pattern
        };
        (0..n).map(each).collect()
    }

    #[test]
    fn one_speed_is_not_taken_for_several() {
        let (mut seed, none, mut n_wrong) = (7, vec![0.0; 400], 0);
        for round in 0..100 {
            let n = 2 + round % 7;
            let own = if round % 2 == 0 { &none } else { &comb(60) };
            let all = recordings(&mut seed, n, own, 6);
            let patterns: Vec<&[f32]> = all.iter().map(Vec::as_slice).collect();
            let places: Vec<i32> = arrange(&patterns).into_iter().flatten().collect();
            n_wrong += usize::from(places.iter().any(|at| (at - places[0]).abs() > 1));
        }
        assert!(n_wrong <= 3, "{n_wrong} of 100");
    }

    #[test]
    fn two_speeds_are_told_through_lines_that_come_and_go() {
        let mut seed = 11;
        for shift in [5, 12, 23, 44] {
            let low = recordings(&mut seed, 1, &comb(60), 1).remove(0);
            let high = recordings(&mut seed, 1, &comb(60 + shift), 1).remove(0);
            let places = arrange(&[&low, &high]);
            let moved = places[1].zip(places[0]).map(|(high, low)| high - low);
            assert_eq!(moved, Some(shift as i32));
        }
    }

    #[test]
    fn a_bin_is_one_per_cent() {
        assert!((BIN_OCT - STEP.log2()).abs() < 1e-15);
    }

    #[test]
    fn another_speed_moves_all_lines_and_a_fault_adds_some() {
        let learned = comb(60);
        let check = |seen: &[f32], expect: Said| {
            assert_eq!(compare(seen, std::iter::once(learned.as_slice())), expect);
        };
        check(&comb(60), Said::Same);
        check(&comb(61), Said::Same);
        check(&comb(70), Said::Other);
        check(&comb(45), Said::Other);
        let mut fault = comb(60);
        for at in [90, 150, 222, 301] {
            fault[at] = 2.5;
        }
        check(&fault, Said::Same);
        check(&[0.0; 400], Said::Nothing);
    }
}
