//! What the records say together: names gathered over records, so that one odd record renames nothing.

use crate::types::{Fault, FaultCode};

/// What a record's word is still worth one record later.
const KEEP: f32 = 0.85;
/// A name takes over from the leading one when its weight is so many times the leader's.
const OVERTAKES: f32 = 1.5;
/// A name of so much weight is established, by about two records that are sure of it. While the machine is not as
/// learned it keeps that much, even when nothing speaks for it any more: the lines of a spreading defect dissolve.
/// No hint, however often repeated, overtakes it: hints of 0.3 add up to 0.3 / (1 - KEEP) = 2.
const ESTABLISHED: f32 = 1.4;
/// What is left of the confidence in an established name when nothing speaks for it any more.
const LATCHED: f32 = 0.5;
/// A name worth less than this is dropped: about fifteen records after one that was sure.
const FADED: f32 = 0.08;

/// One name and what all records so far give it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// As its surest record had it, confidence fading with every record since.
    pub(super) fault: Fault,
    /// Confidences of all records, older ones worth less.
    pub(super) weight: f32,
    /// Confidence of its surest record.
    pub(super) surest: f32,
}

impl Entry {
    fn fade(&mut self, is_healthy: bool) {
        let is_latched = !is_healthy && self.weight >= ESTABLISHED;
        let (weight, confidence) =
            if is_latched { (ESTABLISHED, LATCHED * self.surest) } else { (0.0, 0.0) };
        self.weight = (KEEP * self.weight).max(weight);
        self.fault.confidence = (KEEP * self.fault.confidence).max(confidence);
    }
}

/// The names on the table, the leading one first.
#[derive(Clone, Debug, Default)]
pub(super) struct Docket(Vec<Entry>);

impl Docket {
    /// Takes in what one record says; nothing said lets names fade, of a machine that `is_healthy` altogether.
    ///
    /// # Source
    /// `domain.md` 3.2: fading lines are no recovery, the fault stays latched.
    pub(super) fn hear(&mut self, said: &[Fault], is_healthy: bool) {
        let leader = self.0.first().map(|entry| entry.fault.code);
        for entry in &mut self.0 {
            entry.fade(is_healthy);
        }
        for (i, fault) in said.iter().enumerate() {
            // One record speaks once for a name.
            if !said[..i].iter().any(|before| before.code == fault.code) {
                self.add(fault);
            }
        }
        self.0.retain(|entry| entry.weight >= FADED);
        self.0.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        self.keep_leader(leader);
    }

    /// The names with what is known of them, leading one first.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Takes up what was on the table before.
    pub(super) fn restore(&mut self, entries: impl Iterator<Item = Entry>) {
        self.0 = entries.take(FaultCode::ALL.len()).collect();
    }

    fn add(&mut self, fault: &Fault) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.fault.code == fault.code) {
            entry.weight += fault.confidence;
            entry.surest = entry.surest.max(fault.confidence);
            if fault.confidence >= entry.fault.confidence {
                entry.fault.clone_from(fault);
            }
        } else {
            let surest = fault.confidence;
            self.0.push(Entry { fault: fault.clone(), weight: surest, surest });
        }
    }

    /// An established name that led before leads on unless the heaviest is clearly heavier.
    fn keep_leader(&mut self, leader: Option<FaultCode>) {
        let Some(at) = self.0.iter().position(|entry| Some(entry.fault.code) == leader) else {
            return;
        };
        let weight = self.0[at].weight;
        if weight >= ESTABLISHED && self.0[0].weight < OVERTAKES * weight {
            self.0[..=at].rotate_right(1);
        }
    }

    /// The names, leading one first; none is surer than the one before it.
    pub(super) fn tell(&self, faults: &mut Vec<Fault>) {
        faults.clear();
        let mut ceiling = 1.0f32;
        for entry in &self.0 {
            ceiling = ceiling.min(entry.fault.confidence);
            faults.push(Fault { confidence: ceiling, ..entry.fault.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: FaultCode, confidence: f32) -> Fault {
        Fault { code, confidence, evidence: Vec::new() }
    }

    /// Who leads after records that each say these.
    fn leads(records: &[&[(FaultCode, f32)]]) -> Option<FaultCode> {
        let mut docket = Docket::default();
        for record in records {
            let said: Vec<Fault> = record.iter().map(|(code, c)| fault(*code, *c)).collect();
            docket.hear(&said, said.is_empty());
        }
        let mut faults = Vec::new();
        docket.tell(&mut faults);
        assert!(faults.windows(2).all(|pair| pair[0].confidence >= pair[1].confidence));
        faults.first().map(|fault| fault.code)
    }

    use FaultCode::{Ball, OuterRace};

    #[test]
    fn one_record_names_nothing_anew() {
        let outer: &[_] = &[(OuterRace, 0.7)];
        let ball: &[_] = &[(Ball, 0.95)];
        assert_eq!(leads(&[outer, outer, outer, ball]), Some(OuterRace));
        assert_eq!(leads(&[outer, outer, outer, ball, outer, &[], ball]), Some(OuterRace));
    }

    #[test]
    fn a_clearly_stronger_name_takes_over() {
        let ball: &[_] = &[(Ball, 0.9)];
        assert_eq!(leads(&[&[(OuterRace, 0.3)], ball, ball, ball]), Some(Ball));
    }

    #[test]
    fn an_established_name_outlasts_its_lines() {
        let mut docket = Docket::default();
        for _ in 0..3 {
            docket.hear(&[fault(OuterRace, 0.9)], false);
        }
        for _ in 0..100 {
            docket.hear(&[fault(Ball, 0.3)], false);
        }
        let mut faults = Vec::new();
        docket.tell(&mut faults);
        assert_eq!((faults[0].code, faults[0].confidence), (OuterRace, 0.45));
        for _ in 0..5 {
            docket.hear(&[fault(Ball, 0.7)], false);
        }
        docket.tell(&mut faults);
        assert_eq!(faults[0].code, Ball, "a sure name comes through");
    }

    #[test]
    fn weak_records_add_up() {
        let both: &[_] = &[(OuterRace, 0.4), (Ball, 0.35)];
        let ball: &[_] = &[(Ball, 0.5)];
        assert_eq!(leads(&[both, ball, ball, ball, ball]), Some(Ball));
    }

    #[test]
    fn silence_lets_names_fade_away() {
        let mut records: Vec<&[(FaultCode, f32)]> = vec![&[(OuterRace, 0.9)]];
        records.extend([[].as_slice(); 20]);
        assert_eq!(leads(&records), None);
    }
}
