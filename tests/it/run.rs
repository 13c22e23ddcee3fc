//! The program as its user runs it: replays, and the appliance against a real broker.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::broker::{Broker, Listener, has_mosquitto, wait_for};
use crate::rig::tier;

mod clock;
mod memory;
mod watchdog;

/// A motor with a bearing and one sensor; its source is to follow.
const MOTOR: &str = r#"
site = "lab"
gateway = "box-1"
store.dir = "store"

[[asset]]
id = "motor-1"
detect.learn_s = LEARN_S
speed.speed_rpm = 1480
assess.bearing = { ftf = 0.3983, bpfo = 3.5848, bpfi = 5.4152, bsf = 2.3567 }

[[asset.sensor]]
id = "drive-end"
kind = "vibration"
axes = ["radial"]
source = SOURCE
"#;

/// Its outer race wears out after it has learned.
const WEARING: &str = r#"{ type = "synth", seed = 21, rate_hz = 12800, speed_rpm = 1480, duration_s = 120,
    faults = [{ fault = "outer_race", start_s = 40, growth_s = 60 }] }"#;

/// A day of it: it runs, stops, wears and is listened to through a sensor that fails now and then, as
/// fast as it is computed.
const DAY: &str = r#"{ type = "synth", seed = 5, rate_hz = 6400, speed_rpm = 1480, duration_s = 86400, pace = "max",
    stops = [
        { start_s = 7000.0, duration_s = 600.0, ramp_s = 5.0 },
        { start_s = 50000.0, duration_s = 3600.0, ramp_s = 5.0 },
    ],
    sensor_faults = [
        { fault = "flat", start_s = 20000.0, duration_s = 60.0 },
        { fault = "nan", start_s = 30000.0, duration_s = 60.0 },
        { fault = "zeros", start_s = 40000.0, duration_s = 600.0 },
    ],
    faults = [{ fault = "outer_race", start_s = 60000.0, growth_s = 20000.0 }] }"#;

/// A configuration of the motor, with a broker if there is one.
fn config(learn_s: u32, source: &str, broker: Option<&Broker>) -> String {
    let motor = MOTOR.replace("LEARN_S", &learn_s.to_string()).replace("SOURCE", source);
    let mqtt = |broker: &Broker| format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {}\n", broker.port);
    motor + &broker.map_or(String::new(), mqtt)
}

