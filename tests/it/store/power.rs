//! The power goes at every moment, and any part of what was not made to last is lost.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use auscult::store::{Baselines, Change, Core, replace};

use super::{config, id, look, memory, row};
use crate::rig::{Dice, Disk, Left, Op, Picture, lay_down, record, tier};

/// Faults shown of a run that failed.
const FAULTS_SHOWN: usize = 10;

/// Folder that a child of these tests works in.
const KEY: &str = "AUSCULT_TEST_POWER";

/// A folder in memory where the system has one: what is synced is known from the calls.
fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").unwrap();
    out.flush().unwrap();
}

/// Everything that holds for the store at a moment, as its user was told.
#[derive(Clone, Debug, Default)]
struct Told {
    kept: BTreeSet<u64>,
    cleared: BTreeSet<u64>,
    /// Begun, not yet said to be done.
    adding: BTreeSet<u64>,
    clearing: BTreeSet<u64>,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let word = words.next().unwrap();
        let ns: BTreeSet<u64> = words.map_while(|n| n.parse().ok()).collect();
        match word {
            "adding" => self.adding = ns,
            "clearing" => self.clearing = ns,
            "done" => {
                self.kept.append(&mut self.adding);
                self.cleared.append(&mut self.clearing);
            }
            "damaged" if line.ends_with("beyond repair") => *self = Self::default(),
            _ => {}
        }
    }
}

/// What is wrong with a store found after a power cut; `None` if nothing is.
fn fault(dir: &Path, told: &Told, may_salvage: bool) -> Option<String> {
    let (mut core, opened) = match Core::open(&config(dir)) {
        Ok(opened) => opened,
        Err(error) => return Some(format!("does not open: {error}")),
    };
    if opened.salvage.is_some() && !may_salvage {
        return Some(format!("had to be rebuilt: {:?}", opened.salvage));
    }
    let found: BTreeSet<u64> = match look(&mut core) {
        Ok(found) => found.into_iter().collect(),
        Err(fault) => return Some(fault),
    };
    let must = told.kept.iter().filter(|n| !told.clearing.contains(n) && !told.cleared.contains(n));
    for n in must {
        if !found.contains(n) {
            return Some(format!("row {n} was kept and is lost"));
        }
    }
    for n in &found {
        if !told.kept.contains(n) && !told.adding.contains(n) {
            return Some(format!("row {n} was never given in"));
        }
        if told.cleared.contains(n) {
            return Some(format!("row {n} was cleared and is back"));
        }
    }
    let added = told.adding.iter().filter(|n| found.contains(n)).count();
    let cleared = told.clearing.iter().filter(|n| !found.contains(n)).count();
    let is_new = match core.memory("fan") {
        Ok(bytes) => {
            let n = bytes.map_or(0, |bytes| String::from_utf8(bytes).unwrap().parse().unwrap());
            told.adding.last().is_some_and(|&last| n == last)
        }
        Err(error) => return Some(format!("no alarm state: {error}")),
    };
    let is_whole = [added, cleared] == [0, 0] && !is_new
        || [added, cleared] == [told.adding.len(), told.clearing.len()]
            && (is_new || told.adding.is_empty());
    if !is_whole {
        return Some(format!("half a batch: {added} rows, {cleared} cleared, state {is_new}"));
    }
    let again = core.commit(&[row(1_000_000), Change::Acked(id(1_000_000))]);
    again.err().map(|error| format!("takes nothing any more: {error}"))
}

/// What was found in the states of a log.
struct Cuts {
    n_states: usize,
    faults: Vec<String>,
}

/// Lays down every state of a log: after each call nothing, everything and `n_some` random parts of
/// what was not made to last, from call `first` on. `judge` gets the folder and what was said before; `faults_max` is
/// enough.
fn cuts(
    ops: &[Op],
    first: usize,
    n_some: u64,
    faults_max: usize,
    mut judge: impl FnMut(&Path, &[&str]) -> Option<String>,
) -> Cuts {
    let dir = fast_dir();
    let place = dir.path().join("disk");
    let (mut disk, mut said) = (Disk::default(), Vec::new());
    let mut cuts = Cuts { n_states: 0, faults: Vec::new() };
    for (k, op) in ops.iter().enumerate() {
        disk.step(op);
        if let Op::Said(line) = op {
            said.push(line.as_str());
        }
        if k < first {
            continue;
        }
        let some = (0..n_some).map(|n| Left::Some(k as u64 * 1000 + n));
        let all = [Left::Nothing, Left::All].into_iter().chain(some);
        let mut seen: Vec<Picture> = Vec::new();
        for left in all.take(if disk.is_clean() { 1 } else { usize::MAX }) {
            let picture = disk.cut(left);
            if seen.contains(&picture) {
                continue;
            }
            lay_down(&picture, &place);
            cuts.n_states += 1;
            if let Some(fault) = judge(&place, &said) {
                cuts.faults.push(format!("call {k} of {}, {left:?}: {fault}", ops.len()));
            }
            if cuts.faults.len() >= faults_max {
                return cuts;
            }
            seen.push(picture);
        }
    }
    cuts
}

