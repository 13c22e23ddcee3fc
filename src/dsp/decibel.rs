//! Decibels, many at a time.

/// The smallest power that has a level: the machine epsilon of f64, as the published audio recipes
/// have it. Anything below counts as this: -156.536 dB.
pub const FLOOR: f32 = f64::EPSILON as f32;

/// `out[i] = 10 log10(max(power[i], FLOOR))`, within 3e-5 dB.
///
/// # Panics
/// If the lengths differ: a bug in the caller.
///
/// # Source
/// `ln m = 2 artanh((m - 1)/(m + 1))`, series to the ninth power, m within sqrt(1/2) and sqrt(2).
pub fn to_db(power: &[f32], out: &mut [f32]) {
    assert_eq!(power.len(), out.len(), "one level per power");
    for (out, &p) in out.iter_mut().zip(power) {
        *out = db(p);
    }
}

/// One level; branch-free, so that the loop above becomes vector code.
fn db(power: f32) -> f32 {
    const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
    const DB_PER_OCTAVE: f32 = 3.010_299_9;
    const DB_PER_NEPER: f32 = 4.342_944_8;
    let bits = (if power > FLOOR { power } else { FLOOR }).to_bits();
    let above = bits.wrapping_sub(SQRT_HALF_BITS) as i32;
    let exponent = (above >> 23) as f32;
    let m = f32::from_bits(((above & 0x007f_ffff) as u32).wrapping_add(SQRT_HALF_BITS));
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let series = 1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0 + t2 * (1.0 / 9.0))));
    exponent * DB_PER_OCTAVE + 2.0 * DB_PER_NEPER * t * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn silence_and_nonsense_have_the_floors_level() {
        for power in [0.0, -1.0, f32::NAN, f32::MIN_POSITIVE] {
            assert!((db(power) + 156.5356).abs() < 1e-4, "{power}");
        }
    }

    proptest! {
        #[test]
        fn levels_are_those_of_log10(exponent in -15.0f64..30.0) {
            let power = 10f64.powf(exponent) as f32;
            let expect = 10.0 * (power as f64).log10();
            prop_assert!((db(power) as f64 - expect).abs() < 3e-5);
        }
    }
}
