//! Signal tools: slices in, slices out; planned once, then run without allocating.
//!
//! Invariant: a plan gives the same bits for the same samples, whatever it was run on before.

mod choose;
mod decibel;
mod envelope;
mod fft;
mod level;
mod mel;
mod moments;
mod plans;
mod power;
mod trend;
mod window;
mod work;

pub use choose::{Choice, Chooser};
pub use decibel::{FLOOR, to_db};
pub use envelope::Demodulator;
pub use fft::{Complex32, Fft, smooth_down, smooth_up};
pub use level::{BandSum, a_weights, third_octaves};
pub use mel::{LogMel, MelBank};
pub use moments::{Moments, mean};
pub use power::{Welch, hann_power, velocity_mean_square};
pub use trend::detrend;
pub use window::hann;

use fft::quick_up;
