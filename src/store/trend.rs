//! Features and scores over time, in a file of their own: bulk data can neither block nor fill the
//! store of the alerts.
//!
//! Each value goes into three tables at once, coarser and kept longer from one to the next; a bucket
//! holds count, sum, least and greatest. The last second before a power cut may be missing.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use super::{CACHE_KIB, Config, Error, make_dir, retain};
use crate::types::Stamp;

/// Most series (asset, sensor and name) in one store; what is beyond is counted and dropped.
const SERIES_MAX: usize = 8192;

/// Format of `trend.db`; another one is put aside, not read.
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE series(idx INTEGER PRIMARY KEY, asset TEXT NOT NULL, sensor TEXT NOT NULL,
  name TEXT NOT NULL, unit TEXT NOT NULL, UNIQUE(asset, sensor, name));
CREATE TABLE trend(level INTEGER NOT NULL, series INTEGER NOT NULL, t_ms INTEGER NOT NULL,
  n INTEGER NOT NULL, sum REAL NOT NULL, least REAL NOT NULL, greatest REAL NOT NULL,
  PRIMARY KEY(level, series, t_ms)) WITHOUT ROWID;
PRAGMA user_version = 1;
";

/// How fine the buckets of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Ten seconds.
    Fine,
    /// Ten minutes.
    Middle,
    /// Six hours.
    Coarse,
}

impl Level {
    /// From fine to coarse.
    pub const ALL: [Self; 3] = [Self::Fine, Self::Middle, Self::Coarse];

    /// Width of a bucket, milliseconds.
    pub fn bucket_ms(self) -> i64 {
        match self {
            Self::Fine => 10_000,
            Self::Middle => 600_000,
            Self::Coarse => 21_600_000,
        }
    }
}

/// One value of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Machine.
    pub asset: &'a str,
    /// Sensor on it; empty for the machine as a whole.
    pub sensor: &'a str,
    /// What it is: `velocity_rms`.
    pub name: &'a str,
    /// Its unit.
    pub unit: &'a str,
    /// Source time.
    pub at: Stamp,
    /// Value; one that is not finite is dropped.
    pub value: f64,
}

/// What one stretch of a series held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Its beginning.
    pub start: Stamp,
    /// How many values.
    pub n: u64,
    /// Their mean.
    pub mean: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

/// Count, sum, least, greatest of the values not yet written.
type Sum = (u64, f64, f64, f64);

/// Writer of trends.
pub struct Trend {
    db: Connection,
    path: PathBuf,
    series: HashMap<(String, String, String), i64>,
    waiting: HashMap<(i64, i64), Sum>,
    rows: [u64; 3],
    rows_max: [u64; 3],
    n_refused: u64,
}

impl Trend {
    /// Opens `trend.db` or makes it; a damaged one is put aside, and `true` tells so.
    ///
    /// # Errors
    /// As [`Core::open`](super::Core::open).
    pub fn open(config: &Config) -> Result<(Self, bool), Error> {
        make_dir(&config.dir)?;
        let path = config.dir.join("trend.db");
        match Self::open_file(&path, config) {
            Err(Error::Corrupt { .. }) => {
                let aside = path.with_extension("damaged.db");
                fs::rename(&path, &aside).map_err(|error| Error::io(&path, &error))?;
                // It belongs to the file put aside and must not be played into the new one.
                drop(fs::remove_file(config.dir.join("trend.db-wal")));
                Self::open_file(&path, config).map(|trend| (trend, true))
            }
            opened => opened.map(|trend| (trend, false)),
        }
    }

