//! The report's numbers, in the shape the outside relies on (contract, section 4).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::detect::LearnReport;
use crate::types::FaultCode;

use super::forecasts::{Forecasts, Moment, moments};
use super::hearing::{Answer, Item, Windows};
use super::metrics::{auc, macro_f1, mean, median, pauc, phm2012, phm2012_floor};
use super::trial::{Asked, Mark, Named, Outcome, Trace};

/// False positive rate up to which the partial area is taken.
const PAUC_FPR: f64 = 0.1;
/// A lasting alarm is early when it comes so long before the end, seconds.
const EARLY_S: f64 = 600.0;
/// What no name and no fault are called.
const NONE: &str = "none";

/// Everything measured on one case file.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the set.
    pub name: String,
    /// One per machine.
    pub machines: Vec<MachineReport>,
    /// Over the machines.
    pub summary: Summary,
    /// The model that had a say.
    pub model: Option<ModelReport>,
    /// Simple methods on the same windows, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rivals: Vec<RivalReport>,
    /// How long it took.
    pub seconds: f64,
}

/// One machine.
#[derive(Clone, Debug, Serialize)]
pub struct MachineReport {
    /// Its id.
    pub id: String,
    /// Normal against fault; `None` without learning recordings.
    pub detection: Option<Detection>,
    /// Names; `None` without a labelled test recording.
    pub diagnosis: Option<Diagnosis>,
    /// Whole lives.
    pub lives: Vec<LifeReport>,
    /// What came of each learning: one per format of recordings, then one per life.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub learned: Vec<Learned>,
}

/// What came of a learning.
#[derive(Clone, Debug, Serialize)]
pub struct Learned {
    /// Windows kept.
    pub kept: usize,
    /// Windows refused, by reason.
    pub refused: BTreeMap<&'static str, usize>,
    /// Operating regimes found.
    pub regimes: usize,
    /// Why the machine looks bad already, if it does.
    pub suspect: Option<String>,
    /// The tightest budget the data support, false alarms per year.
    pub supports_per_year: Option<f64>,
}

impl Learned {
    fn new(report: &LearnReport) -> Self {
        Self {
            kept: report.n_kept,
            refused: report.refused.iter().copied().collect(),
            regimes: report.n_regimes,
            suspect: report.suspect.clone(),
            supports_per_year: report.supports_per_year,
        }
    }
}

/// How well normal and fault are told apart.
#[derive(Clone, Debug, Serialize)]
pub struct Detection {
    /// Over recordings or snapshots, from the score alone.
    pub auc: Option<f64>,
    /// The same up to a false positive rate of 0.1, standardised.
    pub pauc: Option<f64>,
    /// At the shipped limit.
    pub recordings: Counts,
    /// At the shipped limit.
    pub windows: Counts,
    /// By `fault/severity`.
    pub by_fault: BTreeMap<String, ByFault>,
}

/// Answers at the shipped limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Normals heard.
    pub normal: usize,
    /// Faults heard.
    pub fault: usize,
    /// Normals answered fault.
    pub false_alarms: usize,
    /// Faults answered fault.
    pub hits: usize,
    /// Normals answered not learned.
    pub not_learned_normal: usize,
    /// Faults answered not learned.
    pub not_learned_fault: usize,
}

/// One fault against every normal.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ByFault {
    /// Over recordings or snapshots.
    pub auc: Option<f64>,
    /// Answered fault.
    pub hits: usize,
    /// Recordings or snapshots of it.
    pub n: usize,
    /// Answered not learned.
    pub not_learned: usize,
}

/// How well faults are named.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Faults whose label the rules know.
    pub n: usize,
    /// Named as labelled.
    pub correct: usize,
    /// Over the labels there are; a false name on a normal counts against the name.
    pub macro_f1: Option<f64>,
    /// Faults given no name.
    pub none: usize,
    /// Normals heard.
    pub normals: usize,
    /// Normals given a fault's name.
    pub normals_named: usize,
    /// Faults with a label the rules have no name for: not in `n`.
    pub not_nameable: usize,
    /// Truth, then answer.
    pub confusion: BTreeMap<String, BTreeMap<String, usize>>,
}

