//! ISO 13374 HA, health assessment: `Features`, `Score` -> `Finding`.
//!
//! **Invariants.** A machine whose windows are as learned is never given a fault's name. Severity by the standard
//! speaks from the first record on, before anything is learned. A sensor that cannot be trusted says nothing of
//! the machine. What is learned is bounded in size and only learned while the score says `Learning`.

mod bearing;
mod config;
mod docket;
mod drive;
mod families;
mod family;
mod fuse;
mod lock;
mod measure;
mod memory;
mod reference;
mod rolling;
mod rules;
mod severity;
mod shaft;

use crate::types::{
    Fault, Features, Finding, Origin, Rise, Score, SensorKind, Severity, Speed, State, Verdict,
};

pub use bearing::{CATALOGUE, CatalogueEntry, Geometry, Orders};
pub use config::{Belt, Config, Gear};
pub use memory::Memory;
pub use reference::Reference;
pub use severity::Support;

use docket::Docket;
use family::Tester;
use fuse::{Against, Voice};
use measure::{Level, Machine, Measured};
use rolling::Persistence;
use rules::Case;
use severity::Limits;

/// What a configuration may have wrong.
#[derive(Debug, thiserror::Error)]
#[error("assess.{key}: {why}")]
pub struct Error {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Config {
    /// Checks everything for one machine; `axes` names the axes of each of its sensors, by sensor id.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub fn build(&self, axes: &[(&str, Vec<String>)]) -> Result<Assessor, Error> {
        self.check()?;
        let limits = Limits::build(self)?;
        let bearing = bearing::resolve(
            self.bearing,
            self.bearing_geometry,
            self.bearing_designation.as_deref(),
        )?;
        let is_axial = |name: &String| self.axial_axes.iter().any(|a| a.eq_ignore_ascii_case(name));
        let sensors = axes
            .iter()
            .map(|(id, names)| Sensor::new(id, names.iter().map(is_axial).collect()))
            .collect();
        Ok(Assessor {
            finding: empty_finding(&limits),
            machine: Machine { bearing, config: self.clone() },
            limits,
            reference: Reference::default(),
            sensors,
            tester: Tester::new(),
        })
    }
}

fn empty_finding(limits: &Limits) -> Finding {
    let mut finding = Finding::new(Origin::new("", ""));
    finding.severity.standard = limits.standard.clone();
    finding
}

/// After so many records in a row without suspicion, only one in so many is searched for lines.
const CALM_RECORDS: u32 = 8;
const CALM_EVERY: u32 = 4;

/// What is gathered of one sensor.
struct Sensor {
    id: String,
    axial: Vec<bool>,
    trusted: Vec<bool>,
    measured: Vec<Measured>,
    persistence: Persistence,
    docket: Docket,
    voice: Voice,
    faults: Vec<Fault>,
    suspicious: bool,
    /// Records in a row without suspicion.
    n_calm: u32,
    speed: Option<Speed>,
    /// How much of the learning was done.
    learned: f32,
}

impl Sensor {
    fn new(id: &str, axial: Vec<bool>) -> Self {
        let n = axial.len();
        Self {
            id: id.into(),
            axial,
            trusted: vec![true; n],
            measured: vec![Measured::default(); n],
            persistence: Persistence::default(),
            docket: Docket::default(),
            voice: Voice::default(),
            faults: Vec::new(),
            suspicious: false,
            n_calm: 0,
            speed: None,
            learned: 0.0,
        }
    }

    /// Whether the next record is to be searched for lines: of a machine that has long been as learned,
    /// nothing is named anyway.
    fn is_due(&self) -> bool {
        self.suspicious || self.n_calm < CALM_RECORDS || self.n_calm.is_multiple_of(CALM_EVERY)
    }

    /// Whether the rules have a learned normal to compare with.
    fn is_learned(&self, reference: &Reference, speed_hz: Option<f64>) -> bool {
        let level = Level::Low as usize;
        (0..self.measured.len())
            .any(|i| self.trusted[i] && reference.normal(&self.id, speed_hz, i, level).is_some())
    }

    fn forget(&mut self) {
        self.persistence = Persistence::default();
        self.docket = Docket::default();
        self.voice = Voice::default();
        self.faults.clear();
        self.suspicious = false;
        self.n_calm = 0;
        self.speed = None;
    }
}

/// Names faults and grades severity for one machine, from all its sensors.
pub struct Assessor {
    finding: Finding,
    machine: Machine,
    limits: Limits,
    reference: Reference,
    sensors: Vec<Sensor>,
    tester: Tester,
}