    fn open_file(path: &Path, config: &Config) -> Result<Self, Error> {
        let open = || -> rusqlite::Result<Self> {
            let db = Connection::open(path)?;
            db.execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA trusted_schema=OFF;
                 PRAGMA cell_size_check=ON; PRAGMA journal_size_limit=4194304;",
            )?;
            db.pragma_update(None, "cache_size", -CACHE_KIB)?;
            match db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
                0 => db.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;"))?,
                VERSION => {}
                _ => return Err(other_format()),
            }
            let pages_max = config.trend_bytes_max.div_ceil(4096) + 1024;
            db.pragma_update(None, "max_page_count", pages_max as i64)?;
            let rows = retain::count(&db)?;
            let series = known_series(&db)?;
            Ok(Self {
                db,
                path: path.into(),
                series,
                waiting: HashMap::new(),
                rows,
                rows_max: retain::rows_max(config.trend_bytes_max),
                n_refused: 0,
            })
        };
        open().map_err(|error| Error::sql(path, &error))
    }

    /// Takes in one value; it is written at the next [`Trend::flush`].
    ///
    /// # Errors
    /// If a new series cannot be entered.
    pub fn push(&mut self, sample: &Sample<'_>) -> Result<(), Error> {
        if !sample.value.is_finite() {
            return Ok(());
        }
        let Some(series) = self.series_of(sample)? else {
            self.n_refused += 1;
            return Ok(());
        };
        let fine_ms = Level::Fine.bucket_ms();
        let t_ms = sample.at.as_ms().div_euclid(fine_ms) * fine_ms;
        let value = sample.value;
        self.waiting
            .entry((series, t_ms))
            .and_modify(|(n, sum, least, greatest)| {
                (*n, *sum) = (*n + 1, *sum + value);
                (*least, *greatest) = (least.min(value), greatest.max(value));
            })
            .or_insert((1, value, value, value));
        Ok(())
    }

    /// Values that came in for more series than there may be.
    pub fn n_refused(&self) -> u64 {
        self.n_refused
    }

    /// Writes what came in and ages out what is too much.
    ///
    /// # Errors
    /// By what the caller can do; what came in since the last flush is given up.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let done = self.db.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            for (&(series, t_ms), sum) in &waiting {
                self.add(series, t_ms, sum)?;
            }
            retain::age_out(&self.db, &mut self.rows, self.rows_max)?;
            self.db.execute_batch("COMMIT")
        });
        done.map_err(|error| {
            if !self.db.is_autocommit() {
                // The first error is the one to tell.
                drop(self.db.execute_batch("ROLLBACK"));
            }
            Error::sql(&self.path, &error)
        })
    }

    /// A stretch of one series, oldest first, at most `limit` buckets from `from` on.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(
        &self,
        (asset, sensor, name): (&str, &str, &str),
        level: Level,
        (from, to): (Stamp, Stamp),
        limit: usize,
    ) -> Result<Vec<Bucket>, Error> {
        let key = (asset.to_owned(), sensor.to_owned(), name.to_owned());
        let Some(&series) = self.series.get(&key) else { return Ok(Vec::new()) };
        let sql = "SELECT t_ms, n, sum, least, greatest FROM trend
                   WHERE level = ?1 AND series = ?2 AND t_ms >= ?3 AND t_ms < ?4
                   ORDER BY t_ms LIMIT ?5";
        let range = params![level as i64, series, from.as_ms(), to.as_ms(), limit as i64];
        let bucket = |row: &rusqlite::Row<'_>| {
            let n: i64 = row.get(1)?;
            Ok(Bucket {
                start: Stamp::from_ms(row.get(0)?),
                n: n as u64,
                mean: row.get::<_, f64>(2)? / n as f64,
                least: row.get(3)?,
                greatest: row.get(4)?,
            })
        };
        self.db
            .prepare_cached(sql)
            .and_then(|mut select| select.query_map(range, bucket)?.collect())
            .map_err(|error| Error::sql(&self.path, &error))
    }

    fn add(
        &mut self,
        series: i64,
        t_ms: i64,
        &(n, sum, least, greatest): &Sum,
    ) -> rusqlite::Result<()> {
        let mut upsert = self.db.prepare_cached(
            "INSERT INTO trend VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET
             n = n + excluded.n, sum = sum + excluded.sum,
             least = min(least, excluded.least), greatest = max(greatest, excluded.greatest)
             RETURNING n",
        )?;
        for level in Level::ALL {
            let ms = level.bucket_ms();
            let start = t_ms.div_euclid(ms) * ms;
            let total: i64 = upsert.query_row(
                params![level as i64, series, start, n as i64, sum, least, greatest],
                |row| row.get(0),
            )?;
            self.rows[level as usize] += u64::from(total == n as i64);
        }
        Ok(())
    }

    fn series_of(&mut self, sample: &Sample<'_>) -> Result<Option<i64>, Error> {
        let key = (sample.asset.to_owned(), sample.sensor.to_owned(), sample.name.to_owned());
        if let Some(&series) = self.series.get(&key) {
            return Ok(Some(series));
        }
        if self.series.len() >= SERIES_MAX {
            return Ok(None);
        }
        let sql = "INSERT INTO series(asset, sensor, name, unit) VALUES(?1, ?2, ?3, ?4)";
        self.db
            .execute(sql, params![key.0, key.1, key.2, sample.unit])
            .map_err(|error| Error::sql(&self.path, &error))?;
        let series = self.db.last_insert_rowid();
        self.series.insert(key, series);
        Ok(Some(series))
    }
}

