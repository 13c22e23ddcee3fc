//! The host takes what the box needs, or the box fails in itself: open files, the processor for a
//! while, a disk that answers, a block that panics.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use auscult::config::Config;
use auscult::daemon::{Asset, Daemon, Ear, SystemClock};
use auscult::publish::ClockQuality;
use auscult::types::{Alert, Clock, Event};

use super::starved::{Told, told};
use super::{Appliance, config, recorded};
use crate::broker::{Broker, Listener, has_mosquitto, signal, wait_for};
use crate::rig::{Mode, Sender, has_strace, tier};

/// As a service manager with a sparing hand would set it.
const FILES: u32 = 40;
const RATE_HZ: u32 = 3200;

/// A box started by way of another program, with all that it starts.
struct Guest(Appliance);

impl Guest {
    fn start(folder: &Path, by: &[&str]) -> Self {
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(env!("CARGO_BIN_EXE_auscult"));
        command.args(["run", "--config", "auscult.toml"]).current_dir(folder).process_group(0);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self(Appliance(child))
    }

    fn signal(&self, name: &str) -> bool {
        signal(&format!("-{}", self.0.0.id()), name)
    }

    fn has_ended(&mut self) -> bool {
        self.0.has_ended()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have come to its end by itself.
        self.signal("KILL");
    }
}

/// A box that listens to a sensor that streams, and those who hear of it.
struct Site {
    folder: tempfile::TempDir,
    _broker: Broker,
    sender: Sender,
    alerts: Listener,
    status: Listener,
}

impl Site {
    fn new() -> Self {
        let (broker, sender) = (Broker::start(""), Sender::new(RATE_HZ, 1));
        let folder = tempfile::tempdir().unwrap();
        let text = config(5, &sender.source(RATE_HZ), Some(&broker)) + "status_every_s = 1\n";
        fs::write(folder.path().join("auscult.toml"), text).unwrap();
        let alerts = Listener::new(&broker, "auscult/v1/lab/box-1/+/alert");
        let status = Listener::new(&broker, "auscult/v1/lab/box-1/status");
        Self { folder, _broker: broker, sender, alerts, status }
    }

    /// Waits until so many seconds more were delivered; the counts then.
    fn wait_heard(&mut self, seconds: u32) -> Told {
        let before = told(&mut self.status).map_or(0, |told| told.delivered);
        let until = before + u64::from(seconds * RATE_HZ);
        let mut last = None;
        wait_for("the sensor is heard", || {
            last = told(&mut self.status);
            last.as_ref().is_some_and(|told| told.delivered >= until)
        });
        last.unwrap()
    }

