//! The life of one alarm by ISA-18.2: what state follows from which event, and nothing else.

use serde::{Deserialize, Serialize};

use crate::types::{AlarmState, Event, Span, Stamp};

/// Where the alarm stands when it is not put aside: states A to F.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// A.
    #[default]
    Normal,
    /// B.
    Unacknowledged,
    /// C.
    Acknowledged,
    /// D.
    Returned,
    /// E.
    LatchedUnacknowledged,
    /// F.
    LatchedAcknowledged,
}

/// The life of one alarm, its episodes and events counted.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Cycle {
    stage: Stage,
    /// G: until when an operator has put it aside, ns since 1970.
    shelved_until_ns: Option<i64>,
    /// H.
    suppressed: bool,
    /// I.
    out_of_service: bool,
    /// Whether its last event left it open, so that an end must be told.
    open: bool,
}

/// Up to two events, in order.
pub(super) type Events = [Option<Event>; 2];

const NOTHING: Events = [None, None];

fn one(event: Event) -> Events {
    [Some(event), None]
}

impl Cycle {
    /// The state as published; out of service before suppressed before shelved.
    pub(super) fn state(&self) -> AlarmState {
        if self.out_of_service {
            return AlarmState::OutOfService;
        }
        if self.suppressed {
            return AlarmState::Suppressed;
        }
        if self.shelved_until_ns.is_some() {
            return AlarmState::Shelved;
        }
        match self.stage {
            Stage::Normal => AlarmState::Normal,
            Stage::Unacknowledged => AlarmState::Unacknowledged,
            Stage::Acknowledged => AlarmState::Acknowledged,
            Stage::Returned => AlarmState::ReturnedUnacknowledged,
            Stage::LatchedUnacknowledged => AlarmState::LatchedUnacknowledged,
            Stage::LatchedAcknowledged => AlarmState::LatchedAcknowledged,
        }
    }

    /// G, H or I: evaluated silently.
    pub(super) fn is_aside(&self) -> bool {
        self.shelved_until_ns.is_some() || self.suppressed || self.out_of_service
    }

    /// G, whatever else.
    pub(super) fn is_shelved(&self) -> bool {
        self.shelved_until_ns.is_some()
    }

    /// Whether an alert's life is under way.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the condition stood when it was last told, and nobody has put it aside.
    pub(super) fn is_active(&self) -> bool {
        !self.is_aside() && matches!(self.stage, Stage::Unacknowledged | Stage::Acknowledged)
    }

    /// The event a condition (after its delays) would cause now, if any.
    pub(super) fn wants(&self, on: bool) -> Option<Event> {
        if self.is_aside() {
            return None;
        }
        match (self.stage, on) {
            (Stage::Unacknowledged, false) => Some(Event::Returned),
            (Stage::Acknowledged, false) => Some(Event::Cleared),
            (Stage::Unacknowledged | Stage::Acknowledged, true) | (_, false) => None,
            (_, true) => Some(Event::Raised),
        }
    }

    /// The condition, after its delays and deadband, is `on`.
    pub(super) fn condition(&mut self, on: bool, latch: bool) -> Option<Event> {
        let event = self.wants(on)?;
        self.stage = match (event, self.stage) {
            (Event::Raised, _) => Stage::Unacknowledged,
            (_, Stage::Unacknowledged) if latch => Stage::LatchedUnacknowledged,
            (_, Stage::Unacknowledged) => Stage::Returned,
            (_, _) if latch => Stage::LatchedAcknowledged,
            (_, _) => Stage::Normal,
        };
        self.open = self.stage != Stage::Normal;
        // Latched and acknowledged: the condition is gone, the alert's life goes on.
        Some(if event == Event::Cleared && self.open { Event::Returned } else { event })
    }

    /// An operator has seen it. Acknowledging a latched alarm once more resets it.
    pub(super) fn acknowledge(&mut self) -> Events {
        if self.is_aside() {
            return NOTHING;
        }
        let (stage, events) = match self.stage {
            Stage::Normal | Stage::Acknowledged => return NOTHING,
            Stage::Unacknowledged => (Stage::Acknowledged, one(Event::Acknowledged)),
            Stage::Returned => (Stage::Normal, [Some(Event::Acknowledged), Some(Event::Cleared)]),
            Stage::LatchedUnacknowledged => (Stage::LatchedAcknowledged, one(Event::Acknowledged)),
            Stage::LatchedAcknowledged => (Stage::Normal, one(Event::Cleared)),
        };
        self.stage = stage;
        self.open = stage != Stage::Normal;
        events
    }