/// One life.
#[derive(Clone, Debug, Serialize)]
pub struct LifeReport {
    /// The file.
    pub file: String,
    /// Its length, snapshots; they count from 1.
    pub snapshots: usize,
    /// First snapshot in alarm.
    pub first_alarm_snapshot: Option<usize>,
    /// First snapshot of the alarm that holds to the end.
    pub lasting_alarm_snapshot: Option<usize>,
    /// From the lasting alarm to the end, seconds; 0 without one.
    pub lead_s: f64,
    /// The same as a share of the life.
    pub lead_share: f64,
    /// Whether any snapshot of the first third is in alarm.
    pub alarm_in_first_third: bool,
    /// The 20 % after learning against the last 5 %.
    pub auc_early_late: Option<f64>,
    /// Where one was asked for.
    pub forecast: Option<ForecastReport>,
    #[serde(skip)]
    moments: Vec<Moment>,
}

/// One forecast against the truth.
#[derive(Clone, Debug, Serialize)]
pub struct ForecastReport {
    /// Snapshots seen.
    pub at_snapshot: usize,
    /// Seconds; `None` with a reason.
    pub life_left_s: Option<Quantiles>,
    /// Why there is none.
    pub reason: Option<&'static str>,
    /// The truth, seconds.
    pub actual_s: f64,
    /// Of the median; `None` for a refusal.
    pub phm2012_score: Option<f64>,
}

/// Quantiles of remaining life, seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Quantiles {
    /// One in ten fails before this.
    pub p10: f64,
    /// Even odds.
    pub p50: f64,
    /// Nine in ten fail before this.
    pub p90: f64,
}

/// Over the machines of a set: means of the machines that have the number.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Mean.
    pub auc: Option<f64>,
    /// Mean.
    pub pauc: Option<f64>,
    /// Of normal windows.
    pub false_alarm_share: Option<f64>,
    /// Of fault windows.
    pub hit_share: Option<f64>,
    /// Of all windows.
    pub not_learned_share: Option<f64>,
    /// Mean.
    pub diagnosis_macro_f1: Option<f64>,
    /// Mean.
    pub diagnosis_accuracy: Option<f64>,
    /// Sum.
    pub normals_named: usize,
    /// Lives heard.
    pub lives: usize,
    /// Lives with an alarm that holds to the end.
    pub lives_alarmed: usize,
    /// Lives with an alarm in their first third.
    pub lives_alarmed_in_first_third: usize,
    /// Lives with a clean first third and a lasting alarm at least ten minutes before the end.
    pub lives_clean_and_early: usize,
    /// A life without a lasting alarm has none.
    pub median_lead_share: Option<f64>,
    /// The same, seconds.
    pub median_lead_s: Option<f64>,
    /// Mean over the forecasts asked for; a refusal scores 0.
    pub phm2012: Option<f64>,
    /// The best constant answer known beforehand.
    pub phm2012_floor: Option<f64>,
    /// Forecasts asked for.
    pub forecasts: usize,
    /// Of those, refused.
    pub forecasts_refused: usize,
    /// What is said at twelve moments of every life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlooks: Option<Forecasts>,
}

/// What the model is and costs.
#[derive(Clone, Debug, Serialize)]
pub struct ModelReport {
    /// As its card has it.
    pub name: String,
    /// Of the file.
    pub digest: String,
    /// Size of the file.
    pub bytes: usize,
    /// Multiply-accumulates per inference.
    pub macs: u64,
}

/// A simple method on the same windows.
#[derive(Clone, Debug, Serialize)]
pub struct RivalReport {
    /// Which.
    pub name: &'static str,
    /// One per machine.
    pub machines: Vec<MachineReport>,
    /// Over the machines.
    pub summary: Summary,
}

impl MachineReport {
    /// Contestant `idx` of a machine's trial: 0 is ours, which alone names faults.
    pub(super) fn new(outcome: &Outcome, idx: usize) -> Self {
        let items = outcome.items.get(idx).map_or(&[][..], Vec::as_slice);
        let lives = outcome.lives.get(idx).map_or(&[][..], Vec::as_slice);
        Self {
            id: outcome.id.clone(),
            detection: (!items.is_empty()).then(|| Detection::new(items)),
            diagnosis: (idx == 0 && !outcome.named.is_empty())
                .then(|| Diagnosis::new(&outcome.named)),
            lives: lives.iter().map(LifeReport::new).collect(),
            learned: match idx {
                0 => outcome.learned.iter().map(Learned::new).collect(),
                _ => Vec::new(),
            },
        }
    }
}

