//! The tones: shaft harmonics, gear mesh with sidebands, blade pass, twice the mains frequency.
//!
//! # Source
//! Signatures as in `domain.md` 4.1: Mobius/ISO 18436-2 practice and Randall, Vibration-based
//! Condition Monitoring (2011), chapters 2 and 5.

use std::f64::consts::{PI, SQRT_2};

use super::chance::{between, sin_cos, stream};
use super::config::{AXES_MAX, Config, FaultKind, Kind};
use super::machine::Moment;

/// What turns the tone.
#[derive(Clone, Copy, Debug)]
enum Clockwork {
    /// So many per turn of the shaft.
    Order(f64),
    /// So many a second while the machine runs.
    Hertz(f64),
}

/// One tone.
#[derive(Clone, Debug)]
pub(super) struct Line {
    clockwork: Clockwork,
    /// Amplitude of the healthy machine at nominal speed, m/s2 or Pa.
    healthy: f64,
    /// What a fault adds at severity 1.
    faulty: Option<(FaultKind, f64)>,
    /// Share and phase of each axis, as cosine and sine parts.
    axes: [(f64, f64); AXES_MAX],
}

/// Which way a tone shakes: horizontal, vertical, axial.
type Direction = [f64; AXES_MAX];

/// A force that turns with the rotor is felt across the shaft.
const RADIAL: Direction = [1.0, 0.85, 0.2];
/// A bent shaft or a coupling at an angle pushes along it.
const AXIAL: Direction = [0.55, 0.5, 1.0];
/// A loose foot lifts.
const LIFTING: Direction = [0.3, 1.2, 0.2];
/// Gears and blades are felt all round.
const ALL_ROUND: Direction = [1.0, 0.9, 0.7];

struct Maker<'a> {
    config: &'a Config,
    seed: u64,
    lines: Vec<Line>,
}

impl Maker<'_> {
    /// A tone by its velocity at nominal speed, mm/s RMS: healthy, and what the fault adds.
    fn velocity(&mut self, order: f64, way: Direction, healthy: f64, fault: FaultKind, worst: f64) {
        let omega = 2.0 * PI * order * self.config.speed_rpm / 60.0;
        let scale = 1e-3 * SQRT_2 * omega;
        self.add(Clockwork::Order(order), way, healthy * scale, Some((fault, worst * scale)));
    }

    /// A tone by its acceleration amplitude at nominal speed, m/s2.
    fn acceleration(&mut self, order: f64, healthy: f64, fault: FaultKind, worst: f64) {
        self.add(Clockwork::Order(order), ALL_ROUND, healthy, Some((fault, worst)));
    }

    fn add(
        &mut self,
        clockwork: Clockwork,
        way: Direction,
        healthy: f64,
        faulty: Option<(FaultKind, f64)>,
    ) {
        let n = self.lines.len() as u64;
        let hz = match clockwork {
            Clockwork::Order(order) => order * self.config.speed_rpm / 60.0,
            Clockwork::Hertz(hz) => hz,
        };
        // What is folded down by a real converter's filter does not get through at all.
        if hz >= 0.45 * self.config.rate_hz {
            return;
        }
        let own = between(self.seed, n, 0.6, 1.6) * radiation(self.config.kind, hz);
        let phase = between(self.seed, 1000 + n, 0.0, 1.0);
        let axes = std::array::from_fn(|axis_idx| {
            // Vertical follows horizontal a quarter turn later, as a turning force makes it.
            let (sin, cos) = sin_cos(phase + 0.25 * axis_idx as f64);
            (way[axis_idx] * cos, way[axis_idx] * sin)
        });
        let (healthy, faulty) = (healthy * own, faulty.map(|(kind, worst)| (kind, worst * own)));
        self.lines.push(Line { clockwork, healthy, faulty, axes });
    }
}

/// What of an acceleration reaches the ear: Pa per m/s2 at a metre, little of it below 400 Hz where a
/// casing is short against the wave.
pub(super) fn radiation(kind: Kind, hz: f64) -> f64 {
    match kind {
        Kind::Vibration => 1.0,
        Kind::Sound => 0.05 * (hz / 400.0).min(1.0),
    }
}

