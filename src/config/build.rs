//! From a checked configuration to the parts that run.

use std::path::Path;

use super::load::{Reader, Step, within};
use super::{Asset, Config, Fault, Sensor};
use crate::acquire;
use crate::extract;
use crate::nn::Model;
use crate::pipeline::{Lane, Pipeline};
use crate::types::{Frame, Origin, SensorKind, Shape, Span, Unit};

/// The models that come with auscult, by what they listen to.
const SHIPPED: [(SensorKind, &[u8]); 2] = [
    (SensorKind::Vibration, include_bytes!("../../models/vibration.safetensors")),
    (SensorKind::Sound, include_bytes!("../../models/sound.safetensors")),
];
/// Rate a sensor is planned for before its device has granted one, Hz.
const PLANNED_RATE_HZ: f64 = 25_600.0;

/// What a room refused: its name, the key, and why.
struct Refused {
    room: &'static str,
    key: &'static str,
    why: String,
}

macro_rules! refused_by {
    ($($room:ident),*) => {$(
        impl From<crate::$room::Error> for Refused {
            fn from(error: crate::$room::Error) -> Self {
                Self { room: stringify!($room), key: error.key, why: error.why }
            }
        }
    )*};
}
refused_by!(extract, detect, assess, forecast, advise);

impl Asset {
    /// The blocks all its sensors lead to; lanes are put in as their frames arrive.
    ///
    /// # Panics
    /// If the configuration was not checked: a bug in the caller.
    pub fn pipeline(&self) -> Pipeline {
        self.blocks().unwrap_or_else(|Refused { room, key, why }| panic!("{room}.{key}: {why}"))
    }

    fn blocks(&self) -> Result<Pipeline, Refused> {
        let axes: Vec<(&str, Vec<String>)> =
            self.sensors.iter().map(|it| (it.id.as_str(), it.axes.clone())).collect();
        let (assessor, forecaster) = (self.assess.build(&axes)?, self.forecast.build()?);
        Ok(Pipeline::new(self.sensors.len(), assessor, forecaster, self.advise.build()?))
    }

    /// Whose samples a sensor's are.
    pub fn origin(&self, sensor: &Sensor) -> Origin {
        Origin::new(&self.id, &sensor.id)
    }
}

impl Sensor {
    /// A lane for frames like `frame`, that follow each other every `every`.
    ///
    /// # Errors
    /// If what the device granted cannot carry what is configured.
    pub fn lane(&self, model: Option<&Model>, frame: &Frame) -> Result<Lane, String> {
        self.blocks(model, frame)
            .map_err(|Refused { room, key, why }| format!("{room}.{key}: {why}"))
    }

    fn blocks(&self, model: Option<&Model>, frame: &Frame) -> Result<Lane, Refused> {
        let snapshot_samples = match (&self.source, frame.shape) {
            (_, Shape::Stream) => None,
            (acquire::Config::Recording(recording), Shape::Snapshot) => {
                Some(recording.snapshot_samples)
            }
            (_, Shape::Snapshot) => Some(frame.len()),
        };
        let sensor = extract::Sensor {
            kind: self.kind,
            rate_hz: frame.rate_hz,
            unit: frame.unit,
            n_channels: frame.n_channels,
            shape: frame.shape,
            snapshot_samples,
            speed: self.speed.clone(),
        };
        let extractor = self.extract.build(&sensor)?;
        let mut detector = self.detect.build(frame.origin.clone(), model.cloned())?;
        detector.set_pace(self.pace(frame));
        Ok(Lane::new(frame, extractor, detector))
    }

    /// How long one window stands for.
    fn pace(&self, frame: &Frame) -> Span {
        match (&self.source, frame.shape) {
            (acquire::Config::Recording(it), Shape::Snapshot) if it.snapshot_every_s > 0.0 => {
                Span::from_secs(it.snapshot_every_s)
            }
            (_, Shape::Snapshot) => Span::from_secs(frame.len() as f64 / frame.rate_hz),
            (_, Shape::Stream) => Span::from_secs(self.extract.window_ms / 1000.0),
        }
    }

    /// The model that has a say here: the file named, else the shipped one of this kind.
    ///
    /// # Errors
    /// If the file cannot be read or is refused.
    pub fn load_model(&self, folder: &Path) -> Result<Option<Model>, String> {
        let shipped = || SHIPPED.iter().find(|(kind, _)| *kind == self.kind);
        match &self.model {
            Some(path) if path.as_os_str() == "none" => Ok(None),
            Some(path) => {
                let path = folder.join(path);
                let bytes =
                    std::fs::read(&path).map_err(|why| format!("{}: {why}", path.display()))?;
                Model::load(&bytes).map(Some).map_err(|why| format!("{}: {why}", path.display()))
            }
            None => Ok(shipped().map(|(_, bytes)| {
                Model::load(bytes).expect("the shipped models are checked by the tests")
            })),
        }
    }

    fn planned_rate_hz(&self) -> f64 {
        match &self.source {
            acquire::Config::Sound(it) => f64::from(it.rate_hz),
            _ => PLANNED_RATE_HZ,
        }
    }
}

/// What the rooms refuse of a well-formed configuration, each with its place.
pub(super) fn faults(config: &Config, path: &Path, text: &str) -> Vec<Fault> {
    let reader = match Reader::new(path, text) {
        Ok(reader) => reader,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    for (asset_idx, asset) in config.assets.iter().enumerate() {
        let here = [Step::Key("asset"), Step::At(asset_idx)];
        if let Err(refused) = asset.blocks() {
            faults.push(placed(&reader, &[&here, &[]], &refused));
        }
        for (sensor_idx, sensor) in asset.sensors.iter().enumerate() {
            let here = [here[0], here[1], Step::Key("sensor"), Step::At(sensor_idx)];
            if let Err(why) = sensor.source.check() {
                faults.push(reader.fault(&within(&here, "source"), why.to_string()));
            }
            if let Err(why) = sensor.load_model(&config.folder) {
                faults.push(reader.fault(&within(&here, "model"), why));
            }
            let n_channels = sensor.axes.len().max(1);
            let origin = asset.origin(sensor);
            let frame = Frame::empty(origin, sensor.planned_rate_hz(), Unit::FullScale, n_channels);
            if let Err(refused) = sensor.blocks(None, &frame) {
                faults.push(placed(&reader, &[&here, &here[..2], &[]], &refused));
            }
        }
    }
    faults
}

/// At the innermost level that writes the key; else at the innermost level.
fn placed(reader: &Reader<'_>, levels: &[&[Step]], refused: &Refused) -> Fault {
    let Refused { room, key, why } = refused;
    let message = format!("{room}.{key}: {why}");
    for level in levels {
        for room in [room, "speed"] {
            let route = within(&within(level, room), key);
            if reader.depth(&route) == route.len() {
                return reader.fault(&route, message);
            }
        }
    }
    reader.fault(levels[0], message)
}
