//! Alert state and outbox: one file, one writer, one transaction, a checksum on every row.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::replace::sync_parent;
use super::row::{
    APPLICATION_ID, COLUMNS, PAYLOAD_BYTES_MAX, SCHEMA, VERSION, pair_crc, read, row_crc,
};
use super::salvage::{self, Salvage};
use super::{CACHE_KIB, Class, Config, Epoch, Error, EventId, NewRow, Row, Shed, make_dir};

mod quota;

/// How many acknowledged ids are remembered, so that a late repeat is not sent again.
const ACKED_RING: i64 = 10_000;

/// No store ever numbers so many rows.
const SEQ_MAX: i64 = 1 << 62;

/// One thing to change; a batch of them is kept whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Where every alarm of an asset stands, in the caller's own format.
    Memory {
        /// Whose.
        asset: String,
        /// What to keep.
        bytes: Vec<u8>,
    },
    /// A row to be sent until acknowledged.
    Row(NewRow),
    /// A row was acknowledged: it goes, its id is remembered.
    Acked(EventId),
    /// A row was refused too often: it stays, out of the way.
    Park(EventId),
    /// Parked rows are due again.
    Unpark,
}

/// What the outbox holds now, per class in [`Class::ALL`] order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows.
    pub rows: [u64; 4],
    /// Payload, bytes.
    pub bytes: [u64; 4],
    /// Rows among them that are parked.
    pub parked: u64,
    /// Acknowledgements since opening of ids that were not there.
    pub unknown_acks: u64,
}

/// How opening went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The store was damaged: what could be saved.
    pub salvage: Option<Salvage>,
}

/// The one writer of alert state and outbox.
pub struct Core {
    db: Connection,
    path: PathBuf,
    epoch: Epoch,
    next_seq: i64,
    counts: Counts,
    alert_bytes_max: u64,
    other_bytes_max: u64,
}

impl Core {
    /// Opens the store, makes it, or rebuilds it from what is whole.
    ///
    /// # Errors
    /// [`Error::Busy`] for a second instance; [`Error::DiskFull`], [`Error::Newer`], [`Error::Io`].
    pub fn open(config: &Config) -> Result<(Self, Opened), Error> {
        config.check()?;
        make_dir(&config.dir)?;
        let path = config.dir.join("core.db");
        salvage::finish(&path)?;
        match Self::open_file(&path, config) {
            Err(Error::Corrupt { what, .. }) => Self::rebuild(config, &what),
            opened => opened.map(|core| (core, Opened::default())),
        }
    }

    /// Puts the store aside and makes it anew from what is whole: for one that opens and yet cannot be
    /// read or written. It must be closed.
    ///
    /// # Errors
    /// As [`Core::open`].
    pub fn rebuild(config: &Config, what: &str) -> Result<(Self, Opened), Error> {
        let path = config.dir.join("core.db");
        let salvage = salvage::rebuild(&path, config, what)?;
        let core = Self::open_file(&path, config)?;
        Ok((core, Opened { salvage: Some(salvage) }))
    }

    /// Whether there is, or was, a store in `dir`.
    pub fn is_at(dir: &Path) -> bool {
        dir.join("core.db").exists()
    }

