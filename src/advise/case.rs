//! One open case: an alarm's life, what it was last told to be, and its events counted.

use serde::{Deserialize, Serialize};

use crate::types::{Alert, Event, Fault, OpenAlert, Priority, Stamp, What};

use super::causes::{HIGH, MEDIUM};
use super::cycle::Cycle;
use super::facts::Facts;
use super::rules::{self, Grounds};
use super::words;

/// What people were last told of a case.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// Highest level.
    pub level: u8,
    /// Kinds of trouble that stand, one bit each.
    pub kinds: u8,
    /// The kind that leads, by its place in `KINDS`.
    pub lead: u8,
    /// The named fault, by its place in `FaultCode::ALL`.
    pub fault: Option<u8>,
}

impl Told {
    /// The event that tells `now` to someone who knows `self`, if there is news.
    pub(super) fn news(self, now: Self) -> Option<Event> {
        if now.level != self.level {
            return Some(if now.level > self.level { Event::Worsened } else { Event::Improved });
        }
        if now.kinds & !self.kinds != 0 {
            return Some(Event::Worsened);
        }
        if now.kinds != self.kinds {
            return Some(Event::Improved);
        }
        (now.fault.is_some() && now.fault != self.fault).then_some(Event::Worsened)
    }
}

/// A case and its place in the count of this asset's episodes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub cycle: Cycle,
    pub told: Told,
    episode: u64,
    transition: u32,
    /// When this life began.
    since_ns: i64,
}

/// What an event is told with.
pub(super) struct Telling<'a> {
    pub event: Event,
    pub at: Stamp,
    pub what: What,
    pub facts: &'a Facts,
    pub held_back: u32,
    pub by: Option<String>,
}

/// As priorities are published.
pub(super) fn priority(level: u8) -> Priority {
    match level {
        HIGH.. => Priority::High,
        MEDIUM => Priority::Medium,
        _ => Priority::Low,
    }
}

impl Case {
    /// Writes the next event of this case; a new life takes the next of the asset's `episodes`.
    pub(super) fn tell(&mut self, episodes: &mut u64, telling: Telling<'_>) -> Alert {
        let Telling { event, at, what, facts, held_back, by } = telling;
        if self.transition == 0 {
            *episodes += 1;
            self.episode = *episodes;
            self.since_ns = at.0;
        }
        self.transition += 1;
        let named = |fault: &&Fault| Some(fault.code as u8) == self.told.fault;
        let fault = facts.faults.iter().find(named).filter(|_| what != What::Sensor);
        let priority = priority(self.told.level);
        let action = if matches!(event, Event::Returned | Event::Cleared) {
            "Nothing to do now.".to_owned()
        } else {
            rules::action(&Grounds {
                what,
                priority,
                fault: fault.map(|fault| fault.code),
                zone: facts.severity.zone,
                life: facts.life.ok(),
                quality: facts.quality,
            })
        };
        Alert {
            origin: facts.origin.clone(),
            start: at,
            episode: self.episode,
            transition: self.transition,
            event,
            state: self.cycle.state(),
            priority,
            what,
            score_value: facts.score_value,
            score_threshold: facts.score_threshold,
            p_value: facts.p_value,
            false_alarms_per_year: facts.false_alarms_per_year,
            severity: facts.severity.clone(),
            life: facts.life,
            message: words::sentence(event, what, fault, facts, held_back),
            action,
            fault: fault.cloned(),
            regime: facts.regime,
            speed_rpm: facts.speed_rpm,
            quality: facts.quality,
            clip: None,
            by,
        }
    }

    /// How it stands, if it is not over; `what` leads.
    pub(super) fn open(&self, what: What) -> Option<OpenAlert> {
        let (state, priority) = (self.cycle.state(), priority(self.told.level));
        let (episode, since) = (self.episode, Stamp(self.since_ns));
        self.cycle.is_open().then_some(OpenAlert { what, state, priority, episode, since })
    }

    /// After the events of one change: where the life is over, the next event begins another.
    pub(super) fn settle(&mut self) {
        if !self.cycle.is_open() {
            self.transition = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_told_once() {
        let told = |level, kinds, fault| Told { level, kinds, lead: 0, fault };
        let check = |before: Told, now: Told, event| assert_eq!(before.news(now), event);
        check(told(1, 1, None), told(1, 1, None), None);
        check(told(1, 1, None), told(2, 1, None), Some(Event::Worsened));
        check(told(2, 5, None), told(1, 1, None), Some(Event::Improved));
        check(told(2, 1, None), told(2, 5, None), Some(Event::Worsened));
        check(told(2, 5, None), told(2, 4, None), Some(Event::Improved));
        check(told(2, 8, Some(5)), told(2, 8, Some(6)), Some(Event::Worsened));
        check(told(2, 8, Some(5)), told(2, 8, None), None);
    }
}
