//! Which rows are due, in what order, and what an acknowledgement clears.
//!
//! A round walks the outbox from its oldest row to its end; a new connection begins a new round, so
//! that everything not acknowledged is sent again, in order. Only a small stretch is in memory.

use std::collections::VecDeque;

use super::AckLevel;
use crate::store::{EventId, Row};
use crate::types::Span;

/// What the store holds, as its keeper last said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// Grows whenever rows were added.
    pub version: u64,
    /// Rows not parked.
    pub rows: u64,
}

/// A question to the keeper of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Round it belongs to; an answer to an older round is not for us.
    pub round: u64,
    /// Behind which row to look, per class.
    pub after: [u64; 4],
    /// Rows wanted, at the most.
    pub limit: usize,
}

/// Longest wait before rows the fleet has not confirmed are sent again.
const RESEND_MAX: Span = Span(900_000_000_000);

/// The stretch of the outbox that is being sent.
#[derive(Debug)]
pub struct Outbox {
    level: AckLevel,
    limit: usize,
    round: u64,
    after: [u64; 4],
    ready: VecDeque<Row>,
    in_flight: Vec<(EventId, Span)>,
    is_asked: bool,
    is_at_end: bool,
    came_since_ask: bool,
    watermark: Watermark,
    resend_first: Span,
    resend_after: Span,
    at_end_since: Option<Span>,
}

impl Outbox {
    /// Nothing fetched yet; `in_flight_max` rows under way at the most, unconfirmed ones sent again
    /// after `resend` at first.
    pub fn new(level: AckLevel, in_flight_max: usize, resend: Span) -> Self {
        Self {
            level,
            limit: in_flight_max,
            round: 0,
            after: [0; 4],
            ready: VecDeque::with_capacity(2 * in_flight_max),
            in_flight: Vec::with_capacity(in_flight_max),
            is_asked: false,
            is_at_end: false,
            came_since_ask: false,
            watermark: Watermark::default(),
            resend_first: resend,
            resend_after: resend,
            at_end_since: None,
        }
    }

    /// A new connection: from the oldest row again; what was under way counts as not sent.
    pub fn begin_round(&mut self) {
        self.in_flight.clear();
        self.rewind();
    }

    /// From the oldest row again, but for what is under way.
    pub fn rewind(&mut self) {
        self.round += 1;
        self.after = [0; 4];
        self.ready.clear();
        self.is_asked = false;
        self.is_at_end = false;
        self.at_end_since = None;
    }

    /// The store changed.
    pub fn came(&mut self, watermark: Watermark) {
        if watermark.version != self.watermark.version {
            self.is_at_end = false;
            self.came_since_ask = true;
        }
        self.watermark = watermark;
    }

    /// What to ask the keeper for now, if anything.
    pub fn ask(&mut self) -> Option<Ask> {
        if self.is_asked || self.is_at_end || self.ready.len() >= self.limit {
            return None;
        }
        self.is_asked = true;
        self.came_since_ask = false;
        Some(Ask { round: self.round, after: self.after, limit: self.limit })
    }

    /// The question could not be put: it is put again.
    pub fn ask_failed(&mut self) {
        self.is_asked = false;
    }

    /// The keeper's answer.
    pub fn answer(&mut self, ask: Ask, rows: Vec<Row>) {
        if ask.round != self.round {
            // The answer to the question now open may have found no room beside this one: it is put again.
            self.is_asked = false;
            return;
        }
        if ask.after != self.after {
            return;
        }
        self.is_asked = false;
        self.is_at_end = rows.len() < ask.limit && !self.came_since_ask;
        for row in &rows {
            let after = &mut self.after[row.class as usize];
            *after = row.seq.max(*after);
        }
        let in_flight = &self.in_flight;
        self.ready.extend(rows.into_iter().filter(|row| in_flight.iter().all(|it| it.0 != row.id)));
        self.ready.make_contiguous().sort_by_key(|row| (row.class, row.seq));
    }

    /// The next row to send, if fewer than `window` are under way; it is under way from now on.
    pub fn next(&mut self, window: usize, now: Span) -> Option<Row> {
        if self.in_flight.len() >= window {
            return None;
        }
        let row = self.ready.pop_front()?;
        self.in_flight.push((row.id, now));
        Some(row)
    }

    /// A row that could not be handed over after all.
    pub fn put_back(&mut self, row: Row) {
        self.in_flight.retain(|(id, _)| *id != row.id);
        self.ready.push_front(row);
    }

    /// The broker has it; whether it may leave the disk now. An id that is not under way is no news.
    pub fn acked(&mut self, id: EventId) -> bool {
        let n_before = self.in_flight.len();
        self.in_flight.retain(|(other, _)| *other != id);
        self.in_flight.len() < n_before && self.level == AckLevel::Broker
    }

    /// Rows under way.
    pub fn in_flight(&self) -> &[(EventId, Span)] {
        &self.in_flight
    }

    /// Whether every row there is was sent and acknowledged by the broker.
    pub fn is_idle(&self) -> bool {
        self.is_at_end && self.ready.is_empty() && self.in_flight.is_empty()
    }

    /// Rows kept in the store, as last heard.
    pub fn backlog(&self) -> u64 {
        self.watermark.rows
    }

