//! `auscult doctor`: is the installation sound, and what to type where it is not.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{broker, devices, print};
use crate::acquire;
use crate::config::{Config, Sensor};
use crate::daemon::SystemClock;
use crate::nn::Canary;
use crate::publish::ClockQuality;
use crate::store::{self, Core};
use crate::types::{Clock, SensorKind};

/// Check the installation: devices, permissions, clock, disk, store, broker, certificates, models
#[derive(clap::Args)]
#[command(after_help = "Example: auscult doctor --config /etc/auscult/auscult.toml\n\n\
    Exit code 1 if anything is bad. Without --config only the box itself is looked at.")]
pub(super) struct Args {
    /// The configuration to check the box against
    #[arg(long)]
    config: Option<PathBuf>,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

/// Free space under which the disk is as good as full, bytes.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// The device nodes that must be readable: folder, beginning of the name, group that may.
const NODES: [(&str, &str, &str); 2] =
    [("/dev/snd", "pcm", "audio"), ("/dev", "iio:device", "auscult")];

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    /// As it should be.
    Good,
    /// Works, but look at it.
    Note,
    /// To be mended.
    Bad,
}

/// One thing looked at.
#[derive(serde::Serialize)]
pub(super) struct Finding {
    pub(super) check: String,
    pub(super) grade: Grade,
    pub(super) found: String,
    /// What to type.
    pub(super) fix: Option<String>,
}

impl Finding {
    pub(super) fn good(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.to_owned(), grade: Grade::Good, found: found.into(), fix: None }
    }

    pub(super) fn note(check: &str, found: impl Into<String>, fix: &str) -> Self {
        Self { grade: Grade::Note, fix: Some(fix.to_owned()), ..Self::good(check, found) }
    }

    pub(super) fn bad(check: &str, found: impl Into<String>, fix: &str) -> Self {
        Self { grade: Grade::Bad, ..Self::note(check, found, fix) }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config.as_deref().map(Config::load).transpose()?;
    let mut all = vec![version()];
    all.extend(inputs(config.as_ref()));
    all.extend(NODES.into_iter().filter_map(node));
    all.extend(clock());
    if let Some(config) = &config {
        all.extend(disk(&config.store));
        all.push(store(&config.store));
        all.extend(models(config));
        all.extend(broker::check(config));
    }
    let n_bad = all.iter().filter(|it| it.grade == Grade::Bad).count();
    if args.json {
        print::json(&serde_json::json!({ "ok": n_bad == 0, "checks": all }))?;
    } else {
        all.iter().for_each(show);
    }
    anyhow::ensure!(n_bad == 0, "{n_bad} thing(s) to mend");
    Ok(())
}

fn show(finding: &Finding) {
    let Finding { check, grade, found, fix } = finding;
    let mark = match grade {
        Grade::Good => "good",
        Grade::Note => "note",
        Grade::Bad => "BAD ",
    };
    print::line(format_args!("{mark}  {check}: {found}"));
    for line in fix.iter().flat_map(|fix| fix.lines()) {
        print::line(format_args!("      -> {}", line.trim_start()));
    }
}

