//! Accelerometers through Linux IIO: sysfs and the buffer's character device, nothing else.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cadence::Timeline;
use super::wait::{self, Ready};
use super::{Error, Info, Read, Source, cards};
use crate::types::{Clock, Frame, Span, Unit};

mod attrs;
mod scan;

pub(super) use attrs::{Found, all};
use scan::{Layout, Storage};

/// How long [`Source::read`] waits.
const PATIENCE: Span = Span(200_000_000);
/// Silence after which the device counts as lost.
const LOST_AFTER: Span = Span(2_000_000_000);
/// Scans the kernel is asked to hold, in seconds and at most.
const KERNEL_SECS: f64 = 4.0;
const KERNEL_SCANS_MAX: f64 = 65_536.0;
/// Scans taken at once, in seconds, and at most.
const FRAME_SECS: f64 = 0.1;
const FRAME_SCANS_MAX: f64 = 4096.0;
/// How far the rate granted may be from the one asked for, relative.
const RATE_TOLERANCE: f64 = 0.001;
/// Time stamps this much newer than our own clock allows are of a clock that was set.
const STAMP_SLACK: Span = Span(500_000_000);
/// The most channels.
const CHANNELS_MAX: usize = 16;

/// An accelerometer driven by the Linux kernel (IIO).
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which one: its name, and `label=`, `serial=` or `bus=` if there are several, such as
    /// `adxl372,bus=spi0.0`; `auscult devices` lists them. Never a number.
    pub device: String,
    /// Channels in the order of the frame's axes.
    pub channels: Vec<String>,
    /// Samples per second, hertz; 0 keeps what the driver has. Refused if it will not take it.
    pub rate_hz: f64,
    /// Trigger to use; empty keeps the driver's.
    pub trigger: String,
    /// Factor on the driver's m/s2, from a calibration of the mounted sensor.
    pub gain: f64,
    /// Count lost samples by the kernel's own time stamps; for drivers that stamp every sample.
    pub timestamps: bool,
    /// Where `sys` and `dev` are; not a key of the configuration.
    #[serde(skip)]
    pub root: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device: String::new(),
            channels: ["accel_x", "accel_y", "accel_z"].map(str::to_owned).to_vec(),
            rate_hz: 0.0,
            trigger: String::new(),
            gain: 1.0,
            timestamps: false,
            root: PathBuf::from("/"),
        }
    }
}

