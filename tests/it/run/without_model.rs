//! A box that can no longer trust a model: what was learned with it holds without it.

use std::fs;

use serde_json::Value;

use super::{Appliance, WEARING, config};
use crate::broker::{Broker, Listener, has_mosquitto, wait_for};

/// The same machine before it wears.
const SOUND: &str =
    r#"{ type = "synth", seed = 21, rate_hz = 12800, speed_rpm = 1480, duration_s = 60 }"#;

#[test]
fn what_was_learned_with_a_model_finds_the_fault_without_it() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    let run = |text: String| {
        fs::write(folder.path().join("auscult.toml"), text).unwrap();
        let mut appliance = Appliance::start(folder.path());
        wait_for("the end of the recording", || appliance.has_ended());
    };
    run(config(20, SOUND, Some(&broker)));
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/motor-1/alert");
    listener.poll();
    assert!(listener.got.is_empty(), "nothing is wrong yet");
    let without = "kind = \"vibration\"\nmodel = \"none\"";
    // Were it learned anew, an hour would not be enough.
    run(config(3600, WEARING, Some(&broker)).replace("kind = \"vibration\"", without));
    wait_for("the alert", || {
        listener.poll();
        !listener.got.is_empty()
    });
    let alert: Value = serde_json::from_str(&listener.got[0].payload).unwrap();
    assert_eq!(alert["asset"], "motor-1");
}