fn version() -> Finding {
    let system = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (version, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let found = format!("auscult {version} on Linux {}, {arch}, {cores} core(s)", system.trim());
    Finding::good("version", found)
}

/// Every configured device, or whether there is any.
fn inputs(config: Option<&Config>) -> Vec<Finding> {
    let found = devices::inputs();
    let Some(config) = config else {
        return vec![if found.is_empty() {
            Finding::note("inputs", "none", devices::NOTHING)
        } else {
            let names: Vec<&str> = found.iter().map(|it| it.identity.as_str()).collect();
            Finding::good("inputs", names.join(", "))
        }];
    };
    let sensors =
        config.assets.iter().flat_map(|asset| asset.sensors.iter().map(move |it| (asset, it)));
    sensors
        .map(|(asset, sensor)| {
            let check = format!("sensor {}/{}", asset.id, sensor.id);
            input(&check, sensor, &found)
        })
        .collect()
}

fn input(check: &str, sensor: &Sensor, found: &[acquire::Device]) -> Finding {
    let device = match &sensor.source {
        acquire::Config::Sound(sound) => &sound.device,
        acquire::Config::Iio(iio) => &iio.device,
        acquire::Config::Tcp(tcp) => return Finding::good(check, format!("TCP {}", tcp.address)),
        acquire::Config::Synth(_) => return Finding::good(check, "a synthetic machine"),
        acquire::Config::Recording(recording) => {
            let path = recording.path.display().to_string();
            return match File::open(&recording.path) {
                Ok(_) => Finding::good(check, path),
                Err(why) => {
                    Finding::bad(check, format!("{path}: {why}"), "put the recording there")
                }
            };
        }
    };
    // An IIO device may be named by a part of what is listed.
    let is_it = |it: &&acquire::Device| it.identity == *device || it.identity.starts_with(device);
    match found.iter().find(is_it).map(|it| &it.offer) {
        Some(Ok(offer)) => Finding::good(check, format!("{device}: {offer}")),
        Some(Err(why)) => Finding::note(
            check,
            format!("{device}: cannot be asked now: {why}"),
            "who has it open? `fuser -v /dev/snd/*`; auscult itself is fine",
        ),
        None => {
            let names: Vec<&str> = found.iter().map(|it| it.identity.as_str()).collect();
            let seen = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let why = format!("{device} is not there; inputs seen: {seen}");
            Finding::bad(check, why, "plug it in, or write one that `auscult devices` lists")
        }
    }
}

/// Whether we may read the device nodes of one kind; nothing where there are none.
fn node((folder, prefix, group): (&str, &str, &str)) -> Option<Finding> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let named = |path: &PathBuf| {
        path.file_name().and_then(|it| it.to_str()).is_some_and(|name| name.starts_with(prefix))
    };
    let paths: Vec<PathBuf> = entries.map(|it| it.path()).filter(named).collect();
    let check = format!("permission {folder}/{prefix}*");
    let denied = paths.iter().find(|path| {
        File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    });
    match (paths.len(), denied) {
        (0, _) => None,
        (n, None) => Some(Finding::good(&check, format!("{n} readable"))),
        (_, Some(path)) => Some(Finding::bad(
            &check,
            format!("{} may not be opened", path.display()),
            &format!(
                "sudo cp systemd/99-auscult.rules /etc/udev/rules.d/ && sudo udevadm trigger\n\
                 sudo usermod -aG {group} $USER, then log in again"
            ),
        )),
    }
}

fn clock() -> Vec<Finding> {
    let now = SystemClock::new().now();
    if ClockQuality::of(now, false) == ClockQuality::Implausible {
        let fix =
            "sudo timedatectl set-ntp true; without a network: sudo date -s '2026-01-31 12:00'";
        return vec![Finding::bad("clock", format!("it says {now}, which cannot be"), fix)];
    }
    let fix = "sudo timedatectl set-ntp true; times are marked free_running until then";
    let asked =
        Command::new("timedatectl").args(["show", "-p", "NTPSynchronized", "--value"]).output();
    let answer = asked.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned());
    vec![match answer.as_deref() {
        Ok("yes") => Finding::good("clock", format!("{now}, kept by a time server")),
        Ok("no") => Finding::bad("clock", format!("{now}, kept by nobody"), fix),
        _ if Path::new("/run/systemd/timesync/synchronized").exists() => {
            Finding::good("clock", format!("{now}, kept by a time server"))
        }
        _ => Finding::note(
            "clock",
            format!("{now}; whether a time server keeps it is not known"),
            fix,
        ),
    }]
}

