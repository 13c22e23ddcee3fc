//! The parts that run, from a checked configuration.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Asset, Config, Sensor};
use crate::acquire;
use crate::daemon::{self, Ear, MakeLane, MakePipeline, Office, capture};
use crate::nn::{Canary, Model};
use crate::publish::{self, ClockQuality, Identity};
use crate::store::Epoch;
use crate::types::{Clock, Frame};

/// Signal that fits between capture and compute, seconds.
const RING_S: f64 = 4.0;
/// Places in that ring where the frames' length is not known beforehand.
const RING_FRAMES: usize = 64;

impl Config {
    /// What every payload says of its sender.
    pub fn identity(&self, clock: ClockQuality) -> Identity {
        Identity {
            site: self.site.clone(),
            gateway: self.gateway.clone(),
            epoch: Epoch::default(),
            config: self.digest,
            clock,
        }
    }

    /// Who we are and where things go. Without a table `mqtt` nothing is published.
    pub fn office(&self, quality: ClockQuality, clock: Arc<dyn Clock>) -> Office {
        let absent = || publish::Config { enabled: false, ..publish::Config::default() };
        Office {
            identity: self.identity(quality),
            store: self.store.clone(),
            mqtt: self.mqtt.clone().unwrap_or_else(absent),
            assets: self.assets.iter().map(|asset| asset.id.clone()).collect(),
            clock,
        }
    }

    /// Every machine, ready to be run.
    ///
    /// # Errors
    /// If a model file has gone bad since the configuration was checked.
    pub fn machines(&self, clock: &Arc<dyn Clock>) -> Result<Vec<daemon::Asset>, String> {
        self.assets.iter().map(|asset| self.machine(asset, clock)).collect()
    }

    fn machine(&self, asset: &Asset, clock: &Arc<dyn Clock>) -> Result<daemon::Asset, String> {
        let ear = |sensor: &Sensor| {
            let mut model = sensor.load_model(&self.folder)?;
            let canary = model.as_ref().map(Canary::new).transpose();
            let trouble = canary.as_ref().err().map(|why| {
                model = None;
                format!("scored without its model, which fails its self-test ({why})")
            });
            Ok(Ear {
                canary: canary.ok().flatten(),
                trouble,
                settings: sensor.settings(asset),
                open: {
                    let (source, clock) = (sensor.source.clone(), Arc::clone(clock));
                    let origin = asset.origin(sensor);
                    Box::new(move || source.open(origin.clone(), &clock))
                },
                make_lane: sensor.make_lane(model),
            })
        };
        let ears = asset.sensors.iter().map(ear).collect::<Result<_, String>>()?;
        Ok(daemon::Asset { id: asset.id.clone(), make_pipeline: asset.make_pipeline(), ears })
    }

    /// Builds the lane of one sensor for frames like the one given.
    ///
    /// # Errors
    /// If its model file has gone bad since the configuration was checked.
    pub fn make_lane(&self, sensor: &Sensor) -> Result<MakeLane, String> {
        Ok(sensor.make_lane(sensor.load_model(&self.folder)?))
    }

    /// The asset and sensor called `name`: `ASSET/SENSOR`, or `ASSET` where it has but one, or
    /// nothing where there is but one at all.
    ///
    /// # Errors
    /// If there is no such one, or several; with what there is.
    pub fn find(&self, name: Option<&str>) -> Result<(usize, usize), String> {
        let (asset, sensor) = match name.and_then(|it| it.split_once('/')) {
            Some((asset, sensor)) => (Some(asset), Some(sensor)),
            None => (name, None),
        };
        let asset_idx = only(self.assets.iter().map(|it| it.id.as_str()), asset, "asset")?;
        let sensors = &self.assets[asset_idx].sensors;
        Ok((asset_idx, only(sensors.iter().map(|it| it.id.as_str()), sensor, "sensor")?))
    }
}

/// The place of `name` among `ids`, or of the only one.
fn only<'a>(
    ids: impl Iterator<Item = &'a str>,
    name: Option<&str>,
    what: &str,
) -> Result<usize, String> {
    let ids: Vec<&str> = ids.collect();
    match name {
        Some(name) => ids
            .iter()
            .position(|id| *id == name)
            .ok_or_else(|| format!("no {what} `{name}`; there is {}", ids.join(", "))),
        None if ids.len() == 1 => Ok(0),
        None => Err(format!("which {what}? write one of {}", ids.join(", "))),
    }
}

impl Asset {
    /// Builds its blocks, again after a panic.
    pub fn make_pipeline(&self) -> MakePipeline {
        let asset = self.clone();
        Box::new(move || asset.pipeline())
    }
}

impl Sensor {
    fn make_lane(&self, model: Option<Model>) -> MakeLane {
        let sensor = self.clone();
        Box::new(move |frame: &Frame| sensor.lane(model.as_ref(), frame))
    }

    /// How capture listens to it: a device is opened again when it is lost, a recording is not.
    fn settings(&self, asset: &Asset) -> capture::Settings {
        let expect = self.source.expect();
        let is_device =
            !matches!(self.source, acquire::Config::Recording(_) | acquire::Config::Synth(_));
        let n_frames = match &self.source {
            acquire::Config::Sound(it) => (RING_S * 1000.0 / it.period_ms).ceil() as usize,
            _ => RING_FRAMES,
        };
        capture::Settings { origin: asset.origin(self), n_frames, retry: is_device, expect }
    }

    /// The file it is configured to read, if it is a recording.
    pub fn recording(&self) -> Option<&acquire::RecordingConfig> {
        match &self.source {
            acquire::Config::Recording(recording) => Some(recording),
            _ => None,
        }
    }

    /// The same sensor reading `path` instead of its source, as fast as it goes.
    #[must_use]
    pub fn reading(&self, path: PathBuf) -> acquire::Config {
        let known = self.recording().cloned().unwrap_or_default();
        let pace = acquire::Pace::Max;
        acquire::Config::Recording(acquire::RecordingConfig { path, pace, ..known })
    }
}
