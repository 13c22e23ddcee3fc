//! A configuration that cannot run: the last good one does, and the box says so.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::{Appliance, auscult, config};
use crate::broker::{Broker, Listener, has_mosquitto, signal, wait_for};

/// Heard as long as the box runs.
const ENDLESS: &str =
    r#"{ type = "synth", seed = 8, rate_hz = 6400, speed_rpm = 1480, pace = "real" }"#;

/// Spoils what has run well.
type Spoil = fn(folder: &Path, text: &str);

fn run(folder: &Path, good_after_s: u32) -> Child {
    let good_after_s = good_after_s.to_string();
    let args = ["run", "--config", "auscult.toml", "--state", "state", "--good-after-s"];
    let mut command = auscult(folder, &args);
    command.arg(good_after_s).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn write(folder: &Path, text: &str) {
    fs::write(folder.join("auscult.toml"), text).unwrap();
}

/// A box whose configuration, with a model of its own, has run well; what it said of itself then.
fn proved(broker: &Broker, listener: &mut Listener) -> (tempfile::TempDir, String, Value) {
    let folder = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/vibration.safetensors");
    fs::copy(model, folder.path().join("own.safetensors")).unwrap();
    let text = config(600, ENDLESS, Some(broker))
        .replace("kind = \"vibration\"", "kind = \"vibration\"\nmodel = \"own.safetensors\"")
        + "status_every_s = 1\n";
    write(folder.path(), &text);
    let _appliance = Appliance(run(folder.path(), 1));
    wait_for("the configuration is good", || folder.path().join("state/bundles/good").exists());
    let status = status(listener, |status| status["ne107"] == "good");
    (folder, text, status)
}

/// The next status that is as wished.
fn status(listener: &mut Listener, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    wait_for("the status", || {
        listener.poll();
        let told = listener.got.drain(..).map(|got| serde_json::from_str(&got.payload).unwrap());
        found = told.filter(&is_it).last();
        found.is_some()
    });
    found.unwrap()
}

/// The digest of the configuration in force.
fn config_of(status: &Value) -> &str {
    status["versions"]["config"].as_str().unwrap()
}

/// Whether this one thing is told, and nothing worse.
fn says(status: &Value, words: &str) -> bool {
    status["ne107"] == "maintenance_required" && status["reasons"].to_string().contains(words)
}

#[test]
fn instead_of_one_with_mistakes_the_last_good_one_runs() {
    if !has_mosquitto() {
        return;
    }
    let cases: [(&str, Spoil); 3] = [
        ("a key that is none", |folder, text| write(folder, &text.replace("speed_rpm", "sped"))),
        ("no file", |folder, _| fs::remove_file(folder.join("auscult.toml")).unwrap()),
        ("a model that is none", |folder, _| {
            fs::write(folder.join("own.safetensors"), "rubbish").unwrap();
        }),
    ];
    for (what, spoil) in cases {
        let broker = Broker::start("");
        let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/status");
        let (folder, text, good) = proved(&broker, &mut listener);
        spoil(folder.path(), &text);
        let _appliance = Appliance(run(folder.path(), 600));
        let told = status(&mut listener, |status| says(status, "the last good one runs"));
        assert!(says(&told, "mistakes"), "{what}: {told}");
        assert_eq!(config_of(&told), config_of(&good), "{what}");
    }
}

#[test]
fn after_three_failed_starts_the_last_good_one_runs_until_the_file_is_mended() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/status");
    let (folder, text, good) = proved(&broker, &mut listener);
    // Without a mistake, and yet there is no store to be had.
    fs::write(folder.path().join("taken"), "").unwrap();
    write(folder.path(), &text.replace("store.dir = \"store\"", "store.dir = \"taken\""));
    for start in 1..=3 {
        let ended = run(folder.path(), 600).wait().unwrap();
        assert_eq!(ended.code(), Some(1), "start {start}");
    }
    drop(Appliance(run(folder.path(), 1)));
    let appliance = Appliance(run(folder.path(), 1));
    let told = status(&mut listener, |status| says(status, "failed at 3 starts"));
    assert_eq!(config_of(&told), config_of(&good));
    write(folder.path(), &text.replace("speed_rpm = 1480\nassess", "speed_rpm = 1470\nassess"));
    assert!(signal(&appliance.0.id().to_string(), "HUP"));
    status(&mut listener, |told| told["ne107"] == "good" && config_of(told) != config_of(&good));
}

#[test]
fn without_a_good_one_a_mistake_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "site = 1");
    assert_eq!(run(folder.path(), 600).wait().unwrap().code(), Some(78));
}
