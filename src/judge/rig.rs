//! One machine's pipeline and the recordings played into it.

use std::path::Path;

use crate::acquire::{self, Calibration, Options, Read, Source, open_recording};
use crate::extract::{Sensor, SpeedConfig};
use crate::nn::Model;
use crate::pipeline::{Lane, Memory, Pipeline, Tick};
use crate::types::{Frame, Origin, SensorKind, Shape, Span, Stamp, Unit};
use crate::{advise, assess, detect, extract, forecast};

use super::{Error, Life, Machine, Recording};

/// Pause between recordings on the clock of the frames, seconds: recordings are not one stream.
const PAUSE_S: f64 = 60.0;
/// The one sensor of a judged machine.
const SENSOR: &str = "sensor";
/// A recording below this share of a window does not shorten the others' windows.
const SHORT_SHARE: f64 = 0.25;

/// A recording to be opened, or a part of one.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    /// The file.
    pub path: &'a Path,
    /// Only this part, seconds.
    pub span_s: Option<(f64, f64)>,
    /// Snapshots of this many samples per channel.
    pub snapshot_samples: Option<usize>,
    /// Time from one snapshot to the next, seconds; `None`: as long as a snapshot lasts.
    pub snapshot_every_s: Option<f64>,
    /// Shaft speed, r/min.
    pub speed_rpm: Option<f64>,
    /// Unit of the calibrated samples.
    pub unit: Unit,
    /// Physical value of a full-scale sample.
    pub units_per_full_scale: f64,
    /// Stamp of the first sample.
    pub start: Stamp,
    /// Whose samples.
    pub origin: Origin,
}

impl<'a> Piece<'a> {
    /// A recording of a machine.
    pub(super) fn recording(machine: &Machine, recording: &'a Recording, start: Stamp) -> Self {
        Self {
            path: &recording.path,
            span_s: recording.span_s,
            snapshot_samples: recording.snapshot_samples,
            snapshot_every_s: None,
            speed_rpm: recording.speed_rpm,
            unit: machine.unit,
            units_per_full_scale: machine.units_per_full_scale,
            start,
            origin: Origin::new(&machine.id, SENSOR),
        }
    }

    /// A life of a machine.
    pub(super) fn life(machine: &Machine, life: &'a Life) -> Self {
        Self {
            path: &life.path,
            span_s: None,
            snapshot_samples: Some(life.snapshot_samples),
            snapshot_every_s: Some(life.snapshot_every_s),
            speed_rpm: life.speed_rpm,
            unit: machine.unit,
            units_per_full_scale: machine.units_per_full_scale,
            start: Stamp::default(),
            origin: Origin::new(&machine.id, SENSOR),
        }
    }
}

/// How recordings are opened.
pub type Open<'a> = dyn Fn(&Piece<'_>) -> Result<Box<dyn Source>, acquire::Error> + 'a;

/// Opens a recording as a file.
///
/// # Errors
/// If it is no recording, or cannot be read.
pub fn open_file(piece: &Piece<'_>) -> Result<Box<dyn Source>, acquire::Error> {
    let calibration = Calibration {
        unit: piece.unit,
        units_per_full_scale: piece.units_per_full_scale,
        offset: 0.0,
    };
    let options = Options {
        span_s: piece.span_s.map(|(from, to)| [from, to]),
        snapshot_samples: piece.snapshot_samples,
        snapshot_every_s: piece.snapshot_every_s,
        start: Some(piece.start),
        speed_rpm: piece.speed_rpm,
        ..Options::default()
    };
    open_recording(piece.path, piece.origin.clone(), Some(calibration), options)
}

/// The blocks as they are to be judged: as shipped, unless set otherwise.
#[derive(Clone, Default)]
pub struct Setup {
    /// Windows and features.
    pub extract: extract::Config,
    /// Learning and limits.
    pub detect: detect::Config,
    /// Rules and standard; the bearing is the case file's.
    pub assess: assess::Config,
    /// Life.
    pub forecast: forecast::Config,
    /// Alarms.
    pub advise: advise::Config,
    /// The models that have a say, at most one of each kind.
    pub models: Vec<(SensorKind, Model)>,
}

