//! The models against closed forms, and their quantiles against truth on simulated lives.

use super::*;

fn points(n: usize, step_h: f64, wear: impl Fn(f64) -> f64) -> Vec<Point> {
    (0..n).map(|i| i as f64 * step_h).map(|h| Point { h, wear: wear(h) }).collect()
}

/// A seeded generator of standard normal values (sum of twelve uniforms).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let mut uniform = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }
}

#[test]
fn first_passage_is_inverse_gaussian() {
    let wiener = Wiener { drift: 0.1, drift_sd: 0.0, diffusion: 0.3 };
    for (h, p) in [(59.1, 0.05), (95.7, 0.50), (155.5, 0.95)] {
        let got = wiener.passed(10.0, h);
        assert!((got - p).abs() < 0.002, "P(T < {h}) = {got}, not {p}");
    }
}

#[test]
fn an_unknown_drift_widens_the_passage() {
    let known = Wiener { drift: 0.1, drift_sd: 0.0, diffusion: 0.05 };
    let unknown = Wiener { drift_sd: 0.02, ..known };
    assert!(unknown.passed(10.0, 80.0) > known.passed(10.0, 80.0));
    assert!(unknown.passed(10.0, 130.0) < known.passed(10.0, 130.0));
}

#[test]
fn a_line_is_found_with_its_uncertainty() {
    let mut noise = Noise(3);
    let draws: Vec<f64> = (0..200).map(|_| noise.next()).collect();
    let points = points(200, 0.5, |h| h);
    let fit =
        Posterior::fit(&points, |p| 2.0 + 0.3 * p.h + 0.1 * draws[(2.0 * p.h) as usize]).unwrap();
    let sd = fit.var_slope.sqrt();
    assert!((fit.slope - 0.3).abs() < 3.0 * sd && sd < 1e-3, "{fit:?}");
    // Ordinary least squares: sigma^2 over the sum of squares of time.
    let sxx = 200.0 * (200.0f64.powi(2) - 1.0) / 12.0 * 0.25;
    assert!((fit.var_slope / (0.01 / sxx) - 1.0).abs() < 0.5);
}

#[test]
fn exact_growth_is_forecast_exactly() {
    // ln wear = ln 0.05 + 0.02 h reaches 0 at 149.8 h.
    let points = points(100, 1.0, |h| 0.05 * (0.02 * h).exp());
    let life = Mixture::fit(&points, 20).unwrap().life().unwrap();
    let truth = (1.0f64 / 0.05).ln() / 0.02 - 99.0;
    assert!((life.p50_h / truth - 1.0).abs() < 0.02, "{life:?} for {truth}");
    assert!(life.p10_h <= life.p50_h && life.p50_h <= life.p90_h);
}

#[test]
fn steady_wear_is_forecast_by_the_wiener_model() {
    let mut noise = Noise(11);
    let (mut wear, mut history) = (0.1, Vec::new());
    for i in 0..150 {
        history.push(Point { h: i as f64, wear });
        wear += 0.003 + 0.001 * noise.next();
    }
    let truth = (1.0 - history[149].wear) / 0.003;
    let life = Mixture::fit(&history, 20).unwrap().life().unwrap();
    assert!(life.p10_h < truth && truth < life.p90_h, "{life:?} for {truth}");
}

#[test]
fn no_slope_is_no_forecast() {
    let mut noise = Noise(5);
    let mut n_stated = 0;
    let mut flat = Vec::new();
    for _ in 0..200 {
        flat.clear();
        flat.extend((0..100).map(|i| Point { h: i as f64, wear: 0.3 + 0.02 * noise.next() }));
        n_stated += usize::from(Mixture::fit(&flat, 20).err() != Some(Refusal::SlopeUncertain));
    }
    assert!(n_stated <= 5 + 7, "{n_stated} of 200 at 2.5 %");
    assert_eq!(Mixture::fit(&flat[..12], 20).err(), Some(Refusal::TooFewPoints));
    assert_eq!(Mixture::fit(&[], 20).err(), Some(Refusal::TooFewPoints));
}

/// P10 to P90 holds the truth in 70 to 90 of 100 lives of a Wiener process, asked half way.
#[test]
fn the_interval_covers_what_it_says() {
    let mut noise = Noise(17);
    let (mut n, mut n_held) = (0, 0);
    for _ in 0..300 {
        let (mut wear, mut history, mut h) = (0.0, Vec::new(), 0.0);
        while wear < 0.5 {
            history.push(Point { h, wear });
            wear += 0.005 + 0.01 * noise.next();
            h += 1.0;
        }
        let asked = h - 1.0;
        while wear < LIMIT {
            wear += 0.005 + 0.01 * noise.next();
            h += 1.0;
        }
        let Some(wiener) = Wiener::fit(&history) else { continue };
        let now = history.last().unwrap().wear;
        let mixture = Mixture {
            wiener: Some(wiener),
            exponential: None,
            weight: 0.0,
            now_h: asked,
            wear: now,
            slope: wiener.drift,
        };
        let Ok(life) = mixture.life() else { continue };
        n += 1;
        n_held += usize::from(life.p10_h <= h - asked && h - asked <= life.p90_h);
    }
    let share = n_held as f64 / n as f64;
    assert!(n > 250 && (0.7..=0.9).contains(&share), "{n_held} of {n}");
}
