//! Eight-bit codes for real numbers, and the fixed-point step from an accumulator back to codes.
#![allow(
    clippy::inline_always,
    reason = "compiled again within functions of wider instruction sets"
)]

/// How a tensor of real numbers is held in eight bits: `real = scale * (code - zero)`.
///
/// # Source
/// Jacob et al., CVPR 2018, equation 1; TFLite 8-bit quantisation specification.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quant {
    /// Real width of one code, above 0.
    pub scale: f32,
    /// The code of 0.0, -128 to 127.
    pub zero: i32,
}

/// The largest `f32` below one half: with it, adding and cutting rounds halves away from zero.
pub(super) const ALMOST_HALF: f32 = 0.499_999_97;

impl Quant {
    /// Codes that cover `lo..=hi` and hold 0 exactly, as ReLU and padding need it. A range of no
    /// width gets a scale of 1.
    pub fn covering(lo: f32, hi: f32) -> Self {
        let (lo, hi) = (lo.min(0.0), hi.max(0.0));
        let scale = (hi - lo) / 255.0;
        if !scale.is_normal() {
            return Self { scale: 1.0, zero: 0 };
        }
        Self { scale, zero: (-128.0 - lo / scale).round().clamp(-128.0, 127.0) as i32 }
    }

    /// Nearest code, halves away from zero; beyond the range the nearest end, NaN the code of 0.
    #[inline(always)]
    pub fn encode(self, real: f32) -> i8 {
        let steps = (real / self.scale).clamp(-512.0, 512.0);
        let steps = (steps + ALMOST_HALF.copysign(steps)) as i32;
        (steps + self.zero).clamp(-128, 127) as i8
    }

    /// The real number of a code.
    #[inline(always)]
    pub fn decode(self, code: i8) -> f32 {
        self.scale * (i32::from(code) - self.zero) as f32
    }
}

/// A positive real factor as fixed point: `multiplier * 2^-right`.
///
/// # Source
/// TFLite `QuantizeMultiplier` and `MultiplyByQuantizedMultiplier` in the single-rounding form that
/// today's kernels have; the older form rounded twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requant {
    /// 0, or 2^30 to 2^31 - 1.
    pub multiplier: i32,
    /// 1 to 62.
    pub right: u32,
}

impl Requant {
    /// The nearest fixed-point number; 0 for factors below 2^-32.
    ///
    /// # Panics
    /// If `factor` is not in 0 to 2^29: scales are checked before.
    pub fn new(factor: f64) -> Self {
        assert!((0.0..=f64::from(1 << 29)).contains(&factor), "factor {factor} is out of range");
        if factor == 0.0 {
            return Self { multiplier: 0, right: 1 };
        }
        let mut shift = factor.log2().floor() as i32 + 1;
        let mut mantissa = factor * f64::from(-shift).exp2();
        // `log2` may land on the wrong side of a power of two.
        while mantissa >= 1.0 {
            mantissa /= 2.0;
            shift += 1;
        }
        while mantissa < 0.5 {
            mantissa *= 2.0;
            shift -= 1;
        }
        let mut multiplier = (mantissa * f64::from(1_u32 << 31)).round() as i64;
        if multiplier == 1 << 31 {
            multiplier /= 2;
            shift += 1;
        }
        if shift < -31 {
            return Self { multiplier: 0, right: 1 };
        }
        Self { multiplier: multiplier as i32, right: (31 - shift) as u32 }
    }

    /// `acc` times the factor, halves up. The product must fit 32 bits: `Graph::check` sees to it.
    #[inline(always)]
    pub fn apply(self, acc: i32) -> i32 {
        let product = i64::from(acc) * i64::from(self.multiplier);
        ((product + (1 << (self.right - 1))) >> self.right) as i32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_multiplier() {
        let r = Requant::new(0.05 * 0.02 / 0.1);
        assert_eq!((r.multiplier, 31 - r.right as i32), (1374389535, -6));
        assert_eq!(r.apply(12345), 123);
        assert_eq!(Requant::new(1.0), Requant { multiplier: 1 << 30, right: 30 });
        assert_eq!(Requant::new(1e-12), Requant { multiplier: 0, right: 1 });
        assert_eq!(Requant::new(f64::from(1 << 29)).apply(-3), -3 << 29);
    }

    #[test]
    fn halves_round_away_from_zero() {
        let q = Quant { scale: 1.0, zero: 3 };
        let codes = [0.5, -0.5, 2.5, -2.5, 0.499_999_97, f32::NAN, 1e30, -f32::INFINITY];
        assert_eq!(codes.map(|x| q.encode(x)), [4, 2, 6, 0, 3, 3, 127, -128]);
    }

    #[test]
    fn covering_holds_zero() {
        let q = Quant::covering(0.0, 25.5);
        assert_eq!((q.zero, q.encode(0.0), q.encode(25.5)), (-128, -128, 127));
        assert_eq!(q.decode(-128), 0.0);
        assert_eq!(Quant::covering(0.0, 0.0).scale, 1.0);
    }

    proptest! {
        #[test]
        fn requant_is_the_nearest_integer(acc in -(1_i32 << 24)..(1 << 24), factor in 1e-9_f64..60.0) {
            let exact = f64::from(acc) * factor;
            let got = f64::from(Requant::new(factor).apply(acc));
            prop_assert!((got - exact).abs() <= 0.5 + exact.abs() * 2e-9, "{got} for {exact}");
        }

        #[test]
        fn encode_is_nearest(real in -1e3_f32..1e3, scale in 1e-3_f32..1e3, zero in -128..=127) {
            let q = Quant { scale, zero };
            let want = ((f64::from(real / scale)).round() as i32 + zero).clamp(-128, 127);
            prop_assert_eq!(i32::from(q.encode(real)), want);
        }
    }
}
