//! A damaged store: put it aside, carry over every row whose checksum holds, begin a new epoch.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::replace::sync_parent;
use super::row::{COLUMNS, pair_crc, read};
use super::{Change, Config, Core, Error, NewRow};

/// Rows carried over per transaction.
const BATCH: usize = 256;

/// What could be saved of a damaged store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// How the damage showed.
    pub what: String,
    /// Outbox rows carried over.
    pub rows: u64,
    /// Outbox rows seen with a wrong checksum.
    pub rows_damaged: u64,
    /// Assets whose alarm state was carried over.
    pub states: u64,
    /// Where the damaged file is kept.
    pub kept_as: PathBuf,
}

/// Builds a new store beside the damaged one, then swaps them; a crash at any moment is taken up
/// again by [`finish`].
pub(super) fn rebuild(path: &Path, config: &Config, what: &str) -> Result<Salvage, Error> {
    let part = sibling(path, "part");
    remove_all(&part)?;
    let mut salvage = Salvage { what: what.into(), ..Salvage::default() };
    {
        let mut new = Core::open_file(&part, config)?;
        carry_over(path, &mut new, &mut salvage)?;
    }
    let ready = sibling(path, "new");
    rename(&part, &ready)?;
    sync_parent(path)?;
    salvage.kept_as = finish(path)?.unwrap_or_else(|| sibling(path, "damaged"));
    Ok(salvage)
}

/// Ends a swap that was begun; gives where the damaged file went.
pub(super) fn finish(path: &Path) -> Result<Option<PathBuf>, Error> {
    let ready = sibling(path, "new");
    if !ready.exists() {
        return Ok(None);
    }
    let damaged = sibling(path, "damaged");
    rename(&wal(path), &wal(&damaged))?;
    rename(path, &damaged)?;
    // The old log must be out of the way for good before the new file takes the name it goes with.
    sync_parent(path)?;
    rename(&ready, path)?;
    sync_parent(path)?;
    Ok(Some(damaged))
}

fn carry_over(path: &Path, new: &mut Core, salvage: &mut Salvage) -> Result<(), Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(old) = Connection::open_with_flags(path, flags) else { return Ok(()) };
    // Not ours alone to lock and not to be changed: only read.
    if old.execute_batch("PRAGMA locking_mode=EXCLUSIVE; PRAGMA query_only=ON;").is_err() {
        return Ok(());
    }
    let memory = |(asset, bytes)| Change::Memory { asset, bytes };
    let memories: Vec<Change> = states(&old).into_iter().map(memory).collect();
    salvage.states = memories.len() as u64;
    new.commit(&memories)?;
    let mut batch = Vec::with_capacity(BATCH);
    // From both ends up to the first place that cannot be read, never by number: a page that leads astray
    // hides whole rows from who asks for one.
    let mut keep = |found| keep(found, &mut batch, new, salvage);
    let last = walk(&old, i64::MIN, "ASC", &mut keep)?;
    walk(&old, last, "DESC", &mut keep)?;
    new.carry(&batch)
}

/// A row under its own number: pages that lead astray give rows in any order.
fn keep(
    (seq, row): (i64, Option<(NewRow, bool)>),
    batch: &mut Vec<(i64, NewRow)>,
    new: &mut Core,
    salvage: &mut Salvage,
) -> Result<(), Error> {
    let Some((row, _)) = row else {
        salvage.rows_damaged += 1;
        return Ok(());
    };
    salvage.rows += 1;
    batch.push((seq, row));
    if batch.len() >= BATCH {
        new.carry(batch)?;
        batch.clear();
    }
    Ok(())
}

/// Rows behind `after` in that order, until the first that cannot be read; gives the last `seq` seen.
fn walk(
    old: &Connection,
    after: i64,
    order: &str,
    mut keep: impl FnMut((i64, Option<(NewRow, bool)>)) -> Result<(), Error>,
) -> Result<i64, Error> {
    let mut last = after;
    let sql = format!("SELECT {COLUMNS} FROM outbox WHERE seq > ?1 ORDER BY seq {order}");
    let Ok(mut select) = old.prepare(&sql) else { return Ok(last) };
    let Ok(mut rows) = select.query([after]) else { return Ok(last) };
    while let Ok(Some(row)) = rows.next() {
        let Ok(found) = read(row) else { break };
        last = found.0;
        keep(found)?;
    }
    Ok(last)
}

fn states(old: &Connection) -> Vec<(String, Vec<u8>)> {
    let mut states = Vec::new();
    let Ok(mut select) = old.prepare("SELECT asset, memory, crc FROM alert_state") else {
        return states;
    };
    let Ok(mut rows) = select.query([]) else { return states };
    while let Ok(Some(row)) = rows.next() {
        let (Ok(asset), Ok(memory), Ok(crc)) =
            (row.get::<_, String>(0), row.get::<_, Vec<u8>>(1), row.get::<_, i64>(2))
        else {
            continue;
        };
        if pair_crc(&asset, &memory) == crc {
            states.push((asset, memory));
        }
    }
    states
}

/// `core.db` -> `core.part.db`.
fn sibling(path: &Path, word: &str) -> PathBuf {
    path.with_extension(format!("{word}.db"))
}

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn remove_all(path: &Path) -> Result<(), Error> {
    for path in [path.into(), wal(path)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io(&path, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Renames; a file that is not there any more was renamed before a crash.
fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(from, &error)),
        _ => Ok(()),
    }
}
