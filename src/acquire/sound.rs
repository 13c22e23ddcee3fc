//! Sound cards and USB accelerometers through cpal on ALSA; the only file that names cpal's streams.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use cpal::HostId;
use cpal::traits::StreamTrait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cadence::Timeline;
use super::ring::{self, Reader};
use super::scale::{self, Scale};
use super::{Error, Info, Read, Source, cards, devices};
use crate::types::{Clock, Frame, Quality, Span, Unit};

mod ear;
mod pick;

use ear::{Ear, Signals};
use pick::{Picked, check_granted, failure};

/// How long [`Source::read`] waits for samples.
const PATIENCE: Span = Span(200_000_000);
/// Silence of the driver after which the device counts as lost.
const LOST_AFTER: Span = Span(2_000_000_000);
/// The same before the first samples: sound servers take their time to start.
const START_AFTER: Span = Span(5_000_000_000);
/// Shortest frame handed on, seconds; the driver's blocks are gathered up to it.
const FRAME_SECS: f64 = 0.1;
/// Samples ahead of time, in seconds, that make the rate suspect.
const AHEAD_SUSPECT_SECS: f64 = 1.0;
/// Samples ahead of time, in seconds, that no device can deliver.
const AHEAD_LOST_SECS: f64 = 2.5;
/// How long a device may take to open.
const OPEN_PATIENCE: Span = Span(2_000_000_000);
/// Attempts that may hang in their driver before no more are made.
const HUNG_MAX: usize = 4;
/// The highest rate and the most channels that make sense to ask for.
const RATE_MAX_HZ: u32 = 768_000;
const CHANNELS_MAX: u16 = 64;

/// Attempts to open or close a device that its driver has not let go of yet.
static HUNG: AtomicUsize = AtomicUsize::new(0);

/// How samples travel from the device.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The finest the device offers.
    #[default]
    Auto,
    /// 16-bit integers.
    I16,
    /// 24-bit integers.
    I24,
    /// 32-bit integers.
    I32,
    /// 32-bit floating point.
    F32,
}

/// A sound card, USB microphone or USB accelerometer.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which one: `serial:NUMBER`, `usb:PORT`, `card:ID` (each with an optional `,DEVICE`) or
    /// `pcm:NAME` of the ALSA configuration; `auscult devices` lists them. Never a number.
    pub device: String,
    /// Samples per second and channel, hertz; refused if the hardware does not run at it.
    pub rate_hz: u32,
    /// Channels the hardware delivers.
    pub channels: u16,
    /// Sample format to ask for.
    pub format: Format,
    /// Length of the driver's blocks, milliseconds; the driver buffers two of them.
    pub period_ms: f64,
    /// Unit of the calibrated samples: `m/s2`, `g`, `Pa`, `V`, or `FS` (not calibrated).
    pub unit: String,
    /// Units at full scale: one value, or one for each channel.
    pub units_per_full_scale: Vec<f64>,
    /// Take unit and sensitivities from the name of a Digiducer 333D01 instead.
    pub calibrate_from_name: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device: String::new(),
            rate_hz: 48_000,
            channels: 1,
            format: Format::Auto,
            period_ms: 250.0,
            unit: "FS".to_owned(),
            units_per_full_scale: vec![1.0],
            calibrate_from_name: false,
        }
    }
}