impl Config {
    /// Checks the configuration alone.
    ///
    /// # Errors
    /// Refused, naming the key and what would be right.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: &str| Err(Error::refused(format!("iio {}", self.device), why));
        if self.device.is_empty() {
            return refuse("device is empty; write one that `auscult devices` lists");
        }
        if self.device.starts_with("iio:device") {
            return refuse("that number changes between starts; write the part's name");
        }
        if self.channels.is_empty() || self.channels.len() > CHANNELS_MAX {
            return refuse("channels must name 1 to 16 of the device's channels");
        }
        if (1..self.channels.len()).any(|k| self.channels[..k].contains(&self.channels[k])) {
            return refuse("channels names one twice");
        }
        if self.channels.iter().any(|name| name.contains(['/', '.']) || name.is_empty()) {
            return refuse("channels must be names such as accel_x");
        }
        if !self.rate_hz.is_finite() || self.rate_hz < 0.0 {
            return refuse("rate_hz must be 0 (keep the driver's) or more");
        }
        if !self.gain.is_normal() {
            return refuse("gain must be a number other than 0");
        }
        Ok(())
    }

    /// Sets the device up and starts its buffer.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is absent or busy, [`Error::Refused`] if it cannot do what is asked.
    pub fn open(&self, clock: Arc<dyn Clock>) -> Result<Iio, Error> {
        self.check()?;
        let found = attrs::find(&self.root, &self.device)?;
        let what = found.identity();
        found.set("buffer/enable", "0")?;
        let elements = self.choose(&found)?;
        let rate_hz = self.set_rate(&found)?;
        self.set_trigger(&found)?;
        // The kernel stamps by the wall clock unless told otherwise, and that may be set.
        let is_steady =
            self.timestamps && found.set("current_timestamp_clock", "monotonic").is_ok();
        let n_kernel = (KERNEL_SECS * rate_hz).clamp(16.0, KERNEL_SCANS_MAX) as u64;
        let n_scans = (FRAME_SECS * rate_hz).clamp(1.0, FRAME_SCANS_MAX) as usize;
        found.set("buffer/length", &n_kernel.to_string())?;
        if found.attr("buffer/watermark").is_some() {
            found.set("buffer/watermark", &(n_scans.min(n_kernel as usize / 2)).to_string())?;
        }
        found.set("buffer/enable", "1")?;
        let file = open_node(&self.root, &found)?;
        let layout = Layout::new(&elements.iter().map(|e| e.storage).collect::<Vec<_>>());
        let (axes, stamp) = self.order(&elements, &layout);
        let n_channels = axes.iter().map(|axis| axis.storage.repeat).sum();
        let n_bytes = layout.n_bytes;
        let now = clock.monotonic();
        Ok(Iio {
            info: Info {
                identity: what,
                rate_hz,
                n_channels,
                unit: Unit::MetersPerSecond2,
                snapshot_samples: None,
                live: true,
            },
            found,
            file,
            axes,
            stamp,
            n_bytes,
            bytes: vec![0; n_bytes * n_scans],
            n_held: 0,
            last_stamp: None,
            is_steady,
            least_lag: i64::MAX,
            timeline: Timeline::new(Arc::clone(&clock), rate_hz),
            clock,
            heard: now,
        })
    }

    /// Enables the channels wanted and no other; gives the enabled elements by index.
    fn choose(&self, found: &Found) -> Result<Vec<Element>, Error> {
        let what = found.identity();
        let known = found.channels();
        if let Some(missing) = self.channels.iter().find(|name| !known.contains(name)) {
            let why = format!("no channel `{missing}`; it has {}", known.join(", "));
            return Err(Error::refused(&what, why));
        }
        let has_stamp = found.attr("scan_elements/in_timestamp_en").is_some();
        if self.timestamps && !has_stamp {
            return Err(Error::refused(
                &what,
                "the driver has no timestamps; set timestamps = false",
            ));
        }
        for name in known.iter().map(String::as_str).chain(has_stamp.then_some("timestamp")) {
            let wanted =
                self.channels.iter().any(|c| c == name) || (name == "timestamp" && self.timestamps);
            found.set(&format!("scan_elements/in_{name}_en"), if wanted { "1" } else { "0" })?;
        }
        let stamp = self.timestamps.then(|| "timestamp".to_owned());
        let names = self.channels.iter().cloned().chain(stamp);
        let mut elements =
            names.map(|name| Element::read(found, name)).collect::<Result<Vec<_>, _>>()?;
        elements.sort_by_key(|element| element.index);
        Ok(elements)
    }

    /// The axes in the order configured, and where the time stamp is.
    fn order(
        &self,
        elements: &[Element],
        layout: &Layout,
    ) -> (Vec<Axis>, Option<(usize, Storage)>) {
        let at = |name: &str| {
            let k = elements.iter().position(|e| e.name == name)?;
            Some((layout.offsets[k], &elements[k]))
        };
        let axis = |name: &String| {
            let (offset, element) = at(name).expect("every configured channel was enabled");
            let scale = element.scale * self.gain;
            Axis { offset, storage: element.storage, scale, raw_offset: element.raw_offset }
        };
        let axes = self.channels.iter().map(axis).collect();
        (axes, at("timestamp").map(|(offset, element)| (offset, element.storage)))
    }

    /// Sets the rate if asked to, and gives what the driver says it is now.
    fn set_rate(&self, found: &Found) -> Result<f64, Error> {
        let what = found.identity();
        let own = ["sampling_frequency", "in_accel_sampling_frequency"];
        let attr = own.into_iter().find(|name| found.attr(name).is_some());
        let Some(attr) = attr else {
            if self.rate_hz > 0.0 {
                return Ok(self.rate_hz);
            }
            let why = "the driver does not tell its rate (its trigger sets it); set rate_hz to it";
            return Err(Error::refused(&what, why));
        };
        if self.rate_hz > 0.0 {
            found.set(attr, &self.rate_hz.to_string())?;
        }
        let granted = found.attr(attr).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        if granted > 0.0
            && (self.rate_hz == 0.0 || (granted / self.rate_hz - 1.0).abs() <= RATE_TOLERANCE)
        {
            return Ok(granted);
        }
        let offer = found.attr(&format!("{attr}_available")).unwrap_or_default();
        let why = format!("runs at {granted} Hz, not {}; it offers: {offer}", self.rate_hz);
        Err(Error::refused(&what, why))
    }

    fn set_trigger(&self, found: &Found) -> Result<(), Error> {
        if self.trigger.is_empty() {
            return Ok(());
        }
        found.set("trigger/current_trigger", &self.trigger)?;
        if found.attr("trigger/current_trigger").as_deref() == Some(self.trigger.as_str()) {
            return Ok(());
        }
        let why = format!("will not take the trigger `{}`; see /sys/bus/iio/devices", self.trigger);
        Err(Error::refused(found.identity(), why))
    }
}

