//! ISO 13374 AG, advisory generation: `Finding`, `Outlook` -> `Alert`.
//!
//! Invariants: one open case per machine and one for its sensors; every change of an alarm's state is
//! told exactly once; a fault of a sensor never becomes an alarm of the machine; while a machine
//! stands still or cannot be heard its alarms are held, neither raised nor cleared; time is the
//! findings' own.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{
    Alert, Command, Event, FaultCode, Finding, OpenAlert, Order, Outlook, Reply, Span, Stamp,
    State, What,
};

mod calm;
mod case;
mod causes;
mod cycle;
mod facts;
mod orders;
mod rules;
mod words;

use calm::{Debounce, Delays, Reading, Storm, Watch};
use case::{Case, Telling, Told};
use causes::{FAULT, HIGH, KINDS, SEVERITY};
use facts::Facts;

/// A window may have begun so long before an order of the same moment.
const LATE: Span = Span(3_600_000_000_000);
/// What the kept memory looks like; another version is not taken up.
const MEMORY_VERSION: u32 = 1;

/// The alarm life cycle of ISA-18.2: delays, deadband, latch, calm.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Consecutive windows in the same regime before anything but zone D alarms, 1-100.
    pub on_windows: u32,
    /// Time an anomaly, a named fault or a short life must stand before it alarms, seconds. The
    /// detector's own limit keeps the false-alarm budget; this only outlasts a knock or a load step.
    pub on_delay_s: f64,
    /// The same for zone C, seconds; zone D alarms at once.
    pub severity_on_delay_s: f64,
    /// Time the condition must be gone before the alarm returns to normal, seconds.
    pub off_delay_s: f64,
    /// How far below its limit a value must fall to count as gone, percent of the limit, 0-50.
    pub deadband_percent: f64,
    /// Whether an alarm stays after its condition is gone until it is acknowledged.
    pub latch: bool,
    /// After a standstill only zone D alarms for so long, seconds: run-up is no steady state.
    pub startup_s: f64,
    /// A named fault alarms from this confidence on, 0-1.
    pub fault_confidence_min: f64,
    /// A median remaining life shorter than this is an alarm, hours.
    pub life_short_h: f64,
    /// A median remaining life shorter than this is urgent, hours.
    pub life_urgent_h: f64,
    /// Time a sensor must be in trouble before it is told, seconds.
    pub sensor_on_delay_s: f64,
    /// Time a sensor must be well before that is told, seconds.
    pub sensor_off_delay_s: f64,
    /// Events per hour and machine, at the most; urgent ones always pass, the others wait and are
    /// counted.
    pub alerts_per_hour_max: u32,
    /// Longest time an alarm can be put aside, hours.
    pub shelve_max_h: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            on_windows: 3,
            on_delay_s: 10.0,
            severity_on_delay_s: 2.0,
            off_delay_s: 1800.0,
            deadband_percent: 10.0,
            latch: false,
            startup_s: 60.0,
            fault_confidence_min: 0.5,
            life_short_h: 720.0,
            life_urgent_h: 72.0,
            sensor_on_delay_s: 3.0,
            sensor_off_delay_s: 60.0,
            alerts_per_hour_max: 6,
            shelve_max_h: 168.0,
        }
    }
}

/// What a configuration may have wrong.
#[derive(Debug, thiserror::Error)]
#[error("advise.{key}: {why}")]
pub struct Error {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

/// Where every alarm of one machine stands; kept on disk in one transaction with its alerts.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    version: u32,
    /// Alerts' lives on this machine so far.
    episodes: u64,
    machine: Case,
    sensor: Case,
    /// In the order of [`KINDS`].
    levels: [Debounce; 4],
    floors: causes::Floors,
    /// The named fault, once it has stood long enough.
    name: Named,
    sensors: Vec<Sensor>,
    watch: Watch,
    storm: Storm,
    /// Running time since the last standstill, while it is short, ns.
    startup_ns: Option<i64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            version: MEMORY_VERSION,
            episodes: 0,
            machine: Case::default(),
            sensor: Case::default(),
            levels: <[Debounce; 4]>::default(),
            floors: causes::Floors::default(),
            name: Named::default(),
            sensors: Vec::new(),
            watch: Watch::default(),
            storm: Storm::default(),
            startup_ns: None,
        }
    }
}

