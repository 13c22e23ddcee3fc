//! One file per verb of the command line; results go to standard output, everything else to
//! standard error.

mod bench;
mod bench_views;
mod box_bench;
mod broker;
mod check;
mod demo;
mod devices;
mod doctor;
mod judge;
mod learn;
mod model;
mod print;
mod replay;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config;

/// Listens to machines and says what is wrong, how bad it is, how long it will last and what to do.
#[derive(Parser)]
#[command(version, after_help = "Try it without hardware or configuration: auscult demo")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// How much to log on standard error: error, warn, info, debug, or per module
    #[arg(long, global = true, default_value = "info", env = "AUSCULT_LOG")]
    log: String,
}

#[derive(Subcommand)]
enum Verb {
    Check(check::Args),
    Run(run::Args),
    Replay(replay::Args),
    Learn(learn::Args),
    Demo(demo::Args),
    Judge(judge::Args),
    Devices(devices::Args),
    Doctor(doctor::Args),
    Bench(bench::Args),
    Model(model::Args),
}

/// How a verb that did not succeed leaves: the exit code is part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Failed = 1,
    Bug = 70,
    BadConfiguration = 78,
}

/// Runs the verb that was typed.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_new(&cli.log).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match catch_unwind(AssertUnwindSafe(|| cli.verb.run())) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            print::failure(&error);
            ExitCode::from(exit_of(&error) as u8)
        }
        Err(_) => ExitCode::from(Exit::Bug as u8),
    }
}

impl Verb {
    fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Check(args) => check::run(args),
            Self::Run(args) => run::run(args),
            Self::Replay(args) => replay::run(args),
            Self::Learn(args) => learn::run(args),
            Self::Demo(args) => demo::run(args),
            Self::Judge(args) => judge::run(args),
            Self::Devices(args) => devices::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Model(args) => model::run(args),
        }
    }
}

/// A part of the program failed that must not: the system may start it again.
#[derive(Debug, thiserror::Error)]
#[error("a bug: {0}")]
struct Bug(String);

fn exit_of(error: &anyhow::Error) -> Exit {
    if error.downcast_ref::<config::Error>().is_some() {
        Exit::BadConfiguration
    } else if error.downcast_ref::<Bug>().is_some() {
        Exit::Bug
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_verb_shows_a_worked_example() {
        Cli::command().debug_assert();
        for verb in Cli::command().get_subcommands_mut() {
            let help = verb.render_long_help().to_string();
            let example = format!("auscult {}", verb.get_name());
            assert!(help.contains(&example), "{} has no example", verb.get_name());
        }
    }
}
