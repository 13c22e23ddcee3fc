//! How long something took, many times over, held against a bar where that makes sense.

use std::time::Duration;

use super::tier;

/// Times of one kind.
#[derive(Default)]
pub(crate) struct Spread(Vec<Duration>);

impl Spread {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// The time that so many of a thousand did not exceed.
    fn per_mille(&self, n: usize) -> Duration {
        self.0[(self.0.len() * n).div_ceil(1000) - 1]
    }

    /// Says how it was; at full size 99 of 100 must have been as fast as the bar. A smaller run shares its
    /// processors with whatever else is there, and only tells.
    pub(crate) fn judge(mut self, what: &str, bar: Duration) {
        self.0.sort_unstable();
        let [half, p99, all] = [500, 990, 1000].map(|n| self.per_mille(n).as_secs_f64() * 1000.0);
        println!(
            "{what}: {} times, half within {half:.1} ms, p99 {p99:.1} ms, all {all:.1} ms",
            self.0.len()
        );
        let is_judged = tier(false, false, true);
        assert!(
            !is_judged || self.per_mille(990) <= bar,
            "{what}: p99 {p99:.1} ms, the bar is {bar:?}"
        );
    }
}