fn disk(config: &store::Config) -> Vec<Finding> {
    let dir = std::path::absolute(&config.dir).unwrap_or_else(|_| config.dir.clone());
    let dir = dir.as_path();
    let mend = format!("sudo install -d -o $USER {0}, or set store.dir", dir.display());
    let Some(there) = dir.ancestors().find(|it| it.is_dir()) else {
        return vec![Finding::bad("disk", format!("{} is nowhere", dir.display()), &mend)];
    };
    let probe = there.join(format!(".auscult-doctor-{}", std::process::id()));
    let written = File::create_new(&probe);
    drop(std::fs::remove_file(&probe));
    let mut all = vec![match written {
        Ok(_) if there == dir => Finding::good("folder", format!("{} is writable", dir.display())),
        Ok(_) => Finding::good("folder", format!("{} will be made", dir.display())),
        Err(why) => Finding::bad("folder", format!("{}: {why}", there.display()), &mend),
    }];
    let wanted = config.outbox_bytes_max + config.trend_bytes_max + config.clip_bytes_max;
    let fix = "free some space, or lower store.trend_bytes_max and store.clip_bytes_max";
    let mib = |bytes: u64| bytes >> 20;
    all.push(match free_bytes(there) {
        None => Finding::note("space", "not known", "df -Pk"),
        Some(free) if free < FREE_BYTES_MIN => {
            Finding::bad("space", format!("{} MiB free", mib(free)), fix)
        }
        Some(free) if free < wanted => {
            let found = format!("{} MiB free, up to {} are allowed", mib(free), mib(wanted));
            Finding::note("space", found, fix)
        }
        Some(free) => Finding::good("space", format!("{} MiB free", mib(free))),
    });
    all
}

/// What `df` says, as every Unix has it.
fn free_bytes(dir: &Path) -> Option<u64> {
    let told = Command::new("df").arg("-Pk").arg(dir).output().ok()?;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    Some(kib << 10)
}

fn store(config: &store::Config) -> Finding {
    if !config.dir.join("core.db").exists() {
        return Finding::good("store", "none yet; it is made at the first start");
    }
    match Core::open(config) {
        Ok((core, opened)) => {
            let counts = core.counts();
            let n_rows: u64 = counts.rows.iter().sum();
            match opened.salvage {
                None => Finding::good("store", format!("whole, {n_rows} row(s) waiting")),
                Some(_) => Finding::note(
                    "store",
                    format!("was damaged; what was whole is kept, {n_rows} row(s) waiting"),
                    "look at the disk: `sudo dmesg | grep -i error`, `smartctl -a`",
                ),
            }
        }
        Err(store::Error::Busy { .. }) => Finding::good("store", "in use by a running auscult"),
        Err(why) => {
            Finding::bad("store", why.to_string(), "sudo chown -R of its folder, or set store.dir")
        }
    }
}

/// Whether each sensor's model loads and gives finite numbers.
fn models(config: &Config) -> Vec<Finding> {
    let sensors =
        config.assets.iter().flat_map(|asset| asset.sensors.iter().map(move |it| (asset, it)));
    sensors
        .map(|(asset, sensor)| {
            let check = format!("model {}/{}", asset.id, sensor.id);
            let kind = if sensor.kind == SensorKind::Sound { "sound" } else { "vibration" };
            match sensor.load_model(&config.folder) {
                Err(why) => Finding::bad(&check, why, "copy the file again, or model = \"none\""),
                Ok(None) => Finding::good(&check, format!("none for {kind}: statistics alone")),
                Ok(Some(model)) => match Canary::new(&model) {
                    Ok(_) => {
                        Finding::good(&check, format!("{} ({})", model.name(), model.digest()))
                    }
                    Err(why) => {
                        Finding::bad(&check, why.to_string(), "put another box in its place")
                    }
                },
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_be_written_and_one_that_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let config = |dir: PathBuf| store::Config { dir, ..store::Config::default() };
        let grades = |config: &store::Config| disk(config)[0].grade == Grade::Good;
        assert!(grades(&config(dir.path().to_owned())));
        assert!(grades(&config(dir.path().join("not/yet"))));
        assert!(!grades(&config("/proc/self/nothing".into())));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(grades(&config("src".into())), "a relative folder starts here");
    }

    #[test]
    fn a_store_in_use_is_no_fault_and_df_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let config = store::Config { dir: dir.path().to_owned(), ..store::Config::default() };
        assert!(store(&config).found.contains("none yet"));
        let held = Core::open(&config).unwrap();
        assert!(store(&config).found.contains("in use"));
        drop(held);
        assert!(store(&config).found.contains("whole"));
        assert!(free_bytes(dir.path()).is_some_and(|free| free > 0));
    }
}
