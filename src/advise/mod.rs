//! ISO 13374 AG, advisory generation: `Finding`, `Outlook` -> `Alert`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Alert, Command, Finding, Outlook, Reply};

/// The alarm life cycle of ISA-18.2: delays, deadband, latch, calm.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}

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
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
pub struct Memory {}

impl Config {
    /// Checks everything for one machine.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub fn build(&self) -> Result<Advisor, Error> {
        Ok(Advisor { memory: Memory::default(), alerts: Vec::new() })
    }
}

/// Turns findings into alarms a person can live with.
pub struct Advisor {
    memory: Memory,
    alerts: Vec<Alert>,
}

impl Advisor {
    /// One finding with its outlook; gives the events it caused, in order, mostly none.
    pub fn step(&mut self, finding: &Finding, outlook: &Outlook) -> &[Alert] {
        let _ = (finding, outlook);
        self.alerts.clear();
        &self.alerts
    }

    /// An order from a person; gives the answer and the events it caused.
    pub fn order(&mut self, command: &Command) -> (Reply, &[Alert]) {
        self.alerts.clear();
        (Reply { id: command.id.clone(), done: false, message: String::new() }, &self.alerts)
    }

    /// Where every alarm stands, to be kept.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes it up again.
    pub fn restore(&mut self, memory: Memory) {
        self.memory = memory;
    }
}