impl Detection {
    fn new(items: &[Item]) -> Self {
        let scores = |keep: &dyn Fn(&Item) -> bool| -> Vec<f64> {
            items.iter().filter(|item| keep(item)).map(|item| item.score).collect()
        };
        let normals = scores(&|item| item.normal);
        let faults = scores(&|item| !item.normal);
        let mut recordings = Counts::default();
        let mut windows = Counts::default();
        let mut by_fault: BTreeMap<String, ByFault> = BTreeMap::new();
        for item in items {
            let mut whole = Windows::default();
            whole.count(item.answer);
            recordings.add(item.normal, whole);
            windows.add(item.normal, item.windows);
            if let Some(key) = &item.key {
                let nothing = ByFault { auc: None, hits: 0, n: 0, not_learned: 0 };
                let row = by_fault.entry(key.clone()).or_insert(nothing);
                row.n += 1;
                row.hits += usize::from(item.answer == Answer::Fault);
                row.not_learned += usize::from(item.answer == Answer::NotLearned);
            }
        }
        for (key, row) in &mut by_fault {
            row.auc = auc(&normals, &scores(&|item| item.key.as_ref() == Some(key)));
        }
        Self {
            auc: auc(&normals, &faults),
            pauc: pauc(&normals, &faults, PAUC_FPR),
            recordings,
            windows,
            by_fault,
        }
    }
}