    /// G: put aside until a time; told only where an alert's life is under way.
    pub(super) fn shelve(&mut self, until: Stamp) -> Events {
        self.shelved_until_ns = Some(until.0);
        if self.open { one(Event::Shelved) } else { NOTHING }
    }

    /// Whether the shelf's time is over, or further off than `longest`: the clock was set back since.
    pub(super) fn is_expired(&self, now: Stamp, longest: Span) -> bool {
        let is_over = |until| until <= now.0 || Stamp(until) - now > longest;
        self.shelved_until_ns.is_some_and(is_over)
    }

    /// Back from the shelf: to B while the condition is on, never silently to A.
    pub(super) fn unshelve(&mut self, on: bool) -> Events {
        if self.shelved_until_ns.take().is_none() {
            return NOTHING;
        }
        self.come_back(on)
    }

    /// H on or off.
    pub(super) fn suppress(&mut self, suppressed: bool, on: bool) -> Events {
        if self.suppressed == suppressed {
            return NOTHING;
        }
        self.suppressed = suppressed;
        self.aside_changed(suppressed, on)
    }

    /// I on or off.
    pub(super) fn out_of_service(&mut self, out: bool, on: bool) -> Events {
        if self.out_of_service == out {
            return NOTHING;
        }
        self.out_of_service = out;
        self.aside_changed(out, on)
    }

    fn aside_changed(&mut self, aside: bool, on: bool) -> Events {
        if !aside {
            return self.come_back(on);
        }
        if self.open { one(Event::Shelved) } else { NOTHING }
    }

    /// By the condition as it is now: B or A.
    fn come_back(&mut self, on: bool) -> Events {
        if self.is_aside() {
            return NOTHING;
        }
        let was_open = self.open;
        self.stage = if on { Stage::Unacknowledged } else { Stage::Normal };
        self.open = on;
        match (was_open, on) {
            (true, _) => one(Event::Unshelved),
            (false, true) => one(Event::Raised),
            (false, false) => NOTHING,
        }
    }