/// The condition of one sensor.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sensor {
    id: String,
    trouble: Debounce,
    watch: Watch,
    regime: Option<u16>,
    /// The level of its trouble that people were last told of.
    #[serde(default)]
    told: u8,
}

/// The fault's name that counts, and the one that may replace it; places in [`FaultCode::ALL`].
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Named {
    now: Option<u8>,
    next: Option<u8>,
    next_windows: u32,
    next_ns: i64,
}

impl Named {
    /// The surest fault of a window, `passed` after the one before.
    fn step(&mut self, code: Option<FaultCode>, passed: Span, delays: &Delays) {
        let Some(code) = code.map(|code| code as u8) else { return };
        if self.now.is_none() || self.now == Some(code) {
            *self = Self { now: Some(code), ..Self::default() };
        } else if self.next == Some(code) {
            self.next_windows += 1;
            self.next_ns += passed.0;
            if self.next_windows >= delays.on_windows && self.next_ns >= delays.on.0 {
                *self = Self { now: Some(code), ..Self::default() };
            }
        } else {
            *self = Self { now: self.now, next: Some(code), next_windows: 1, next_ns: 0 };
        }
    }
}

impl Config {
    /// Checks everything for one machine with these sensors.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub fn build(&self, sensors: &[&str]) -> Result<Advisor, Error> {
        let wrong = |key, why: String| Err(Error { key, why });
        for (key, value) in [
            ("on_delay_s", self.on_delay_s),
            ("severity_on_delay_s", self.severity_on_delay_s),
            ("off_delay_s", self.off_delay_s),
            ("startup_s", self.startup_s),
            ("life_short_h", self.life_short_h),
            ("life_urgent_h", self.life_urgent_h),
            ("sensor_on_delay_s", self.sensor_on_delay_s),
            ("sensor_off_delay_s", self.sensor_off_delay_s),
            ("shelve_max_h", self.shelve_max_h),
        ] {
            if !(0.0..=1e6).contains(&value) {
                return wrong(key, format!("{value} is not a length of time; 0 to 1000000"));
            }
        }
        if !(1..=100).contains(&self.on_windows) {
            return wrong("on_windows", format!("{} windows; choose 1-100", self.on_windows));
        }
        if !(0.0..=50.0).contains(&self.deadband_percent) {
            let why = format!("{} %; choose 0-50, 10 is usual", self.deadband_percent);
            return wrong("deadband_percent", why);
        }
        if !(0.0..=1.0).contains(&self.fault_confidence_min) {
            let why = format!("{}; a confidence is 0-1", self.fault_confidence_min);
            return wrong("fault_confidence_min", why);
        }
        if self.life_urgent_h > self.life_short_h {
            let why = format!("{} h is above life_short_h", self.life_urgent_h);
            return wrong("life_urgent_h", why);
        }
        if !(1..=1000).contains(&self.alerts_per_hour_max) {
            let why = format!("{}; choose 1-1000", self.alerts_per_hour_max);
            return wrong("alerts_per_hour_max", why);
        }
        Ok(Advisor {
            config: self.clone(),
            sensors: sensors.iter().map(|&id| id.to_owned()).collect(),
            memory: Memory::default(),
            facts: Facts::blank("", ""),
            alerts: Vec::new(),
        })
    }

    fn longest_shelf(&self) -> Span {
        Span::from_secs(self.shelve_max_h * 3600.0)
    }

    fn delays(&self, on_s: f64, off_s: f64) -> Delays {
        Delays {
            on_windows: self.on_windows,
            on: Span::from_secs(on_s),
            off: Span::from_secs(off_s),
        }
    }
}

/// Turns findings into alarms a person can live with.
pub struct Advisor {
    config: Config,
    sensors: Vec<String>,
    memory: Memory,
    facts: Facts,
    alerts: Vec<Alert>,
}

impl Advisor {
    /// One finding with its outlook; gives the events it caused, in order, mostly none.
    pub fn step(&mut self, finding: &Finding, outlook: &Outlook) -> &[Alert] {
        self.alerts.clear();
        self.facts.update(finding, outlook);
        let now = finding.start;
        let passed = self.watch_sensor(finding);
        match finding.state {
            State::Blind => {}
            State::Stopped => self.memory.startup_ns = Some(0),
            _ => self.watch_machine(finding, outlook, passed),
        }
        self.expire_shelves(now);
        let waits = [What::Anomaly, What::Sensor].map(|what| self.tell_case(what, now));
        if waits == [false; 2] {
            self.memory.storm.rest();
        }
        &self.alerts
    }