    /// Begins a new round if rows stayed although all were sent: the fleet has not confirmed them.
    /// Gives when to look again.
    pub fn resend(&mut self, now: Span) -> Option<Span> {
        if self.watermark.rows == 0 {
            self.at_end_since = None;
            self.resend_after = self.resend_first;
            return None;
        }
        // What comes meanwhile starts no new wait: a busy outbox would never look back.
        if !self.is_idle() {
            return None;
        }
        let since = *self.at_end_since.get_or_insert(now);
        let due = Span(since.0.saturating_add(self.resend_after.0));
        if now < due {
            return Some(due);
        }
        self.resend_after =
            Span((2 * self.resend_after.0).min(RESEND_MAX.0.max(self.resend_first.0)));
        self.rewind();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Class;

    const MINUTE: Span = Span(60_000_000_000);

    fn row(seq: u64, class: Class) -> Row {
        let id = EventId([seq as u8; 16]);
        Row { seq, id, class, topic: String::new(), payload: Vec::new() }
    }

    #[test]
    fn rows_go_out_worthiest_first_and_within_the_window() {
        let mut outbox = Outbox::new(AckLevel::Broker, 2, MINUTE);
        outbox.begin_round();
        let ask = outbox.ask().unwrap();
        assert_eq!((ask.after, ask.limit, outbox.ask()), ([0; 4], 2, None));
        outbox.answer(ask, vec![row(1, Class::Summary), row(5, Class::Alert)]);
        assert_eq!(outbox.next(2, Span(0)).unwrap().seq, 5);
        assert_eq!(outbox.next(2, Span(0)).unwrap().seq, 1);
        assert_eq!(outbox.next(2, Span(0)), None);
        assert_eq!(outbox.ask().unwrap().after, [5, 0, 1, 0]);
        assert!(outbox.acked(EventId([5; 16])));
        assert!(!outbox.acked(EventId([5; 16])), "an acknowledgement clears once");
        assert!(!outbox.acked(EventId([9; 16])));
    }

    #[test]
    fn an_answer_to_an_older_round_is_not_for_us() {
        let mut outbox = Outbox::new(AckLevel::Broker, 2, MINUTE);
        let old = outbox.ask().unwrap();
        outbox.begin_round();
        outbox.answer(old, vec![row(1, Class::Alert)]);
        assert_eq!(outbox.next(2, Span(0)), None);
        assert_eq!(outbox.ask().unwrap().round, 1);
    }

    #[test]
    fn a_question_whose_answer_found_no_room_is_put_again_and_answered_once() {
        let mut outbox = Outbox::new(AckLevel::Broker, 2, MINUTE);
        let old = outbox.ask().unwrap();
        outbox.rewind();
        let lost = outbox.ask().unwrap();
        outbox.answer(old, Vec::new());
        let again = outbox.ask().unwrap();
        assert_eq!((again.round, again.after), (lost.round, lost.after));
        for ask in [again, lost] {
            outbox.answer(ask, vec![row(1, Class::Alert), row(2, Class::Alert)]);
        }
        let sent: Vec<u64> =
            std::iter::from_fn(|| outbox.next(9, Span(0))).map(|row| row.seq).collect();
        assert_eq!(sent, [1, 2]);
    }

    #[test]
    fn a_row_the_fleet_lost_is_sent_again_however_many_come_after_it() {
        let mut outbox = Outbox::new(AckLevel::Fleet, 9, MINUTE);
        let mut sent = Vec::new();
        for second in 0..90 {
            let now = Span(second * 1_000_000_000);
            outbox.came(Watermark { version: second as u64 + 1, rows: 1 });
            while let Some(ask) = outbox.ask() {
                // The first row stays; of the others each is gone before the next is there.
                let rows = [1, second as u64 + 2].map(|seq| row(seq, Class::Alert));
                let rows = rows.into_iter().filter(|row| row.seq > ask.after[0]).collect();
                outbox.answer(ask, rows);
            }
            while let Some(row) = outbox.next(9, now) {
                outbox.acked(row.id);
                sent.push(row.seq);
            }
            outbox.resend(now);
        }
        assert_eq!(sent.iter().filter(|seq| **seq == 1).count(), 2);
    }

    #[test]
    fn rows_that_come_while_the_answer_is_under_way_are_asked_for() {
        let mut outbox = Outbox::new(AckLevel::Broker, 2, MINUTE);
        let ask = outbox.ask().unwrap();
        outbox.came(Watermark { version: 1, rows: 1 });
        outbox.answer(ask, Vec::new());
        assert!(!outbox.is_idle());
        let ask = outbox.ask().unwrap();
        outbox.answer(ask, Vec::new());
        assert!(outbox.is_idle() && outbox.ask().is_none());
    }

    #[test]
    fn what_the_fleet_does_not_confirm_is_sent_again_slower_and_slower() {
        let mut outbox = Outbox::new(AckLevel::Fleet, 2, MINUTE);
        outbox.came(Watermark { version: 1, rows: 1 });
        let (mut now, mut waits) = (Span(0), Vec::new());
        for _ in 0..6 {
            let ask = outbox.ask().unwrap();
            outbox.answer(ask, vec![row(1, Class::Alert)]);
            let id = outbox.next(2, now).unwrap().id;
            assert!(!outbox.acked(id), "the broker's word is not enough");
            let due = outbox.resend(now).unwrap();
            waits.push((due.0 - now.0) / 60_000_000_000);
            now = due;
            assert_eq!(outbox.resend(now), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
    }
}
