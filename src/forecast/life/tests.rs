//! The quantiles against truth on exact and on simulated lives.

use super::*;

/// Rise at which these machines are worn out, dB.
const LIMIT_DB: f64 = 20.0;

const KNOWN: Known = Known { limit_db: LIMIT_DB, idle: 0.0, points_min: 20 };

fn life(points: &[Point]) -> Result<Life, Refusal> {
    let mut mixture = Mixture::new();
    mixture.fit(points, &KNOWN)?;
    mixture.life()
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
fn exact_growth_is_forecast_on_the_early_side() {
    // Twice the machine's own amplitude, growing by 2 % an hour; the limit is at 99^(1/2).
    let at = |h: f64| 10.0 * (1.0 + (4.0 * (0.04 * h).exp())).log10();
    let points: Vec<Point> =
        (0..60).map(|h| Point { h: f64::from(h), db: at(f64::from(h)) }).collect();
    let life = life(&points).unwrap();
    let truth = (99f64.sqrt() / 2.0).ln() / 0.02 - 59.0;
    assert!((0.75..1.0).contains(&(life.p50_h / truth)), "{life:?} for {truth}");
    assert!(life.p10_h < life.p50_h && truth < life.p90_h, "{life:?} for {truth}");
}

#[test]
fn no_slope_is_no_forecast() {
    let mut noise = Noise(5);
    let mut n_stated = 0;
    let mut flat = Vec::new();
    for _ in 0..200 {
        flat.clear();
        flat.extend((0..100).map(|i| Point { h: i as f64, db: 6.0 + noise.next() }));
        n_stated += usize::from(life(&flat).err() != Some(Refusal::SlopeUncertain));
    }
    assert!(n_stated <= 5 + 7, "{n_stated} of 200 at 2.5 %");
    assert_eq!(life(&flat[..12]).err(), Some(Refusal::TooFewPoints));
    assert_eq!(life(&[]).err(), Some(Refusal::TooFewPoints));
}

/// P10 to P90 holds the truth in 70 to 90 of 100 lives of a Wiener process, asked half way.
#[test]
fn the_interval_covers_what_it_says() {
    let mut noise = Noise(17);
    let (mut n, mut n_held) = (0, 0);
    for _ in 0..300 {
        let (mut db, mut history, mut h) = (5.0, Vec::new(), 0.0);
        let mut step = || 0.1 + 0.2 * noise.next();
        while db < 12.0 {
            history.push(Point { h, db });
            db += step();
            h += 1.0;
        }
        let asked = h - 1.0;
        while db < LIMIT_DB {
            db += step();
            h += 1.0;
        }
        let Ok(life) = life(&history) else {
            continue;
        };
        n += 1;
        n_held += usize::from(life.p10_h <= h - asked && h - asked <= life.p90_h);
    }
    let share = n_held as f64 / n as f64;
    assert!(n > 150 && (0.7..=0.95).contains(&share), "{n_held} of {n}");
}

#[test]
fn turns_are_looked_for_where_they_matter() {
    assert_eq!(turns(15).count(), 0);
    assert_eq!(turns(40).collect::<Vec<_>>(), [32, 24, 8]);
    let n = turns(POINTS_MAX).count();
    let capacity = Mixture::new().tracks.capacity();
    assert!(n == 4 && capacity == Law::ALL.len() * WALKS.len() * 5, "{n} turns, {capacity}");
}

#[test]
fn slow_ups_and_downs_widen_the_interval() {
    let points: Vec<Point> =
        (0..60).map(|i| Point { h: f64::from(i), db: 4.0 + 0.15 * f64::from(i) }).collect();
    let width = |idle: f64| {
        let mut mixture = Mixture::new();
        mixture.fit(&points, &Known { idle, ..KNOWN }).unwrap();
        let life = mixture.life().unwrap();
        life.p90_h - life.p10_h
    };
    assert!(width(0.25) > 1.2 * width(0.0), "{} and {}", width(0.25), width(0.0));
}
