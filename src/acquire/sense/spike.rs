//! Single samples that no machine made: a slip of the converter, a discharge, a knocked cable.
//!
//! What a machine does passes the sensor's mass and the filter before the converter, and is not over within
//! one sample: a sequence whose band ends at the share `w` of its rate has at most `2 w` of its energy in one
//! sample, and less in two of opposite sign; the rest lies beside them. Filters end at 0.45 or earlier. Two
//! samples of one sign may be a short blow and are left to the machine.
//!
//! # Source
//! Slepian, Bell Syst. Tech. J. 57 (1978) 1371: energy of band-limited sequences in few samples.

/// Slower converters may have no filter before them, and a knock has died away between two samples, Hz.
pub(super) const RATE_MIN_HZ: f64 = 5000.0;
/// How far a spike stands over the roughness of its frame.
const OVER: f32 = 10.0;
/// Share of a spike's energy that may be found beside it once it is taken out: the bound of the band gives
/// 0.3 and more for what came through a filter that ends at 0.45 of the rate.
const REST_SHARE: f32 = 0.05;
/// Samples looked at on either side.
const AROUND: usize = 4;
/// Samples in a spike, at the most.
const WIDTH_MAX: usize = 2;
/// Fewest samples that tell how rough a signal is.
const SAMPLES_MIN: usize = 64;
/// Sums side by side.
const LANES: usize = 16;

/// Draws a line through every spike among the samples `x` of one channel; how many there were.
///
/// The first and last few samples are not looked at.
pub(super) fn mend(x: &mut [f32]) -> usize {
    let margin = AROUND + WIDTH_MAX;
    if x.len() < SAMPLES_MIN {
        return 0;
    }
    let (mean_square, most) = roughness(x);
    let limit = OVER * OVER * mean_square;
    if most * most <= limit {
        return 0;
    }
    let mut n_spikes = 0;
    for i in margin..x.len() - margin {
        let own = rough(x, i).abs();
        if own * own <= limit || own < rough(x, i - 1).abs() || own < rough(x, i + 1).abs() {
            continue;
        }
        let found = [(i, 1), (i - 1, 2), (i, 2)];
        if let Some((from, width)) =
            found.into_iter().find(|&(from, width)| is_spike(x, from, width))
        {
            for k in 0..width {
                x[from + k] = line(x, from, width, k);
            }
            n_spikes += 1;
        }
    }
    n_spikes
}

/// How far sample `i` is off the middle of its neighbours.
fn rough(x: &[f32], i: usize) -> f32 {
    x[i] - 0.5 * (x[i - 1] + x[i + 1])
}

/// Mean square of that, and the largest.
fn roughness(x: &[f32]) -> (f32, f32) {
    let (mut sums, mut most) = ([0.0; LANES], [0.0_f32; LANES]);
    let n_inner = x.len() - 2;
    let mut at = 0;
    while let Some(part) = x.get(at..at + LANES + 2) {
        for k in 0..LANES {
            let off = (part[k + 1] - 0.5 * (part[k] + part[k + 2])).abs();
            sums[k] += off * off;
            most[k] = if off > most[k] { off } else { most[k] };
        }
        at += LANES;
    }
    for i in at..n_inner {
        let off = rough(x, i + 1).abs();
        sums[0] += off * off;
        most[0] = most[0].max(off);
    }
    (sums.iter().sum::<f32>() / n_inner as f32, most.into_iter().fold(0.0, f32::max))
}

/// Sample `k` of the line that would go through `width` samples from `from` on.
fn line(x: &[f32], from: usize, width: usize, k: usize) -> f32 {
    let (low, high) = (x[from - 1], x[from + width]);
    low + (high - low) / (width - k + 1) as f32
}

