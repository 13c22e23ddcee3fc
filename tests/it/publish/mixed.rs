//! Everything at once: the box is killed, its broker is killed, and the network between them is bad. The fleet
//! stands outside, confirms what it has, and in the end has every alert that was ever kept, once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use auscult::publish::{AckLevel, Config};
use serde_json::Value;

use super::confirm;
use super::rig::{Rig, alert, config};
use crate::broker::{Broker, DEADLINE, Listener, has_mosquitto, wait_for};
use crate::rig::{Acks, Dice, Faults, Proxy, tier};

/// Folder of the child's store, and its first alert; 0: it has none to add.
const DIR: &str = "AUSCULT_TEST_MIXED";
const FIRST: &str = "AUSCULT_TEST_MIXED_FIRST";
const PORT: &str = "AUSCULT_TEST_MIXED_PORT";
/// From one alert to the next.
const PACE: Duration = Duration::from_millis(300);

/// Body of the child: keeps alerts one after the other and says each when it is kept, until killed.
/// Does nothing in the parent's run.
#[test]
fn tell_until_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let number = |key: &str| std::env::var(key).unwrap().parse::<u32>().unwrap();
    let config = Config {
        ack_level: AckLevel::Fleet,
        resend_s: 1,
        ack_timeout_s: 2,
        ..config(u16::try_from(number(PORT)).unwrap())
    };
    let rig = Rig::start_at(Path::new(&dir), &config);
    let (first, begun) = (number(FIRST), rig.kept().watermark.version);
    if first > 0 {
        std::thread::spawn(move || {
            for n in first.. {
                rig.alerts(n..=n);
                let version = begun + u64::from(n - first) + 1;
                wait_for("it is kept", || rig.kept().watermark.version >= version);
                println!("kept {n}");
                std::thread::sleep(PACE);
            }
        });
    }
    // Its input closes with the one who started it, so that it never outlives them.
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
}

/// The box, as a process of its own.
struct Life(Child);

impl Life {
    fn start(dir: &Path, port: u16, first: u32, said: &Arc<AtomicU32>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["publish::mixed::tell_until_killed", "--exact", "--nocapture"])
            .env(DIR, dir)
            .env(FIRST, first.to_string())
            .env(PORT, port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (out, said) = (child.stdout.take().unwrap(), Arc::clone(said));
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let n = line.split("kept ").nth(1).and_then(|n| n.parse().ok());
                said.fetch_max(n.unwrap_or(0), Ordering::AcqRel);
            }
        });
        Self(child)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        drop(self.0.kill());
        self.0.wait().unwrap();
    }
}

fn bad_network(dice: &mut Dice) -> Faults {
    let acks = [Acks::Hold, Acks::Twice, Acks::Backwards, Acks::Strange, Acks::Lie];
    let mut faults = Faults::default();
    match dice.below(5) {
        0 => faults.refuse = true,
        1 => faults.stall = true,
        2 => faults.latency = Duration::from_millis(dice.below(500)),
        3 => faults.bytes_per_s = Some(500 + dice.below(5000)),
        _ => faults.acks = acks[dice.below(acks.len() as u64) as usize],
    }
    faults
}

/// What a campaign came to, in numbers.
#[derive(Default)]
struct Came {
    alerts: u32,
    kills: usize,
    broker_kills: usize,
    bad_networks: usize,
    repeats: usize,
}

