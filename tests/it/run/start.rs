//! Killed and started again and again with a hundred thousand alerts waiting: how soon it is ready, and what
//! it takes to get there.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use auscult::store::{Change, Class, Config, Core, EventId, NewRow, Rank};
use auscult::types::Stamp;

use super::{Appliance, auscult, config};
use crate::broker::{Broker, DEADLINE, Listener, free_port, has_mosquitto, wait_for};
use crate::rig::{Spread, tier};

/// Heard as long as the box runs.
const ENDLESS: &str =
    r#"{ type = "synth", seed = 8, rate_hz = 6400, speed_rpm = 1480, pace = "real" }"#;
/// Rows kept in one transaction, and bytes of each: as a short alert.
const BATCH: u64 = 2000;
const ROW_BYTES: usize = 600;
/// What a start may take beyond what it takes later on.
const START_KIB_MAX: u64 = 8 << 10;
const READY_BAR: Duration = Duration::from_secs(1);

/// Keeps so many alerts that nobody has acknowledged.
fn fill(store: &Path, n_alerts: u64) {
    let (mut core, _) = Core::open(&Config { dir: store.into(), ..Config::default() }).unwrap();
    let row = |n: u64| {
        let id = EventId(u128::from(n).to_be_bytes());
        let topic = "auscult/v1/lab/box-1/motor-1/alert".to_owned();
        let at = Stamp(n as i64);
        let payload = vec![b' '; ROW_BYTES];
        let (class, rank) = (Class::Alert, Rank::Landmark);
        Change::Row(NewRow { id, life: id, class, rank, at, topic, payload })
    };
    for first in (0..n_alerts).step_by(BATCH as usize) {
        core.commit(&(first..first + BATCH).map(row).collect::<Vec<_>>()).unwrap();
    }
}

/// `VmRSS` or `VmHWM`, KiB.
fn memory_kib(appliance: &Appliance, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", appliance.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// Starts the box, and waits, as systemd does, until it says that it is ready.
fn start(folder: &Path) -> (Appliance, Duration) {
    let address = folder.join("notify");
    drop(fs::remove_file(&address));
    let socket = UnixDatagram::bind(&address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let begin = Instant::now();
    let mut command = auscult(folder, &["--log", "error", "run", "--config", "auscult.toml"]);
    command.env("NOTIFY_SOCKET", &address).stdout(Stdio::null()).stderr(Stdio::null());
    let appliance = Appliance(command.spawn().unwrap());
    let mut message = [0; 256];
    loop {
        let n = socket.recv(&mut message).expect("it says that it is ready");
        if String::from_utf8_lossy(&message[..n]).contains("READY=1") {
            return (appliance, begin.elapsed());
        }
    }
}

/// Resident memory of a box with nothing to send, once it has settled.
fn settled_kib() -> u64 {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auscult.toml"), config(600, ENDLESS, None)).unwrap();
    let (appliance, _) = start(folder.path());
    std::thread::sleep(Duration::from_secs(5));
    memory_kib(&appliance, "VmRSS")
}

#[test]
fn a_hundred_thousand_alerts_waiting_do_not_keep_the_box_from_starting() {
    if !has_mosquitto() {
        return;
    }
    let n_starts = tier(3, 200, 10_000);
    let n_alerts = tier(10_000, 100_000, 100_000);
    let folder = tempfile::tempdir().unwrap();
    fill(&folder.path().join("store"), n_alerts);
    let steady_kib = settled_kib();
    let mqtt = |port: u16| format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {port}\n");
    let write = |port| {
        let text = config(600, ENDLESS, None) + &mqtt(port);
        fs::write(folder.path().join("auscult.toml"), text).unwrap();
    };
    write(free_port());
    let (mut ready, mut peak_kib) = (Spread::default(), 0);
    for _ in 0..n_starts {
        let (appliance, took) = start(folder.path());
        ready.add(took);
        peak_kib = memory_kib(&appliance, "VmHWM").max(peak_kib);
    }
    let broker = Broker::start("");
    write(broker.port);
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/+/alert");
    let (appliance, _) = start(folder.path());
    let begin = Instant::now();
    let mut n_sent = 0;
    wait_for("all of them at the broker", || {
        listener.poll();
        n_sent += listener.got.drain(..).count() as u64;
        n_sent >= n_alerts
    });
    println!("{n_alerts} alerts sent in {:.1} s", begin.elapsed().as_secs_f64());
    let sending_kib = memory_kib(&appliance, "VmHWM");
    println!(
        "KiB: {steady_kib} with nothing to send, {peak_kib} at a start at the most, {sending_kib} while it sends"
    );
    assert!(peak_kib.max(sending_kib) <= steady_kib + START_KIB_MAX);
    ready.judge("start to ready", READY_BAR);
}
