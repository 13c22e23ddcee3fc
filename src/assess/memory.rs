//! The names on the table, in the shape they are kept in over a restart.

use serde::{Deserialize, Serialize};

use super::docket::Entry;
use crate::types::{Evidence, Fault, FaultCode};

/// Units evidence may have.
const UNITS: [&str; 4] = ["dB", "x", "Hz", "mm/s"];
/// Lines of evidence kept of a name.
const LINES_MAX: usize = 8;

/// What the records so far say of each sensor's machine; kept on disk as it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Version of this shape.
    pub version: u32,
    names: Vec<Name>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Name {
    sensor: String,
    code: String,
    confidence: f32,
    weight: f32,
    surest: f32,
    evidence: Vec<Line>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    feature: String,
    value: f64,
    unit: String,
    expected: Option<f64>,
    order: Option<f64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { version: Self::VERSION, names: Vec::new() }
    }
}

impl Memory {
    /// The version this program writes; others are not taken up.
    pub const VERSION: u32 = 1;

    /// Adds one name of a sensor.
    pub(super) fn push(&mut self, sensor: &str, entry: &Entry) {
        let finite = |line: &&Evidence| {
            let numbers = [Some(line.value), line.expected, line.order];
            numbers.into_iter().flatten().all(f64::is_finite)
        };
        let line = |line: &Evidence| Line {
            feature: line.feature.clone(),
            value: line.value,
            unit: line.unit.to_owned(),
            expected: line.expected,
            order: line.order,
        };
        self.names.push(Name {
            sensor: sensor.to_owned(),
            code: entry.fault.code.code().to_owned(),
            confidence: entry.fault.confidence,
            weight: entry.weight,
            surest: entry.surest,
            evidence: entry
                .fault
                .evidence
                .iter()
                .filter(finite)
                .take(LINES_MAX)
                .map(line)
                .collect(),
        });
    }

    /// The names of one sensor, in their order; none of another version, or that make no sense.
    pub(super) fn names<'a>(&'a self, sensor: &'a str) -> impl Iterator<Item = Entry> + 'a {
        let is_own = move |name: &&Name| self.version == Self::VERSION && name.sensor == sensor;
        self.names.iter().filter(is_own).filter_map(Name::entry)
    }
}

impl Name {
    fn entry(&self) -> Option<Entry> {
        let code = FaultCode::ALL.into_iter().find(|code| code.code() == self.code)?;
        let shares = [self.confidence, self.surest].iter().all(|x| (0.0..=1.0).contains(x));
        if !shares || !(0.0..=100.0).contains(&self.weight) {
            return None;
        }
        let evidence = self.evidence.iter().filter_map(Line::evidence).collect();
        let fault = Fault { code, confidence: self.confidence, evidence };
        Some(Entry { fault, weight: self.weight, surest: self.surest })
    }
}

impl Line {
    fn evidence(&self) -> Option<Evidence> {
        let unit = UNITS.into_iter().find(|unit| *unit == self.unit)?;
        let Self { feature, value, expected, order, .. } = self.clone();
        Some(Evidence { feature, value, unit, expected, order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: f64) -> Entry {
        let evidence = |unit, value| Evidence {
            feature: "envelope line at 1 x BPFO".into(),
            value,
            unit,
            expected: Some(107.4),
            order: None,
        };
        let evidence = vec![evidence("Hz", 107.3), evidence("dB", value)];
        let fault = Fault { code: FaultCode::OuterRace, confidence: 0.8, evidence };
        Entry { fault, weight: 2.0, surest: 0.9 }
    }

    #[test]
    fn names_outlive_a_restart_with_their_evidence() {
        let mut memory = Memory::default();
        memory.push("bearing", &entry(12.0));
        let kept = serde_json::to_string(&memory).unwrap();
        let again: Memory = serde_json::from_str(&kept).unwrap();
        let names: Vec<Entry> = again.names("bearing").collect();
        assert_eq!(names[0].fault, entry(12.0).fault);
        assert_eq!((names.len(), names[0].weight, names[0].surest), (1, 2.0, 0.9));
        assert_eq!(again.names("other").count(), 0);
        let strange = Memory { version: 99, ..again };
        assert_eq!(strange.names("bearing").count(), 0);
    }

    #[test]
    fn what_is_no_number_is_not_kept() {
        let mut memory = Memory::default();
        memory.push("bearing", &entry(f64::NAN));
        let kept = serde_json::to_string(&memory).unwrap();
        let again: Memory = serde_json::from_str(&kept).unwrap();
        assert_eq!(again.names("bearing").next().unwrap().fault.evidence.len(), 1);
    }
}
