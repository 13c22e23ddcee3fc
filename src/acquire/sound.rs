//! Sound cards and USB accelerometers through cpal on ALSA; the only file that names cpal's streams.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{DeviceId, ErrorKind, HostId, SampleFormat, SupportedBufferSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cadence::Timeline;
use super::ring::{self, Reader, Writer};
use super::scale::{self, Scale};
use super::{Error, Info, Read, Source, cards};
use crate::types::{Clock, Frame, Quality, Span, Unit};

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
/// Streams that may hang in their driver before no more are opened.
const HUNG_MAX: usize = 4;
/// The highest rate and the most channels that make sense to ask for.
const RATE_MAX_HZ: u32 = 768_000;
const CHANNELS_MAX: u16 = 64;

/// Streams whose driver has not let go of them yet.
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

    /// Opens the device and starts it.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is absent, busy or hung; [`Error::Refused`] if it cannot do what is
    /// asked or the configuration makes no sense.
    pub fn open(&self, clock: Arc<dyn Clock>) -> Result<Sound, Error> {
        self.open_under(Path::new("/"), clock)
    }

    fn open_under(&self, root: &Path, clock: Arc<dyn Clock>) -> Result<Sound, Error> {
        self.check()?;
        let what = self.device.as_str();
        if HUNG.load(Ordering::Relaxed) >= HUNG_MAX {
            let why = format!("{HUNG_MAX} earlier streams hang in the driver; unplug the device");
            return Err(Error::lost(what, why));
        }
        let host = cpal::host_from_id(HostId::Alsa).map_err(|e| failure(what, &e))?;
        let (device, format, card) = self.pick(&host, root)?;
        let (unit, gains) = self.calibration(card.as_ref().map(|(card, _)| card.name.as_str()))?;
        let rate_hz = f64::from(self.rate_hz);
        let n_channels = usize::from(self.channels);
        let period = self.period_samples(&device, format);
        let (writer, reader) = ring::ring(rate_hz, n_channels, period as usize);
        let signals = Arc::new(Signals::default());
        let stream = self.start(&device, format, period, writer, &signals, &clock)?;
        if let Some((card, number)) = &card {
            check_granted(what, cards::granted(root, card, *number), rate_hz, n_channels)?;
        }
        let identity = card.map_or_else(|| what.to_owned(), |(card, _)| card.identity());
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

    /// The device, the format it is asked for, and the card behind it if it is one.
    fn pick(&self, host: &cpal::Host, root: &Path) -> Result<Picked, Error> {
        let what = self.device.as_str();
        if let Some(name) = what.strip_prefix("pcm:") {
            let device = pcm(host, name).ok_or_else(|| {
                let why = "no such PCM in the ALSA configuration, or it has no hint";
                Error::lost(what, why)
            })?;
            let format = self.choose(&device)?;
            return Ok((device, format, None));
        }
        let (card, number) = cards::find(root, what)?;
        // `plughw` only unpacks three-byte samples here: rate and channels are checked afterwards.
        let mut answer = Err(Error::lost(what, "ALSA does not list it yet"));
        for plugin in ["hw", "plughw"] {
            let by_id = pcm(host, &format!("{plugin}:CARD={},DEV={number}", card.id));
            let device =
                by_id.or_else(|| pcm(host, &format!("{plugin}:CARD={},DEV={number}", card.index)));
            let Some(device) = device else { continue };
            match self.choose(&device) {
                Ok(format) => return Ok((device, format, Some((card, number)))),
                Err(error) => answer = Err(error),
            }
        }
        answer
    }

    /// The finest format the device offers at the rate and channels wanted.
    fn choose(&self, device: &cpal::Device) -> Result<SampleFormat, Error> {
        let wanted: &[SampleFormat] = match self.format {
            Format::Auto => {
                &[SampleFormat::I32, SampleFormat::I24, SampleFormat::F32, SampleFormat::I16]
            }
            Format::I16 => &[SampleFormat::I16],
            Format::I24 => &[SampleFormat::I24],
            Format::I32 => &[SampleFormat::I32],
            Format::F32 => &[SampleFormat::F32],
        };
        let configs = device.supported_input_configs().map_err(|e| failure(&self.device, &e))?;
        let configs: Vec<_> = configs.collect();
        let offered = |format: &&SampleFormat| {
            configs.iter().any(|config| {
                config.sample_format() == **format
                    && config.channels() == self.channels
                    && config.contains_rate(self.rate_hz)
            })
        };
        wanted.iter().find(offered).copied().ok_or_else(|| {
            let why = format!(
                "cannot do {} Hz, {} channels, format {:?}; it offers {}",
                self.rate_hz,
                self.channels,
                self.format,
                super::devices::offer(&configs)
            );
            Error::refused(&self.device, why)
        })
    }

    /// Samples per driver block: as configured, within what the device can do.
    fn period_samples(&self, device: &cpal::Device, format: SampleFormat) -> u32 {
        let asked = ((self.period_ms * 1e-3 * f64::from(self.rate_hz)).round() as u32).max(1);
        let range = device.supported_input_configs().ok().and_then(|mut configs| {
            configs.find(|config| {
                config.sample_format() == format
                    && config.channels() == self.channels
                    && config.contains_rate(self.rate_hz)
            })
        });
        match range.map(|config| *config.buffer_size()) {
            Some(SupportedBufferSize::Range { min, max }) if min <= max => asked.clamp(min, max),
            _ => asked,
        }
    }

    fn start(
        &self,
        device: &cpal::Device,
        format: SampleFormat,
        period: u32,
        writer: Writer,
        signals: &Arc<Signals>,
        clock: &Arc<dyn Clock>,
    ) -> Result<cpal::Stream, Error> {
        let config = cpal::StreamConfig {
            channels: self.channels,
            sample_rate: self.rate_hz,
            buffer_size: cpal::BufferSize::Fixed(period),
        };
        let ear =
            Ear { writer, signals: Arc::clone(signals), clock: Arc::clone(clock), n_xruns: 0 };
        let stream = match format {
            SampleFormat::I16 => ear.listen(device, config, |v: i16| f32::from(v) / 32_768.0),
            SampleFormat::I24 => {
                ear.listen(device, config, |v: cpal::I24| v.inner() as f32 / 8_388_608.0)
            }
            SampleFormat::I32 => ear.listen(device, config, |v: i32| v as f32 / 2_147_483_648.0),
            _ => ear.listen(device, config, |v: f32| v),
        };
        let stream = stream.map_err(|e| failure(&self.device, &e))?;
        stream.play().map_err(|e| failure(&self.device, &e))?;
        Ok(stream)
    }
}

