//! Days of device time, as fast as they are computed: what is taken stays as it was, each trouble is told once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Appliance, auscult, config};
use crate::broker::{Broker, Listener, has_mosquitto, wait_for};
use crate::rig::{Dice, Faults, Proxy, tier};

/// Seconds of device time.
const HOUR_S: u32 = 3600;
const DAY_S: u32 = 24 * HOUR_S;
/// Days of device time in all, where a day is too few.
const DAYS: &str = "AUSCULT_DAYS";
/// What the store may take, bytes: little enough that a soak comes up against it.
const STORE: &str = "store = { dir = \"store\", outbox_bytes_max = 4194304, trend_bytes_max = 8388608, \
     clip_bytes_max = 2097152, ballast_bytes = 1048576 }";
const STORE_BYTES_MAX: u64 = 15 << 20;
/// What was learned stands beside that.
const LEARNED_BYTES_MAX: u64 = 1 << 20;
const WAL_BYTES_MAX: u64 = 8_000_000;
/// Growth of resident memory once warm.
const GROWTH_KIB_PER_H: f64 = 4.0;
const GROWTH_KIB_MAX: u64 = 1024;

/// Some days of a motor that runs, stops and is listened to through a sensor that fails now and then; on
/// the last evening its bearing wears out.
fn source(leg: u32, n_days: u32) -> String {
    let (mut stops, mut faults) = (String::new(), String::new());
    for day_s in (0..n_days).map(|day| day * DAY_S) {
        for (start_s, duration_s) in [(7000, 600), (50_000, 3600)] {
            let start_s = day_s + start_s;
            write!(stops, "{{ start_s = {start_s}, duration_s = {duration_s}, ramp_s = 5 }},")
                .unwrap();
        }
        for (fault, start_s, duration_s) in
            [("flat", 20_000, 60), ("nan", 30_000, 60), ("zeros", 40_000, 600)]
        {
            let start_s = day_s + start_s;
            write!(
                faults,
                "{{ fault = \"{fault}\", start_s = {start_s}, duration_s = {duration_s} }},"
            )
            .unwrap();
        }
    }
    let worn_s = (n_days - 1) * DAY_S + 60_000;
    format!(
        "{{ type = \"synth\", seed = 5, rate_hz = 3200, speed_rpm = 1480, duration_s = {}, pace = \"max\", \
         start = \"2026-01-{:02}T{leg:02}:00:00Z\", stops = [{stops}], sensor_faults = [{faults}], \
         faults = [{{ fault = \"outer_race\", start_s = {worn_s}, growth_s = 20000 }}] }}",
        n_days * DAY_S,
        1 + leg * n_days,
    )
}

/// What a process and its store take.
#[derive(Clone, Copy, Debug)]
struct Taken {
    kib: u64,
    n_files: u64,
    n_threads: u64,
    wal_bytes: u64,
    store_bytes: u64,
}

impl Taken {
    /// Now; nothing if the process is going.
    fn now(pid: u32, store: &Path) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let n_files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        let (mut wal_bytes, mut store_bytes) = (0, 0);
        let mut folders = vec![store.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                // What is replaced this moment is counted the next time.
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    folders.push(entry.path());
                } else if entry.file_name().to_string_lossy().ends_with("-wal") {
                    wal_bytes = meta.len().max(wal_bytes);
                } else {
                    store_bytes += meta.len();
                }
            }
        }
        Some(Self {
            kib: of("VmRSS:")?,
            n_files,
            n_threads: of("Threads:")?,
            wal_bytes,
            store_bytes,
        })
    }
}

/// The most of it, and the least that was open, in each hour of a leg.
#[derive(Clone, Copy)]
struct Hour {
    most: Taken,
    least: Taken,
}

