//! The knocks: a damaged bearing strikes the casing, and the casing rings.
//!
//! Strikes come with the cage's slip and a scatter of their own, so the train is nearly but never
//! exactly periodic; each is a load times the ring of three modes.
//!
//! # Source
//! McFadden and Smith, J. Sound Vib. 96 (1984) 69-82 (load zone and rotation); Antoni and Randall,
//! J. Vib. Acoust. 125 (2003) 282-289 (slip); Stribeck's load distribution, half the ring loaded.

use std::f64::consts::PI;

use super::chance::{between, exp, pow, sin_cos, stream, uniform, wander};
use super::config::{Config, FaultKind};
use super::lines::radiation;
use super::machine::Moment;

/// Positions between two samples at which a ring is tabulated.
const N_FRACTIONS: usize = 16;
/// Samples of a ring, at the most.
const RING_MAX: usize = 4096;
/// Peak of a strike at severity 1, nominal speed and full load, m/s2.
const STRIKE_MPS2: f64 = 45.0;
/// Spacing scatter of strikes, relative to their distance.
const SCATTER: f64 = 0.01;
/// Beyond this severity the damage spreads and its lines dissolve.
const SPREADING: f64 = 0.85;

/// How the casing answers a strike: one ring per fraction of a sample and axis.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    len: usize,
    n_axes: usize,
    table: Vec<f64>,
}

impl Ring {
    /// Three modes drawn by the seed, as far as the rate can carry them.
    pub(super) fn new(config: &Config) -> Self {
        let seed = stream(config.seed, 2);
        let modes: Vec<[f64; 3]> =
            [(2200.0, 3600.0, 1.0), (4800.0, 7000.0, 0.7), (8.0e3, 11.0e3, 0.4)]
                .iter()
                .enumerate()
                .map(|(n, (low, high, gain))| {
                    let hz = between(seed, n as u64, *low, *high);
                    let damping = between(seed, 10 + n as u64, 0.02, 0.04);
                    [hz, damping, gain * radiation(config.kind, hz)]
                })
                .filter(|[hz, ..]| *hz < 0.45 * config.rate_hz)
                .collect();
        let longest = modes.iter().map(|[hz, damping, _]| 7.0 / (2.0 * PI * damping * hz));
        let len = (longest.fold(0.0, f64::max) * config.rate_hz) as usize;
        let (len, n_axes) = (len.min(RING_MAX), config.axes);
        let mut table = Vec::with_capacity(N_FRACTIONS * n_axes * len);
        for fraction in 0..N_FRACTIONS {
            for axis_idx in 0..n_axes {
                let share: [f64; 3] = std::array::from_fn(|mode| {
                    let n = (axis_idx * 3 + mode) as u64;
                    if axis_idx == 0 { 1.0 } else { between(seed, 20 + n, 0.3, 1.0) }
                });
                for n in 0..len {
                    let t = (n as f64 + fraction as f64 / N_FRACTIONS as f64) / config.rate_hz;
                    let ring = modes.iter().zip(share).map(|([hz, damping, gain], share)| {
                        share * gain * exp(-2.0 * PI * damping * hz * t) * sin_cos(hz * t).0
                    });
                    table.push(ring.sum());
                }
            }
        }
        Self { len, n_axes, table }
    }

    /// Samples a strike goes on for.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a strike `at` samples after sample `begin` of `out` (which may be before it) to each axis.
    fn add(&self, begin: i64, at: f64, peak: f64, out: &mut [f64]) {
        let n = out.len() / self.n_axes;
        let first = at.ceil();
        let fraction = (((first - at) * N_FRACTIONS as f64) as usize).min(N_FRACTIONS - 1);
        let first = begin + first as i64;
        for (axis_idx, out) in out.chunks_exact_mut(n).enumerate() {
            let from = (fraction * self.n_axes + axis_idx) * self.len;
            let ring = &self.table[from..from + self.len];
            let skipped = (-first).max(0) as usize;
            let begin = first.max(0) as usize;
            if skipped >= ring.len() || begin >= n {
                continue;
            }
            for (value, ring) in out[begin..].iter_mut().zip(&ring[skipped..]) {
                *value += peak * ring;
            }
        }
    }
}

/// The strikes of one damaged part.
#[derive(Clone, Debug)]
pub(super) struct Train {
    kind: FaultKind,
    /// Strikes per turn of the shaft, slip included.
    order: f64,
    ftf: f64,
    load: f64,
    seed: u64,
}

impl Train {
    /// The four parts of a bearing.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        let bearing = config.bearing;
        let slipped = |order: f64| order * (1.0 - config.slip);
        [
            (FaultKind::OuterRace, bearing.bpfo),
            (FaultKind::InnerRace, bearing.bpfi),
            (FaultKind::Ball, 2.0 * bearing.bsf),
            (FaultKind::Cage, bearing.ftf),
        ]
        .into_iter()
        .map(|(kind, order)| Self {
            kind,
            order: slipped(order),
            ftf: slipped(bearing.ftf),
            load: 0.4 + 0.6 * config.load,
            seed: stream(config.seed, 3 + kind as u64),
        })
        .collect()
    }

    /// Strikes made until `turns`: the cage wanders a few parts in a thousand.
    fn count(&self, turns: f64) -> f64 {
        let slow = 0.02 * self.order * wander(self.seed, turns / 11.0);
        let slower = 0.1 * self.order * wander(self.seed ^ 1, turns / 97.0);
        self.order * turns + slow + slower
    }

    /// Adds the strikes between two moments, `len` samples apart, the first at sample `begin` of `out`
    /// (`[axis][n]`).
    pub(super) fn add(
        &self,
        ring: &Ring,
        [from, to]: [&Moment; 2],
        (begin, len): (i64, usize),
        out: &mut [f64],
    ) {
        let severity = from.severity[self.kind as usize];
        if severity <= 0.0 {
            return;
        }
        let (before, after) = (self.count(from.turns), self.count(to.turns));
        let spread = ((severity - SPREADING) / (1.0 - SPREADING)).max(0.0);
        let peak = STRIKE_MPS2 * severity * self.load * from.gain * pow(from.ratio, 1.5);
        let mut number = before.floor() + 1.0;
        while number <= after {
            let n = number as i64 as u64;
            let x = (number - before) / (after - before);
            let turns = from.turns + (to.turns - from.turns) * x;
            let distance = len as f64 / (after - before);
            let scatter = (2.0 * uniform(self.seed ^ 2, n) - 1.0) * (SCATTER + 0.4 * spread);
            let height = 1.0 + (2.0 * uniform(self.seed ^ 3, n) - 1.0) * (0.15 + 0.5 * spread);
            let at = x * len as f64 + scatter * distance.min(ring.len as f64);
            ring.add(begin, at, peak * height * self.load_zone(number, turns), out);
            number += 1.0;
        }
    }

    /// How much of the load the damaged spot carries when it strikes, 0 to 1.
    fn load_zone(&self, number: f64, turns: f64) -> f64 {
        let zone = |turns: f64| 0.1 + 0.9 * pow(sin_cos(turns).1.max(0.0), 1.5);
        match self.kind {
            FaultKind::InnerRace => zone(turns),
            FaultKind::Ball => {
                let race = if number as i64 % 2 == 0 { 1.0 } else { 0.6 };
                race * zone(self.ftf * turns)
            }
            FaultKind::Cage => 0.6,
            _ => 1.0,
        }
    }
}
