//! Tests of the core store.

use std::path::Path;

use super::*;
use crate::store::{Config, Rank};
use crate::types::Stamp;

/// In memory where the system has such a folder: these tests are about logic, not about the disk.
fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn config(dir: &Path) -> Config {
    Config { dir: dir.into(), ..Config::default() }
}

fn id(n: u32) -> EventId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    EventId(id)
}

fn row(n: u32, class: Class) -> NewRow {
    NewRow {
        id: id(n),
        life: id(n / 10),
        class,
        rank: Rank::Landmark,
        at: Stamp(i64::from(n)),
        topic: "auscult/v1/s/g/fan/alert".into(),
        payload: format!("payload {n}").into_bytes(),
    }
}

fn due(core: &mut Core) -> Vec<u32> {
    let rows = core.due([0; 4], 1000).unwrap();
    rows.iter().map(|row| u32::from_be_bytes(row.id.0[..4].try_into().unwrap())).collect()
}

#[test]
fn what_was_committed_is_there_after_a_restart_until_acknowledged() {
    let dir = fast_dir();
    let (mut core, opened) = Core::open(&config(dir.path())).unwrap();
    assert_eq!(opened, Opened::default());
    let epoch = core.epoch();
    let memory = Change::Memory { asset: "fan".into(), bytes: b"{}".to_vec() };
    core.commit(&[memory, Change::Row(row(1, Class::Alert)), Change::Row(row(2, Class::Alert))])
        .unwrap();
    core.commit(&[Change::Acked(id(1)), Change::Acked(id(9))]).unwrap();
    assert_eq!(core.counts().unknown_acks, 1);
    drop(core);
    let (mut core, _) = Core::open(&config(dir.path())).unwrap();
    assert_eq!(core.epoch(), epoch);
    assert_eq!(core.memory("fan").unwrap().as_deref(), Some(&b"{}"[..]));
    assert_eq!(core.memory("pump").unwrap(), None);
    // The same decision made again: neither the kept nor the acknowledged row comes twice.
    core.commit(&[Change::Row(row(1, Class::Alert)), Change::Row(row(2, Class::Alert))]).unwrap();
    assert_eq!(due(&mut core), [2]);
    assert_eq!(core.counts().rows, [1, 0, 0, 0]);
}

#[test]
fn a_second_instance_is_refused() {
    let dir = fast_dir();
    let (mut first, _) = Core::open(&config(dir.path())).unwrap();
    for _ in 0..10 {
        assert!(matches!(Core::open(&config(dir.path())), Err(Error::Busy { .. })));
    }
    first.commit(&[Change::Row(row(1, Class::Alert))]).unwrap();
    drop(first);
    let (mut second, _) = Core::open(&config(dir.path())).unwrap();
    assert_eq!(due(&mut second), [1]);
}

#[test]
fn rows_come_worthiest_first_then_in_order_and_behind_the_cursor() {
    let dir = fast_dir();
    let (mut core, _) = Core::open(&config(dir.path())).unwrap();
    let classes = [Class::Snippet, Class::Alert, Class::Health, Class::Alert, Class::Summary];
    let batch: Vec<_> =
        classes.iter().zip(1..).map(|(&class, n)| Change::Row(row(n, class))).collect();
    core.commit(&batch).unwrap();
    assert_eq!(due(&mut core), [2, 4, 3, 5, 1]);
    let first = &core.due([0; 4], 1).unwrap()[0];
    assert_eq!(first.payload, b"payload 2");
    let rest = core.due([first.seq, 0, 0, 0], 2).unwrap();
    assert_eq!(rest.iter().map(|row| row.class).collect::<Vec<_>>(), [Class::Alert, Class::Health]);
}

#[test]
fn parked_rows_stay_out_of_the_way_until_unparked() {
    let dir = fast_dir();
    let (mut core, _) = Core::open(&config(dir.path())).unwrap();
    core.commit(&[Change::Row(row(1, Class::Alert)), Change::Row(row(2, Class::Alert))]).unwrap();
    core.commit(&[Change::Park(id(1)), Change::Park(id(7))]).unwrap();
    assert_eq!((due(&mut core), core.counts().parked), (vec![2], 1));
    drop(core);
    let (mut core, _) = Core::open(&config(dir.path())).unwrap();
    assert_eq!((due(&mut core), core.counts().parked), (vec![2], 1));
    core.commit(&[Change::Unpark]).unwrap();
    assert_eq!((due(&mut core), core.counts().parked), (vec![1, 2], 0));
}

#[test]
fn alerts_are_never_given_up_for_telemetry_and_nothing_goes_without_a_count() {
    let dir = fast_dir();
    let small = Config { outbox_bytes_max: 1 << 20, ..config(dir.path()) };
    let (mut core, _) = Core::open(&small).unwrap();
    let big = |n, class| NewRow { payload: vec![7; 50_000], ..row(n, class) };
    // A quarter of 1 MiB holds five rows of the other classes.
    for (n, class) in [(1, Class::Summary), (2, Class::Snippet), (3, Class::Health)] {
        core.commit(&[Change::Row(big(n, class))]).unwrap();
    }
    for n in 4..8 {
        core.commit(&[Change::Row(big(n, Class::Health))]).unwrap();
    }
    assert_eq!(core.counts().rows, [0, 5, 0, 0], "snippet and summary gave way");
    core.commit(&[Change::Row(big(8, Class::Summary))]).unwrap();
    assert_eq!(core.counts().rows, [0, 5, 0, 0], "a summary displaces no health");
    // Three quarters hold fifteen alerts.
    for n in 100..120 {
        core.commit(&[Change::Row(big(n, Class::Alert))]).unwrap();
    }
    assert_eq!(core.counts().rows, [15, 5, 0, 0]);
    let shed: Vec<_> =
        core.ledger().unwrap().into_iter().map(|shed| (shed.class, shed.why, shed.n)).collect();
    let quota = |class, n| (class, "quota".to_owned(), n);
    assert_eq!(
        shed,
        [quota(Class::Alert, 5), quota(Class::Summary, 2), quota(Class::Snippet, 1)],
        "each row given up is counted"
    );
}

