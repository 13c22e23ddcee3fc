//! `auscult replay`: recordings through the same pipeline as `run`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};

use super::print;
use crate::acquire::{Paced, Read, Source};
use crate::config::Config;
use crate::daemon::keep::{Keeper, Recording};
use crate::daemon::network::Teller;
use crate::daemon::{Back, Front, Machine, Sink, SystemClock};
use crate::pipeline::{Memory, Tick};
use crate::publish::{self, ClockQuality, Identity};
use crate::store::Epoch;
use crate::types::{Alert, Clock, Frame, Span, Unit};

/// Play recordings through the pipeline of `run`; alerts come as JSON lines
///
/// The same input and configuration give the same bytes, at any speed. Learning starts from nothing.
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult replay --config auscult.toml pump-1/drive-end=march.wav\n\n\
    Recordings of one sensor are played one after the other, those of several side by side."
)]
pub(super) struct Args {
    /// The configuration
    #[arg(long)]
    config: PathBuf,
    /// `max`, `real`, or how many times real time, as `x10`
    #[arg(long, default_value = "max", value_parser = speed)]
    speed: Speed,
    /// Publish to the configured broker as well
    #[arg(long)]
    publish: bool,
    /// Recordings: FILE where there is one sensor, else ASSET/SENSOR=FILE; none: those configured
    #[arg(value_name = "RECORDING")]
    recordings: Vec<String>,
}

/// How fast recordings are played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Speed {
    Max,
    Times(f64),
}

fn speed(text: &str) -> Result<Speed, String> {
    let times = text.strip_prefix('x').and_then(|it| it.parse::<f64>().ok());
    match (text, times) {
        ("max", _) => Ok(Speed::Max),
        ("real", _) => Ok(Speed::Times(1.0)),
        (_, Some(times)) if times > 0.0 && times.is_finite() => Ok(Speed::Times(times)),
        _ => Err("write max, real, or xN with N above 0".to_owned()),
    }
}

/// The recordings of one sensor, one after the other on one clock.
pub(super) struct Track {
    place: (usize, usize),
    files: VecDeque<PathBuf>,
    source: Option<Box<dyn Source>>,
    frame: Frame,
    is_ready: bool,
    /// Added to a recording's own stamps, so that it does not begin before the last one ended.
    shift: Span,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = Config::load(&args.config)?;
    let mut epoch = Epoch::default();
    epoch.0.copy_from_slice(&config.digest.0[..16]);
    let identity = Identity { epoch, ..config.identity(ClockQuality::Recording) };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut tracks = tracks(&config, &args.recordings)?;
    let mut machines = machines(&config)?;
    let folder = std::env::temp_dir().join(format!("auscult-replay-{}", std::process::id()));
    config.store.dir.clone_from(&folder);
    config.store.epoch = Some(epoch);
    let mut out = Out { identity, behind: None };
    let mut back = None;
    if args.publish {
        ensure!(config.mqtt.is_some(), "--publish needs a table [mqtt] in the configuration");
        let office = config.office(ClockQuality::Recording, Arc::clone(&clock));
        let (started, Front { keeper, teller, .. }) = Back::start(office)?;
        out.behind = Some((keeper, teller));
        back = Some(started);
    }
    let played = play(&config, &mut tracks, &mut machines, args.speed, &clock, &mut out);
    out.behind = None;
    if let Some(back) = back {
        await_delivery(&back, &*clock);
        let left: u64 = back.kept().counts.rows.iter().sum();
        back.stop();
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        ensure!(left == 0, "{left} alerts were not taken by the broker");
    }
    played
}

/// Longest wait for the broker at the end of a replay.
const DELIVERY: Span = Span(60_000_000_000);

