//! How many windows are scored: all, or every second or fourth while the processor is too slow for all.

use crate::types::Span;

/// Of four windows one is scored at the least.
const MOST: u32 = 4;
/// A ring this full, for [`LATE`] on end: the processor is too slow.
const FULL: f64 = 0.25;
const LATE: Span = Span(1_000_000_000);
/// Nothing fuller than this for [`EASY`]: it may do more again.
const EMPTY: f64 = 0.1;
const EASY: Span = Span(60_000_000_000);

/// Decides by how full the fullest ring of a live sensor is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    every: u32,
    /// Since when a ring is too full, and since when none holds much.
    late: Option<Span>,
    easy: Option<Span>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: 1, late: None, easy: None }
    }
}

impl Pace {
    /// Of so many windows one is scored.
    pub(super) fn every(&self) -> u32 {
        self.every
    }

    /// Looks at the fullest ring, 0-1; whether the pace changes.
    pub(super) fn look(&mut self, fill: f64, now: Span) -> bool {
        let since = |was: &mut Option<Span>, is: bool| {
            *was = is.then(|| was.unwrap_or(now));
            was.map_or(Span(0), |since| now - since)
        };
        let late = since(&mut self.late, fill > FULL);
        let easy = since(&mut self.easy, fill <= EMPTY);
        let every = if late >= LATE {
            (2 * self.every).min(MOST)
        } else if easy >= EASY {
            (self.every / 2).max(1)
        } else {
            self.every
        };
        if every == self.every {
            return false;
        }
        *self = Self { every, late: None, easy: None };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pace after every quarter of a second with a ring so full.
    fn paces(pace: &mut Pace, now: &mut i64, fill: f64, seconds: i64) -> Vec<u32> {
        let mut all = vec![pace.every()];
        for _ in 0..4 * seconds {
            *now += 250_000_000;
            pace.look(fill, Span(*now));
            if all.last() != Some(&pace.every()) {
                all.push(pace.every());
            }
        }
        all
    }

    #[test]
    fn a_full_ring_halves_it_in_order_and_a_minute_of_ease_gives_it_back() {
        let (mut pace, mut now) = (Pace::default(), 0);
        assert_eq!(paces(&mut pace, &mut now, 0.2, 600), [1], "what fits is no overload");
        assert_eq!(paces(&mut pace, &mut now, 0.9, 10), [1, 2, 4]);
        assert_eq!(paces(&mut pace, &mut now, 0.2, 600), [4], "just enough is not plenty");
        assert_eq!(paces(&mut pace, &mut now, 0.0, 59), [4]);
        assert_eq!(paces(&mut pace, &mut now, 0.0, 2), [4, 2]);
        assert_eq!(paces(&mut pace, &mut now, 0.0, 600), [2, 1]);
    }

    #[test]
    fn a_burst_that_is_worked_off_changes_nothing() {
        let mut pace = Pace::default();
        for s in 0..60 {
            assert!(!pace.look(1.0, Span(s * 1_000_000_000)));
            assert!(!pace.look(0.2, Span(s * 1_000_000_000 + 900_000_000)));
        }
    }
}