impl Setup {
    /// The model that has a say on sensors of this kind.
    pub(super) fn model(&self, kind: SensorKind) -> Option<&Model> {
        self.models.iter().find(|(of, _)| *of == kind).map(|(_, model)| model)
    }
}

/// What must be the same for two recordings to go through the same pipeline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Format {
    rate_hz: f64,
    n_channels: usize,
    snapshot_samples: Option<usize>,
}

impl Format {
    /// Whether every frame is judged by itself.
    pub(super) fn is_snapshots(self) -> bool {
        self.snapshot_samples.is_some()
    }
}

/// A pipeline for recordings of one format of one machine.
pub(super) struct Rig<'a> {
    pub(super) format: Format,
    pub(super) pipeline: Pipeline,
    plan: Plan<'a>,
    frame: Frame,
    learned: Option<Memory>,
}

/// What a pipeline is assembled from.
struct Plan<'a> {
    setup: &'a Setup,
    extract: extract::Config,
    machine: &'a Machine,
    format: Format,
    /// How long a window stands for, seconds.
    every_s: f64,
}

/// An opened recording of a machine.
pub(super) struct Tape {
    source: Box<dyn Source>,
    speed_hz: Option<f64>,
}

impl Tape {
    /// Opens a recording of `machine` and checks that it has its channels.
    pub(super) fn open(
        open: &Open<'_>,
        machine: &Machine,
        piece: &Piece<'_>,
    ) -> Result<Self, Error> {
        let source = open(piece)?;
        let n_channels = source.info().n_channels;
        if n_channels != machine.axes.len() {
            return Err(Error::Machine {
                machine: machine.id.clone(),
                why: format!(
                    "{} has {n_channels} channels, but axes names {}",
                    piece.path.display(),
                    machine.axes.len()
                ),
            });
        }
        Ok(Self { source, speed_hz: piece.speed_rpm.map(|rpm| rpm / 60.0) })
    }

    pub(super) fn format(&self) -> Format {
        let info = self.source.info();
        Format {
            rate_hz: info.rate_hz,
            n_channels: info.n_channels,
            snapshot_samples: info.snapshot_samples,
        }
    }

    /// Samples per channel, as far as the frame that brings `n_max` of them.
    fn count(mut self, n_max: usize, frame: &mut Frame) -> Result<usize, Error> {
        let mut n = 0;
        while n < n_max {
            match self.source.read(frame)? {
                Read::Frame => n += frame.len(),
                Read::Quiet => {}
                Read::End => break,
            }
        }
        Ok(n)
    }
}

impl Plan<'_> {
    /// What a window of a stream is cut to, milliseconds: to the shortest recording of its format, so that each
    /// is heard as its normal was. In a shorter window a line is wider and spills further.
    fn window_ms(&self, open: &Open<'_>) -> Result<f64, Error> {
        let rate_hz = self.format.rate_hz;
        let window_ms = self.extract.window_ms;
        let n_window = (window_ms * 1e-3 * rate_hz).ceil() as usize;
        let mut frame = self.frame();
        let mut shortest_ms = window_ms;
        for recording in &self.machine.recordings {
            let piece = Piece::recording(self.machine, recording, Stamp::default());
            let tape = Tape::open(open, self.machine, &piece)?;
            if tape.format() == self.format {
                let n = tape.count(n_window, &mut frame)?;
                let ms = n as f64 / rate_hz * 1e3;
                if n >= extract::SAMPLES_MIN && ms >= SHORT_SHARE * window_ms {
                    shortest_ms = shortest_ms.min(ms);
                }
            }
        }
        Ok(shortest_ms)
    }

    fn frame(&self) -> Frame {
        let Format { rate_hz, n_channels, .. } = self.format;
        let origin = Origin::new(&self.machine.id, SENSOR);
        let mut frame = Frame::empty(origin, rate_hz, self.machine.unit, n_channels);
        frame.shape = self.shape();
        frame
    }

    fn shape(&self) -> Shape {
        if self.format.is_snapshots() { Shape::Snapshot } else { Shape::Stream }
    }

    /// The six blocks, with what was learned before.
    fn assemble(&self, learned: Option<Memory>) -> Result<Pipeline, Error> {
        let Self { setup, machine, format, .. } = self;
        let wrong = |why: &dyn std::fmt::Display| Error::Machine {
            machine: machine.id.clone(),
            why: why.to_string(),
        };
        let sensor = Sensor {
            kind: machine.kind,
            rate_hz: format.rate_hz,
            unit: machine.unit,
            n_channels: format.n_channels,
            shape: self.shape(),
            snapshot_samples: format.snapshot_samples,
            speed: SpeedConfig::default(),
        };
        let extractor = self.extract.build(&sensor).map_err(|why| wrong(&why))?;
        let origin = Origin::new(&machine.id, SENSOR);
        let mut detector = setup
            .detect
            .build(origin, setup.model(machine.kind).cloned())
            .map_err(|why| wrong(&why))?;
        detector.set_pace(Span::from_secs(self.every_s));
        let mut rules = setup.assess.clone();
        if let Some(bearing) = machine.bearing {
            rules.bearing = Some(assess::Orders {
                ftf: bearing.ftf,
                bpfo: bearing.bpfo,
                bpfi: bearing.bpfi,
                bsf: bearing.bsf,
            });
        }
        let axes = machine.axes.clone();
        let mut pipeline = Pipeline::new(
            &[SENSOR],
            rules.build(&[(SENSOR, axes)]).map_err(|why| wrong(&why))?,
            setup.forecast.build().map_err(|why| wrong(&why))?,
            setup.advise.build(&[SENSOR]).map_err(|why| wrong(&why))?,
        );
        if let Some(memory) = learned {
            pipeline.restore(memory);
        }
        pipeline
            .install(0, Lane::new(&self.frame(), extractor, detector))
            .map_err(|why| wrong(&why))?;
        Ok(pipeline)
    }
}