/// Whether these samples alone are out of place: without them their surroundings are smooth, but alive (where
/// nothing moves, the converter's last bit is a spike too).
fn is_spike(x: &[f32], from: usize, width: usize) -> bool {
    let mut near = [0.0; 2 * (AROUND + 1) + WIDTH_MAX];
    let near = &mut near[..2 * (AROUND + 1) + width];
    near.copy_from_slice(&x[from - AROUND - 1..][..near.len()]);
    let mut off = [0.0; WIDTH_MAX];
    for k in 0..width {
        near[AROUND + 1 + k] = line(near, AROUND + 1 + k, width - k, 0);
        off[k] = x[from + k] - near[AROUND + 1 + k];
    }
    let energy: f32 = off.iter().map(|off| off * off).sum();
    let rest: f32 = (1..near.len() - 1).map(|i| rough(near, i).powi(2)).sum();
    rest > 0.0 && rest < REST_SHARE * energy && off[0] * off[1] <= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::{PI, TAU};

    /// Even noise between -1 and 1.
    fn noise(n: usize) -> Vec<f32> {
        let mut state = 12_345_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state as f32 / 2_f32.powi(31) - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn one_sample_and_a_flip_of_two_are_taken_out_and_nothing_else_is_touched() {
        let slow = |i: usize| 300.0 * (TAU * i as f32 / 400.0).sin();
        let calm: Vec<f32> = noise(2000).iter().enumerate().map(|(i, x)| x + slow(i)).collect();
        for (size, spikes) in [(30.0, vec![500]), (1e4, vec![7, 900, 1993]), (30.0, vec![500, 520])]
        {
            let mut x = calm.clone();
            for &i in &spikes {
                x[i] += size;
            }
            assert_eq!(mend(&mut x), spikes.len());
            let n_other = x.iter().zip(&calm).filter(|(a, b)| a != b).count();
            assert_eq!(n_other, spikes.len(), "spikes of {size}");
            assert!(x.iter().zip(&calm).all(|(a, b)| (a - b).abs() < 10.0));
        }
        let mut x = calm.clone();
        (x[700], x[701]) = (x[700] + 50.0, x[701] - 60.0);
        assert_eq!(mend(&mut x), 1);
        assert!(x.iter().zip(&calm).all(|(a, b)| (a - b).abs() < 10.0));
        assert_eq!(mend(&mut calm.clone()), 0);
    }

    /// A knock shorter than a sample, as the widest filter lets it through, wherever it falls between two.
    #[test]
    fn what_came_through_a_filter_is_never_a_spike() {
        for (w, shift) in (0..60).map(|k| (0.45 - 0.006 * k as f32, k as f32 / 60.0)) {
            let sinc = |t: f32| if t.abs() < 1e-6 { 1.0 } else { (PI * t).sin() / (PI * t) };
            let mut x = noise(1000);
            let knock = |i: usize| 1e3 * sinc(2.0 * w * (i as f32 - 500.0 - shift));
            x.iter_mut().enumerate().for_each(|(i, x)| *x = 0.01 * *x + knock(i));
            assert_eq!(mend(&mut x), 0, "band to {w}, off by {shift}");
        }
    }

    /// A resonance struck at any moment, with up to ten times the damping of steel, up to where a rate is good
    /// for, and without a filter.
    #[test]
    fn what_rings_is_never_a_spike() {
        for k in 0..380 {
            let (share, damping) = (0.02 + 0.01 * (k % 38) as f32, 0.015 * (1 + k / 38) as f32);
            let begin = 500.0 + 0.37 * (k % 7) as f32;
            let mut x = noise(1000);
            for (i, x) in x.iter_mut().enumerate() {
                let turns = share * (i as f32 - begin);
                let ring = if turns > 0.0 {
                    (TAU * turns).sin() * (-TAU * damping * turns).exp()
                } else {
                    0.0
                };
                *x = 0.1 * *x + 1e3 * ring;
            }
            assert_eq!(mend(&mut x), 0, "{share} of the rate, damping {damping}");
        }
    }

    #[test]
    fn a_short_blow_of_two_samples_is_left_to_the_machine() {
        let mut x = noise(1000);
        (x[500], x[501]) = (80.0, 60.0);
        assert_eq!(mend(&mut x), 0);
    }
}
