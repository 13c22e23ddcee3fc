//! `auscult devices`: what can be listened to, by the names that stay, and how loud it is.

use std::path::PathBuf;
use std::sync::Arc;

use super::print;
use crate::acquire::{self, Device, Offer, Read, SoundConfig, Source};
use crate::config::Config;
use crate::daemon::SystemClock;
use crate::types::{Clock, Frame, Origin, Span, Unit};

/// List the inputs of this box by the names that stay, optionally with their level
#[derive(clap::Args)]
#[command(after_help = "Example: auscult devices --meter --seconds 5\n\n\
    With --config the meter shows the configured sensors in their own units.")]
pub(super) struct Args {
    /// One JSON document; with --meter one line per second and input
    #[arg(long)]
    json: bool,
    /// Show the level of every sound input once a second
    #[arg(long)]
    meter: bool,
    /// How long to show it
    #[arg(long, default_value_t = 10, value_name = "N")]
    seconds: u32,
    /// Show the sensors of this configuration instead, calibrated
    #[arg(long, requires = "meter", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(serde::Serialize)]
struct Told<'a> {
    device: &'a str,
    r#type: &'a str,
    name: &'a str,
    rates_hz: &'a [(f64, f64)],
    channels_min: usize,
    channels_max: usize,
    channel_names: &'a [String],
    formats: &'a [String],
    trouble: Option<&'a str>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if args.meter {
        return meter(args);
    }
    let found = inputs();
    if args.json {
        return print::json(&found.iter().map(told).collect::<Vec<_>>());
    }
    if found.is_empty() {
        print::line("no input found");
        print::aside(NOTHING);
        return Ok(());
    }
    let width = |of: fn(&Device) -> &str| found.iter().map(|it| of(it).len()).max().unwrap_or(0);
    let (device, name) = (width(|it| &it.identity), width(|it| &it.name));
    print::line(format_args!("{:5}  {:device$}  {:name$}  offers", "type", "device", "name"));
    for it in &found {
        let offer = match &it.offer {
            Ok(offer) => offer.to_string(),
            Err(why) => format!("cannot be asked now: {why}"),
        };
        let Device { identity, kind, name: called, .. } = it;
        print::line(format_args!("{kind:5}  {identity:device$}  {called:name$}  {offer}"));
    }
    Ok(())
}

/// What can be listened to; ALSA's `null` gives nothing but zeros.
pub(super) fn inputs() -> Vec<Device> {
    acquire::devices().into_iter().filter(|it| it.identity != "pcm:null").collect()
}

/// What to try where no input is seen.
pub(super) const NOTHING: &str = "\
  sound cards and USB sensors: plug one in, then type `arecord -l`
  not listed there: `lsusb`, `dmesg | tail`
  listed there but not here: `sudo usermod -aG audio $USER`, then log in again
  IIO accelerometers: `ls /sys/bus/iio/devices`, and install systemd/99-auscult.rules
  none at all: `auscult demo` needs no hardware";

fn told(device: &Device) -> Told<'_> {
    const NONE: &Offer = &Offer {
        rates_hz: Vec::new(),
        n_channels: (0, 0),
        channels: Vec::new(),
        formats: Vec::new(),
    };
    let (offer, trouble) = match &device.offer {
        Ok(offer) => (offer, None),
        Err(why) => (NONE, Some(why.as_str())),
    };
    Told {
        device: &device.identity,
        r#type: device.kind,
        name: &device.name,
        rates_hz: &offer.rates_hz,
        channels_min: offer.n_channels.0,
        channels_max: offer.n_channels.1,
        channel_names: &offer.channels,
        formats: &offer.formats,
        trouble,
    }
}

/// One input and what came of it in this second.
struct Ear {
    name: String,
    source: Box<dyn Source>,
    /// Units at full scale, one for each channel or one for all; empty where nobody knows.
    full_scale: Vec<f64>,
    levels: Vec<Level>,
}

#[derive(Clone, Copy, Default)]
struct Level {
    n: u64,
    sum: f64,
    squares: f64,
    peak: f64,
}

impl Level {
    fn add(&mut self, x: f32) {
        let x = f64::from(x);
        self.n += 1;
        self.sum += x;
        self.squares += x * x;
        self.peak = self.peak.max(x.abs());
    }

    /// RMS about the mean: gravity and offsets are no signal.
    fn rms(&self) -> f64 {
        let n = self.n.max(1) as f64;
        (self.squares / n - (self.sum / n).powi(2)).max(0.0).sqrt()
    }
}

#[derive(serde::Serialize)]
struct Heard<'a> {
    device: &'a str,
    channel: usize,
    samples: u64,
    unit: &'static str,
    rms: f64,
    peak: f64,
    rms_dbfs: Option<f64>,
    peak_dbfs: Option<f64>,
}

fn meter(args: &Args) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut ears = match &args.config {
        Some(path) => configured(&Config::load(path)?, &clock),
        None => unconfigured(&clock),
    };
    if ears.is_empty() {
        print::aside(NOTHING);
        anyhow::bail!("there is no input to listen to");
    }
    let mut frame = Frame::empty(Origin::new("", ""), 1.0, Unit::FullScale, 1);
    let mut next = clock.monotonic() + Span::from_secs(1.0);
    for _ in 0..args.seconds {
        while clock.monotonic() < next && !ears.is_empty() {
            ears.retain_mut(|ear| ear.listen(&mut frame));
        }
        next = next + Span::from_secs(1.0);
        for ear in &mut ears {
            ear.show(args.json)?;
        }
    }
    Ok(())
}

