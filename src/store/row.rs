//! On-disk shapes of the core store: versioned, and every row under its own checksum.

use super::EventId;
use crate::types::Stamp;

/// Format of `core.db`; written as SQLite's `user_version`.
pub(super) const VERSION: i64 = 1;

/// `AUSC`: marks the file as ours.
pub(super) const APPLICATION_ID: i64 = 0x4155_5343;

/// Longest payload of a row, bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// Tables of format 1.
pub(super) const SCHEMA: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE alert_state(asset TEXT PRIMARY KEY, memory BLOB NOT NULL, crc INTEGER NOT NULL)
  WITHOUT ROWID;
CREATE TABLE outbox(
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, life BLOB NOT NULL,
  class INTEGER NOT NULL, rank INTEGER NOT NULL, at_ns INTEGER NOT NULL, topic TEXT NOT NULL,
  payload BLOB NOT NULL, bytes INTEGER NOT NULL, parked INTEGER NOT NULL DEFAULT 0,
  crc INTEGER NOT NULL);
CREATE INDEX outbox_due ON outbox(parked, class, seq, bytes);
CREATE INDEX outbox_life ON outbox(life, rank, seq);
CREATE INDEX outbox_rank ON outbox(class, rank, seq);
CREATE TABLE acked_ring(id BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX acked_seq ON acked_ring(seq);
CREATE TABLE shed_ledger(
  class INTEGER NOT NULL, why TEXT NOT NULL, n INTEGER NOT NULL, bytes INTEGER NOT NULL,
  last_ns INTEGER NOT NULL, PRIMARY KEY(class, why)) WITHOUT ROWID;
";

/// What a row is worth when space runs out; the order is the priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Events in the life of an alarm: never given up for anything below.
    Alert,
    /// Health of the instrument, audit.
    Health,
    /// Summaries of features.
    Summary,
    /// Snippets of signal.
    Snippet,
}

impl Class {
    /// Every class, the worthiest first.
    pub const ALL: [Self; 4] = [Self::Alert, Self::Health, Self::Summary, Self::Snippet];

    /// As reported.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Health => "health",
            Self::Summary => "summary",
            Self::Snippet => "snippet",
        }
    }

    pub(super) fn from_code(code: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

/// Which rows of one alert's life may stand for which when its reserve runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rank {
    /// The beginning or the end of a life: stands for itself.
    Landmark,
    /// How bad it got: a later one stands for the earlier ones.
    Worst,
    /// Anything else: a later one stands for the earlier ones.
    Update,
}

impl Rank {
    pub(super) fn from_code(code: i64) -> Option<Self> {
        [Self::Landmark, Self::Worst, Self::Update].get(usize::try_from(code).ok()?).copied()
    }
}

/// A row to be kept until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRow {
    /// Unique; a second row with the same id changes nothing.
    pub id: EventId,
    /// The alert's life it belongs to.
    pub life: EventId,
    /// What it is worth.
    pub class: Class,
    /// What may stand for it.
    pub rank: Rank,
    /// Source time.
    pub at: Stamp,
    /// Topic to publish on.
    pub topic: String,
    /// Payload as published, at most 256 KiB.
    pub payload: Vec<u8>,
}

/// A kept row, its checksum verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Place in the order of keeping; never used twice in one store.
    pub seq: u64,
    /// Unique.
    pub id: EventId,
    /// What it is worth.
    pub class: Class,
    /// Topic to publish on.
    pub topic: String,
    /// Payload as published.
    pub payload: Vec<u8>,
}

/// What was given up, and why: nothing disappears without a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// Class of the rows.
    pub class: Class,
    /// `coalesced`, `quota`, `too_large`, `damaged`.
    pub why: String,
    /// How many rows.
    pub n: u64,
    /// Their payload, bytes.
    pub bytes: u64,
    /// Source time of the last one.
    pub last: Stamp,
}

/// CRC32C over everything in an outbox row; each part preceded by its length.
pub(super) fn row_crc(seq: i64, row: &NewRow, parked: bool) -> i64 {
    let numbers =
        [seq, row.class as i64, row.rank as i64, row.at.0, i64::from(parked)].map(i64::to_le_bytes);
    let parts: [&[u8]; 4] = [&row.id.0, &row.life.0, row.topic.as_bytes(), &row.payload];
    let crc = numbers.iter().fold(0, |crc, number| crc32c::crc32c_append(crc, number));
    i64::from(parts.iter().fold(crc, |crc, part| {
        let crc = crc32c::crc32c_append(crc, &(part.len() as u64).to_le_bytes());
        crc32c::crc32c_append(crc, part)
    }))
}

/// CRC32C over a key and its value.
pub(super) fn pair_crc(key: &str, value: &[u8]) -> i64 {
    let crc = crc32c::crc32c_append(key.len() as u32, key.as_bytes());
    i64::from(crc32c::crc32c_append(crc, value))
}

/// Columns [`read`] wants, in its order.
pub(super) const COLUMNS: &str = "seq, id, life, class, rank, at_ns, topic, payload, parked, crc";

/// An outbox row as stored: its place, itself, parked or not; `None` if its checksum is wrong.
///
/// # Errors
/// Only if SQLite cannot give the columns at all.
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, Option<(NewRow, bool)>)> {
    let seq = row.get(0)?;
    Ok((seq, whole(seq, row)))
}

fn whole(seq: i64, row: &rusqlite::Row<'_>) -> Option<(NewRow, bool)> {
    let id = |at| row.get::<_, [u8; 16]>(at).ok().map(EventId);
    let number = |at| row.get::<_, i64>(at).ok();
    let new = NewRow {
        id: id(1)?,
        life: id(2)?,
        class: Class::from_code(number(3)?)?,
        rank: Rank::from_code(number(4)?)?,
        at: Stamp(number(5)?),
        topic: row.get(6).ok()?,
        payload: row.get(7).ok()?,
    };
    let parked = number(8)? != 0;
    (number(9)? == row_crc(seq, &new, parked)).then_some((new, parked))
}
