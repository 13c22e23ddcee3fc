//! The store against kills, full disks, damage and chance.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use auscult::daemon::{Back, Office, SystemClock};
use auscult::publish::{self, Identity};
use auscult::store::{Change, Class, Config, Core, Error, EventId, NewRow, Rank};
use auscult::types::Stamp;
use proptest::prelude::*;

use crate::rig::{Dice, tier};

mod power;
mod refusal;

fn config(dir: &Path) -> Config {
    Config { dir: dir.into(), ..Config::default() }
}

fn id(n: u64) -> EventId {
    EventId(u128::from(n).to_be_bytes())
}

/// A payload that tells whether it is whole.
fn payload(n: u64) -> Vec<u8> {
    let text = format!("{{\"n\":{n},\"fill\":\"");
    let fill = (0..200 + n % 700).map(|k| b'a' + ((n + k) % 26) as u8);
    text.into_bytes().into_iter().chain(fill).chain(*b"\"}").collect()
}

fn row(n: u64) -> Change {
    Change::Row(NewRow {
        id: id(n),
        life: id(n),
        class: Class::Alert,
        rank: Rank::Landmark,
        at: Stamp(n as i64),
        topic: "auscult/v1/s/g/fan/alert".into(),
        payload: payload(n),
    })
}

/// The alarm state after row `n`.
fn memory(n: u64) -> Change {
    Change::Memory { asset: "fan".into(), bytes: n.to_string().into_bytes() }
}

/// Every row there is, each checked whole.
fn all(core: &mut Core) -> Vec<u64> {
    look(core).unwrap()
}

/// As [`all`], with what is wrong instead of a panic.
fn look(core: &mut Core) -> Result<Vec<u64>, String> {
    let (mut ns, mut after) = (Vec::new(), [0; 4]);
    loop {
        let rows = core.due(after, 100).map_err(|error| error.to_string())?;
        let Some(last) = rows.last() else { return Ok(ns) };
        after[0] = last.seq;
        for row in rows {
            let n = u128::from_be_bytes(row.id.0) as u64;
            if row.payload != payload(n) {
                return Err(format!("row {n} is not as it was given in"));
            }
            ns.push(n);
        }
    }
}