    /// A store in memory for when the disk is gone: what it holds is lost with the process.
    ///
    /// `epoch`: of the store it stands in for, so that ids stay the same; `None` for one of its own.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn volatile(outbox_bytes_max: u64, epoch: Option<Epoch>) -> Result<Self, Error> {
        let path = Path::new(":memory:");
        let db = Connection::open_in_memory().map_err(|error| Error::sql(path, &error))?;
        Self::from_db(db, path, outbox_bytes_max, epoch)
    }

    /// Number of the newest row it ever kept, 0 for none.
    pub fn last_seq(&self) -> u64 {
        (self.next_seq - 1) as u64
    }

    /// Numbers its rows behind those of another, so that one order holds for both.
    pub fn number_after(&mut self, last_seq: u64) {
        self.next_seq = self.next_seq.max(last_seq as i64 + 1);
    }

    pub(super) fn open_file(path: &Path, config: &Config) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fail = |error| Error::sql(path, &error);
        let db = Connection::open_with_flags(path, flags).map_err(fail)?;
        // Who holds the store holds it for as long as it runs: waiting would only delay the refusal.
        db.busy_timeout(std::time::Duration::ZERO).map_err(fail)?;
        // Exclusive before WAL: no shared memory file, and a second instance is refused.
        db.execute_batch(
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
             PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY;
             PRAGMA wal_autocheckpoint=256; PRAGMA journal_size_limit=4194304;
             BEGIN IMMEDIATE; COMMIT;",
        )
        .map_err(fail)?;
        db.pragma_update(None, "cache_size", -CACHE_KIB).map_err(fail)?;
        let core = Self::from_db(db, path, config.outbox_bytes_max, config.epoch)?;
        sync_parent(path)?;
        Ok(core)
    }

    fn from_db(
        db: Connection,
        path: &Path,
        outbox_bytes_max: u64,
        life: Option<Epoch>,
    ) -> Result<Self, Error> {
        /// Pages of 4 KiB: rows, their indices and what fragmentation wastes, and 16 MiB on top.
        const PAGE_BYTES: u64 = 4096;
        let fail = |error| Error::sql(path, &error);
        let epoch = match pragma(&db, "user_version").map_err(fail)? {
            0 => create(&db, life).map_err(fail)?,
            VERSION => epoch(&db, path)?,
            found if is_of_this_version(&db) => {
                let what = format!("its header says format {found}, which it is not");
                return Err(Error::Corrupt { path: path.into(), what });
            }
            found => return Err(Error::Newer { path: path.into(), found, known: VERSION }),
        };
        let pages_max = (2 * outbox_bytes_max + (16 << 20)) / PAGE_BYTES;
        db.pragma_update(None, "max_page_count", pages_max as i64).map_err(fail)?;
        Ok(Self {
            counts: count(&db).map_err(fail)?,
            next_seq: last_seq(&db, path)? + 1,
            db,
            path: path.into(),
            epoch,
            alert_bytes_max: outbox_bytes_max / 4 * 3,
            other_bytes_max: outbox_bytes_max / 4,
        })
    }

    /// This life of the store; part of every id.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Begins a new life, for when what an id follows from is lost; what is kept stays.
    ///
    /// # Errors
    /// As [`Core::commit`].
    pub fn renew(&mut self) -> Result<Epoch, Error> {
        let renew = |db: &Connection| -> rusqlite::Result<Epoch> {
            let epoch: [u8; 16] = db.query_row("SELECT randomblob(16)", [], |row| row.get(0))?;
            let crc = pair_crc("epoch", &epoch);
            let sql = "UPDATE meta SET value = ?1, crc = ?2 WHERE key = 'epoch'";
            db.execute(sql, params![epoch, crc])?;
            Ok(Epoch(epoch))
        };
        self.epoch = renew(&self.db).map_err(|error| self.fail(&error))?;
        Ok(self.epoch)
    }

    /// What the outbox holds.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How full the alerts' reserve is, 0-1.
    pub fn fill(&self) -> f64 {
        self.counts.bytes[0] as f64 / self.alert_bytes_max as f64
    }

    /// Where every alarm of an asset stood when last kept; `None` if it never was.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its checksum is wrong.
    pub fn memory(&self, asset: &str) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT memory, crc FROM alert_state WHERE asset = ?1";
        let found: Option<(Vec<u8>, i64)> = self
            .db
            .query_row(sql, [asset], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|error| self.fail(&error))?;
        match found {
            Some((bytes, crc)) if pair_crc(asset, &bytes) != crc => Err(Error::Corrupt {
                path: self.path.clone(),
                what: format!("alarm state of asset {asset}: its checksum is wrong"),
            }),
            found => Ok(found.map(|(bytes, _)| bytes)),
        }
    }

    /// Keeps a batch, whole or not at all; when this returns `Ok` it is on the disk.
    ///
    /// # Errors
    /// By what the caller can do; nothing of the batch is kept then, or all of it: the same batch
    /// may be given again.
    pub fn commit(&mut self, batch: &[Change]) -> Result<(), Error> {
        let (counts, next_seq) = (self.counts, self.next_seq);
        let done = self.db.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            batch.iter().try_for_each(|change| self.apply(change))?;
            self.db.execute_batch("COMMIT")
        });
        done.map_err(|error| {
            (self.counts, self.next_seq) = (counts, next_seq);
            if !self.db.is_autocommit() {
                // The first error is the one to tell; SQLite undoes the rest when it is opened anew.
                drop(self.db.execute_batch("ROLLBACK"));
            }
            self.fail(&error)
        })
    }

    /// The next rows to send, worthiest class first and in the order of keeping within it.
    ///
    /// `after`: per class in [`Class::ALL`] order, the `seq` behind which to look. A row whose
    /// checksum is wrong is dropped and entered in the ledger; an index found damaged is made anew.
    ///
    /// # Errors
    /// As [`Core::commit`].
    pub fn due(&mut self, after: [u64; 4], limit: usize) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::with_capacity(limit);
        let mut damaged = Vec::new();
        for class in Class::ALL {
            if rows.len() == limit || self.counts.rows[class as usize] == 0 {
                continue;
            }
            let (after, left) = (after[class as usize] as i64, (limit - rows.len()) as i64);
            let mut found = self.select(class, after, left)?;
            if is_misled(&found, class, after) {
                // An index that disagrees with its table would lead here again and again.
                self.db.execute_batch("REINDEX outbox").map_err(|error| self.fail(&error))?;
                found = self.select(class, after, left)?;
            }
            if is_misled(&found, class, after) {
                let what = "rows come out of order".to_owned();
                return Err(Error::Corrupt { path: self.path.clone(), what });
            }
            for (seq, row) in found {
                let Some((NewRow { id, class, topic, payload, .. }, _)) = row else {
                    damaged.push(seq);
                    continue;
                };
                rows.push(Row { seq: seq as u64, id, class, topic, payload });
            }
        }
        if !damaged.is_empty() {
            self.drop_damaged(&damaged)?;
        }
        Ok(rows)
    }

    /// Rows of one class behind `after`, as the file has them.
    fn select(&self, class: Class, after: i64, limit: i64) -> Result<Vec<Found>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM outbox WHERE parked = 0 AND class = ?1 AND seq > ?2
             ORDER BY seq LIMIT ?3"
        );
        let mut select = self.db.prepare_cached(&sql).map_err(|error| self.fail(&error))?;
        select
            .query_map(params![class as i64, after, limit], read)
            .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
            .map_err(|error| self.fail(&error))
    }

    /// What was given up since the store was made.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn ledger(&self) -> Result<Vec<Shed>, Error> {
        let sql = "SELECT class, why, n, bytes, last_ns FROM shed_ledger ORDER BY class, why";
        let shed = |row: &rusqlite::Row<'_>| {
            Ok(Shed {
                class: Class::from_code(row.get(0)?).unwrap_or(Class::Snippet),
                why: row.get(1)?,
                n: row.get::<_, i64>(2)? as u64,
                bytes: row.get::<_, i64>(3)? as u64,
                last: crate::types::Stamp(row.get(4)?),
            })
        };
        self.db
            .prepare(sql)
            .and_then(|mut select| select.query_map([], shed)?.collect())
            .map_err(|error| self.fail(&error))
    }

    /// Everything in it as changes, to be kept in another store: rows in their order, then states.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn export(&mut self) -> Result<Vec<Change>, Error> {
        let export = |db: &Connection| -> rusqlite::Result<Vec<Change>> {
            let mut changes = Vec::new();
            let mut select = db.prepare(&format!("SELECT {COLUMNS} FROM outbox ORDER BY seq"))?;
            for row in select.query_map([], read)? {
                changes.extend(row?.1.map(|(row, _)| Change::Row(row)));
            }
            let mut select = db.prepare("SELECT asset, memory FROM alert_state")?;
            let memory = |row: &rusqlite::Row<'_>| {
                Ok(Change::Memory { asset: row.get(0)?, bytes: row.get(1)? })
            };
            for change in select.query_map([], memory)? {
                changes.push(change?);
            }
            Ok(changes)
        };
        export(&self.db).map_err(|error| self.fail(&error))
    }

    fn apply(&mut self, change: &Change) -> rusqlite::Result<()> {
        match change {
            Change::Memory { asset, bytes } => self
                .db
                .prepare_cached("INSERT OR REPLACE INTO alert_state VALUES(?1, ?2, ?3)")?
                .execute(params![asset, bytes, pair_crc(asset, bytes)])
                .map(drop),
            Change::Row(row) => self.insert(row),
            Change::Acked(id) => self.acked(*id),
            Change::Park(id) => self.park(*id, true),
            Change::Unpark => self.unpark(),
        }
    }

    fn insert(&mut self, row: &NewRow) -> rusqlite::Result<()> {
        let known: bool = self
            .db
            .prepare_cached(
                "SELECT EXISTS(SELECT 1 FROM acked_ring WHERE id = ?1)
                     OR EXISTS(SELECT 1 FROM outbox WHERE id = ?1)",
            )?
            .query_row([row.id.0], |found| found.get(0))?;
        if known || !self.make_room(row)? {
            return Ok(());
        }
        let bytes = row.payload.len() as i64;
        let crc = row_crc(self.next_seq, row, false);
        self.db
            .prepare_cached("INSERT INTO outbox VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,0,?10)")?
            .execute(params![
                self.next_seq,
                row.id.0,
                row.life.0,
                row.class as i64,
                row.rank as i64,
                row.at.0,
                row.topic,
                row.payload,
                bytes,
                crc,
            ])?;
        self.next_seq += 1;
        self.counts.rows[row.class as usize] += 1;
        self.counts.bytes[row.class as usize] += bytes as u64;
        Ok(())
    }

    fn acked(&mut self, id: EventId) -> rusqlite::Result<()> {
        let seq = "SELECT seq FROM outbox WHERE id = ?1";
        let seq: Option<i64> =
            self.db.prepare_cached(seq)?.query_row([id.0], |row| row.get(0)).optional()?;
        let Some(seq) = seq else {
            self.counts.unknown_acks += 1;
            return Ok(());
        };
        self.remove(seq)?;
        self.db
            .prepare_cached("INSERT OR IGNORE INTO acked_ring VALUES(?1, ?2)")?
            .execute(params![id.0, seq])?;
        self.db
            .prepare_cached("DELETE FROM acked_ring WHERE seq <= ?1")?
            .execute([seq.saturating_sub(ACKED_RING)])
            .map(drop)
    }

    /// Takes a row out and its share off the counts; gives its payload's bytes.
    fn remove(&mut self, seq: i64) -> rusqlite::Result<u64> {
        let sql = "DELETE FROM outbox WHERE seq = ?1 RETURNING class, bytes, parked";
        let (class, bytes, parked): (i64, i64, bool) = self
            .db
            .prepare_cached(sql)?
            .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        // A damaged row may bear any number here; the counts must not panic over it.
        if let Some(class) = Class::from_code(class) {
            let counts = &mut self.counts;
            counts.rows[class as usize] = counts.rows[class as usize].saturating_sub(1);
            counts.bytes[class as usize] =
                counts.bytes[class as usize].saturating_sub(bytes as u64);
        }
        self.counts.parked = self.counts.parked.saturating_sub(u64::from(parked));
        Ok(bytes as u64)
    }

    fn park(&mut self, id: EventId, parked: bool) -> rusqlite::Result<()> {
        let sql = format!("SELECT {COLUMNS} FROM outbox WHERE id = ?1");
        let found = self.db.prepare_cached(&sql)?.query_row([id.0], read).optional()?;
        let Some((seq, Some((row, was_parked)))) = found else { return Ok(()) };
        if was_parked == parked {
            return Ok(());
        }
        self.db
            .prepare_cached("UPDATE outbox SET parked = ?2, crc = ?3 WHERE seq = ?1")?
            .execute(params![seq, parked, row_crc(seq, &row, parked)])?;
        if parked {
            self.counts.parked += 1;
        } else {
            self.counts.parked = self.counts.parked.saturating_sub(1);
        }
        Ok(())
    }

    fn unpark(&mut self) -> rusqlite::Result<()> {
        let parked: Vec<[u8; 16]> = self
            .db
            .prepare_cached("SELECT id FROM outbox WHERE parked = 1")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        parked.into_iter().try_for_each(|id| self.park(EventId(id), false))
    }

    fn fail(&self, error: &rusqlite::Error) -> Error {
        Error::sql(&self.path, error)
    }
}

