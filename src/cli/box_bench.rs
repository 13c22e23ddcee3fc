//! `auscult run` itself as a child, measured from outside: memory, and start with a full store.

use std::fmt::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::store::{self, Change, Class, Core, EventId, NewRow, Rank};
use crate::types::{Clock, Span, Stamp};

/// Channels of 48 kHz sound in real time while memory is measured.
const N_CHANNELS: usize = 4;
/// How long it runs before memory is read.
const SETTLE: Duration = Duration::from_secs(10);
/// Alerts in the store at the start that is timed.
const N_ALERTS: u64 = 100_000;
/// Rows kept in one transaction, and bytes of each: as a short alert.
const BATCH: u64 = 2000;
const ROW_BYTES: usize = 600;
/// Longest a start may take.
const START_MAX: Duration = Duration::from_secs(30);

/// What the whole program takes.
#[derive(serde::Serialize)]
pub(super) struct Whole {
    /// Channels it was listening to, at 48 kHz.
    channels: usize,
    /// Resident memory after some seconds, and the most it ever was, KiB.
    resident_kib: u64,
    resident_peak_kib: u64,
    /// From the first instruction to ready, with an empty store and with so many alerts kept, s.
    start_empty_s: f64,
    start_full_s: f64,
    alerts: u64,
}

impl std::fmt::Display for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { channels, resident_kib, resident_peak_kib, start_empty_s, start_full_s, alerts } =
            self;
        let mib = |kib: &u64| *kib as f64 / 1024.0;
        writeln!(
            f,
            "memory: {:.1} MiB resident, {:.1} at its peak ({channels} channels of 48 kHz sound)",
            mib(resident_kib),
            mib(resident_peak_kib)
        )?;
        write!(
            f,
            "start to ready: {start_empty_s:.3} s, {start_full_s:.3} s with {alerts} alerts kept"
        )
    }
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A child that ends when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub(super) fn whole(clock: &dyn Clock) -> anyhow::Result<Whole> {
    let folder = Folder(std::env::temp_dir().join(format!("auscult-bench-{}", std::process::id())));
    store::make_dir(&folder.0)?;
    let file = folder.0.join("auscult.toml");
    store::replace(&file, configuration().as_bytes())?;
    let (start_empty_s, running) = start(&folder.0, &file, clock)?;
    std::thread::park_timeout(SETTLE);
    let resident_kib = memory_kib(running.0.id(), "VmRSS:")?;
    let resident_peak_kib = memory_kib(running.0.id(), "VmHWM:")?;
    drop(running);
    fill(&folder.0.join("store"))?;
    let (start_full_s, running) = start(&folder.0, &file, clock)?;
    drop(running);
    Ok(Whole {
        channels: N_CHANNELS,
        resident_kib,
        resident_peak_kib,
        start_empty_s,
        start_full_s,
        alerts: N_ALERTS,
    })
}

fn configuration() -> String {
    let mut text = "site = \"bench\"\ngateway = \"bench\"\n[store]\ndir = \"store\"\n".to_owned();
    for idx in 0..N_CHANNELS {
        write!(
            text,
            "[[asset]]\nid = \"m{idx}\"\n[[asset.sensor]]\nid = \"s\"\nkind = \"sound\"\n\
             [asset.sensor.source]\ntype = \"synth\"\nkind = \"sound\"\nrate_hz = 48000.0\n\
             seed = {idx}\npace = \"real\"\n"
        )
        .expect("a text takes everything");
    }
    text
}

/// Starts `auscult run` and waits, as systemd does, until it says that it is ready.
fn start(folder: &Path, file: &Path, clock: &dyn Clock) -> anyhow::Result<(f64, Running)> {
    let address = folder.join("notify");
    drop(std::fs::remove_file(&address));
    let socket = UnixDatagram::bind(&address)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let begin = clock.monotonic();
    let mut running = Running(
        Command::new(std::env::current_exe()?)
            .args(["--log", "error", "run", "--config"])
            .arg(file)
            .env("NOTIFY_SOCKET", &address)
            .stdout(Stdio::null())
            .spawn()
            .context("auscult run")?,
    );
    let deadline = begin + Span(START_MAX.as_nanos() as i64);
    let mut message = [0; 256];
    while clock.monotonic() < deadline {
        if let Some(code) = running.0.try_wait()? {
            bail!("auscult run ended at once: {code}");
        }
        if let Ok(n) = socket.recv(&mut message)
            && String::from_utf8_lossy(&message[..n]).contains("READY=1")
        {
            return Ok(((clock.monotonic() - begin).as_secs(), running));
        }
    }
    bail!("auscult run is not ready after {} s", START_MAX.as_secs())
}

fn memory_kib(pid: u32, key: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Keeps [`N_ALERTS`] alerts that nobody has acknowledged.
fn fill(dir: &Path) -> anyhow::Result<()> {
    let config = store::Config { dir: dir.to_owned(), ..store::Config::default() };
    let (mut core, _) = Core::open(&config)?;
    let row = |n: u64| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_le_bytes());
        Change::Row(NewRow {
            id: EventId(id),
            life: EventId(id),
            class: Class::Alert,
            rank: Rank::Landmark,
            at: Stamp(n as i64),
            topic: "auscult/v1/bench/bench/m0/alert".to_owned(),
            payload: vec![b' '; ROW_BYTES],
        })
    };
    for first in (0..N_ALERTS).step_by(BATCH as usize) {
        core.commit(&(first..first + BATCH).map(row).collect::<Vec<_>>())?;
    }
    let kept: u64 = core.counts().rows.iter().sum();
    anyhow::ensure!(kept == N_ALERTS, "only {kept} of {N_ALERTS} alerts are kept");
    Ok(())
}
