//! Status of the box itself, and ready and watchdog to systemd.

use std::sync::atomic::Ordering;

use sd_notify::NotifyState;

use super::back::Back;
use super::capture::{Handle, State};
use super::compute::Progress;
use super::keep::{KeepReport, Keeper, QUEUE_MAX};
use super::network::NetworkReport;
use crate::publish::{Counter, Queue, Status};
use crate::types::{Clock, Ne107, Span};

/// A reserve of alerts this full is told.
const FILL_TOLD: f64 = 0.5;

/// Alerts the outbox holds at the least before anything is coalesced (`docs/mqtt.md`).
const OUTBOX_TOLD_MAX: u64 = 100_000;

/// What the status is put together from.
pub(super) struct Vitals<'a> {
    pub captures: &'a [(String, Handle)],
    pub progress: &'a Progress,
    pub keeper: &'a Keeper,
    pub back: &'a Back,
    pub clock: &'a dyn Clock,
    pub started: Span,
    pub declared: &'a [String],
}

/// The instrument's own state: the worst of its parts leads.
pub(super) fn status(vitals: &Vitals<'_>) -> Status {
    let Vitals { captures, progress, keeper, back, clock, started, declared } = vitals;
    let mut worst = Ne107::Good;
    let mut reasons = Vec::new();
    let mut tell = |ne107: Ne107, reason: String| {
        worst = worst.max(ne107);
        reasons.push(reason);
    };
    for why in *declared {
        tell(Ne107::Maintenance, why.clone());
    }
    for (name, handle) in *captures {
        match handle.counts().state {
            State::Silent => {
                tell(Ne107::OutOfSpecification, format!("sensor {name} says nothing"));
            }
            State::Lost => tell(Ne107::Failure, format!("sensor {name} is lost")),
            State::Opening => tell(Ne107::Failure, format!("sensor {name} is not there yet")),
            State::Running | State::Ended => {}
        }
    }
    for why in progress.refusals.borrow().iter() {
        tell(Ne107::Failure, why.clone());
    }
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    if get(&progress.given_up) > 0 {
        tell(
            Ne107::Failure,
            format!("{} asset(s) rest for up to ten minutes after bugs", get(&progress.given_up)),
        );
    }
    let every = progress.pace.load(Ordering::Relaxed);
    if every > 1 {
        tell(
            Ne107::Maintenance,
            format!("the processor is too slow: of {every} windows one is scored"),
        );
    }
    let KeepReport { counts, fill, durable, troubles, .. } = back.kept();
    for trouble in troubles {
        tell(Ne107::Maintenance, trouble);
    }
    if fill > FILL_TOLD {
        let percent = 100.0 * fill;
        tell(Ne107::Maintenance, format!("the reserve for alerts is {percent:.0} % full"));
    }
    let network = back.network();
    if let Some(trouble) = &network.trouble {
        tell(Ne107::Maintenance, format!("no broker: {trouble}"));
    }
    let rows: u64 = counts.rows.iter().sum();
    Status {
        ne107: worst,
        reasons,
        at: clock.now(),
        uptime_s: (clock.monotonic().0.saturating_sub(started.0) / 1_000_000_000) as u64,
        durable,
        queues: vec![
            Queue { name: "keep", depth: keeper.n_queued() as u64, max: QUEUE_MAX as u64 },
            Queue { name: "outbox", depth: rows, max: OUTBOX_TOLD_MAX },
        ],
        counters: counters(vitals, &network),
    }
}

fn counters(vitals: &Vitals<'_>, network: &NetworkReport) -> Vec<Counter> {
    let Vitals { captures, progress, keeper, back, .. } = vitals;
    let sum = |pick: fn(&super::capture::Counts) -> u64| {
        captures.iter().map(|(_, handle)| pick(&handle.counts())).sum()
    };
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    [
        ("samples_produced", sum(|it| it.produced)),
        ("samples_delivered", sum(|it| it.delivered)),
        ("samples_lost", sum(|it| it.lost)),
        ("samples_void", sum(|it| it.void)),
        ("sources_opened", sum(|it| it.opened)),
        ("sources_failed", sum(|it| it.failed)),
        ("frames", get(&progress.frames)),
        ("windows", get(&progress.windows)),
        ("windows_blind", get(&progress.blind)),
        ("windows_skipped", get(&progress.left_out)),
        ("alerts", get(&progress.alerts)),
        ("telemetry_dropped", keeper.n_dropped()),
        ("broker_attempts", network.n_attempts),
        ("broker_connected", network.n_connected),
        ("rows_sent", network.n_sent),
        ("rows_acked", network.n_acked),
        ("rows_parked", network.n_parked),
        ("rows_shed", back.kept().shed.iter().map(|shed| shed.n).sum()),
        ("acks_unknown", back.kept().counts.unknown_acks),
        ("commands", network.n_commands),
    ]
    .map(|(name, n)| Counter { name, n })
    .to_vec()
}

/// A thread's loop, watched: it lives while its turns grow.
pub(super) struct Pulse {
    what: &'static str,
    limit: Span,
    turns: u64,
    idle: Span,
    at: Span,
}

impl Pulse {
    /// Most that one look adds: while all of us stood still, nobody hung.
    const STEP_MAX: Span = Span(1_000_000_000);

    /// Of a loop that may rest for `limit` while it is looked at.
    pub(super) fn new(what: &'static str, limit: Span, now: Span) -> Self {
        Self { what, limit, turns: 0, idle: Span(0), at: now }
    }

    /// Looks at it.
    ///
    /// # Errors
    /// If it hangs, with what does.
    pub(super) fn look(&mut self, turns: u64, now: Span) -> Result<(), String> {
        let passed = Span(now.0.saturating_sub(self.at.0)).min(Self::STEP_MAX);
        self.idle = if turns == self.turns { self.idle + passed } else { Span(0) };
        (self.turns, self.at) = (turns, now);
        if self.idle > self.limit { Err(format!("{} hangs", self.what)) } else { Ok(()) }
    }
}

/// Tells systemd something; without systemd nothing happens.
pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_stands_still_is_told_but_not_one_that_was_halted_with_us() {
        let secs = |s: i64| Span(s * 1_000_000_000);
        let mut pulse = Pulse::new("the store", secs(20), secs(0));
        for s in 1..=20 {
            assert_eq!(pulse.look(1, secs(s + 1)), Ok(()), "second {s}");
        }
        // The system slept for an hour between two looks.
        assert_eq!(pulse.look(2, secs(3600)), Ok(()));
        assert_eq!(pulse.look(2, secs(7200)), Ok(()));
        for s in 1..=19 {
            assert_eq!(pulse.look(2, secs(7200 + s)), Ok(()), "second {s}");
        }
        assert_eq!(pulse.look(2, secs(7220)), Err("the store hangs".into()));
    }
}
