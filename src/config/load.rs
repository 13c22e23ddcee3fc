//! From text to a checked [`Config`], or every mistake with its place.

use std::ops::Range;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::file::{self, File, Section};
use super::{Asset, Config, Fault, Sensor};
use crate::types::Digest;

/// A step into the document: a key, or the number of an array's table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// A key of a table.
    Key(&'static str),
    /// An item of an array.
    At(usize),
}

/// The text of one file and the mistakes found in it so far.
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    root: Spanned<DeValue<'a>>,
    faults: Vec<Fault>,
}

/// Reads `text` as the file at `path`.
///
/// # Errors
/// Every mistake found, in the order of the file's tables.
pub(super) fn load(path: &Path, text: &str) -> Result<Config, Vec<Fault>> {
    let mut reader = Reader::new(path, text).map_err(|fault| vec![fault])?;
    match reader.config() {
        Some(config) if reader.faults.is_empty() => Ok(config),
        _ => Err(reader.faults),
    }
}

impl<'a> Reader<'a> {
    /// Parses the document, without looking at what its keys mean.
    pub(super) fn new(file: &'a Path, text: &'a str) -> Result<Self, Fault> {
        let root = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            Fault::new(file, text, &span, error.message().to_owned())
        })?;
        let root = Spanned::new(root.span(), DeValue::Table(root.into_inner()));
        Ok(Self { file, text, root, faults: Vec::new() })
    }

    /// A mistake at the deepest part of `route` that is written.
    pub(super) fn fault(&self, route: &[Step], message: String) -> Fault {
        Fault::new(self.file, self.text, &self.find(route).0, message)
    }

    /// How many steps of `route` are written.
    pub(super) fn depth(&self, route: &[Step]) -> usize {
        self.find(route).1
    }

    fn find(&self, route: &[Step]) -> (Range<usize>, usize) {
        let mut value = &self.root;
        for (depth, step) in route.iter().enumerate() {
            let next = match step {
                Step::Key(key) => value.get_ref().get(*key),
                Step::At(idx) => value.get_ref().get(*idx),
            };
            match next {
                Some(next) => value = next,
                None => return (value.span(), depth),
            }
        }
        (value.span(), route.len())
    }

    fn value(&self, route: &[Step]) -> Option<Spanned<DeValue<'a>>> {
        let mut value = &self.root;
        for step in route {
            value = match step {
                Step::Key(key) => value.get_ref().get(*key)?,
                Step::At(idx) => value.get_ref().get(*idx)?,
            };
        }
        Some(value.clone())
    }

    /// The value at `route` as a `T`; a mistake in it is noted.
    fn parse<T: DeserializeOwned>(&mut self, route: &[Step]) -> Option<T> {
        let value = self.value(route)?;
        let whole = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let span = error.span().unwrap_or(whole);
                let message = error.message().to_owned();
                self.faults.push(Fault::new(self.file, self.text, &span, message));
                None
            }
        }
    }

    /// A room's configuration: what is set further in laid over what is set further out.
    fn room<T: DeserializeOwned + Default + Serialize>(
        &mut self,
        sections: &[&Section<T>],
        routes: &[Vec<Step>],
    ) -> Option<T> {
        let before = self.faults.len();
        for route in routes {
            if self.depth(route) == route.len() {
                self.parse::<T>(route);
            }
        }
        if self.faults.len() > before {
            return None;
        }
        let mut merged = toml::Table::new();
        for section in sections {
            overlay(&mut merged, &section.table);
        }
        match merged.try_into() {
            Ok(config) => Some(config),
            Err(error) => {
                let at = routes.last().map_or(&[][..], Vec::as_slice);
                self.faults.push(self.fault(at, error.message().to_owned()));
                None
            }
        }
    }

    fn config(&mut self) -> Option<Config> {
        let file: File = self.parse(&[])?;
        self.identifier(&[Step::Key("site")], &file.site);
        self.identifier(&[Step::Key("gateway")], &file.gateway);
        let store = self.room(&[&file.store], &[vec![Step::Key("store")]]);
        let mqtt = match &file.mqtt {
            Some(section) => self.room(&[section], &[vec![Step::Key("mqtt")]]).map(Some),
            None => Some(None),
        };
        let assets: Vec<Asset> =
            (0..file.asset.len()).filter_map(|idx| self.asset(&file, idx)).collect();
        self.unique(assets.iter().map(|it| it.id.as_str()), &[Step::Key("asset")]);
        let digest = Digest(*blake3::hash(self.text.as_bytes()).as_bytes());
        let folder = self.file.parent().unwrap_or(Path::new("")).to_owned();
        let File { site, gateway, .. } = file;
        Some(Config { site, gateway, store: store?, mqtt: mqtt?, assets, digest, folder })
    }

    fn asset(&mut self, file: &File, asset_idx: usize) -> Option<Asset> {
        let here = [Step::Key("asset"), Step::At(asset_idx)];
        let asset: file::Asset = self.parse(&here)?;
        self.identifier(&within(&here, "id"), &asset.id);
        let levels = |key| [vec![Step::Key(key)], within(&here, key)];
        let assess = self.room(&[&file.assess, &asset.assess], &levels("assess"));
        let forecast = self.room(&[&file.forecast, &asset.forecast], &levels("forecast"));
        let advise = self.room(&[&file.advise, &asset.advise], &levels("advise"));
        let sensors: Vec<Sensor> = (0..asset.sensor.len())
            .filter_map(|idx| self.sensor(file, &asset, asset_idx, idx))
            .collect();
        if asset.sensor.is_empty() {
            let message = format!("asset `{}` has no [[asset.sensor]]", asset.id);
            self.faults.push(self.fault(&here, message));
        }
        self.unique(sensors.iter().map(|it| it.id.as_str()), &within(&here, "sensor"));
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
        let mut sensor: file::Sensor = self.parse(&here)?;
        sensor.source.resolve(self.file.parent().unwrap_or(Path::new("")));
        self.identifier(&within(&here, "id"), &sensor.id);
        let levels = |key| [vec![Step::Key(key)], within(&outer, key), within(&here, key)];
        let speeds = [within(&outer, "speed"), within(&here, "speed")];
        let speed = self.room(&[&asset.speed, &sensor.speed], &speeds);
        let extract =
            self.room(&[&file.extract, &asset.extract, &sensor.extract], &levels("extract"));
        let detect = self.room(&[&file.detect, &asset.detect, &sensor.detect], &levels("detect"));
        Some(Sensor {
            id: sensor.id,
            kind: sensor.kind.into(),
            axes: sensor.axes,
            source: sensor.source,
            speed: speed?,
            model: sensor.model,
            extract: extract?,
            detect: detect?,
        })
    }

    fn identifier(&mut self, route: &[Step], id: &str) {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=64).contains(&id.len()) && id.chars().all(allowed) {
            return;
        }
        let message = format!("`{id}` is not an identifier: 1 to 64 of a-z, 0-9 and -");
        let slug: String =
            id.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).take(64).collect();
        let fix = (!slug.is_empty()).then(|| format!("\"{slug}\""));
        self.faults.push(self.fault(route, message).or_fix(fix));
    }

    fn unique<'b>(&mut self, ids: impl Iterator<Item = &'b str>, route: &[Step]) {
        let mut seen = std::collections::BTreeSet::new();
        for (idx, id) in ids.enumerate() {
            if !seen.insert(id) {
                let mut route = route.to_vec();
                route.extend([Step::At(idx), Step::Key("id")]);
                let fault = self.fault(&route, format!("`{id}` is used twice"));
                self.faults.push(fault.or_fix(Some(format!("\"{id}-2\""))));
            }
        }
    }
}

/// One key further in.
pub(super) fn within(route: &[Step], key: &'static str) -> Vec<Step> {
    route.iter().copied().chain([Step::Key(key)]).collect()
}

/// Lays `over` on `under`, table by table.
fn overlay(under: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}
