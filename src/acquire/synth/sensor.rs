//! What the sensor makes of the signal: its range, its steps, and the faults it has to order.

use super::chance::{bits, stream};
use super::config::{Config, Kind, SensorFault, SensorFaultKind};

/// Range of an accelerometer of 16 g, m/s2.
const RANGE_MPS2: f64 = 160.0;
/// Range of a microphone, Pa.
const RANGE_PA: f64 = 28.0;
/// Cut-off of a sensor that hangs loose, Hz.
const LOOSE_HZ: f64 = 700.0;

/// From the machine's signal to samples.
#[derive(Clone, Debug)]
pub(super) struct Sensor {
    faults: Vec<SensorFault>,
    rate_hz: f64,
    n_axes: usize,
    range: f64,
    step: f64,
    seed: u64,
    loose_taps: usize,
}

impl Sensor {
    pub(super) fn new(config: &Config) -> Self {
        let usual = match config.kind {
            Kind::Vibration => RANGE_MPS2,
            Kind::Sound => RANGE_PA,
        };
        let range = if config.range > 0.0 { config.range } else { usual };
        let step = match config.bits {
            0 => 0.0,
            n_bits => range / (1_u64 << (n_bits - 1)) as f64,
        };
        // A boxcar of n samples is 3 dB down at 0.443/n of the rate.
        let loose_taps = (0.443 * config.rate_hz / LOOSE_HZ).round().clamp(2.0, 128.0) as usize;
        Self {
            faults: config.sensor_faults.clone(),
            rate_hz: config.rate_hz,
            n_axes: config.axes,
            range,
            step,
            seed: stream(config.seed, 90),
            loose_taps,
        }
    }

    /// Samples of signal it needs before the first it gives.
    pub(super) fn lead(&self) -> usize {
        let loose = |fault: &SensorFault| fault.fault == SensorFaultKind::LooseMount;
        if self.faults.iter().any(loose) { self.loose_taps } else { 0 }
    }

    /// Appends `n` samples from number `first` on to `out`, interleaved; `signal` is
    /// `[axis][lead + n]`.
    pub(super) fn sense(&self, first: i64, n: usize, signal: &[f64], out: &mut Vec<f32>) {
        let lead = self.lead();
        out.reserve(n * self.n_axes);
        for idx in 0..n {
            for axis_idx in 0..self.n_axes {
                let axis = &signal[axis_idx * (lead + n)..(axis_idx + 1) * (lead + n)];
                let sample = first + idx as i64;
                out.push(if self.faults.is_empty() {
                    self.convert(axis[lead + idx])
                } else {
                    self.broken(axis, lead + idx, sample, axis_idx)
                });
            }
        }
    }

    /// Rounds to the converter's steps, between the rails.
    fn convert(&self, value: f64) -> f32 {
        if self.step == 0.0 {
            return value.clamp(-self.range, self.range) as f32;
        }
        let counts = (value / self.step).round() * self.step;
        counts.clamp(-self.range, self.range - self.step) as f32
    }

    /// One sample through the faults that are there.
    fn broken(&self, axis: &[f64], at: usize, sample: i64, axis_idx: usize) -> f32 {
        let t_s = sample as f64 / self.rate_hz;
        let mut value = axis[at];
        let mut stuck = None;
        for (number, fault) in (0..).zip(&self.faults) {
            if !fault.is_on(t_s, axis_idx) {
                continue;
            }
            let amount = |usual: f64| if fault.amount == 0.0 { usual } else { fault.amount };
            let random = bits(self.seed ^ (number * 8 + axis_idx as u64), sample as u64);
            match fault.fault {
                SensorFaultKind::Clipping => value *= amount(1000.0),
                SensorFaultKind::Flat => stuck = Some(self.convert(self.range / 64.0)),
                SensorFaultKind::Dropout => stuck = Some(0.0),
                SensorFaultKind::Zeros => {
                    stuck = ((t_s * 5.0).fract() < 0.1).then_some(0.0).or(stuck);
                }
                SensorFaultKind::LooseMount => {
                    let past = &axis[at + 1 - self.loose_taps..=at];
                    value += past.iter().sum::<f64>() / self.loose_taps as f64 - axis[at];
                }
                SensorFaultKind::Spikes => {
                    let sign = if random >> 63 == 0 { 1.0 } else { -1.0 };
                    let hit = random.is_multiple_of(10_000);
                    value += if hit { sign * amount(self.range / 2.0) } else { 0.0 };
                }
                SensorFaultKind::Nan => {
                    stuck = random.is_multiple_of(1000).then_some(f32::NAN).or(stuck);
                }
                SensorFaultKind::BiasStep => value += amount(self.range / 4.0),
            }
        }
        stuck.unwrap_or_else(|| self.convert(value))
    }
}
