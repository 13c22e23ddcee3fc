//! `auscult learn`: what is normal here, from recordings or by listening now.

use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::{print, replay};
use crate::config::Config;
use crate::daemon::keep::{Recording, Vault};
use crate::daemon::{Machine, Sink, SystemClock, capture};
use crate::detect::LearnReport;
use crate::pipeline::Tick;
use crate::store::Baselines;
use crate::types::{Alert, Clock};

/// Learn what is normal, from recordings of the healthy machine or by listening to it now
///
/// What is learned takes the place of what was learned before; that is kept beside it.
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult learn --config auscult.toml --asset pump-1 monday.wav tuesday.wav"
)]
pub(super) struct Args {
    /// The configuration
    #[arg(long)]
    config: PathBuf,
    /// Only this asset
    #[arg(long, value_name = "ID")]
    asset: Option<String>,
    /// Listen for this long when learning live, instead of the configured `learn_s`
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// One JSON document per sensor
    #[arg(long)]
    json: bool,
    /// Recordings: FILE, or ASSET/SENSOR=FILE where there are several; none: listen now
    #[arg(value_name = "RECORDING")]
    recordings: Vec<String>,
}

/// What came of one sensor's learning.
#[derive(serde::Serialize)]
struct Learned<'a> {
    asset: &'a str,
    sensor: &'a str,
    kept: usize,
    refused: Vec<(&'a str, usize)>,
    regimes: usize,
    baseline_suspect: Option<&'a str>,
    supports_false_alarms_per_year: Option<f64>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut config = Config::load(&args.config)?;
    if let Some(id) = &args.asset {
        config.assets.retain(|asset| asset.id == *id);
        if config.assets.is_empty() {
            bail!("no asset `{id}` in {}", args.config.display());
        }
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    // Held to the end: an appliance that runs on this store is not to be overwritten.
    let _store = Vault::open(&config.store)?;
    let baselines = Baselines::open(&config.store.dir)?;
    let mut machines = replay::machines(&config)?;
    let mut ear = Progress::new(args, &config);
    if args.recordings.is_empty() {
        listen(args, &config, &mut machines, &clock, &mut ear)?;
    } else {
        let recordings: Vec<String> = match &args.asset {
            Some(asset) => args.recordings.iter().map(|it| within(asset, it)).collect(),
            None => args.recordings.clone(),
        };
        let mut tracks = replay::tracks(&config, &recordings)?;
        let speed = replay::Speed::Max;
        replay::play(&config, &mut tracks, &mut machines, speed, &clock, &mut ear)?;
    }
    ear.bar.finish_and_clear();
    for machine in &mut machines {
        let reports = machine.finish_learning();
        for (sensor, report) in &reports {
            tell(args, machine.asset(), sensor, report)?;
        }
        if reports.iter().any(|(_, report)| report.n_kept > 0) {
            baselines.save(machine.asset(), &machine.remembered())?;
        }
    }
    Ok(())
}

/// A recording of the one asset asked for may leave the asset's name out.
fn within(asset: &str, recording: &str) -> String {
    match recording.split_once('=') {
        Some((name, _)) if name.starts_with(asset) => recording.to_owned(),
        Some((sensor, file)) => format!("{asset}/{sensor}={file}"),
        None => format!("{asset}={recording}"),
    }
}

fn tell(args: &Args, asset: &str, sensor: &str, report: &LearnReport) -> anyhow::Result<()> {
    let LearnReport { n_kept, refused, n_regimes, suspect, supports_per_year } = report;
    let learned = Learned {
        asset,
        sensor,
        kept: *n_kept,
        refused: refused.clone(),
        regimes: *n_regimes,
        baseline_suspect: suspect.as_deref(),
        supports_false_alarms_per_year: *supports_per_year,
    };
    if args.json {
        return print::json(&learned);
    }
    print::line(format_args!("{asset}/{sensor}: {n_kept} windows kept, {n_regimes} regime(s)"));
    for (why, n) in refused.iter().filter(|(_, n)| *n > 0) {
        print::line(format_args!("  {n} refused: {why}"));
    }
    if let Some(why) = suspect {
        print::line(format_args!(
            "  BASELINE SUSPECT: {why}; look at the machine before trusting it"
        ));
    }
    match supports_per_year {
        Some(n) => print::line(format_args!("  supports a budget of {n:.3} false alarms a year")),
        None => print::line("  too short to support a budget; limits and zones hold all the same"),
    }
    Ok(())
}

/// Listens to every sensor until each has learned, or the time is over.
fn listen(
    args: &Args,
    config: &Config,
    machines: &mut [Machine],
    clock: &Arc<dyn Clock>,
    ear: &mut Progress,
) -> anyhow::Result<()> {
    let mut inputs = Vec::new();
    for (asset_idx, asset) in
        config.machines(clock).map_err(|why| anyhow!(why))?.into_iter().enumerate()
    {
        for (lane_idx, sensor) in asset.ears.into_iter().enumerate() {
            let (handle, consumer) =
                capture::spawn(sensor.settings, Arc::clone(clock), sensor.open, || {})?;
            inputs.push((asset_idx, lane_idx, handle, consumer, 0.0));
        }
    }
    let until_s = |asset_idx: usize, lane_idx: usize| {
        args.seconds.unwrap_or(config.assets[asset_idx].sensors[lane_idx].detect.learn_s)
    };
    loop {
        let mut is_over = true;
        for (asset_idx, lane_idx, handle, consumer, heard_s) in &mut inputs {
            while let Some(item) = consumer.pop() {
                match item {
                    capture::Item::Frame(mut frame) => {
                        *heard_s += frame.len() as f64 / frame.rate_hz;
                        machines[*asset_idx].frame(*lane_idx, &mut frame, ear);
                        consumer.recycle(frame);
                    }
                    capture::Item::Lost(why) => tracing::warn!(why, "sensor lost"),
                    capture::Item::Ended(Err(why)) => bail!(why),
                    _ => {}
                }
            }
            if *heard_s >= until_s(*asset_idx, *lane_idx) {
                handle.stop();
            } else {
                is_over &= consumer.is_closed();
            }
            ear.bar.set_position(*heard_s as u64);
        }
        if is_over {
            return Ok(());
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}

/// Shows how far it is; keeps nothing but what the machines learn.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(args: &Args, config: &Config) -> Self {
        let sensors = config.assets.iter().flat_map(|asset| &asset.sensors);
        let longest = sensors.map(|it| it.detect.learn_s).fold(0.0, f64::max);
        let bar = if args.recordings.is_empty() && stderr().is_terminal() {
            ProgressBar::new(args.seconds.unwrap_or(longest) as u64)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("listening [{bar:30}] {pos}/{len} s, {eta} left");
        bar.set_style(style.expect("the template is a constant"));
        Self { bar }
    }
}

impl Sink for Progress {
    fn tick(&mut self, _tick: &Tick<'_>) {}

    fn alerts(&mut self, asset: &Arc<str>, alerts: Vec<Alert>, _alarms: Vec<u8>) {
        for alert in alerts {
            tracing::warn!(%asset, message = alert.message, "while learning");
        }
    }

    fn learned(&mut self, _asset: &Arc<str>, _memory: Vec<u8>) {}

    fn recording(&mut self, _recording: Recording) -> bool {
        false
    }
}
