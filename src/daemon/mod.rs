//! What runs for months: threads, queues, supervision, the stop.

pub mod capture;
mod clock;

pub use clock::SystemClock;
