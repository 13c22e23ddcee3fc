//! A recording as a source: opened by content, calibrated, cut into frames, stamped to the sample.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use super::csv::Csv;
use super::flac::Flac;
use super::sidecar::Sidecar;
use super::wav::Wav;
use super::{Calibration, Error, Info, NOTES_MAX, Read, Source, second_of};
use crate::types::{Frame, Origin, Quality, Span, Stamp, Unit};

mod options;

pub use options::{Config, Options};

/// Samples per channel in a frame of a stream, at the most.
const BLOCK_MAX: usize = 4096;
/// Values (samples times channels) in a snapshot, at the most.
const SNAPSHOT_VALUES_MAX: usize = 1 << 22;
/// Bytes looked at to tell what a file is.
const HEAD_BYTES: u64 = 64;

/// What a file says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    /// Samples per second and channel, above 0.
    pub(super) rate_hz: f64,
    /// At least 1.
    pub(super) n_channels: usize,
    /// Samples per channel, where known without reading on.
    pub(super) n_frames: Option<u64>,
    /// Counts at full scale: 2^(bits-1); `None` for floats, 1 for text.
    pub(super) counts_full_scale: Option<f64>,
    /// Unit in the file itself.
    pub(super) unit: Option<Unit>,
    /// Time of the first sample in the file itself.
    pub(super) start: Option<Stamp>,
}

/// The formats.
enum Decoder {
    Wav(Wav),
    Flac(Box<Flac>),
    Csv(Csv),
}

impl Decoder {
    fn open(path: &Path, rate_hz: Option<f64>) -> Result<Self, String> {
        let unreadable = |why: std::io::Error| format!("cannot be opened: {why}");
        let mut file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err("is not a file".into());
        }
        let mut head = Vec::new();
        (&mut file).take(HEAD_BYTES).read_to_end(&mut head).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        if head.is_empty() {
            return Err("is empty".into());
        }
        if Wav::recognises(&head) {
            Wav::open(file).map(Self::Wav)
        } else if Flac::recognises(&head) {
            Flac::open(file).map(|flac| Self::Flac(Box::new(flac)))
        } else if Csv::recognises(&head) {
            Csv::open(file, rate_hz).map(Self::Csv)
        } else {
            Err("is not a recording: neither WAV, FLAC nor text with numbers".into())
        }
    }

    fn meta(&self) -> Meta {
        match self {
            Self::Wav(wav) => wav.meta(),
            Self::Flac(flac) => flac.meta(),
            Self::Csv(csv) => csv.meta(),
        }
    }

    /// Appends up to `n_frames` samples of every channel to `out`; fewer only at the end.
    fn read(&mut self, out: &mut Vec<f32>, n_frames: usize) -> Result<(), String> {
        match self {
            Self::Wav(wav) => wav.read(out, n_frames),
            Self::Flac(flac) => flac.read(out, n_frames),
            Self::Csv(csv) => csv.read(out, n_frames),
        }
    }

    /// Whether the last sample has been read.
    fn is_done(&self) -> bool {
        match self {
            Self::Wav(wav) => wav.is_done(),
            Self::Flac(flac) => flac.is_done(),
            Self::Csv(csv) => csv.is_done(),
        }
    }

    /// Why the recording ends before its time; known for sure once it is read.
    fn cut(&self) -> Option<&String> {
        match self {
            Self::Wav(wav) => wav.cut.as_ref(),
            Self::Flac(flac) => flac.cut.as_ref(),
            Self::Csv(csv) => csv.cut.as_ref(),
        }
    }
}

