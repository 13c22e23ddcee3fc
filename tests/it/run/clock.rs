//! A clock set back and forward by hours, while the appliance runs and while it does not (libfaketime).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use super::{Appliance, auscult, config};
use crate::broker::{Broker, Listener, has_mosquitto, wait_for};
use crate::rig::{Mode, Sender};

const RATE_HZ: u32 = 3200;
/// Seconds the appliance learns.
const LEARN_S: u32 = 10;

/// libfaketime, where Debian or Fedora puts it.
fn library() -> Option<PathBuf> {
    let of = |folder: &str| Path::new(folder).join("faketime/libfaketimeMT.so.1");
    let here = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    [of(&here), of("/usr/lib64"), of("/usr/lib")].into_iter().find(|path| path.exists())
}

/// The box's clock, as it is set.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// So many hours off.
    fn set(&self, hours: i32) {
        // In one piece: it is read all the time.
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{hours:+}h\n")).unwrap();
        fs::rename(next, &self.file).unwrap();
    }

    fn start(&self, folder: &Path) -> Appliance {
        let mut command = auscult(folder, &["run", "--config", "auscult.toml"]);
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Appliance(command.spawn().unwrap())
    }
}

fn json(listener: &Listener, topic: &str) -> Vec<Value> {
    let of = listener.got.iter().filter(|got| got.topic.ends_with(topic));
    of.map(|got| serde_json::from_str(&got.payload).unwrap()).collect()
}

/// The last message on such a topic.
fn last(listener: &mut Listener, topic: &str) -> Value {
    listener.poll();
    json(listener, topic).pop().unwrap_or_default()
}

/// Some windows later.
fn wait_windows(listener: &mut Listener) {
    let mut windows = || {
        listener.poll();
        json(listener, "/features").len()
    };
    let before = windows();
    wait_for("what was measured", || windows() >= before + 3);
}

#[test]
fn a_clock_that_is_set_raises_nothing_and_loses_nothing() {
    let Some(library) = library() else {
        return println!("skipped: libfaketime is not installed");
    };
    if !has_mosquitto() {
        return;
    }
    let (broker, sensor) = (Broker::start(""), Sender::new(RATE_HZ, 1));
    let mut listener = Listener::new(&broker, "auscult/#");
    let folder = tempfile::tempdir().unwrap();
    let text = config(LEARN_S, &sensor.source(RATE_HZ), Some(&broker)) + "features_every_s = 1\n";
    fs::write(folder.path().join("auscult.toml"), text).unwrap();
    let clock = Clock { library, file: folder.path().join("clock") };
    clock.set(0);
    let appliance = clock.start(folder.path());
    wait_for("it has learned", || last(&mut listener, "/state")["state"] == "normal");
    for hours in [-6, 12, -400_000, 0] {
        clock.set(hours);
        wait_windows(&mut listener);
        let says_implausible = last(&mut listener, "/features")["clock"] == "implausible";
        assert_eq!(says_implausible, hours == -400_000, "before there was any such box");
    }
    assert_eq!(json(&listener, "/alert"), [] as [Value; 0], "a clock is no fault");
    sensor.set(Mode::Loud);
    wait_for("the fault", || last(&mut listener, "/state")["state"] == "alarm");
    for hours in [-6, 12] {
        clock.set(hours);
        wait_windows(&mut listener);
    }
    drop(appliance);
    clock.set(-24);
    let _appliance = clock.start(folder.path());
    wait_windows(&mut listener);
    assert_eq!(last(&mut listener, "/state")["state"], "alarm", "the next one knows");
    let alerts = json(&listener, "/alert");
    let place = |it: &Value| (it["episode"].as_u64().unwrap(), it["transition"].as_u64().unwrap());
    let is_in_order = |pair: &[Value]| place(&pair[0]) < place(&pair[1]);
    assert!(alerts.windows(2).all(is_in_order), "{alerts:?}");
    let n_raised = alerts.iter().filter(|alert| alert["event"] == "raised").count();
    assert!(n_raised == 1 && alerts.len() <= 3, "no storm: {alerts:?}");
}
