//! What the rooms refuse of a well-formed configuration, and what does not go together, each with its
//! place.

use std::path::Path;

use super::build::Refused;
use super::file::read_file;
use super::reader::{Reader, Step, default_line, defaults, within};
use super::{Asset, Config, Fault, Sensor};
use crate::acquire;
use crate::publish::ClockQuality;
use crate::types::{Frame, SensorKind, Unit};
use crate::{advise, assess, detect, extract, forecast, publish, store};

/// Rate a sensor is planned for before its device has granted one, Hz.
const PLANNED_RATE_HZ: f64 = 25_600.0;
/// Words of our own in the topics: no machine may be called so.
const RESERVED: [&str; 2] = ["command", "status"];
/// A certificate, key or password file is refused beyond this many bytes.
const SECRET_BYTES_MAX: u64 = 1 << 20;

/// Every mistake in `config`, which was read from `text`.
pub(super) fn faults(config: &Config, path: &Path, text: &str) -> Vec<Fault> {
    let mut reader = match Reader::new(path, text) {
        Ok(reader) => reader,
        Err(faults) => return faults,
    };
    if let Err(error) = config.identity(ClockQuality::default()).check() {
        reader.note(reader.fault(&[Step::Key(error.key)], error.to_string()));
    }
    if let Err(error) = config.store.check() {
        let (what, why) = (config.store.dir.display().to_string(), error.to_string());
        let why = why.trim_start_matches(&format!("{what}: ")).trim_start_matches("store.");
        let usual = defaults::<store::Config>();
        let fault = reader.fault_named(&[Step::Key("store")], format!("{why} (store)"), &usual);
        reader.note(fault);
    }
    if let Some(mqtt) = &config.mqtt {
        reader.mqtt_faults(mqtt);
    }
    for (asset_idx, asset) in config.assets.iter().enumerate() {
        reader.asset_faults(config, asset, &[Step::Key("asset"), Step::At(asset_idx)]);
    }
    reader.shared_devices(config);
    reader.faults
}

