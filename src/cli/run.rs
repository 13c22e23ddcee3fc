//! `auscult run`: the appliance.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Bug;
use crate::config::{Bundles, Choice, Config};
use crate::daemon::{Daemon, SystemClock};
use crate::publish::ClockQuality;
use crate::types::{Clock, Digest};

/// Listen, and publish what is found, until told to stop
#[derive(clap::Args)]
#[command(after_help = "Example: auscult run --config /etc/auscult/auscult.toml\n\n\
    SIGHUP reads the configuration again: a bad file changes nothing and says why.\n\
    With --state, a configuration that has run ten minutes is kept with its models, and runs\n\
    instead of one that has mistakes or has failed at three starts; the status says so.\n\
    SIGTERM and Ctrl-C stop in order; a second one at once.")]
pub(super) struct Args {
    /// The configuration
    #[arg(long)]
    config: PathBuf,
    /// Folder where the last good configuration is kept; systemd names one
    #[arg(long, value_name = "DIR", env = "STATE_DIRECTORY")]
    state: Option<PathBuf>,
    /// Seconds after which a configuration is good
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    good_after_s: u64,
}

/// How often the box looks after itself.
const BEAT: Duration = Duration::from_millis(500);

/// Why a stretch of running ended.
enum Ended {
    Stop,
    Reload(Box<Config>),
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let bundles = args.state.as_deref().map(Bundles::new);
    let mut asked = Config::load(&args.config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _entered = runtime.enter();
    let mut signals = Signals::new().context("signals")?;
    loop {
        let Choice { config, trial, instead } = match &bundles {
            Some(bundles) => bundles.choose(&args.config, asked)?,
            None => Choice { config: asked?, trial: None, instead: None },
        };
        let mut daemon = start(&config)?;
        if let Some(instead) = instead {
            daemon.declare(instead);
        }
        tracing::info!(assets = config.assets.len(), config = %config.digest, "running");
        let on_trial = bundles.as_ref().zip(trial);
        let ended = runtime.block_on(look_after(&mut daemon, &mut signals, args, on_trial));
        match ended {
            Ok(Ended::Reload(new)) => {
                bundles.iter().for_each(Bundles::forgive);
                daemon.stop();
                asked = Ok(*new);
            }
            Ok(Ended::Stop) => {
                if let Some((bundles, _)) = on_trial {
                    bundles.forgive();
                }
                std::thread::Builder::new()
                    .name("second-signal".to_owned())
                    .spawn(move || runtime.block_on(signals.leave_at_once()))?;
                daemon.stop();
                tracing::info!("stopped");
                return Ok(());
            }
            Err(error) => {
                daemon.stop();
                return Err(error);
            }
        }
    }
}

fn start(config: &Config) -> anyhow::Result<Daemon> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let machines = config.machines(&clock).map_err(|why| anyhow!(why))?;
    Ok(Daemon::start(config.office(ClockQuality::FreeRunning, clock), machines, None)?)
}

async fn look_after(
    daemon: &mut Daemon,
    signals: &mut Signals,
    args: &Args,
    mut trial: Option<(&Bundles, Digest)>,
) -> anyhow::Result<Ended> {
    let mut beat = tokio::time::interval(BEAT);
    let good = tokio::time::sleep(Duration::from_secs(args.good_after_s));
    tokio::pin!(good);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                daemon.beat().map_err(|why| anyhow!(Bug(why)))?;
                if daemon.is_over() {
                    tracing::info!("every source has come to its end");
                    return Ok(Ended::Stop);
                }
            }
            () = &mut good, if trial.is_some() => {
                let Some((bundles, digest)) = trial.take() else { continue };
                match bundles.prove(digest) {
                    Ok(()) => tracing::info!(bundle = %digest, "this configuration is good"),
                    Err(error) => tracing::warn!(%error, "this configuration cannot be kept"),
                }
            }
            _ = signals.hangup.recv() => match Config::load(&args.config) {
                Ok(config) => return Ok(Ended::Reload(Box::new(config))),
                Err(error) => tracing::error!("the old configuration runs on:\n{error}"),
            },
            _ = signals.terminate.recv() => return Ok(Ended::Stop),
            _ = signals.interrupt.recv() => return Ok(Ended::Stop),
        }
    }
}

/// What the system may tell us.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Once stopping: the next signal ends it at once.
    async fn leave_at_once(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        std::process::exit(1);
    }
}