/// Opens a recording as a source of frames.
///
/// What a value means is taken from `calibration`, else from the sidecar, else from the file (CSV
/// header), else it is a fraction of full scale. Frames are streamed; memory does not grow with the
/// file. A recording that ends before its header says gives what is there, and its last frame is
/// [`Quality::DROPOUT`].
///
/// # Errors
/// [`Error::Refused`] with what is wrong and what to do.
pub fn open_recording(
    path: &Path,
    origin: Origin,
    calibration: Option<Calibration>,
    options: Options,
) -> Result<Box<dyn Source>, Error> {
    let refuse = |why: String| Error::refused(path.display(), why);
    options.check().map_err(refuse)?;
    let found = Sidecar::find(path)?;
    let sidecar_rate = found.as_ref().and_then(|(_, sidecar)| sidecar.rate_hz);
    let decoder = Decoder::open(path, options.rate_hz.or(sidecar_rate)).map_err(refuse)?;
    let meta = decoder.meta();
    let mut notes = Vec::new();
    let said = match &found {
        Some((beside, sidecar)) => {
            Said::from(sidecar, &meta).map_err(|why| Error::refused(beside.display(), why))?
        }
        None => Said::default(),
    };
    notes.extend(said.note);
    notes.extend(decoder.cut().cloned());
    let from_header = || meta.unit.map(|unit| Calibration { unit, ..Calibration::default() });
    let calibration = calibration.or(said.calibration).or_else(from_header).unwrap_or_default();
    calibration.check().map_err(refuse)?;
    let [from, to] = part(&meta, &options).map_err(refuse)?;
    let mut recording = Recording {
        info: Info {
            identity: path.display().to_string(),
            rate_hz: meta.rate_hz,
            n_channels: meta.n_channels,
            unit: calibration.unit,
            snapshot_samples: options.snapshot_samples,
            live: false,
        },
        decoder,
        origin,
        calibration,
        options,
        start: options.start.or(said.start).or(meta.start).unwrap_or_default(),
        speed_hz: options.speed_rpm.or(said.rpm).map(|rpm| rpm / 60.0),
        first_frame: from,
        next_frame: 0,
        end_frame: to,
        garbage_noted: false,
        notes,
        over: false,
    };
    recording.skip_to(from).map_err(refuse)?;
    Ok(Box::new(recording))
}

/// The first sample wanted and the one after the last, or why that cannot be.
fn part(meta: &Meta, options: &Options) -> Result<[u64; 2], String> {
    let n_values = options.snapshot_samples.unwrap_or(0).saturating_mul(meta.n_channels);
    if n_values > SNAPSHOT_VALUES_MAX {
        return Err(format!(
            "snapshots of {n_values} values are too long; {SNAPSHOT_VALUES_MAX} are the most"
        ));
    }
    let Some(span) = options.span_s else { return Ok([0, u64::MAX]) };
    let [from, to] = span.map(|seconds| (seconds * meta.rate_hz).round() as u64);
    if meta.n_frames.is_some_and(|n| n <= from) {
        return Err(too_short(from, meta.rate_hz));
    }
    Ok([from, to])
}

fn too_short(from: u64, rate_hz: f64) -> String {
    format!("ends before span_s begins ({:.3} s)", from as f64 / rate_hz)
}

/// What the sidecar says, understood.
#[derive(Default)]
struct Said {
    calibration: Option<Calibration>,
    rpm: Option<f64>,
    start: Option<Stamp>,
    note: Option<String>,
}

impl Said {
    fn from(sidecar: &Sidecar, meta: &Meta) -> Result<Self, String> {
        if let Some(names) = &sidecar.channels
            && names.len() != meta.n_channels
        {
            return Err(format!(
                "names {} channels; the recording has {}",
                names.len(),
                meta.n_channels
            ));
        }
        let words = [("sensor", &sidecar.sensor), ("serial", &sidecar.serial)]
            .into_iter()
            .chain([("location", &sidecar.location)])
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")))
            .collect::<Vec<_>>();
        Ok(Self {
            calibration: sidecar.calibration(meta.counts_full_scale)?,
            rpm: sidecar.rpm,
            start: sidecar.start()?,
            note: (!words.is_empty()).then(|| words.join(", ")),
        })
    }
}