/// One box, its broker and the network between them, for so long.
fn campaign(seed: u64, span: Duration) -> Came {
    let mut dice = Dice::new(seed);
    let mut broker = Broker::start("");
    let proxy = Proxy::to(broker.port);
    let mut listener = Listener::new(&broker, "auscult/v1/+/+/fan/alert");
    let dir = tempfile::tempdir().unwrap();
    let said = Arc::<AtomicU32>::default();
    let mut life = Some(Life::start(dir.path(), proxy.port, 1, &said));
    let (mut came, mut fleet) = (Came::default(), Fleet::default());
    let begin = Instant::now();
    while begin.elapsed() < span {
        std::thread::sleep(Duration::from_secs_f64(dice.between(0.5, 6.0)));
        match dice.below(4) {
            0 => {
                drop(life.take());
                came.kills += 1;
                let first = said.load(Ordering::Acquire) + 1;
                life = Some(Life::start(dir.path(), proxy.port, first, &said));
            }
            1 => {
                broker.kill();
                came.broker_kills += 1;
                std::thread::sleep(Duration::from_secs_f64(dice.between(0.0, 3.0)));
                broker.up();
            }
            2 => {
                proxy.set(bad_network(&mut dice));
                came.bad_networks += 1;
            }
            _ => {
                proxy.set(Faults::default());
                proxy.tear();
            }
        }
        fleet.take(&broker, &mut listener);
    }
    proxy.set(Faults::default());
    drop(life);
    let _life = Life::start(dir.path(), proxy.port, 0, &said);
    came.alerts = said.load(Ordering::Acquire);
    let mut heard_at = Instant::now();
    loop {
        if fleet.take(&broker, &mut listener) {
            heard_at = Instant::now();
        }
        let missing = fleet.missing(came.alerts);
        if missing.is_empty() {
            break;
        }
        assert!(heard_at.elapsed() < DEADLINE, "campaign {seed}: {missing:?} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
    // One more may have been kept and not said.
    let may_be = 1..=u64::from(came.alerts) + 1;
    assert!(fleet.known.keys().all(|n| may_be.contains(n)), "invented");
    came.repeats = fleet.n_taken - fleet.known.len();
    came
}

/// What the fleet has, by episode; each whole, under one id, and the same each time it came.
#[derive(Default)]
struct Fleet {
    known: BTreeMap<u64, String>,
    ids: BTreeMap<String, u64>,
    n_taken: usize,
}

impl Fleet {
    /// Takes in what came and confirms it; whether anything did.
    fn take(&mut self, broker: &Broker, listener: &mut Listener) -> bool {
        let n_before = self.n_taken;
        self.n_taken = confirm(broker, listener, n_before);
        for got in &listener.got[n_before..self.n_taken] {
            let told: Value = serde_json::from_str(&got.payload).unwrap();
            let n = told["episode"].as_u64().unwrap();
            let expect = alert(n as u32);
            assert_eq!(told["message"], expect.message);
            assert_eq!(told["ts_ms"], expect.start.as_ms());
            let first = *self.ids.entry(told["id"].to_string()).or_insert(n);
            assert_eq!(first, n, "one id for two alerts");
            let known = self.known.entry(n).or_insert_with(|| got.payload.clone());
            assert_eq!(*known, got.payload, "changed");
        }
        assert_eq!(self.ids.len(), self.known.len(), "one alert under two ids");
        self.n_taken > n_before
    }

    /// Of alerts 1 to `n`, those it does not have.
    fn missing(&self, n: u32) -> Vec<u64> {
        (1..=u64::from(n)).filter(|n| !self.known.contains_key(n)).collect()
    }
}

#[test]
fn nothing_is_lost_doubled_or_changed_when_everything_fails_at_once() {
    if !has_mosquitto() {
        return;
    }
    let (n_boxes, span_s) = tier((1, 5), (4, 15), (20, 3600));
    let mut sum = Came::default();
    std::thread::scope(|scope| {
        let run = |seed| scope.spawn(move || campaign(seed, Duration::from_secs(span_s)));
        let boxes: Vec<_> = (1..=n_boxes).map(run).collect();
        for came in boxes.into_iter().map(|it| it.join().unwrap()) {
            sum.alerts += came.alerts;
            sum.kills += came.kills;
            sum.broker_kills += came.broker_kills;
            sum.bad_networks += came.bad_networks;
            sum.repeats += came.repeats;
        }
    });
    let Came { alerts, kills, broker_kills, bad_networks, repeats } = sum;
    println!(
        "{:.1} hours of {n_boxes} boxes: {kills} kills, {broker_kills} of brokers, {bad_networks} bad networks; {alerts} \
         alerts, each there once by its id, {repeats} repeats",
        n_boxes as f64 * span_s as f64 / 3600.0
    );
}
