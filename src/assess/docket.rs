//! What the records say together: names gathered over records, so that one odd record renames nothing.

use crate::types::{Fault, FaultCode};

/// What a record's word is still worth one record later.
const KEEP: f32 = 0.85;
/// A name takes over from the leading one when its weight is so many times the leader's.
const OVERTAKES: f32 = 1.5;
/// A name that has at least so much weight is established: about two records that are sure of it.
const ESTABLISHED: f32 = 1.2;
/// A name worth less than this is dropped: about fifteen records after one that was sure.
const FADED: f32 = 0.08;

/// One name and what all records so far give it.
#[derive(Clone, Debug)]
struct Entry {
    /// As its surest record had it, confidence fading with every record since.
    fault: Fault,
    /// Confidences of all records, older ones worth less.
    weight: f32,
}

/// The names on the table, the leading one first.
#[derive(Clone, Debug, Default)]
pub(super) struct Docket(Vec<Entry>);

impl Docket {
    /// Takes in what one record says; nothing said lets every name fade.
    pub(super) fn hear(&mut self, said: &[Fault]) {
        let leader = self.0.first().map(|entry| entry.fault.code);
        for entry in &mut self.0 {
            entry.weight *= KEEP;
            entry.fault.confidence *= KEEP;
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

    fn add(&mut self, fault: &Fault) {
        match self.0.iter_mut().find(|entry| entry.fault.code == fault.code) {
            Some(entry) => {
                entry.weight += fault.confidence;
                if fault.confidence >= entry.fault.confidence {
                    entry.fault.clone_from(fault);
                }
            }
            None => self.0.push(Entry { fault: fault.clone(), weight: fault.confidence }),
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
            docket.hear(&said);
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