#[test]
fn a_full_reserve_coalesces_updates_and_still_takes_a_raise() {
    let dir = fast_dir();
    let small = Config { outbox_bytes_max: 1 << 20, ..config(dir.path()) };
    let (mut core, _) = Core::open(&small).unwrap();
    let alert = |n, rank| NewRow { payload: vec![7; 10_000], rank, ..row(n, Class::Alert) };
    let mut n = 0;
    let mut put = |core: &mut Core, rank| {
        n += 1;
        let row = NewRow { life: id(7), ..alert(n, rank) };
        core.commit(&[Change::Row(row)]).unwrap();
    };
    put(&mut core, Rank::Landmark);
    for _ in 0..100 {
        put(&mut core, Rank::Update);
    }
    // At 90 % the 70 updates so far gave way to the last; then it fills up again.
    assert!(core.fill() <= 1.0 && core.counts().rows[0] < 75);
    let shed = |core: &Core| core.ledger().unwrap().iter().map(|shed| shed.n).sum::<u64>();
    assert_eq!(core.counts().rows[0] + shed(&core), 101);
    for _ in 0..100 {
        put(&mut core, Rank::Landmark);
    }
    assert!(core.fill() <= 1.0);
    assert_eq!(core.counts().rows[0] + shed(&core), 201);
    let kept = core.due([0; 4], 1000).unwrap();
    assert_eq!(kept[0].seq, 1, "the raise is still there");
}

#[test]
fn a_failed_batch_leaves_nothing_behind() {
    let dir = fast_dir();
    let (mut core, _) = Core::open(&config(dir.path())).unwrap();
    core.commit(&[Change::Row(row(1, Class::Alert))]).unwrap();
    let before = core.counts();
    core.db.pragma_update(None, "max_page_count", 20).unwrap();
    let batch: Vec<_> = (2..100)
        .map(|n| Change::Row(NewRow { payload: vec![7; 4000], ..row(n, Class::Alert) }))
        .collect();
    assert!(matches!(core.commit(&batch), Err(Error::DiskFull { .. })));
    assert_eq!((core.counts(), due(&mut core)), (before, vec![1]));
    core.db.pragma_update(None, "max_page_count", 20_000).unwrap();
    core.commit(&batch).unwrap();
    assert_eq!(due(&mut core).len(), 99);
}

#[test]
fn a_flipped_bit_in_a_row_is_found_and_counted() {
    let dir = fast_dir();
    let (mut core, _) = Core::open(&config(dir.path())).unwrap();
    core.commit(&[
        Change::Row(row(1, Class::Alert)),
        Change::Row(row(2, Class::Alert)),
        Change::Memory { asset: "fan".into(), bytes: b"{}".to_vec() },
    ])
    .unwrap();
    core.db.execute("UPDATE outbox SET payload = 'xayload 1' WHERE seq = 1", []).unwrap();
    core.db.execute("UPDATE alert_state SET memory = '[]'", []).unwrap();
    assert_eq!(due(&mut core), [2]);
    assert_eq!(core.ledger().unwrap()[0].why, "damaged");
    assert_eq!(core.counts().rows, [1, 0, 0, 0]);
    assert!(matches!(core.memory("fan"), Err(Error::Corrupt { .. })));
}

#[test]
fn a_store_of_a_newer_program_is_not_touched() {
    let dir = fast_dir();
    let (core, _) = Core::open(&config(dir.path())).unwrap();
    core.db.pragma_update(None, "user_version", 99).unwrap();
    let newer = 99_i64.to_le_bytes();
    let sql = "UPDATE meta SET value = ?1, crc = ?2 WHERE key = 'version'";
    core.db.execute(sql, params![newer, pair_crc("version", &newer)]).unwrap();
    drop(core);
    assert!(matches!(Core::open(&config(dir.path())), Err(Error::Newer { found: 99, .. })));
}

#[test]
fn a_new_life_keeps_the_rows_and_gives_other_ids() {
    let dir = fast_dir();
    let (mut core, _) = Core::open(&config(dir.path())).unwrap();
    let old = core.epoch();
    core.commit(&[Change::Row(row(1, Class::Alert))]).unwrap();
    let new = core.renew().unwrap();
    assert!(new != old && core.epoch() == new);
    drop(core);
    let (mut core, opened) = Core::open(&config(dir.path())).unwrap();
    assert_eq!((core.epoch(), opened, due(&mut core)), (new, Opened::default(), vec![1]));
}

#[test]
fn what_the_volatile_store_held_goes_into_the_real_one() {
    let dir = fast_dir();
    let (mut core, _) = Core::open(&config(dir.path())).unwrap();
    let mut volatile = Core::volatile(1 << 20, Some(core.epoch())).unwrap();
    assert_eq!(volatile.epoch(), core.epoch());
    let memory = Change::Memory { asset: "fan".into(), bytes: b"{}".to_vec() };
    volatile.commit(&[Change::Row(row(1, Class::Alert)), memory]).unwrap();
    core.commit(&volatile.export().unwrap()).unwrap();
    assert_eq!(due(&mut core), [1]);
    assert!(core.memory("fan").unwrap().is_some());
}
