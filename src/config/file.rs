//! `auscult.toml` as it is written: plant, assets, sensors; what is set further out holds further in.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use crate::types::SensorKind;
use crate::{acquire, advise, assess, detect, extract, forecast, publish, store};

/// In the place of a model's file: statistics alone.
pub(super) const NO_MODEL: &str = "none";

/// A table kept as written, so that it can be laid over the one further out; its keys are `T`'s.
#[derive(Clone, Debug)]
pub(super) struct Section<T> {
    /// What is written, nothing added.
    pub(super) table: toml::Table,
    keys: PhantomData<T>,
}

impl<T> Default for Section<T> {
    fn default() -> Self {
        Self { table: toml::Table::new(), keys: PhantomData }
    }
}

impl<'de, T> Deserialize<'de> for Section<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { table: toml::Table::deserialize(deserializer)?, keys: PhantomData })
    }
}

impl<T: JsonSchema> JsonSchema for Section<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The whole file. `extract`, `detect`, `assess`, `forecast` and `advise` hold for every machine
/// unless a machine (or one of its sensors) says otherwise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "auscult.toml")]
pub(super) struct File {
    /// The plant, `[a-z0-9-]`, at most 64 characters; part of every topic.
    pub(super) site: String,
    /// This box, same alphabet.
    pub(super) gateway: String,
    /// Where things are kept on disk.
    #[serde(default)]
    pub(super) store: Section<store::Config>,
    /// The broker. Without this table nothing is published and everything is kept.
    #[serde(default)]
    pub(super) mqtt: Section<publish::Config>,
    /// Windows and features.
    #[serde(default)]
    pub(super) extract: Section<extract::Config>,
    /// Learning, regimes and limits.
    #[serde(default)]
    pub(super) detect: Section<detect::Config>,
    /// Nameplate and standard.
    #[serde(default)]
    pub(super) assess: Section<assess::Config>,
    /// Remaining life.
    #[serde(default)]
    pub(super) forecast: Section<forecast::Config>,
    /// The alarms' life cycle.
    #[serde(default)]
    pub(super) advise: Section<advise::Config>,
    /// The machines.
    #[serde(default)]
    pub(super) asset: Vec<Section<Asset>>,
}

/// One machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asset {
    /// `[a-z0-9-]`, at most 64 characters; part of its topics. Never change it: its history hangs on it.
    pub(super) id: String,
    /// What people call it.
    #[serde(default)]
    pub(super) name: String,
    /// What is known of its shaft's speed.
    #[serde(default)]
    pub(super) speed: Section<extract::SpeedConfig>,
    /// For its sensors.
    #[serde(default)]
    pub(super) extract: Section<extract::Config>,
    /// For its sensors.
    #[serde(default)]
    pub(super) detect: Section<detect::Config>,
    /// Its nameplate.
    #[serde(default)]
    pub(super) assess: Section<assess::Config>,
    /// Its remaining life.
    #[serde(default)]
    pub(super) forecast: Section<forecast::Config>,
    /// Its alarms.
    #[serde(default)]
    pub(super) advise: Section<advise::Config>,
    /// What listens to it, at least one.
    #[serde(default)]
    pub(super) sensor: Vec<Section<Sensor>>,
}

/// What a sensor listens to.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// An accelerometer on the machine.
    #[default]
    Vibration,
    /// A microphone near it.
    Sound,
}

impl From<Kind> for SensorKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Vibration => Self::Vibration,
            Kind::Sound => Self::Sound,
        }
    }
}

/// One sensor on a machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sensor {
    /// `[a-z0-9-]`, at most 64 characters. Never change it: what it learned hangs on it.
    pub(super) id: String,
    /// Vibration or sound.
    pub(super) kind: Kind,
    /// A name per channel in the channels' order; `axial` tells the fault rules which one is axial.
    #[serde(default)]
    pub(super) axes: Vec<String>,
    /// Where its samples come from.
    #[expect(dead_code, reason = "read by its `type`, so that every key keeps its place")]
    pub(super) source: Section<acquire::Config>,
    /// Model file; absent: the shipped model of this kind; `none`: statistics alone.
    pub(super) model: Option<PathBuf>,
    /// The speed of the shaft it sits at, if that is not the machine's; its tacho channel.
    #[serde(default)]
    pub(super) speed: Section<extract::SpeedConfig>,
    /// For this sensor.
    #[serde(default)]
    pub(super) extract: Section<extract::Config>,
    /// For this sensor.
    #[serde(default)]
    pub(super) detect: Section<detect::Config>,
}

/// The bytes of a file named in a configuration, `bytes_max` at most: no device, no pipe.
pub(super) fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let told = |why: std::io::Error| why.to_string();
    let about = std::fs::metadata(path).map_err(told)?;
    if !about.is_file() {
        return Err("is no file".to_owned());
    }
    if about.len() > bytes_max {
        return Err(format!("{} bytes; {bytes_max} at most", about.len()));
    }
    std::fs::read(path).map_err(told)
}