type Picked = (cpal::Device, SampleFormat, Option<(cards::Card, u32)>);

fn pcm(host: &cpal::Host, name: &str) -> Option<cpal::Device> {
    if name == "default" {
        return host.default_input_device();
    }
    host.device_by_id(&DeviceId::new(HostId::Alsa, name))
}

fn check_granted(
    what: &str,
    granted: Option<(f64, usize)>,
    rate_hz: f64,
    n_channels: usize,
) -> Result<(), Error> {
    match granted {
        Some(granted) if granted != (rate_hz, n_channels) => {
            let why = format!(
                "the hardware runs at {} Hz with {} channels, not {rate_hz} Hz with {n_channels}; \
                 set rate_hz and channels to what it has",
                granted.0, granted.1
            );
            Err(Error::refused(what, why))
        }
        _ => Ok(()),
    }
}

/// What cpal says, by what the caller can do about it.
fn failure(what: &str, error: &cpal::Error) -> Error {
    match error.kind() {
        ErrorKind::UnsupportedConfig
        | ErrorKind::UnsupportedOperation
        | ErrorKind::InvalidInput => Error::refused(what, error.to_string()),
        ErrorKind::PermissionDenied => Error::lost(
            what,
            "permission denied; add the user auscult runs as to the group `audio`",
        ),
        _ => Error::lost(what, error.to_string()),
    }
}

