//! Is the sensor alive: flat, clipped, gap, loose.

use crate::types::Frame;

/// Watches the samples of one sensor.
pub struct Sense {}

impl Sense {
    /// For frames of this rate and so many channels.
    pub fn new(rate_hz: f64, n_channels: usize) -> Self {
        let _ = (rate_hz, n_channels);
        Self {}
    }

    /// Flags what is wrong with a frame.
    pub fn check(&mut self, frame: &mut Frame) {
        let _ = frame;
    }
}
