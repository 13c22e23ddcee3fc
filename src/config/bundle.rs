//! A configuration and its models as one thing: copied before it runs, good once it has run for a while.
//!
//! **Invariant**: what runs is the copy, and what is called good is what ran, to the byte.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Config, Error};
use crate::store::{self, make_dir, replace};
use crate::types::Digest;

/// After so many starts that came to nothing the last good one runs.
const STARTS_MAX: u32 = 3;

/// The text of the configuration in its bundle.
const TEXT: &str = "auscult.toml";

/// The bundles of one box: a folder for each, a file `good` that names the one that ran well, and a file
/// `starts` that counts those of the one being tried.
#[derive(Clone, Debug)]
pub struct Bundles {
    dir: PathBuf,
}

/// What is to run.
#[derive(Debug)]
pub struct Choice {
    /// The configuration.
    pub config: Config,
    /// What it is to be called good by, if it is on trial.
    pub trial: Option<Digest>,
    /// Why it is not the one that was asked for.
    pub instead: Option<String>,
}

impl Bundles {
    /// Kept in the folder `bundles` of `state`.
    pub fn new(state: &Path) -> Self {
        let dir = state.join("bundles");
        Self { dir: std::path::absolute(&dir).unwrap_or(dir) }
    }

    /// What to run: what was read, or the last good one where that has mistakes or has failed at
    /// three starts. `asked` was read from the file at `path`. A start on trial is counted.
    ///
    /// # Errors
    /// The mistakes, if there is no good one.
    pub fn choose(&self, path: &Path, asked: Result<Config, Error>) -> Result<Choice, Error> {
        let asked = match asked {
            Ok(config) => config,
            Err(error) => {
                let Some((_, config)) = self.good(path) else { return Err(error) };
                tracing::error!("the last good configuration runs instead:\n{error}");
                let instead = "the configuration has mistakes: the last good one runs".to_owned();
                return Ok(Choice { config, trial: None, instead: Some(instead) });
            }
        };
        let (trial, config) = match self.stage(path, &asked) {
            Ok(staged) => staged,
            Err(error) => {
                tracing::warn!(%error, "the configuration runs without a copy to come back to");
                return Ok(Choice { config: asked, trial: None, instead: None });
            }
        };
        let n_failed = self.n_starts(trial);
        if n_failed >= STARTS_MAX
            && let Some((good, config)) = self.good(path)
            && good != trial
        {
            let instead =
                format!("the configuration failed at {n_failed} starts: the last good one runs");
            tracing::error!("{instead}; mend the file and reload to try it again");
            return Ok(Choice { config, trial: None, instead: Some(instead) });
        }
        let starts = format!("{trial} {}", n_failed.saturating_add(1));
        if let Err(error) = replace(&self.dir.join("starts"), starts.as_bytes()) {
            tracing::warn!(%error, "this start is not counted");
        }
        Ok(Choice { config, trial: Some(trial), instead: None })
    }

    /// It has run for a while: comes back when another one fails.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn prove(&self, trial: Digest) -> Result<(), store::Error> {
        let name = trial.to_string();
        replace(&self.dir.join("good"), name.as_bytes())?;
        self.forgive();
        // What is left of others costs space only, and goes the next time.
        for other in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if other.path().is_dir() && *other.file_name() != *name {
                drop(fs::remove_dir_all(other.path()));
            }
        }
        Ok(())
    }

    /// Starts so far do not count: it was stopped in order, or somebody wants it tried again.
    pub fn forgive(&self) {
        drop(fs::remove_file(self.dir.join("starts")));
    }

    /// Copies a configuration and its models; the same one, reading the copies.
    fn stage(&self, path: &Path, config: &Config) -> Result<(Digest, Config), store::Error> {
        let own = |path: &Path, error: &std::io::Error| store::Error::io(path, error);
        let trial = digest(config).map_err(|(path, error)| own(&path, &error))?;
        let dir = self.dir.join(trial.to_string());
        make_dir(&dir)?;
        for (name, model) in models(config) {
            let bytes = fs::read(&model).map_err(|error| own(&model, &error))?;
            copy(&dir.join(name), &bytes)?;
        }
        copy(&dir.join(TEXT), config.text.as_bytes())?;
        let staged = Config::parse_with(path, &config.text, Some(&dir));
        let staged = staged.map_err(|why| own(&dir, &std::io::Error::other(why)))?;
        Ok((trial, staged))
    }

    /// The good one, if there is one and it is whole.
    fn good(&self, path: &Path) -> Option<(Digest, Config)> {
        let name = fs::read_to_string(self.dir.join("good")).ok()?;
        let dir = self.dir.join(&name);
        let text = fs::read_to_string(dir.join(TEXT)).ok()?;
        let config = Config::parse_with(path, &text, Some(&dir))
            .inspect_err(|error| tracing::error!("the last good configuration is none:\n{error}"));
        let config = config.ok()?;
        let digest = digest(&config).ok()?;
        (digest.to_string() == name).then_some((digest, config))
    }

    /// Starts of `trial` that came to nothing.
    fn n_starts(&self, trial: Digest) -> u32 {
        let counted = fs::read_to_string(self.dir.join("starts")).unwrap_or_default();
        match counted.split_once(' ') {
            Some((name, n)) if name == trial.to_string() => n.parse().unwrap_or(0),
            _ => 0,
        }
    }
}

/// The model files of a configuration, each with its name in a bundle.
fn models(config: &Config) -> impl Iterator<Item = (String, PathBuf)> {
    config.assets.iter().flat_map(|asset| {
        asset.sensors.iter().filter_map(|sensor| {
            let path = sensor.model_file()?;
            Some((name_of(&asset.id, &sensor.id), config.folder.join(path)))
        })
    })
}

/// The name of a sensor's model in a bundle.
pub(super) fn name_of(asset: &str, sensor: &str) -> String {
    format!("{asset}.{sensor}.safetensors")
}

/// Of the text and every model, with the lengths.
fn digest(config: &Config) -> Result<Digest, (PathBuf, std::io::Error)> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    add(config.text.as_bytes());
    for (name, path) in models(config) {
        add(name.as_bytes());
        add(&fs::read(&path).map_err(|error| (path, error))?);
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// Writes a file that is not there already as it should be.
fn copy(path: &Path, bytes: &[u8]) -> Result<(), store::Error> {
    if fs::read(path).is_ok_and(|known| known == bytes) { Ok(()) } else { replace(path, bytes) }
}
