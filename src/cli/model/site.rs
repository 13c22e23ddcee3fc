//! `auscult model on-site`: is it worth while to adapt a model to a machine? Base, adapter and a model
//! from nothing on the same minutes of machines that none of them was made from.

use std::path::PathBuf;

use serde::Serialize;

use super::{load, print};
use crate::daemon::SystemClock;
use crate::learn::{self, Adapter, Foundry, Gate, Recipe, Site, Stage, Worth};
use crate::nn::Model;
use crate::types::Clock;

/// Share of what is well that a limit may leave above it.
const FALSE_ALARM_RATE: f64 = 0.01;
/// Kinds of fault tried on each machine.
const FAULTS: usize = 4;

/// Hold a model against itself adapted, and against one made from nothing, machine by machine
#[derive(clap::Args)]
#[command(after_help = "Example: auscult model on-site models/vibration.safetensors --machines 8")]
pub(super) struct Args {
    /// The model
    model: PathBuf,
    /// Generated machines, each with faults of four kinds
    #[arg(long, value_name = "N", default_value_t = 8)]
    machines: usize,
    /// Minutes of each while it is well
    #[arg(long, value_name = "MINUTES", default_value_t = 5.0)]
    minutes: f64,
    /// Seed of the machines and of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Inner width of the adapter
    #[arg(long, default_value_t = 8)]
    rank: usize,
    /// Times through the data, at the most
    #[arg(long, value_name = "N", default_value_t = Recipe::default().epochs)]
    epochs: usize,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// What one way is worth, over all machines.
#[derive(Serialize)]
struct Way {
    #[serde(rename = "way")]
    name: &'static str,
    auc: f64,
    auc_worst: f64,
    hits: f64,
    false_alarms: f64,
    hits_evenly: f64,
    seconds_worst: f64,
    machines: Vec<f64>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    anyhow::ensure!(args.machines > 0 && args.minutes >= 1.0, "at least a machine and a minute");
    let base = load(&args.model)?;
    let clock = SystemClock::new();
    let mut ways = ["base", "adapter", "from nothing"].map(|way| (way, Vec::new()));
    for idx in 0..args.machines {
        let site = Site::generated(base.card().kind, args.seed, idx, args.minutes, FAULTS);
        for (way, found) in &mut ways {
            let begin = clock.monotonic();
            let model = made(way, args, &base, &site)?;
            let seconds = (clock.monotonic() - begin).as_secs();
            found.push((site.worth(&model, FALSE_ALARM_RATE), seconds));
        }
        print::aside(format_args!("machine {} of {}", idx + 1, args.machines));
    }
    let ways = ways.map(|(way, found)| summary(way, &found));
    if args.json {
        return print::json(&ways);
    }
    show(args, &ways);
    Ok(())
}

fn made(way: &str, args: &Args, base: &Model, site: &Site) -> anyhow::Result<Model> {
    let recipe = Recipe { seed: args.seed, epochs: args.epochs, ..Recipe::default() };
    let foundry = Foundry { corpus: &site.corpus, recipe, gate: Gate::default() };
    Ok(match way {
        "base" => base.clone(),
        "adapter" => {
            let neutral = Adapter::neutral(base, args.rank, args.seed)?;
            let (adapter, _) = learn::adapt(&foundry, base, &neutral, &mut |_| ())?;
            adapter.over(base)?
        }
        _ => {
            let mut stages = Stage::all_of(base.graph());
            stages.pop();
            learn::train(&foundry, &stages, &mut |_| ())?.0
        }
    })
}

fn summary(name: &'static str, found: &[(Worth, f64)]) -> Way {
    let mean = |of: &dyn Fn(&Worth) -> f64| {
        found.iter().map(|(worth, _)| of(worth)).sum::<f64>() / found.len() as f64
    };
    Way {
        name,
        auc: mean(&|worth| worth.auc),
        auc_worst: found.iter().map(|(worth, _)| worth.auc_worst).fold(1.0, f64::min),
        hits: mean(&|worth| worth.hits),
        false_alarms: mean(&|worth| worth.false_alarms),
        hits_evenly: mean(&|worth| worth.hits_evenly),
        seconds_worst: found.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max),
        machines: found.iter().map(|(worth, _)| worth.auc).collect(),
    }
}

fn show(args: &Args, ways: &[Way]) {
    print::line(format_args!(
        "{} machines, seed {}, {} minutes each; limit at {} of what is well, evenly: afterwards, for each the same\n\
         {:<14} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9} {:>8}",
        args.machines,
        args.seed,
        args.minutes,
        FALSE_ALARM_RATE,
        "way",
        "AUC",
        "worst",
        "hits",
        "false",
        "evenly",
        "best on",
        "seconds"
    ));
    for way in ways {
        let is_best =
            |idx: &usize| ways.iter().all(|other| other.machines[*idx] <= way.machines[*idx]);
        let n_best = (0..way.machines.len()).filter(is_best).count();
        print::line(format_args!(
            "{:<14} {:>7.4} {:>7.4} {:>7.4} {:>7.4} {:>7.4} {:>9} {:>8.1}",
            way.name,
            way.auc,
            way.auc_worst,
            way.hits,
            way.false_alarms,
            way.hits_evenly,
            n_best,
            way.seconds_worst
        ));
    }
}