/// States of the store in `store/`; a rebuild is in order once the line `damaged...` was said.
fn store_cuts(ops: &[Op], first: usize, n_some: u64, faults_max: usize) -> Cuts {
    let (mut told, mut n_heard, mut may_salvage) = (Told::default(), 0, false);
    cuts(ops, first, n_some, faults_max, |dir, said| {
        for line in &said[n_heard..] {
            told.hear(line);
            may_salvage |= line.starts_with("damaged");
        }
        n_heard = said.len();
        fault(&dir.join("store"), &told, may_salvage)
    })
}

fn assert_clean(what: &str, cuts: &Cuts, least: usize) {
    println!("{what}: {} states, {} wrong", cuts.n_states, cuts.faults.len());
    assert!(cuts.faults.is_empty(), "{}", cuts.faults.join("\n"));
    assert!(cuts.n_states >= least, "{} states are too few to tell", cuts.n_states);
}

/// The rig must see what a weaker store would lose, or its silence means nothing.
fn assert_noticed(what: &str, ops: &[Op]) {
    let cuts = store_cuts(ops, 0, 1, 1);
    println!("planted {what}: {} states to the first loss", cuts.n_states);
    assert!(!cuts.faults.is_empty(), "{what} goes unnoticed");
    println!("  {}", cuts.faults[0]);
}

/// Commits batches of alerts with their state and clears older ones, telling what it does.
fn work(core: &mut Core, dice: &mut Dice, n: &mut u64, n_batches: u64) {
    let words = |ns: &[u64]| ns.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    let mut open: Vec<u64> = Vec::new();
    for _ in 0..n_batches {
        let new: Vec<u64> = (0..dice.below(4)).map(|k| *n + 1 + k).collect();
        *n += new.len() as u64;
        let old: Vec<u64> = open.drain(..open.len().min(dice.below(4) as usize)).collect();
        say(&format!("adding {}", words(&new)));
        say(&format!("clearing {}", words(&old)));
        let changes = new.iter().map(|&n| row(n)).chain(new.last().map(|&n| memory(n)));
        let changes: Vec<_> = changes.chain(old.iter().map(|&n| Change::Acked(id(n)))).collect();
        core.commit(&changes).unwrap();
        say("done");
        open.extend(new);
    }
}

/// Body of a child. Does nothing in the parent's run.
#[test]
fn work_to_be_cut() {
    let Ok(dir) = std::env::var(KEY) else { return };
    let dir = PathBuf::from(dir);
    let n_batches = tier(80, 80, 500);
    let (mut dice, mut n) = (Dice::new(1), 0);
    for _ in 0..2 {
        let (mut core, _) = Core::open(&config(&dir.join("store"))).unwrap();
        work(&mut core, &mut dice, &mut n, n_batches);
    }
}

#[test]
fn a_power_cut_at_any_write_loses_nothing_that_was_kept() {
    let dir = fast_dir();
    let Some(ops) = record("store::power::work_to_be_cut", KEY, dir.path()) else { return };
    let (n_some, least) = tier((1, 5_000), (3, 10_000), (6, 100_000));
    assert_clean("store", &store_cuts(&ops, 0, n_some, FAULTS_SHOWN), least);
    assert_noticed("synchronous=NORMAL", &without_wal_syncs(&ops));
    let nameless = |op: &Op| !matches!(op, Op::SyncFolder(_));
    let nameless: Vec<_> = ops.into_iter().filter(nameless).collect();
    assert_noticed("no folder synced", &nameless);
}

/// The log as it would be with `synchronous=NORMAL`: the write-ahead log is made to last before it
/// is carried over into the database, not at each commit (SQLite, `PRAGMA synchronous`).
fn without_wal_syncs(ops: &[Op]) -> Vec<Op> {
    let is = |path: &Path, end: &str| path.to_string_lossy().ends_with(end);
    let mut wals = BTreeSet::new();
    let mut kept = Vec::new();
    for (k, op) in ops.iter().enumerate() {
        if let Op::Name { path, file } = op
            && is(path, "-wal")
        {
            wals.insert(*file);
        }
        let is_wal = |op: &&Op| matches!(op, Op::Write { file, .. } if wals.contains(file));
        let next = ops[k + 1..].iter().find(|op| matches!(op, Op::Write { .. }));
        let begins_anew = matches!(ops[..k].last(), Some(Op::Write { at: 0, .. }));
        let is_needed = begins_anew || !next.as_ref().is_some_and(is_wal);
        if !matches!(op, Op::Sync(file) if wals.contains(file)) || is_needed {
            kept.push(op.clone());
        }
    }
    kept
}

