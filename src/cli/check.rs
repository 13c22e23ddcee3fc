//! `auscult check`: is the configuration right?

use std::path::{Path, PathBuf};

use super::print;
use crate::config::{Config, Error, Fault};

/// Check a configuration: each mistake with file, line, column and what would be right
#[derive(clap::Args)]
#[command(after_help = "Example: auscult check --config /etc/auscult/auscult.toml")]
pub(super) struct Args {
    /// The configuration
    #[arg(long, required_unless_present = "schema")]
    config: Option<PathBuf>,
    /// Print the JSON Schema of the configuration instead, for editors
    #[arg(long)]
    schema: bool,
    /// One JSON document
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Summary<'a> {
    ok: bool,
    site: &'a str,
    gateway: &'a str,
    assets: usize,
    sensors: usize,
    digest: String,
}

/// A mistake as a program wants it; without a line it is the whole file's.
#[derive(serde::Serialize)]
struct Told<'a> {
    file: &'a Path,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    fix: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(fault: &'a Fault) -> Self {
        Self {
            file: &fault.file,
            line: Some(fault.line),
            column: Some(fault.column),
            message: fault.message.clone(),
            fix: fault.fix.as_deref(),
        }
    }
}

fn told(error: &Error) -> Vec<Told<'_>> {
    match error {
        Error::Unreadable { path, why } => {
            vec![Told { file: path, line: None, column: None, message: why.to_string(), fix: None }]
        }
        Error::Wrong(faults) => faults.iter().map(Told::of).collect(),
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(path) = &args.config else {
        print::line(Config::schema().trim_end());
        return Ok(());
    };
    let config = match Config::load(path) {
        Err(error) if args.json => {
            print::json(&serde_json::json!({ "ok": false, "faults": told(&error) }))?;
            return Err(error.into());
        }
        loaded => loaded?,
    };
    let sensors = config.assets.iter().map(|asset| asset.sensors.len()).sum();
    let Config { site, gateway, assets, digest, .. } = &config;
    let summary = Summary {
        ok: true,
        site,
        gateway,
        assets: assets.len(),
        sensors,
        digest: digest.to_string(),
    };
    if args.json {
        return print::json(&summary);
    }
    print::line(format_args!(
        "{}: good. {} asset(s) with {sensors} sensor(s) on gateway {gateway} of site {site}, digest {digest}",
        path.display(),
        assets.len(),
    ));
    Ok(())
}
