//! Keeping alarms few: delays, deadband, and a limit on events per hour.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::types::{Span, Stamp};

/// A gap so many times longer than the pace before it is the box having been away, not time watched.
const GAP_RATIO: i64 = 10;

/// How long a level must stand before it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delays {
    /// Consecutive windows.
    pub on_windows: u32,
    /// And watched time.
    pub on: Span,
    /// Watched time before a lower level counts.
    pub off: Span,
}

/// What one window says of a condition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// Level now: 0 nothing, 1 low, 2 medium, 3 high.
    pub level: u8,
    /// Level it still counts as within the deadband, at least `level`.
    pub held: u8,
    /// No waiting on the way up.
    pub at_once: bool,
}

/// A level that rises after the on-delay and falls after the off-delay.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Debounce {
    level: u8,
    up_windows: u32,
    up_ns: i64,
    /// Lowest level of the run upwards.
    up_level: u8,
    down_ns: i64,
    /// Highest level of the run downwards.
    down_level: u8,
}

impl Debounce {
    /// The level that counts.
    pub(super) fn level(&self) -> u8 {
        self.level
    }

    /// One trusted window of a running machine, `passed` after the one before.
    pub(super) fn step(&mut self, reading: Reading, passed: Span, delays: &Delays) {
        if reading.level > self.level {
            let first = self.up_windows == 0;
            self.up_ns += if first { 0 } else { passed.0 };
            self.up_level = if first { reading.level } else { self.up_level.min(reading.level) };
            self.up_windows += 1;
            if reading.at_once {
                self.settle(reading.level);
            } else if self.up_windows >= delays.on_windows && self.up_ns >= delays.on.0 {
                self.settle(self.up_level);
            }
        } else {
            self.up_windows = 0;
            self.up_ns = 0;
        }
        if reading.held < self.level {
            self.down_ns += passed.0;
            self.down_level = self.down_level.max(reading.held);
            if self.down_ns >= delays.off.0 {
                self.settle(self.down_level);
            }
        } else {
            self.down_ns = 0;
            self.down_level = 0;
        }
    }

    /// Another regime: the windows before do not count towards the on-delay.
    pub(super) fn restart(&mut self) {
        self.up_windows = 0;
        self.up_ns = 0;
    }

    fn settle(&mut self, level: u8) {
        *self = Self { level, ..Self::default() };
    }
}

/// Time as it was watched: from the frames, without the gaps.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Watch {
    last_ns: Option<i64>,
    pace_ns: i64,
}

impl Watch {
    /// Watched time since the window before; a window out of order is no time at all.
    pub(super) fn passed(&mut self, start: Stamp) -> Span {
        let passed = self.since(start);
        if passed.0 > 0 && !self.is_gap(passed) {
            self.pace_ns = passed.0;
        }
        self.without_gap(passed)
    }

    /// Time since the window before, whatever it was, at least 0.
    pub(super) fn since(&mut self, start: Stamp) -> Span {
        let last = self.last_ns.replace(start.0).unwrap_or(start.0);
        Span(start.0.saturating_sub(last).max(0))
    }

    /// `passed`, or the pace of this watch where it is too long to have been watched.
    pub(super) fn without_gap(&self, passed: Span) -> Span {
        if self.is_gap(passed) { Span(self.pace_ns) } else { passed }
    }

    fn is_gap(&self, passed: Span) -> bool {
        self.pace_ns > 0 && passed.0 / GAP_RATIO > self.pace_ns
    }
}

/// The events of the last hour, and how many changes had to wait.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Storm {
    told_ns: VecDeque<i64>,
    held_back: u32,
    holding: bool,
}

const HOUR_NS: i64 = 3_600_000_000_000;

impl Storm {
    /// Whether an event may be told at `now`; `urgent` ones always may. Call [`Storm::told`] after.
    pub(super) fn may_tell(&mut self, now: Stamp, per_hour_max: u32, urgent: bool) -> bool {
        // A clock set back leaves stamps that are yet to come: they say nothing of this hour.
        self.told_ns.retain(|&told| (0..HOUR_NS).contains(&now.0.saturating_sub(told)));
        let may = urgent || self.told_ns.len() < per_hour_max as usize;
        if !may && !self.holding {
            self.held_back += 1;
            self.holding = true;
        }
        may
    }