/// A store rots, is found so after a crash with its log beside it, and is rebuilt.
fn rebuild(dir: &Path, rot: impl Fn(&mut [u8], [u8; 16]) -> &'static str) {
    let store = config(&dir.join("store"));
    let (mut dice, mut n) = (Dice::new(2), 0);
    let (mut core, _) = Core::open(&store).unwrap();
    work(&mut core, &mut dice, &mut n, 12);
    drop(core);
    let (mut core, _) = Core::open(&store).unwrap();
    work(&mut core, &mut dice, &mut n, 6);
    let epoch = core.epoch().0;
    let [db, log] = ["core.db", "core.db-wal"].map(|name| store.dir.join(name));
    let (mut db_bytes, log_bytes) = (fs::read(&db).unwrap(), fs::read(&log).unwrap());
    drop(core);
    say(rot(&mut db_bytes, epoch));
    for (path, bytes) in [(&log, log_bytes), (&db, db_bytes)] {
        let mut file = File::create(path).unwrap();
        file.write_all(&bytes).unwrap();
        file.sync_all().unwrap();
        File::open(&store.dir).unwrap().sync_all().unwrap();
    }
    say("found");
    let (mut core, opened) = Core::open(&store).unwrap();
    assert!(opened.salvage.is_some());
    work(&mut core, &mut dice, &mut n, 6);
}

/// Body of a child: one bit of the epoch is wrong, every row can still be read.
#[test]
fn rebuild_to_be_cut() {
    let Ok(dir) = std::env::var(KEY) else { return };
    rebuild(dir.as_ref(), |bytes, epoch| {
        let at = bytes.windows(16).position(|bytes| bytes == epoch).unwrap();
        bytes[at] ^= 1;
        "damaged"
    });
}

/// Body of a child: without the first page nothing can be read, and its log must not be mistaken
/// for the new store's.
#[test]
fn new_start_to_be_cut() {
    let Ok(dir) = std::env::var(KEY) else { return };
    rebuild(dir.as_ref(), |bytes, _| {
        bytes[..4096].fill(0xff);
        "damaged beyond repair"
    });
}

#[test]
fn a_power_cut_while_a_damaged_store_is_rebuilt_costs_no_row() {
    for test in ["rebuild_to_be_cut", "new_start_to_be_cut"] {
        let dir = fast_dir();
        let Some(ops) = record(&format!("store::power::{test}"), KEY, dir.path()) else { return };
        let n_some = tier(6, 20, 40);
        let found = ops.iter().position(|op| *op == Op::Said("found".into())).unwrap();
        assert_clean(test, &store_cuts(&ops, found, n_some, FAULTS_SHOWN), 500);
    }
}

/// Content number `n` of a file: some sectors long, and telling whether it is whole.
fn content(n: usize) -> Vec<u8> {
    vec![n as u8; 100 + n * 700]
}

/// Body of a child: files replaced whole, as configurations and what was learned are.
#[test]
fn replace_to_be_cut() {
    let Ok(dir) = std::env::var(KEY) else { return };
    let dir = PathBuf::from(dir);
    let learned = Baselines::open(&dir).unwrap();
    for n in 1..=12 {
        say(&format!("adding {n}"));
        replace(&dir.join("auscult.toml"), &content(n)).unwrap();
        learned.save("fan", &content(n)).unwrap();
        say("done");
    }
}

#[test]
fn a_power_cut_leaves_a_file_that_is_replaced_old_or_new() {
    let dir = fast_dir();
    let Some(ops) = record("store::power::replace_to_be_cut", KEY, dir.path()) else { return };
    let (mut told, mut n_heard) = (Told::default(), 0);
    let n_some = tier(6, 20, 100);
    let cuts = cuts(&ops, 0, n_some, FAULTS_SHOWN, |dir, said| {
        said[n_heard..].iter().for_each(|line| told.hear(line));
        n_heard = said.len();
        let done = told.kept.last().copied().unwrap_or(0) as usize;
        let begun = told.adding.last().map_or(done, |&n| n as usize);
        let is_either = |bytes: Option<&[u8]>| {
            bytes.map_or(done == 0, |bytes| bytes == content(done) || bytes == content(begun))
        };
        let plain = fs::read(dir.join("auscult.toml")).ok();
        let learned = Baselines::open(dir).and_then(|learned| learned.load("fan"));
        let learned = match learned {
            Ok(found) => found.map(|(bytes, _)| bytes),
            Err(error) => return Some(error.to_string()),
        };
        let fault = |what: &str| Some(format!("{what} is neither content {done} nor {begun}"));
        match (is_either(plain.as_deref()), is_either(learned.as_deref())) {
            (true, true) => None,
            (false, _) => fault("the file"),
            (_, false) => fault("what was learned"),
        }
    });
    assert_clean("replace", &cuts, 500);
}