impl Assessor {
    /// One window of one sensor. While `score.state` is `Learning` it also learns what is normal here.
    pub fn step(&mut self, features: &Features, score: &Score) -> &Finding {
        let at = self.sensor_at(&features.origin.sensor);
        self.sensors[at].voice.heard(features.start);
        let is_blind = features.is_blind() || score.state == State::Blind;
        self.sensors[at].voice.state = if is_blind { State::Blind } else { score.state };
        if !is_blind && score.state != State::Stopped {
            self.look(at, features, score);
        }
        self.tell(features, score);
        &self.finding
    }

    fn sensor_at(&mut self, id: &str) -> usize {
        if let Some(at) = self.sensors.iter().position(|sensor| sensor.id == id) {
            return at;
        }
        self.sensors.push(Sensor::new(id, Vec::new()));
        self.sensors.len() - 1
    }

    /// Measures, learns or judges a trusted window of a running machine.
    fn look(&mut self, at: usize, features: &Features, score: &Score) {
        let Self { machine, limits, reference, sensors, tester, .. } = self;
        let sensor = &mut sensors[at];
        sensor.measured.resize_with(features.axes.len(), Measured::default);
        sensor.trusted.resize(features.axes.len(), true);
        for (axis, trusted) in features.axes.iter().zip(&mut sensor.trusted) {
            *trusted = !axis.quality.is_blind();
        }
        let has_record = features.axes.iter().any(|axis| axis.record.is_some());
        // A condition not learned, on a machine that is, is judged by what carries over and teaches nothing here.
        let is_learning = score.state == State::Learning && score.learned < 1.0;
        if score.learned < sensor.learned {
            // How a machine was before it settled is no normal.
            reference.forget(&sensor.id);
        }
        sensor.learned = score.learned;
        sensor.suspicious |= is_suspicious(score);
        // Faults are named by vibration alone: of sound nobody asks for lines.
        let is_named = has_record && features.kind == SensorKind::Vibration;
        let speed_hz = features.speed.map(|speed| speed.hz);
        let is_looked = is_named && (sensor.is_due() || !sensor.is_learned(reference, speed_hz));
        if is_looked {
            sensor.speed = lock::refined_speed(tester, features, machine);
        }
        if has_record {
            sensor.voice.severity = limits.grade(features).or(sensor.voice.severity.take());
        }
        for (axis, measured) in features.axes.iter().zip(&mut sensor.measured) {
            measure::window(axis, measured);
            let Some(record) = axis.record.as_ref().filter(|_| is_named) else { continue };
            if is_looked {
                measure::record(tester, machine, record, sensor.speed, measured);
            } else {
                measure::velocity(record, measured);
            }
        }
        if is_learning {
            for (i, measured) in
                sensor.measured.iter().enumerate().filter(|(i, _)| sensor.trusted[*i])
            {
                reference.learn(&sensor.id, speed_hz, i, measured, false);
                if is_named {
                    reference.learn(&sensor.id, speed_hz, i, measured, true);
                }
            }
        }
        if is_looked {
            name(
                sensor,
                machine,
                if is_learning { None } else { Some(&*reference) },
                &self.finding.severity,
            );
        }
        if has_record {
            sensor.n_calm = if sensor.suspicious { 0 } else { sensor.n_calm.saturating_add(1) };
            sensor.suspicious = false;
        }
        let zoned = sensor.voice.severity.as_ref().is_some_and(|severity| severity.zone.is_some());
        let config = &machine.config;
        let against = Against { reference, limits, config, sensor: &sensor.id, speed_hz };
        let worst = |of: &dyn Fn(&Against<'_>, usize) -> Option<f64>| {
            let trusted = (0..sensor.measured.len()).filter(|i| sensor.trusted[*i] && !is_learning);
            trusted.filter_map(|i| of(&against, i)).reduce(f64::max)
        };
        let wear = worst(&|against, i| against.wear(i, &sensor.measured[i], zoned));
        let db = worst(&|against, i| against.rise(i, &sensor.measured[i], zoned));
        let limit_db = config.functional_limit_db;
        sensor.voice.wear = wear;
        sensor.voice.rise = db.map(|db| Rise { db, limit_db });
    }