/// A leg: so many days on the store of the one before; what was taken, by hours.
fn leg(folder: &Path, broker: &Broker, proxy: &Proxy, dice: &mut Dice) -> BTreeMap<i64, Hour> {
    let mut states = Listener::new(broker, "auscult/v1/lab/box-1/+/state");
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = auscult(folder, &["run", "--config", "auscult.toml"]);
    let mut appliance = Appliance(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let (mut hours, mut hour) = (BTreeMap::<i64, Hour>::new(), None);
    let (mut turns_at, mut is_out) = (Instant::now(), true);
    while !appliance.has_ended() {
        if Instant::now() >= turns_at {
            is_out = !is_out;
            let seconds = if is_out { dice.between(0.5, 8.0) } else { dice.between(5.0, 40.0) };
            let stall = dice.below(2) == 0;
            proxy.set(Faults { refuse: is_out, stall: is_out && stall, ..Faults::default() });
            if is_out && !stall {
                proxy.tear();
            }
            turns_at = Instant::now() + Duration::from_secs_f64(seconds);
        }
        states.poll();
        if let Some(told) = states.got.drain(..).next_back() {
            let state: Value = serde_json::from_str(&told.payload).unwrap();
            hour = Some(state["ts_ms"].as_i64().unwrap() / (i64::from(HOUR_S) * 1000));
        }
        if let (Some(hour), Some(taken)) =
            (hour, Taken::now(appliance.0.id(), &folder.join("store")))
        {
            let it = hours.entry(hour).or_insert(Hour { most: taken, least: taken });
            let Taken { kib, n_files, n_threads, wal_bytes, store_bytes } = taken;
            it.most.kib = it.most.kib.max(kib);
            it.most.wal_bytes = it.most.wal_bytes.max(wal_bytes);
            it.most.store_bytes = it.most.store_bytes.max(store_bytes);
            it.most.n_files = it.most.n_files.max(n_files);
            it.most.n_threads = it.most.n_threads.max(n_threads);
            it.least.n_files = it.least.n_files.min(n_files);
            it.least.n_threads = it.least.n_threads.min(n_threads);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    proxy.set(Faults::default());
    // The last one may be of a process that is going.
    hours.pop_last();
    hours
}

/// Slope of a line through the points, least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = points.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.0 / n, sum.1 + it.1 / n));
    let sums = points.iter().fold((0.0, 0.0), |sum, it| {
        let dx = it.0 - mean.0;
        (sum.0 + dx * (it.1 - mean.1), sum.1 + dx * dx)
    });
    sums.0 / sums.1
}

/// Holds a leg against its bars.
fn judge(leg: u32, hours: &BTreeMap<i64, Hour>) {
    let all: Vec<(i64, Hour)> = hours.iter().map(|(hour, it)| (*hour, *it)).collect();
    // Caches fill for a day, or in the first half of one.
    let (_, warm) = all.split_at(24.min(all.len() / 2));
    let n = warm.len() / 4;
    let (first, last) = (&warm[..n], &warm[warm.len() - n..]);
    let most = |hours: &[(i64, Hour)], pick: fn(&Taken) -> u64| {
        hours.iter().map(|(_, hour)| pick(&hour.most)).max().unwrap()
    };
    // What is open in passing comes on top.
    let open = |hours: &[(i64, Hour)]| {
        let least = |pick: fn(&Taken) -> u64| hours.iter().map(|(_, it)| pick(&it.least)).min();
        (least(|it| it.n_files).unwrap(), least(|it| it.n_threads).unwrap())
    };
    let kib: Vec<_> = warm.iter().map(|(hour, it)| (*hour as f64, it.most.kib as f64)).collect();
    let (slope, grown) = (slope(&kib), (most(first, |it| it.kib), most(last, |it| it.kib)));
    let (wal, store) = (most(&all, |it| it.wal_bytes), most(&all, |it| it.store_bytes));
    println!(
        "leg {leg}: {} h, {} KiB at the most, once warm {} then {}, {slope:.2} an hour; files and threads {:?} \
         then {:?}, {} and {} at the most; log of the disk {} KiB, store {} KiB",
        all.len(),
        most(&all, |it| it.kib),
        grown.0,
        grown.1,
        open(first),
        open(last),
        most(&all, |it| it.n_files),
        most(&all, |it| it.n_threads),
        wal >> 10,
        store >> 10
    );
    let days = all.chunks(24).map(|day| most(day, |it| it.kib));
    println!("KiB at the most, day by day: {:?}", days.collect::<Vec<_>>());
    // Over less than some days the way memory is cut up weighs more than any leak.
    if all.len() > 72 {
        assert!(slope <= GROWTH_KIB_PER_H, "memory grows by {slope:.1} KiB an hour");
    }
    assert!(grown.1 <= grown.0 + GROWTH_KIB_MAX, "memory grows");
    let (then, now) = (open(first), open(last));
    // The connection to the broker may have been there all the while, or not.
    assert!(now.0 <= then.0 + 1 && now.1 == then.1, "files or threads stay: {then:?}, {now:?}");
    assert!(wal <= WAL_BYTES_MAX, "{wal}");
    assert!(store <= STORE_BYTES_MAX + LEARNED_BYTES_MAX, "{store}");
}

#[test]
fn a_day_leaves_what_is_taken_as_it_was_and_tells_each_trouble_once() {
    if !has_mosquitto() || tier(true, false, false) {
        println!("skipped: a day takes minutes; AUSCULT_TIER=ci hears it");
        return;
    }
    let n_days: u32 = std::env::var(DAYS).map_or(1, |days| days.parse().expect(DAYS));
    let n_legs = if n_days.is_multiple_of(3) { 3 } else { 1 };
    let broker = Broker::start("");
    let proxy = Proxy::to(broker.port);
    let folder = tempfile::tempdir().unwrap();
    let mut listener = Listener::new(&broker, "auscult/v1/lab/box-1/+/alert");
    let mut dice = Dice::new(10);
    for n in 0..n_legs {
        let text = config(HOUR_S, &source(n, n_days / n_legs), None)
            .replace("store.dir = \"store\"", STORE)
            + &format!("[mqtt]\nhost = \"127.0.0.1\"\nport = {}\nretry_max_s = 2\n", proxy.port);
        fs::write(folder.path().join("auscult.toml"), text).unwrap();
        judge(n, &leg(folder.path(), &broker, &proxy, &mut dice));
    }
    let raised = |listener: &mut Listener, is_sensor: bool| {
        listener.poll();
        let alerts =
            listener.got.iter().map(|got| serde_json::from_str::<Value>(&got.payload).unwrap());
        let raised = alerts.filter(|it| it["event"] == "raised");
        let distinct: BTreeMap<_, _> = raised
            .filter(|it| (it["what"] == "sensor") == is_sensor)
            .map(|it| (it["id"].to_string(), it["message"].to_string()))
            .collect();
        distinct
    };
    wait_for("the bearing's end", || raised(&mut listener, false).len() >= n_legs as usize);
    let (sensor, machine) = (raised(&mut listener, true), raised(&mut listener, false));
    println!(
        "{} of the sensor and {} of the machine raised in {n_days} days",
        sensor.len(),
        machine.len()
    );
    assert_eq!(sensor.len(), 3 * n_days as usize, "{sensor:?}");
    assert_eq!(machine.len(), n_legs as usize, "{machine:?}");
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(!log.contains("panicked"), "a thread failed");
}
