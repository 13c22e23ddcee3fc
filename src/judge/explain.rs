//! Why a recording is answered as it is: its spectra against the learned ones, and the trend.

use std::path::Path;

use crate::pipeline::Tick;
use crate::types::{Change, Envelope, Evidence, Fault, FaultCode, Features, Spectrum, Stamp};

use super::rig::{Open, Piece, Rig, Setup, Tape};
use super::svg::{Band, Curve, Line, Panel, draw};
use super::{Bearing, Cases, Error, Life, Machine, Recording, Use};

/// Harmonics of each family that are marked.
const HARMONICS: usize = 4;
/// The envelope is drawn to so many of the highest family's harmonics.
const ENVELOPE_HARMONICS: f64 = 4.5;
/// Order of the slowest line of a bearing, its cage's, roughly.
const SLOWEST: f64 = 0.35;
/// Orders of the shaft marked in the envelope.
const ENVELOPE_SHAFT_ORDERS: usize = 2;
/// Orders of the shaft that the picture of the first orders shows.
const SHAFT_ORDERS: usize = 10;
/// Lines of evidence written out.
const WORDS_MAX: usize = 4;
/// Share of a defect line's frequency in which it is looked for.
const AROUND: f64 = 0.02;
/// Without a known bearing the envelope is drawn to so many turns of the shaft.
const ENVELOPE_ORDERS: f64 = 20.0;

/// Draws a recording of a case file as SVG: spectrum against the learned one, envelope spectrum with
/// the fault lines, and the score over time.
///
/// `which` is a path or the end of one; the first recording or life that has it is drawn.
///
/// # Errors
/// [`Error::Cases`] if there is no such recording, else as a run of the judge.
pub fn explain(
    cases: &Cases,
    which: &Path,
    setup: &Setup,
    open: &Open<'_>,
) -> Result<String, Error> {
    for machine in &cases.machines {
        let is_it = |path: &Path| path.ends_with(which);
        if let Some(recording) =
            machine.recordings.iter().find(|it| it.purpose == Use::Test && is_it(&it.path))
        {
            return recording_picture(machine, recording, setup, open);
        }
        if let Some(life) = machine.lives.iter().find(|life| is_it(&life.path)) {
            return life_picture(machine, life, setup, open);
        }
    }
    Err(Error::Cases {
        at: cases.path.display().to_string(),
        why: format!("no test recording or life in it ends with {}", which.display()),
    })
}

fn recording_picture(
    machine: &Machine,
    recording: &Recording,
    setup: &Setup,
    open: &Open<'_>,
) -> Result<String, Error> {
    let piece = Piece::recording(machine, recording, Stamp::default());
    let mut tape = Tape::open(open, machine, &piece)?;
    let mut rig = Rig::for_recordings(open, setup, machine, tape.format())?;
    let mut learned = Levels::default();
    for lesson in machine.recordings.iter().filter(|it| it.purpose == Use::Learn) {
        let piece = Piece::recording(machine, lesson, Stamp::default());
        let mut tape = Tape::open(open, machine, &piece)?;
        if tape.format() == rig.format {
            while rig.step(&mut tape, &mut |tick| learned.add(tick.features))? {}
            rig.pipeline.forget();
        }
    }
    if !learned.is_empty() {
        rig.learn();
    }
    rig.begin()?;
    let mut heard = Heard::default();
    while rig.step(&mut tape, &mut |tick| heard.add(&tick))? {}
    Ok(picture(machine, &recording.path, recording.speed_rpm, &learned, &heard))
}

fn life_picture(
    machine: &Machine,
    life: &Life,
    setup: &Setup,
    open: &Open<'_>,
) -> Result<String, Error> {
    let mut tape = Tape::open(open, machine, &Piece::life(machine, life))?;
    let mut rig = Rig::for_life(setup, machine, life, tape.format())?;
    let (mut learned, mut heard) = (Levels::default(), Heard::default());
    let mut n = 0;
    let mut more = true;
    while more {
        let learning = n < life.learn_snapshots;
        more = rig.step(&mut tape, &mut |tick| {
            if learning {
                learned.add(tick.features);
            } else {
                heard.add(&tick);
            }
        })?;
        n += 1;
        if n == life.learn_snapshots {
            rig.pipeline.finish_learning();
        }
    }
    Ok(picture(machine, &life.path, life.speed_rpm, &learned, &heard))
}

/// Mean power spectrum of each axis.
#[derive(Default)]
struct Levels {
    df_hz: f64,
    n: usize,
    /// `[n_axes][n_bins]`, sums.
    power: Vec<Vec<f64>>,
}

impl Levels {
    fn is_empty(&self) -> bool {
        self.n == 0
    }