    /// Brings the finding up to date from all sensors.
    fn tell(&mut self, features: &Features, score: &Score) {
        let finding = &mut self.finding;
        let now = features.start;
        let voices = || self.sensors.iter().map(|sensor| &sensor.voice);
        finding.origin.clone_from(&features.origin);
        finding.origin.model.clone_from(&score.origin.model);
        finding.start = now;
        finding.state = fuse::state(voices(), now);
        finding.wear = fuse::wear(voices(), now);
        finding.rise = fuse::rise(voices(), now);
        let severity = fuse::severity(voices(), now);
        finding.health = fuse::health(finding.wear, severity, finding.state);
        if let Some(severity) = severity {
            finding.severity.clone_from(severity);
        }
        finding.speed_hz = features.speed.map(|speed| speed.hz);
        finding.quality =
            features.axes.iter().fold(features.quality, |q, axis| q.with(axis.quality));
        finding.quality = finding.quality.with(score.quality);
        copy_score(score, &mut finding.score);
        finding.faults.clear();
        for fault in self.sensors.iter().flat_map(|sensor| &sensor.faults) {
            match finding.faults.iter_mut().find(|f| f.code == fault.code) {
                Some(f) if f.confidence >= fault.confidence => {}
                Some(f) => f.clone_from(fault),
                None => finding.faults.push(fault.clone()),
            }
        }
        finding.faults.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    }

    /// Forgets what is gathered over records, keeps the learned normal.
    pub fn forget(&mut self) {
        self.sensors.iter_mut().for_each(Sensor::forget);
        self.finding = empty_finding(&self.limits);
    }

    /// Starts learning the normal anew.
    pub fn relearn(&mut self) {
        self.forget();
        self.reference.clear();
    }

    /// The learned normal, to be kept.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The names on the table, to be kept.
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        for sensor in &self.sensors {
            sensor.docket.entries().iter().for_each(|entry| memory.push(&sensor.id, entry));
        }
        memory
    }

    /// Takes up the names that were on the table, and tells them on.
    pub fn recall(&mut self, memory: &Memory) {
        for sensor in &mut self.sensors {
            sensor.docket.restore(memory.names(&sensor.id));
            sensor.docket.tell(&mut sensor.faults);
        }
    }

    /// Takes up the learned normal; one of another version, or damaged, is left aside and learning begins anew.
    pub fn restore(&mut self, reference: Reference) {
        self.reference = if reference.is_readable() { reference } else { Reference::default() };
    }
}

/// Whether a window gives reason to look for a fault: it is not as learned.
fn is_suspicious(score: &Score) -> bool {
    matches!(score.state, State::Learning | State::Alert | State::Alarm)
        || matches!(score.verdict, Verdict::Fault | Verdict::NotLearned)
}

/// Names what one record of one sensor shows, surest first.
fn name(
    sensor: &mut Sensor,
    machine: &Machine,
    reference: Option<&Reference>,
    severity: &Severity,
) {
    sensor.faults.clear();
    let case = Case {
        sensor: &sensor.id,
        machine,
        axes: &sensor.measured,
        axial: &sensor.axial,
        trusted: &sensor.trusted,
        speed: sensor.speed,
        reference,
        severity: sensor.voice.severity.as_ref().unwrap_or(severity),
    };
    let faults = &mut sensor.faults;
    rolling::rules(&case, &mut sensor.persistence, faults);
    let is_healthy = !sensor.suspicious && case.is_learned();
    if is_healthy {
        faults.clear();
    } else {
        shaft::rules(&case, faults);
        drive::rules(&case, faults);
        if faults.is_empty() && !rolling::has_lines(&case) {
            drive::carpet(&case, faults);
        }
        if !faults.iter().any(|fault| rolling::is_bearings(fault.code)) {
            rolling::out_of_step(&case, faults);
        }
        if faults.is_empty() {
            drive::unknown(&case, faults);
        }
        faults.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    }
    sensor.docket.hear(faults, is_healthy);
    if !is_healthy {
        sensor.docket.tell(faults);
    }
}

/// Copies a score into room it already has.
fn copy_score(from: &Score, to: &mut Score) {
    to.views.clone_from(&from.views);
    to.contributions.clone_from(&from.contributions);
    let views = std::mem::take(&mut to.views);
    let contributions = std::mem::take(&mut to.contributions);
    let &Score { start, quality, state, verdict, value, threshold, p_value, evidence, .. } = from;
    let &Score { false_alarms_per_year, regime, learned, .. } = from;
    let &Score { settling_db, baseline_suspect, .. } = from;
    *to = Score {
        origin: from.origin.clone(),
        start,
        quality,
        state,
        verdict,
        value,
        threshold,
        p_value,
        evidence,
        false_alarms_per_year,
        regime,
        learned,
        settling_db,
        baseline_suspect,
        views,
        contributions,
    };
}