fn auscult(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auscult"));
    command.current_dir(folder).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The motor, played from the worn bearing in `fixtures/`.
fn recorded(broker: Option<&Broker>) -> String {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/outer_race_wear.wav");
    let source = format!(
        "{{ type = \"recording\", path = \"{}\", snapshot_samples = 2560, snapshot_every_s = 60 }}",
        fixture.display()
    );
    config(900, &source, broker)
}

/// A replay of `config`, as JSON lines.
fn replay(config: &str, speed: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auscult.toml"), config).unwrap();
    let args = ["replay", "--config", "auscult.toml", "--speed", speed];
    let out = auscult(folder.path(), &args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_replay_gives_the_same_bytes_at_any_speed() {
    let config = recorded(None);
    let (once, again) = (replay(&config, "max"), replay(&config, "max"));
    let slow = replay(&config, "x2000");
    assert!(once.lines().count() > 0, "the worn bearing is told of");
    assert_eq!(once, again);
    assert_eq!(once, slow);
    for line in once.lines() {
        let alert: Value = serde_json::from_str(line).unwrap();
        assert_eq!(alert["schema"], "auscult.alert/1");
        assert_eq!(alert["asset"], "motor-1");
    }
}

#[test]
fn a_replay_tells_what_the_appliance_tells() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let config = recorded(Some(&broker));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auscult.toml"), &config).unwrap();
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/+/alert");
    let mut appliance = Appliance::start(folder.path());
    wait_for("the end of the recording", || appliance.has_ended());
    let replayed: Vec<Value> = replay(&config, "max").lines().map(alert_of_any_store).collect();
    wait_for("the last alert", || {
        listener.poll();
        listener.got.len() >= replayed.len()
    });
    let told = listener.got.iter().map(|got| alert_of_any_store(&got.payload));
    assert_eq!(told.collect::<Vec<_>>(), replayed);
}

/// An alert without what depends on the store it went through and on the clock of the box.
fn alert_of_any_store(json: &str) -> Value {
    let mut alert: Value = serde_json::from_str(json).unwrap();
    for key in ["id", "alert", "clock"] {
        alert.as_object_mut().unwrap().remove(key).expect(key);
    }
    alert
}

/// The appliance, ended without mercy.
struct Appliance(Child);

impl Appliance {
    fn start(folder: &Path) -> Self {
        let args = ["run", "--config", "auscult.toml"];
        Self(auscult(folder, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        // It may have come to its end by itself.
        drop(self.0.kill());
        self.0.wait().unwrap();
    }
}

fn ids(listener: &Listener) -> Vec<String> {
    let alerts = listener.got.iter().filter(|got| got.topic.ends_with("/alert"));
    let id = |payload: &str| serde_json::from_str::<Value>(payload).unwrap()["id"].to_string();
    alerts.map(|got| id(&got.payload)).collect()
}

#[test]
fn a_killed_appliance_tells_everything_and_invents_nothing() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auscult.toml"), config(20, WEARING, Some(&broker))).unwrap();
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/#");
    let mut first = Appliance::start(folder.path());
    wait_for("the first alert", || {
        listener.poll();
        !ids(&listener).is_empty() || first.has_ended()
    });
    drop(first);
    let mut second = Appliance::start(folder.path());
    wait_for("the end of the recording", || {
        listener.poll();
        second.has_ended()
    });
    let told = ids(&listener);
    let distinct: BTreeSet<&String> = told.iter().collect();
    assert!(!distinct.is_empty());
    assert!(told.len() - distinct.len() <= 32, "at most what was in flight is sent twice");
    let states =
        listener.got.iter().filter(|got| got.topic == "auscult/v1/lab/box-1/motor-1/state");
    let first_state: Value = serde_json::from_str(&states.clone().next().unwrap().payload).unwrap();
    assert_eq!(first_state["state"], "learning");
}

/// Resident memory in KiB and open files of a process.
fn footprint(pid: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kib, fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64))
}

#[test]
fn a_day_leaves_memory_as_it_was_and_tells_each_trouble_once() {
    if !has_mosquitto() || tier(true, true, false) {
        println!("skipped: a day takes minutes; AUSCULT_TIER=release, with --release");
        return;
    }
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auscult.toml"), config(3600, DAY, Some(&broker))).unwrap();
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/+/alert");
    let mut states = Listener::new(&broker, "auscult/v1/lab/box-1/+/state");
    let mut appliance = Appliance::start(folder.path());
    let mut seen = Vec::new();
    while !appliance.has_ended() {
        states.poll();
        let told = states.got.drain(..).next_back();
        if let (Some(told), Some(taken)) = (told, footprint(appliance.0.id())) {
            let state: Value = serde_json::from_str(&told.payload).unwrap();
            seen.push((state["ts_ms"].as_i64().unwrap(), taken));
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    wait_for("the bearing's end", || {
        listener.poll();
        ids(&listener).len() >= 8
    });
    let told: Vec<(String, String)> = listener
        .got
        .iter()
        .map(|got| serde_json::from_str::<Value>(&got.payload).unwrap())
        .map(|alert| (alert["event"].to_string(), alert["what"].to_string()))
        .collect();
    let raised = |what| told.iter().filter(|it| it.0 == "\"raised\"" && it.1 == what).count();
    assert_eq!(raised("\"sensor\""), 3, "{told:?}");
    assert_eq!(told.iter().filter(|it| it.0 == "\"raised\"").count(), 4, "{told:?}");
    // The last one may be of a process that is going.
    seen.pop();
    let (begin, end) = (seen[0].0, seen[seen.len() - 1].0);
    // The most that was taken in each quarter of the day.
    let most = |quarter: i64| {
        let is_in = |at: i64| (at - begin) * 4 / (end - begin + 1) == quarter;
        let taken = seen.iter().filter(|(at, _)| is_in(*at)).map(|(_, taken)| *taken);
        taken.fold((0, 0), |most, it| (it.0.max(most.0), it.1.max(most.1)))
    };
    let quarters = [0, 1, 2, 3].map(most);
    println!(
        "KiB and files at the most, by quarters of {} h: {quarters:?}",
        (end - begin) / 3_600_000
    );
    let [_, _, third, last] = quarters;
    assert!(last.0 <= third.0 + 4 * 6, "memory grows by more than 4 KiB an hour");
    assert!(last.1 <= third.1, "files stay open");
}
