//! The box's own clocks: the only place that reads them.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::publish::{ClockQuality, Identity};
use crate::types::{Clock, Span, Stamp};

/// There while systemd's time service keeps the clock (systemd-timesyncd.service(8)).
const KEPT: &str = "/run/systemd/timesync/synchronized";

/// Marks what is published from now on with how far the clock can be trusted now; the times of a
/// recording stay what they are.
pub(super) fn mark(identity: &mut Identity, clock: &dyn Clock) {
    if identity.clock != ClockQuality::Recording {
        identity.clock = ClockQuality::of(clock.now(), Path::new(KEPT).exists());
    }
}

/// The system's wall clock and a monotonic clock that starts with this value.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at zero.
    #[allow(clippy::disallowed_methods, reason = "the one clock of the house")]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    /// Before 1970 and after 2262 the nearest stamp there is.
    #[allow(clippy::disallowed_methods, reason = "the one clock of the house")]
    fn now(&self) -> Stamp {
        let ns = |span: std::time::Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Stamp(ns(since)),
            Err(before) => Stamp(-ns(before.duration())),
        }
    }

    fn monotonic(&self) -> Span {
        Span(i64::try_from(self.start.elapsed().as_nanos()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back_and_the_wall_clock_is_in_this_century() {
        let clock = SystemClock::new();
        let mut last = Span(0);
        for _ in 0..1000 {
            let now = clock.monotonic();
            assert!(now >= last);
            last = now;
        }
        let year = clock.now().to_string();
        assert!(year.starts_with("20"), "{year}");
    }
}