/// A recording being read.
struct Recording {
    info: Info,
    decoder: Decoder,
    origin: Origin,
    calibration: Calibration,
    options: Options,
    start: Stamp,
    speed_hz: Option<f64>,
    first_frame: u64,
    next_frame: u64,
    end_frame: u64,
    garbage_noted: bool,
    notes: Vec<String>,
    over: bool,
}

impl Recording {
    fn skip_to(&mut self, frame_idx: u64) -> Result<(), String> {
        if let Decoder::Wav(wav) = &mut self.decoder {
            wav.skip(frame_idx)?;
        } else {
            let mut scratch = Vec::new();
            let mut left = frame_idx;
            while left > 0 {
                scratch.clear();
                self.decoder.read(&mut scratch, left.min(BLOCK_MAX as u64) as usize)?;
                let n = (scratch.len() / self.info.n_channels) as u64;
                if n == 0 {
                    return Err(too_short(frame_idx, self.info.rate_hz));
                }
                left -= n;
            }
        }
        self.next_frame = frame_idx;
        Ok(())
    }

    /// Time of sample `frame_idx`.
    fn stamp(&self, frame_idx: u64) -> Stamp {
        let seconds = |n: u64| n as f64 / self.info.rate_hz;
        let span = match (self.options.snapshot_samples, self.options.snapshot_every_s) {
            (Some(n), Some(every_s)) => {
                let (n, from) = (n as u64, self.first_frame);
                let (number, within) = ((frame_idx - from) / n, (frame_idx - from) % n);
                seconds(from + within) + number as f64 * every_s
            }
            _ => seconds(frame_idx),
        };
        self.start + Span::from_secs(span)
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }

    /// Calibrates in place; a value that is not finite becomes 0 and marks its channel.
    fn calibrate(&mut self, frame: &mut Frame) {
        frame.samples.iter_mut().for_each(|value| *value = self.calibration.apply(*value));
        if frame.clean() > 0 && !self.garbage_noted {
            self.garbage_noted = true;
            self.note(format!(
                "holds values that are no numbers, the first in the frame at {}; they are taken \
                 as 0 and flagged",
                frame.start
            ));
        }
    }
}

impl Source for Recording {
    fn info(&self) -> &Info {
        &self.info
    }

    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error> {
        let n_channels = self.info.n_channels;
        let left = self.end_frame.saturating_sub(self.next_frame);
        let block_samples = self.options.block_samples.min(second_of(self.info.rate_hz));
        let n_wanted = self.options.snapshot_samples.unwrap_or(block_samples);
        let n_asked = (n_wanted as u64).min(left) as usize;
        self.info.begin(frame, &self.origin, self.next_frame);
        if n_asked > 0 && !self.over {
            self.decoder
                .read(&mut frame.samples, n_asked)
                .map_err(|why| Error::refused(&self.info.identity, why))?;
        }
        let n = frame.samples.len() / n_channels;
        if self.decoder.is_done() && !self.over {
            self.over = true;
            let known = |note: &String| self.notes.contains(note);
            if let Some(cut) = self.decoder.cut().filter(|cut| !known(cut)).cloned() {
                self.note(cut);
            }
        }
        if n == 0 {
            return Ok(Read::End);
        }
        if self.options.snapshot_samples.is_some_and(|whole| n < whole) {
            self.note(format!("its last {n} samples are no whole snapshot and are left out"));
            self.over = true;
            frame.samples.clear();
            return Ok(Read::End);
        }
        frame.origin.n_samples = n as u64;
        frame.start = self.stamp(self.next_frame);
        frame.speed_hz = self.speed_hz;
        self.next_frame += n as u64;
        self.calibrate(frame);
        if self.over && self.decoder.cut().is_some() {
            frame.flag(Quality::DROPOUT);
        }
        Ok(Read::Frame)
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
