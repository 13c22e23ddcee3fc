//! Crash-safe or not at all: SQLite, and files replaced whole.
//!
//! **Invariant**: what `Core::commit` returned `Ok` for survives `kill -9` and a power cut; a row
//! leaves only because it was acknowledged, or with an entry in the shed ledger.
//! **Invariant**: one process at a time; the second is refused and touches nothing.

mod ballast;
mod baseline;
mod clip;
mod core;
mod id;
mod replace;
mod retain;
mod row;
mod salvage;
mod trend;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use ballast::Ballast;
pub use baseline::Baselines;
pub use clip::{Clip, Clips};
pub use core::{Change, Core, Counts, Opened};
pub use id::{Epoch, EventId, alert_id, event_id};
pub use replace::{make_dir, replace};
pub use row::{Class, NewRow, Rank, Row, Shed};
pub use salvage::Salvage;
pub use trend::{Bucket, Level, Sample, Trend};

/// Pages of a database kept in memory, KiB: what fills up over the first day; the system keeps the rest.
const CACHE_KIB: i64 = 512;

/// Where auscult keeps what must outlive it, and how much of the disk it may take.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the store; made if it is not there. Under systemd: the state directory.
    pub dir: PathBuf,
    /// Most that alerts not yet acknowledged may take, bytes; three quarters are for alerts alone.
    pub outbox_bytes_max: u64,
    /// Most that trends may take, bytes; older values are kept coarser, then aged out.
    pub trend_bytes_max: u64,
    /// Most that recordings kept with alarms may take, bytes; the oldest go first.
    pub clip_bytes_max: u64,
    /// Space held back so that alerts can still be kept when the disk is full, bytes.
    pub ballast_bytes: u64,
    /// Life a store is given when it is made: a replay's, so that its ids are always the same.
    #[serde(skip)]
    pub epoch: Option<Epoch>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/var/lib/auscult"),
            outbox_bytes_max: 96 << 20,
            trend_bytes_max: 256 << 20,
            clip_bytes_max: 512 << 20,
            ballast_bytes: 8 << 20,
            epoch: None,
        }
    }
}

impl Config {
    /// Smallest outbox that makes sense: a few thousand alerts.
    const OUTBOX_BYTES_MIN: u64 = 1 << 20;

    /// Checks the limits against each other.
    ///
    /// # Errors
    /// If a limit is too small to work with.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |why: &str| Err(Error::Io { path: self.dir.clone(), why: why.into() });
        if self.outbox_bytes_max < Self::OUTBOX_BYTES_MIN {
            return refuse("store.outbox_bytes_max must be at least 1048576 (1 MiB)");
        }
        if self.trend_bytes_max < Self::OUTBOX_BYTES_MIN {
            return refuse("store.trend_bytes_max must be at least 1048576 (1 MiB)");
        }
        Ok(())
    }
}

/// What can go wrong with a store, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Free the ballast, keep the batch, try again.
    #[error("{path}: the disk is full; free some space (alerts wait in memory until then)")]
    DiskFull {
        /// File that could not grow.
        path: PathBuf,
    },
    /// Drop this store and open it again: it will be put aside and salvaged.
    #[error("{path}: the file is damaged ({what}); it will be put aside and what is whole kept")]
    Corrupt {
        /// Damaged file.
        path: PathBuf,
        /// How it shows.
        what: String,
    },
    /// Give up: two writers would lose each other's alerts.
    #[error("{path}: another auscult is using this store; stop it, or set another store.dir")]
    Busy {
        /// The store in use.
        path: PathBuf,
    },
    /// Give up: an older program must not touch it.
    #[error("{path}: written by a newer auscult (format {found}, this one knows {known})")]
    Newer {
        /// The store.
        path: PathBuf,
        /// Format found.
        found: i64,
        /// Newest format this program knows.
        known: i64,
    },
    /// Close, open again, try again; after the third time run without the disk and say so.
    #[error("{path}: {why}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// In the system's words.
        why: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        if matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ) {
            return Self::DiskFull { path: path.into() };
        }
        Self::Io { path: path.into(), why: error.to_string() }
    }

    fn sql(path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let path = path.to_path_buf();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            // What we ask is always right: a table that is not there, a row that is there already, a
            // column of another type than was written are the file's fault.
            None
            | Some(
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::Unknown,
            ) => Self::Corrupt { path, what: error.to_string() },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            _ => Self::Io { path, why: error.to_string() },
        }
    }
}
