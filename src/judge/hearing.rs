//! What is heard of one recording or snapshot, and the answer that follows.

use crate::pipeline::Tick;
use crate::types::{FaultCode, Span, Stamp, State, Verdict};

/// What a window or a recording is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// No alarm.
    Normal,
    /// Alarm.
    Fault,
    /// A condition the learning part does not cover: neither a hit nor a false alarm.
    NotLearned,
}

/// How the windows of something were answered; the rest of `n` is normal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Windows {
    /// Windows in all.
    pub n: usize,
    /// Answered fault.
    pub fault: usize,
    /// Answered not learned.
    pub not_learned: usize,
}

impl Windows {
    /// One more window.
    pub(super) fn count(&mut self, answer: Answer) {
        self.n += 1;
        match answer {
            Answer::Normal => {}
            Answer::Fault => self.fault += 1,
            Answer::NotLearned => self.not_learned += 1,
        }
    }
}

/// One recording (or snapshot) with its truth and what one contestant said of it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The truth: healthy.
    pub normal: bool,
    /// The truth: row of the table, `fault/severity`.
    pub key: Option<String>,
    /// By the alarm logic.
    pub answer: Answer,
    /// Mean over its windows.
    pub score: f64,
    /// Its windows.
    pub windows: Windows,
}

/// Gathers the windows of one item.
#[derive(Clone, Debug, Default)]
pub(super) struct Hearing {
    windows: Windows,
    n_scored: usize,
    sum: f64,
    alarmed: bool,
    said: Option<FaultCode>,
    /// End of the last window.
    end: Option<Stamp>,
}

impl Hearing {
    /// One window of the pipeline; gives whether it counts. The last window of a recording may repeat
    /// samples so as to complete a record: what it says is heard, but it is no window of its own.
    pub(super) fn tick(&mut self, tick: &Tick<'_>) -> bool {
        let (score, features) = (tick.score, tick.features);
        let half = Span(features.span.0 / 2);
        let is_new = self.end.is_none_or(|end| features.start + half >= end);
        self.end = Some(features.start + features.span);
        self.alarmed |= tick.finding.state == State::Alarm;
        self.said = tick.finding.faults.first().map(|fault| fault.code);
        if is_new {
            self.windows.count(match score.verdict {
                Verdict::Fault => Answer::Fault,
                Verdict::NotLearned => Answer::NotLearned,
                Verdict::Normal | Verdict::Void => Answer::Normal,
            });
            if score.verdict != Verdict::Void {
                self.add(score.value);
            }
        }
        is_new
    }

    /// One window of a rival: its score, and the limit if it has one.
    pub(super) fn rival(&mut self, value: f64, limit: Option<f64>) {
        self.windows.count(match limit {
            None => Answer::NotLearned,
            Some(limit) if value > limit => Answer::Fault,
            Some(_) => Answer::Normal,
        });
        self.add(value);
    }

    fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.sum += value;
            self.n_scored += 1;
        }
    }

    /// Mean over the windows that were judged; 0 where there was none.
    pub(super) fn score(&self) -> f64 {
        if self.n_scored == 0 { 0.0 } else { self.sum / self.n_scored as f64 }
    }

    /// How the windows were answered.
    pub(super) fn windows(&self) -> Windows {
        self.windows
    }

    /// The surest fault after the last window.
    pub(super) fn said(&self) -> Option<FaultCode> {
        self.said
    }

    /// The alarm was reached: fault. Else most windows not learned, or no window at all: not learned.
    pub(super) fn answer(&self) -> Answer {
        if self.alarmed {
            Answer::Fault
        } else if 2 * self.windows.not_learned > self.windows.n || self.windows.n == 0 {
            Answer::NotLearned
        } else {
            Answer::Normal
        }
    }

    /// As a rival answers: its mean score against its limit.
    pub(super) fn rival_answer(&self, limit: Option<f64>) -> Answer {
        match limit {
            None => Answer::NotLearned,
            Some(limit) if self.score() > limit => Answer::Fault,
            Some(_) => Answer::Normal,
        }
    }
}
