//! Coloured noise: white noise through the machine's own transfer function.

use std::f64::consts::PI;

use super::chance::{between, exp, normals, sin_cos, stream};

/// Length of a colouring filter in samples.
const N_TAPS: usize = 48;

/// A filter that gives unit RMS from unit white noise.
#[derive(Clone, Debug)]
pub(super) struct Colour {
    taps: Vec<f64>,
}

impl Colour {
    /// Three ringing modes drawn by `seed` below `0.45 rate_hz` over a flat floor, as a casing has.
    pub(super) fn casing(seed: u64, rate_hz: f64) -> Self {
        let mut taps = vec![0.0; N_TAPS];
        taps[0] = 0.8;
        for mode in 0..3 {
            let hz = rate_hz * between(seed, mode, 0.02, 0.45);
            let damping = between(seed, 10 + mode, 0.03, 0.12);
            let gain = between(seed, 20 + mode, 0.2, 0.9);
            for (n, tap) in (0..).zip(&mut taps) {
                let t = f64::from(n) / rate_hz;
                let (sin, cos) = sin_cos(hz * t);
                *tap += gain * exp(-2.0 * PI * damping * hz * t) * (cos + sin) / 2.0;
            }
        }
        Self::normalised(taps)
    }

    /// A band between two frequencies, by a windowed difference of low-passes.
    pub(super) fn band(low_hz: f64, high_hz: f64, rate_hz: f64) -> Self {
        let middle = (N_TAPS - 1) as f64 / 2.0;
        let (low, high) = ((low_hz / rate_hz).min(0.4), (high_hz / rate_hz).min(0.48));
        let low_pass = |cut: f64, x: f64| sin_cos(cut * x).0 / (PI * x);
        let taps = (0..N_TAPS).map(|n| {
            let x = n as f64 - middle;
            let window = 0.5 + 0.5 * sin_cos(x / N_TAPS as f64).1;
            window * (low_pass(high, x) - low_pass(low, x))
        });
        Self::normalised(taps.collect())
    }

    /// Mostly low frequencies, as a hall sounds.
    pub(super) fn hall() -> Self {
        Self::normalised((0..N_TAPS).map(|n| exp(-(n as f64) / 8.0)).collect())
    }

    fn normalised(mut taps: Vec<f64>) -> Self {
        let energy: f64 = taps.iter().map(|tap| tap * tap).sum();
        let scale = 1.0 / energy.sqrt();
        for tap in &mut taps {
            *tap *= scale;
        }
        Self { taps }
    }

    /// Adds noise of `levels[n / chunk]` RMS to `out`; sample `n` is number `first + n` of the stream.
    pub(super) fn add(
        &self,
        seed: u64,
        first: i64,
        white: &mut Vec<f64>,
        level: impl Fn(usize) -> f64,
        out: &mut [f64],
    ) {
        white.resize(out.len() + N_TAPS - 1, 0.0);
        let lead = first.wrapping_sub(N_TAPS as i64 - 1) as u64;
        normals(stream(seed, 0), lead, white);
        for (n, value) in out.iter_mut().enumerate() {
            let past = &white[n..n + N_TAPS];
            let sum: f64 = self.taps.iter().zip(past.iter().rev()).map(|(tap, x)| tap * x).sum();
            *value += level(n) * sum;
        }
    }
}