    /// The sensor's own condition; gives the time watched on this machine since the last window.
    fn watch_sensor(&mut self, finding: &Finding) -> Span {
        let since = self.memory.watch.since(finding.start);
        let sensors = &mut self.memory.sensors;
        let id = &*finding.origin.sensor;
        let idx = sensors.iter().position(|sensor| sensor.id == id).unwrap_or_else(|| {
            sensors.push(Sensor { id: id.to_owned(), ..Sensor::default() });
            sensors.len() - 1
        });
        let sensor = &mut sensors[idx];
        let passed = sensor.watch.passed(finding.start);
        // Time alone counts here: three snapshots may be half a minute, and deaf is told in seconds.
        let config = &self.config;
        let delays = Delays {
            on_windows: 1,
            ..config.delays(config.sensor_on_delay_s, config.sensor_off_delay_s)
        };
        sensor.trouble.step(causes::sensor(finding.quality), passed, &delays);
        let regime = finding.score.regime;
        if regime.is_some() && sensor.regime != regime {
            if sensor.regime.is_some() {
                self.memory.levels.iter_mut().for_each(Debounce::restart);
            }
            sensor.regime = regime;
        }
        sensor.watch.without_gap(since)
    }

    /// Every kind of trouble of a machine that runs and can be heard.
    fn watch_machine(&mut self, finding: &Finding, outlook: &Outlook, passed: Span) {
        let Self { config, memory, .. } = self;
        let levels = memory.levels.each_ref().map(Debounce::level);
        let mut readings = causes::readings(config, finding, outlook, levels, &mut memory.floors);
        if let Some(running_ns) = &mut memory.startup_ns {
            *running_ns += passed.0;
            if *running_ns >= Span::from_secs(config.startup_s).0 {
                memory.startup_ns = None;
            } else {
                for (reading, level) in readings.iter_mut().zip(levels) {
                    if !reading.at_once {
                        *reading = Reading { level: 0, held: level, at_once: false };
                    }
                }
            }
        }
        for (kind, (debounce, reading)) in memory.levels.iter_mut().zip(readings).enumerate() {
            let on_s =
                if kind == SEVERITY { config.severity_on_delay_s } else { config.on_delay_s };
            debounce.step(reading, passed, &config.delays(on_s, config.off_delay_s));
        }
        if memory.levels[FAULT].level() > 0 {
            let delays = config.delays(config.on_delay_s, config.off_delay_s);
            memory.name.step(finding.faults.first().map(|it| it.code), passed, &delays);
        } else {
            memory.name = Named::default();
        }
    }

    fn expire_shelves(&mut self, now: Stamp) {
        let longest = self.config.longest_shelf() + LATE;
        for what in [What::Anomaly, What::Sensor] {
            if self.case(what).cycle.is_expired(now, longest) {
                let on = self.is_on(what);
                let events = self.case(what).cycle.unshelve(on);
                let by = Some("the time on the shelf is over".to_owned());
                self.tell(events, what, now, 0, by.as_deref());
            }
        }
    }

    /// What a case is now, after its delays.
    fn now(&self, what: What) -> Told {
        if what == What::Sensor {
            let levels = self.memory.sensors.iter().map(|sensor| sensor.trouble.level());
            return Told { level: levels.max().unwrap_or(0), ..Told::default() };
        }
        let levels = self.memory.levels.each_ref().map(Debounce::level);
        Told {
            level: levels.into_iter().max().unwrap_or(0),
            kinds: (0..KINDS.len()).filter(|&kind| levels[kind] > 0).fold(0, |set, k| set | 1 << k),
            lead: causes::lead(levels) as u8,
            fault: self.memory.name.now,
        }
    }

    /// What a case is now against what was told of it; gives whether news must wait.
    fn tell_case(&mut self, what: What, at: Stamp) -> bool {
        let (per_hour_max, latch) = (self.config.alerts_per_hour_max, self.config.latch);
        let now = self.now(what);
        let on = now.level > 0;
        let of_sensor = if what == What::Sensor { self.news_of_sensor() } else { None };
        let case = self.case(what);
        let news = || case.told.news(now).or(of_sensor).filter(|_| case.cycle.is_active());
        let wants = case.cycle.wants(on).or_else(news);
        let Some(event) = wants else { return false };
        let urgent = now.level >= HIGH && matches!(event, Event::Raised | Event::Worsened);
        if !self.memory.storm.may_tell(at, per_hour_max, urgent) {
            return true;
        }
        let held_back = self.memory.storm.told(at, per_hour_max);
        let event = self.case(what).cycle.condition(on, latch).unwrap_or(event);
        self.tell([Some(event), None], what, at, held_back, None);
        false
    }

