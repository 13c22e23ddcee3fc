//! Stand-ins for hardware: what feeds the real code real bytes.

mod alsa;

pub(crate) use alsa::{Microphone, sample};
