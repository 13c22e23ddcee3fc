//! A disk that refuses: full, read only, failing at any one write or fsync. What the keeper was given
//! is kept all the same, it says so, and it finds its way back alone.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use auscult::daemon::SystemClock;
use auscult::daemon::keep::{Keep, KeepEnds, KeepReport, Keeper, Recording, Vault};
use auscult::publish::Identity;
use auscult::store::{Baselines, Config, Core};
use auscult::types::{Clock, Span, Stamp};

use super::SmallDisk;
use crate::broker::wait_for;
use crate::publish::rig::{alert, field};
use crate::rig::{has_strace, tier};

/// A clock that runs faster, so that what comes every few seconds comes soon.
struct Hasty(SystemClock);

impl Clock for Hasty {
    fn now(&self) -> Stamp {
        self.0.now()
    }

    fn monotonic(&self) -> Span {
        Span(self.0.monotonic().0 * 100)
    }
}

fn config(dir: &Path) -> Config {
    Config { dir: dir.join("store"), ballast_bytes: 1 << 18, ..Config::default() }
}

/// The keeper, not running yet, and its ends.
fn keep(dir: &Path) -> (Keep, Keeper, KeepEnds) {
    drop(tracing_subscriber::fmt().with_test_writer().try_init());
    let config = config(dir);
    let vault = Vault::open(&config).unwrap();
    let identity = Identity { epoch: vault.epoch(), ..Identity::default() };
    let clock = Arc::new(Hasty(SystemClock::new()));
    Keep::new(&config, vault, identity, clock).unwrap()
}

/// The keeper's thread and its ends.
struct Box {
    keeper: Keeper,
    ends: KeepEnds,
    thread: JoinHandle<()>,
}

impl Box {
    fn start(dir: &Path) -> Self {
        let (keep, keeper, ends) = keep(dir);
        Self { keeper, ends, thread: std::thread::spawn(move || keep.run()) }
    }

    /// Gives in alert `n` and waits until the keeper has dealt with it.
    fn alert(&self, n: u32) {
        let before = self.report().watermark.version;
        assert!(self.keeper.alerts("fan".into(), vec![alert(n)], n.to_string().into_bytes()));
        wait_for("the keeper", || self.report().watermark.version > before);
    }

    fn report(&self) -> KeepReport {
        self.ends.report.borrow().clone()
    }

    fn wait_well(&self) {
        wait_for("the disk is used again", || {
            let report = self.report();
            report.durable && report.troubles.is_empty()
        });
    }

    fn stop(self) {
        let Self { keeper, ends, thread } = self;
        drop((keeper, ends));
        thread.join().unwrap();
    }
}

/// Episodes in the store of `dir`, and where the alarms stand.
fn kept(dir: &Path) -> (Vec<u32>, Option<u32>) {
    let (mut core, opened) = Core::open(&config(dir)).unwrap();
    assert_eq!(opened.salvage, None);
    let rows = core.due([0; 4], 10_000).unwrap();
    let episode = |payload: &[u8]| {
        field(std::str::from_utf8(payload).unwrap(), "episode").parse::<u32>().unwrap()
    };
    let mut episodes: Vec<u32> = rows.iter().map(|row| episode(&row.payload)).collect();
    episodes.sort_unstable();
    let state = core.memory("fan").unwrap();
    (episodes, state.map(|bytes| String::from_utf8(bytes).unwrap().parse().unwrap()))
}

fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("fill");
    let mut file = fs::File::create(&path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    path
}

/// A disk that is slow for long: recordings beyond a limit are refused, of what was learned the latest is
/// kept, and alerts are taken all the while.
#[test]
fn what_waits_for_the_disk_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (keep, keeper, ends) = keep(dir.path());
    let eight_mib = |n: usize| Recording {
        id: format!("clip-{n}").into(),
        rate_hz: 48_000,
        n_channels: 1,
        samples: vec![0.0; 2 << 20],
    };
    let n_taken = (0..9).filter(|n| keeper.recording(eight_mib(*n))).count();
    assert_eq!(n_taken, 4);
    for n in 0..9 {
        assert!(keeper.learned("fan".into(), format!("day {n}").into_bytes()));
        assert!(keeper.alerts("fan".into(), vec![alert(n)], n.to_string().into_bytes()));
    }
    let thread = std::thread::spawn(move || keep.run());
    wait_for("the keeper", || keeper.n_queued() == 0);
    assert!(keeper.recording(eight_mib(9)), "there is room again");
    Box { keeper, ends, thread }.stop();
    assert_eq!(fs::read_dir(dir.path().join("store/clip")).unwrap().count(), 5);
    let (memory, _) =
        Baselines::open(&dir.path().join("store")).unwrap().load("fan").unwrap().unwrap();
    assert_eq!(memory, b"day 8");
    assert_eq!(kept(dir.path()), ((0..9).collect(), Some(8)));
}

