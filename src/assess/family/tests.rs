//! The family test against its table, the cross-language vector and pure noise.

use super::*;

/// The generator of the cross-language vector (`domain.md` 3.4).
struct Lcg(u32);

impl Lcg {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.0) / 4_294_967_296.0 - 0.5
    }
}

const RATE_HZ: f64 = 20_000.0;
const N: usize = 80_000;
/// Outer race of a 6205 at 29.95 Hz: 3.5848 orders, the digits the vector is made with.
const BPFO_HZ: f64 = 3.5848 * 29.95;

fn vector(force: f64) -> Vec<f64> {
    let mut noise = Lcg(12_345);
    let mut x: Vec<f64> = (0..N)
        .map(|i| {
            let t = i as f64 / RATE_HZ;
            2.0 * noise.next() + 0.5 * (std::f64::consts::TAU * 29.95 * t).sin()
        })
        .collect();
    let (mut t, mut slip) = (0.0, Lcg(777));
    loop {
        t += (1.0 + 0.02 * slip.next()) / BPFO_HZ;
        if t >= N as f64 / RATE_HZ {
            return x;
        }
        let first = (t * RATE_HZ).ceil() as usize;
        for (i, x) in x.iter_mut().enumerate().skip(first).take(200) {
            let tau = i as f64 / RATE_HZ - t;
            *x += force * (-800.0 * tau).exp() * (std::f64::consts::TAU * 3500.0 * tau).sin();
        }
    }
}

/// Squared-envelope spectrum of the analytic signal, brick wall 2500-4500 Hz.
fn envelope_spectrum(x: &[f64]) -> Spectrum {
    use rustfft::{FftPlanner, num_complex::Complex};
    let n = x.len();
    let df = RATE_HZ / n as f64;
    let mut planner = FftPlanner::<f64>::new();
    let mut z: Vec<_> = x.iter().map(|x| Complex::new(*x, 0.0)).collect();
    planner.plan_fft_forward(n).process(&mut z);
    for (k, z) in z.iter_mut().enumerate() {
        let hz = k as f64 * df;
        *z = if (2500.0..=4500.0).contains(&hz) { *z * (2.0 / n as f64) } else { Complex::ZERO };
    }
    planner.plan_fft_inverse(n).process(&mut z);
    let mean = z.iter().map(Complex::norm_sqr).sum::<f64>() / n as f64;
    let mut e: Vec<_> = z.iter().map(|z| Complex::new(z.norm_sqr() - mean, 0.0)).collect();
    planner.plan_fft_forward(n).process(&mut e);
    Spectrum { df_hz: df, power: e[..n / 2].iter().map(|e| e.norm_sqr() as f32).collect() }
}

fn near(got: f64, want: f64, relative: f64) -> bool {
    (got - want).abs() <= relative * want.abs()
}

#[test]
fn the_table_of_ratios_and_tails() {
    let ratio = |m: usize, p: f64| {
        let (mut low, mut high) = (1.0, 50.0);
        for _ in 0..60 {
            let mid = 0.5 * (low + high);
            if p_line(mid, m, f64::INFINITY) > p { low = mid } else { high = mid }
        }
        low
    };
    for (m, at_3, at_4) in
        [(1, 9.97, 13.29), (5, 12.29, 15.61), (9, 13.14, 16.46), (21, 14.36, 17.68)]
    {
        assert!((ratio(m, 1e-3) - at_3).abs() < 0.006, "m {m}");
        assert!((ratio(m, 1e-4) - at_4).abs() < 0.006, "m {m}");
    }
    for (h, at_3, at_4, at_5) in [
        (2, 18.47, 23.51, 28.47),
        (3, 22.46, 27.86, 33.11),
        (4, 26.12, 31.83, 37.33),
        (5, 29.59, 35.56, 41.30),
    ] {
        for (t, p) in [(at_3, 1e-3), (at_4, 1e-4), (at_5, 1e-5)] {
            assert!(near(ln_chi2_tail(t, h).exp(), p, 5e-3), "H {h} T {t}");
        }
    }
}

#[test]
fn a_median_of_few_bins_is_trusted_less() {
    assert!(p_line(12.0, 3, 16.0) > 3.0 * p_line(12.0, 3, f64::INFINITY));
    assert!(near(p_line(12.0, 3, 1e9), p_line(12.0, 3, f64::INFINITY), 1e-6));
}

