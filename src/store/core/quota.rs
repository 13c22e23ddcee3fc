//! Who gives way when the outbox is full: never an alert for telemetry, and never without a count.

use rusqlite::{OptionalExtension, params};

use super::Core;
use crate::store::row::PAYLOAD_BYTES_MAX;
use crate::store::{Class, Error, NewRow, Rank};

/// Fill of the alerts' reserve from which updates within one life stand for each other, percent.
const COALESCE_PERCENT: u64 = 90;

impl Core {
    /// Makes room for a row by the classes' priority; whether there is room now.
    pub(super) fn make_room(&mut self, row: &NewRow) -> rusqlite::Result<bool> {
        let room = if row.payload.len() > PAYLOAD_BYTES_MAX {
            self.enter(row.class, "too_large", row.payload.len() as u64, row.at.0)?;
            return Ok(false);
        } else if row.class == Class::Alert {
            self.room_for_alert(row)?
        } else {
            self.room_for_other(row)?
        };
        if !room {
            self.enter(row.class, "quota", row.payload.len() as u64, row.at.0)?;
        }
        Ok(room)
    }

    fn room_for_alert(&mut self, row: &NewRow) -> rusqlite::Result<bool> {
        let bytes = row.payload.len() as u64;
        if row.rank != Rank::Landmark
            && (self.counts.bytes[0] + bytes) * 100 > self.alert_bytes_max * COALESCE_PERCENT
        {
            let sql = "SELECT seq FROM outbox WHERE life = ?1 AND rank = ?2 ORDER BY seq";
            let earlier: Vec<i64> = self
                .db
                .prepare_cached(sql)?
                .query_map(params![row.life.0, row.rank as i64], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for seq in earlier {
                self.shed(seq, row.class, "coalesced", row.at.0)?;
            }
        }
        for rank in [Rank::Update, Rank::Worst] {
            while row.rank == Rank::Landmark && self.counts.bytes[0] + bytes > self.alert_bytes_max
            {
                let Some(seq) = self.oldest(Class::Alert, Some(rank))? else { break };
                self.shed(seq, row.class, "quota", row.at.0)?;
            }
        }
        Ok(self.counts.bytes[0] + bytes <= self.alert_bytes_max)
    }

    fn room_for_other(&mut self, row: &NewRow) -> rusqlite::Result<bool> {
        let bytes = row.payload.len() as u64;
        let used = |core: &Self| core.counts.bytes[1..].iter().sum::<u64>();
        for class in [Class::Snippet, Class::Summary, Class::Health] {
            while class >= row.class && used(self) + bytes > self.other_bytes_max {
                let Some(seq) = self.oldest(class, None)? else { break };
                self.shed(seq, class, "quota", row.at.0)?;
            }
        }
        Ok(used(self) + bytes <= self.other_bytes_max)
    }

    fn oldest(&self, class: Class, rank: Option<Rank>) -> rusqlite::Result<Option<i64>> {
        let sql = match rank {
            Some(_) => "SELECT min(seq) FROM outbox WHERE class = ?1 AND rank = ?2",
            None => "SELECT min(seq) FROM outbox WHERE class = ?1 AND ?2 IS NULL",
        };
        self.db
            .prepare_cached(sql)?
            .query_row(params![class as i64, rank.map(|rank| rank as i64)], |row| row.get(0))
            .optional()
            .map(Option::flatten)
    }

    fn shed(&mut self, seq: i64, class: Class, why: &str, at_ns: i64) -> rusqlite::Result<()> {
        let bytes = self.remove(seq)?;
        self.enter(class, why, bytes, at_ns)
    }

    fn enter(&self, class: Class, why: &str, bytes: u64, at_ns: i64) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO shed_ledger VALUES(?1, ?2, 1, ?3, ?4) ON CONFLICT DO UPDATE SET
                 n = n + 1, bytes = bytes + excluded.bytes, last_ns = excluded.last_ns",
            )?
            .execute(params![class as i64, why, bytes as i64, at_ns])
            .map(drop)
    }

    /// Takes out rows whose checksum is wrong, with a count.
    pub(super) fn drop_damaged(&mut self, seqs: &[i64]) -> Result<(), Error> {
        let drop_all = |core: &mut Self| {
            let unchecked = core.db.execute_batch("BEGIN IMMEDIATE");
            unchecked?;
            seqs.iter().try_for_each(|&seq| core.shed(seq, Class::Alert, "damaged", 0))?;
            core.db.execute_batch("COMMIT")
        };
        drop_all(self).map_err(|error| {
            drop(self.db.execute_batch("ROLLBACK"));
            self.fail(&error)
        })
    }
}
