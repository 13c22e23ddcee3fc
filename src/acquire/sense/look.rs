//! One channel of one frame in numbers, many samples at a time.
//!
//! What is rare (a sample like the one before, a sample at the extreme) is looked for in blocks; only
//! blocks that have some are walked through sample by sample.

/// Peak to peak, in converter steps, of what may be a dead channel's last bit.
const FLAT_STEPS: f32 = 2.0;
/// Samples looked at together.
const BLOCK: usize = 16;
/// Sums side by side.
const LANES: usize = 4;
/// Consecutive samples at an extreme that make a plateau.
const PLATEAU_SAMPLES: usize = 3;
/// How near the extreme they are, as a share of peak to peak.
const PLATEAU_SHARE: f32 = 0.0005;
/// How much further off the samples beside a plateau are. The top of a smooth wave of which three
/// samples look alike has its next less than 4 times as far off.
const CORNER: f32 = 6.0;
/// Converter steps from peak to peak below which a plateau is mere rounding ...
const PLATEAU_STEPS: f32 = 32.0;
/// ... unless this share of the samples is at the two extremes: a square wave between the rails shows few other
/// values and so no step. A wave of few steps has less there, and noise less still.
const RAILS_SHARE: f64 = 0.75;

/// One channel of one frame in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    pub(super) n: usize,
    pub(super) min: f32,
    pub(super) max: f32,
    pub(super) sum: f64,
    pub(super) sum_squares: f64,
    /// Smallest change seen: the converter's step or less; infinite if nothing changes.
    pub(super) step: f32,
    /// Longest stretch without change, begun before the frame or in it.
    pub(super) n_same: u64,
    pub(super) n_zeros: u64,
}

/// The stretch of like samples that reaches to the end of what was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) last: Option<f32>,
    /// How many samples up to now are the same.
    pub(super) n_same: u64,
}

impl Look {
    /// At the samples `x` that follow on `run`; all finite.
    pub(super) fn at(x: &[f32], run: &mut Run) -> Self {
        let (min, max) = ends(x);
        let (sum, sum_squares) = sums(x);
        let mut look = Self {
            n: x.len(),
            min,
            max,
            sum,
            sum_squares,
            step: f32::INFINITY,
            n_same: 0,
            n_zeros: 0,
        };
        let Some((&first, _)) = x.split_first() else { return look };
        look.walk(&[first], run);
        let (mut at, mut steps) = (1, [f32::INFINITY; BLOCK]);
        while let Some(block) = x.get(at..at + BLOCK) {
            let (mut n_like, mut n_zero) = (0, 0);
            for (i, (&now, &before)) in block.iter().zip(&x[at - 1..]).enumerate() {
                let change = (now - before).abs();
                n_like += u32::from(change == 0.0);
                n_zero += u32::from(now == 0.0);
                steps[i] = if change < steps[i] && change > 0.0 { change } else { steps[i] };
            }
            if n_like == 0 {
                *run = Run { last: Some(block[BLOCK - 1]), n_same: 1 };
                look.n_zeros = look.n_zeros.max(u64::from(n_zero > 0));
            } else {
                look.walk(block, run);
            }
            at += BLOCK;
        }
        look.walk(&x[at.min(x.len())..], run);
        look.step = steps.into_iter().fold(look.step, f32::min);
        look
    }

    /// Stretches without change and steps, sample by sample.
    fn walk(&mut self, x: &[f32], run: &mut Run) {
        let mut last = run.last.unwrap_or(f32::NAN);
        for &x in x {
            if x == last {
                run.n_same += 1;
            } else {
                run.n_same = 1;
                let change = (x - last).abs();
                self.step = if change < self.step { change } else { self.step };
            }
            self.n_same = self.n_same.max(run.n_same);
            if x == 0.0 {
                self.n_zeros = self.n_zeros.max(run.n_same);
            }
            last = x;
        }
        run.last = if last.is_nan() { None } else { Some(last) };
    }

