//! `auscult model`: makes, compresses and examines models.

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

mod ladder;
mod picture;
mod site;

use super::print;
use crate::learn::{
    self, Adapter, Corpus, Foundry, Gate, Marks, Outcome, Part, Precision, Progress, Recipe, Scale,
    Stage, Target,
};
use crate::nn::{Kind, Model};
use crate::store::replace;

/// Make, compress and examine models
#[derive(clap::Args)]
#[command(after_help = "Example: auscult model train --kind vibration --out vibration.safetensors")]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Train(Train),
    Prune(Prune),
    Factorize(Factorize),
    Share(Share),
    Distill(Distill),
    Quantize(Quantize),
    Adapt(Adapt),
    Ladder(ladder::Args),
    Inspect(Inspect),
    Compare(ladder::Compare),
    OnSite(site::Args),
}

/// What a model listens to.
#[derive(Clone, Copy, ValueEnum)]
enum KindArg {
    Vibration,
    Sound,
}

/// What to learn from and measure by, and how much worse a step may make a model.
#[derive(clap::Args)]
struct Ground {
    /// Recordings of the machine while it is well; without any, generated machines
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Seed of everything random: the same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Generated machines to learn from
    #[arg(long, value_name = "N", default_value_t = Scale::default().machines)]
    machines: usize,
    /// Times through the data, at the most, for training and for each healing
    #[arg(long, value_name = "N", default_value_t = Recipe::default().epochs)]
    epochs: usize,
    /// AUC a step may lose
    #[arg(long, value_name = "AUC", default_value_t = Gate::default().auc_loss_max)]
    gate_auc: f64,
    /// Growth of the normal residual a step may cause: 1.5 is half more
    #[arg(long, value_name = "RATIO", default_value_t = Gate::default().mse_ratio_max)]
    gate_mse: f64,
    /// Rank correlation of the scores a step must keep
    #[arg(long, value_name = "RHO", default_value_t = Gate::default().rank_min)]
    gate_rank: f64,
}

/// Train a model, prune half its units and quantise it
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult model train --kind sound --out sound.safetensors --seed 1"
)]
struct Train {
    /// What it listens to
    #[arg(long)]
    kind: KindArg,
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Stages between input and output, before pruning: 64, or conv32x3 (32 channels, 3 taps), conv32x3/2
    /// (every other step), depth3 (each channel by itself) [default: 64,16,64 or 128,16,128]
    #[arg(long, value_delimiter = ',', value_name = "N,N,...")]
    widths: Vec<Stage>,
    /// Leave it in floats, with all its units
    #[arg(long)]
    float: bool,
    #[command(flatten)]
    ground: Ground,
}

/// Leave out what matters least, and heal
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult model prune a.safetensors --units 0.5 --out b.safetensors"
)]
struct Prune {
    /// The model
    model: PathBuf,
    /// Share of the hidden units to leave out
    #[arg(long, value_name = "RATIO", visible_alias = "channels", required_unless_present_any = ["blocks", "layers"])]
    units: Option<f64>,
    /// Share of the 8 by 4 blocks of weights to leave out
    #[arg(long, value_name = "RATIO", conflicts_with = "units")]
    blocks: Option<f64>,
    /// Layers or residual blocks to leave out
    #[arg(long, value_name = "N", conflicts_with_all = ["units", "blocks"])]
    layers: Option<usize>,
    /// Where to write the result
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    ground: Ground,
}

#[derive(Clone, Copy, ValueEnum)]
enum To {
    Int8,
    /// INT8 with codes of at most 64: faster with AVX2
    Int7,
    Int4,
    Fp16,
    Mixed,
}

/// Turn floats into integers
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult model quantize a.safetensors --to int8 --out b.safetensors"
)]
struct Quantize {
    /// The model
    model: PathBuf,
    /// Precision of the weights; mixed: INT4 where the gate allows, else INT8
    #[arg(long)]
    to: To,
    /// Fit the weights once more with the rounding in force
    #[arg(long)]
    aware: bool,
    /// Where to write the result
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    ground: Ground,
}

/// Split layers into two thin ones where their outputs leave room for it, and heal
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult model factorize a.safetensors --energy 0.99 --out b.safetensors"
)]
struct Factorize {
    /// The model
    model: PathBuf,
    /// Share of each layer's output power to keep
    #[arg(long, default_value_t = 0.99)]
    energy: f64,
    /// Where to write the result
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    ground: Ground,
}

/// Let weights share few values, stored as numbers of a codebook, and heal
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult model share a.safetensors --centroids 16 --out b.safetensors"
)]
struct Share {
    /// The model
    model: PathBuf,
    /// Different values per layer; up to 16 take four bits each in the file
    #[arg(long, default_value_t = 16)]
    centroids: usize,
    /// Where to write the result
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    ground: Ground,
}

