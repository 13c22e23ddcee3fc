//! Is the sensor alive: clipped, flat, samples missing, nonsense, spikes, too quiet, its zero point gone.
//!
//! Judged from the samples alone, since a converter's range and step are seldom known: the step is the
//! smallest change seen, the rail is where a signal that was moving stops dead. A quiet machine on a
//! working sensor is not a dead sensor.
//!
//! # Source
//! `domain.md` 9.4; the constants below name where they differ.

mod look;
mod spike;

use self::look::{Look, Run, are_within};
use crate::types::{Frame, Quality, Shape, Unit};

/// Samples that do not change before a channel is called stuck; more at high rates ([`STUCK_S`]).
const STUCK_SAMPLES: u64 = 64;
/// Zeros in a living signal before they are called missing; more at high rates.
const ZEROS_SAMPLES: u64 = 32;
/// Time for both, s.
const STUCK_S: f64 = 0.005;
/// Samples needed to judge how a channel moves.
const JUDGE_SAMPLES: usize = 256;
/// RMS in converter steps below which the sensor hears mostly itself.
const QUIET_STEPS: f64 = 3.0;
/// Share of samples on plateaus beyond which nothing can be said.
const SATURATED_SHARE: f64 = 0.01;
/// Length of the stretches whose means are compared, s.
const BIAS_BLOCK_S: f64 = 0.25;
/// Stretches needed before a jump of the mean can be told.
const BIAS_BLOCKS: u32 = 8;
/// How long a jump is held against the sensor, s: several time constants of its coupling.
const BIAS_HOLD_S: f64 = 10.0;
/// Spikes that follow each other within this stand for one trouble, s.
const SPIKES_HOLD_S: f64 = 10.0;

/// Watches the samples of one sensor, frame by frame.
#[derive(Debug)]
pub struct Sense {
    rate_hz: f64,
    channels: Vec<Channel>,
    next_sample: Option<u64>,
    /// The samples of one of several channels.
    plane: Vec<f32>,
}

/// What is remembered of a channel.
#[derive(Clone, Debug, Default)]
struct Channel {
    run: Run,
    /// Short frames, until they are enough to judge by.
    gathered: Option<Look>,
    /// What the last judgement was: dead, quiet or neither.
    judged: Quality,
    bias: Bias,
    spikes: Spikes,
}

/// The mean and what it usually does.
#[derive(Clone, Debug, Default)]
struct Bias {
    sum: f64,
    sum_squares: f64,
    n: u64,
    level: f64,
    scatter: f64,
    loudest: f64,
    /// RMS of the last two stretches, not yet counted as usual: a step is loud itself.
    recent: [f64; 2],
    /// Whether the last stretch was out of the usual.
    was_strange: bool,
    n_blocks: u32,
    hold_samples: u64,
}

/// How long ago there was a spike, and whether it was not the only one.
#[derive(Clone, Debug, Default)]
struct Spikes {
    hold_samples: u64,
    are_many: bool,
}

impl Sense {
    /// For frames of this rate and so many channels.
    pub fn new(rate_hz: f64, n_channels: usize) -> Self {
        let channels = vec![Channel::default(); n_channels];
        Self { rate_hz, channels, next_sample: None, plane: Vec::new() }
    }

    /// Flags what is wrong with a frame, in `axis_quality` and, where it stands for every channel, in
    /// `quality`. Values no sensor of this unit can give become 0 and are [`Quality::GARBAGE`]; single samples
    /// no machine can give become the middle of their neighbours and are [`Quality::SPIKES`].
    ///
    /// # Panics
    /// If the frame has other channels than [`Sense::new`] was told: a bug in the caller.
    pub fn check(&mut self, frame: &mut Frame) {
        assert_eq!(frame.n_channels, self.channels.len(), "a sensor does not change its channels");
        self.check_gap(frame);
        // Stand-ins for a sensor that is away teach nothing about it.
        if frame.is_empty() || frame.quality.has(Quality::FLAT) {
            self.forget_runs();
            return;
        }
        if !are_within(&frame.samples, limit(frame.unit)) {
            frame.clean();
            replace_absurd(frame);
        }
        for channel_idx in 0..self.channels.len() {
            let flags = self.check_channel(frame, channel_idx);
            let axis = &mut frame.axis_quality[channel_idx];
            *axis = axis.with(flags);
        }
        frame.settle();
    }

