//! The box and the broker on two hosts with a cable between them, made of network namespaces.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use auscult::publish::{Config, State};

use super::by_id;
use super::rig::{Rig, config};
use crate::broker::{Broker, DEADLINE, Listener, has_mosquitto, wait_for};
use crate::rig::tier;

/// Name of the broker, on the box.
const BROKER: &str = "broker.test";
/// Where it is at first, and later.
const BROKER_AT: [&str; 2] = ["10.111.0.1", "10.111.0.9"];
/// Where the box is at first, and later.
const BOX_AT: [&str; 2] = ["10.111.0.2", "10.111.0.3"];
/// The ends of the cable.
const BOX_END: &str = "box";
const BROKER_END: &str = "broker";

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let out = command.args(words).output().map_err(|why| format!("{line}: {why}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{line}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

fn must(line: &str) {
    run(line).unwrap();
}

/// Two hosts joined by a cable; taken down when dropped.
struct Hosts {
    names: [String; 2],
}

impl Hosts {
    fn new() -> Result<Self, String> {
        let names = ["box", "broker"].map(|end| format!("auscult-{end}-{}", std::process::id()));
        let this = Self { names };
        let [ours, theirs] = &this.names;
        run(&format!("ip netns add {ours}"))?;
        run(&format!("ip netns add {theirs}"))?;
        run(&format!(
            "ip link add {BOX_END} netns {ours} type veth peer name {BROKER_END} netns {theirs}"
        ))?;
        for (name, end, at) in [(ours, BOX_END, BOX_AT), (theirs, BROKER_END, BROKER_AT)] {
            run(&format!("ip -n {name} link set lo up"))?;
            run(&format!("ip -n {name} addr add {}/24 dev {end}", at[0]))?;
            run(&format!("ip -n {name} link set {end} up"))?;
        }
        Ok(this)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            drop(run(&format!("ip netns del {name}")));
        }
        drop(std::fs::remove_dir_all(Path::new("/etc/netns").join(&self.names[0])));
    }
}

#[test]
fn nothing_is_lost_on_a_bad_cable() {
    if !has_mosquitto() {
        return;
    }
    let hosts = match Hosts::new() {
        Ok(hosts) => hosts,
        Err(why) => return println!("skipped: no network namespaces ({why})"),
    };
    let [ours, theirs] = &hosts.names;
    let status = Command::new("ip")
        .args(["netns", "exec", theirs])
        .arg(std::env::current_exe().unwrap())
        .args(["publish::cable::on_the_brokers_host", "--exact", "--nocapture"])
        .env("AUSCULT_TEST_BOX", ours)
        .status()
        .unwrap();
    assert!(status.success());
}

/// The box, in its own namespace: orders go in, a line about it comes out for each.
struct Remote {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    n_told: u32,
}

impl Remote {
    fn start(host: &str, port: u16) -> Self {
        let mut child = Command::new("ip")
            .args(["netns", "exec", host])
            .arg(std::env::current_exe().unwrap())
            .args(["publish::cable::in_the_box", "--exact", "--nocapture"])
            .env("AUSCULT_TEST_BROKER_PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (to, answers) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(answer) = line.strip_prefix("box: ") {
                    drop(to.send(answer.to_owned()));
                }
            }
        });
        Self { child, orders, answers, n_told: 0 }
    }

    /// What it says: state, rows not acknowledged, trouble.
    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.answers.recv_timeout(DEADLINE).expect("the box answers")
    }

    /// Raises `n` more alerts; how many there are then.
    fn alerts(&mut self, n: u32) {
        self.order(&format!("{} {}", self.n_told + 1, self.n_told + n));
        self.n_told += n;
    }

    fn wait(&mut self, says: &str) {
        wait_for(says, || self.order("").contains(says));
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The body of the box. Does nothing in the parents' run.
#[test]
fn in_the_box() {
    let Ok(port) = std::env::var("AUSCULT_TEST_BROKER_PORT") else { return };
    let rig = Rig::start(&Config {
        host: BROKER.into(),
        keep_alive_s: 5,
        ack_timeout_s: 2,
        connect_timeout_s: 2,
        retry_max_s: 1,
        ..config(port.parse().unwrap())
    });
    // Its input closes with the one who started it, so that it never outlives them.
    for line in std::io::stdin().lines().map_while(Result::ok) {
        if let Some((from, to)) = line.split_once(' ') {
            rig.alerts(from.parse().unwrap()..=to.parse().unwrap());
        }
        let report = rig.report();
        let trouble = report.trouble.unwrap_or_default();
        println!("box: {} rows={} {trouble}", report.state.name(), rig.rows());
    }
}

/// The scene, on the broker's host. Does nothing in the parent's run.
#[test]
fn on_the_brokers_host() {
    let Ok(host) = std::env::var("AUSCULT_TEST_BOX") else { return };
    // No other host is on this cable.
    let broker = Broker::start("listener 1883 0.0.0.0");
    let mut listener = Listener::new(&broker, "auscult/#");
    resolve(&host, BROKER_AT[0]);
    let mut remote = Remote::start(&host, 1883);
    remote.wait(State::Online.name());
    let faults: [fn(&str, &mut Remote); 5] =
        [pulled, half_open, box_moves, broker_moves, packets_lost];
    for fault in faults.into_iter().cycle().take(tier(5, 5, 100)) {
        fault(&host, &mut remote);
        remote.wait("rows=0");
        let n_told = remote.n_told as usize;
        wait_for("every alert", || by_id(&mut listener).len() >= n_told);
        assert_eq!(by_id(&mut listener).len(), n_told, "none doubled by id");
    }
    println!("{} alerts over a bad cable, each there by its id", remote.n_told);
}

/// Tells the box where the broker is.
fn resolve(host: &str, at: &str) {
    let dir = Path::new("/etc/netns").join(host);
    std::fs::create_dir_all(&dir).unwrap();
    // In place: the file is mounted over the one that is there.
    let mut file = std::fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .open(dir.join("hosts"))
        .unwrap();
    writeln!(file, "{at} {BROKER}").unwrap();
}

/// The cable is out for a while: sent into the dark, told, sent again.
fn pulled(_: &str, remote: &mut Remote) {
    must(&format!("ip link set {BROKER_END} down"));
    remote.alerts(20);
    remote.wait("offline rows=20 broker.test:1883");
    must(&format!("ip link set {BROKER_END} up"));
}

/// What the box sends comes in; what it is answered gets lost.
fn half_open(_: &str, remote: &mut Remote) {
    must(&format!("ip route add blackhole {}", BOX_AT[0]));
    remote.alerts(20);
    remote.wait("offline");
    must(&format!("ip route del blackhole {}", BOX_AT[0]));
}

/// The box gets another address: its connection is dead without a word.
fn box_moves(host: &str, remote: &mut Remote) {
    for at in [BOX_AT[1], BOX_AT[0]] {
        must(&format!("ip -n {host} addr flush dev {BOX_END}"));
        must(&format!("ip -n {host} addr add {at}/24 dev {BOX_END}"));
        remote.alerts(20);
        remote.wait("rows=0");
    }
}

/// The broker is found under its name elsewhere.
fn broker_moves(host: &str, remote: &mut Remote) {
    for at in [BROKER_AT[1], BROKER_AT[0]] {
        must(&format!("ip addr flush dev {BROKER_END}"));
        must(&format!("ip addr add {at}/24 dev {BROKER_END}"));
        resolve(host, at);
        remote.alerts(20);
        remote.wait("rows=0");
    }
}

/// Packets get lost: every fifth, or, where the kernel cannot, all beyond a narrow rate.
fn packets_lost(_: &str, remote: &mut Remote) {
    let on = |how: &str| run(&format!("tc qdisc add dev {BROKER_END} root {how}"));
    let narrow = "tbf rate 128kbit burst 3000 limit 6000";
    on("netem loss 20%").or_else(|_| on(narrow)).unwrap();
    remote.alerts(100);
    remote.wait("rows=0");
    must(&format!("tc qdisc del dev {BROKER_END} root"));
}
