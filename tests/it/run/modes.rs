//! Two things amiss at once: each is told, and the machine that can be heard is heard.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Appliance, WEARING, auscult, config};
use crate::broker::{Broker, Listener, has_mosquitto, wait_for};
use crate::rig::{Mode as Says, Sender, tier};
use crate::store::SmallDisk;

/// What is amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The broker comes later.
    NoUplink,
    /// Nothing can be kept.
    FullDisk,
    /// A sensor of another machine is not there.
    NoSensor,
    /// The configuration has mistakes.
    LastGood,
}

use Mode::{FullDisk, LastGood, NoSensor, NoUplink};

const PAIRS: [[Mode; 2]; 6] = [
    [NoUplink, FullDisk],
    [NoSensor, LastGood],
    [NoUplink, NoSensor],
    [NoUplink, LastGood],
    [FullDisk, NoSensor],
    [FullDisk, LastGood],
];

/// A machine whose sensor is this one.
fn another(id: &str, source: &str) -> String {
    format!(
        "[[asset]]\nid = \"{id}\"\n[[asset.sensor]]\nid = \"de\"\nkind = \"vibration\"\n\
         axes = [\"radial\"]\nsource = {source}\n"
    )
}

/// Whether the box says of itself what is amiss.
fn tells(status: &Value, mode: Mode) -> bool {
    let reasons = status["reasons"].to_string();
    match mode {
        // The broker is back, or nobody would hear it.
        NoUplink => true,
        FullDisk => status["durable"] == false && reasons.contains("full"),
        NoSensor => reasons.contains("fan-1/de"),
        LastGood => reasons.contains("the last good one runs"),
    }
}

/// Runs the box with these amiss until everything is told.
fn run(modes: &[Mode]) {
    let has = |mode| modes.contains(&mode);
    let mut broker = Broker::away("");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let quiet = r#"{ type = "synth", rate_hz = 3200, speed_rpm = 1480, pace = "real" }"#;
    let mut text = config(20, WEARING, Some(&broker));
    text += &another("pump-1", quiet);
    if has(NoSensor) {
        text += &another("fan-1", r#"{ type = "iio", device = "nobody", channels = ["accel_x"] }"#);
    }
    fs::write(at("auscult.toml"), &text).unwrap();
    let start = || {
        let args = ["run", "--config", "auscult.toml", "--state", "state", "--good-after-s", "1"];
        let log = fs::File::create(at("log")).unwrap();
        let mut command = auscult(folder.path(), &args);
        Appliance(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    };
    if has(LastGood) {
        let good = start();
        wait_for("the configuration is good", || at("state/bundles/good").exists());
        drop(good);
        fs::write(at("auscult.toml"), "site = 1").unwrap();
        fs::remove_dir_all(at("store")).unwrap();
    }
    let mut disk = None;
    if has(FullDisk) {
        fs::create_dir(at("store")).unwrap();
        disk = SmallDisk::at(&at("store"), "size=1m");
        if disk.is_none() {
            return;
        }
        let mut fill = fs::File::create(at("store/fill")).unwrap();
        while fill.write_all(&[0; 512]).is_ok() {}
    }
    if !has(NoUplink) {
        broker.up();
    }
    let appliance = start();
    if has(NoUplink) {
        let no_broker = || fs::read_to_string(at("log")).unwrap().contains("no broker");
        wait_for("the broker is missed", no_broker);
        broker.up();
    }
    let mut status = Listener::new(&broker, "auscult/v1/lab/box-1/status");
    let mut state = Listener::new(&broker, "auscult/v1/lab/box-1/motor-1/state");
    let json = |payload: &str| serde_json::from_str::<Value>(payload).unwrap();
    wait_for(&format!("{modes:?}: all of it is told"), || {
        status.poll();
        status.got.drain(..).any(|got| modes.iter().all(|mode| tells(&json(&got.payload), *mode)))
    });
    wait_for(&format!("{modes:?}: the worn bearing is told"), || {
        state.poll();
        state.got.drain(..).any(|got| json(&got.payload)["state"] == "alarm")
    });
    drop(appliance);
    drop(disk);
}

#[test]
fn two_at_once_are_both_told_and_the_alarm_with_them() {
    if has_mosquitto() {
        PAIRS[..tier(2, 6, 6)].iter().for_each(|pair| run(pair));
    }
}

#[test]
fn all_at_once_are_told_and_the_alarm_with_them() {
    if has_mosquitto() {
        run(&[NoUplink, FullDisk, NoSensor, LastGood]);
    }
}

/// The pace of the status is a minute; what has changed does not wait for it.
#[test]
fn a_sensor_that_falls_silent_and_speaks_again_is_told_at_once() {
    if !has_mosquitto() {
        return;
    }
    let (broker, sensor) = (Broker::start(""), Sender::new(3200, 1));
    let folder = tempfile::tempdir().unwrap();
    let text = config(20, &sensor.source(3200), Some(&broker));
    fs::write(folder.path().join("auscult.toml"), text).unwrap();
    let mut status = Listener::new(&broker, "auscult/v1/lab/box-1/status");
    let mut command = auscult(folder.path(), &["run", "--config", "auscult.toml"]);
    let _appliance =
        Appliance(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let mut wait_told = |what: &str, is_silent: bool| {
        wait_for(what, || {
            status.poll();
            let mut told = status.got.drain(..);
            told.any(|got| got.payload.contains("sensor motor-1") == is_silent)
        });
    };
    wait_told("all is well", false);
    let start = Instant::now();
    sensor.set(Says::Silent);
    wait_told("it says nothing", true);
    sensor.set(Says::Well);
    wait_told("it speaks again", false);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}
