//! Is this the same speed? Lines of a spectrum move together when a shaft's speed changes, and stay
//! where they are when a fault grows.

use crate::types::Features;

/// Grid of the pattern: each bin is one per cent above the last.
const STEP: f64 = 1.01;
/// Bins of the pattern, at the most: 5.7 octaves.
const BINS_MAX: usize = 400;
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
/// Correlation from which two patterns are the same lines: 400 bins of noise stay far below.
const ALIKE: f64 = 0.5;
/// Of two matches, one in place and one moved, the lesser says nothing below this share of the other;
/// above it neither does.
const CLEARLY: f64 = 0.8;

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
    let n = scratch.len();
    out.extend((0..n).map(|i| {
        let around = &scratch[i.saturating_sub(FLOOR_BINS)..(i + FLOOR_BINS + 1).min(n)];
        let floor = around.iter().sum::<f32>() / around.len() as f32;
        (scratch[i] - floor).max(0.0)
    }));
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
