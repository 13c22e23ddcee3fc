//! Stand-ins for hardware: what feeds the real code real bytes, and what takes them away.

mod alsa;
mod capture;
mod dice;
mod disk;
pub(crate) mod line;
mod proxy;
mod sender;
mod spread;
mod tier;
mod trace;

pub(crate) use alsa::{Microphone, sample};
pub(crate) use capture::Capture;
pub(crate) use dice::Dice;
pub(crate) use disk::{Disk, Left, Picture, lay_down};
pub(crate) use line::Seen;
pub(crate) use proxy::{Acks, Faults, Proxy};
pub(crate) use sender::{Mode, Sender};
pub(crate) use spread::Spread;
pub(crate) use tier::tier;
pub(crate) use trace::{Op, has_strace, record};
