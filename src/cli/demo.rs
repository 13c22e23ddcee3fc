//! `auscult demo`: the main job on this box alone, no hardware, no configuration.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::print;
use crate::config::Config;
use crate::daemon::{Daemon, SystemClock};
use crate::publish::ClockQuality;
use crate::types::{Clock, Span};

/// A recorded bearing's life, made by the synthetic machine and shipped in `fixtures/`.
const LIFE: &[u8] = include_bytes!("../../fixtures/outer_race_wear.wav");
/// What it was recorded with.
const LIFE_SIDECAR: &[u8] = include_bytes!("../../fixtures/outer_race_wear.wav.json");
/// Longest wait for the broker, and for the last alerts to arrive.
const PATIENCE: Span = Span(10_000_000_000);
const NAP: Duration = Duration::from_millis(50);

/// Watch auscult at work on a recording and on a synthetic machine that wears out
#[derive(clap::Args)]
#[command(after_help = "Example: auscult demo --seconds 60\n\n\
    Starts a private MQTT broker (mosquitto) on a free port of this machine and stops it at the end.")]
pub(super) struct Args {
    /// End by itself after so many seconds at the most, with a summary; else when Ctrl-C is pressed
    #[arg(long)]
    seconds: Option<u64>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let broker = Broker::start(&folder.0, &*clock)?;
    let listener = Listener::start(broker.port)?;
    let path = folder.0.join("demo.toml");
    let config = Config::parse(&path, &configuration(&folder.0, broker.port)?)?;
    print::line("auscult demo: two machines, a private broker, everything on this box");
    print::line(format_args!(
        "  pump-1    a recorded bearing life: one measurement a minute, an hour in all"
    ));
    print::line(format_args!(
        "  motor-1   a synthetic motor; its outer race begins to wear after three minutes"
    ));
    print::line(format_args!("Follow it in another terminal:"));
    print::line(format_args!(
        "  mosquitto_sub -p {} -v -t 'auscult/v1/demo/box-1/#'\n",
        broker.port
    ));
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&seen);
    let on_alert = Box::new(move |alert: &crate::types::Alert| {
        if let Ok(mut told) = told.lock() {
            told.push(format!("{}/{}/{}", alert.origin.asset, alert.episode, alert.transition));
        }
    });
    let machines = config.machines(&clock).map_err(anyhow::Error::msg)?;
    let office = config.office(ClockQuality::Recording, Arc::clone(&clock));
    let mut daemon = Daemon::start(office, machines, Some(on_alert))?;
    let mut heard = Heard::default();
    let until = args.seconds.map(|seconds| clock.monotonic() + Span::from_secs(seconds as f64));
    let is_late = |now: Span| until.is_some_and(|until| now >= until);
    while !daemon.is_over() && !is_late(clock.monotonic()) {
        daemon.beat().map_err(anyhow::Error::msg)?;
        heard.take(&listener.lines, NAP);
    }
    await_delivery(&daemon, &listener, &mut heard, &*clock);
    let n_raised = seen.lock().map_or(0, |seen| seen.len());
    summary(&heard, n_raised, &daemon);
    if until.is_none() {
        print::line("The broker runs on; press Ctrl-C to end.");
        wait_for_interrupt()?;
    }
    daemon.stop();
    heard.check(n_raised)
}

/// Until the subscriber has what the outbox held.
fn await_delivery(daemon: &Daemon, listener: &Listener, heard: &mut Heard, clock: &dyn Clock) {
    let until = clock.monotonic() + PATIENCE;
    let is_owing = || daemon.kept().counts.rows.iter().sum::<u64>() > 0;
    while is_owing() && clock.monotonic() < until {
        heard.take(&listener.lines, NAP);
    }
    // What the broker has taken is on its way to the subscriber.
    heard.take(&listener.lines, Duration::from_millis(500));
}

fn summary(heard: &Heard, n_raised: usize, daemon: &Daemon) {
    print::line(format_args!(
        "\n{n_raised} alert events raised, {} received by the subscriber, each once; {} states received.",
        heard.ids.len(),
        heard.n_states,
    ));
    for (name, counts) in daemon.captured() {
        print::line(format_args!(
            "  {name}: {} samples heard, {} lost",
            counts.delivered, counts.lost
        ));
    }
}

