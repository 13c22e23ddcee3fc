//! From text to a [`Config`], or every mistake of its form with its place.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::de::DeValue;

use super::file::{self, File, Section};
use super::reader::{Reader, Step, defaults, within};
use super::{Asset, Config, Fault, Sensor, bundle};
use crate::types::Digest;
use crate::{acquire, publish};

/// The `type`s of a source.
const SOURCES: [&str; 5] = ["sound", "iio", "tcp", "recording", "synth"];

/// Reads `text` as the file at `path`; its models are those of `bundle`, if there is one.
///
/// # Errors
/// Every mistake found, in the order of the file's tables.
pub(super) fn load(path: &Path, text: &str, bundle: Option<&Path>) -> Result<Config, Vec<Fault>> {
    let mut reader = Reader::new(path, text)?;
    reader.bundle = bundle;
    match reader.config() {
        Some(config) if reader.faults.is_empty() => Ok(config),
        _ => Err(reader.faults),
    }
}

impl Reader<'_> {
    /// Relative paths in the file start here.
    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    fn config(&mut self) -> Option<Config> {
        let (file, is_whole) = self.table::<File>(&[]);
        if is_whole {
            self.identifier(&[Step::Key("site")], &file.site);
            self.identifier(&[Step::Key("gateway")], &file.gateway);
        }
        let store = self.room(&[&file.store], &[vec![Step::Key("store")]]);
        let mqtt = self.has(&[Step::Key("mqtt")]).then(|| self.mqtt(&file.mqtt));
        if is_whole && file.asset.is_empty() {
            let message = "there is no machine to listen to".to_owned();
            let example = "[[asset]] with id = \"pump-1\", and an [[asset.sensor]] in it";
            self.note(self.fault(&[], message).or_fix(Some(example.to_owned())));
        }
        let n_assets = self.n_items(&[Step::Key("asset")]);
        let assets: Vec<Asset> = (0..n_assets).filter_map(|idx| self.asset(&file, idx)).collect();
        self.unique(&file.asset, &[Step::Key("asset")]);
        let mut store = store?;
        store.dir = self.folder().join(&store.dir);
        let mqtt = match mqtt {
            Some(mqtt) => Some(mqtt?),
            None => None,
        };
        let digest = Digest(*blake3::hash(self.text.as_bytes()).as_bytes());
        let folder = self.folder().to_owned();
        let File { site, gateway, .. } = file;
        let text = self.text.into();
        Some(Config { site, gateway, store, mqtt, assets, text, digest, folder })
    }

    /// The table at `route`, and whether it could be read; if not, an empty one stands in for it, so that
    /// the mistakes in the tables within are told too.
    fn table<T: DeserializeOwned + Default>(&mut self, route: &[Step<'_>]) -> (T, bool) {
        let table = self.parse(route);
        let is_whole = table.is_some();
        (table.unwrap_or_default(), is_whole)
    }

    fn mqtt(&mut self, section: &Section<publish::Config>) -> Option<publish::Config> {
        let mut mqtt = self.room(&[section], &[vec![Step::Key("mqtt")]])?;
        let folder = self.folder();
        let own = |file: &mut Option<PathBuf>| {
            if let Some(path) = file {
                *path = folder.join(&*path);
            }
        };
        own(&mut mqtt.password_file);
        own(&mut mqtt.ca_file);
        own(&mut mqtt.crl_file);
        own(&mut mqtt.cert_file);
        own(&mut mqtt.key_file);
        Some(mqtt)
    }

    fn asset(&mut self, file: &File, asset_idx: usize) -> Option<Asset> {
        let here = [Step::Key("asset"), Step::At(asset_idx)];
        let (asset, is_whole) = self.table::<file::Asset>(&here);
        if is_whole {
            self.identifier(&within(&here, "id"), &asset.id);
        }
        let levels = |key| [vec![Step::Key(key)], within(&here, key)];
        let assess = self.room(&[&file.assess, &asset.assess], &levels("assess"));
        let forecast = self.room(&[&file.forecast, &asset.forecast], &levels("forecast"));
        let advise = self.room(&[&file.advise, &asset.advise], &levels("advise"));
        let sensors: Vec<Sensor> = (0..self.n_items(&within(&here, "sensor")))
            .filter_map(|idx| self.sensor(file, &asset, asset_idx, idx))
            .collect();
        if is_whole && asset.sensor.is_empty() {
            let message = format!("asset `{}` has no sensor", asset.id);
            let example = "[[asset.sensor]] with id, kind and a [asset.sensor.source]".to_owned();
            self.note(self.fault(&here, message).or_fix(Some(example)));
        }
        self.unique(&asset.sensor, &within(&here, "sensor"));
        let name = if asset.name.is_empty() { asset.id.clone() } else { asset.name };
        let (assess, forecast, advise) = (assess?, forecast?, advise?);
        Some(Asset { id: asset.id, name, assess, forecast, advise, sensors })
    }

    fn sensor(
        &mut self,
        file: &File,
        asset: &file::Asset,
        asset_idx: usize,
        sensor_idx: usize,
    ) -> Option<Sensor> {
        let outer = [Step::Key("asset"), Step::At(asset_idx)];
        let here = [outer[0], outer[1], Step::Key("sensor"), Step::At(sensor_idx)];
        let (sensor, is_whole) = self.table::<file::Sensor>(&here);
        if is_whole {
            self.identifier(&within(&here, "id"), &sensor.id);
        }
        let from = within(&here, "source");
        let source = self.has(&from).then(|| self.source(&from)).flatten();
        let levels = |key| [vec![Step::Key(key)], within(&outer, key), within(&here, key)];
        let speeds = [within(&outer, "speed"), within(&here, "speed")];
        let speed = self.room(&[&asset.speed, &sensor.speed], &speeds);
        let extract =
            self.room(&[&file.extract, &asset.extract, &sensor.extract], &levels("extract"));
        let detect = self.room(&[&file.detect, &asset.detect, &sensor.detect], &levels("detect"));
        let model = sensor.model.map(|model| match self.bundle {
            Some(bundle) if model.as_os_str() != file::NO_MODEL => {
                bundle.join(bundle::name_of(&asset.id, &sensor.id))
            }
            _ => model,
        });
        Some(Sensor {
            id: sensor.id,
            kind: sensor.kind.into(),
            axes: sensor.axes,
            source: source?,
            speed: speed?,
            model,
            extract: extract?,
            detect: detect?,
        })
    }

    /// A source by its `type`, which is looked at first so that every other key keeps its place.
    fn source(&mut self, route: &[Step<'_>]) -> Option<acquire::Config> {
        let kind = within(route, "type");
        let name = self.value(&kind).map(|it| it.get_ref().as_str().unwrap_or("").to_owned());
        let mut source = match name.as_deref() {
            Some("sound") => acquire::Config::Sound(self.part(route)?),
            Some("iio") => acquire::Config::Iio(self.part(route)?),
            Some("tcp") => acquire::Config::Tcp(self.part(route)?),
            Some("recording") => acquire::Config::Recording(self.part(route)?),
            Some("synth") => acquire::Config::Synth(self.part(route)?),
            Some(other) => {
                let names = SOURCES.map(|name| format!("`{name}`")).join(", ");
                let message = format!("unknown type `{other}` of a source, expected {names}");
                self.note(self.fault(&kind, message));
                return None;
            }
            None => {
                let message = "missing field `type`: what kind of source is it?".to_owned();
                let example = format!("type = \"sound\", or one of {}", SOURCES[1..].join(", "));
                self.note(self.fault(route, message).or_fix(Some(example)));
                return None;
            }
        };
        source.resolve(self.folder());
        Some(source)
    }

    /// The keys of one `type` of source.
    fn part<T: DeserializeOwned + Default + Serialize>(&mut self, route: &[Step<'_>]) -> Option<T> {
        let mut value = self.value(route)?;
        if let DeValue::Table(table) = value.get_mut() {
            table.remove("type");
        }
        self.take(value, &defaults::<T>())
    }

    fn identifier(&mut self, route: &[Step<'_>], id: &str) {
        if publish::check_name("id", id).is_ok() {
            return;
        }
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let shown: String = id.chars().take(64).collect();
        let message = format!("`{shown}` is not an identifier: 1 to 64 of a-z, 0-9 and -");
        let slug: String =
            id.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).take(64).collect();
        let fix = if slug.is_empty() { "pump-1" } else { &slug };
        self.note(self.fault(route, message).or_fix(Some(format!("\"{fix}\""))));
    }

    fn unique<T>(&mut self, tables: &[Section<T>], route: &[Step<'_>]) {
        let mut seen = std::collections::BTreeSet::new();
        for (idx, section) in tables.iter().enumerate() {
            let Some(id) = section.table.get("id").and_then(toml::Value::as_str) else { continue };
            if !seen.insert(id) {
                let mut route = route.to_vec();
                route.extend([Step::At(idx), Step::Key("id")]);
                let fault = self.fault(&route, format!("`{id}` is used twice"));
                self.note(fault.or_fix(Some(format!("\"{id}-2\""))));
            }
        }
    }
}