    /// Another recording begins.
    pub fn forget(&mut self) {
        self.next_sample = None;
        self.channels.fill(Channel::default());
    }

    fn forget_runs(&mut self) {
        for channel in &mut self.channels {
            channel.run = Run::default();
            (channel.gathered, channel.judged) = (None, Quality::GOOD);
        }
    }

    /// Numbers that do not follow on: samples are missing, or another recording begins.
    fn check_gap(&mut self, frame: &mut Frame) {
        let first = frame.origin.first_sample;
        if frame.shape == Shape::Stream {
            match self.next_sample {
                Some(next) if first < next => self.forget(),
                Some(next) if first > next => {
                    frame.flag(Quality::DROPOUT);
                    self.forget_runs();
                }
                _ => {}
            }
            if frame.n_lost > 0 {
                frame.flag(Quality::DROPOUT);
            }
        } else {
            self.forget_runs();
        }
        self.next_sample = Some(first + frame.len() as u64);
    }

    fn check_channel(&mut self, frame: &mut Frame, channel_idx: usize) -> Quality {
        let stuck_samples = ((STUCK_S * self.rate_hz).ceil() as u64).max(STUCK_SAMPLES);
        let zeros_samples = ((STUCK_S * self.rate_hz).ceil() as u64).max(ZEROS_SAMPLES);
        let channel = &mut self.channels[channel_idx];
        let x = if frame.n_channels == 1 {
            &mut frame.samples
        } else {
            self.plane.clear();
            self.plane.extend(frame.channel(channel_idx));
            &mut self.plane
        };
        let n_spikes = if self.rate_hz < spike::RATE_MIN_HZ { 0 } else { spike::mend(x) };
        let hold = if frame.shape == Shape::Stream { SPIKES_HOLD_S * self.rate_hz } else { 0.0 };
        let mut flags = channel.spikes.step(n_spikes, x.len() as u64, hold as u64);
        let look = Look::at(x, &mut channel.run);
        let alive = !look.is_dead() && look.rms() > 2.0 * f64::from(look.step);
        if alive && look.n_zeros >= zeros_samples {
            flags = flags.with(Quality::DROPOUT);
        } else if look.n_same >= stuck_samples {
            flags = flags.with(Quality::FLAT);
        }
        flags = flags.with(channel.judge(look));
        let n_rail = look.count_plateaus(x);
        if n_rail > 0 {
            flags = flags.with(Quality::CLIPPED);
        }
        if n_rail as f64 > SATURATED_SHARE * look.n as f64 {
            flags = flags.with(Quality::SATURATED);
        }
        let (block, hold) = match frame.shape {
            Shape::Stream => (BIAS_BLOCK_S * self.rate_hz, BIAS_HOLD_S * self.rate_hz),
            Shape::Snapshot => (1.0, 2.0 * look.n as f64),
        };
        if flags.is_blind() {
            channel.bias.restart_block();
        } else if channel.bias.step(&look, block as u64, hold as u64) {
            flags = flags.with(Quality::BIAS);
        }
        if n_spikes > 0 && frame.n_channels > 1 {
            let own = frame.samples.iter_mut().skip(channel_idx).step_by(frame.n_channels);
            own.zip(&self.plane).for_each(|(to, &mended)| *to = mended);
        }
        flags
    }
}

