//! `CASES.toml`: labelled recordings of machines, read and checked.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::types::{SensorKind, Unit};

use super::Error;

/// Largest case file read, bytes.
const BYTES_MAX: u64 = 16 << 20;

/// A set of machines with labelled recordings.
#[derive(Clone, Debug)]
pub struct Cases {
    /// Name of the set.
    pub name: String,
    /// The file it was read from.
    pub path: PathBuf,
    /// The machines, in the file's order.
    pub machines: Vec<Machine>,
}

/// One machine with one sensor.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name within the set.
    pub id: String,
    /// Vibration or sound.
    pub kind: SensorKind,
    /// Unit of the calibrated samples.
    pub unit: Unit,
    /// Physical value of a full-scale sample; 1 for files that carry the value itself.
    pub units_per_full_scale: f64,
    /// One name per channel.
    pub axes: Vec<String>,
    /// Bearing defect orders, where the bearing is known.
    pub bearing: Option<Bearing>,
    /// Recordings by themselves.
    pub recordings: Vec<Recording>,
    /// Whole lives.
    pub lives: Vec<Life>,
}

/// Bearing defect frequencies in orders of shaft speed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Bearing {
    /// Cage.
    pub ftf: f64,
    /// Outer race.
    pub bpfo: f64,
    /// Inner race.
    pub bpfi: f64,
    /// Spin of a rolling element; the defect line is twice that.
    pub bsf: f64,
}

/// What a recording is for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Shows what is normal.
    Learn,
    /// To be judged.
    Test,
}

/// One recording, or a part of one.
#[derive(Clone, Debug)]
pub struct Recording {
    /// Path of the file.
    pub path: PathBuf,
    /// What it is for.
    pub purpose: Use,
    /// Whether the machine was healthy: the truth, never shown to the pipeline.
    pub normal: bool,
    /// Which fault it had.
    pub fault: Option<String>,
    /// How bad.
    pub severity: Option<String>,
    /// Shaft speed, r/min.
    pub speed_rpm: Option<f64>,
    /// Only this part, seconds from the beginning.
    pub span_s: Option<(f64, f64)>,
    /// Independent snapshots of this many samples per channel, joined end to end.
    pub snapshot_samples: Option<usize>,
}

impl Recording {
    /// `fault`, or `fault/severity`: the row of the table it belongs to. `None` for a normal one.
    pub fn fault_key(&self) -> Option<String> {
        if self.normal {
            return None;
        }
        let fault = self.fault.as_deref().unwrap_or("fault");
        Some(match &self.severity {
            Some(severity) => format!("{fault}/{severity}"),
            None => fault.to_owned(),
        })
    }
}