/// Teach a small model what a large one does
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult model distill a.safetensors --widths 32,8,32 --out b.safetensors"
)]
struct Distill {
    /// The teacher
    model: PathBuf,
    /// Stages of the pupil between input and output, as for training
    #[arg(long, value_delimiter = ',', value_name = "N,N,...", required = true)]
    widths: Vec<Stage>,
    /// Where to write the result
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    ground: Ground,
}

/// Learn an adapter for one machine; the model itself stays as it is
#[derive(clap::Args)]
#[command(
    after_help = "Example: auscult model adapt sound.safetensors --data well.wav --out pump.adapter"
)]
struct Adapt {
    /// The model
    model: PathBuf,
    /// Inner width of the adapter
    #[arg(long, default_value_t = 8)]
    rank: usize,
    /// Where to write the adapter
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where to write the model with the adapter in it, to run it
    #[arg(long, value_name = "FILE")]
    whole: Option<PathBuf>,
    #[command(flatten)]
    ground: Ground,
}

/// Show a model's card and layers
#[derive(clap::Args)]
#[command(after_help = "Example: auscult model inspect models/sound.safetensors")]
struct Inspect {
    /// The model
    model: PathBuf,
    /// The card as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    match &args.verb {
        Verb::Train(args) => train(args),
        Verb::Prune(args) => prune(args),
        Verb::Factorize(args) => {
            step(&args.ground, &args.model, &args.out, |foundry, it, watch| {
                learn::factorize(foundry, it, args.energy, watch)
            })
        }
        Verb::Share(args) => step(&args.ground, &args.model, &args.out, |foundry, it, watch| {
            learn::share(foundry, it, args.centroids, watch)
        }),
        Verb::Distill(args) => step(&args.ground, &args.model, &args.out, |foundry, it, watch| {
            learn::distill(foundry, it, &args.widths, watch)
        }),
        Verb::Quantize(args) => quantize(args),
        Verb::Adapt(args) => adapt(args),
        Verb::Ladder(args) => ladder::run(args),
        Verb::Inspect(args) => inspect(args),
        Verb::Compare(args) => ladder::compare(args),
        Verb::OnSite(args) => site::run(args),
    }
}

impl Ground {
    fn corpus(&self, kind: Kind, card: Option<&Model>) -> anyhow::Result<Corpus> {
        if self.data.is_empty() {
            let scale = Scale { machines: self.machines, ..Scale::default() };
            let bar = bar();
            let corpus = Corpus::generated(kind, self.seed, scale, &mut |done, total| {
                show(&bar, "machines", done, total, f32::NAN);
            });
            bar.finish_and_clear();
            return Ok(corpus);
        }
        let card = match card {
            Some(model) => model.card().clone(),
            None => crate::nn::Card {
                kind,
                preprocessing: learn::preprocessing(kind),
                ..crate::nn::Card::default()
            },
        };
        Ok(Corpus::recorded(&card, &self.data)?)
    }

    fn foundry<'a>(&self, corpus: &'a Corpus) -> Foundry<'a> {
        let recipe = Recipe { seed: self.seed, epochs: self.epochs, ..Recipe::default() };
        let gate = Gate {
            auc_loss_max: self.gate_auc,
            mse_ratio_max: self.gate_mse,
            rank_min: self.gate_rank,
        };
        Foundry { corpus, recipe, gate }
    }
}

fn train(args: &Train) -> anyhow::Result<()> {
    let (kind, usual) = match args.kind {
        KindArg::Vibration => (Kind::Vibration, [128, 16, 128].map(Stage::Dense)),
        KindArg::Sound => (Kind::Sound, [64, 16, 64].map(Stage::Dense)),
    };
    let corpus = args.ground.corpus(kind, None)?;
    let foundry = args.ground.foundry(&corpus);
    let widths = if args.widths.is_empty() { &usual[..] } else { &args.widths };
    let bar = bar();
    let watch = &mut |at: &Progress| show(&bar, &at.what, at.done, at.total, at.loss);
    let (mut model, _) = learn::train(&foundry, widths, watch)?;
    tell("float", &model, &learn::marks(&model, &corpus));
    if !args.float {
        let pruned = learn::prune(&foundry, &model, Part::Units, 0.5, watch)?;
        tell("pruned", &pruned.model, &pruned.after);
        let to = Target::All(Precision::Int8);
        let small = learn::quantize(&foundry, &pruned.model, to, true, watch)?;
        tell("INT8", &small.model, &small.after);
        model = small.model;
    }
    bar.finish_and_clear();
    write(&model, &args.out)
}

fn prune(args: &Prune) -> anyhow::Result<()> {
    step(&args.ground, &args.model, &args.out, |foundry, model, watch| {
        match (args.units, args.blocks, args.layers) {
            (Some(ratio), ..) => learn::prune(foundry, model, Part::Units, ratio, watch),
            (_, Some(ratio), _) => learn::prune(foundry, model, Part::Blocks, ratio, watch),
            (.., n) => learn::prune_layers(foundry, model, n.unwrap_or(1), watch),
        }
    })
}

