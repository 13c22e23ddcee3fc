//! What `acquire` gives: samples of one sensor with their stamp, number and quality.

use super::{Origin, Stamp, Unit};

/// What is wrong with the data themselves; several flags may stand. See `domain.md` 9.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quality(pub u16);

impl Quality {
    /// Nothing wrong.
    pub const GOOD: Self = Self(0);
    /// Samples at the rail.
    pub const CLIPPED: Self = Self(1);
    /// So many samples at the rail that nothing can be said (over 1 %).
    pub const SATURATED: Self = Self(1 << 1);
    /// No signal at all: constant samples, a dead channel.
    pub const FLAT: Self = Self(1 << 2);
    /// Samples are missing inside or before this stretch.
    pub const DROPOUT: Self = Self(1 << 3);
    /// Sensor supply open or shorted, or a bias step.
    pub const BIAS: Self = Self(1 << 4);
    /// Low-frequency slope as after a shock or a loose cable.
    pub const SKI_SLOPE: Self = Self(1 << 5);
    /// The sensor hangs loose: high frequencies gone.
    pub const LOOSE_MOUNT: Self = Self(1 << 6);
    /// Mains hum that is not the machine's.
    pub const HUM: Self = Self(1 << 7);
    /// Energy folded down from above half the rate.
    pub const ALIAS: Self = Self(1 << 8);
    /// The measured rate is not the stated one.
    pub const RATE: Self = Self(1 << 9);
    /// Too quiet to tell from the sensor's own noise.
    pub const LOW_SIGNAL: Self = Self(1 << 10);
    /// The speed changed within the window.
    pub const SPEED_UNSTABLE: Self = Self(1 << 11);
    /// Channels look exchanged.
    pub const SWAPPED: Self = Self(1 << 12);
    /// NaN, infinite or absurd values were replaced.
    pub const GARBAGE: Self = Self(1 << 13);
    /// Single samples that no machine made were replaced: pick-up, a bad plug.
    pub const SPIKES: Self = Self(1 << 14);

    const NAMES: [(Self, &'static str); 15] = [
        (Self::CLIPPED, "clipped"),
        (Self::SATURATED, "saturated"),
        (Self::FLAT, "flat"),
        (Self::DROPOUT, "dropout"),
        (Self::BIAS, "bias"),
        (Self::SKI_SLOPE, "ski_slope"),
        (Self::LOOSE_MOUNT, "loose_mount"),
        (Self::HUM, "hum"),
        (Self::ALIAS, "alias"),
        (Self::RATE, "rate"),
        (Self::LOW_SIGNAL, "low_signal"),
        (Self::SPEED_UNSTABLE, "speed_unstable"),
        (Self::SWAPPED, "swapped"),
        (Self::GARBAGE, "garbage"),
        (Self::SPIKES, "spikes"),
    ];

    /// NE 107 failure: a stretch with one of these is never learned from nor scored.
    pub const BLINDING: Self =
        Self(Self::SATURATED.0 | Self::FLAT.0 | Self::DROPOUT.0 | Self::BIAS.0 | Self::GARBAGE.0);

    /// Whether every flag of `other` stands here.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the data cannot be trusted at all.
    pub fn is_blind(self) -> bool {
        self.0 & Self::BLINDING.0 != 0
    }

    /// The names of the flags that stand, as published.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

/// How a frame relates to the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// A piece of a continuous stream.
    #[default]
    Stream,
    /// A measurement by itself, taken now and then (0.1 s every 10 s, say).
    Snapshot,
}

/// A stretch of calibrated samples of one sensor; all its channels together.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Whose samples these are; `first_sample` and `n_samples` number them.
    pub origin: Origin,
    /// Time of the first sample.
    pub start: Stamp,
    /// Samples per second and channel, above 0.
    pub rate_hz: f64,
    /// The unit of the samples.
    pub unit: Unit,
    /// Channels (axes) in `samples`, at least 1.
    pub n_channels: usize,
    /// `[n_samples, n_channels]`, interleaved, in `unit`; every value finite.
    pub samples: Vec<f32>,
    /// What is wrong with the whole of it.
    pub quality: Quality,
    /// What is wrong with each channel alone: `[n_channels]`.
    pub axis_quality: Vec<Quality>,
    /// Samples per channel known to be lost just before this frame.
    pub n_lost: u64,
    /// Piece of a stream or a snapshot.
    pub shape: Shape,
    /// Shaft speed if the source knows it (sidecar, tacho), revolutions per second.
    pub speed_hz: Option<f64>,
}

impl Frame {
    /// An empty frame, to be filled by `Source::read`.
    pub fn empty(origin: Origin, rate_hz: f64, unit: Unit, n_channels: usize) -> Self {
        Self {
            origin,
            start: Stamp::default(),
            rate_hz,
            unit,
            n_channels,
            samples: Vec::new(),
            quality: Quality::GOOD,
            axis_quality: vec![Quality::GOOD; n_channels],
            n_lost: 0,
            shape: Shape::Stream,
            speed_hz: None,
        }
    }

    /// Samples per channel.
    pub fn len(&self) -> usize {
        self.samples.len() / self.n_channels
    }

    /// Whether there is no sample in it.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Flags the whole of it and every channel.
    pub fn flag(&mut self, quality: Quality) {
        self.quality = self.quality.with(quality);
        self.axis_quality.iter_mut().for_each(|axis| *axis = axis.with(quality));
    }

    /// What stands for every channel stands for the whole.
    pub fn settle(&mut self) {
        let all = self.axis_quality.iter().fold(u16::MAX, |all, axis| all & axis.0);
        self.quality = self.quality.with(Quality(all));
    }

    /// Makes every value that is not finite 0 and flags its channel [`Quality::GARBAGE`]; how many.
    pub fn clean(&mut self) -> usize {
        let mut n_replaced = 0;
        for samples in self.samples.chunks_exact_mut(self.n_channels) {
            for (value, axis) in samples.iter_mut().zip(&mut self.axis_quality) {
                if !value.is_finite() {
                    *value = 0.0;
                    *axis = axis.with(Quality::GARBAGE);
                    n_replaced += 1;
                }
            }
        }
        self.settle();
        n_replaced
    }

    /// The samples of one channel in order.
    ///
    /// # Panics
    /// If `channel_idx` is not below `n_channels`: a bug in the caller.
    pub fn channel(&self, channel_idx: usize) -> impl Iterator<Item = f32> + '_ {
        assert!(channel_idx < self.n_channels, "channel {channel_idx} of {}", self.n_channels);
        self.samples.iter().skip(channel_idx).step_by(self.n_channels).copied()
    }
}
