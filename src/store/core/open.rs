//! Opens the store: makes it, checks it, or rebuilds it from what is whole.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::{Core, Counts};
use crate::store::replace::sync_parent;
use crate::store::row::{APPLICATION_ID, PAYLOAD_BYTES_MAX, SCHEMA, VERSION, pair_crc};
use crate::store::salvage::{self, Salvage};
use crate::store::{CACHE_KIB, Class, Config, Epoch, Error, make_dir};

/// No store ever numbers so many rows.
const SEQ_MAX: i64 = 1 << 62;

/// How opening went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The store was damaged: what could be saved.
    pub salvage: Option<Salvage>,
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

    pub(in crate::store) fn open_file(path: &Path, config: &Config) -> Result<Self, Error> {
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
        check(&db, path)?;
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
}

/// Whether every page hangs together and every index agrees with its table: a row that one way finds
/// and another does not would be lost without a word. A hundred thousand alerts take half a second.
fn check(db: &Connection, path: &Path) -> Result<(), Error> {
    let found: rusqlite::Result<String> =
        db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0));
    match found.map_err(|error| Error::sql(path, &error))? {
        ok if ok == "ok" => Ok(()),
        what => Err(Error::Corrupt { path: path.into(), what }),
    }
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
