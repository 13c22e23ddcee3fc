//! What runs for months: threads, queues, supervision, the stop.

pub mod keep;
pub mod network;
pub mod capture;
mod clock;

pub use clock::SystemClock;