#[test]
fn the_cross_language_vector() {
    let mut tester = Tester::new();
    for (force, ratios, t) in [
        (0.0, [1.9, 13.6, 8.2], 18.27),
        (0.3, [7.7, 13.2, 5.8], 21.19),
        (0.5, [55.8, 49.8, 11.2], 145.5),
        (1.0, [541.0, 601.0, 160.0], 1790.0),
        (2.0, [2304.0, 3919.0, 1071.0], f64::NAN),
    ] {
        let spectrum = envelope_spectrum(&vector(force));
        let lines =
            [1.0, 2.0, 3.0].map(|h| tester.line(&spectrum, h * BPFO_HZ, 0.01).expect("there"));
        for (line, want) in lines.iter().zip(ratios) {
            assert!(
                (line.ratio - want).abs() <= 0.01 * want + 0.05,
                "F {force}: {} not {want}",
                line.ratio
            );
        }
        if !t.is_nan() {
            // Beyond the reach of f64 the tail is u itself.
            let got = fisher(lines.iter().map(|line| line.p.max(1e-300)));
            assert!(t > 1000.0 || near(got, t, 0.01), "F {force}: T {got} not {t}");
        }
        let found = tester.family(&spectrum, BPFO_HZ, 0.01, &[]).expect("testable");
        assert_eq!(found.ln_p < 1e-4f64.ln(), force >= 0.5, "F {force}: ln p {}", found.ln_p);
    }
}

#[test]
fn pure_noise_is_called_as_often_as_said() {
    let mut lcg = Lcg(1);
    let mut tester = Tester::new();
    let mut n_called = 0;
    for _ in 0..2000 {
        let power = (0..1200).map(|_| -(lcg.next() + 0.5).max(1e-12).ln() as f32).collect();
        let spectrum = Spectrum { df_hz: 0.5, power };
        let found = tester.family(&spectrum, 97.3, 0.02, &[Foreign { hz: 30.1, tolerance: 0.0 }]);
        n_called += usize::from(found.expect("testable").ln_p < 1e-2f64.ln());
    }
    assert!(n_called <= 20 + 14, "{n_called} of 2000 at 1 %");
}

#[test]
fn a_shaft_harmonic_and_its_leakage_are_not_a_family() {
    let mut lcg = Lcg(7);
    let mut power: Vec<f32> =
        (0..4000).map(|_| -(lcg.next() + 0.5).max(1e-12).ln() as f32).collect();
    for k in 1..=30 {
        let centre: f64 = k as f64 * 40.0;
        for (b, power) in power.iter_mut().enumerate() {
            let d = (b as f64 - centre).abs();
            *power += (1e3 / (1.0 + (std::f64::consts::PI * d).powi(2))) as f32;
        }
    }
    let spectrum = Spectrum { df_hz: 0.25, power };
    let shaft = [Foreign { hz: 10.0, tolerance: 0.0 }];
    let mut tester = Tester::new();
    // 3.052 x sits two bins beside 3 x: only what is not the shaft's counts.
    let found = tester.family(&spectrum, 30.52, 0.02, &shaft).expect("testable");
    assert!(found.ln_p > 1e-3f64.ln(), "{found:?}");
    let unguarded = tester.family(&spectrum, 30.52, 0.02, &[]).expect("testable");
    assert!(unguarded.ln_p < 1e-9f64.ln());
}

/// Exponential noise of mean one with lines of `power` at the multiples of `line_hz`, bins of half a hertz.
fn noise_and_lines(line_hz: f64, power: f32) -> Spectrum {
    let mut noise = Lcg(99);
    let mut spectrum = Spectrum {
        df_hz: 0.5,
        power: (0..1000).map(|_| -(noise.next() + 0.5 + 1e-9).ln() as f32).collect(),
    };
    for k in 1..=4 {
        spectrum.power[(f64::from(k) * line_hz / 0.5).round() as usize] += power;
    }
    spectrum
}

#[test]
fn the_flank_of_a_family_outside_says_nothing() {
    let ln_p = |line_hz: f64| {
        let spectrum = noise_and_lines(line_hz, 200.0);
        Tester::new().family(&spectrum, 60.0, 0.02, &[]).unwrap().ln_p
    };
    assert!(ln_p(60.5) < -50.0, "{} within the slip tolerance", ln_p(60.5));
    assert!(ln_p(61.5) > -10.0, "{} beyond it", ln_p(61.5));
}

#[test]
fn lines_a_bin_beside_the_shafts_are_the_familys() {
    let spectrum = noise_and_lines(30.5, 200.0);
    let shaft = [Foreign { hz: 10.0, tolerance: 0.0005 }];
    let found = Tester::new().family(&spectrum, 30.52, 0.02, &shaft).unwrap();
    assert!(found.lines[..3].iter().flatten().count() == 3 && found.ln_p < -50.0, "{found:?}");
}

#[test]
fn bins_too_coarse_are_not_tested() {
    let spectrum = Spectrum { df_hz: 10.0, power: vec![1.0; 500] };
    assert!(Tester::new().family(&spectrum, 12.9, 0.02, &[]).is_none());
}
