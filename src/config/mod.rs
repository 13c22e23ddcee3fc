//! `auscult.toml`: load, check, build the parts. Anything set for the plant holds for every machine,
//! anything set for a machine for all its sensors, unless something further in says otherwise.

mod build;
mod bundle;
mod check;
mod fault;
mod file;
mod load;
mod parts;
mod reader;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::{Digest, SensorKind};
use crate::{acquire, advise, assess, detect, extract, forecast, publish, store};

pub use build::shipped_model;
pub use bundle::{Bundles, Choice};
pub use fault::Fault;

/// A configuration without mistakes, inheritance worked out.
#[derive(Clone, Debug)]
pub struct Config {
    /// The plant.
    pub site: String,
    /// This box.
    pub gateway: String,
    /// Where things are kept.
    pub store: store::Config,
    /// The broker, if there is one.
    pub mqtt: Option<publish::Config>,
    /// The machines.
    pub assets: Vec<Asset>,
    /// The file's text.
    pub text: Arc<str>,
    /// Digest of the file's bytes.
    pub digest: Digest,
    /// The file's folder: relative paths start there.
    pub folder: PathBuf,
}

/// One machine.
#[derive(Clone, Debug)]
pub struct Asset {
    /// Its identifier.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Nameplate and standard.
    pub assess: assess::Config,
    /// Remaining life.
    pub forecast: forecast::Config,
    /// Alarms.
    pub advise: advise::Config,
    /// What listens to it, at least one.
    pub sensors: Vec<Sensor>,
}

/// One sensor on a machine.
#[derive(Clone, Debug)]
pub struct Sensor {
    /// Its identifier.
    pub id: String,
    /// Vibration or sound.
    pub kind: SensorKind,
    /// A name per channel, as far as given.
    pub axes: Vec<String>,
    /// Where its samples come from.
    pub source: acquire::Config,
    /// What is known of the shaft's speed.
    pub speed: extract::SpeedConfig,
    /// Model file, if not the shipped one.
    pub model: Option<PathBuf>,
    /// Windows and features.
    pub extract: extract::Config,
    /// Learning and limits.
    pub detect: detect::Config,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{path}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: std::io::Error,
    },
    /// It has mistakes.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))]
    Wrong(Vec<Fault>),
}

/// A configuration file is refused beyond this many bytes.
const BYTES_MAX: u64 = 1 << 20;

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, or every mistake in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let unreadable = |why| Error::Unreadable { path: path.to_owned(), why };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > BYTES_MAX {
            let why = format!("longer than {BYTES_MAX} bytes: this is no configuration");
            return Err(unreadable(std::io::Error::other(why)));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(path, &text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes());
                let message = "this byte is not UTF-8 text".to_owned();
                let fault = Fault::new(path, &text, &(at..at + 1), message);
                let fix = "save the file as UTF-8".to_owned();
                Err(Error::Wrong(vec![fault.or_fix(Some(fix))]))
            }
        }
    }

    /// Checks `text` as if it stood in the file at `path`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        Self::parse_with(path, text, None)
    }

    /// As [`Config::parse`]; the models are those in a bundle's folder, if one is given.
    fn parse_with(path: &Path, text: &str, bundle: Option<&Path>) -> Result<Self, Error> {
        let config = load::load(path, text, bundle).map_err(Error::Wrong)?;
        let faults = check::faults(&config, path, text);
        if faults.is_empty() { Ok(config) } else { Err(Error::Wrong(faults)) }
    }

    /// The JSON Schema of the file, from the code.
    ///
    /// # Panics
    /// Never: a schema is JSON.
    pub fn schema() -> String {
        let schema = schemars::schema_for!(file::File);
        serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
    }
}