fn open_node(root: &Path, found: &Found) -> Result<File, Error> {
    let path = root.join("dev").join(&found.node);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(&path);
    file.map_err(|e| {
        let hint = match e.kind() {
            ErrorKind::PermissionDenied => "; install systemd/99-auscult.rules",
            ErrorKind::ResourceBusy => "; another program reads it",
            _ => "",
        };
        Error::lost(found.identity(), format!("cannot open {}: {e}{hint}", path.display()))
    })
}

/// One enabled element of the scan.
struct Element {
    name: String,
    index: u32,
    storage: Storage,
    scale: f64,
    raw_offset: f64,
}

impl Element {
    fn read(found: &Found, name: String) -> Result<Self, Error> {
        let refuse = |why: String| Error::refused(found.identity(), why);
        let number = |text: Option<String>, default: f64| match text {
            None => Ok(default),
            Some(text) => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(value),
                _ => Err(refuse(format!("scale or offset of {name} is `{text}`"))),
            },
        };
        let index = found.attr(&format!("scan_elements/in_{name}_index"));
        let index = index.and_then(|text| text.parse().ok());
        let index = index.ok_or_else(|| refuse(format!("{name} has no index")))?;
        let kind = found.attr(&format!("scan_elements/in_{name}_type")).unwrap_or_default();
        let storage = Storage::parse(&kind)
            .ok_or_else(|| refuse(format!("{name} has the type `{kind}`, which we cannot read")))?;
        let scale = number(found.channel_attr(&name, "scale"), 1.0)?;
        let raw_offset = number(found.channel_attr(&name, "offset"), 0.0)?;
        Ok(Self { name, index, storage, scale, raw_offset })
    }
}

/// One axis of the frame.
struct Axis {
    offset: usize,
    storage: Storage,
    scale: f64,
    raw_offset: f64,
}

/// An open IIO device; its buffer is switched off when it is dropped.
pub struct Iio {
    info: Info,
    found: Found,
    file: File,
    axes: Vec<Axis>,
    stamp: Option<(usize, Storage)>,
    /// Bytes of one scan.
    n_bytes: usize,
    /// Bytes read and not yet decoded: the first `n_held`, less than one scan between reads.
    bytes: Vec<u8>,
    n_held: usize,
    last_stamp: Option<i64>,
    /// Time stamps are of a clock that nobody sets.
    is_steady: bool,
    /// The least our own clock was ahead of time stamps, since theirs was set; nanoseconds.
    least_lag: i64,
    timeline: Timeline,
    clock: Arc<dyn Clock>,
    heard: Span,
}