fn wait_for_interrupt() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(tokio::signal::ctrl_c())?)
}

/// A folder of our own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("auscult-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "left behind");
        }
    }
}

fn configuration(folder: &Path, port: u16) -> anyhow::Result<String> {
    for (name, bytes) in [("life.wav", LIFE), ("life.wav.json", LIFE_SIDECAR)] {
        crate::store::replace(&folder.join(name), bytes)?;
    }
    let template = include_str!("demo.toml");
    let folder = folder.to_str().context("the temporary folder's name is not text")?;
    Ok(template.replace("@FOLDER@", folder).replace("@PORT@", &port.to_string()))
}

/// A mosquitto that belongs to us alone.
struct Broker {
    child: Child,
    port: u16,
}

impl Broker {
    fn start(folder: &Path, clock: &dyn Clock) -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut text = String::new();
        writeln!(text, "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false")?;
        let path = folder.join("mosquitto.conf");
        crate::store::replace(&path, text.as_bytes())?;
        let child = Command::new(find("mosquitto"))
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context(
                "the demo needs the broker mosquitto: apt-get install mosquitto mosquitto-clients",
            )?;
        let broker = Self { child, port };
        let until = clock.monotonic() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(clock.monotonic() < until, "mosquitto does not answer on port {port}");
            std::thread::park_timeout(NAP);
        }
        Ok(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Debian puts servers where a user's path does not look.
fn find(program: &str) -> PathBuf {
    let sbin = Path::new("/usr/sbin").join(program);
    if sbin.exists() { sbin } else { program.into() }
}

fn end(child: &mut Child) {
    // It may be gone already; then there is nothing to end.
    drop(child.kill());
    drop(child.wait());
}

/// An independent subscriber: `mosquitto_sub`.
struct Listener {
    child: Child,
    lines: Receiver<String>,
}

impl Listener {
    fn start(port: u16) -> anyhow::Result<Self> {
        let mut child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-q", "1", "-F", "%t %p", "-t", "auscult/v1/#"])
            .args(["-p", &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("the demo needs mosquitto_sub: apt-get install mosquitto-clients")?;
        let stdout = child.stdout.take().context("no output of mosquitto_sub")?;
        let (to, lines) = sync_channel(4096);
        std::thread::Builder::new().name("listener".to_owned()).spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { child, lines })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// What the subscriber received.
#[derive(Default)]
struct Heard {
    ids: HashSet<String>,
    n_twice: usize,
    n_states: usize,
    raised_for: HashSet<String>,
}

impl Heard {
    fn take(&mut self, lines: &Receiver<String>, wait: Duration) {
        while let Ok(line) = lines.recv_timeout(wait) {
            self.line(&line);
        }
    }

    fn line(&mut self, line: &str) {
        let Some((topic, payload)) = line.split_once(' ') else { return };
        if topic.ends_with("/state") {
            self.n_states += 1;
        }
        if !topic.ends_with("/alert") {
            return;
        }
        let Ok(alert) = serde_json::from_str::<Value>(payload) else { return };
        let text = |key: &str| alert[key].as_str().unwrap_or("").to_owned();
        if !self.ids.insert(text("id")) {
            self.n_twice += 1;
            return;
        }
        if text("event") == "raised" {
            self.raised_for.insert(text("asset"));
        }
        let (time, asset) = (text("ts"), text("asset"));
        let clock = time.get(11..19).unwrap_or(&time);
        print::line(format_args!("{clock}  {asset:<8} {:<9} {}", text("event"), text("message")));
        if text("event") == "raised" {
            print::line(format_args!("{:19}what to do: {}", "", text("action")));
        }
    }

    /// Both machines were told of, everything arrived, nothing twice.
    fn check(&self, n_raised: usize) -> anyhow::Result<()> {
        ensure!(self.n_twice == 0, "{} alerts arrived twice", self.n_twice);
        for asset in ["pump-1", "motor-1"] {
            ensure!(self.raised_for.contains(asset), "no alert of {asset} arrived");
        }
        if self.ids.len() != n_raised {
            bail!("{n_raised} alert events were raised, {} arrived", self.ids.len());
        }
        Ok(())
    }
}
