//! `auscult check`: is the configuration right?

use std::path::PathBuf;

use super::print;
use crate::config::Config;

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

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(path) = &args.config else {
        print::line(Config::schema().trim_end());
        return Ok(());
    };
    let config = Config::load(path)?;
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
