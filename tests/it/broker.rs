//! A real mosquitto on a free loopback port, and a subscriber beside it; both end with the test.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest wait for anything in these tests.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// Waits until `is_so`, or fails with `what`.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Below the ports that the system lends to callers: who calls one of those again and again while nobody
/// listens there ends up calling himself.
const PORTS: std::ops::Range<u32> = 10_000..32_000;
static N_PORTS: AtomicU32 = AtomicU32::new(0);

/// A port of the loopback interface that nobody uses now.
pub(crate) fn free_port() -> u16 {
    let first = std::process::id().wrapping_mul(97);
    let mut tries = std::iter::repeat_with(|| {
        let n = first.wrapping_add(N_PORTS.fetch_add(1, Ordering::Relaxed));
        (PORTS.start + n % (PORTS.end - PORTS.start)) as u16
    });
    tries.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Whether the broker is installed; says so if not.
pub(crate) fn has_mosquitto() -> bool {
    let found = Command::new("mosquitto_sub").arg("--help").stdout(Stdio::null()).status().is_ok();
    if !found {
        println!("skipped: mosquitto and mosquitto-clients are not installed");
    }
    found
}

/// Sends a signal to a process, or to a group: `-` and its number. Whether somebody got it.
pub(crate) fn signal(whom: &str, name: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("kill -s {name} -- {whom}")]).stderr(Stdio::null());
    shell.status().unwrap().success()
}

/// A broker that can be killed and started again on the same port.
pub(crate) struct Broker {
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Broker {
    /// Running, with further lines of configuration.
    pub(crate) fn start(more: &str) -> Self {
        let mut broker = Self::away(more);
        broker.up();
        broker
    }

    /// Configured, not running.
    pub(crate) fn away(more: &str) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut lines = format!("listener {port} 127.0.0.1\n{more}\n");
        if !more.contains("allow_anonymous") {
            lines.push_str("allow_anonymous true\n");
        }
        writeln!(lines, "persistence_location {}/", dir.path().display()).unwrap();
        if fs::metadata("/proc/self")
            .is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
        {
            lines.push_str("user root\n");
        }
        let mut file = fs::File::create(dir.path().join("mosquitto.conf")).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        Self { port, dir, child: None }
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn up(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let program = if Path::new("/usr/sbin/mosquitto").exists() {
            "/usr/sbin/mosquitto"
        } else {
            "mosquitto"
        };
        let log = fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let conf = self.dir.path().join("mosquitto.conf");
        let mut command = Command::new(program);
        command.arg("-v").arg("-c").arg(conf).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        let port = self.port;
        wait_for("the broker listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        assert!(signal(&self.child.as_ref().unwrap().id().to_string(), name));
    }

    /// What it logged.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("mosquitto.log")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One message as a subscriber got it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) at: Instant,
    pub(crate) topic: String,
    pub(crate) is_retained: bool,
    pub(crate) payload: String,
}

/// A `mosquitto_sub` process; it reconnects by itself.
pub(crate) struct Listener {
    child: Child,
    lines: Receiver<Got>,
    pub(crate) got: Vec<Got>,
}

impl Listener {
    /// Listens to a topic filter with QoS 1, from the moment this returns.
    pub(crate) fn new(broker: &Broker, filter: &str) -> Self {
        let n_before = broker.log_text().matches("Sending SUBACK").count();
        let mut child = Command::new("mosquitto_sub")
            .args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1", "-t", filter])
            .args(["-F", "%t\t%r\t%p"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (to, lines) = channel();
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let mut parts = line.splitn(3, '\t').map(str::to_owned);
                let mut part = || parts.next().unwrap_or_default();
                let (at, topic, retained, payload) = (Instant::now(), part(), part(), part());
                if to.send(Got { at, topic, is_retained: retained == "1", payload }).is_err() {
                    break;
                }
            }
        });
        wait_for("the subscriber is heard", || {
            broker.log_text().matches("Sending SUBACK").count() > n_before
        });
        Self { child, lines, got: Vec::new() }
    }

    /// Takes in what came; how many messages there are now.
    pub(crate) fn poll(&mut self) -> usize {
        self.got.extend(self.lines.try_iter());
        self.got.len()
    }

    /// Waits for a message that fits.
    pub(crate) fn wait(&mut self, what: &str, fits: impl Fn(&Got) -> bool) -> Got {
        let mut found = None;
        wait_for(what, || {
            self.poll();
            found = self.got.iter().find(|got| fits(got)).cloned();
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Publishes one message with `mosquitto_pub`, QoS 1.
pub(crate) fn publish(broker: &Broker, topic: &str, payload: &str, retain: bool) {
    let mut command = Command::new("mosquitto_pub");
    command.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-q", "1", "-t", topic]);
    command.args(["-m", payload]).args(retain.then_some("-r"));
    assert!(command.status().unwrap().success(), "mosquitto_pub {topic}");
}
