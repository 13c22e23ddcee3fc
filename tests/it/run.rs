//! The program as its user runs it: replays, and the appliance against a real broker.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::broker::{Broker, Listener, has_mosquitto, wait_for};

mod clock;
mod commands;
mod group;
mod host;
mod last_good;
mod latency;
mod memory;
mod modes;
mod refused;
mod soak;
mod start;
mod starved;
mod watchdog;
mod without_model;

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
