//! Chance and curves that are the same bits on every machine: no libm, no state.
//!
//! Every draw is a function of a seed and a number, so any stretch of a signal can be made by itself.

use std::f64::consts::{LN_2, PI, SQRT_2};

/// Adding and taking this away rounds to the nearest whole number; good below 2^51.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

fn round(x: f64) -> f64 {
    (x + ROUNDER) - ROUNDER
}

/// 64 random bits: the `n`-th of the stream `seed`.
///
/// # Source
/// Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014 (SplitMix64).
pub(super) fn bits(seed: u64, n: u64) -> u64 {
    let mut z = seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of its own for each `use_idx` of a seed.
pub(super) fn stream(seed: u64, use_idx: u64) -> u64 {
    bits(bits(seed, use_idx), 0x5eed)
}

/// Uniform in 0 to just below 1.
pub(super) fn uniform(seed: u64, n: u64) -> f64 {
    (bits(seed, n) >> 11) as f64 / 9_007_199_254_740_992.0
}

/// Uniform between two bounds.
pub(super) fn between(seed: u64, n: u64, low: f64, high: f64) -> f64 {
    low + (high - low) * uniform(seed, n)
}

/// Fills `out` with standard normal numbers `first`, `first + 1`, ... of the stream.
///
/// # Source
/// Box and Muller, Ann. Math. Statist. 29 (1958) 610; tails end at 6.7 standard deviations.
pub(super) fn normals(seed: u64, first: u64, out: &mut [f64]) {
    let mut pair_idx = u64::MAX;
    let mut pair = [0.0; 2];
    for (n, value) in (0..).zip(out) {
        let number = first.wrapping_add(n);
        if pair_idx != number >> 1 {
            pair_idx = number >> 1;
            let random = bits(seed, pair_idx);
            let radius = (-2.0 * ln(((random >> 32) as f64 + 0.5) / 4_294_967_296.0)).sqrt();
            let (sin, cos) = sin_cos(f64::from(random as u32) / 4_294_967_296.0);
            pair = [radius * cos, radius * sin];
        }
        *value = pair[(number & 1) as usize];
    }
}

/// A smooth random curve over `x`, -1 to 1, that takes a new course about every 1.
pub(super) fn wander(seed: u64, x: f64) -> f64 {
    let cell = x.floor();
    let at = |cell: f64| 2.0 * uniform(seed, cell as i64 as u64) - 1.0;
    let f = x - cell;
    let blend = f * f * (3.0 - 2.0 * f);
    at(cell) + (at(cell + 1.0) - at(cell)) * blend
}

/// Sine and cosine of an angle in turns; error below 1e-11.
pub(super) fn sin_cos(turns: f64) -> (f64, f64) {
    let quarters = round(4.0 * turns);
    let y = 2.0 * PI * (turns - quarters / 4.0);
    let y2 = y * y;
    let sin = y
        * (1.0
            - y2 / 6.0
                * (1.0 - y2 / 20.0 * (1.0 - y2 / 42.0 * (1.0 - y2 / 72.0 * (1.0 - y2 / 110.0)))));
    let cos = 1.0
        - y2 / 2.0
            * (1.0
                - y2 / 12.0
                    * (1.0
                        - y2 / 30.0 * (1.0 - y2 / 56.0 * (1.0 - y2 / 90.0 * (1.0 - y2 / 132.0)))));
    match (quarters as i64).rem_euclid(4) {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// e to the `x`, for -700 to 700; relative error below 1e-14.
pub(super) fn exp(x: f64) -> f64 {
    let whole = round(x.clamp(-700.0, 700.0) / LN_2);
    let r = x.clamp(-700.0, 700.0) - whole * LN_2;
    let series = (1..=13).rev().fold(1.0, |sum, n| 1.0 + sum * r / f64::from(n));
    series * f64::from_bits(((whole as i64 + 1023) as u64) << 52)
}

/// Natural logarithm of a number above 0 (and not subnormal); error below 1e-13.
pub(super) fn ln(x: f64) -> f64 {
    let raw = x.to_bits();
    let mut exponent = ((raw >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((raw & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = (0..8).rev().fold(0.0, |sum, n| 1.0 / f64::from(2 * n + 1) + sum * s2);
    2.0 * s * series + exponent as f64 * LN_2
}

/// `base` to the `power`, for a base of at least 0; 0 gives 0.
pub(super) fn pow(base: f64, power: f64) -> f64 {
    if base < 1e-12 { 0.0 } else { exp(power * ln(base)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_agree_with_the_library() {
        for n in 0..4000_u64 {
            let x = between(1, n, -30.0, 30.0);
            let (sin, cos) = sin_cos(x);
            assert!((sin - (2.0 * PI * x).sin()).abs() < 1e-10, "sin {x}");
            assert!((cos - (2.0 * PI * x).cos()).abs() < 1e-10, "cos {x}");
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-13, "exp {x}");
            let positive = x.abs() + 1e-9;
            assert!((ln(positive) - positive.ln()).abs() < 1e-13, "ln {positive}");
        }
    }

    #[test]
    fn noise_is_standard_normal_and_any_part_stands_alone() {
        let mut all = vec![0.0; 200_000];
        normals(7, 0, &mut all);
        let mean = |power: i32| all.iter().map(|x| x.powi(power)).sum::<f64>() / all.len() as f64;
        // Five standard errors of each moment.
        assert!(mean(1).abs() < 0.012 && mean(3).abs() < 0.044, "{} {}", mean(1), mean(3));
        assert!((mean(2) - 1.0).abs() < 0.016, "{}", mean(2));
        assert!((mean(4) - 3.0).abs() < 0.11, "{}", mean(4));
        let mut part = vec![0.0; 101];
        normals(7, 333, &mut part);
        assert_eq!(part, all[333..434]);
    }
}