impl Line {
    /// Every tone of a machine.
    pub(super) fn all(config: &Config) -> Vec<Self> {
        use FaultKind::{
            BentShaft, BladePass, Electrical, GearMesh, Imbalance, Looseness, Misalignment,
        };
        let mut maker = Maker { config, seed: stream(config.seed, 1), lines: Vec::new() };
        maker.velocity(1.0, RADIAL, 0.4, Imbalance, 9.0);
        maker.velocity(1.0, AXIAL, 0.05, BentShaft, 8.0);
        maker.velocity(2.0, AXIAL, 0.05, BentShaft, 1.5);
        maker.velocity(1.0, AXIAL, 0.05, Misalignment, 4.0);
        maker.velocity(2.0, ALL_ROUND, 0.1, Misalignment, 7.0);
        maker.velocity(3.0, ALL_ROUND, 0.05, Misalignment, 1.5);
        for half_orders in 1..=20_i32 {
            let order = f64::from(half_orders) / 2.0;
            let worst = match half_orders {
                1 | 3 | 5 => 1.2,
                n if n % 2 == 0 => 5.0 / order.sqrt(),
                _ => continue,
            };
            maker.velocity(order, LIFTING, 0.0, Looseness, worst);
        }
        if config.gear_teeth > 0 {
            let teeth = f64::from(config.gear_teeth);
            for (harmonic, healthy, worst) in [(1.0, 0.4, 6.0), (2.0, 0.2, 4.0), (3.0, 0.08, 2.0)] {
                let load = 0.4 + 0.6 * config.load;
                maker.acceleration(harmonic * teeth, healthy * load, GearMesh, worst * load);
                for (side, share) in [(-2.0, 0.2), (-1.0, 0.5), (1.0, 0.5), (2.0, 0.2)] {
                    let order = harmonic * teeth + side;
                    maker.acceleration(order, healthy * 0.2 * share, GearMesh, worst * share);
                }
            }
        }
        if config.blades > 0 {
            let blades = f64::from(config.blades);
            maker.acceleration(blades, 0.2, BladePass, 4.0);
            maker.acceleration(2.0 * blades, 0.08, BladePass, 2.0);
        }
        if config.line_hz > 0.0 {
            let clockwork = Clockwork::Hertz(2.0 * config.line_hz);
            maker.add(clockwork, RADIAL, 0.05, Some((Electrical, 3.0)));
        }
        maker.lines.retain(|line| line.healthy > 0.0 || line.faulty.is_some());
        maker.lines
    }

    /// Adds the tone between two moments, `len` samples apart, the first at sample `begin` of `out`
    /// (`[axis][n]`); what falls outside `out` is left out.
    pub(super) fn add(
        &self,
        n_axes: usize,
        [from, to]: [&Moment; 2],
        (begin, len): (i64, usize),
        out: &mut [f64],
    ) {
        let fault = self.faulty.map_or(0.0, |(kind, worst)| worst * from.severity[kind as usize]);
        // Forces of mass go with speed squared (a = v w, v ~ w); magnetic ones are there or not.
        let speed = match self.clockwork {
            Clockwork::Order(_) => from.ratio * from.ratio,
            Clockwork::Hertz(_) => from.running,
        };
        let amplitude = (self.healthy + fault) * speed;
        if amplitude < 1e-9 {
            return;
        }
        let (phase, step) = match self.clockwork {
            Clockwork::Order(order) => (order * from.turns, order * (to.turns - from.turns)),
            Clockwork::Hertz(hz) => (hz * from.t_s, hz * (to.t_s - from.t_s)),
        };
        let n = out.len() / n_axes;
        let first = (-begin).clamp(0, len as i64) as usize;
        let last = (n as i64 - begin).clamp(0, len as i64) as usize;
        for idx in first..last {
            let (sin, cos) = sin_cos(phase + step * (idx as f64 / len as f64));
            let at = (begin + idx as i64) as usize;
            for (axis_idx, (cos_part, sin_part)) in self.axes[..n_axes].iter().enumerate() {
                out[axis_idx * n + at] += amplitude * (cos * cos_part - sin * sin_part);
            }
        }
    }
}