/// A life from healthy to its end, as snapshots.
#[derive(Clone, Debug)]
pub struct Life {
    /// Path of the file.
    pub path: PathBuf,
    /// Its name as the case file has it.
    pub file: String,
    /// Samples per channel and snapshot.
    pub snapshot_samples: usize,
    /// Time from one snapshot to the next, seconds.
    pub snapshot_every_s: f64,
    /// The first so many are healthy and may be learned from.
    pub learn_snapshots: usize,
    /// Shaft speed, r/min.
    pub speed_rpm: Option<f64>,
    /// Ask for a forecast when so many snapshots have been seen.
    pub forecast_at_snapshot: Option<usize>,
    /// The truth at that moment, seconds.
    pub life_left_s: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Top {
    format: Spanned<u32>,
    name: String,
    #[serde(rename = "about")]
    _about: Option<String>,
    #[serde(rename = "source")]
    _source: Option<String>,
    #[serde(rename = "licence")]
    _licence: Option<String>,
    #[serde(default)]
    machine: Vec<RawMachine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMachine {
    id: Spanned<String>,
    sensor: Spanned<String>,
    unit: Spanned<String>,
    units_per_full_scale: Spanned<f64>,
    axes: Spanned<Vec<String>>,
    bearing: Option<Spanned<Bearing>>,
    #[serde(default)]
    recording: Vec<RawRecording>,
    #[serde(default)]
    run_to_failure: Vec<RawLife>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecording {
    file: Spanned<String>,
    #[serde(rename = "use")]
    purpose: Use,
    normal: Spanned<bool>,
    fault: Option<Spanned<String>>,
    severity: Option<Word>,
    speed_rpm: Option<Spanned<f64>>,
    #[serde(rename = "load")]
    _load: Option<Word>,
    #[serde(rename = "position")]
    _position: Option<Word>,
    span_s: Option<Spanned<(f64, f64)>>,
    snapshot_samples: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLife {
    file: Spanned<String>,
    snapshot_samples: Spanned<usize>,
    snapshot_every_s: Spanned<f64>,
    learn_snapshots: Spanned<usize>,
    speed_rpm: Option<Spanned<f64>>,
    #[serde(rename = "load")]
    _load: Option<Word>,
    forecast_at_snapshot: Option<Spanned<usize>>,
    life_left_s: Option<Spanned<f64>>,
}

/// A label that people write as a word or as a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Whole(i64),
    Number(f64),
}

impl Word {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

impl Cases {
    /// Reads and checks a case file; the recordings must exist.
    ///
    /// # Errors
    /// [`Error::Cases`] with file, line and column of the first mistake.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let unread = |why: String| Error::Cases { at: path.display().to_string(), why };
        let length = std::fs::metadata(path).map_err(|why| unread(why.to_string()))?.len();
        if length > BYTES_MAX {
            return Err(unread(format!("{length} bytes; a case file has at most {BYTES_MAX}")));
        }
        let text = std::fs::read_to_string(path).map_err(|why| unread(why.to_string()))?;
        Self::parse(&text, path)
    }

    /// As [`Cases::load`] from text; `path` is where its relative paths start from.
    ///
    /// # Errors
    /// As [`Cases::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let page = Page { text, path };
        let top: Top = toml::from_str(text).map_err(|why| {
            page.mistake(why.span().map_or(0, |span| span.start), why.message().to_owned())
        })?;
        if *top.format.get_ref() != 1 {
            let why = format!("format = {}; this auscult reads format = 1", top.format.get_ref());
            return Err(page.at(&top.format, why));
        }
        if top.machine.is_empty() {
            return Err(page.mistake(text.len(), "no [[machine]] in it".to_owned()));
        }
        let machines: Vec<Machine> =
            top.machine.into_iter().map(|raw| page.machine(raw)).collect::<Result<_, _>>()?;
        Ok(Self { name: top.name, path: path.to_owned(), machines })
    }
}

/// The text under check, for saying where a mistake is.
struct Page<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Page<'_> {
    fn mistake(&self, offset: usize, why: String) -> Error {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Error::Cases { at: format!("{}:{line}:{column}", self.path.display()), why }
    }

    fn at<T>(&self, value: &Spanned<T>, why: String) -> Error {
        self.mistake(value.span().start, why)
    }

    fn positive(&self, key: &str, value: &Spanned<f64>) -> Result<f64, Error> {
        let number = *value.get_ref();
        if number > 0.0 && number.is_finite() {
            return Ok(number);
        }
        Err(self.at(value, format!("{key} = {number}; it must be above 0")))
    }

    fn count(&self, key: &str, value: &Spanned<usize>) -> Result<usize, Error> {
        match *value.get_ref() {
            0 => Err(self.at(value, format!("{key} = 0; it must be at least 1"))),
            number => Ok(number),
        }
    }

    fn file(&self, file: &Spanned<String>) -> Result<PathBuf, Error> {
        let path = self.path.parent().unwrap_or(Path::new("")).join(file.get_ref());
        if path.is_file() {
            return Ok(path);
        }
        Err(self.at(file, format!("there is no file {}", path.display())))
    }

    fn machine(&self, raw: RawMachine) -> Result<Machine, Error> {
        let kind = match raw.sensor.get_ref().as_str() {
            "vibration" => SensorKind::Vibration,
            "sound" => SensorKind::Sound,
            other => {
                let why = format!("sensor = \"{other}\"; it is \"vibration\" or \"sound\"");
                return Err(self.at(&raw.sensor, why));
            }
        };
        let unit = Unit::parse(raw.unit.get_ref()).ok_or_else(|| {
            let why = format!("unit = \"{}\"; known are m/s2, g, Pa, V, FS", raw.unit.get_ref());
            self.at(&raw.unit, why)
        })?;
        if raw.id.get_ref().is_empty() {
            return Err(self.at(&raw.id, "a machine needs an id".to_owned()));
        }
        if raw.axes.get_ref().is_empty() {
            return Err(self.at(&raw.axes, "one name per channel is needed".to_owned()));
        }
        if let Some(bearing) = &raw.bearing {
            let Bearing { ftf, bpfo, bpfi, bsf } = *bearing.get_ref();
            if [ftf, bpfo, bpfi, bsf].iter().any(|order| !order.is_finite() || *order <= 0.0) {
                return Err(self.at(bearing, "every order must be above 0".to_owned()));
            }
        }
        if raw.recording.is_empty() && raw.run_to_failure.is_empty() {
            let why = "a machine needs [[machine.recording]] or [[machine.run_to_failure]]";
            return Err(self.at(&raw.id, why.to_owned()));
        }
        Ok(Machine {
            kind,
            unit,
            units_per_full_scale: self
                .positive("units_per_full_scale", &raw.units_per_full_scale)?,
            axes: raw.axes.into_inner(),
            bearing: raw.bearing.map(Spanned::into_inner),
            recordings: raw
                .recording
                .into_iter()
                .map(|recording| self.recording(recording))
                .collect::<Result<_, _>>()?,
            lives: raw
                .run_to_failure
                .into_iter()
                .map(|life| self.life(life))
                .collect::<Result<_, _>>()?,
            id: raw.id.into_inner(),
        })
    }

    fn recording(&self, raw: RawRecording) -> Result<Recording, Error> {
        let normal = *raw.normal.get_ref();
        if raw.purpose == Use::Learn && !normal {
            let why = "a recording to learn from must be normal; use = \"test\" for a fault";
            return Err(self.at(&raw.normal, why.to_owned()));
        }
        if let (true, Some(fault)) = (normal, &raw.fault) {
            return Err(self.at(fault, "a normal recording has no fault".to_owned()));
        }
        if let Some(span) = &raw.span_s {
            let (from, to) = *span.get_ref();
            if !(from >= 0.0 && to > from && to.is_finite()) {
                let why = format!("span_s = [{from}, {to}]; it is [from, to] with 0 <= from < to");
                return Err(self.at(span, why));
            }
        }
        Ok(Recording {
            path: self.file(&raw.file)?,
            purpose: raw.purpose,
            normal,
            fault: raw.fault.map(Spanned::into_inner),
            severity: raw.severity.map(Word::into_text),
            speed_rpm: raw.speed_rpm.map(|value| self.positive("speed_rpm", &value)).transpose()?,
            span_s: raw.span_s.map(Spanned::into_inner),
            snapshot_samples: raw
                .snapshot_samples
                .map(|value| self.count("snapshot_samples", &value))
                .transpose()?,
        })
    }

    fn life(&self, raw: RawLife) -> Result<Life, Error> {
        Ok(Life {
            path: self.file(&raw.file)?,
            snapshot_samples: self.count("snapshot_samples", &raw.snapshot_samples)?,
            snapshot_every_s: self.positive("snapshot_every_s", &raw.snapshot_every_s)?,
            learn_snapshots: *raw.learn_snapshots.get_ref(),
            speed_rpm: raw.speed_rpm.map(|value| self.positive("speed_rpm", &value)).transpose()?,
            forecast_at_snapshot: raw
                .forecast_at_snapshot
                .map(|value| self.count("forecast_at_snapshot", &value))
                .transpose()?,
            life_left_s: raw
                .life_left_s
                .map(|value| self.positive("life_left_s", &value))
                .transpose()?,
            file: raw.file.into_inner(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"format = 1
name = "set"
[[machine]]
id = "m"
sensor = "vibration"
unit = "g"
units_per_full_scale = 2
axes = ["x"]
bearing = { ftf = 0.4, bpfo = 3.6, bpfi = 5.4, bsf = 2.4 }
[[machine.recording]]
file = "Cargo.toml"
use = "test"
normal = false
fault = "ball"
severity = 3
speed_rpm = 1800
span_s = [0, 1.5]
"#;

    fn parse(text: &str) -> Result<Cases, Error> {
        Cases::parse(text, &Path::new(env!("CARGO_MANIFEST_DIR")).join("cases.toml"))
    }

    #[test]
    fn a_good_file_is_read_whole() {
        let cases = parse(GOOD).unwrap();
        let machine = &cases.machines[0];
        assert_eq!(machine.unit, Unit::G);
        assert_eq!(machine.units_per_full_scale, 2.0);
        let recording = &machine.recordings[0];
        assert_eq!(recording.fault_key().as_deref(), Some("ball/3"));
        assert_eq!(recording.span_s, Some((0.0, 1.5)));
        assert_eq!(recording.speed_rpm, Some(1800.0));
    }

    #[test]
    fn each_mistake_is_told_with_line_and_column() {
        let check = |from: &str, to: &str, at: &str, why: &str| {
            let said = parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(said.contains(&format!("cases.toml:{at}: ")), "{said}");
            assert!(said.contains(why), "{said}");
        };
        check("format = 1", "format = 2", "1:10", "reads format = 1");
        check("\"g\"", "\"mm\"", "6:8", "known are");
        check("\"vibration\"", "\"smell\"", "5:10", "\"sound\"");
        check("= 2\n", "= -2\n", "7:24", "above 0");
        check("Cargo.toml", "no.wav", "11:8", "there is no file");
        check("\"test\"", "\"learn\"", "13:10", "must be normal");
        check("normal = false", "normal = true", "14:9", "has no fault");
        check("[0, 1.5]", "[2, 1.5]", "17:10", "from < to");
        check("speed_rpm", "speed_rmp", "16:1", "unknown field");
        check("bsf = 2.4", "bsf = 0", "9:11", "above 0");
        check("\"test\"", "\"tset\"", "12:7", "unknown variant");
    }
}
