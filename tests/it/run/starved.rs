//! The box held to a small part of a processor: fewer windows are scored, in order and declared, and
//! every sample is taken in or counted as lost.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::group::Group;
use crate::broker::{Broker, Listener, has_mosquitto, wait_for};
use crate::rig::{Mode, Sender, tier};

/// Of one processor, percent: in every run, and where there is time.
const SHARES: [u64; 2] = [20, 1];
const ALL_SHARES: [u64; 5] = [50, 20, 10, 5, 1];
/// From here on nothing may be lost.
const ENOUGH: u64 = 20;
/// Here, with four times the sensors, fewer windows are scored whatever the processor.
const TOO_LITTLE: u64 = 1;

/// What the box counted, as it last said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) produced: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
}

pub(super) fn told(listener: &mut Listener) -> Option<Told> {
    listener.poll();
    let last = listener.got.last()?;
    let status: Value = serde_json::from_str(&last.payload).unwrap();
    let count = |name: &str| status["counters"][name].as_u64();
    Some(Told {
        produced: count("samples_produced")?,
        delivered: count("samples_delivered")?,
        lost: count("samples_lost")?,
    })
}

/// Runs the box with so much of a processor; what it counted in the end, whether it scored fewer
/// windows and said so, and what was sent to it.
fn run(group: &Group, n_sensors: u64, rate_hz: u32, span: Duration) -> (Told, bool, u64) {
    let broker = Broker::start("");
    let senders: Vec<_> = (0..n_sensors).map(|seed| Sender::new(rate_hz, seed)).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut text = format!(
        "site = \"lab\"\ngateway = \"box-1\"\nstore.dir = \"store\"\n\
         [mqtt]\nhost = \"127.0.0.1\"\nport = {}\nstatus_every_s = 1\n",
        broker.port
    );
    for (n, sender) in senders.iter().enumerate() {
        write!(
            text,
            "[[asset]]\nid = \"motor-{n}\"\ndetect.learn_s = 5\n[[asset.sensor]]\nid = \"de\"\n\
             kind = \"vibration\"\naxes = [\"radial\"]\nsource = {}\n",
            sender.source(rate_hz)
        )
        .unwrap();
    }
    fs::write(folder.path().join("auscult.toml"), text).unwrap();
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/status");
    let mut appliance = group.start(folder.path());
    wait_for("all of them are heard", || {
        senders.iter().all(|sender| sender.n_sent() > u64::from(rate_hz))
    });
    std::thread::sleep(span);
    assert!(!appliance.has_ended(), "slow is not dead");
    for sender in &senders {
        sender.set(Mode::Silent);
    }
    let mut before = None;
    wait_for("the accounts stand still", || {
        std::thread::sleep(Duration::from_secs(2));
        let now = told(&mut listener);
        now.is_some() && now == std::mem::replace(&mut before, now.clone())
    });
    let is_slow = slow(&mut listener);
    (before.unwrap(), is_slow, senders.iter().map(Sender::n_sent).sum())
}

/// Whether the box ever said that it scores fewer windows than there are.
fn slow(listener: &mut Listener) -> bool {
    listener.poll();
    listener.got.iter().any(|got| got.payload.contains("the processor is too slow"))
}

#[test]
fn with_a_fifth_of_a_processor_nothing_is_lost_and_with_less_it_is_counted() {
    if !has_mosquitto() {
        return;
    }
    // Without optimisation it is ten times slower.
    let (n_sensors, rate_hz) = if cfg!(debug_assertions) { (1, 3200) } else { (4, 25_600) };
    let span = Duration::from_secs(tier(20, 20, 300));
    for &share in tier(&SHARES[..], &SHARES, &ALL_SHARES) {
        let group = match Group::of_cpu(&format!("share-{share}"), share) {
            Ok(group) => group,
            Err(why) => return println!("skipped: no control group for processors ({why})"),
        };
        let n_sensors = if share > TOO_LITTLE { n_sensors } else { 4 * n_sensors };
        let (told, is_slow, n_sent) = run(&group, n_sensors, rate_hz, span);
        println!("{share} % of a processor, {n_sent} samples, fewer scored {is_slow}: {told:?}");
        assert_eq!(told.produced, told.delivered + told.lost);
        // Whether the group is given its share at all, only a quiet machine can promise.
        if share >= ENOUGH && tier(false, false, true) {
            assert_eq!((told.produced, told.delivered, told.lost), (n_sent, n_sent, 0));
            assert!(!is_slow);
        }
        // Slow sensors may still fit.
        if share <= TOO_LITTLE && !cfg!(debug_assertions) {
            assert!(is_slow, "what is left out is told");
        }
    }
}
