//! ISO 13374 PA, prognostic assessment: `Finding` -> `Outlook`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Finding, Outlook, Refusal};

/// How a trend becomes a forecast.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}

/// What a configuration may have wrong.
#[derive(Debug, thiserror::Error)]
#[error("forecast.{key}: {why}")]
pub struct Error {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

/// The thinned history a forecast runs on; kept on disk as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Memory {}

impl Config {
    /// Checks everything.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub fn build(&self) -> Result<Forecaster, Error> {
        Ok(Forecaster { outlook: None, memory: Memory::default() })
    }
}

/// Follows the wear of one machine.
pub struct Forecaster {
    outlook: Option<Outlook>,
    memory: Memory,
}

impl Forecaster {
    /// One finding.
    pub fn step(&mut self, finding: &Finding) -> &Outlook {
        self.outlook.insert(Outlook {
            origin: finding.origin.clone(),
            start: finding.start,
            life: Err(Refusal::Learning),
            since: None,
            wear_per_day: None,
        })
    }

    /// Maintenance was done: wear starts anew.
    pub fn maintained(&mut self) {}

    /// What it runs on, to be kept.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes it up again.
    pub fn restore(&mut self, memory: Memory) {
        self.memory = memory;
    }
}