fn await_delivery(back: &Back, clock: &dyn Clock) {
    let until = clock.monotonic() + DELIVERY;
    while back.kept().counts.rows.iter().sum::<u64>() > 0 && clock.monotonic() < until {
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

/// Which recordings belong to which sensor; without any, those the configuration names.
pub(super) fn tracks(config: &Config, recordings: &[String]) -> anyhow::Result<Vec<Track>> {
    let mut tracks: Vec<Track> = Vec::new();
    let mut add = |place: (usize, usize), file: &Path| {
        let track = tracks.iter_mut().find(|track| track.place == place);
        match track {
            Some(track) => track.files.push_back(file.to_owned()),
            None => tracks.push(Track::new(config, place, file)),
        }
    };
    for recording in recordings {
        let (name, file) = match recording.split_once('=') {
            Some((name, file)) => (Some(name), file),
            None => (None, recording.as_str()),
        };
        let place = config.find(name).map_err(|why| anyhow!("{recording}: {why}"))?;
        add(place, Path::new(file));
    }
    if recordings.is_empty() {
        for (asset_idx, asset) in config.assets.iter().enumerate() {
            for (sensor_idx, sensor) in asset.sensors.iter().enumerate() {
                if let Some(recording) = sensor.recording() {
                    add((asset_idx, sensor_idx), &recording.path);
                }
            }
        }
    }
    if tracks.is_empty() {
        bail!("no recording: name one, or configure a source of type \"recording\"");
    }
    tracks.sort_by_key(|track| track.place);
    Ok(tracks)
}

impl Track {
    fn new(config: &Config, place: (usize, usize), file: &Path) -> Self {
        let asset = &config.assets[place.0];
        let origin = asset.origin(&asset.sensors[place.1]);
        Self {
            place,
            files: VecDeque::from([file.to_owned()]),
            source: None,
            frame: Frame::empty(origin, 1.0, Unit::FullScale, 1),
            is_ready: false,
            shift: Span(0),
        }
    }

    /// Makes the next frame ready; tells `true` as often as a recording has ended.
    fn advance(
        &mut self,
        config: &Config,
        speed: Speed,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<bool> {
        while !self.is_ready {
            let Some(source) = &mut self.source else {
                let Some(file) = self.files.pop_front() else { return Ok(false) };
                self.source = Some(self.open(config, file, speed, clock)?);
                continue;
            };
            let last_end =
                self.frame.start + Span::from_secs(self.frame.len() as f64 / self.frame.rate_hz);
            let is_first = self.frame.is_empty() || self.frame.origin.n_samples == 0;
            match source.read(&mut self.frame)? {
                Read::Frame => {
                    if !is_first && self.frame.start + self.shift < last_end {
                        self.shift = last_end - self.frame.start;
                    }
                    self.frame.start = self.frame.start + self.shift;
                    self.is_ready = true;
                }
                Read::Quiet => {}
                Read::End => {
                    source.notes().iter().for_each(|note| tracing::warn!("{note}"));
                    self.source = None;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn open(
        &self,
        config: &Config,
        file: PathBuf,
        speed: Speed,
        clock: &Arc<dyn Clock>,
    ) -> anyhow::Result<Box<dyn Source>> {
        let asset = &config.assets[self.place.0];
        let sensor = &asset.sensors[self.place.1];
        let source = sensor.reading(file).open(asset.origin(sensor), clock)?;
        Ok(match speed {
            Speed::Max => source,
            Speed::Times(times) => Box::new(Paced::new(source, Arc::clone(clock), times)),
        })
    }
}

/// Every machine of the configuration, knowing nothing yet.
pub(super) fn machines(config: &Config) -> anyhow::Result<Vec<Machine>> {
    let machine = |asset: &crate::config::Asset| {
        let lane = |sensor| {
            let sensor: &crate::config::Sensor = sensor;
            Ok((sensor.id.as_str().into(), config.make_lane(sensor)?))
        };
        let lanes = asset.sensors.iter().map(lane).collect::<Result<_, String>>()?;
        Ok(Machine::new(&asset.id, asset.make_pipeline(), lanes, Memory::default()))
    };
    config.assets.iter().map(machine).collect::<Result<_, String>>().map_err(|why| anyhow!(why))
}

/// Plays the tracks side by side, always the frame that began first.
pub(super) fn play(
    config: &Config,
    tracks: &mut [Track],
    machines: &mut [Machine],
    speed: Speed,
    clock: &Arc<dyn Clock>,
    sink: &mut impl Sink,
) -> anyhow::Result<()> {
    loop {
        for track in tracks.iter_mut() {
            let (asset_idx, lane_idx) = track.place;
            while track.advance(config, speed, clock)? {
                machines[asset_idx].finish(lane_idx, sink);
            }
        }
        let ready = tracks.iter_mut().filter(|track| track.is_ready);
        let Some(track) = ready.min_by_key(|track| track.frame.start) else { return Ok(()) };
        let (asset_idx, lane_idx) = track.place;
        machines[asset_idx].frame(lane_idx, &mut track.frame, sink);
        if let Some(why) = machines[asset_idx].refusals().next() {
            bail!(why);
        }
        track.is_ready = false;
    }
}

/// Alerts to standard output, everything to the back office if there is one.
struct Out {
    identity: Identity,
    behind: Option<(Keeper, Teller)>,
}

impl Sink for Out {
    fn tick(&mut self, tick: &Tick<'_>) {
        if let Some((_, teller)) = &mut self.behind {
            teller.tick(tick, || tick.open_alerts());
        }
    }

    fn alerts(&mut self, asset: &Arc<str>, alerts: Vec<Alert>, alarms: Vec<u8>) {
        for alert in &alerts {
            let line = publish::alert(&self.identity, alert);
            print::line(String::from_utf8_lossy(&line));
        }
        if let Some((keeper, _)) = &self.behind {
            keeper.alerts(Arc::clone(asset), alerts, alarms);
        }
    }

    fn learned(&mut self, _asset: &Arc<str>, _memory: Vec<u8>) {}

    fn recording(&mut self, _recording: Recording) -> bool {
        false
    }
}