    /// Both stretches together.
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
            sum_squares: self.sum_squares + other.sum_squares,
            step: self.step.min(other.step),
            n_same: self.n_same.max(other.n_same),
            n_zeros: self.n_zeros.max(other.n_zeros),
        }
    }

    /// Whether nothing moves but perhaps the last bit; a little more for rounding to single precision.
    pub(super) fn is_dead(&self) -> bool {
        self.max - self.min <= FLAT_STEPS * 1.01 * self.step
    }

    /// Root mean square about the mean.
    pub(super) fn rms(&self) -> f64 {
        let mean = self.sum / self.n as f64;
        (self.sum_squares / self.n as f64 - mean * mean).max(0.0).sqrt()
    }

    /// How many of the samples `x` it was taken of lie on plateaus at their extremes: a signal in
    /// motion that stops dead and moves on.
    pub(super) fn count_plateaus(&self, x: &[f32]) -> usize {
        let span = self.max - self.min;
        if self.n < PLATEAU_SAMPLES + 1 || span.is_nan() || self.is_dead() {
            return 0;
        }
        if span <= PLATEAU_STEPS * self.step {
            let n_rail = x.iter().filter(|x| [self.min, self.max].contains(x)).count();
            return if n_rail as f64 >= RAILS_SHARE * self.n as f64 { n_rail } else { 0 };
        }
        let near = PLATEAU_SHARE * span;
        let corner = CORNER * near.max(self.step);
        let count = |extreme: f32| {
            // Where the frame cuts a plateau, the side that is seen decides.
            let mut plateaus = Plateaus { extreme, near, corner, total: 0, run: 0, sharp: true };
            let (blocks, rest) = x.as_chunks::<BLOCK>();
            for block in blocks {
                let n_near: u32 =
                    block.iter().map(|x| u32::from((x - extreme).abs() <= near)).sum();
                // The last sample is all that is left of a block away from the extreme.
                let is_away = n_near == 0 && plateaus.run == 0;
                plateaus.walk(if is_away { &block[BLOCK - 1..] } else { block });
            }
            plateaus.walk(rest);
            plateaus.end(self.n)
        };
        count(self.max) + count(self.min)
    }
}

/// Plateaus at one extreme, up to some sample.
struct Plateaus {
    extreme: f32,
    near: f32,
    corner: f32,
    total: usize,
    run: usize,
    sharp: bool,
}

impl Plateaus {
    fn walk(&mut self, x: &[f32]) {
        for x in x {
            let off = (x - self.extreme).abs();
            if off <= self.near {
                self.run += 1;
                continue;
            }
            if self.run >= PLATEAU_SAMPLES && self.sharp && off >= self.corner {
                self.total += self.run;
            }
            self.run = 0;
            self.sharp = off >= self.corner;
        }
    }

    /// How many samples, of `n` in all.
    fn end(&self, n: usize) -> usize {
        let is_plateau = self.run >= PLATEAU_SAMPLES && self.sharp && self.run < n;
        self.total + if is_plateau { self.run } else { 0 }
    }
}

/// Whether every sample is finite and no further from 0 than `limit`.
pub(super) fn are_within(x: &[f32], limit: f32) -> bool {
    x.chunks(64 * BLOCK).all(|block| {
        let n_within: u32 = block.iter().map(|x| u32::from(x.abs() <= limit)).sum();
        n_within as usize == block.len()
    })
}

/// Smallest and largest; infinite without samples.
fn ends(x: &[f32]) -> (f32, f32) {
    let (mut min, mut max) = ([f32::INFINITY; BLOCK], [f32::NEG_INFINITY; BLOCK]);
    let (blocks, rest) = x.as_chunks::<BLOCK>();
    for block in blocks {
        for i in 0..BLOCK {
            min[i] = if block[i] < min[i] { block[i] } else { min[i] };
            max[i] = if block[i] > max[i] { block[i] } else { max[i] };
        }
    }
    let low = min.iter().chain(rest).copied().fold(f32::INFINITY, f32::min);
    (low, max.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max))
}

