//! From a checked configuration to the parts that run.

use std::path::Path;

use super::file::{NO_MODEL, read_file};
use super::{Asset, Sensor};
use crate::acquire;
use crate::extract::{self, Extractor};
use crate::nn::{FILE_BYTES_MAX, Model};
use crate::pipeline::{Lane, Pipeline};
use crate::types::{Frame, Origin, SensorKind, Shape, Span};

/// The model that comes with auscult for sensors of this kind.
///
/// # Panics
/// Never: the tests load both.
pub fn shipped_model(kind: SensorKind) -> Model {
    let bytes: &[u8] = match kind {
        SensorKind::Vibration => include_bytes!("../../models/vibration.safetensors"),
        SensorKind::Sound => include_bytes!("../../models/sound.safetensors"),
    };
    Model::load(bytes).expect("the shipped models are checked by the tests")
}

/// What a room refused: its name, the key, and why.
pub(super) struct Refused {
    pub(super) room: &'static str,
    pub(super) key: &'static str,
    pub(super) why: String,
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

    pub(super) fn blocks(&self) -> Result<Pipeline, Refused> {
        let axes: Vec<(&str, Vec<String>)> =
            self.sensors.iter().map(|it| (it.id.as_str(), it.axes.clone())).collect();
        let ids: Vec<&str> = axes.iter().map(|(id, _)| *id).collect();
        let (assessor, forecaster) = (self.assess.build(&axes)?, self.forecast.build()?);
        Ok(Pipeline::new(&ids, assessor, forecaster, self.advise.build(&ids)?))
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

    pub(super) fn blocks(&self, model: Option<&Model>, frame: &Frame) -> Result<Lane, Refused> {
        let extractor = self.features(frame)?;
        let mut detector = self.detect.build(frame.origin.clone(), model.cloned())?;
        detector.set_pace(self.pace(frame));
        Ok(Lane::new(frame, extractor, detector))
    }

    /// The features of frames like `frame`, by themselves.
    ///
    /// # Errors
    /// If what the device granted cannot carry what is configured.
    pub fn extractor(&self, frame: &Frame) -> Result<Extractor, String> {
        self.features(frame).map_err(|Refused { room, key, why }| format!("{room}.{key}: {why}"))
    }

    /// The same measuring, view by view.
    ///
    /// # Errors
    /// If what the device granted cannot carry what is configured.
    pub fn views(&self, frame: &Frame) -> Result<extract::Views, String> {
        self.extract.views(&self.heard(frame)).map_err(|why| why.to_string())
    }

    fn features(&self, frame: &Frame) -> Result<Extractor, Refused> {
        Ok(self.extract.build(&self.heard(frame))?)
    }

    /// The sensor as its frames show it.
    fn heard(&self, frame: &Frame) -> extract::Sensor {
        let snapshot_samples = match (&self.source, frame.shape) {
            (_, Shape::Stream) => None,
            (acquire::Config::Recording(recording), Shape::Snapshot) => {
                Some(recording.snapshot_samples)
            }
            (_, Shape::Snapshot) => Some(frame.len()),
        };
        extract::Sensor {
            kind: self.kind,
            rate_hz: frame.rate_hz,
            unit: frame.unit,
            n_channels: frame.n_channels,
            shape: frame.shape,
            snapshot_samples,
            speed: self.speed.clone(),
        }
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
        match (&self.model, self.model_file()) {
            (Some(_), None) => Ok(None),
            (_, Some(path)) => {
                let path = folder.join(path);
                let told = |why: String| format!("{}: {why}", path.display());
                let bytes = read_file(&path, FILE_BYTES_MAX as u64).map_err(told)?;
                Model::load(&bytes).map(Some).map_err(|why| told(why.to_string()))
            }
            (None, None) => Ok(Some(shipped_model(self.kind))),
        }
    }

    /// The file named for the model, if one is.
    pub(super) fn model_file(&self) -> Option<&Path> {
        self.model.as_deref().filter(|path| path.as_os_str() != NO_MODEL)
    }
}