impl Config {
    /// Checks what can be checked without the device.
    ///
    /// # Errors
    /// Refused, naming the key and what would be right.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::refused(&self.device, why));
        if self.device.is_empty() {
            let why = "device is empty; write one that `auscult devices` lists";
            return Err(Error::refused("sound", why));
        }
        if self.rate_hz == 0 || self.rate_hz > RATE_MAX_HZ {
            return refuse(format!("rate_hz is {}; 1 to {RATE_MAX_HZ}", self.rate_hz));
        }
        if self.channels == 0 || self.channels > CHANNELS_MAX {
            return refuse(format!("channels is {}; 1 to {CHANNELS_MAX}", self.channels));
        }
        if !(1.0..=1000.0).contains(&self.period_ms) {
            return refuse(format!("period_ms is {}; 1 to 1000", self.period_ms));
        }
        scale::unit(&self.device, &self.unit)?;
        Scale::new(&self.device, &self.units_per_full_scale, usize::from(self.channels))?;
        Ok(())
    }

    /// Rate, channels and unit it will have.
    pub(super) fn expect(&self) -> Option<(f64, usize, Unit)> {
        let own = self.calibrate_from_name;
        let unit = if own { Unit::MetersPerSecond2 } else { Unit::parse(&self.unit)? };
        Some((f64::from(self.rate_hz), usize::from(self.channels), unit))
    }

    /// Opens the device and starts it.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is absent, busy or hung; [`Error::Refused`] if it cannot do what is
    /// asked or the configuration makes no sense.
    pub fn open(&self, clock: Arc<dyn Clock>) -> Result<Sound, Error> {
        self.check()?;
        let what = self.device.as_str();
        if HUNG.load(Ordering::Relaxed) >= HUNG_MAX {
            let why = format!("{HUNG_MAX} earlier attempts hang in the driver; unplug the device");
            return Err(Error::lost(what, why));
        }
        let (config, (answer, answered)) = (self.clone(), sync_channel(1));
        aside("sound-open", move || {
            // Nobody waiting for the answer any more: the device is closed again.
            answer.send(config.open_here(Path::new("/"), clock)).ok();
        })
        .map_err(|e| Error::lost(what, e.to_string()))?;
        let patience = Duration::from_nanos(OPEN_PATIENCE.0 as u64);
        answered.recv_timeout(patience).unwrap_or_else(|_| {
            let why =
                format!("does not open within {} s: its driver hangs", OPEN_PATIENCE.as_secs());
            Err(Error::lost(what, why))
        })
    }

    /// Opens the device; returns when the driver does.
    fn open_here(&self, root: &Path, clock: Arc<dyn Clock>) -> Result<Sound, Error> {
        let what = self.device.as_str();
        let host = cpal::host_from_id(HostId::Alsa).map_err(|e| failure(what, &e))?;
        let Picked { device, format, card } = self.pick(&host, root)?;
        let (unit, gains) = self.calibration(card.as_ref().map(|(card, _)| card.name.as_str()))?;
        let rate_hz = f64::from(self.rate_hz);
        let n_channels = usize::from(self.channels);
        let period = self.period_samples(&device, format);
        let (writer, reader) = ring::ring(rate_hz, n_channels, period as usize);
        let signals = Arc::new(Signals::default());
        let config = cpal::StreamConfig {
            channels: self.channels,
            sample_rate: self.rate_hz,
            buffer_size: cpal::BufferSize::Fixed(period),
        };
        let ear = Ear::new(writer, Arc::clone(&signals), Arc::clone(&clock));
        let stream = ear.listen(&device, config, format).map_err(|e| failure(what, &e))?;
        stream.play().map_err(|e| failure(what, &e))?;
        if let Some((card, number)) = &card {
            check_granted(what, cards::granted(root, card, *number), rate_hz, n_channels)?;
        }
        let identity = what.to_owned();
        let now = clock.monotonic();
        Ok(Sound {
            info: Info { identity, rate_hz, n_channels, unit, snapshot_samples: None, live: true },
            stream: Some(stream),
            reader,
            signals,
            scale: Scale::new(what, &gains, n_channels)?,
            timeline: Timeline::new(Arc::clone(&clock), rate_hz),
            clock,
            pause: Span::from_secs((f64::from(period) / rate_hz / 2.0).clamp(0.001, 0.01)),
            frame_samples: (FRAME_SECS * rate_hz) as usize,
            last_at: None,
            heard: (now, 0),
            window: (now, 0),
            ahead: false,
        })
    }

    /// Unit and gains, from the device's own name where that was asked for.
    fn calibration(&self, name: Option<&str>) -> Result<(Unit, Vec<f64>), Error> {
        if !self.calibrate_from_name {
            let unit = scale::unit(&self.device, &self.unit)?;
            return Ok((unit, self.units_per_full_scale.clone()));
        }
        let Some(gains) = name.and_then(cards::digiducer) else {
            let why = format!(
                "its name `{}` carries no calibration; set calibrate_from_name = false and \
                 units_per_full_scale from the certificate",
                name.unwrap_or_default()
            );
            return Err(Error::refused(&self.device, why));
        };
        Ok((Unit::MetersPerSecond2, gains[..gains.len().min(self.channels.into())].to_vec()))
    }
}