/// A row as read: its place, and what it holds if its checksum is right.
type Found = (i64, Option<(NewRow, bool)>);

/// Whether rows are not those asked for, in their order: the file's pages lead astray.
fn is_misled(found: &[Found], class: Class, after: i64) -> bool {
    let mut last = after;
    found.iter().any(|(seq, row)| {
        let is_astray = *seq <= last || row.as_ref().is_some_and(|(row, _)| row.class != class);
        last = *seq;
        is_astray
    })
}

fn pragma(db: &Connection, name: &str) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, name, |row| row.get(0))
}

/// Makes the tables and a new epoch, in one transaction; a random one, if `life` gives none.
fn create(db: &Connection, life: Option<Epoch>) -> rusqlite::Result<Epoch> {
    let epoch: [u8; 16] = match life {
        Some(Epoch(epoch)) => epoch,
        None => db.query_row("SELECT randomblob(16)", [], |row| row.get(0))?,
    };
    db.execute_batch("BEGIN IMMEDIATE")?;
    db.execute_batch(SCHEMA)?;
    for (key, value) in [("epoch", &epoch[..]), ("version", &VERSION.to_le_bytes()[..])] {
        let crc = pair_crc(key, value);
        db.execute("INSERT INTO meta VALUES(?1, ?2, ?3)", params![key, value, crc])?;
    }
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", VERSION)?;
    db.execute_batch("COMMIT")?;
    Ok(Epoch(epoch))
}

