//! One machine on its site: some minutes of it well, and what it sounds like ill.

use super::chance::Chance;
use super::data::{Corpus, Room, Trial, Windows, preprocessing};
use crate::acquire::{SynthFault, SynthFaultKind, SynthLaw};
use crate::nn::{DataSet, Kind, Model};

/// Of the minutes heard, twentieths to learn from, to stop by, and to set the limit by; the rest are to
/// be told from what is ill.
const PARTS: (usize, usize, usize) = (11, 2, 3);
/// Seconds of each fault.
const ILL_S: f64 = 20.0;
/// How bad a fault is, of 1: early ones.
const SEVERITY: (f32, f32) = (0.05, 0.3);

/// A generated machine as it is met on site.
pub struct Site {
    /// To learn from; its trials are the faults.
    pub corpus: Corpus,
    /// Healthy windows between those learned from and those measured by: the limit is theirs.
    pub calibration: Windows,
}

/// What a model is worth there.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worth {
    /// Area under the ROC curve, mean over the faults.
    pub auc: f64,
    /// The worst of them.
    pub auc_worst: f64,
    /// Share of the ill windows above the limit.
    pub hits: f64,
    /// Share of the healthy windows above it.
    pub false_alarms: f64,
    /// Share of the ill windows above the limit that would have left just the rate asked for: known only
    /// afterwards, it compares ways that keep their limits unequally well.
    pub hits_evenly: f64,
}

impl Site {
    /// Machine `idx` of `seed`, none of those that models are made from, heard for `minutes`; one of
    /// each of the first `n_faults` kinds that follow `idx`.
    pub fn generated(kind: Kind, seed: u64, idx: usize, minutes: f64, n_faults: usize) -> Self {
        let preprocessing = preprocessing(kind);
        let n_in = preprocessing.n_hops * preprocessing.n_bands;
        let window_s = Room::window_ms(kind) * 1e-3;
        let empty = || Windows { db: Vec::new(), n_in };
        let n_windows = |seconds: f64| (seconds / window_s).ceil() as usize;
        let mut room =
            Room::new(seed, (2 << 32) + idx as u64, &preprocessing, n_windows(60.0 * minutes));
        let machine = room.machine(kind);
        let mut healthy = empty();
        room.hear(&machine, &mut healthy, 1);
        let part = healthy.len() / 20 * n_in;
        let cut = |first: usize, n: usize| Windows {
            db: healthy.db[first * part..(first + n) * part].to_vec(),
            n_in,
        };
        let (train, valid, limit) = PARTS;
        let (a, b, c) = (train, train + valid, train + valid + limit);
        let normal = cut(c, 20 - c);
        let learned = cut(0, a);
        let mut chance = Chance::new(seed, (3 << 32) + idx as u64);
        room.n_windows = n_windows(ILL_S);
        let trials = (0..n_faults).map(|i| {
            let fault = SynthFaultKind::ALL[(idx + i * 3) % SynthFaultKind::ALL.len()];
            let severity = f64::from(chance.between(SEVERITY.0, SEVERITY.1));
            let (start_s, growth_s, law) = (0.0, 0.0, SynthLaw::Linear);
            let mut machine = machine.clone();
            machine.faults = vec![SynthFault { fault, start_s, growth_s, severity, law }];
            let mut ill = empty();
            room.hear(&machine, &mut ill, 1);
            let name = fault.code().code().to_owned();
            Trial { name, learned: learned.clone(), normal: normal.clone(), ill }
        });
        let trials = trials.collect();
        let name = format!("synthetic machine {idx} of seed {seed}, {minutes} minutes");
        let sets = vec![DataSet { digest: String::new(), name }];
        let valid = cut(a, valid);
        let corpus = Corpus { kind, preprocessing, train: learned, valid, trials, sets };
        Self { corpus, calibration: cut(b, limit) }
    }

    /// Worth of a model whose limit leaves `false_alarm_rate` of the calibration windows above it.
    /// As on site, the usual residual is learned before; what is scored is the departure from it.
    pub fn worth(&self, model: &Model, false_alarm_rate: f64) -> Worth {
        let mut worth = Worth { auc_worst: 1.0, ..Worth::default() };
        let n_trials = self.corpus.trials.len().max(1) as f64;
        for trial in &self.corpus.trials {
            let calibration = Trial { normal: self.calibration.clone(), ..trial.clone() };
            let (before, _) = super::departures(model, &calibration);
            let (normal, ill) = super::departures(model, trial);
            let limit = limit_of(before, false_alarm_rate);
            let even = limit_of(normal.clone(), false_alarm_rate);
            let above = |limit: f64, scores: &[f64]| {
                scores.iter().filter(|s| **s > limit).count() as f64 / scores.len().max(1) as f64
            };
            let auc = super::measure::area(&normal, &ill).unwrap_or(f64::NAN);
            worth.auc += auc / n_trials;
            worth.auc_worst = worth.auc_worst.min(auc);
            worth.hits += above(limit, &ill) / n_trials;
            worth.false_alarms += above(limit, &normal) / n_trials;
            worth.hits_evenly += above(even, &ill) / n_trials;
        }
        worth
    }
}

/// What leaves `rate` of the scores above it.
fn limit_of(mut scores: Vec<f64>, rate: f64) -> f64 {
    scores.sort_by(f64::total_cmp);
    let at = (scores.len() as f64 * (1.0 - rate)) as usize;
    scores.get(at).or(scores.last()).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_leaves_its_share_above() {
        let scores: Vec<f64> = (0..200).rev().map(f64::from).collect();
        let limit = limit_of(scores.clone(), 0.02);
        assert_eq!(scores.iter().filter(|score| **score > limit).count(), 3);
        assert_eq!(limit_of(vec![7.0], 0.02), 7.0);
        assert_eq!(limit_of(Vec::new(), 0.02), f64::INFINITY);
    }

    #[test]
    fn a_site_is_cut_in_order_and_the_same_again() {
        let site = |idx, n_faults| Site::generated(Kind::Vibration, 5, idx, 0.2, n_faults);
        let one = site(1, 1);
        let trial = &one.corpus.trials[0];
        let lengths = [&one.corpus.train, &one.corpus.valid, &one.calibration, &trial.normal]
            .map(Windows::len);
        let part = lengths[1] / 2;
        assert!(part > 0 && lengths == [11 * part, 2 * part, 3 * part, 4 * part], "{lengths:?}");
        assert_eq!(one.corpus.train, site(1, 0).corpus.train);
        assert_ne!(one.corpus.train, site(2, 0).corpus.train);
    }
}