/// An open sound card.
pub struct Sound {
    info: Info,
    stream: Option<cpal::Stream>,
    reader: Reader,
    signals: Arc<Signals>,
    scale: Scale,
    timeline: Timeline,
    clock: Arc<dyn Clock>,
    pause: Span,
    frame_samples: usize,
    /// Arrival of the last block taken out of the ring.
    last_at: Option<Span>,
    /// When the reader last saw the total grow, and to what.
    heard: (Span, u64),
    /// Start of the stretch the pace is watched over, and the total then.
    window: (Span, u64),
    ahead: bool,
}

impl Sound {
    /// Why the stream is over, if it is.
    fn lost(&mut self, now: Span) -> Option<String> {
        if let Some(kind) = self.signals.failure() {
            return Some(format!("{kind} It is opened again by itself"));
        }
        let total = self.reader.total();
        if total != self.heard.1 {
            self.heard = (now, total);
        }
        let limit = if total == 0 { START_AFTER } else { LOST_AFTER };
        let silent = now - self.heard.0;
        if silent > limit {
            return Some(format!("no samples for {:.1} s: the device hangs", silent.as_secs()));
        }
        let secs = (now - self.window.0).as_secs();
        let ahead = (total - self.window.1) as f64 / self.info.rate_hz - secs;
        self.ahead = ahead > AHEAD_SUSPECT_SECS;
        if ahead > AHEAD_LOST_SECS {
            let why = "samples come far faster than time passes: what feeds the device has ended";
            return Some(why.to_owned());
        }
        if secs > 1.0 {
            self.window = (now, total);
        }
        None
    }

    /// Fills `frame` with whole blocks; gives the losses before it and its last sample's time.
    fn fill(&mut self, frame: &mut Frame) -> Option<(u64, Span)> {
        let mut taken = None;
        while let Some(next) = self.reader.peek() {
            let broken = next.n_dropped > 0 || next.after_xrun;
            if taken.is_some() && (broken || frame.len() >= self.frame_samples) {
                break;
            }
            let mut n_lost = next.n_dropped;
            if next.after_xrun {
                let gap = self.last_at.map_or(0.0, |last| (next.at - last).as_secs());
                let missing = gap * self.info.rate_hz - (next.n_samples as u64 + n_lost) as f64;
                n_lost += (missing.round() as u64).max(1);
            }
            self.reader.pop(&mut frame.samples);
            self.last_at = Some(next.at);
            let first_lost = taken.map_or(n_lost, |(lost, _)| lost);
            taken = Some((first_lost, next.at));
        }
        taken
    }

    /// Lets go of the stream; a driver that hangs must not hang us.
    fn stop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        // Without a thread the closure, and the stream in it, is dropped on the spot.
        aside("sound-close", move || drop(stream)).ok();
    }
}

/// Runs what may hang in a driver on a thread of its own, counted while it lasts.
fn aside(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    HUNG.fetch_add(1, Ordering::Relaxed);
    let work = move || {
        work();
        HUNG.fetch_sub(1, Ordering::Relaxed);
    };
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    if spawned.is_err() {
        HUNG.fetch_sub(1, Ordering::Relaxed);
    }
    spawned.map(|_| ())
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Source for Sound {
    fn info(&self) -> &Info {
        &self.info
    }

    fn rate_ppm(&self) -> Option<f64> {
        self.timeline.ppm()
    }

    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error> {
        Timeline::clear(frame, &self.info);
        let until = self.clock.monotonic() + PATIENCE;
        loop {
            let now = self.clock.monotonic();
            let lost = self.lost(now);
            let enough = self.reader.n_samples() >= self.frame_samples;
            let due = enough || now >= until || lost.is_some();
            // What came before the end is still good; what a racing device gave is not.
            let racing = lost.is_some() && self.ahead;
            let taken = if due && !racing { self.fill(frame) } else { None };
            if let Some((n_lost, at)) = taken {
                if self.ahead {
                    frame.quality = frame.quality.with(Quality::RATE);
                }
                self.timeline.stamp(frame, n_lost, at);
                self.scale.apply(frame);
                return Ok(Read::Frame);
            }
            if let Some(why) = lost {
                self.stop();
                return Err(Error::lost(&self.info.identity, why));
            }
            if now >= until {
                return Ok(Read::Quiet);
            }
            std::thread::sleep(Duration::from_nanos(self.pause.0 as u64));
        }
    }
}
