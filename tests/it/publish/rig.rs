//! Store, keeper and network of one box, as `daemon` wires them.

use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use auscult::daemon::SystemClock;
use auscult::daemon::keep::{Keep, KeepReport, Keeper, Vault};
use auscult::daemon::network::{Network, NetworkReport, Ordered, Parts, Teller, teller};
use auscult::pipeline::Tick;
use auscult::publish::{Config, Identity, State, Status};
use auscult::store;
use auscult::types::{
    AlarmState, Alert, Event, Features, Finding, Origin, Outlook, Priority, Quality, Refusal,
    Reply, Score, SensorKind, Severity, Shape, Span, Stamp, Unit, What,
};
use tokio::sync::watch;

use crate::broker::{DEADLINE, wait_for};

/// Commands that wait for whoever does them, at the most.
pub(crate) const ORDERS_MAX: u32 = 16;

/// A broker on loopback, retried quickly.
pub(crate) fn config(port: u16) -> Config {
    Config { host: "127.0.0.1".into(), port, retry_max_s: 2, ..Config::default() }
}

/// A field of a JSON object, as text.
pub(crate) fn field(payload: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(payload).unwrap();
    match &value[name] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn origin() -> Origin {
    Origin::new("fan", "de")
}

fn severity() -> Severity {
    let standard = "ISO 20816-3:2022 group 2 rigid".into();
    Severity { velocity_rms_mm_s: Some(3.2), zone: None, standard, reason: Some("no zone") }
}

/// The raise of episode `n`.
pub(crate) fn alert(n: u32) -> Alert {
    Alert {
        origin: origin(),
        start: Stamp::from_ms(1_700_000_000_000 + i64::from(n)),
        episode: u64::from(n),
        transition: 1,
        event: Event::Raised,
        state: AlarmState::Unacknowledged,
        priority: Priority::High,
        what: What::Anomaly,
        fault: None,
        score_value: 3.0,
        score_threshold: 1.0,
        p_value: 1e-6,
        false_alarms_per_year: Some(1.0),
        severity: severity(),
        life: Err(Refusal::NotWearing),
        message: format!("fan is louder than learned ({n})"),
        action: "look at it today".into(),
        regime: Some(0),
        speed_rpm: None,
        quality: Quality::GOOD,
        clip: None,
        by: None,
    }
}

/// One box; its threads end with [`Rig::stop`].
pub(crate) struct Rig {
    /// Of its store; nothing where that is another's to keep.
    dir: Option<tempfile::TempDir>,
    keeper: Keeper,
    teller: Teller,
    orders: Receiver<Ordered>,
    report: watch::Receiver<NetworkReport>,
    kept: watch::Receiver<KeepReport>,
    stop: watch::Sender<bool>,
    #[expect(dead_code, reason = "held open: the network watches its other end")]
    status: watch::Sender<Status>,
    threads: Vec<JoinHandle<()>>,
}

impl Rig {
    pub(crate) fn start(config: &Config) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config)
    }

    pub(crate) fn start_in(dir: tempfile::TempDir, config: &Config) -> Self {
        let mut this = Self::start_at(dir.path(), config);
        this.dir = Some(dir);
        this
    }

    pub(crate) fn start_at(dir: &Path, config: &Config) -> Self {
        config.check().unwrap();
        // The log is shown where a test fails; another test may have set it up already.
        drop(tracing_subscriber::fmt().with_test_writer().try_init());
        let store = store::Config {
            dir: dir.join("store"),
            ballast_bytes: 1 << 16,
            ..store::Config::default()
        };
        let vault = Vault::open(&store).unwrap();
        let identity = Identity {
            site: "works".into(),
            gateway: "box-1".into(),
            epoch: vault.epoch(),
            ..Identity::default()
        };
        identity.check().unwrap();
        let clock = Arc::new(SystemClock::new());
        let (keep, keeper, ends) =
            Keep::new(&store, vault, identity.clone(), clock.clone()).unwrap();
        let kept = ends.report.clone();
        let (teller, outward) = teller(config.features_every_s);
        let (orders_in, orders) = sync_channel(ORDERS_MAX as usize);
        let (stop, stop_end) = watch::channel(false);
        let (status, status_end) = watch::channel(Status::default());
        let (network, report) = Network::new(Parts {
            config: config.clone(),
            identity,
            assets: vec!["fan".into()],
            keeper: keeper.clone(),
            ends,
            outward,
            orders: orders_in,
            status: status_end,
            stop: stop_end,
            clock,
            seed: 1,
        });
        let threads = vec![
            std::thread::spawn(move || keep.run()),
            std::thread::spawn(move || network.run().unwrap()),
        ];
        Self { dir: None, keeper, teller, orders, report, kept, stop, status, threads }
    }

    /// Raises these episodes, one after the other.
    pub(crate) fn alerts(&self, episodes: RangeInclusive<u32>) {
        for n in episodes {
            assert!(self.keeper.alerts("fan".into(), vec![alert(n)], b"{}".to_vec()));
        }
    }

    /// Tells a state with this health.
    pub(crate) fn state(&mut self, health: f32) {
        let start = Stamp::from_ms((health * 100_000.0) as i64);
        let features = Features {
            origin: origin(),
            start,
            span: Span::from_secs(1.0),
            kind: SensorKind::Vibration,
            rate_hz: 1000.0,
            unit: Unit::MetersPerSecond2,
            shape: Shape::Stream,
            quality: Quality::GOOD,
            n_left_out: 0,
            speed: None,
            axes: Vec::new(),
        };
        let score = Score::new(origin());
        let finding = Finding {
            origin: origin(),
            start,
            state: auscult::types::State::Normal,
            health,
            wear: None,
            rise: None,
            severity: severity(),
            faults: Vec::new(),
            score: score.clone(),
            speed_hz: None,
            quality: Quality::GOOD,
        };
        let life = Err(Refusal::Learning);
        let outlook = Outlook { origin: origin(), start, life, since: None, wear_per_day: None };
        let advisor = auscult::advise::Config::default().build(&["de"]).unwrap();
        let tick = Tick {
            features: &features,
            score: &score,
            finding: &finding,
            outlook: &outlook,
            alerts: &[],
            advisor: &advisor,
        };
        self.teller.tick(&tick, Vec::new);
    }

    pub(crate) fn report(&self) -> NetworkReport {
        self.report.borrow().clone()
    }

    /// How the store is doing.
    pub(crate) fn kept(&self) -> KeepReport {
        self.kept.borrow().clone()
    }

    /// Rows in the outbox.
    pub(crate) fn rows(&self) -> u64 {
        self.kept.borrow().counts.rows.iter().sum()
    }

    /// The next command handed on.
    pub(crate) fn order(&self) -> Ordered {
        self.orders.recv_timeout(DEADLINE).unwrap()
    }

    pub(crate) fn answer(&mut self, ordered: Ordered, done: bool, message: &str) {
        let reply = Reply { id: ordered.command.id.clone(), done, message: message.into() };
        self.teller.reply(reply, ordered);
    }

    /// Until everything given in so far is kept, sent and cleared.
    pub(crate) fn wait_empty(&self) {
        wait_for("an empty outbox", || self.keeper.n_queued() == 0 && self.rows() == 0);
    }

    pub(crate) fn wait_state(&self, state: State) {
        wait_for(state.name(), || self.report().state == state);
    }

    /// The ordered stop; gives the folder of the store.
    pub(crate) fn stop(self) -> tempfile::TempDir {
        let Self { dir, keeper, stop, threads, .. } = self;
        drop(keeper);
        stop.send(true).unwrap();
        for thread in threads.into_iter().rev() {
            thread.join().unwrap();
        }
        dir.expect("started in a folder of its own")
    }
}

/// This test binary once more, running one of its tests as a child that can be killed.
pub(crate) fn child(test: &str, port: u16) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("AUSCULT_TEST_PORT", port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Body of the child: a box that runs until it is killed. Does nothing in the parent's run.
#[test]
fn run_until_killed() {
    let Ok(port) = std::env::var("AUSCULT_TEST_PORT") else { return };
    let _rig = Rig::start(&config(port.parse().unwrap()));
    // Its input closes with the one who started it, so that it never outlives them.
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
}
