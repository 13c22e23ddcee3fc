//! The stand-in for the disk: what it holds is sent, in order, and goes back when the disk is well.

use super::*;
use crate::store::{Class, EventId, NewRow, Rank};
use crate::types::Stamp;

fn config(dir: &std::path::Path) -> Config {
    Config { dir: dir.into(), ballast_bytes: 1 << 16, ..Config::default() }
}

fn id(n: u8) -> EventId {
    EventId([n; 16])
}

fn row(n: u8) -> Change {
    Change::Row(NewRow {
        id: id(n),
        life: id(n),
        class: Class::Alert,
        rank: Rank::Landmark,
        at: Stamp(0),
        topic: "auscult/v1/s/g/fan/alert".into(),
        payload: vec![n; 100],
    })
}

fn refused(dir: &std::path::Path) -> Error {
    Error::Io { path: dir.into(), why: "input/output error".into() }
}

/// The rows behind `after`, as the network asks for them; gives the last one's number.
fn ask(vault: &mut Vault, after: u64) -> (Vec<u8>, u64) {
    let rows = vault.due([after, 0, 0, 0], 100);
    let last = rows.last().map_or(after, |row| row.seq);
    (rows.iter().map(|row| row.id.0[0]).collect(), last)
}

fn later(vault: &Vault) -> Span {
    Span(vault.tried_at.0 + RECOVER_EVERY.0)
}

#[test]
fn a_network_that_never_looks_back_sees_every_row_whoever_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut vault = Vault::open(&config(dir.path())).unwrap();
    let epoch = vault.epoch();
    vault.commit(vec![row(1), row(2)], Span(0));
    let (rows, after) = ask(&mut vault, 0);
    assert_eq!(rows, [1, 2]);
    vault.give_up_disk(&refused(dir.path())).unwrap();
    assert!(!vault.is_durable() && vault.troubles()[0].contains("input/output error"));
    vault.commit(vec![row(3), row(5), Change::Acked(id(1))], Span(0));
    let (rows, after) = ask(&mut vault, after);
    assert_eq!(rows, [3, 5]);
    vault.commit(vec![Change::Acked(id(3))], Span(0));
    let now = later(&vault);
    assert!(vault.recover(now) && vault.is_durable());
    assert_eq!((vault.epoch(), vault.troubles()), (epoch, Vec::new()));
    vault.commit(vec![row(4)], Span(0));
    let (rows, _) = ask(&mut vault, after);
    assert!(rows.ends_with(&[4]), "{rows:?}");
    assert_eq!(ask(&mut vault, 0).0, [2, 5, 4], "acknowledged while the disk was away");
}

#[test]
fn a_full_disk_is_read_on_while_memory_takes_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let mut vault = Vault::open(&config(dir.path())).unwrap();
    vault.commit(vec![row(1)], Span(0));
    vault.give_up_disk(&Error::DiskFull { path: dir.path().into() }).unwrap();
    vault.commit(vec![row(2)], Span(0));
    assert_eq!(ask(&mut vault, 0).0, [1, 2]);
    assert_eq!(vault.counts().rows[0], 2);
    let now = later(&vault);
    assert!(vault.recover(now));
    drop(vault);
    let mut vault = Vault::open(&config(dir.path())).unwrap();
    assert_eq!(ask(&mut vault, 0).0, [1, 2]);
}

#[test]
fn what_memory_gave_up_is_counted_even_after_the_disk_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut vault = Vault::open(&config(dir.path())).unwrap();
    vault.give_up_disk(&refused(dir.path())).unwrap();
    let big = |n| match row(n) {
        Change::Row(row) => Change::Row(NewRow { payload: vec![n; 200_000], ..row }),
        other => other,
    };
    for n in 1..=30 {
        vault.commit(vec![big(n)], Span(0));
    }
    let kept = vault.counts().rows[0];
    let n_shed = |vault: &Vault| vault.ledger().iter().map(|shed| shed.n).sum::<u64>();
    assert!(kept < 30);
    assert_eq!(kept + n_shed(&vault), 30);
    let now = later(&vault);
    assert!(vault.recover(now));
    assert_eq!(vault.counts().rows[0] + n_shed(&vault), 30);
}

#[test]
fn a_store_rebuilt_while_running_goes_on_behind_the_old_numbers_in_a_new_life() {
    let dir = tempfile::tempdir().unwrap();
    let mut vault = Vault::open(&config(dir.path())).unwrap();
    let epoch = vault.epoch();
    for n in 1..=9 {
        vault.commit(vec![row(n)], Span(0));
    }
    let (_, after) = ask(&mut vault, 0);
    vault.let_go();
    let path = dir.path().join("core.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(16).position(|bytes| bytes == epoch.0).unwrap();
    bytes[at] ^= 1;
    crate::store::replace(&path, &bytes).unwrap();
    vault.reopen().unwrap();
    assert!(vault.epoch() != epoch && vault.take_salvage().unwrap().rows == 9);
    vault.commit(vec![row(10)], Span(0));
    assert!(ask(&mut vault, after).0.ends_with(&[10]));
}

#[test]
fn a_start_without_the_disk_goes_on_in_its_own_life_when_the_disk_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut vault = Vault::open(&config(dir.path())).unwrap();
    let before = vault.epoch();
    vault.commit(vec![row(1)], Span(0));
    vault.let_go();
    vault.epoch = None;
    vault.give_up_disk(&refused(dir.path())).unwrap();
    let since = vault.epoch();
    vault.commit(vec![row(2)], Span(0));
    let now = later(&vault);
    assert!(vault.recover(now) && since != before);
    assert_eq!((vault.epoch(), ask(&mut vault, 0).0), (since, vec![1, 2]));
    drop(vault);
    assert_eq!(Vault::open(&config(dir.path())).unwrap().epoch(), since);
}

#[test]
fn a_folder_that_is_a_mistake_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    crate::store::replace(&file, b"").unwrap();
    assert!(matches!(Vault::open(&config(&file)), Err(Error::Io { .. })));
}

#[test]
fn a_store_that_opens_and_takes_nothing_is_built_anew_with_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let damage = |sql: &str| {
        let db = rusqlite::Connection::open(dir.path().join("core.db")).unwrap();
        db.execute_batch(sql).unwrap();
    };
    let open = || Vault::open(&config(dir.path())).unwrap();
    open().commit(vec![row(1), row(2)], Span(0));
    damage("DROP TABLE acked_ring");
    let mut vault = open();
    let epoch = vault.epoch();
    vault.commit(vec![row(3)], Span(0));
    assert!(vault.is_durable() && vault.epoch() != epoch, "{:?}", vault.troubles());
    assert_eq!(ask(&mut vault, 0).0, [1, 2, 3]);
    drop(vault);

    damage("UPDATE outbox SET class = 'x' WHERE seq = 2");
    let mut vault = open();
    assert_eq!(ask(&mut vault, 0).0, [1, 3], "what is not whole is left behind");
    drop(vault);

    for (n, seq) in [(10, "-9"), (11, "0"), (12, "9223372036854775807")] {
        damage(&format!("UPDATE sqlite_sequence SET seq = {seq}"));
        let mut vault = open();
        vault.commit(vec![row(n)], Span(0));
        assert!(vault.is_durable(), "{seq}: {:?}", vault.troubles());
        assert!(ask(&mut vault, 0).0.ends_with(&[n]));
    }
}
