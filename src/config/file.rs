//! `auscult.toml` as it is written: plant, assets, sensors; what is set further out holds further in.

use std::marker::PhantomData;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use crate::types::SensorKind;
use crate::{acquire, advise, assess, detect, extract, forecast, publish, store};

/// A table kept as written, so that it can be laid over the one further out; its keys are `T`'s.
#[derive(Clone, Debug)]
pub struct Section<T> {
    /// What is written, nothing added.
    pub table: toml::Table,
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "auscult.toml")]
pub struct File {
    /// The plant, `[a-z0-9-]`, at most 64 characters; part of every topic.
    pub site: String,
    /// This box, same alphabet.
    pub gateway: String,
    /// Where things are kept on disk.
    #[serde(default)]
    pub store: Section<store::Config>,
    /// The broker. Without this table nothing is published and everything is kept.
    pub mqtt: Option<Section<publish::Config>>,
    /// Windows and features.
    #[serde(default)]
    pub extract: Section<extract::Config>,
    /// Learning, regimes and limits.
    #[serde(default)]
    pub detect: Section<detect::Config>,
    /// Nameplate and standard.
    #[serde(default)]
    pub assess: Section<assess::Config>,
    /// Remaining life.
    #[serde(default)]
    pub forecast: Section<forecast::Config>,
    /// The alarms' life cycle.
    #[serde(default)]
    pub advise: Section<advise::Config>,
    /// The machines.
    #[serde(default)]
    pub asset: Vec<Section<Asset>>,
}

/// One machine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    /// `[a-z0-9-]`, at most 64 characters; part of its topics. Never change it: its history hangs on it.
    pub id: String,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// What is known of its shaft's speed.
    #[serde(default)]
    pub speed: Section<extract::SpeedConfig>,
    /// For its sensors.
    #[serde(default)]
    pub extract: Section<extract::Config>,
    /// For its sensors.
    #[serde(default)]
    pub detect: Section<detect::Config>,
    /// Its nameplate.
    #[serde(default)]
    pub assess: Section<assess::Config>,
    /// Its remaining life.
    #[serde(default)]
    pub forecast: Section<forecast::Config>,
    /// Its alarms.
    #[serde(default)]
    pub advise: Section<advise::Config>,
    /// What listens to it, at least one.
    #[serde(default)]
    pub sensor: Vec<Section<Sensor>>,
}

/// What a sensor listens to.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An accelerometer on the machine.
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sensor {
    /// `[a-z0-9-]`, at most 64 characters. Never change it: what it learned hangs on it.
    pub id: String,
    /// Vibration or sound.
    pub kind: Kind,
    /// A name per channel in the channels' order; `axial` tells the fault rules which one is axial.
    #[serde(default)]
    pub axes: Vec<String>,
    /// Where its samples come from.
    pub source: Section<acquire::Config>,
    /// Model file; absent: the shipped model of this kind; `none`: statistics alone.
    pub model: Option<PathBuf>,
    /// The speed of the shaft it sits at, if that is not the machine's; its tacho channel.
    #[serde(default)]
    pub speed: Section<extract::SpeedConfig>,
    /// For this sensor.
    #[serde(default)]
    pub extract: Section<extract::Config>,
    /// For this sensor.
    #[serde(default)]
    pub detect: Section<detect::Config>,
}
