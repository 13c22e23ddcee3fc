//! The distributions a test needs: normal, gamma, chi-squared, beta, Student, Fisher.

use std::f64::consts::{LN_2, PI, SQRT_2};

/// Terms of a series or a continued fraction before we take what we have.
const N_TERMS_MAX: usize = 500;
/// Relative change at which a series has arrived.
const EPS: f64 = 1e-15;
/// Stands in for a zero denominator (Lentz).
const TINY: f64 = 1e-300;

/// Natural logarithm of the gamma function, `x > 0`.
///
/// # Source
/// Lanczos, SIAM J. Numer. Anal. B 1 (1964) 86; g = 7, nine terms, about 1e-15.
pub fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const C: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).abs().ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let sum = C[0] + (1..9).map(|i| C[i] / (x + i as f64)).sum::<f64>();
    let t = x + G + 0.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// Upper regularised incomplete gamma function Q(a, x), `a > 0`, `x >= 0`.
///
/// # Source
/// Abramowitz and Stegun 6.5.29 (series) and 6.5.31 (continued fraction).
pub fn gamma_q(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    if x < a + 1.0 { 1.0 - gamma_p_series(a, x) } else { ln_gamma_q_fraction(a, x).exp() }
}

fn gamma_p_series(a: f64, x: f64) -> f64 {
    let (mut term, mut sum) = (1.0 / a, 1.0 / a);
    for n in 1..N_TERMS_MAX {
        term *= x / (a + n as f64);
        sum += term;
        if term < sum * EPS {
            break;
        }
    }
    sum * (a * x.ln() - x - ln_gamma(a)).exp()
}

fn ln_gamma_q_fraction(a: f64, x: f64) -> f64 {
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for n in 1..N_TERMS_MAX {
        let n = n as f64;
        let an = -n * (n - a);
        b += 2.0;
        d = 1.0 / nonzero(an * d + b);
        c = nonzero(b + an / c);
        h *= d * c;
        if (d * c - 1.0).abs() < EPS {
            break;
        }
    }
    a * x.ln() - x - ln_gamma(a) + h.ln()
}

fn nonzero(x: f64) -> f64 {
    if x.abs() < TINY { TINY } else { x }
}

/// P(X > x) for a chi-squared variable of `dof > 0` degrees of freedom.
pub fn chi2_sf(x: f64, dof: f64) -> f64 {
    gamma_q(dof / 2.0, x / 2.0)
}

/// Natural logarithm of [`chi2_sf`], without underflow.
pub fn ln_chi2_sf(x: f64, dof: f64) -> f64 {
    let (a, half) = (dof / 2.0, x / 2.0);
    if half < a + 1.0 { gamma_q(a, half).ln() } else { ln_gamma_q_fraction(a, half) }
}

/// The x with `chi2_sf(x, dof) = p`, `0 < p < 1`.
pub fn chi2_quantile(p: f64, dof: f64) -> f64 {
    let mut high = dof.max(1.0);
    while chi2_sf(high, dof) > p && high < 1e12 {
        high *= 2.0;
    }
    bisect(0.0, high, |x| chi2_sf(x, dof) > p)
}

/// P(X > x) for a standard normal variable.
pub fn normal_sf(x: f64) -> f64 {
    let tail = 0.5 * gamma_q(0.5, x * x / 2.0);
    if x >= 0.0 { tail } else { 1.0 - tail }
}

/// P(X <= x) for a standard normal variable.
pub fn normal_cdf(x: f64) -> f64 {
    normal_sf(-x)
}

/// Natural logarithm of [`normal_sf`], without underflow.
pub fn ln_normal_sf(x: f64) -> f64 {
    if x < SQRT_2 * 1.5 { normal_sf(x).ln() } else { ln_gamma_q_fraction(0.5, x * x / 2.0) - LN_2 }
}

