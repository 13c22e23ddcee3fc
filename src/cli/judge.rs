//! `auscult judge`: how good the pipeline is on labelled recordings.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::print;
use crate::config::shipped_model;
use crate::daemon::SystemClock;
use crate::judge::{Cases, Error, Judge, Report, Setup, explain, open_file};
use crate::nn::Model;
use crate::types::SensorKind;

/// Measure detection, diagnosis and forecast on labelled recordings
#[derive(clap::Args)]
#[command(after_help = "Example: auscult judge recordings/cases.toml --baselines")]
pub(super) struct Args {
    /// Case files: which recordings show what is normal, and what is wrong in the others
    #[arg(required = true, value_name = "CASES.toml")]
    cases: Vec<PathBuf>,
    /// One JSON document per case file instead of a table
    #[arg(long)]
    json: bool,
    /// Let this model have a say instead of the shipped one
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Run simple methods on the same windows beside ours
    #[arg(long)]
    baselines: bool,
    /// Draw this recording as SVG on standard output instead: spectra against the learned, and trend
    #[arg(long, value_name = "RECORDING", conflicts_with_all = ["json", "baselines"])]
    explain: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let kinds = [SensorKind::Vibration, SensorKind::Sound];
    let models = match &args.model {
        Some(path) => {
            let model = load_model(path)?;
            kinds.map(|kind| (kind, model.clone())).to_vec()
        }
        None => kinds.map(|kind| (kind, shipped_model(kind))).to_vec(),
    };
    let setup = Setup { models, ..Setup::default() };
    if let Some(recording) = &args.explain {
        return draw(&args.cases, recording, &setup);
    }
    let clock = SystemClock::new();
    let judge =
        Judge { setup: &setup, open: &open_file, with_rivals: args.baselines, clock: &clock };
    for path in &args.cases {
        let report = judge_one(&judge, &Cases::load(path)?)?;
        if args.json { print::json(&report)? } else { print::line(&report) }
    }
    Ok(())
}

/// Draws the recording from the first case file that has it.
fn draw(paths: &[PathBuf], recording: &Path, setup: &Setup) -> anyhow::Result<()> {
    let mut unfound = None;
    for path in paths {
        match explain(&Cases::load(path)?, recording, setup, &open_file) {
            Ok(picture) => {
                print::line(&picture);
                return Ok(());
            }
            Err(why @ Error::Cases { .. }) => unfound = Some(why),
            Err(why) => return Err(why.into()),
        }
    }
    Err(unfound.map_or_else(|| anyhow::anyhow!("no case files were given"), Into::into))
}

fn load_model(path: &Path) -> anyhow::Result<Model> {
    let named = || format!("model {}", path.display());
    Model::load(&std::fs::read(path).with_context(named)?).with_context(named)
}

fn judge_one(judge: &Judge<'_>, cases: &Cases) -> anyhow::Result<Report> {
    let on_terminal = stderr().is_terminal();
    let bar = if on_terminal { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_style(
        ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len}, {eta} left  {wide_msg}")
            .expect("the template is a constant"),
    );
    bar.set_prefix(cases.name.clone());
    let mut tenths_told = 0;
    let report = judge.run(cases, &mut |progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.what.to_owned());
        let tenths = 10 * progress.done / progress.total.max(1);
        if !on_terminal && tenths > tenths_told {
            tenths_told = tenths;
            print::aside(format_args!("{}: {}/{}", cases.name, progress.done, progress.total));
        }
    })?;
    bar.finish_and_clear();
    Ok(report)
}