/// Sum and sum of squares.
fn sums(x: &[f32]) -> (f64, f64) {
    let (mut sums, mut squares) = ([0.0; LANES], [0.0; LANES]);
    let (rows, rest) = x.as_chunks::<LANES>();
    for row in rows {
        for i in 0..LANES {
            let x = f64::from(row[i]);
            sums[i] += x;
            squares[i] += x * x;
        }
    }
    for &x in rest {
        sums[0] += f64::from(x);
        squares[0] += f64::from(x) * f64::from(x);
    }
    (sums.iter().sum(), squares.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Runs of like samples by their definition.
    fn runs(before: Run, x: &[f32]) -> (Run, u64, u64, f32) {
        let (mut run, mut n_same, mut n_zeros, mut step) = (before, 0, 0, f32::INFINITY);
        for &x in x {
            run.n_same = if run.last == Some(x) { run.n_same + 1 } else { 1 };
            let change = run.last.map_or(0.0, |last| (x - last).abs());
            step = if change > 0.0 { step.min(change) } else { step };
            n_same = n_same.max(run.n_same);
            n_zeros = if x == 0.0 { n_zeros.max(run.n_same) } else { n_zeros };
            run.last = Some(x);
        }
        (run, n_same, n_zeros, step)
    }

    /// Samples on plateaus by their definition: whole runs near an extreme, both sides a corner.
    fn plateaus(x: &[f32], look: &Look) -> usize {
        let span = look.max - look.min;
        let near = PLATEAU_SHARE * span;
        let corner = CORNER * near.max(look.step);
        let on = |extreme: f32| {
            let off: Vec<f32> = x.iter().map(|x| (x - extreme).abs()).collect();
            let (mut total, mut from) = (0, 0);
            while from < x.len() {
                let n = off[from..].iter().take_while(|off| **off <= near).count();
                let before = from == 0 || off[from - 1] >= corner;
                let after = off.get(from + n).is_none_or(|off| *off >= corner);
                if n >= PLATEAU_SAMPLES && before && after && n < x.len() {
                    total += n;
                }
                from += n + 1;
            }
            total
        };
        if x.len() <= PLATEAU_SAMPLES || span <= FLAT_STEPS * 1.01 * look.step {
            return 0;
        }
        if span <= PLATEAU_STEPS * look.step {
            let n_rail = x.iter().filter(|x| **x == look.min || **x == look.max).count();
            return if n_rail as f64 >= RAILS_SHARE * x.len() as f64 { n_rail } else { 0 };
        }
        on(look.max) + on(look.min)
    }

    proptest! {
        #[test]
        fn blocks_see_what_single_samples_show(
            x in prop::collection::vec(prop_oneof![-6..6i32, Just(40), Just(-40), -400..400i32], 0..400),
            holds in prop::collection::vec((0..400usize, 1..40usize), 0..8),
            cut in 0..400usize,
        ) {
            let mut x: Vec<f32> = x.into_iter().map(|v| v.clamp(-40, 40) as f32 * 0.25).collect();
            for (at, n) in holds {
                let Some(&held) = x.get(at) else { continue };
                x[at..].iter_mut().take(n).for_each(|x| *x = held);
            }
            let (mut run, mut expect) = (Run::default(), Run::default());
            let cut = cut.min(x.len());
            for part in [&x[..cut], &x[cut..]] {
                let look = Look::at(part, &mut run);
                let (after, n_same, n_zeros, step) = runs(expect, part);
                expect = after;
                prop_assert_eq!(run, expect);
                prop_assert_eq!((look.n_same, look.n_zeros, look.step), (n_same, n_zeros, step));
                prop_assert_eq!(look.sum, part.iter().map(|x| f64::from(*x)).sum::<f64>());
                prop_assert_eq!(look.count_plateaus(part), plateaus(part, &look));
            }
        }
    }

    #[test]
    fn nonsense_is_not_within() {
        for nonsense in [f32::NAN, f32::INFINITY, -1.5] {
            let mut x = vec![1.0; 3000];
            assert!(are_within(&x, 1.0));
            x[2999] = nonsense;
            assert!(!are_within(&x, 1.0));
        }
    }
}