    fn add(&mut self, features: &Features) {
        if features.is_blind() {
            return;
        }
        if self.is_empty() {
            self.df_hz = features.axes.first().map_or(0.0, |axis| axis.spectrum.df_hz);
            let empty = |spectrum: &Spectrum| vec![0.0; spectrum.power.len()];
            self.power = features.axes.iter().map(|axis| empty(&axis.spectrum)).collect();
        }
        for (sums, axis) in self.power.iter_mut().zip(&features.axes) {
            if axis.spectrum.power.len() != sums.len() {
                // A short last window has another resolution.
                return;
            }
            for (sum, power) in sums.iter_mut().zip(&axis.spectrum.power) {
                *sum += f64::from(*power);
            }
        }
        self.n += 1;
    }

    /// dB over Hz.
    fn curve(&self, axis_idx: usize) -> Vec<(f64, f64)> {
        let Some(sums) = self.power.get(axis_idx) else { return Vec::new() };
        let db = |sum: f64| 10.0 * (sum / self.n as f64).max(1e-20).log10();
        sums.iter().enumerate().skip(1).map(|(k, sum)| (k as f64 * self.df_hz, db(*sum))).collect()
    }
}

/// What was heard of the recording.
#[derive(Default)]
struct Heard {
    levels: Levels,
    first: Option<Stamp>,
    /// Score and limit over seconds.
    scores: Vec<(f64, f64)>,
    limits: Vec<(f64, f64)>,
    bands: Vec<Band>,
    axis_idx: usize,
    envelope: Option<Envelope>,
    answer: String,
    /// What speaks for it.
    words: Vec<String>,
}

impl Heard {
    fn add(&mut self, tick: &Tick<'_>) {
        let (features, score) = (tick.features, tick.score);
        self.levels.add(features);
        let first = *self.first.get_or_insert(features.start);
        let at = (features.start - first).as_secs();
        self.scores.push((at, score.value));
        self.limits.push((at, score.threshold));
        if let Some(most) = score.contributions.first() {
            self.axis_idx = most.axis_idx;
            self.bands = score
                .contributions
                .iter()
                .filter(|it| it.axis_idx == most.axis_idx && it.change == Change::Level)
                .map(|it| Band {
                    from: f64::from(it.band_hz.0),
                    to: f64::from(it.band_hz.1),
                    label: format!("{:+.0} dB", it.db),
                })
                .collect();
        }
        let finding = tick.finding;
        let named = finding.faults.first();
        let records = features.axes.iter().filter_map(|axis| axis.record.as_ref());
        let envelopes = records.flat_map(|record| &record.envelopes);
        let line_hz = named.and_then(|fault| line_hz(fault, finding.speed_hz?));
        let tells = |it: &Envelope| match line_hz {
            Some(hz) => lines_over_all(&it.spectrum, hz),
            None => f64::from(it.impulsiveness),
        };
        if let Some(clearest) = envelopes.max_by(|a, b| tells(a).total_cmp(&tells(b))) {
            self.envelope = Some(clearest.clone());
        }
        let name = named.map_or_else(
            || "no fault named".to_owned(),
            |it| format!("{} ({:.0} % sure)", it.code.name(), 100.0 * it.confidence),
        );
        self.answer = format!("{}; {name}", finding.state.name());
        let evidence = named.into_iter().flat_map(|fault| &fault.evidence).take(WORDS_MAX);
        self.words = evidence.map(in_words).collect();
    }
}

/// Frequency of the lines a bearing's fault is told by, Hz.
fn line_hz(fault: &Fault, speed_hz: f64) -> Option<f64> {
    use FaultCode::{Ball, Cage, InnerRace, OuterRace};
    let is_bearings = [OuterRace, InnerRace, Ball, Cage].contains(&fault.code);
    let order = fault.evidence.iter().rev().find_map(|it| it.order).filter(|_| is_bearings)?;
    Some(order * speed_hz)
}

/// How far the first harmonics of `hz` stand out of the whole spectrum, sum of logarithms.
fn lines_over_all(spectrum: &Spectrum, hz: f64) -> f64 {
    let mean = spectrum.power.iter().map(|p| f64::from(*p)).sum::<f64>()
        / spectrum.power.len().max(1) as f64;
    (1..=3)
        .map(|k| {
            let at = f64::from(k) * hz / spectrum.df_hz;
            let last = (at * (1.0 + AROUND)) as usize;
            let first = ((at * (1.0 - AROUND)) as usize).min(last);
            let bins = spectrum.power.get(first..=last).unwrap_or_default();
            let peak = bins.iter().copied().fold(0.0f32, f32::max);
            (f64::from(peak) / mean.max(1e-300)).max(1.0).ln()
        })
        .sum()
}

fn in_words(evidence: &Evidence) -> String {
    let expected = evidence.expected.map_or_else(String::new, |it| format!(" (expected {it:.1})"));
    format!("{}: {:.1} {}{expected}", evidence.feature, evidence.value, evidence.unit)
}