impl Spikes {
    /// Takes in a frame of `n_samples`: one spike is noted, and what follows it soon is told until it is over.
    fn step(&mut self, n_spikes: usize, n_samples: u64, hold_samples: u64) -> Quality {
        let is_recent = self.hold_samples > 0;
        self.hold_samples = self.hold_samples.saturating_sub(n_samples);
        self.are_many &= is_recent;
        if n_spikes > 0 {
            self.are_many |= is_recent;
            self.hold_samples = hold_samples;
        }
        if n_spikes > 0 || self.are_many { Quality::SPIKES } else { Quality::GOOD }
    }
}

impl Channel {
    /// Dead, quiet or neither, by the last [`JUDGE_SAMPLES`] or the frame, whichever is longer.
    fn judge(&mut self, look: Look) -> Quality {
        let all = self.gathered.take().map_or(look, |before| before.with(look));
        if all.n < JUDGE_SAMPLES {
            self.gathered = Some(all);
        } else if all.is_dead() {
            self.judged = Quality::FLAT;
        } else if all.rms() < QUIET_STEPS * f64::from(all.step) {
            self.judged = Quality::LOW_SIGNAL;
        } else {
            self.judged = Quality::GOOD;
        }
        self.judged
    }
}

impl Bias {
    fn restart_block(&mut self) {
        (self.sum, self.sum_squares, self.n) = (0.0, 0.0, 0);
    }

    /// Takes in a frame; whether the mean has jumped a short time ago.
    fn step(&mut self, look: &Look, block_samples: u64, hold_samples: u64) -> bool {
        self.sum += look.sum;
        self.sum_squares += look.sum_squares;
        self.n += look.n as u64;
        let held = self.hold_samples > 0;
        self.hold_samples = self.hold_samples.saturating_sub(look.n as u64);
        if self.n < block_samples {
            return held;
        }
        let mean = self.sum / self.n as f64;
        let rms = (self.sum_squares / self.n as f64 - mean * mean).max(0.0).sqrt();
        self.restart_block();
        let jump = (mean - self.level).abs();
        // Far outside what the machine ever shook, and how the mean usually moves ...
        let usual = (5.0 * self.loudest).max(12.0 * self.scatter).max(4.0 * f64::from(look.step));
        let is_strange = self.n_blocks >= BIAS_BLOCKS && jump > usual;
        // ... and what it shakes now.
        if is_strange && jump > 8.0 * rms {
            self.hold_samples = hold_samples;
            self.level = mean;
            self.recent = [0.0; 2];
            return true;
        }
        // A stretch with the jump inside is loud, and its mean is nobody's: the next one tells.
        let is_first = !std::mem::replace(&mut self.was_strange, is_strange);
        if !(is_strange && is_first) {
            let weight = 1.0 / f64::from(self.n_blocks.min(15) + 1);
            self.level += weight * (mean - self.level);
            if self.n_blocks > 0 {
                self.scatter += weight * (jump - self.scatter);
            }
        }
        self.loudest = self.loudest.max(self.recent[0]);
        self.recent = [self.recent[1], rms];
        self.n_blocks += 1;
        held
    }
}

/// Values that no sensor of the frame's unit can give.
fn replace_absurd(frame: &mut Frame) {
    let limit = limit(frame.unit);
    for samples in frame.samples.chunks_exact_mut(frame.n_channels) {
        for (value, axis) in samples.iter_mut().zip(&mut frame.axis_quality) {
            if value.abs() > limit {
                *value = 0.0;
                *axis = axis.with(Quality::GARBAGE);
            }
        }
    }
}

/// Beyond this no sensor of a unit goes.
fn limit(unit: Unit) -> f32 {
    match unit {
        Unit::MetersPerSecond2 | Unit::Pascal | Unit::Volt => 1e6,
        Unit::G => 1e5,
        // Fractions of a full scale nobody stated may be counts of a 32-bit converter.
        Unit::FullScale => 1e10,
    }
}

#[cfg(test)]
mod tests;