/// Whether the store says under its own checksum that it is of the format we write.
fn is_of_this_version(db: &Connection) -> bool {
    let sql = "SELECT value, crc FROM meta WHERE key = 'version'";
    let found = db.query_row(sql, [], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)));
    found.is_ok_and(|(value, crc)| {
        value == VERSION.to_le_bytes() && pair_crc("version", &value) == crc
    })
}

fn epoch(db: &Connection, path: &Path) -> Result<Epoch, Error> {
    let damaged = |what: &str| Error::Corrupt { path: path.into(), what: what.into() };
    if pragma(db, "application_id").map_err(|error| Error::sql(path, &error))? != APPLICATION_ID {
        return Err(damaged("it is not a store of auscult"));
    }
    let sql = "SELECT value, crc FROM meta WHERE key = 'epoch'";
    let found: Option<([u8; 16], i64)> = db
        .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(|error| damaged(&error.to_string()))?;
    match found {
        Some((epoch, crc)) if pair_crc("epoch", &epoch) == crc => Ok(Epoch(epoch)),
        _ => Err(damaged("its epoch is missing or its checksum is wrong")),
    }
}

/// Number of the newest row there ever was: SQLite's word for it and the rows themselves, for neither
/// bears a checksum of ours.
fn last_seq(db: &Connection, path: &Path) -> Result<i64, Error> {
    let sql = "SELECT max(ifnull((SELECT max(seq) FROM sqlite_sequence WHERE name = 'outbox'), 0),
                          ifnull((SELECT max(seq) FROM outbox), 0))";
    let last = db.query_row(sql, [], |row| row.get(0)).map_err(|error| Error::sql(path, &error))?;
    if !(0..SEQ_MAX).contains(&last) {
        let what = format!("its newest row would be number {last}");
        return Err(Error::Corrupt { path: path.into(), what });
    }
    Ok(last)
}

fn count(db: &Connection) -> rusqlite::Result<Counts> {
    let mut counts = Counts::default();
    // The length beside a payload bears no checksum: a wrong one must not fill the outbox.
    let sql = format!(
        "SELECT class, parked, count(*), sum(min(max(bytes, 0), {PAYLOAD_BYTES_MAX}))
         FROM outbox GROUP BY parked, class"
    );
    let mut select = db.prepare(&sql)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (class, parked): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (n, bytes): (i64, i64) = (row.get(2)?, row.get(3)?);
        if let Some(class) = Class::from_code(class) {
            counts.rows[class as usize] += n as u64;
            counts.bytes[class as usize] += bytes as u64;
        }
        counts.parked += if parked == 0 { 0 } else { n as u64 };
    }
    Ok(counts)
}

#[cfg(test)]
mod tests;