fn picture(
    machine: &Machine,
    path: &Path,
    speed_rpm: Option<f64>,
    learned: &Levels,
    heard: &Heard,
) -> String {
    let file = path.file_name().map_or_else(String::new, |it| it.to_string_lossy().into_owned());
    let axis = machine.axes.get(heard.axis_idx).map_or("", String::as_str);
    let speed_hz = speed_rpm.map(|rpm| rpm / 60.0);
    let spectrum = |title: String, reach_hz: Option<f64>, lines, bands| Panel {
        title,
        x_unit: "Hz",
        y_unit: "dB",
        x_max: reach_hz,
        y_min: None,
        curves: vec![
            Curve { points: learned.curve(heard.axis_idx), name: "learned", faint: true },
            Curve { points: heard.levels.curve(heard.axis_idx), name: "now", faint: false },
        ],
        lines,
        bands,
    };
    let whole = spectrum(
        format!("spectrum, axis {axis} ({} against learned)", machine.unit.name()),
        None,
        Vec::new(),
        heard.bands.clone(),
    );
    let orders = speed_hz.filter(|_| !heard.levels.is_empty()).map(|hz| {
        let reach_hz = (SHAFT_ORDERS as f64 + 0.5) * hz;
        spectrum(
            "the shaft's first orders".to_owned(),
            Some(reach_hz),
            shaft(hz, SHAFT_ORDERS),
            Vec::new(),
        )
    });
    let trend = Panel {
        title: "score over time".to_owned(),
        x_unit: "s",
        y_unit: "",
        x_max: None,
        y_min: Some(0.0),
        curves: vec![
            Curve { points: heard.limits.clone(), name: "limit", faint: true },
            Curve { points: heard.scores.clone(), name: "score", faint: false },
        ],
        lines: Vec::new(),
        bands: Vec::new(),
    };
    let envelope = heard.envelope.as_ref().map(|it| envelope_panel(it, machine.bearing, speed_hz));
    let panels: Vec<Panel> =
        [Some(whole), orders, envelope, Some(trend)].into_iter().flatten().collect();
    draw(&format!("{} {file}: {}", machine.id, heard.answer), &heard.words, &panels)
}

/// The shaft's first `n` orders.
fn shaft(hz: f64, n: usize) -> Vec<Line> {
    (1..=n).map(|k| Line { at: k as f64 * hz, label: format!("{k}x"), family: 0 }).collect()
}

fn envelope_panel(envelope: &Envelope, bearing: Option<Bearing>, speed_hz: Option<f64>) -> Panel {
    let spectrum = &envelope.spectrum;
    let families = bearing.map_or_else(Vec::new, |it| {
        vec![("BPFO", it.bpfo), ("BPFI", it.bpfi), ("2 BSF", 2.0 * it.bsf), ("FTF", it.ftf)]
    });
    let highest = families.iter().map(|family| family.1).fold(0.0, f64::max);
    let reach = if highest > 0.0 { ENVELOPE_HARMONICS * highest } else { ENVELOPE_ORDERS };
    let reach_hz = speed_hz.map_or(spectrum.hz(spectrum.power.len()), |hz| reach * hz);
    // Below the slowest line there is only drift, which would dwarf everything.
    let from_hz = 0.5 * speed_hz.unwrap_or(0.0) * if highest > 0.0 { SLOWEST } else { 1.0 };
    let shown =
        || (1..spectrum.power.len()).filter(|k| (from_hz..=reach_hz).contains(&spectrum.hz(*k)));
    let top = shown().map(|k| f64::from(spectrum.power[k])).fold(f64::MIN_POSITIVE, f64::max);
    let percent = |k: usize| 100.0 * (f64::from(spectrum.power[k]) / top).max(0.0).sqrt();
    let points = shown().map(|k| (spectrum.hz(k), percent(k))).collect();
    let lines = speed_hz.map_or_else(Vec::new, |hz| {
        let line = |(idx, (name, order)): (usize, &(&str, f64))| {
            (1..=HARMONICS)
                .map(|k| Line {
                    at: k as f64 * order * hz,
                    label: if k == 1 { (*name).to_owned() } else { String::new() },
                    family: idx + 1,
                })
                .collect::<Vec<_>>()
        };
        let shaft = shaft(hz, ENVELOPE_SHAFT_ORDERS);
        families.iter().enumerate().flat_map(line).chain(shaft).collect()
    });
    let (from, to) = envelope.band_hz;
    let whitened = if envelope.prewhitened { ", pre-whitened" } else { "" };
    Panel {
        title: format!("envelope spectrum of {from:.0}-{to:.0} Hz{whitened}, highest line 100"),
        x_unit: "Hz",
        y_unit: "%",
        x_max: Some(reach_hz),
        y_min: Some(0.0),
        curves: vec![Curve { points, name: "envelope", faint: false }],
        lines,
        bands: Vec::new(),
    }
}