/// The x with `normal_cdf(x) = p`; infinite at 0 and 1.
///
/// # Source
/// P. J. Acklam's rational approximation (2003), then one Halley step.
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_690e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
    ];
    const P_LOW: f64 = 0.02425;
    let poly = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, &c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        poly(&C, q) / (poly(&D, q) * q + 1.0)
    };
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    } else if p >= 1.0 {
        return f64::INFINITY;
    } else if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    let x = if p < P_LOW {
        tail(p)
    } else {
        let q = p - 0.5;
        let r = q * q;
        poly(&A, r) * q / (poly(&B, r) * r + 1.0)
    };
    let u = (normal_cdf(x) - p) * (2.0 * PI).sqrt() * (x * x / 2.0).exp();
    x - u / (1.0 + x * u / 2.0)
}

/// Regularised incomplete beta function I_x(a, b), `a, b > 0`, `0 <= x <= 1`.
///
/// # Source
/// Abramowitz and Stegun 26.5.8, evaluated by Lentz's method.
pub fn beta_inc(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        0.0
    } else if x >= 1.0 {
        1.0
    } else if x < (a + 1.0) / (a + b + 2.0) {
        ln_beta_fraction(a, b, x, 1.0 - x).exp()
    } else {
        1.0 - ln_beta_fraction(b, a, 1.0 - x, x).exp()
    }
}

/// ln I_x(a, b) where the continued fraction converges fast; `y` is `1 - x` with all its digits.
fn ln_beta_fraction(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..N_TERMS_MAX {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nonzero(1.0 + even * d);
        c = nonzero(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nonzero(1.0 + odd * d);
        c = nonzero(1.0 + odd / c);
        h *= d * c;
        if (d * c - 1.0).abs() < EPS {
            break;
        }
    }
    let ln_front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * y.ln();
    ln_front + (h / a).ln()
}

/// The x with `beta_inc(a, b, x) = p`.
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    bisect(0.0, 1.0, |x| beta_inc(a, b, x) < p)
}

/// P(T > t) for Student's t of `dof > 0` degrees of freedom.
///
/// # Source
/// Abramowitz and Stegun 26.7.1 with 26.5.27.
pub fn t_sf(t: f64, dof: f64) -> f64 {
    let tail = ln_t_sf(t.abs(), dof).exp();
    if t >= 0.0 { tail } else { 1.0 - tail }
}

/// Natural logarithm of [`t_sf`], without underflow.
pub fn ln_t_sf(t: f64, dof: f64) -> f64 {
    let square = t * t;
    let (x, y) = (dof / (dof + square), square / (dof + square));
    let (a, b) = (dof / 2.0, 0.5);
    let ln_tail = if x < (a + 1.0) / (a + b + 2.0) {
        ln_beta_fraction(a, b, x, y) - LN_2
    } else {
        (0.5 * (1.0 - if y > 0.0 { ln_beta_fraction(b, a, y, x).exp() } else { 0.0 })).ln()
    };
    if t >= 0.0 { ln_tail } else { (-ln_tail.exp()).ln_1p() }
}

/// The t with `t_sf(t, dof) = p`, `0 < p < 1`.
pub fn t_quantile(p: f64, dof: f64) -> f64 {
    if p > 0.5 {
        return -t_quantile(1.0 - p, dof);
    }
    let mut high = 1.0;
    while t_sf(high, dof) > p && high < 1e300 {
        high *= 2.0;
    }
    bisect(0.0, high, |t| t_sf(t, dof) > p)
}

/// P(F > f) for Fisher's F of `d1` and `d2` degrees of freedom.
pub fn f_sf(f: f64, d1: f64, d2: f64) -> f64 {
    beta_inc(d2 / 2.0, d1 / 2.0, d2 / (d2 + d1 * f.max(0.0)))
}

/// The place where `is_low` turns false, to the last bits of a double.
fn bisect(mut low: f64, mut high: f64, is_low: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            break;
        }
        if is_low(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests;
