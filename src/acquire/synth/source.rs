//! The synthetic machine as a source.

use super::config::{BLOCK_SAMPLES, Config, Kind, SensorFaultKind};
use super::machine::{Machine, Scratch};
use crate::acquire::{Error, Info, Read, Source, second_of};
use crate::types::{Frame, Origin, Quality, Span, Stamp, Unit};

/// Reads a machine from its beginning on.
pub(super) struct Synth {
    machine: Machine,
    info: Info,
    origin: Origin,
    start: Stamp,
    /// Next frame, counted from 0.
    pub(super) frame_idx: u64,
    scratch: Scratch,
}

impl Synth {
    pub(super) fn new(machine: Machine, origin: Origin, start: Stamp) -> Self {
        let config = machine.config();
        let info = Info {
            identity: format!("synth:{}", config.seed),
            rate_hz: config.rate_hz,
            n_channels: config.axes,
            unit: match config.kind {
                Kind::Vibration => Unit::MetersPerSecond2,
                Kind::Sound => Unit::Pascal,
            },
            snapshot_samples: (config.snapshot_samples > 0).then_some(config.snapshot_samples),
            live: false,
        };
        let scratch = Scratch::default();
        Self { machine, info, origin, start, frame_idx: 0, scratch }
    }

    /// Number of the first sample of a frame, and how many it has; 0 at the end.
    fn place(&self, frame_idx: u64) -> (i64, usize) {
        let config = self.machine.config();
        let end = match config.duration_s {
            0.0 => i64::MAX,
            seconds => (seconds * config.rate_hz).round() as i64,
        };
        if config.snapshot_samples > 0 {
            let t_s = frame_idx as f64 * config.snapshot_every_s;
            let first = (t_s * config.rate_hz).round() as i64;
            let whole = first.saturating_add(config.snapshot_samples as i64) <= end;
            return (first, if whole { config.snapshot_samples } else { 0 });
        }
        let block = BLOCK_SAMPLES.min(second_of(config.rate_hz)) as i64;
        let first = (frame_idx as i64).saturating_mul(block);
        (first, (end - first).clamp(0, block) as usize)
    }

    /// Whether the sensor is ordered to lose the frame that begins at `t_s`.
    fn is_lost(config: &Config, t_s: f64) -> bool {
        let dropout = SensorFaultKind::Dropout;
        config.sensor_faults.iter().any(|fault| fault.fault == dropout && fault.is_on(t_s, 0))
    }
}

impl Source for Synth {
    fn info(&self) -> &Info {
        &self.info
    }

    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error> {
        let rate_hz = self.info.rate_hz;
        let mut n_lost = 0;
        let (first, n) = loop {
            let (first, n) = self.place(self.frame_idx);
            if n == 0 {
                return Ok(Read::End);
            }
            self.frame_idx += 1;
            if !Self::is_lost(self.machine.config(), first as f64 / rate_hz) {
                break (first, n);
            }
            n_lost += n as u64;
            // A sensor that is gone for good must not keep its reader for ever.
            if n_lost > (rate_hz / 4.0) as u64 && self.machine.config().duration_s == 0.0 {
                return Ok(Read::Quiet);
            }
        };
        let t_s = first as f64 / rate_hz;
        self.info.begin(frame, &self.origin, first as u64);
        frame.start = self.start + Span::from_secs(t_s);
        self.machine.render(first, n, &mut self.scratch, &mut frame.samples);
        frame.origin.n_samples = n as u64;
        frame.n_lost = n_lost;
        if self.machine.config().tell_speed {
            frame.speed_hz = Some(self.machine.truth(t_s).speed_hz).filter(|hz| *hz > 0.0);
        }
        frame.clean();
        if n_lost > 0 {
            frame.flag(Quality::DROPOUT);
        }
        Ok(Read::Frame)
    }
}