fn quantize(args: &Quantize) -> anyhow::Result<()> {
    let to = match args.to {
        To::Int8 => Target::All(Precision::Int8),
        To::Int7 => Target::All(Precision::Int7),
        To::Int4 => Target::All(Precision::Int4),
        To::Fp16 => Target::All(Precision::F16),
        To::Mixed => Target::Mixed,
    };
    step(&args.ground, &args.model, &args.out, |foundry, model, watch| {
        learn::quantize(foundry, model, to, args.aware, watch)
    })
}

fn adapt(args: &Adapt) -> anyhow::Result<()> {
    let model = load(&args.model)?;
    let ground = &args.ground;
    anyhow::ensure!(
        !ground.data.is_empty(),
        "adapt needs recordings of the machine: --data FILE..."
    );
    let corpus = ground.corpus(model.card().kind, Some(&model))?;
    let neutral = Adapter::neutral(&model, args.rank, ground.seed)?;
    let foundry = ground.foundry(&corpus);
    let (adapter, _) = watched(|watch| learn::adapt(&foundry, &model, &neutral, watch))?;
    let adapted = adapter.over(&model)?;
    tell("base", &model, &learn::marks(&model, &corpus));
    tell("adapted", &adapted, &learn::marks(&adapted, &corpus));
    let file = adapter.save();
    replace(&args.out, &file).with_context(|| args.out.display().to_string())?;
    print::line(format_args!("{}: {} bytes", args.out.display(), file.len()));
    match &args.whole {
        Some(path) => write(&adapted, path),
        None => Ok(()),
    }
}

/// One verb on one model: data, work, before and after, file.
fn step(
    ground: &Ground,
    model: &Path,
    out: &Path,
    work: impl FnOnce(&Foundry<'_>, &Model, learn::Watch<'_>) -> Result<Outcome, learn::Error>,
) -> anyhow::Result<()> {
    let model = &load(model)?;
    let corpus = ground.corpus(model.card().kind, Some(model))?;
    let outcome = watched(|watch| work(&ground.foundry(&corpus), model, watch))?;
    tell("before", model, &outcome.before);
    tell("after", &outcome.model, &outcome.after);
    write(&outcome.model, out)
}

fn inspect(args: &Inspect) -> anyhow::Result<()> {
    let model = load(&args.model)?;
    if args.json {
        return print::json(model.card());
    }
    let card = model.card();
    print::line(format_args!("{} ({:?}): {}", card.name, card.kind, card.about));
    print::line(format_args!(
        "digest {}, {} bytes, {} parameters, {} multiply-adds",
        model.digest(),
        model.bytes(),
        model.graph().n_params(),
        model.macs()
    ));
    for step in &card.training.steps {
        print::line(format_args!("  {step}"));
    }
    for (name, value) in &card.metrics {
        print::line(format_args!("  {name} {value}"));
    }
    Ok(())
}

pub(super) fn load(path: &Path) -> anyhow::Result<Model> {
    let named = || format!("model {}", path.display());
    Model::load(&std::fs::read(path).with_context(named)?).with_context(named)
}

fn write(model: &Model, path: &Path) -> anyhow::Result<()> {
    replace(path, &model.save()).with_context(|| path.display().to_string())?;
    print::line(format_args!(
        "{}: {} bytes, digest {}",
        path.display(),
        model.bytes(),
        model.digest()
    ));
    Ok(())
}

fn tell(what: &str, model: &Model, marks: &Marks) {
    let areas = match marks.auc {
        auc if auc.is_nan() => "no faulty data to rank".to_owned(),
        auc => format!("AUC {auc:.4} (worst {:.4})", marks.auc_worst),
    };
    print::aside(format_args!(
        "{what:>8}: {} parameters, {} bytes, {} multiply-adds, residual {:.4}, {areas}",
        model.graph().n_params(),
        model.bytes(),
        model.macs(),
        marks.mse,
    ));
}

/// Does `work` with a bar that shows how far it is.
fn watched<T>(work: impl FnOnce(learn::Watch<'_>) -> T) -> T {
    let bar = bar();
    let done = work(&mut |at: &Progress| show(&bar, &at.what, at.done, at.total, at.loss));
    bar.finish_and_clear();
    done
}

fn bar() -> ProgressBar {
    let bar = if stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.set_style(
        ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len}, {eta} left  {wide_msg}")
            .expect("the template is a constant"),
    );
    bar
}

fn show(bar: &ProgressBar, what: &str, done: usize, total: usize, loss: f32) {
    bar.set_prefix(what.to_owned());
    bar.set_length(total as u64);
    bar.set_position(done as u64);
    if loss.is_finite() {
        bar.set_message(format!("residual {loss:.4}"));
    }
}
