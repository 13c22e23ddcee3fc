//! The sysfs side of an IIO device: which one it is, and its attributes.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::Error;
use super::cards::read;

/// One IIO device in sysfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::acquire) struct Found {
    /// Directory such as `/sys/bus/iio/devices/iio:device0`.
    pub(super) dir: PathBuf,
    /// Today's node, such as `iio:device0`; never an identity.
    pub(super) node: String,
    /// Name of the part, such as `adxl372`.
    pub(in crate::acquire) name: String,
    /// Label from the device tree.
    pub(in crate::acquire) label: Option<String>,
    /// Serial number, where the driver gives one.
    pub(in crate::acquire) serial: Option<String>,
    /// Where it sits, such as `spi0.0` or `1-001d`.
    pub(in crate::acquire) bus: Option<String>,
}

impl Found {
    /// The surest identity it has: label, serial, place, and at last its name alone.
    pub(in crate::acquire) fn identity(&self) -> String {
        match (&self.label, &self.serial, &self.bus) {
            (Some(label), _, _) => format!("{},label={label}", self.name),
            (None, Some(serial), _) => format!("{},serial={serial}", self.name),
            (None, None, Some(bus)) => format!("{},bus={bus}", self.name),
            (None, None, None) => self.name.clone(),
        }
    }

    /// Whether `what` (`NAME`, or `NAME,label=X`, `,serial=X`, `,bus=X`) means this one.
    fn answers_to(&self, what: &str) -> bool {
        let mut parts = what.split(',');
        let named = parts.next() == Some(self.name.as_str());
        named
            && parts.all(|part| match part.split_once('=') {
                Some(("label", value)) => self.label.as_deref() == Some(value),
                Some(("serial", value)) => self.serial.as_deref() == Some(value),
                Some(("bus", value)) => self.bus.as_deref() == Some(value),
                _ => false,
            })
    }

    /// Names of its buffered channels, such as `accel_x`, timestamp aside.
    pub(in crate::acquire) fn channels(&self) -> Vec<String> {
        let Ok(dir) = fs::read_dir(self.dir.join("scan_elements")) else { return Vec::new() };
        let mut names: Vec<String> = dir
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                Some(name.strip_prefix("in_")?.strip_suffix("_en")?.to_owned())
            })
            .filter(|name| name != "timestamp")
            .collect();
        names.sort_unstable();
        names
    }

    pub(in crate::acquire) fn attr(&self, name: &str) -> Option<String> {
        read(&self.dir.join(name))
    }

    /// An attribute of a channel: its own, else that of its kind (`in_accel_scale`).
    pub(in crate::acquire) fn channel_attr(&self, channel: &str, name: &str) -> Option<String> {
        let own = self.attr(&format!("in_{channel}_{name}"));
        own.or_else(|| self.attr(&format!("in_{}_{name}", channel.rsplit_once('_')?.0)))
    }

    /// Writes an attribute.
    ///
    /// # Errors
    /// Lost if the device is gone or busy, refused if it will not take the value.
    pub(super) fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let path = self.dir.join(name);
        let file = OpenOptions::new().write(true).truncate(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(value.as_bytes()));
        written.map_err(|e| {
            let why = format!("cannot set {name} to {value}: {e}");
            match e.kind() {
                std::io::ErrorKind::InvalidInput => Error::refused(self.identity(), why),
                std::io::ErrorKind::PermissionDenied => {
                    let why = format!("{why}; install systemd/99-auscult.rules");
                    Error::lost(self.identity(), why)
                }
                _ => Error::lost(self.identity(), why),
            }
        })
    }
}

/// All IIO devices with a buffer under `root`.
pub(in crate::acquire) fn all(root: &Path) -> Vec<Found> {
    let Ok(dir) = fs::read_dir(root.join("sys/bus/iio/devices")) else { return Vec::new() };
    let mut found: Vec<Found> = dir
        .filter_map(|entry| {
            let dir = entry.ok()?.path();
            let node = dir.file_name()?.to_str()?.to_owned();
            if !node.starts_with("iio:device") || !dir.join("scan_elements").is_dir() {
                return None;
            }
            let name = read(&dir.join("name"))?;
            let label = read(&dir.join("label"));
            let serial = read(&dir.join("serial_number")).or_else(|| read(&dir.join("serial")));
            // The device hangs under its bus: .../spi0.0/iio:device0.
            let bus = fs::canonicalize(&dir).ok().and_then(|real| {
                let parent = real.parent()?.file_name()?.to_str()?.to_owned();
                (parent != "devices").then_some(parent)
            });
            Some(Found { dir, node, name, label, serial, bus })
        })
        .collect();
    found.sort_by(|a, b| a.node.cmp(&b.node));
    found
}

/// The one device meant by `what`.
///
/// # Errors
/// Lost if there is none, refused if there are several.
pub(super) fn find(root: &Path, what: &str) -> Result<Found, Error> {
    let mut found = all(root);
    let known = found.iter().map(Found::identity).collect::<Vec<_>>().join("; ");
    found.retain(|device| device.answers_to(what));
    if found.len() > 1 {
        let why = format!("{} devices answer to it; there are: {known}", found.len());
        return Err(Error::refused(what, why));
    }
    found.pop().ok_or_else(|| {
        let known = if known.is_empty() { "none".to_owned() } else { known };
        Error::lost(what, format!("no such IIO device; there are: {known}"))
    })
}