impl Iio {
    /// Takes what the kernel has; whether there was a whole scan.
    fn fill(&mut self) -> Result<bool, Error> {
        match self.file.read(&mut self.bytes[self.n_held..]) {
            Ok(0) => Err(Error::lost(&self.info.identity, "the device is gone")),
            Ok(n) => {
                self.n_held += n;
                Ok(self.n_held >= self.n_bytes)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(false)
            }
            Err(e) => Err(Error::lost(&self.info.identity, e.to_string())),
        }
    }

    /// Decodes the whole scans at hand, read `now`, into `frame`; gives the samples lost before the
    /// first.
    fn decode(&mut self, frame: &mut Frame, now: Span) -> u64 {
        let n_whole = self.n_held / self.n_bytes * self.n_bytes;
        let mut n_lost = 0;
        for scan in self.bytes[..n_whole].chunks_exact(self.n_bytes) {
            if let Some((offset, storage)) = self.stamp {
                let stamp = storage.value(&scan[offset..]);
                let lag = now.0.saturating_sub(stamp);
                if self.is_steady || lag >= self.least_lag.saturating_sub(STAMP_SLACK.0) {
                    n_lost += missing(self.last_stamp, stamp, self.info.rate_hz);
                }
                let was_set_back = self.last_stamp.is_some_and(|last| stamp < last);
                self.least_lag = if was_set_back { lag } else { self.least_lag.min(lag) };
                self.last_stamp = Some(stamp);
            }
            for axis in &self.axes {
                for k in 0..axis.storage.repeat {
                    let raw = axis.storage.value(&scan[axis.offset + k * axis.storage.n_bytes..]);
                    frame.samples.push(((raw as f64 + axis.raw_offset) * axis.scale) as f32);
                }
            }
        }
        self.bytes.copy_within(n_whole..self.n_held, 0);
        self.n_held -= n_whole;
        n_lost
    }
}

/// Samples missing between two time stamps in nanoseconds.
fn missing(last: Option<i64>, stamp: i64, rate_hz: f64) -> u64 {
    let Some(last) = last else { return 0 };
    let steps = stamp.saturating_sub(last) as f64 * 1e-9 * rate_hz;
    if steps > 1.5 { steps.round() as u64 - 1 } else { 0 }
}

impl Drop for Iio {
    fn drop(&mut self) {
        // A device that is gone cannot be switched off, and need not be.
        drop(self.found.set("buffer/enable", "0"));
    }
}

impl Source for Iio {
    fn info(&self) -> &Info {
        &self.info
    }

    fn rate_ppm(&self) -> Option<f64> {
        self.timeline.ppm()
    }

    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error> {
        Timeline::clear(frame, &self.info);
        let ready = wait::readable(self.file.as_fd(), PATIENCE)
            .map_err(|e| Error::lost(&self.info.identity, e.to_string()))?;
        let got = match ready {
            Ready::Readable => self.fill()?,
            Ready::Quiet => false,
            Ready::Gone => return Err(Error::lost(&self.info.identity, "the device is gone")),
        };
        let now = self.clock.monotonic();
        if !got {
            let silent = now - self.heard;
            if silent > LOST_AFTER {
                let why = format!(
                    "no samples for {:.1} s: the device hangs, or its trigger does not run",
                    silent.as_secs()
                );
                return Err(Error::lost(&self.info.identity, why));
            }
            return Ok(Read::Quiet);
        }
        self.heard = now;
        let n_lost = self.decode(frame, now);
        self.timeline.stamp(frame, n_lost, now);
        Ok(Read::Frame)
    }
}

#[cfg(test)]
mod tests;