impl Reader<'_> {
    fn mqtt_faults(&mut self, mqtt: &publish::Config) {
        let table = [Step::Key("mqtt")];
        if let Err(error) = mqtt.check() {
            let route = within(&table, error.key);
            let usual = default_line(&defaults::<publish::Config>(), error.key);
            let usual = usual.filter(|_| self.has(&route));
            self.note(self.fault(&route, error.to_string()).or_fix(usual));
        }
        let files = [
            ("password_file", &mqtt.password_file, ""),
            ("ca_file", &mqtt.ca_file, "BEGIN CERTIFICATE"),
            ("crl_file", &mqtt.crl_file, "BEGIN X509 CRL"),
            ("cert_file", &mqtt.cert_file, "BEGIN CERTIFICATE"),
            ("key_file", &mqtt.key_file, "PRIVATE KEY"),
        ];
        for (key, path, mark) in files {
            let Some(Err(why)) = path.as_deref().map(|path| check_secret(path, mark)) else {
                continue;
            };
            let path = path.as_deref().unwrap_or(Path::new("")).display();
            let message = format!("mqtt.{key}: {path}: {why}");
            let fix =
                "the path of the file; a relative one starts at this file's folder".to_owned();
            self.note(self.fault(&within(&table, key), message).or_fix(Some(fix)));
        }
    }

    fn asset_faults(&mut self, config: &Config, asset: &Asset, here: &[Step<'_>]) {
        if RESERVED.contains(&asset.id.as_str()) {
            let message = format!("`{}` is a word of the topics, no machine's name", asset.id);
            let fix = Some(format!("\"{}-1\"", asset.id));
            self.note(self.fault(&within(here, "id"), message).or_fix(fix));
        }
        if let Err(refused) = asset.blocks() {
            self.note(self.refused(&[here, &[]], &refused));
        }
        for (sensor_idx, sensor) in asset.sensors.iter().enumerate() {
            let inner = [here, &[Step::Key("sensor"), Step::At(sensor_idx)]].concat();
            if let Err(error) = sensor.source.check() {
                let (acquire::Error::Lost { why, .. } | acquire::Error::Refused { why, .. }) =
                    error;
                let (route, usual) = (within(&inner, "source"), usual_of(&sensor.source));
                self.note(self.fault_named(&route, format!("source: {why}"), &usual));
                continue;
            }
            if let Err(why) = sensor.load_model(&config.folder) {
                let example = "a file of `auscult model`, or model = \"none\"".to_owned();
                let fault = self.fault(&within(&inner, "model"), format!("model: {why}"));
                self.note(fault.or_fix(Some(example)));
            }
            self.axes_fault(sensor, &inner);
            self.unit_fault(sensor, &inner);
            let (rate_hz, n_channels) = planned(sensor);
            let frame = Frame::empty(asset.origin(sensor), rate_hz, Unit::FullScale, n_channels);
            if let Err(refused) = sensor.blocks(None, &frame) {
                self.note(self.refused(&[&inner, here, &[]], &refused));
            }
        }
    }

    fn axes_fault(&mut self, sensor: &Sensor, here: &[Step<'_>]) {
        let Some(n_channels) = channels(&sensor.source) else { return };
        let n_axes = sensor.axes.len();
        if n_axes > n_channels {
            let message = format!("axes: {n_axes} names for {n_channels} channel(s)");
            self.note(self.fault(&within(here, "axes"), message));
        }
    }

    /// Sound in m/s2 or vibration in Pa: one of the two is wrong.
    fn unit_fault(&mut self, sensor: &Sensor, here: &[Step<'_>]) {
        let unit = match &sensor.source {
            acquire::Config::Synth(synth) => Some(match synth.kind {
                acquire::SynthKind::Vibration => Unit::MetersPerSecond2,
                acquire::SynthKind::Sound => Unit::Pascal,
            }),
            acquire::Config::Recording(recording) => Unit::parse(&recording.unit),
            acquire::Config::Iio(_) => Some(Unit::MetersPerSecond2),
            source => source.expect().map(|(_, _, unit)| unit),
        };
        let (said, kind) = match (sensor.kind, unit) {
            (SensorKind::Sound, Some(unit @ (Unit::MetersPerSecond2 | Unit::G))) => {
                (unit, ("sound", "vibration"))
            }
            (SensorKind::Vibration, Some(unit @ Unit::Pascal)) => (unit, ("vibration", "sound")),
            _ => return,
        };
        let message = format!("kind: a {} sensor does not give {}", kind.0, said.name());
        let fix = format!("kind = \"{}\", or another source.unit", kind.1);
        self.note(self.fault(&within(here, "kind"), message).or_fix(Some(fix)));
    }

    /// A device can be opened once.
    fn shared_devices(&mut self, config: &Config) {
        let mut seen: Vec<(String, String)> = Vec::new();
        for (asset_idx, asset) in config.assets.iter().enumerate() {
            for (sensor_idx, sensor) in asset.sensors.iter().enumerate() {
                let (key, device) = match &sensor.source {
                    acquire::Config::Sound(sound) => ("device", sound.device.clone()),
                    acquire::Config::Iio(iio) => ("device", iio.device.clone()),
                    acquire::Config::Tcp(tcp) if tcp.role == acquire::TcpRole::Listen => {
                        ("address", tcp.address.to_string())
                    }
                    _ => continue,
                };
                let name = format!("{}/{}", asset.id, sensor.id);
                if let Some((_, other)) = seen.iter().find(|(it, _)| *it == device) {
                    let route = [
                        Step::Key("asset"),
                        Step::At(asset_idx),
                        Step::Key("sensor"),
                        Step::At(sensor_idx),
                        Step::Key("source"),
                        Step::Key(key),
                    ];
                    let message = format!("{key}: `{device}` is listened to by {other} already");
                    self.note(self.fault(&route, message));
                }
                seen.push((device, name));
            }
        }
    }

    /// At the innermost level that writes the key; else at the innermost level.
    fn refused(&self, levels: &[&[Step<'_>]], refused: &Refused) -> Fault {
        let Refused { room, key, why } = refused;
        for level in levels {
            for room in [*room, "speed"] {
                let route = within(&within(level, room), key);
                if self.has(&route) {
                    let usual = default_line(&usual(room), key);
                    return self.fault(&route, format!("{room}.{key}: {why}")).or_fix(usual);
                }
            }
        }
        self.fault(levels[0], format!("{room}.{key}: {why}"))
    }
}

/// The defaults of a room by its table's name.
fn usual(room: &str) -> toml::Table {
    match room {
        "extract" => defaults::<extract::Config>(),
        "speed" => defaults::<extract::SpeedConfig>(),
        "detect" => defaults::<detect::Config>(),
        "assess" => defaults::<assess::Config>(),
        "forecast" => defaults::<forecast::Config>(),
        "advise" => defaults::<advise::Config>(),
        _ => toml::Table::new(),
    }
}

/// The defaults of a source.
fn usual_of(source: &acquire::Config) -> toml::Table {
    match source {
        acquire::Config::Sound(_) => defaults::<acquire::SoundConfig>(),
        acquire::Config::Iio(_) => defaults::<acquire::IioConfig>(),
        acquire::Config::Tcp(_) => defaults::<acquire::TcpConfig>(),
        acquire::Config::Recording(_) => defaults::<acquire::RecordingConfig>(),
        acquire::Config::Synth(_) => defaults::<acquire::SynthConfig>(),
    }
}

/// How many channels a source will have, where its configuration alone says so.
fn channels(source: &acquire::Config) -> Option<usize> {
    match source {
        acquire::Config::Synth(synth) => Some(synth.axes),
        acquire::Config::Iio(iio) => Some(iio.channels.len()),
        acquire::Config::Recording(_) => None,
        acquire::Config::Sound(_) | acquire::Config::Tcp(_) => source.expect().map(|it| it.1),
    }
}

/// Rate and channels to plan for: as configured, or such that nothing is refused for them.
fn planned(sensor: &Sensor) -> (f64, usize) {
    let rate_hz = match &sensor.source {
        acquire::Config::Synth(synth) => synth.rate_hz,
        acquire::Config::Iio(iio) if iio.rate_hz > 0.0 => iio.rate_hz,
        acquire::Config::Recording(recording) if recording.rate_hz > 0.0 => recording.rate_hz,
        source => source.expect().map_or(PLANNED_RATE_HZ, |it| it.0),
    };
    let with_tacho = sensor.speed.tacho_channel.map_or(1, |channel| channel.saturating_add(2));
    let unknown = || sensor.axes.len().max(with_tacho);
    (rate_hz, channels(&sensor.source).unwrap_or_else(unknown))
}

/// Whether the file can be read and holds what it should: a text with `mark`, or any.
fn check_secret(path: &Path, mark: &str) -> Result<(), String> {
    let text = read_file(path, SECRET_BYTES_MAX)?;
    if String::from_utf8_lossy(&text).contains(mark) {
        Ok(())
    } else {
        Err(format!("no PEM file: it does not say {mark}"))
    }
}
