//! A store with any bytes of it changed: it opens without a person, and keeps what it is given then.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use auscult::store::{Change, Class, Config, Core, Error, EventId, NewRow, Rank};
use auscult::types::Stamp;

static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();

// Patches: where in three bytes, how long in one, the bytes.
libfuzzer_sys::fuzz_target!(|patches: &[u8]| {
    let mut bytes = WHOLE.get_or_init(whole).clone();
    let mut rest = patches;
    while let [a, b, c, n, more @ ..] = rest {
        let at = u32::from_be_bytes([0, *a, *b, *c]) as usize % bytes.len();
        let (patch, more) = more.split_at(more.len().min((*n).into()));
        let n = patch.len().min(bytes.len() - at);
        bytes[at..at + n].copy_from_slice(&patch[..n]);
        rest = more;
    }
    let config = config();
    fs::create_dir_all(&config.dir).expect("memory for a folder");
    fs::write(file(), bytes).expect("memory for a file");
    match Core::open(&config) {
        Ok((core, _)) => keep(core, &config),
        Err(Error::Newer { .. }) => {}
        Err(error) => panic!("it wants a person: {error}"),
    }
    fs::remove_dir_all(&config.dir).expect("the folder is ours");
});

fn config() -> Config {
    let dir = Path::new("/dev/shm").join(format!("auscult-fuzz-{}-store", std::process::id()));
    Config { dir, ballast_bytes: 0, ..Config::default() }
}

fn file() -> PathBuf {
    config().dir.join("core.db")
}

/// A store with rows and a memory in it.
fn whole() -> Vec<u8> {
    let (mut core, _) = Core::open(&config()).expect("a new store");
    let mut batch: Vec<_> = (0..30).map(|n| Change::Row(row(n))).collect();
    batch.push(Change::Memory { asset: "fan".into(), bytes: vec![7; 600] });
    batch.push(Change::Park(row(3).id));
    batch.push(Change::Acked(row(4).id));
    core.commit(&batch).expect("a new store takes rows");
    drop(core);
    fs::read(file()).expect("it is there")
}

fn row(n: u8) -> NewRow {
    NewRow {
        id: EventId([n; 16]),
        life: EventId([n; 16]),
        class: Class::Alert,
        rank: Rank::Landmark,
        at: Stamp(n.into()),
        topic: "t".into(),
        payload: vec![n; 300],
    }
}

fn rebuilt(config: &Config, error: &Error) -> Core {
    let Error::Corrupt { what, .. } = error else { panic!("it wants a person: {error}") };
    Core::rebuild(config, what).expect("whatever is there, it is built anew").0
}

fn keep(mut core: Core, config: &Config) {
    let kept = row(200);
    let row = [Change::Row(kept.clone())];
    if let Err(error) = core.commit(&row) {
        drop(core);
        core = rebuilt(config, &error);
        core.commit(&row).expect("a rebuilt store takes a row");
    }
    drop(core);
    let (mut core, _) = Core::open(config).expect("and opens again");
    let rows = match core.due([0; 4], 1000) {
        Ok(rows) => rows,
        Err(error) => {
            drop(core);
            rebuilt(config, &error).due([0; 4], 1000).expect("a rebuilt store is read")
        }
    };
    let is_there = rows.iter().any(|row| row.id == kept.id && row.payload == kept.payload);
    assert!(is_there, "what was kept is there");
}