    /// Maintenance was done: whatever it was, it is over.
    pub(super) fn reset(&mut self) -> Events {
        self.stage = Stage::Normal;
        if std::mem::take(&mut self.open) { one(Event::Cleared) } else { NOTHING }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LATER: Stamp = Stamp(1000);

    #[derive(Clone, Copy, Debug)]
    enum Step {
        On,
        Off,
        OffLatching,
        Ack,
        Shelve,
        Unshelve { on: bool },
        Suppress(bool, bool),
        Service(bool, bool),
        Reset,
    }
    use Step::{Ack, Off, OffLatching, On, Reset, Service, Shelve, Suppress, Unshelve};

    fn apply(cycle: &mut Cycle, step: Step) -> Vec<Event> {
        let events = match step {
            On => [cycle.condition(true, false), None],
            Off => [cycle.condition(false, false), None],
            OffLatching => [cycle.condition(false, true), None],
            Ack => cycle.acknowledge(),
            Shelve => cycle.shelve(LATER),
            Unshelve { on } => cycle.unshelve(on),
            Suppress(suppressed, on) => cycle.suppress(suppressed, on),
            Service(out, on) => cycle.out_of_service(out, on),
            Reset => cycle.reset(),
        };
        events.into_iter().flatten().collect()
    }

    #[test]
    fn every_transition_of_the_table() {
        use AlarmState as S;
        let check = |steps: &[Step], state: AlarmState, events: &[Event]| {
            let mut cycle = Cycle::default();
            let (last, before) = steps.split_last().unwrap();
            for &step in before {
                drop(apply(&mut cycle, step));
            }
            let found = apply(&mut cycle, *last);
            assert_eq!((cycle.state(), &found[..]), (state, events), "{steps:?}");
        };
        // A.
        check(&[On], S::Unacknowledged, &[Event::Raised]);
        check(&[Off], S::Normal, &[]);
        check(&[Ack], S::Normal, &[]);
        // B.
        check(&[On, On], S::Unacknowledged, &[]);
        check(&[On, Ack], S::Acknowledged, &[Event::Acknowledged]);
        check(&[On, Off], S::ReturnedUnacknowledged, &[Event::Returned]);
        check(&[On, OffLatching], S::LatchedUnacknowledged, &[Event::Returned]);
        // C.
        check(&[On, Ack, On], S::Acknowledged, &[]);
        check(&[On, Ack, Off], S::Normal, &[Event::Cleared]);
        check(&[On, Ack, OffLatching], S::LatchedAcknowledged, &[Event::Returned]);
        // D.
        check(&[On, Off, Ack], S::Normal, &[Event::Acknowledged, Event::Cleared]);
        check(&[On, Off, On], S::Unacknowledged, &[Event::Raised]);
        // E, F.
        check(&[On, OffLatching, Ack], S::LatchedAcknowledged, &[Event::Acknowledged]);
        check(&[On, OffLatching, On], S::Unacknowledged, &[Event::Raised]);
        check(&[On, Ack, OffLatching, Ack], S::Normal, &[Event::Cleared]);
        check(&[On, Ack, OffLatching, On], S::Unacknowledged, &[Event::Raised]);
        check(&[On, OffLatching, Reset], S::Normal, &[Event::Cleared]);
        // G from anywhere, back by the condition as it is.
        check(&[Shelve], S::Shelved, &[]);
        check(&[On, Shelve], S::Shelved, &[Event::Shelved]);
        check(&[On, Ack, Shelve], S::Shelved, &[Event::Shelved]);
        check(&[On, Off, Shelve], S::Shelved, &[Event::Shelved]);
        check(&[On, OffLatching, Shelve], S::Shelved, &[Event::Shelved]);
        check(&[Shelve, On], S::Shelved, &[]);
        check(&[On, Shelve, Ack], S::Shelved, &[]);
        check(&[On, Shelve, Unshelve { on: true }], S::Unacknowledged, &[Event::Unshelved]);
        check(&[On, Ack, Shelve, Unshelve { on: true }], S::Unacknowledged, &[Event::Unshelved]);
        check(&[On, Shelve, Unshelve { on: false }], S::Normal, &[Event::Unshelved]);
        check(&[Shelve, Unshelve { on: true }], S::Unacknowledged, &[Event::Raised]);
        check(&[Shelve, Unshelve { on: false }], S::Normal, &[]);
        check(&[Unshelve { on: true }], S::Normal, &[]);
        // H and I likewise.
        check(&[On, Suppress(true, true)], S::Suppressed, &[Event::Shelved]);
        check(&[Suppress(true, false), On], S::Suppressed, &[]);
        let lifted = [Suppress(true, false), Suppress(false, true)];
        check(&lifted, S::Unacknowledged, &[Event::Raised]);
        check(&[On, Service(true, true)], S::OutOfService, &[Event::Shelved]);
        let back = [On, Service(true, true), Service(false, false)];
        check(&back, S::Normal, &[Event::Unshelved]);
        // The outer one holds while the inner one ends.
        let both = [On, Shelve, Service(true, true), Unshelve { on: true }];
        check(&both, S::OutOfService, &[]);
    }

    #[test]
    fn a_shelf_expires_at_its_time() {
        let mut cycle = Cycle::default();
        cycle.shelve(LATER);
        assert!(!cycle.is_expired(Stamp(999), Span(500)));
        assert!(cycle.is_expired(LATER, Span(500)));
        // Longer than a shelf may last.
        assert!(!cycle.is_expired(Stamp(500), Span(500)));
        assert!(cycle.is_expired(Stamp(499), Span(500)));
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let flag = any::<bool>;
        prop_oneof![
            Just(On),
            Just(Off),
            Just(OffLatching),
            Just(Ack),
            Just(Shelve),
            flag().prop_map(|on| Unshelve { on }),
            (flag(), flag()).prop_map(|(aside, on)| Suppress(aside, on)),
            (flag(), flag()).prop_map(|(aside, on)| Service(aside, on)),
            Just(Reset),
        ]
    }

    proptest! {
        #[test]
        fn lives_begin_with_raised_and_states_never_change_in_silence(
            steps in prop::collection::vec(any_step(), 1..40)
        ) {
            let mut cycle = Cycle::default();
            let mut alive = false;
            for step in steps {
                let before = cycle.state();
                let events = apply(&mut cycle, step);
                for event in &events {
                    prop_assert!(alive || *event == Event::Raised, "{step:?} gave {event:?}");
                    alive |= *event == Event::Raised;
                }
                alive &= cycle.is_open();
                prop_assert_eq!(alive, cycle.is_open());
                if before.is_active() && cycle.state() != before {
                    prop_assert!(!events.is_empty(), "{:?} left {:?} in silence", step, before);
                }
            }
        }
    }
}