impl<'a> Rig<'a> {
    /// Builds the six blocks for recordings of a format.
    pub(super) fn for_recordings(
        open: &Open<'_>,
        setup: &'a Setup,
        machine: &'a Machine,
        format: Format,
    ) -> Result<Self, Error> {
        let mut plan =
            Plan { setup, extract: setup.extract.clone(), machine, format, every_s: 0.0 };
        plan.every_s = if let Some(n) = format.snapshot_samples {
            n as f64 / format.rate_hz
        } else {
            plan.extract.window_ms = plan.window_ms(open)?;
            plan.extract.window_ms * 1e-3
        };
        Self::build(plan)
    }

    /// Builds the six blocks for a life.
    pub(super) fn for_life(
        setup: &'a Setup,
        machine: &'a Machine,
        life: &Life,
        format: Format,
    ) -> Result<Self, Error> {
        let (extract, every_s) = (setup.extract.clone(), life.snapshot_every_s);
        Self::build(Plan { setup, extract, machine, format, every_s })
    }

    fn build(plan: Plan<'a>) -> Result<Self, Error> {
        Ok(Self {
            format: plan.format,
            pipeline: plan.assemble(None)?,
            frame: plan.frame(),
            plan,
            learned: None,
        })
    }

    /// The next frame of `tape` into the pipeline; `false` when the recording is over.
    pub(super) fn step(
        &mut self,
        tape: &mut Tape,
        hear: &mut dyn FnMut(Tick<'_>),
    ) -> Result<bool, Error> {
        match tape.source.read(&mut self.frame)? {
            Read::Frame => {
                self.frame.speed_hz = tape.speed_hz.or(self.frame.speed_hz);
                self.pipeline.step(0, &mut self.frame, &mut *hear);
            }
            Read::Quiet => {}
            Read::End => {
                self.pipeline.finish(0, hear);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Ends the learning; from here on every recording starts from the same memory.
    pub(super) fn learn(&mut self) -> Vec<detect::LearnReport> {
        let reports = self.pipeline.finish_learning();
        self.learned = Some(self.pipeline.memory());
        reports
    }

    /// Another recording begins: as after learning, whatever was heard since.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        self.pipeline = self.plan.assemble(self.learned.clone())?;
        if self.learned.is_none() {
            self.pipeline.finish_learning();
        }
        Ok(())
    }

    /// Where the next recording's clock may start.
    pub(super) fn next_start(&self) -> Stamp {
        let end = Span::from_secs(self.frame.len() as f64 / self.format.rate_hz);
        self.frame.start + end + Span::from_secs(PAUSE_S)
    }
}