/// The sensors of a configuration.
fn configured(config: &Config, clock: &Arc<dyn Clock>) -> Vec<Ear> {
    let mut ears = Vec::new();
    for asset in &config.assets {
        for sensor in &asset.sensors {
            let full_scale = match &sensor.source {
                acquire::Config::Sound(it) if !it.calibrate_from_name => {
                    it.units_per_full_scale.clone()
                }
                _ => Vec::new(),
            };
            let opened = sensor.source.open(asset.origin(sensor), clock);
            ears.extend(Ear::new(format!("{}/{}", asset.id, sensor.id), opened, full_scale));
        }
    }
    ears
}

/// Every sound input as it comes: fractions of full scale.
fn unconfigured(clock: &Arc<dyn Clock>) -> Vec<Ear> {
    let of = |device: &Device| {
        let offer = device.offer.as_ref().ok().filter(|_| device.kind == "sound")?;
        let config = SoundConfig {
            device: device.identity.clone(),
            rate_hz: usual_rate(offer)?,
            channels: u16::try_from(offer.n_channels.1.min(2)).unwrap_or(1),
            ..SoundConfig::default()
        };
        let origin = Origin::new("", &device.identity);
        let opened = acquire::Config::Sound(config).open(origin, clock);
        Ear::new(device.identity.clone(), opened, vec![1.0])
    };
    inputs().iter().filter_map(of).collect()
}

/// 48 kHz where it is offered, else the nearest to it.
fn usual_rate(offer: &Offer) -> Option<u32> {
    const USUAL_HZ: f64 = 48_000.0;
    let nearest = |&(low, high): &(f64, f64)| USUAL_HZ.clamp(low, high);
    let off = |rate: &f64| (rate - USUAL_HZ).abs();
    let rates = offer.rates_hz.iter().map(nearest);
    rates.min_by(|a, b| off(a).total_cmp(&off(b))).map(|rate| rate as u32)
}

impl Ear {
    fn new(
        name: String,
        opened: Result<Box<dyn Source>, acquire::Error>,
        full_scale: Vec<f64>,
    ) -> Option<Self> {
        match opened {
            Ok(source) => {
                let levels = vec![Level::default(); source.info().n_channels];
                Some(Self { name, source, full_scale, levels })
            }
            Err(why) => {
                print::aside(format_args!("{name}: {why}"));
                None
            }
        }
    }

    /// Takes in what there is; whether there may be more.
    fn listen(&mut self, frame: &mut Frame) -> bool {
        match self.source.read(frame) {
            Ok(Read::Frame) => {
                for row in frame.samples.chunks_exact(frame.n_channels) {
                    row.iter().zip(&mut self.levels).for_each(|(x, level)| level.add(*x));
                }
                true
            }
            Ok(read) => read == Read::Quiet,
            Err(why) => {
                print::aside(&why);
                false
            }
        }
    }

    fn show(&mut self, as_json: bool) -> anyhow::Result<()> {
        let unit = self.source.info().unit.name();
        for (channel, level) in self.levels.iter_mut().enumerate() {
            let full = self.full_scale.get(channel).or(self.full_scale.first());
            let db = |value: f64| {
                full.filter(|_| value > 0.0).map(|full| 20.0 * (value / full.abs()).log10())
            };
            let (rms, peak) = (level.rms(), level.peak);
            let heard = Heard {
                device: &self.name,
                channel,
                samples: level.n,
                unit,
                rms,
                peak,
                rms_dbfs: db(rms),
                peak_dbfs: db(peak),
            };
            if as_json {
                print::json(&heard)?;
            } else {
                print::line(heard);
            }
            *level = Level::default();
        }
        Ok(())
    }
}

impl std::fmt::Display for Heard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, channel, samples, unit, rms, peak, rms_dbfs, peak_dbfs } = self;
        if *samples == 0 {
            return write!(f, "{device} channel {channel}: silent, not a sample came");
        }
        write!(f, "{device} channel {channel}: rms {rms:.4e} {unit}, peak {peak:.4e} {unit}")?;
        if let (Some(rms), Some(peak)) = (rms_dbfs, peak_dbfs) {
            let bar = ((rms + 90.0) / 3.0).clamp(0.0, 30.0) as usize;
            write!(f, ", {rms:6.1} / {peak:6.1} dBFS  {}", "#".repeat(bar))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_a_sine_on_an_offset_is_its_own() {
        let mut level = Level::default();
        for k in 0..48_000 {
            let angle = 2.0 * std::f64::consts::PI * 100.0 * f64::from(k) / 48_000.0;
            level.add((9.81 + 0.5 * angle.sin()) as f32);
        }
        assert!((level.rms() - 0.5 / 2f64.sqrt()).abs() < 1e-4, "{}", level.rms());
        assert!((level.peak - 10.31).abs() < 1e-4);
    }

    #[test]
    fn the_nearest_rate_to_48_khz_is_taken() {
        let check = |rates_hz: &[(f64, f64)], expect: Option<u32>| {
            let offer = Offer { rates_hz: rates_hz.to_vec(), ..Offer::default() };
            assert_eq!(usual_rate(&offer), expect);
        };
        check(&[(8000.0, 192_000.0)], Some(48_000));
        check(&[(8000.0, 8000.0), (44_100.0, 44_100.0)], Some(44_100));
        check(&[(96_000.0, 192_000.0)], Some(96_000));
        check(&[], None);
    }
}