impl Counts {
    fn add(&mut self, normal: bool, windows: Windows) {
        if normal {
            self.normal += windows.n;
            self.false_alarms += windows.fault;
            self.not_learned_normal += windows.not_learned;
        } else {
            self.fault += windows.n;
            self.hits += windows.fault;
            self.not_learned_fault += windows.not_learned;
        }
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Diagnosis {
    fn new(named: &[Named]) -> Self {
        let known = |label: &str| {
            FaultCode::ALL
                .iter()
                .any(|code| *code != FaultCode::ImpulsiveUnknown && code.code() == label)
        };
        let mut confusion: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(named.len());
        for case in named {
            let pair = (case.truth.as_deref().unwrap_or("normal"), case.said.unwrap_or(NONE));
            let row = confusion.entry(pair.0.to_owned()).or_default();
            *row.entry(pair.1.to_owned()).or_default() += 1;
            pairs.push(pair);
        }
        let nameable = || pairs.iter().filter(|(truth, _)| known(truth));
        let mut classes: Vec<&str> = nameable().map(|(truth, _)| *truth).collect();
        classes.sort_unstable();
        classes.dedup();
        let normals = || named.iter().filter(|case| case.truth.is_none());
        let n = nameable().count();
        Self {
            n,
            correct: nameable().filter(|(truth, said)| truth == said).count(),
            macro_f1: macro_f1(&pairs, &classes),
            none: nameable().filter(|(_, said)| *said == NONE).count(),
            normals: normals().count(),
            normals_named: normals().filter(|case| case.said.is_some_and(known)).count(),
            not_nameable: named.len() - normals().count() - n,
            confusion,
        }
    }
}

impl LifeReport {
    fn new(trace: &Trace) -> Self {
        let marks = &trace.marks;
        let n = marks.len();
        let first = marks.iter().position(|mark| mark.alarm);
        let quiet = |mark: &Mark| !mark.alarm && !mark.void;
        // The alarm holds from after the last quiet snapshot; voids at its front are not yet alarm.
        let after = marks.iter().rposition(quiet).map_or(0, |idx| idx + 1);
        let lasting = (after..n).find(|&idx| marks[idx].alarm);
        let lead_s = lasting.map_or(0.0, |idx| (n - 1 - idx) as f64 * trace.every_s);
        let life_s = n as f64 * trace.every_s;
        Self {
            file: trace.file.clone(),
            snapshots: n,
            first_alarm_snapshot: first.map(|idx| idx + 1),
            lasting_alarm_snapshot: lasting.map(|idx| idx + 1),
            lead_s,
            lead_share: if n == 0 { 0.0 } else { lead_s / life_s },
            alarm_in_first_third: first.is_some_and(|idx| 3 * idx < n),
            auc_early_late: early_late(trace),
            forecast: trace.forecast.map(|asked| ForecastReport::new(&asked, trace)),
            moments: moments(&trace.said, trace.every_s),
        }
    }
}

/// The 20 % of all snapshots that follow the learning, as normal, against the last 5 %, as fault.
fn early_late(trace: &Trace) -> Option<f64> {
    let n = trace.marks.len();
    let late_from = n - (n as f64 * 0.05).round() as usize;
    let early_to = (trace.n_learn + (n as f64 * 0.2).round() as usize).min(late_from);
    let scores = |marks: &[Mark]| -> Vec<f64> {
        marks.iter().filter(|mark| !mark.void).map(|mark| mark.score).collect()
    };
    auc(&scores(trace.marks.get(trace.n_learn..early_to)?), &scores(&trace.marks[late_from..]))
}

impl ForecastReport {
    fn new(asked: &Asked, trace: &Trace) -> Self {
        let left = trace.marks.len().saturating_sub(asked.at_snapshot);
        let actual_s = asked.actual_s.unwrap_or(left as f64 * trace.every_s);
        let life = asked.life.ok();
        Self {
            at_snapshot: asked.at_snapshot,
            life_left_s: life.map(|life| Quantiles {
                p10: life.p10_h * 3600.0,
                p50: life.p50_h * 3600.0,
                p90: life.p90_h * 3600.0,
            }),
            reason: asked.life.err().map(crate::types::Refusal::reason),
            actual_s,
            phm2012_score: life
                .filter(|_| actual_s > 0.0)
                .map(|life| phm2012(actual_s, life.p50_h * 3600.0)),
        }
    }
}

impl Summary {
    /// Over the machines of a set.
    pub(super) fn new(machines: &[MachineReport]) -> Self {
        let detections = || machines.iter().filter_map(|machine| machine.detection.as_ref());
        let diagnoses = || machines.iter().filter_map(|machine| machine.diagnosis.as_ref());
        let lives = || machines.iter().flat_map(|machine| &machine.lives);
        let forecasts = || lives().filter_map(|life| life.forecast.as_ref());
        let asked: Vec<f64> =
            forecasts().map(|forecast| forecast.actual_s).filter(|&actual| actual > 0.0).collect();
        let scores = forecasts().map(|forecast| forecast.phm2012_score.unwrap_or(0.0));
        let windows = || detections().map(|detection| detection.windows);
        Self {
            auc: mean(detections().filter_map(|detection| detection.auc)),
            pauc: mean(detections().filter_map(|detection| detection.pauc)),
            false_alarm_share: mean(windows().filter_map(|w| share(w.false_alarms, w.normal))),
            hit_share: mean(windows().filter_map(|w| share(w.hits, w.fault))),
            not_learned_share: mean(windows().filter_map(|w| {
                share(w.not_learned_normal + w.not_learned_fault, w.normal + w.fault)
            })),
            diagnosis_macro_f1: mean(diagnoses().filter_map(|diagnosis| diagnosis.macro_f1)),
            diagnosis_accuracy: mean(diagnoses().filter_map(|d| share(d.correct, d.n))),
            normals_named: diagnoses().map(|diagnosis| diagnosis.normals_named).sum(),
            lives: lives().count(),
            lives_alarmed: lives().filter(|life| life.lasting_alarm_snapshot.is_some()).count(),
            lives_alarmed_in_first_third: lives().filter(|l| l.alarm_in_first_third).count(),
            lives_clean_and_early: lives()
                .filter(|life| !life.alarm_in_first_third && life.lead_s >= EARLY_S)
                .count(),
            median_lead_share: median(lives().map(|life| life.lead_share)),
            median_lead_s: median(lives().map(|life| life.lead_s)),
            phm2012: mean(scores),
            phm2012_floor: phm2012_floor(&asked),
            forecasts: forecasts().count(),
            forecasts_refused: forecasts().filter(|f| f.life_left_s.is_none()).count(),
            outlooks: Forecasts::new(
                &lives().flat_map(|life| &life.moments).copied().collect::<Vec<_>>(),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
