//! Alert state and outbox: one file, one writer, one transaction, a checksum on every row.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, params};

use super::row::{COLUMNS, pair_crc, read, row_crc};
use super::{Class, Epoch, Error, EventId, NewRow, Row, Shed};

mod open;
mod quota;

pub use open::Opened;

/// How many acknowledged ids are remembered, so that a late repeat is not sent again.
const ACKED_RING: i64 = 10_000;

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
    /// Number of the newest row it ever kept, 0 for none.
    pub fn last_seq(&self) -> u64 {
        (self.next_seq - 1) as u64
    }

    /// Numbers its rows behind those of another, so that one order holds for both.
    pub fn number_after(&mut self, last_seq: u64) {
        self.next_seq = self.next_seq.max(last_seq as i64 + 1);
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
        let random = self.db.query_row("SELECT randomblob(16)", [], |row| row.get(0));
        let epoch = Epoch(random.map_err(|error| self.fail(&error))?);
        self.go_on_in(epoch)?;
        Ok(epoch)
    }

    /// Takes up the life of another; what is kept stays.
    ///
    /// # Errors
    /// As [`Core::commit`].
    pub fn go_on_in(&mut self, epoch: Epoch) -> Result<(), Error> {
        let sql = "UPDATE meta SET value = ?1, crc = ?2 WHERE key = 'epoch'";
        let done = self.db.execute(sql, params![epoch.0, pair_crc("epoch", &epoch.0)]);
        done.map_err(|error| self.fail(&error))?;
        self.epoch = epoch;
        Ok(())
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
        self.transact(|core| batch.iter().try_for_each(|change| core.apply(change)))
    }

    /// Takes over rows of another store under the numbers they had there, in whatever order they come.
    pub(super) fn carry(&mut self, rows: &[(i64, NewRow)]) -> Result<(), Error> {
        self.transact(|core| {
            let mut next_seq = core.next_seq;
            for (seq, row) in rows {
                core.next_seq = *seq;
                core.insert(row)?;
                next_seq = next_seq.max(core.next_seq);
            }
            core.next_seq = next_seq;
            Ok(())
        })
    }

    fn transact(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        let (counts, next_seq) = (self.counts, self.next_seq);
        let done = self.db.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            work(self)?;
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

#[cfg(test)]
mod tests;