#[test]
fn a_full_disk_gives_up_its_ballast_then_memory_helps_out_and_all_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::at(dir.path(), "size=4m") else { return };
    let it = Box::start(dir.path());
    it.alert(1);
    it.wait_well();
    let filler = fill(dir.path());
    let mut n = 1;
    while it.report().troubles.is_empty() {
        n += 1;
        it.alert(n);
    }
    let held_back = |trouble: &String| trouble.contains("held back for alerts are in use");
    assert!(it.report().durable && it.report().troubles.iter().any(held_back));
    let more = fill(&dir.path().join("store"));
    while it.report().durable {
        n += 1;
        it.alert(n);
    }
    assert!(it.report().troubles.iter().any(|trouble| trouble.contains("the disk is full")));
    for _ in 0..20 {
        n += 1;
        it.alert(n);
    }
    assert_eq!(it.report().counts.rows[0], u64::from(n), "nothing is lost");
    fs::remove_file(filler).unwrap();
    fs::remove_file(more).unwrap();
    it.wait_well();
    it.stop();
    assert_eq!(kept(dir.path()), ((1..=n).collect(), Some(n)));
}

#[test]
fn a_disk_that_turns_read_only_is_waited_for_even_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::at(dir.path(), "size=16m") else { return };
    let it = Box::start(dir.path());
    it.alert(1);
    it.stop();
    disk.change("ro");
    let it = Box::start(dir.path());
    assert!(!it.report().durable && !it.report().troubles.is_empty());
    it.alert(2);
    assert!(!it.report().durable);
    disk.change("rw");
    it.wait_well();
    it.alert(3);
    it.stop();
    assert_eq!(kept(dir.path()), ((1..=3).collect(), Some(3)));
}

/// Folder that a child of these tests works in.
const KEY: &str = "AUSCULT_TEST_REFUSAL";

/// Body of a child: alerts are kept while the system refuses a call now and then.
#[test]
fn keep_on_a_failing_disk() {
    let Ok(dir) = std::env::var(KEY) else { return };
    let it = Box::start(dir.as_ref());
    for n in 1..=12 {
        it.alert(n);
    }
    it.wait_well();
    it.stop();
}

/// Runs the child with calls of its store refused; what it said, or `None` without strace.
fn run_refused(dir: &Path, refusal: &str) -> Option<String> {
    let [db, log] = ["core.db", "core.db-wal"].map(|name| dir.join("store").join(name));
    let out = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={refusal}")])
        .args([Path::new("-P"), &db, Path::new("-P"), &log])
        .arg(std::env::current_exe().unwrap())
        .args(["store::refusal::keep_on_a_failing_disk", "--exact", "--nocapture"])
        .env(KEY, dir)
        .stdin(Stdio::null())
        .output();
    if !has_strace() {
        println!("skipped: strace is not installed or may not trace here");
        return None;
    }
    let out = out.unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{refusal}: {said}{}", String::from_utf8_lossy(&out.stderr));
    Some(said)
}

#[test]
fn one_call_refused_anywhere_or_several_in_a_row_cost_no_alert() {
    let step = tier(12, 4, 1);
    let mut refusals = Vec::new();
    for (calls, error, last) in [
        ("fdatasync,fsync", "EIO", 30),
        ("write,pwrite64", "EIO", 160),
        ("write,pwrite64", "ENOSPC", 160),
    ] {
        // The first calls make the store: a folder that refuses these is told at the start.
        let calls = (24..last).step_by(step).map(|at| {
            let upto = at + at % 9;
            format!("{calls}:error={error}:when={at}..{upto}")
        });
        refusals.extend(calls);
    }
    // Most of the time each waits until the disk is tried again: several wait together.
    let n_told: usize = std::thread::scope(|scope| {
        let share = refusals.chunks(refusals.len().div_ceil(8));
        let threads: Vec<_> = share.map(|share| scope.spawn(|| try_all(share))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{} refusals, told as an error in {n_told} runs", refusals.len());
    assert!(n_told > 0 || !has_strace(), "no disk was ever given up");
}

/// How many of these were told as an error.
fn try_all(refusals: &[String]) -> usize {
    let mut n_told = 0;
    for refusal in refusals {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Box::start(dir.path()).stop();
        let Some(said) = run_refused(dir.path(), refusal) else { break };
        n_told += usize::from(said.contains("ERROR"));
        assert_eq!(kept(dir.path()), ((1..=12).collect(), Some(12)), "{refusal}");
    }
    n_told
}