/// What the callbacks tell the reader without waiting for it.
#[derive(Default)]
struct Signals {
    /// First error that ends the stream, as `ErrorKind` plus 1; 0 while there is none.
    failed: AtomicU32,
    /// Overruns in the driver so far.
    n_xruns: AtomicU32,
}

/// Errors that end a stream, in the order of their codes.
const FATAL: [ErrorKind; 6] = [
    ErrorKind::DeviceNotAvailable,
    ErrorKind::StreamInvalidated,
    ErrorKind::BackendError,
    ErrorKind::HostUnavailable,
    ErrorKind::DeviceBusy,
    ErrorKind::Other,
];

impl Signals {
    /// The first error wins; a storm of them costs one atomic each.
    fn report(&self, kind: ErrorKind) {
        match kind {
            ErrorKind::Xrun => {
                self.n_xruns.fetch_add(1, Ordering::Relaxed);
            }
            ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {}
            kind => {
                // Only the stream's own thread writes here, so looking first is enough.
                if self.failed.load(Ordering::Relaxed) == 0 {
                    let code = FATAL.iter().position(|k| *k == kind).unwrap_or(FATAL.len() - 1);
                    self.failed.store(code as u32 + 1, Ordering::Relaxed);
                }
            }
        }
    }

    fn failure(&self) -> Option<ErrorKind> {
        let code = self.failed.load(Ordering::Relaxed) as usize;
        FATAL.get(code.wrapping_sub(1)).copied()
    }
}

/// The callback's side: no allocation, lock, log or system call.
struct Ear {
    writer: Writer,
    signals: Arc<Signals>,
    clock: Arc<dyn Clock>,
    n_xruns: u32,
}

impl Ear {
    fn listen<T: cpal::SizedSample + Send + 'static>(
        mut self,
        device: &cpal::Device,
        config: cpal::StreamConfig,
        full_scale: fn(T) -> f32,
    ) -> Result<cpal::Stream, cpal::Error> {
        let signals = Arc::clone(&self.signals);
        let take = move |data: &[T], _: &cpal::InputCallbackInfo| {
            let n_xruns = self.signals.n_xruns.load(Ordering::Relaxed);
            let after_xrun = n_xruns != self.n_xruns;
            self.n_xruns = n_xruns;
            let at = self.clock.monotonic();
            self.writer.push(at, after_xrun, data.iter().map(|&v| full_scale(v)));
        };
        let poll_timeout = Some(Duration::from_millis(500));
        device.build_input_stream(config, take, move |e| signals.report(e.kind()), poll_timeout)
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

    /// Hands the stream to a thread of its own: a driver that hangs must not hang us.
    fn stop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        HUNG.fetch_add(1, Ordering::Relaxed);
        let close = move || {
            drop(stream);
            HUNG.fetch_sub(1, Ordering::Relaxed);
        };
        let spawned = std::thread::Builder::new().name("sound-close".to_owned()).spawn(close);
        // Without a thread the closure, and the stream in it, was dropped on the spot.
        drop(spawned);
    }
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
            if let Some(why) = self.lost(now) {
                self.stop();
                return Err(Error::lost(&self.info.identity, why));
            }
            if let Some((n_lost, at)) = self.fill(frame) {
                if self.ahead {
                    frame.quality = frame.quality.with(Quality::RATE);
                }
                self.timeline.stamp(frame, n_lost, at);
                self.scale.apply(frame);
                return Ok(Read::Frame);
            }
            if now >= until {
                return Ok(Read::Quiet);
            }
            std::thread::sleep(Duration::from_nanos(self.pause.0 as u64));
        }
    }
}
