//! What runs for months: threads, queues, supervision, the stop.

pub mod capture;
mod clock;
pub mod keep;
pub mod network;

pub use clock::SystemClock;