/// Body of the child: keeps rows one after the other and says each when it is kept, until killed.
/// Does nothing in the parent's run.
#[test]
fn keep_until_killed() {
    let Ok(dir) = std::env::var("AUSCULT_TEST_STORE") else { return };
    let (mut core, _) = Core::open(&config(dir.as_ref())).unwrap();
    let first = core
        .memory("fan")
        .unwrap()
        .map_or(1, |bytes| String::from_utf8(bytes).unwrap().parse::<u64>().unwrap() + 1);
    let mut out = std::io::stdout();
    for n in first.. {
        core.commit(&[row(n), memory(n)]).unwrap();
        writeln!(out, "kept {n}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_kept_and_invents_nothing() {
    let n_kills = tier(12, 2000, 10_000);
    let (mut dir, mut last) = (tempfile::tempdir().unwrap(), 0);
    for kill in 0..n_kills {
        // A store of some hundred rows: all of them are looked at after every kill.
        if kill % 50 == 49 {
            (dir, last) = (tempfile::tempdir().unwrap(), 0);
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::keep_until_killed", "--exact", "--nocapture"])
            .env("AUSCULT_TEST_STORE", dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let n_before_kill = 1 + kill % 17;
        let mut n_kept = 0;
        while n_kept < n_before_kill {
            let line = lines.next().expect("the child keeps rows").unwrap();
            let Some(n) = line.split("kept ").nth(1) else { continue };
            (last, n_kept) = (n.parse().unwrap(), n_kept + 1);
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            last = line.split("kept ").nth(1).map_or(last, |n| n.parse().unwrap());
        }
        child.wait().unwrap();
        let (mut core, opened) = Core::open(&config(dir.path())).unwrap();
        assert_eq!(opened.salvage, None);
        let rows = all(&mut core);
        // One more may have been kept and not said: rows and state agree on it all the same.
        let n_rows = rows.len() as u64;
        assert!(n_rows == last || n_rows == last + 1, "said {last}, kept {n_rows}");
        assert!(rows.into_iter().eq(1..=n_rows), "no hole, none twice");
        assert_eq!(core.memory("fan").unwrap(), Some(n_rows.to_string().into_bytes()));
        last = n_rows;
    }
}

/// A disk in memory of its own; gone when dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn at(dir: &Path, options: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(dir).stderr(Stdio::null());
        if mount.status().is_ok_and(|it| it.success()) {
            return Some(Self(dir.into()));
        }
        println!("skipped: mounting a small tmpfs is not permitted here");
        None
    }

    /// Mounts it anew with other options: `ro`, `rw`, another size.
    fn change(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(done.unwrap().success(), "{options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still holds a file open must not keep it mounted for ever.
        assert!(Command::new("umount").arg("-l").arg(&self.0).status().unwrap().success());
    }
}

#[test]
fn a_full_disk_refuses_the_batch_and_takes_it_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::at(dir.path(), "size=1m") else { return };
    {
        let config = Config { outbox_bytes_max: 64 << 20, ..config(dir.path()) };
        let ballast = dir.path().join("fill");
        let (mut core, _) = Core::open(&config).unwrap();
        let mut n = 0;
        while fs::File::options()
            .create(true)
            .append(true)
            .open(&ballast)
            .and_then(|mut file| file.write_all(&[0; 4096]))
            .is_ok()
        {}
        let error = loop {
            n += 1;
            match core.commit(&[row(n), memory(n)]) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        assert!(error.to_string().contains("the disk is full"));
        assert_eq!(all(&mut core).len() as u64, n - 1, "what was kept can still be sent");
        fs::remove_file(&ballast).unwrap();
        core.commit(&[row(n), memory(n)]).unwrap();
        drop(core);
        let (mut core, _) = Core::open(&config).unwrap();
        assert_eq!(all(&mut core).len() as u64, n);
    }
}

/// A closed store of `n` rows.
fn filled(dir: &Path, n: u64) {
    let (mut core, _) = Core::open(&config(dir)).unwrap();
    let batch: Vec<_> = (1..=n).map(row).chain([memory(n)]).collect();
    core.commit(&batch).unwrap();
}

/// Damages the file, opens it; the rows that are left, each whole.
#[allow(clippy::disallowed_methods, reason = "the point is to damage the file")]
fn after_damage(whole: &[u8], damage: impl Fn(&mut Vec<u8>)) -> (Vec<u64>, bool) {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut bytes = whole.to_vec();
    damage(&mut bytes);
    fs::write(dir.path().join("core.db"), bytes).unwrap();
    let (mut core, mut opened) = Core::open(&config(dir.path())).unwrap();
    let batch = [row(1_000_000)];
    if let Err(error) = core.due([0; 4], 1).and_then(|_| core.commit(&batch)) {
        // Found only now: what the keeper does is to build it anew.
        drop(core);
        (core, opened) = Core::rebuild(&config(dir.path()), &error.to_string()).unwrap();
        core.commit(&batch).unwrap();
    }
    let ns = match look(&mut core) {
        Ok(ns) => ns,
        Err(why) => {
            drop(core);
            (core, opened) = Core::rebuild(&config(dir.path()), &why).unwrap();
            look(&mut core).unwrap()
        }
    };
    assert!(ns.contains(&1_000_000), "what is kept after the damage is there");
    (ns, opened.salvage.is_some())
}

#[test]
fn no_flipped_bit_comes_out_as_an_alert() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 60);
    let whole = fs::read(dir.path().join("core.db")).unwrap();
    let mut dice = Dice::new(1);
    let (mut n_dropped, mut n_rebuilt, mut n_believed) = (0, 0, 0);
    let n_flips = tier(150, 1000, 10_000);
    for _ in 0..n_flips {
        let bit = dice.below(whole.len() as u64 * 8) as usize;
        let (ns, is_rebuilt) = after_damage(&whole, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        assert!(ns.windows(2).all(|pair| pair[0] < pair[1]), "bit {bit}: {ns:?}");
        n_dropped += usize::from(ns.iter().filter(|&&n| n <= 60).count() < 60);
        n_rebuilt += usize::from(is_rebuilt);
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        n_believed += usize::from(unchecked(&bytes));
    }
    println!("{n_flips} flips: {n_dropped} cost a row, {n_rebuilt} a new epoch");
    println!("planted, no checksum: {n_believed} came out as alerts");
    assert!(n_dropped > 0, "some bit was in a row");
    assert!(n_believed > 0, "a store without checksums goes unnoticed");
}

/// Whether one who trusts the file is given a row that is not as it was kept.
#[allow(clippy::disallowed_methods, reason = "the point is to damage the file")]
fn unchecked(bytes: &[u8]) -> bool {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = dir.path().join("core.db");
    fs::write(&path, bytes).unwrap();
    let rows = || -> rusqlite::Result<Vec<(i64, Vec<u8>)>> {
        let db = rusqlite::Connection::open(&path)?;
        let mut select = db.prepare("SELECT seq, payload FROM outbox ORDER BY seq")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    rows().is_ok_and(|rows| rows.iter().any(|(seq, bytes)| *bytes != payload(*seq as u64)))
}

/// Header of an SQLite file, and the application's own version in it (sqlite.org/fileformat2.html).
const HEADER_BYTES: usize = 100;
const USER_VERSION: std::ops::Range<usize> = 60..64;

/// Pages of rows and of an index's entries (sqlite.org/fileformat2.html, 1.6).
const TABLE_LEAF: u8 = 13;
const INDEX_LEAF: u8 = 10;

/// Where the cells of such pages begin.
fn cells(file: &[u8], leaf: u8) -> Vec<usize> {
    let pages = file.chunks_exact(4096).enumerate().skip(1).filter(|(_, page)| page[0] == leaf);
    let cells = pages.flat_map(|(idx, page)| {
        let n_cells = usize::from(u16::from_be_bytes([page[3], page[4]]));
        let places = page[8..].as_chunks::<2>().0[..n_cells].iter();
        places.map(move |at| idx * 4096 + usize::from(u16::from_be_bytes(*at)))
    });
    cells.collect()
}

#[test]
fn a_damaged_file_is_put_aside_and_what_is_whole_carried_over() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 60);
    let whole = fs::read(dir.path().join("core.db")).unwrap();
    for page in 0..whole.len() / 4096 {
        after_damage(&whole, |bytes| bytes[page * 4096..(page + 1) * 4096].fill(0));
    }
    let (ns, is_rebuilt) = after_damage(&whole, |bytes| bytes[..16].fill(0));
    assert!(is_rebuilt && ns.iter().all(|&n| n == 1_000_000), "without a header nothing is read");
    for at in 0..HEADER_BYTES {
        for wrong in [0, !whole[at], whole[at] ^ 2] {
            after_damage(&whole, |bytes| bytes[at] = wrong);
        }
    }
    let (ns, is_rebuilt) = after_damage(&whole, |bytes| bytes[USER_VERSION].fill(0));
    assert!(is_rebuilt && ns.len() == 61, "the header is wrong, the rows are not: {ns:?}");
    for at in cells(&whole, TABLE_LEAF) {
        // A length, a number out of order, and a header longer than the row.
        let (ns, _) =
            after_damage(&whole, |bytes| bytes[at..at + 3].copy_from_slice(&[52, 127, 55]));
        assert!(ns.len() >= 60, "one damaged row costs one row: {ns:?}");
    }
    for at in cells(&whole, INDEX_LEAF) {
        // The kind of the first value: 0 becomes 1, bytes become text.
        let (ns, _) = after_damage(&whole, |bytes| bytes[at + 2] ^= 1);
        assert!(ns.len() == 61, "an index that lies hides no row: {ns:?}");
    }
    let step = tier(8192, 1024, 512);
    for kept in (0..whole.len()).step_by(step) {
        after_damage(&whole, |bytes| bytes.truncate(kept));
    }
}

#[test]
fn alarms_that_must_begin_anew_do_so_under_new_ids() {
    let dir = tempfile::tempdir().unwrap();
    let epoch = |memory: &[u8]| {
        let (mut core, _) = Core::open(&config(dir.path())).unwrap();
        let bytes = memory.to_vec();
        core.commit(&[Change::Memory { asset: "fan".into(), bytes }]).unwrap();
        let before = core.epoch();
        drop(core);
        let office = Office {
            identity: Identity::default(),
            store: config(dir.path()),
            mqtt: publish::Config { enabled: false, ..publish::Config::default() },
            assets: vec!["fan".into()],
            clock: Arc::new(SystemClock::new()),
        };
        let (back, front) = Back::start(office).unwrap();
        drop(front);
        back.stop();
        Core::open(&config(dir.path())).unwrap().0.epoch() != before
    };
    let alarms = serde_json::to_vec(&auscult::pipeline::Memory::default().alarms).unwrap();
    assert!(!epoch(&alarms), "what can be read goes on as it was");
    assert!(epoch(b"{\"of another\": \"kind\"}"));
}

#[derive(Clone, Debug)]
enum Deed {
    Rows(u8),
    Ack(u8),
    Park(u8),
    Unpark,
    Again(u8),
    Reopen,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (1..6u8).prop_map(Deed::Rows),
        4 => any::<u8>().prop_map(Deed::Ack),
        1 => any::<u8>().prop_map(Deed::Park),
        1 => Just(Deed::Unpark),
        2 => any::<u8>().prop_map(Deed::Again),
        1 => Just(Deed::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_as_a_simple_model(deeds in prop::collection::vec(deed(), 1..60)) {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (mut core, _) = Core::open(&config(dir.path())).unwrap();
        let mut model: BTreeMap<u64, bool> = BTreeMap::new();
        let mut n_rows = 0;
        let pick = |at: u8, n_rows: u64| u64::from(at) % (n_rows + 1);
        for deed in deeds {
            match deed {
                Deed::Rows(n) => {
                    let new = n_rows + 1..=n_rows + u64::from(n);
                    n_rows += u64::from(n);
                    core.commit(&new.clone().map(row).collect::<Vec<_>>()).unwrap();
                    model.extend(new.map(|n| (n, false)));
                }
                Deed::Ack(at) => {
                    core.commit(&[Change::Acked(id(pick(at, n_rows)))]).unwrap();
                    model.remove(&pick(at, n_rows));
                }
                Deed::Park(at) => {
                    core.commit(&[Change::Park(id(pick(at, n_rows)))]).unwrap();
                    model.entry(pick(at, n_rows)).and_modify(|is_parked| *is_parked = true);
                }
                Deed::Unpark => {
                    core.commit(&[Change::Unpark]).unwrap();
                    for is_parked in model.values_mut() {
                        *is_parked = false;
                    }
                }
                Deed::Again(at) if n_rows > 0 => {
                    core.commit(&[row(1 + u64::from(at) % n_rows)]).unwrap();
                }
                Deed::Again(_) => {}
                Deed::Reopen => {
                    drop(core);
                    core = Core::open(&config(dir.path())).unwrap().0;
                }
            }
            let due: Vec<_> = model.iter().filter(|it| !it.1).map(|it| *it.0).collect();
            prop_assert_eq!(all(&mut core), due);
            prop_assert_eq!(core.counts().rows[0], model.len() as u64);
            prop_assert_eq!(core.counts().parked, model.values().filter(|it| **it).count() as u64);
        }
    }
}