fn known_series(db: &Connection) -> rusqlite::Result<HashMap<(String, String, String), i64>> {
    db.prepare("SELECT asset, sensor, name, idx FROM series")?
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?)))?
        .collect()
}

/// As a damaged file: put aside and begun anew.
fn other_format() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
    rusqlite::Error::SqliteFailure(code, Some("another format".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        Config { dir: dir.into(), trend_bytes_max: 1 << 20, ..Config::default() }
    }

    fn sample(at_ms: i64, value: f64) -> Sample<'static> {
        let at = Stamp::from_ms(at_ms);
        Sample { asset: "fan", sensor: "de", name: "rms", unit: "m/s2", at, value }
    }

    fn all(trend: &Trend, level: Level) -> Vec<Bucket> {
        trend
            .read(("fan", "de", "rms"), level, (Stamp(0), Stamp(i64::MAX)), usize::MAX >> 1)
            .unwrap()
    }

    #[test]
    fn buckets_hold_count_mean_least_and_greatest_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        {
            let (mut trend, _) = Trend::open(&config(dir.path())).unwrap();
            for (at, value) in [(0, 1.0), (9_999, 3.0), (10_000, 5.0), (10_001, f64::NAN)] {
                trend.push(&sample(at, value)).unwrap();
            }
            trend.flush().unwrap();
        }
        let (mut trend, damaged) = Trend::open(&config(dir.path())).unwrap();
        assert!(!damaged);
        trend.push(&sample(9_000, 8.0)).unwrap();
        trend.flush().unwrap();
        let fine = all(&trend, Level::Fine);
        assert_eq!(fine.len(), 2);
        assert_eq!((fine[0].n, fine[0].mean, fine[0].least, fine[0].greatest), (3, 4.0, 1.0, 8.0));
        let coarse = all(&trend, Level::Coarse);
        assert_eq!((coarse.len(), coarse[0].n, coarse[0].mean), (1, 4, 4.25));
    }

    #[test]
    fn the_limit_ages_out_the_oldest_fine_values_and_keeps_the_coarse() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let (mut trend, _) = Trend::open(&config).unwrap();
        let n = 30_000;
        for k in 0..n {
            trend.push(&sample(k * 10_000, k as f64)).unwrap();
            if k % 1000 == 999 {
                trend.flush().unwrap();
            }
        }
        let max = retain::rows_max(config.trend_bytes_max);
        let fine = all(&trend, Level::Fine);
        assert!(fine.len() as u64 <= max[0] && fine.len() as u64 > max[0] / 2);
        assert_eq!(fine.last().unwrap().mean, (n - 1) as f64, "the newest stay");
        assert_eq!(all(&trend, Level::Coarse).iter().map(|bucket| bucket.n).sum::<u64>(), n as u64);
        drop(trend);
        let bytes = fs::metadata(dir.path().join("trend.db")).unwrap().len();
        assert!(bytes <= config.trend_bytes_max, "{bytes} bytes");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the point is to damage the file")]
    fn a_damaged_file_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("trend.db"), vec![7; 8192]).unwrap();
        let (mut trend, damaged) = Trend::open(&config(dir.path())).unwrap();
        assert!(damaged && dir.path().join("trend.damaged.db").exists());
        trend.push(&sample(0, 1.0)).unwrap();
        trend.flush().unwrap();
    }
}