    /// No change is waiting: the next one that must is another one.
    pub(super) fn rest(&mut self) {
        self.holding = false;
    }

    /// An event goes out; gives how many changes were held back before it.
    pub(super) fn told(&mut self, now: Stamp, per_hour_max: u32) -> u32 {
        if self.told_ns.len() >= per_hour_max as usize {
            self.told_ns.pop_front();
        }
        self.told_ns.push_back(now.0);
        std::mem::take(&mut self.held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Span = Span(1_000_000_000);

    fn delays() -> Delays {
        Delays { on_windows: 3, on: Span(5 * SECOND.0), off: Span(4 * SECOND.0) }
    }

    fn run(levels: &str) -> String {
        let mut debounce = Debounce::default();
        let digits = levels.chars().map(|c| c.to_digit(10).unwrap() as u8);
        digits
            .map(|level| {
                debounce.step(Reading { level, held: level, at_once: false }, SECOND, &delays());
                char::from(b'0' + debounce.level())
            })
            .collect()
    }

    #[test]
    fn levels_wait_for_windows_and_time() {
        // Five seconds lie between six windows.
        assert_eq!(run("1111111"), "0000011");
        assert_eq!(run("1110111111"), "0000000001");
        // The lowest of the run counts, the rest must wait again.
        assert_eq!(run("311111333333"), "000001111113");
        // Down after four seconds, to the highest of the run.
        assert_eq!(run("222222000000"), "000002222000");
        assert_eq!(run("3333330101"), "0000033331");
        assert_eq!(run("22222200200000"), "00000222222200");
    }

    #[test]
    fn an_urgent_level_does_not_wait_and_a_deadband_holds() {
        let mut debounce = Debounce::default();
        debounce.step(Reading { level: 3, held: 3, at_once: true }, Span(0), &delays());
        assert_eq!(debounce.level(), 3);
        for _ in 0..20 {
            debounce.step(Reading { level: 0, held: 3, at_once: false }, SECOND, &delays());
        }
        assert_eq!(debounce.level(), 3);
    }

    #[test]
    fn time_away_is_not_time_watched() {
        let mut watch = Watch::default();
        let passed: Vec<i64> =
            [0, 10, 20, 100_000, 100_010, 99_000, 99_010].map(|s| watch.passed(Stamp(s)).0).into();
        assert_eq!(passed, [0, 10, 10, 10, 10, 0, 10]);
    }

    #[test]
    fn a_storm_waits_and_is_counted() {
        let mut storm = Storm::default();
        let at = |minute: i64| Stamp(minute * 60 * SECOND.0);
        for minute in 0..2 {
            assert!(storm.may_tell(at(minute), 2, false));
            assert_eq!(storm.told(at(minute), 2), 0);
        }
        assert!(!storm.may_tell(at(2), 2, false));
        assert!(!storm.may_tell(at(3), 2, false));
        storm.rest();
        assert!(!storm.may_tell(at(5), 2, false));
        assert!(storm.may_tell(at(6), 2, true));
        storm.rest();
        assert!(storm.may_tell(at(60), 2, false));
        assert_eq!(storm.told(at(60), 2), 2);
    }

    #[test]
    fn a_storm_told_in_the_future_is_forgotten() {
        let mut storm = Storm::default();
        let at = |minute: i64| Stamp(minute * 60 * SECOND.0);
        for minute in [600, 601, 602] {
            storm.told(at(minute), 3);
        }
        // The clock is set right: only what is told from now on counts, and it ages as ever.
        for minute in 0..3 {
            assert!(storm.may_tell(at(minute), 3, false));
            storm.told(at(minute), 3);
        }
        assert!(!storm.may_tell(at(59), 3, false));
        assert!(storm.may_tell(at(60), 3, false));
    }
}
