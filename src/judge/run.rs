//! A case file from the first recording to the report.

use crate::types::Clock;

use super::report::{MachineReport, ModelReport, Report, RivalReport, Summary};
use super::rig::{Open, Setup};
use super::rivals::Rival;
use super::trial::Trial;
use super::{Cases, Error};

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Recordings and lives that are over.
    pub done: usize,
    /// All of them.
    pub total: usize,
    /// The one that just ended.
    pub what: &'a str,
}

/// Judges recordings with the pipeline.
pub struct Judge<'a> {
    /// The blocks.
    pub setup: &'a Setup,
    /// How recordings are opened.
    pub open: &'a Open<'a>,
    /// Whether simple methods run beside ours.
    pub with_rivals: bool,
    /// For the time it took.
    pub clock: &'a dyn Clock,
}

impl Judge<'_> {
    /// Runs everything in a case file; `tell` hears of every recording that is over.
    ///
    /// # Errors
    /// If a recording cannot be read or the blocks cannot be built for a machine.
    pub fn run(&self, cases: &Cases, tell: &mut dyn FnMut(Progress<'_>)) -> Result<Report, Error> {
        let begin = self.clock.monotonic();
        let total = cases.machines.iter().map(|m| m.recordings.len() + m.lives.len()).sum();
        let mut done = 0;
        let mut outcomes = Vec::with_capacity(cases.machines.len());
        for machine in &cases.machines {
            let trial = Trial::new(machine, self.setup, self.open, self.with_rivals);
            outcomes.push(trial.run(&mut |what| {
                done += 1;
                tell(Progress { done, total, what });
            })?);
        }
        let contestant = |idx| -> Vec<MachineReport> {
            outcomes.iter().map(|outcome| MachineReport::new(outcome, idx)).collect()
        };
        let n_rivals = if self.with_rivals { Rival::NAMES.len() } else { 0 };
        let rivals = (0..n_rivals)
            .map(|idx| {
                let machines = contestant(idx + 1);
                RivalReport { name: Rival::NAMES[idx], summary: Summary::new(&machines), machines }
            })
            .collect();
        let machines = contestant(0);
        let kind = cases.machines.first().map(|machine| machine.kind);
        Ok(Report {
            name: cases.name.clone(),
            summary: Summary::new(&machines),
            machines,
            model: kind.and_then(|kind| self.setup.model(kind)).map(|model| ModelReport {
                name: model.name().to_string(),
                digest: model.digest().to_string(),
                bytes: model.bytes(),
                macs: model.macs(),
            }),
            rivals,
            seconds: (self.clock.monotonic().0 - begin.0) as f64 * 1e-9,
        })
    }
}
