//! `auscult judge`: how good the pipeline is on labelled recordings.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::judge::{Cases, Judge, Open, Report, Setup};
use crate::nn::Model;
use crate::types::Clock;

/// Measures detection, diagnosis and forecast on labelled recordings.
///
/// Example: auscult judge recordings/cases.toml --baselines
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Case files: which recordings show what is normal, and what is wrong in the others.
    #[arg(required = true, value_name = "CASES.toml")]
    pub cases: Vec<PathBuf>,
    /// One JSON document per case file instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Let this model have a say.
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Run simple methods on the same windows beside ours.
    #[arg(long)]
    pub baselines: bool,
}

/// Judges every case file; the report goes to standard output, progress to standard error.
///
/// # Errors
/// If a case file, the model or a recording cannot be read, with what is wrong and where.
pub fn run(args: &Args, open: &Open<'_>, clock: &dyn Clock) -> anyhow::Result<()> {
    let model = args.model.as_deref().map(load_model).transpose()?;
    let setup = Setup { model, ..Setup::default() };
    let judge = Judge { setup: &setup, open, with_rivals: args.baselines, clock };
    for path in &args.cases {
        let cases = Cases::load(path)?;
        let report = judge_one(&judge, &cases)?;
        print(&report, args.json)?;
    }
    Ok(())
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
            // A closed standard error only loses this line.
            drop(writeln!(stderr(), "{}: {}/{}", cases.name, progress.done, progress.total));
        }
    })?;
    bar.finish_and_clear();
    Ok(report)
}

fn print(report: &Report, as_json: bool) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    if as_json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(out.flush()?)
}
