//! Ages out trends within a byte limit: each level of fineness has its share, the oldest go first.

use rusqlite::{Connection, params};

/// Bytes one row takes on disk at most, half-filled pages included.
const ROW_BYTES: u64 = 96;

/// Share of fine, middle and coarse rows in the limit, percent.
const SHARES: [u64; 3] = [60, 25, 15];

/// Rows each level may have under a limit of `bytes_max`.
pub(super) fn rows_max(bytes_max: u64) -> [u64; 3] {
    SHARES.map(|percent| bytes_max * percent / 100 / ROW_BYTES)
}

/// Rows of each level.
pub(super) fn count(db: &Connection) -> rusqlite::Result<[u64; 3]> {
    let mut rows = [0; 3];
    for (level, n) in rows.iter_mut().enumerate() {
        let sql = "SELECT count(*) FROM trend WHERE level = ?1";
        *n = db.query_row(sql, [level as i64], |row| row.get::<_, i64>(0))? as u64;
    }
    Ok(rows)
}

/// Deletes the oldest tenth of the time covered, level by level, until each is within its share.
pub(super) fn age_out(
    db: &Connection,
    rows: &mut [u64; 3],
    rows_max: [u64; 3],
) -> rusqlite::Result<()> {
    for (level, (n, &max)) in rows.iter_mut().zip(&rows_max).enumerate() {
        while *n > max {
            let sql = "SELECT min(t_ms), max(t_ms) FROM trend WHERE level = ?1";
            let (from, to): (i64, i64) =
                db.query_row(sql, [level as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let before = from + (to - from) / 10;
            let sql = "DELETE FROM trend WHERE level = ?1 AND t_ms <= ?2";
            let gone = db.execute(sql, params![level as i64, before])?;
            *n = n.saturating_sub(gone as u64);
        }
    }
    Ok(())
}
