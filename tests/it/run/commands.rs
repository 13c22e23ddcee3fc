//! What a person orders over MQTT is done by the running appliance, and answered.

use std::fs;

use serde_json::Value;

use super::{Appliance, config};
use crate::broker::{Broker, Got, Listener, has_mosquitto, publish, wait_for};

const MACHINE: &str = "auscult/v1/lab/box-1/motor-1";
/// A healthy motor in real time, learned within seconds.
const LIVE: &str =
    r#"{ type = "synth", seed = 21, rate_hz = 12800, speed_rpm = 1480, pace = "real" }"#;

fn told(got: &Got) -> Value {
    serde_json::from_str(&got.payload).unwrap()
}

#[test]
fn orders_are_carried_out_and_answered() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("auscult.toml"), config(2, LIVE, Some(&broker))).unwrap();
    let mut listener = Listener::new(&broker, "auscult/#");
    let _appliance = Appliance::start(folder.path());
    let state = |name: &'static str| {
        move |got: &Got| got.topic == format!("{MACHINE}/state") && told(got)["state"] == name
    };
    let order = |listener: &mut Listener, verb: &str, body: &str| {
        listener.got.clear();
        let topic = format!("{MACHINE}/command/{verb}");
        publish(&broker, &topic, &format!(r#"{{"id":"{verb}"{body}}}"#), false);
        let got = listener.wait(verb, |got| got.topic == format!("{topic}/reply"));
        let reply = told(&got);
        assert_eq!(reply["id"], verb);
        (reply["done"].as_bool().unwrap(), reply["message"].as_str().unwrap().to_owned())
    };
    listener.wait("it has learned", state("normal"));
    assert!(order(&mut listener, "relearn", "").0);
    listener.wait("it learns anew", state("learning"));
    listener.wait("it has learned again", state("normal"));
    assert!(order(&mut listener, "roll_back", "").0);
    let (is_done, message) = order(&mut listener, "clip", r#","seconds":1"#);
    assert!(is_done, "{message}");
    let clip = message.split(' ').nth(1).unwrap();
    let clip = folder.path().join(format!("store/clip/{clip}.wav"));
    wait_for("it is on the disk", || clip.exists());
    let (is_done, message) = order(&mut listener, "oil", "");
    assert!(!is_done && message.contains("roll_back"), "{message}");
}
