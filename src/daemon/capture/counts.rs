//! What a capture thread counts: pairs that must add up.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How the device is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Not opened yet, or being opened again.
    Opening,
    /// Samples come.
    Running,
    /// Open, and silent for longer than its frames take; nothing is lost yet.
    Silent,
    /// Open, but silent, stalled or gone; opened again by itself.
    Lost,
    /// The thread is done.
    Ended,
}

/// Counters of one capture thread, since its start. Samples are per channel.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) produced: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) void: AtomicU64,
    pub(super) frames_delivered: AtomicU64,
    pub(super) frames_dropped: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) failed: AtomicU64,
    ppm_bits: AtomicU64,
    state: AtomicU8,
}

/// What one capture thread counted since its start. Samples are per channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counts {
    /// Samples the device made, as far as anybody can tell; `delivered + lost` when at rest.
    pub produced: u64,
    /// Samples handed over.
    pub delivered: u64,
    /// Samples lost in the device, in its driver, while it was away, or because the ring was full.
    pub lost: u64,
    /// Made-up samples handed over while the sensor was lost; in no other count.
    pub void: u64,
    /// Frames handed over.
    pub frames_delivered: u64,
    /// Frames dropped because the ring was full.
    pub frames_dropped: u64,
    /// Times the device was opened.
    pub opened: u64,
    /// Times it failed to open or was lost.
    pub failed: u64,
    /// How far the device's clock is fast, parts per million; `None` while unknown.
    pub rate_ppm: Option<f64>,
    /// How it is doing.
    pub state: State,
}

impl Counters {
    /// All counters now; while the thread runs they may be one frame apart.
    pub(super) fn read(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ppm = f64::from_bits(get(&self.ppm_bits));
        Counts {
            produced: get(&self.produced),
            delivered: get(&self.delivered),
            lost: get(&self.lost),
            void: get(&self.void),
            frames_delivered: get(&self.frames_delivered),
            frames_dropped: get(&self.frames_dropped),
            opened: get(&self.opened),
            failed: get(&self.failed),
            rate_ppm: (ppm != 0.0).then_some(ppm),
            state: match self.state.load(Ordering::Relaxed) {
                0 => State::Opening,
                1 => State::Running,
                2 => State::Silent,
                3 => State::Lost,
                _ => State::Ended,
            },
        }
    }

    /// Adds to one of the counters.
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn set_ppm(&self, ppm: Option<f64>) {
        self.ppm_bits.store(ppm.unwrap_or(0.0).to_bits(), Ordering::Relaxed);
    }

    pub(super) fn set_state(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}
