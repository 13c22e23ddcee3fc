//! How one asset stands, as the broker is to retain it: every change in order, the numbers as they are now.

use std::collections::VecDeque;

use crate::types::State;

/// Changes of state that wait for a connection, at the most; the oldest go first.
const CHANGES_MAX: usize = 32;

/// What is published of one asset's state.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Payloads not yet published, one per state the asset was in, the latest last.
    due: VecDeque<(State, Vec<u8>)>,
    /// What was published last.
    told: Option<(State, Vec<u8>)>,
}

impl Standing {
    /// The asset stands so now: takes the place of what was to be said of the same state.
    pub(super) fn put(&mut self, state: State, payload: Vec<u8>) {
        match self.due.back_mut() {
            Some(last) if last.0 == state => last.1 = payload,
            _ => self.due.push_back((state, payload)),
        }
        if self.due.len() > CHANGES_MAX {
            self.due.pop_front();
        }
    }

    /// A new connection: the broker may have forgotten what it was told.
    pub(super) fn tell_again(&mut self) {
        if self.due.is_empty() {
            self.due.extend(self.told.take());
        }
    }

    /// Nothing is left to say.
    pub(super) fn is_told(&self) -> bool {
        self.due.is_empty()
    }

    /// Publishes what is due, in order, until `publish` refuses.
    pub(super) fn tell(&mut self, mut publish: impl FnMut(&[u8]) -> bool) {
        while let Some((_, payload)) = self.due.front()
            && publish(payload)
        {
            self.told = self.due.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(standing: &mut Standing, n_max: usize) -> Vec<u8> {
        let mut told = Vec::new();
        standing.tell(|payload| {
            let fits = told.len() < n_max;
            told.extend(payload.iter().take(usize::from(fits)));
            fits
        });
        told
    }

    #[test]
    fn every_change_is_told_in_order_with_the_latest_numbers() {
        let mut standing = Standing::default();
        let states = [State::Learning, State::Learning, State::Normal, State::Alarm, State::Alarm];
        for (k, state) in states.into_iter().enumerate() {
            standing.put(state, vec![k as u8]);
        }
        assert_eq!(told(&mut standing, 2), [1, 2]);
        assert_eq!(told(&mut standing, 9), [4]);
        assert!(told(&mut standing, 9).is_empty());
        standing.tell_again();
        assert_eq!(told(&mut standing, 9), [4]);
    }

    #[test]
    fn a_long_absence_keeps_the_latest_changes() {
        let mut standing = Standing::default();
        for k in 0..100 {
            standing.put(if k % 2 == 0 { State::Normal } else { State::Alert }, vec![k]);
        }
        standing.tell_again();
        let expect: Vec<u8> = (68..100).collect();
        assert_eq!(told(&mut standing, 100), expect);
    }
}
