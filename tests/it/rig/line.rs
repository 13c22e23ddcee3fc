//! A synthetic machine run through the six blocks, as the appliance would.

use auscult::acquire::{Read, SynthConfig};
use auscult::extract::{Sensor, SpeedConfig};
use auscult::pipeline::{Lane, Memory, Pipeline};
use auscult::types::{Alert, Frame, Origin, SensorKind, Shape, Span, Stamp, State, Unit};
use auscult::{advise, assess, detect, extract, forecast};

/// What a run showed.
pub(crate) struct Seen {
    pub(crate) alerts: Vec<Alert>,
    /// The machine's state after each window.
    pub(crate) states: Vec<State>,
    /// What the blocks remember at the end.
    pub(crate) memory: Memory,
}

impl Seen {
    /// Time, kind and words of each alert, for people.
    pub(crate) fn told(&self) -> Vec<String> {
        let line = |it: &Alert| format!("{} {:?} {:?} {}", it.start, it.event, it.what, it.message);
        self.alerts.iter().map(line).collect()
    }
}

/// The blocks of `pump-1` with one sensor, `drive-end`, that gives frames like this one, and whose bearing is
/// known. It learns for `learn_s`, or remembers `memory`.
pub(crate) fn pipeline(frame: &Frame, learn_s: f64, memory: Option<&Memory>) -> Pipeline {
    let sensor = Sensor {
        kind: SensorKind::Vibration,
        rate_hz: frame.rate_hz,
        unit: frame.unit,
        n_channels: frame.n_channels,
        shape: Shape::Stream,
        snapshot_samples: None,
        speed: SpeedConfig::default(),
    };
    let learning = detect::Config { learn_s, ..detect::Config::default() };
    let mut detector = learning.build(origin(), None).unwrap();
    detector.set_pace(Span::from_secs(1.0));
    let extractor = extract::Config::default().build(&sensor).unwrap();
    let orders = assess::Orders { ftf: 0.3983, bpfo: 3.5848, bpfi: 5.4152, bsf: 2.3567 };
    let rules = assess::Config { bearing: Some(orders), ..assess::Config::default() };
    let axes = (0..frame.n_channels).map(|axis| format!("radial-{axis}")).collect();
    let mut pipeline = Pipeline::new(
        &["drive-end"],
        rules.build(&[("drive-end", axes)]).unwrap(),
        forecast::Config::default().build().unwrap(),
        advise::Config::default().build(&["drive-end"]).unwrap(),
    );
    if let Some(memory) = memory {
        pipeline.restore(memory.clone());
    }
    pipeline.install(0, Lane::new(frame, extractor, detector)).unwrap();
    pipeline
}

/// Whose frames they are.
pub(crate) fn origin() -> Origin {
    Origin::new("pump-1", "drive-end")
}

/// Runs a synthetic machine through them. It learns for `learn_s`, or remembers `memory`; `touch` changes
/// each frame on its way.
pub(crate) fn run(
    config: &SynthConfig,
    learn_s: f64,
    memory: Option<&Memory>,
    touch: impl Fn(&mut Frame),
) -> Seen {
    let mut source = config.build().unwrap().into_source(origin(), Stamp::default());
    let unit = Unit::MetersPerSecond2;
    let mut frame = Frame::empty(origin(), config.rate_hz, unit, config.axes);
    let mut pipeline = pipeline(&frame, learn_s, memory);
    let (mut alerts, mut states) = (Vec::new(), Vec::new());
    while source.read(&mut frame).unwrap() != Read::End {
        touch(&mut frame);
        pipeline.step(0, &mut frame, |tick| {
            states.push(tick.finding.state);
            alerts.extend(tick.alerts.iter().cloned());
        });
    }
    Seen { alerts, states, memory: pipeline.memory() }
}
