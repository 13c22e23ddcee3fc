//! Many different machines, for teaching and for trials: each seed is another.

use super::chance::{between, exp, ln, stream, uniform};
use super::config::{Bearing, Config, Kind};
use super::machine::Machine;

/// Ball bearings as they are built: balls, ball to pitch diameter ratio.
const BALLS: [f64; 2] = [7.0, 14.0];
const RATIO: [f64; 2] = [0.14, 0.32];

impl Config {
    /// A healthy machine drawn by `seed`: speed 600-3600 r/min, bearing, gear, blades, load, noise.
    pub fn random(seed: u64, kind: Kind, rate_hz: f64) -> Self {
        let draw = stream(seed, 7);
        let pick = |n: u64, low: f64, high: f64| between(draw, n, low, high);
        let log_pick = |n: u64, low: f64, high: f64| exp(pick(n, ln(low), ln(high)));
        let has = |n: u64, share: f64| uniform(draw, n) < share;
        let whole = |n: u64, low: f64, high: f64| pick(n, low, high + 1.0).floor();
        let (balls, r) = (whole(0, BALLS[0], BALLS[1]), pick(1, RATIO[0], RATIO[1]));
        let ftf = 0.5 * (1.0 - r);
        // Kinematics of a bearing with its outer race held and no contact angle.
        let bearing = Bearing {
            ftf,
            bpfo: balls * ftf,
            bpfi: balls * (1.0 - ftf),
            bsf: (1.0 - r * r) / (2.0 * r),
        };
        let noise = match kind {
            Kind::Vibration => log_pick(2, 0.05, 2.0),
            Kind::Sound => log_pick(2, 0.01, 0.5),
        };
        Self {
            seed,
            kind,
            rate_hz,
            speed_rpm: log_pick(3, 600.0, 3600.0),
            speed_wander: log_pick(4, 0.0003, 0.004),
            load: pick(5, 0.2, 1.0),
            bearing,
            slip: pick(6, 0.002, 0.018),
            gear_teeth: if has(7, 0.4) { whole(8, 15.0, 60.0) as u32 } else { 0 },
            blades: if has(9, 0.6) { whole(10, 3.0, 12.0) as u32 } else { 0 },
            line_hz: if has(11, 0.5) { 50.0 } else { 60.0 },
            noise,
            ambient: noise * log_pick(12, 0.02, 0.5),
            drift_db: pick(13, 0.0, 1.5),
            ..Self::default()
        }
    }
}

impl Machine {
    /// A healthy accelerometer machine drawn by `seed`, one axis at 25.6 kHz.
    ///
    /// # Panics
    /// Never: what is drawn lies within what is checked.
    pub fn random(seed: u64) -> Self {
        let config = Config::random(seed, Kind::Vibration, 25_600.0);
        config.build().expect("the ranges drawn from lie within those checked")
    }
}
