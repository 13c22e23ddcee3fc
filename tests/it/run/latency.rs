//! From the end of a window that alarms to the disk, and to the broker: sixteen sensors in real time, which
//! break and heal all the time.

use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use auscult::config::Config;
use auscult::daemon::{Daemon, SystemClock};
use auscult::publish::ClockQuality;
use auscult::types::{Alert, Clock};

use crate::broker::{Broker, Listener, has_mosquitto, wait_for};
use crate::rig::{Dice, Mode, Sender, Spread, tier};

const RATE_HZ: u32 = 3200;
const N_ASSETS: usize = 16;
const DISK_BAR: Duration = Duration::from_millis(50);
const BROKER_BAR: Duration = Duration::from_millis(250);
/// How often the disk is looked at.
const LOOK: Duration = Duration::from_millis(1);
const BEAT: Duration = Duration::from_millis(500);

/// Sensors whose every trouble and recovery is told; rows stay until the fleet has them, which never says so.
fn configuration(senders: &[Sender], broker: &Broker) -> String {
    let mut text = format!(
        "site = \"lab\"\ngateway = \"box-1\"\nstore.dir = \"store\"\n[mqtt]\nhost = \"127.0.0.1\"\nport = {}\n\
         ack_level = \"fleet\"\nresend_s = 3600\n",
        broker.port
    );
    for (n, sender) in senders.iter().enumerate() {
        write!(
            text,
            "[[asset]]\nid = \"motor-{n}\"\nspeed.speed_rpm = 1480\n\
             advise = {{ sensor_on_delay_s = 1, sensor_off_delay_s = 1, alerts_per_hour_max = 1000 }}\n\
             [[asset.sensor]]\nid = \"de\"\nkind = \"vibration\"\naxes = [\"radial\"]\nsource = {}\n",
            sender.source(RATE_HZ)
        )
        .unwrap();
    }
    text
}

/// Machine, and when the last sample of the window existed that the alert came of.
type Decided = Vec<(String, Instant)>;

#[test]
fn an_alert_is_soon_on_the_disk_and_at_the_broker() {
    if !has_mosquitto() {
        return;
    }
    let broker = Broker::start("");
    let sender = |n| Sender::new(RATE_HZ, n as u64);
    let senders: Arc<Vec<Sender>> = Arc::new((0..N_ASSETS).map(sender).collect());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("auscult.toml");
    fs::write(&file, configuration(&senders, &broker)).unwrap();
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/+/alert");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let plan = Config::load(&file).unwrap();
    let decided = Arc::<Mutex<Decided>>::default();
    let on_alert = {
        let (decided, senders) = (Arc::clone(&decided), Arc::clone(&senders));
        move |alert: &Alert| {
            let idx: usize = alert.origin.asset.trim_start_matches("motor-").parse().unwrap();
            let end = senders[idx].sent(alert.origin.first_sample + alert.origin.n_samples);
            decided.lock().unwrap().push((alert.origin.asset.to_string(), end));
        }
    };
    let machines = plan.machines(&clock).unwrap();
    let office = plan.office(ClockQuality::FreeRunning, clock);
    let mut daemon = Daemon::start(office, machines, Some(Box::new(on_alert))).unwrap();
    let mut dice = Dice::new(9);
    let (begin, mut beat_at) = (Instant::now(), Instant::now());
    let mut turns: Vec<_> = senders.iter().map(|_| (begin, Mode::Broken)).collect();
    let mut kept = Vec::new();
    let look = |daemon: &Daemon, kept: &mut Vec<Instant>| {
        let n: u64 = daemon.kept().counts.rows.iter().sum();
        kept.resize(n as usize, Instant::now());
    };
    let span = Duration::from_secs(tier(15, 40, 3600));
    while begin.elapsed() < span {
        for (sender, (turns_at, mode)) in senders.iter().zip(&mut turns) {
            if Instant::now() >= *turns_at {
                *mode = if *mode == Mode::Well { Mode::Broken } else { Mode::Well };
                sender.set(*mode);
                *turns_at += Duration::from_secs_f64(dice.between(4.0, 8.0));
            }
        }
        if Instant::now() >= beat_at {
            daemon.beat().unwrap();
            beat_at += BEAT;
        }
        look(&daemon, &mut kept);
        std::thread::sleep(LOOK);
    }
    for sender in senders.iter() {
        sender.set(Mode::Silent);
    }
    wait_for("all of them on the disk and at the broker", || {
        look(&daemon, &mut kept);
        let n = decided.lock().unwrap().len();
        listener.poll() == n && kept.len() == n
    });
    daemon.stop();
    let (mut to_disk, mut to_broker) = (Spread::default(), Spread::default());
    let decided = decided.lock().unwrap();
    assert!(decided.len() >= N_ASSETS, "only {} alerts", decided.len());
    for (((asset, end), kept), got) in decided.iter().zip(kept).zip(&listener.got) {
        assert!(got.topic.contains(&format!("/{asset}/")), "in order");
        to_disk.add(kept - *end);
        to_broker.add(got.at - *end);
    }
    to_disk.judge("window's end to the disk", DISK_BAR);
    to_broker.judge("window's end to the broker", BROKER_BAR);
}
