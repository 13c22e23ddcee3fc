//! Many boxes.

mod average;

pub use average::{Average, Averaged, Error, MEMBERS_MAX, MEMBERS_MIN, Update};