    /// What is new of the sensor that is heard now, though the worst of them all is as bad as it was.
    fn news_of_sensor(&self) -> Option<Event> {
        let heard = |sensor: &&Sensor| *sensor.id == *self.facts.origin.sensor;
        let sensor = self.memory.sensors.iter().find(heard)?;
        match sensor.trouble.level().cmp(&sensor.told) {
            Ordering::Greater => Some(Event::Worsened),
            Ordering::Less => Some(Event::Improved),
            Ordering::Equal => None,
        }
    }

    fn case(&mut self, what: What) -> &mut Case {
        match what {
            What::Sensor => &mut self.memory.sensor,
            _ => &mut self.memory.machine,
        }
    }

    /// Whether a case's condition stands, after its delays.
    fn is_on(&self, what: What) -> bool {
        self.now(what).level > 0
    }

    /// Tells the events of one change of a case, in order.
    fn tell(
        &mut self,
        events: cycle::Events,
        what: What,
        at: Stamp,
        held_back: u32,
        by: Option<&str>,
    ) {
        let now = self.now(what);
        let Memory { machine, sensor, episodes, sensors, .. } = &mut self.memory;
        let case = if what == What::Sensor { sensor } else { machine };
        // The end of a life is told with what it was.
        if case.cycle.is_active() && now.level > 0 {
            case.told = now;
            // News is of the sensor that is heard now; what others have to tell waits for them.
            let is_news = matches!(events[0], Some(Event::Worsened | Event::Improved));
            let heard = &*self.facts.origin.sensor;
            if what == What::Sensor {
                let told = sensors.iter_mut().filter(|it| !is_news || it.id == heard);
                told.for_each(|it| it.told = it.trouble.level());
            }
        }
        let lead = if what == What::Sensor { what } else { KINDS[usize::from(case.told.lead)] };
        for event in events.into_iter().flatten() {
            let by = by.map(str::to_owned);
            let telling = Telling { event, at, what: lead, facts: &self.facts, held_back, by };
            self.alerts.push(case.tell(episodes, telling));
        }
        case.settle();
    }

    /// An order from a person; gives the answer and the events it caused.
    pub fn order(&mut self, command: &Command) -> (Reply, &[Alert]) {
        self.alerts.clear();
        if self.facts.origin.asset.is_empty() {
            self.facts = Facts::blank(&command.asset, "");
        }
        let answer = match command.order {
            Order::Ack { what } => self.acknowledge(what, command),
            Order::Shelve { what, until } => self.shelve(what, until, command),
            Order::Unshelve { what } => self.unshelve(what, command),
            Order::Suppress { on } => Ok(self.suppress(on, command)),
            Order::OutOfService { on } => Ok(self.out_of_service(on, command)),
            Order::Relearn => Ok(self.relearn(command)),
            Order::RollBack => Ok("normal is again what was learned at first".to_owned()),
            Order::Clip { .. } => Err("an alarm keeps no recordings".to_owned()),
        };
        let (done, message) = match answer {
            Ok(message) => (true, message),
            Err(message) => (false, message),
        };
        (Reply { id: command.id.clone(), done, message }, &self.alerts)
    }

    /// The events of the last step or order.
    pub fn alerts(&self) -> &[Alert] {
        &self.alerts
    }

    /// The alarms that are not over.
    pub fn open(&self) -> Vec<OpenAlert> {
        let Memory { machine, sensor, .. } = &self.memory;
        let lead = KINDS[usize::from(machine.told.lead)];
        machine.open(lead).into_iter().chain(sensor.open(What::Sensor)).collect()
    }

    /// Where every alarm stands, to be kept.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes it up again without the sensors that are gone since; that of another version is left, and
    /// the alarms begin anew.
    pub fn restore(&mut self, memory: Memory) {
        if memory.version == MEMORY_VERSION {
            self.memory = memory;
            self.memory.sensors.retain(|sensor| self.sensors.contains(&sensor.id));
        }
    }
}

#[cfg(test)]
mod tests;