    /// Whether anything was said of the machine, and not of the sensor alone.
    fn is_told(&mut self) -> bool {
        self.alerts.poll();
        self.alerts.got.iter().any(|got| !got.payload.contains(r#""what":"sensor""#))
    }

    /// Makes the machine loud; waits until that is told.
    fn wait_alert(&mut self) {
        self.sender.set(Mode::Loud);
        wait_for("an alert at the broker", || self.is_told());
    }
}

#[test]
fn with_few_open_files_the_box_works_or_ends_and_never_hangs() {
    if !has_mosquitto() {
        return;
    }
    let mut site = Site::new();
    let limit = |n: u32| format!("--nofile={n}");
    for n in (4..20).step_by(4) {
        let mut guest = Guest::start(site.folder.path(), &["prlimit", &limit(n)]);
        wait_for("the end of a box that cannot work", || guest.has_ended());
        assert_ne!(guest.0.0.wait().unwrap().code(), Some(0), "{n} files");
    }
    let mut guest = Guest::start(site.folder.path(), &["prlimit", &limit(FILES)]);
    site.wait_heard(10);
    site.wait_alert();
    assert!(!guest.has_ended());
}

#[test]
fn a_box_that_was_halted_goes_on_where_it_stood() {
    if !has_mosquitto() {
        return;
    }
    let mut site = Site::new();
    let mut guest = Guest::start(site.folder.path(), &["env"]);
    site.wait_heard(10);
    for _ in 0..tier(1, 3, 20) {
        assert!(guest.signal("STOP"));
        std::thread::sleep(Duration::from_secs(tier(4, 10, 60)));
        assert!(guest.signal("CONT"));
        let told = site.wait_heard(10);
        assert_eq!(told.produced, told.delivered + told.lost);
        assert!(!guest.has_ended());
    }
    assert!(!site.is_told(), "what came late is no fault of the machine: {:?}", site.alerts.got);
    site.wait_alert();
}

#[test]
fn a_disk_that_takes_seconds_for_a_write_costs_no_sample_and_no_alert() {
    if !has_mosquitto() || !has_strace() {
        return;
    }
    let mut site = Site::new();
    let wait_us = tier(1_000_000, 2_000_000, 5_000_000);
    let delay = format!("inject=fsync,fdatasync:delay_enter={wait_us}");
    let calls = ["-e", "trace=fsync,fdatasync", "-e", &delay];
    let slow = [&["strace", "--seccomp-bpf", "-f", "-qq", "-o", "/dev/null"], &calls[..]].concat();
    let mut guest = Guest::start(site.folder.path(), &slow);
    let told = site.wait_heard(10);
    assert_eq!((told.produced, told.lost), (told.delivered, 0));
    site.wait_alert();
    assert!(!guest.has_ended());
}

/// Runs the worn bearing twice side by side, after `spoil`; how often each machine was said to have a
/// fault, and why the box gave up, if it did.
fn run_spoilt(spoil: impl FnOnce(&mut Asset)) -> ([usize; 2], Result<(), String>) {
    run_heard(spoil, |_| {})
}

/// The same with somebody who hears of every alert.
fn run_heard(
    spoil: impl FnOnce(&mut Asset),
    mut hear: impl FnMut(&Alert) + Send + 'static,
) -> ([usize; 2], Result<(), String>) {
    let folder = tempfile::tempdir().unwrap();
    let one = recorded(None);
    let two = &one[one.find("[[asset]]").unwrap()..];
    let file = folder.path().join("auscult.toml");
    fs::write(&file, one.clone() + &two.replace("motor-1", "motor-2")).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let plan = Config::load(&file).unwrap();
    let mut machines = plan.machines(&clock).unwrap();
    spoil(&mut machines[0]);
    let (tell, told) = channel();
    let on_alert = move |alert: &Alert| {
        hear(alert);
        if alert.event == Event::Raised {
            tell.send(alert.origin.asset.to_string()).unwrap();
        }
    };
    let office = plan.office(ClockQuality::FreeRunning, clock);
    let mut daemon = Daemon::start(office, machines, Some(Box::new(on_alert))).unwrap();
    let mut beat = Ok(());
    wait_for("the end of the recordings", || {
        beat = daemon.beat();
        beat.is_err() || daemon.is_over()
    });
    daemon.stop();
    let told: Vec<_> = told.iter().collect();
    (["motor-1", "motor-2"].map(|id| told.iter().filter(|it| *it == id).count()), beat)
}

/// Panics so often, then never again.
fn panics(n_times: u32) -> impl Fn() {
    let left = AtomicU32::new(n_times);
    move || {
        let is_left = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
        assert!(is_left.is_err(), "a bug, planted");
    }
}

#[test]
fn a_bug_in_one_machines_blocks_is_survived_by_it_and_not_felt_by_others() {
    let (whole, beat) = run_spoilt(|_| {});
    assert!(whole[0] > 0 && whole[0] == whole[1] && beat.is_ok(), "{whole:?} {beat:?}");
    // Six times is once too often: the blocks rest, and are tried again.
    for n_times in [1, 6, u32::MAX] {
        let (told, beat) = run_spoilt(|asset| {
            let (ear, bug) = (asset.ears.remove(0), panics(n_times));
            let make_lane = ear.make_lane;
            let spoilt = Box::new(move |frame: &_| {
                bug();
                make_lane(frame)
            });
            asset.ears.push(Ear { make_lane: spoilt, ..ear });
        });
        assert_eq!((told[1], beat), (whole[1], Ok(())), "{n_times} panics");
        assert_eq!(told[0] > 0, n_times < u32::MAX, "{n_times} panics: {told:?}");
    }
}

#[test]
fn a_bug_does_not_forget_the_alarms_that_were_told() {
    let bug = panics(1);
    let (told, beat) = run_heard(
        |_| {},
        move |alert| {
            if alert.event == Event::Worsened && &*alert.origin.asset == "motor-1" {
                bug();
            }
        },
    );
    assert!(told[0] > 0 && told[0] == told[1] && beat.is_ok(), "{told:?} {beat:?}");
}

#[test]
fn a_bug_in_the_reading_of_a_sensor_is_like_its_loss() {
    let (told, beat) = run_spoilt(|asset| {
        let (mut ear, bug) = (asset.ears.remove(0), panics(2));
        ear.settings.retry = true;
        let mut open = ear.open;
        let spoilt = Box::new(move || {
            bug();
            open()
        });
        asset.ears.push(Ear { open: spoilt, ..ear });
    });
    assert!(told[0] > 0 && told[0] == told[1] && beat.is_ok(), "{told:?} {beat:?}");
}

#[test]
fn a_signal_path_that_dies_is_no_end_of_the_recordings() {
    let (_, beat) = run_spoilt(|asset| {
        let make = std::mem::replace(&mut asset.make_pipeline, Box::new(|| unreachable!()));
        let is_first = AtomicBool::new(true);
        asset.make_pipeline = Box::new(move || {
            assert!(is_first.swap(false, Ordering::AcqRel), "a bug, planted");
            make()
        });
        asset.ears[0].make_lane = Box::new(|_| panic!("a bug, planted"));
    });
    assert_eq!(beat, Err("the signal path has ended by itself".to_owned()));
}
