//! A control group (version 1 or 2) that the box is started in: so much memory, or so much of a processor.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Appliance;

/// Over which the share of a processor is held, microseconds.
const PERIOD_US: u64 = 100_000;

/// Taken down when dropped.
pub(super) struct Group {
    dir: PathBuf,
    is_second: bool,
}

impl Group {
    /// With so much memory at the most.
    ///
    /// # Errors
    /// If this system lends no control group for it.
    pub(super) fn of_memory(name: &str, limit_bytes: u64) -> Result<Self> {
        let this = Self::new("memory", name)?;
        let file = if this.is_second { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(this.dir.join(file), limit_bytes.to_string())?;
        Ok(this)
    }

    /// With so much of one processor, percent.
    ///
    /// # Errors
    /// If this system lends no control group for it.
    pub(super) fn of_cpu(name: &str, percent: u64) -> Result<Self> {
        let this = Self::new("cpu", name)?;
        let quota_us = PERIOD_US * percent / 100;
        if this.is_second {
            fs::write(this.dir.join("cpu.max"), format!("{quota_us} {PERIOD_US}"))?;
        } else {
            fs::write(this.dir.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
            fs::write(this.dir.join("cpu.cfs_quota_us"), quota_us.to_string())?;
        }
        Ok(this)
    }

    fn new(controller: &str, name: &str) -> Result<Self> {
        let name = format!("auscult-{name}-{}", std::process::id());
        let root = Path::new("/sys/fs/cgroup");
        let is_second = !root.join(controller).is_dir();
        let dir = if is_second {
            fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"))?;
            root.join(name)
        } else {
            root.join(controller).join(name)
        };
        fs::create_dir(&dir)?;
        Ok(Self { dir, is_second })
    }

    /// Starts the box in it.
    pub(super) fn start(&self, folder: &Path) -> Appliance {
        let line = "echo $$ > \"$0\"/cgroup.procs && exec \"$1\" run --config auscult.toml";
        let mut command = Command::new("sh");
        command.current_dir(folder).args(["-c", line]).arg(&self.dir);
        command.arg(env!("CARGO_BIN_EXE_auscult")).stdout(Stdio::null()).stderr(Stdio::null());
        Appliance(command.spawn().unwrap())
    }

    /// The most memory that was taken.
    pub(super) fn peak_bytes(&self) -> u64 {
        let file = if self.is_second { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.dir.join(file)).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.dir));
    }
}
